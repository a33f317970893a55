// Does a job run in one place at a time, and never nowhere, whatever becomes of its worker?
#include "scene.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SHORT_LEASE "INKLING_LEASE_MS=1500"

static hand_t ann, bob;

static const proto_worker_assign_t *begin(const char *kind) {
    const char *job = scene_submit(kind, NULL);
    const proto_worker_assign_t *assign = hand_take(&ann);
    assert_string_equal(assign->job, job);
    return assign;
}

static void open(const char *const *settings) {
    scene_open(NULL, settings);
    hand_open(&ann, "ann", "play", 1);
    hand_hello(&ann, NULL, 0);
}

// --- Losing a lease

static void test_a_silent_worker_loses_the_job(void **state) {
    (void)state;
    open((const char *[]){SHORT_LEASE, NULL});
    const proto_worker_assign_t *first = begin("play");
    hand_renew_job(&ann, first, 1);
    hand_open(&bob, "bob", "play", 1);
    hand_hello(&bob, NULL, 0);
    const proto_worker_assign_t *second = hand_take(&bob); // ann says nothing meanwhile
    assert_string_equal(second->job, first->job);
    assert_true(second->token > first->token);
    assert_int_equal(second->attempt, 2);
    assert_int_equal(scene_show(first->job)->deaths, 0);
    // Whatever the old holder says is refused, and leaves no trace.
    uint64_t last = scene_show(first->job)->last_event;
    assert_int_equal(hand_report(&ann, first, 1, 3, "late"), ERR_STALE);
    assert_int_equal(hand_checkpoint(&ann, first, 7), ERR_STALE);
    proto_job_finish_t finish = hand_end(&ann, first, "succeeded");
    err_t err;
    assert_null(hand_try(&ann, PROTO_job_finish, &finish, PROTO_job_finished, &err));
    assert_int_equal(err.code, ERR_STALE);
    const proto_worker_renewed_t *renewed = hand_renew_job(&ann, first, 2);
    assert_int_equal(renewed->lost.count, 1);
    assert_int_equal(renewed->lost.items[0].token, first->token);
    const proto_job_info_t *info = scene_show(first->job);
    assert_int_equal(info->last_event, last);
    assert_string_equal(info->state, "running");
    assert_null(info->checkpoint);
    hand_finish(&bob, second, "succeeded", "succeeded");
    assert_string_equal(scene_history(first->job), "queued running queued running succeeded");
}

static void test_a_job_longer_than_its_lease_stays_where_it_is(void **state) {
    (void)state;
    open((const char *[]){SHORT_LEASE, NULL});
    const proto_worker_assign_t *job = begin("play");
    hand_open(&bob, "bob", "play", 1);
    hand_hello(&bob, NULL, 0);
    int64_t end_ms = clock_mono_ms() + 3500;
    for (uint64_t step = 1; clock_mono_ms() < end_ms; step++) {
        const proto_worker_renewed_t *renewed = hand_renew_job(&ann, job, step);
        assert_int_equal(renewed->lost.count, 0);
        assert_null(hand_next(&bob, PROTO_worker_assign, 50));
    }
    hand_finish(&ann, job, "succeeded", "succeeded");
    assert_string_equal(scene_history(job->job), "queued running succeeded");
}

static void test_no_progress_ends_the_attempt(void **state) {
    (void)state;
    open((const char *[]){"INKLING_STALL_MS=700", NULL});
    const proto_worker_assign_t *job = begin("play");
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (hand_renew_job(&ann, job, 5)->lost.count == 0 && clock_mono_ms() < end_ms)
        clock_sleep_ms(50);
    const proto_job_info_t *info = scene_show(job->job);
    assert_non_null(info->error);
    assert_string_equal(info->error->code, "TIMEOUT");
    assert_non_null(strstr(info->error->message, "no progress on ann"));
    scene_await_state(job->job, "queued");
}

// A step that usually takes long may take 20 times as long.
static void test_slow_steps_are_no_stall(void **state) {
    (void)state;
    open((const char *[]){"INKLING_STALL_MS=300", NULL});
    const proto_worker_assign_t *job = begin("play");
    proto_lease_t lease = {.job = job->job, .token = job->token, .step = 1, .step_ms = 60000};
    int64_t end_ms = clock_mono_ms() + 1500;
    while (clock_mono_ms() < end_ms) {
        assert_int_equal(hand_renew(&ann, &lease, 1)->lost.count, 0);
        clock_sleep_ms(50);
    }
    hand_finish(&ann, job, "succeeded", "succeeded");
}

// A worker whose slots are fuller than the dispatcher thinks: it must not be asked as fast as it
// can say no.
static void test_what_was_given_back_unbegun_waits_for_a_renewal(void **state) {
    (void)state;
    open(NULL);
    const proto_worker_assign_t *job = begin("play");
    hand_finish(&ann, job, "released", "queued");
    assert_null(hand_next(&ann, PROTO_worker_assign, 300));
    hand_renew(&ann, NULL, 0);
    const proto_worker_assign_t *again = hand_next(&ann, PROTO_worker_assign, PATIENCE_MS);
    assert_non_null(again);
    assert_string_equal(again->job, job->job);
    hand_finish(&ann, again, "succeeded", "succeeded");
}

// --- What is told twice, or not heard

static void test_an_assignment_that_is_not_shown_comes_again(void **state) {
    (void)state;
    open(NULL);
    const proto_worker_assign_t *first = begin("play"), *again = NULL;
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (!again && clock_mono_ms() < end_ms) {
        hand_renew(&ann, NULL, 0); // as if it had never heard of it
        again = hand_next(&ann, PROTO_worker_assign, 50);
    }
    if (!again) {
        fail_msg("it does not come again");
        return;
    }
    assert_string_equal(again->job, first->job);
    assert_int_equal(again->token, first->token);
    hand_finish(&ann, again, "succeeded", "succeeded");
}

static void test_an_end_told_twice_is_done_once(void **state) {
    (void)state;
    open(NULL);
    const proto_worker_assign_t *job = begin("play");
    assert_int_equal(hand_report(&ann, job, 1, 3, "a"), ERR_OK);
    assert_int_equal(hand_report(&ann, job, 1, 3, "a"), ERR_OK); // again
    assert_int_equal(hand_report(&ann, job, 2, 4, "a"), ERR_OK); // two of them are new
    uint64_t before = scene_show(job->job)->last_event;
    assert_int_equal(before, 2 + 5);
    hand_finish(&ann, job, "failed", "queued");
    uint64_t after = scene_show(job->job)->last_event;
    hand_finish(&ann, job, "failed", "queued");
    assert_int_equal(scene_show(job->job)->last_event, after);
    const proto_worker_assign_t *second = hand_take(&ann);
    assert_int_equal(second->attempt, 2);
    hand_finish(&ann, job, "failed", "running"); // the first one's end, a third time
    assert_int_equal(hand_report(&ann, second, 1, 1, "b"), ERR_OK);
    hand_finish(&ann, second, "succeeded", "succeeded");
}

static void test_renewal_from_another_connection(void **state) {
    (void)state;
    open((const char *[]){SHORT_LEASE, NULL});
    const proto_worker_assign_t *job = begin("play");
    hand_t other;
    hand_open(&other, "ann", "play", 1); // the same worker by another socket
    int64_t end_ms = clock_mono_ms() + 2500;
    for (uint64_t step = 1; clock_mono_ms() < end_ms; step++) {
        assert_int_equal(hand_renew_job(&other, job, step)->lost.count, 0);
        clock_sleep_ms(50);
    }
    other.name = "eve"; // who shows the token but is not the holder
    assert_int_equal(hand_renew_job(&other, job, 99)->lost.count, 1);
    hand_finish(&ann, job, "succeeded", "succeeded");
}

// ZeroMQ connects anew without a word to the worker, and what it was to be answered goes the old
// way: it must be made to send that again.
static void test_an_answer_to_a_connection_that_is_gone(void **state) {
    (void)state;
    open(NULL);
    const proto_worker_assign_t *job = begin("play");
    assert_false(hand_renew_job(&ann, job, 1)->hello);
    proto_job_finish_t finish = hand_end(&ann, job, "succeeded");
    err_t err;
    proc_signal(&scene.dispatcher, SIGSTOP);
    if (bus_send(ann.dealer, NULL, 900, 0, PROTO_job_finish, &finish, NULL, 0, &err) != ERR_OK)
        fail_msg("%s", err.message);
    hand_close(&ann); // what was sent still arrives
    hand_open(&ann, "ann", "play", 1);
    proc_signal(&scene.dispatcher, SIGCONT);
    scene_await_state(job->job, "succeeded");
    assert_true(hand_renew_job(&ann, job, 2)->hello);
    assert_true(hand_renew_job(&ann, job, 2)->hello); // until it is said
    const proto_hold_t hold = {.job = job->job, .token = job->token};
    hand_hello(&ann, &hold, 1);
    hand_finish(&ann, job, "succeeded", "succeeded");
    assert_false(hand_renew(&ann, NULL, 0)->hello);
}

static size_t heard;
static bool asked_for_hello;

static void on_flood(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    proto_worker_renewed_t renewed;
    (void)arg;
    (void)socket;
    assert_int_equal(message->type, PROTO_worker_renewed);
    assert_int_equal(proto_decode(PROTO_worker_renewed, message->body.data, message->body.size,
                                  scene.arena, &renewed, NULL),
                     ERR_OK);
    heard++;
    asked_for_hello |= renewed.hello;
}

// Who does not read for long loses answers: queues are bounded. It is told when it reads again.
static void test_answers_that_found_no_room(void **state) {
    (void)state;
    open(NULL);
    proto_worker_renew_t renew;
    proto_defaults(PROTO_worker_renew, &renew);
    renew.worker = ann.name;
    renew.boot = ann.boot;
    size_t sent = 0;
    heard = 0;
    asked_for_hello = false;
    int64_t end_ms = clock_mono_ms() + 2 * PATIENCE_MS;
    while (sent < 100000 && clock_mono_ms() < end_ms)
        if (bus_send(ann.dealer, NULL, ++sent, 0, PROTO_worker_renew, &renew, NULL, 0, NULL) !=
            ERR_OK) {
            sent--;
            clock_sleep_ms(1);
        }
    while (bus_receive(ann.dealer, 500, on_flood, NULL, NULL) == ERR_OK) {
    }
    assert_in_range(heard, 1, sent - 1);
    ann.next_id = sent + 1;
    assert_true(asked_for_hello || hand_renew(&ann, NULL, 0)->hello);
    hand_hello(&ann, NULL, 0);
    assert_false(hand_renew(&ann, NULL, 0)->hello);
}

// --- Restarts

static void test_a_new_process_of_the_worker(void **state) {
    (void)state;
    open((const char *[]){"INKLING_MAX_DEATHS=3", NULL});
    begin("play");
    // Killed before it showed the job: costs nothing.
    ann.boot = "boot-2";
    hand_hello(&ann, NULL, 0);
    const proto_worker_assign_t *job = hand_take(&ann);
    assert_int_equal(job->attempt, 2);
    assert_int_equal(scene_show(job->job)->deaths, 0);
    hand_renew_job(&ann, job, 1);
    // Killed while it ran it.
    ann.boot = "boot-3";
    hand_hello(&ann, NULL, 0);
    job = hand_take(&ann);
    assert_int_equal(job->attempt, 3);
    assert_int_equal(scene_show(job->job)->deaths, 1);
    hand_renew_job(&ann, job, 1);
    assert_int_equal(hand_checkpoint(&ann, job, 10), ERR_OK); // forgives
    assert_int_equal(scene_show(job->job)->deaths, 0);
    for (int i = 0; i < 3; i++) {
        ann.boot = i % 2 ? "boot-5" : "boot-4";
        hand_hello(&ann, NULL, 0);
        if (i == 2)
            break;
        job = hand_take(&ann);
        assert_non_null(job->checkpoint);
        assert_int_equal(job->checkpoint->step, 10);
        assert_string_equal(scene_json(job->checkpoint->info), "{\"epoch\":1}");
        hand_renew_job(&ann, job, 1);
    }
    scene_await_state(job->job, "dead");
    const proto_job_reason_t *why = scene_why(job->job);
    assert_non_null(strstr(why->text, "quarantined: its process died 3 times"));
    proto_job_retry_t retry = {.job = job->job};
    const proto_job_t *retried = scene_ask(PROTO_job_retry, &retry, PROTO_job);
    assert_int_equal(retried->job->deaths, 0);
    job = hand_take(&ann);
    assert_int_equal(job->checkpoint->step, 10);
    hand_finish(&ann, job, "succeeded", "succeeded");
}

static void test_a_child_that_dies_counts(void **state) {
    (void)state;
    open((const char *[]){"INKLING_MAX_DEATHS=2", NULL});
    const proto_worker_assign_t *job = begin("play");
    hand_finish(&ann, job, "died", "queued");
    job = hand_take(&ann);
    hand_finish(&ann, job, "released", "queued"); // costs nothing
    job = hand_take(&ann);
    hand_finish(&ann, job, "died", "dead");
    assert_int_equal(scene_show(job->job)->attempts, 3);
}

static void test_a_worker_that_leaves_gives_back(void **state) {
    (void)state;
    open(NULL);
    const proto_worker_assign_t *job = begin("play");
    hand_renew_job(&ann, job, 1);
    hand_open(&bob, "bob", "play", 1);
    hand_hello(&bob, NULL, 0);
    proto_worker_bye_t bye = {.worker = "ann", .boot = "another"};
    err_t err;
    assert_non_null(hand_try(&ann, PROTO_worker_bye, &bye, PROTO_ok, &err));
    assert_null(hand_next(&bob, PROTO_worker_assign, 300)); // not ann's process
    bye.boot = ann.boot;
    assert_non_null(hand_try(&ann, PROTO_worker_bye, &bye, PROTO_ok, &err));
    const proto_worker_assign_t *second = hand_take(&bob);
    assert_string_equal(second->job, job->job);
    assert_int_equal(scene_show(job->job)->deaths, 0);
    hand_finish(&bob, second, "succeeded", "succeeded");
}

static void test_the_dispatcher_is_killed_and_the_job_goes_on(void **state) {
    (void)state;
    open((const char *[]){"INKLING_MAX_DEATHS=1", NULL});
    const proto_worker_assign_t *job = begin("play");
    hand_renew_job(&ann, job, 1);
    assert_int_equal(hand_report(&ann, job, 1, 2, "before"), ERR_OK);
    scene_kill_dispatcher();
    scene_start_dispatcher();
    proto_lease_t lease = {.job = job->job, .token = job->token, .step = 2};
    const proto_worker_renewed_t *renewed = hand_renew(&ann, &lease, 1);
    assert_true(renewed->hello); // it does not know ann, but the lease
    assert_int_equal(renewed->lost.count, 0);
    const proto_hold_t holds[] = {{.job = job->job, .token = job->token},
                                  {.job = job->job, .token = job->token + 1},
                                  {.job = "999", .token = 3}};
    const proto_worker_welcome_t *welcome = hand_hello(&ann, holds, 3);
    assert_int_equal(welcome->refused.count, 2);
    assert_int_equal(welcome->refused.items[0].token, job->token + 1);
    assert_string_equal(welcome->refused.items[1].job, "999");
    assert_int_equal(hand_report(&ann, job, 2, 2, "after"), ERR_OK); // the first is known
    hand_finish(&ann, job, "succeeded", "succeeded");
    const proto_job_info_t *info = scene_show(job->job);
    assert_int_equal(info->attempts, 1);
    assert_int_equal(info->last_event, 2 + 3 + 1);
    assert_string_equal(scene_history(job->job), "queued running succeeded");
}

// A new leader grants every lease a whole period, and then judges them.
static void test_worker_and_dispatcher_are_gone(void **state) {
    (void)state;
    open((const char *[]){SHORT_LEASE, "INKLING_MAX_DEATHS=1", NULL});
    const proto_worker_assign_t *job = begin("play");
    hand_renew_job(&ann, job, 1);
    scene_kill_dispatcher();
    scene_start_dispatcher();
    int64_t begun_ms = clock_mono_ms();
    hand_open(&bob, "bob", "play", 1);
    hand_hello(&bob, NULL, 0);
    const proto_worker_assign_t *second = hand_take(&bob);
    assert_true(clock_mono_ms() - begun_ms > 1000);
    assert_string_equal(second->job, job->job);
    hand_finish(&bob, second, "succeeded", "succeeded");
}

static void test_a_paused_dispatcher_takes_no_lease_away(void **state) {
    (void)state;
    open((const char *[]){"INKLING_LEASE_MS=2000", NULL});
    const proto_worker_assign_t *job = begin("play");
    hand_renew_job(&ann, job, 1);
    proc_signal(&scene.dispatcher, SIGSTOP);
    clock_sleep_ms(3000);
    proc_signal(&scene.dispatcher, SIGCONT);
    assert_int_equal(hand_renew_job(&ann, job, 2)->lost.count, 0);
    hand_finish(&ann, job, "succeeded", "succeeded");
}

static void test_a_draining_worker_gets_nothing_more(void **state) {
    (void)state;
    open(NULL);
    proto_worker_renew_t renew;
    err_t err;
    proto_defaults(PROTO_worker_renew, &renew);
    renew.worker = ann.name;
    renew.boot = ann.boot;
    renew.draining = true;
    assert_non_null(hand_try(&ann, PROTO_worker_renew, &renew, PROTO_worker_renewed, &err));
    const char *job = scene_submit("play", NULL);
    assert_null(hand_next(&ann, PROTO_worker_assign, 500));
    assert_non_null(strstr(scene_why(job)->text, "1 take no new jobs"));
    renew.draining = false;
    assert_non_null(hand_try(&ann, PROTO_worker_renew, &renew, PROTO_worker_renewed, &err));
    assert_string_equal(hand_take(&ann)->job, job);
}

#define TEST(name) cmocka_unit_test_teardown(name, scene_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_silent_worker_loses_the_job),
        TEST(test_a_job_longer_than_its_lease_stays_where_it_is),
        TEST(test_no_progress_ends_the_attempt),
        TEST(test_slow_steps_are_no_stall),
        TEST(test_what_was_given_back_unbegun_waits_for_a_renewal),
        TEST(test_an_assignment_that_is_not_shown_comes_again),
        TEST(test_an_end_told_twice_is_done_once),
        TEST(test_renewal_from_another_connection),
        TEST(test_an_answer_to_a_connection_that_is_gone),
        TEST(test_answers_that_found_no_room),
        TEST(test_a_new_process_of_the_worker),
        TEST(test_a_child_that_dies_counts),
        TEST(test_a_worker_that_leaves_gives_back),
        TEST(test_the_dispatcher_is_killed_and_the_job_goes_on),
        TEST(test_worker_and_dispatcher_are_gone),
        TEST(test_a_paused_dispatcher_takes_no_lease_away),
        TEST(test_a_draining_worker_gets_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
