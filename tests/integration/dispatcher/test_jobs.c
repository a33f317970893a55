// Do jobs do what clients ask: list, show, why, cancel, retry, events?
#include "scene.h"

#include "base/clock.h"
#include "base/fs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static hand_t ann, bob;

static void open(const char *const *settings) {
    scene_open(NULL, settings);
    hand_open(&ann, "ann", "play", 1);
}

static const proto_job_info_t *cancel(const char *job, const char *reason) {
    proto_job_cancel_t message = {.job = job, .reason = reason};
    return ((proto_job_t *)scene_ask(PROTO_job_cancel, &message, PROTO_job))->job;
}

static const proto_job_info_t *retry(const char *job) {
    proto_job_retry_t message = {.job = job};
    return ((proto_job_t *)scene_ask(PROTO_job_retry, &message, PROTO_job))->job;
}

// --- A life

static void test_a_life(void **state) {
    (void)state;
    open(NULL);
    const char *job = scene_submit("play", "{\"n\":7,\"list\":[1,2.5,\"x\"]}");
    const proto_job_info_t *info = scene_show(job);
    assert_string_equal(info->state, "queued");
    assert_int_equal(info->attempts, 0);
    assert_true(info->created_ms > 1500000000000);
    assert_string_equal(scene_why(job)->waits_for, "worker");
    hand_hello(&ann, NULL, 0);
    const proto_worker_assign_t *assign = hand_take(&ann);
    assert_string_equal(assign->job, job);
    assert_string_equal(assign->kind, "play");
    assert_int_equal(assign->attempt, 1);
    assert_string_equal(scene_json(assign->body), "{\"list\":[1,2.5,\"x\"],\"n\":7}");
    assert_null(assign->checkpoint);
    const proto_report_t events[] = {
        {.type = "progress", .data = scene_map("{\"done\":3,\"total\":4,\"text\":\"epoch 3\"}")},
        {.type = "log", .data = scene_map("{\"level\":\"info\",\"text\":\"hä\"}")}};
    proto_job_report_t report = {
        .worker = "ann", .job = job, .token = assign->token, .seq = 1, .events = {events, 2}};
    err_t err;
    assert_non_null(hand_try(&ann, PROTO_job_report, &report, PROTO_ok, &err));
    assert_int_equal(hand_checkpoint(&ann, assign, 3), ERR_OK);
    assert_int_equal(hand_checkpoint(&ann, assign, 3), ERR_OK); // told twice
    info = scene_show(job);
    assert_true(info->progress > 0.74 && info->progress < 0.76);
    assert_string_equal(info->worker, "ann");
    assert_int_equal(info->checkpoint->step, 3);
    hand_finish(&ann, assign, "succeeded", "succeeded");
    info = scene_show(job);
    assert_string_equal(info->state, "succeeded");
    assert_string_equal(scene_json(info->result), "{\"answer\":42}");
    assert_true(info->progress == 1);
    assert_true(info->finished_ms >= info->started_ms && info->started_ms >= info->created_ms);
    assert_null(info->checkpoint);
    assert_string_equal(info->reason, "");
    static const char *const types[] = {"state", "state", "progress", "log", "checkpoint", "state"};
    const proto_events_t *all = scene_events(job, 0, 0);
    assert_int_equal(all->events.count, 6);
    assert_int_equal(all->last, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(all->events.items[i].n, i + 1);
        assert_string_equal(all->events.items[i].type, types[i]);
        assert_true(all->events.items[i].at_ms >= info->created_ms);
    }
    assert_string_equal(scene_json(all->events.items[3].data),
                        "{\"level\":\"info\",\"text\":\"hä\"}");
    assert_true(scene_metric("inkling_jobs_submitted_total") == 1);
    assert_true(scene_metric("inkling_attempts_total{outcome=\"succeeded\"}") == 1);
}

static void test_idle_workers_get_jobs_in_the_order_of_submits(void **state) {
    (void)state;
    open(NULL);
    const char *jobs[6];
    for (size_t i = 0; i < 6; i++)
        jobs[i] = scene_submit(i % 2 ? "play" : "sing", NULL);
    ann.kinds[1] = "sing";
    ann.slots = 2;
    hand_hello(&ann, NULL, 0);
    const proto_worker_assign_t *first = hand_take(&ann), *second = hand_take(&ann);
    // Two kinds are asked for at once: the two oldest, whichever came first.
    assert_true(atoi(first->job) + atoi(second->job) == atoi(jobs[0]) + atoi(jobs[1]));
    assert_null(hand_next(&ann, PROTO_worker_assign, 300)); // no more than its slots
    // The next one comes with the end of the one before, oldest first.
    const proto_job_finished_t *done = hand_finish(&ann, first, "succeeded", "succeeded");
    for (size_t i = 2; i < 6; i++) {
        assert_non_null(done->next);
        assert_string_equal(done->next->job, jobs[i]);
        done = hand_finish(&ann, done->next, "succeeded", "succeeded");
    }
    assert_null(done->next);
    hand_finish(&ann, second, "succeeded", "succeeded");
    assert_true(scene_metric("inkling_leases") == 0);
}

static void test_slots_are_used_and_shared(void **state) {
    (void)state;
    open(NULL);
    ann.slots = 3;
    hand_hello(&ann, NULL, 0);
    hand_open(&bob, "bob", "play", 3);
    hand_hello(&bob, NULL, 0);
    for (int i = 0; i < 6; i++)
        scene_submit("play", NULL);
    for (int i = 0; i < 3; i++) {
        hand_take(&ann);
        hand_take(&bob);
    }
    const char *last = scene_submit("play", NULL);
    const proto_job_reason_t *why = scene_why(last);
    assert_string_equal(why->waits_for, "slot");
    assert_non_null(strstr(why->text, "all 6 slots for play are busy"));
}

// --- Cancel

static void test_cancel_a_waiting_job(void **state) {
    (void)state;
    open(NULL);
    const char *waiting = scene_submit("play", NULL);
    proto_job_submit_t submit = scene_wish("play", NULL);
    submit.delay_ms = 3600000;
    const proto_job_submitted_t *delayed =
        scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    const proto_job_info_t *info = cancel(waiting, "no longer needed");
    assert_string_equal(info->state, "cancelled");
    assert_string_equal(info->reason, "no longer needed");
    assert_string_equal(cancel(delayed->job, "")->state, "cancelled");
    assert_string_equal(cancel(waiting, "again")->reason, "no longer needed");
    hand_hello(&ann, NULL, 0);
    assert_null(hand_next(&ann, PROTO_worker_assign, 300));
    const char *other = scene_submit("play", NULL);
    const proto_worker_assign_t *job = hand_take(&ann);
    assert_string_equal(job->job, other);
    hand_finish(&ann, job, "succeeded", "succeeded");
    proto_job_cancel_t message = {.job = other, .reason = ""};
    err_t err = scene_refused(PROTO_job_cancel, &message, ERR_CONFLICT);
    assert_non_null(strstr(err.message, "ended already: it is succeeded"));
    message.job = "12345";
    scene_refused(PROTO_job_cancel, &message, ERR_NOT_FOUND);
}

static void test_cancel_reaches_a_running_job_within_a_second(void **state) {
    (void)state;
    open((const char *[]){"INKLING_HEARTBEAT_MS=60000", NULL}); // so it is not by the heartbeats
    hand_hello(&ann, NULL, 0);
    const char *id = scene_submit("play", NULL);
    const proto_worker_assign_t *job = hand_next(&ann, PROTO_worker_assign, PATIENCE_MS);
    assert_string_equal(job->job, id);
    int64_t begun_ms = clock_mono_ms();
    assert_string_equal(cancel(job->job, "stop it")->state, "running");
    const proto_worker_cancel_t *told = hand_next(&ann, PROTO_worker_cancel, PATIENCE_MS);
    assert_true(clock_mono_ms() - begun_ms < 1000);
    assert_int_equal(told->token, job->token);
    // Its worker hears of it again and again until it obeys, also from the next dispatcher.
    assert_int_equal(hand_renew_job(&ann, job, 1)->cancel.count, 1);
    scene_kill_dispatcher();
    scene_start_dispatcher();
    assert_int_equal(hand_renew_job(&ann, job, 2)->cancel.count, 1);
    assert_non_null(strstr(scene_why(job->job)->text, "it is being cancelled"));
    hand_finish(&ann, job, "cancelled", "cancelled");
    assert_string_equal(scene_show(job->job)->reason, "stop it");
}

static void test_a_cancelled_job_that_is_given_back_is_not_begun_again(void **state) {
    (void)state;
    open(NULL);
    static const char *const outcomes[] = {"released", "died", "failed"};
    hand_hello(&ann, NULL, 0);
    for (size_t i = 0; i < 3; i++) {
        const char *id = scene_submit("play", NULL);
        const proto_worker_assign_t *job = hand_take(&ann);
        cancel(id, "");
        hand_finish(&ann, job, outcomes[i], "cancelled");
    }
    // One that is done before it hears of it has succeeded.
    const char *id = scene_submit("play", NULL);
    const proto_worker_assign_t *job = hand_take(&ann);
    cancel(id, "too late");
    hand_finish(&ann, job, "succeeded", "succeeded");
    assert_string_equal(scene_show(id)->reason, "");
}

// --- Failures

static void test_retryable_failures_back_off(void **state) {
    (void)state;
    open(NULL);
    hand_hello(&ann, NULL, 0);
    proto_job_submit_t submit = scene_wish("play", NULL);
    submit.max_attempts = 2;
    scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    const proto_worker_assign_t *job = hand_take(&ann);
    assert_int_equal(hand_checkpoint(&ann, job, 5), ERR_OK);
    hand_finish(&ann, job, "failed", "queued");
    int64_t begun_ms = clock_mono_ms();
    const proto_job_reason_t *why = scene_why(job->job);
    assert_string_equal(why->waits_for, "delay");
    assert_non_null(strstr(why->text, "failed 1 of 2 times (it broke); tried again in "));
    const proto_worker_assign_t *second = hand_take(&ann);
    assert_true(clock_mono_ms() - begun_ms > 400); // 0.5 … 1 s, less what the question took
    assert_int_equal(second->checkpoint->step, 5);
    hand_finish(&ann, second, "failed", "failed");
    const proto_job_info_t *info = scene_show(job->job);
    assert_string_equal(info->error->message, "it broke");
    assert_string_equal(info->error->remedy, "mend it");
    assert_string_equal(info->reason, "it broke");
    assert_non_null(
        strstr(scene_why(job->job)->text, "it is failed: it broke; `inkling job retry"));
    assert_string_equal(scene_history(job->job), "queued running queued running failed");
}

static void test_retry_by_hand(void **state) {
    (void)state;
    open(NULL);
    hand_hello(&ann, NULL, 0);
    const char *id = scene_submit("play", NULL);
    proto_job_retry_t message = {.job = id};
    const proto_worker_assign_t *job = hand_take(&ann);
    assert_string_equal(retry(id)->state, "running"); // as the second of two requests would find it
    proto_job_finish_t finish = hand_end(&ann, job, "failed");
    const proto_failure_t failure = {.code = "INVALID", .message = "bad input", .remedy = ""};
    finish.error = &failure;
    err_t err;
    const proto_job_finished_t *done =
        hand_try(&ann, PROTO_job_finish, &finish, PROTO_job_finished, &err);
    assert_string_equal(done->state, "failed"); // at once: it is not retryable
    retry(id);
    job = hand_take(&ann);
    assert_int_equal(job->attempt, 2);
    cancel(id, "");
    hand_finish(&ann, job, "cancelled", "cancelled");
    retry(id);
    hand_finish(&ann, hand_take(&ann), "succeeded", "succeeded");
    scene_refused(PROTO_job_retry, &message, ERR_CONFLICT);
    assert_string_equal(scene_history(id), "queued running failed queued running cancelled queued "
                                           "running succeeded");
    assert_string_equal(scene_show(id)->reason, "");
    assert_null(scene_show(id)->error);
    message.job = "77";
    scene_refused(PROTO_job_retry, &message, ERR_NOT_FOUND);
    // What waits already is left where it is.
    proto_worker_bye_t bye = {.worker = "ann", .boot = ann.boot};
    assert_non_null(hand_try(&ann, PROTO_worker_bye, &bye, PROTO_ok, &err));
    id = scene_submit("play", NULL);
    assert_string_equal(retry(id)->state, "queued");
    assert_int_equal(scene_show(id)->last_event, 1);
}

// --- Delays

static void test_a_delayed_job_comes_when_it_is_due(void **state) {
    (void)state;
    open((const char *[]){"INKLING_LEASE_MS=500", NULL}); // delays know nothing of leases
    hand_hello(&ann, NULL, 0);
    proto_job_submit_t submit = scene_wish("play", NULL);
    submit.delay_ms = 2000;
    int64_t begun_ms = clock_mono_ms();
    const proto_job_submitted_t *late = scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    submit.delay_ms = 3600000;
    scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    const proto_job_reason_t *why = scene_why(late->job);
    assert_string_equal(why->waits_for, "delay");
    assert_non_null(strstr(why->text, "submitted with a delay; it may begin in "));
    scene_kill_dispatcher(); // the next one knows of it
    scene_start_dispatcher();
    hand_hello(&ann, NULL, 0);
    const proto_worker_assign_t *job = hand_take(&ann);
    assert_true(clock_mono_ms() - begun_ms >= 1990);
    assert_string_equal(job->job, late->job);
}

// --- Events

static void test_events_can_be_waited_for(void **state) {
    (void)state;
    open(NULL);
    hand_hello(&ann, NULL, 0);
    const char *id = scene_submit("play", NULL);
    const proto_worker_assign_t *job = hand_take(&ann);
    assert_int_equal(scene_events(id, 2, 200)->events.count, 0); // in vain
    proto_job_events_t ask;
    proto_defaults(PROTO_job_events, &ask);
    ask.job = id;
    ask.after = 2;
    ask.wait_ms = 60000;
    err_t err;
    hand_open(&bob, "bob", "play", 1); // asks as a client would
    bob.next_id = 500;
    for (int i = 0; i < 3; i++)
        assert_int_equal(bus_send(bob.dealer, NULL, 7, 0, PROTO_job_events, &ask, NULL, 0, &err),
                         ERR_OK);
    assert_null(hand_next(&bob, PROTO_worker_cancel, 200));
    assert_int_equal(bob.got_count, 0);
    assert_int_equal(hand_report(&ann, job, 1, 1, "at last"), ERR_OK);
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (bob.got_count < 3 && clock_mono_ms() < end_ms)
        hand_next(&bob, PROTO_worker_cancel, 10);
    assert_int_equal(bob.got_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const proto_events_t *came = bob.got[i].body;
        assert_int_equal(came->events.count, 1);
        assert_int_equal(came->events.items[0].n, 3);
        assert_string_equal(came->state, "running");
    }
    // The end of a job ends all waiting.
    hand_finish(&ann, job, "succeeded", "succeeded");
    const proto_events_t *rest = scene_events(id, 4, 60000);
    assert_int_equal(rest->events.count, 0);
    assert_int_equal(rest->last, 4);
    assert_string_equal(rest->state, "succeeded");
    ask.job = "404";
    scene_refused(PROTO_job_events, &ask, ERR_NOT_FOUND);
}

static void test_events_are_capped_and_keep_their_numbers(void **state) {
    (void)state;
    open((const char *[]){"INKLING_KEEP_EVENTS=100", NULL});
    hand_hello(&ann, NULL, 0);
    const char *id = scene_submit("play", NULL);
    const proto_worker_assign_t *job = hand_take(&ann);
    for (uint64_t seq = 1; seq < 1000; seq += 250)
        assert_int_equal(hand_report(&ann, job, seq, 250, "much"), ERR_OK);
    hand_finish(&ann, job, "succeeded", "succeeded");
    const proto_events_t *all = scene_events(id, 0, 0);
    assert_int_equal(all->last, 1003);
    assert_int_equal(all->first, 904);
    assert_int_equal(all->events.count, 100);
    for (size_t i = 0; i < 99; i++) {
        char text[64];
        snprintf(text, sizeof text, "\"seq\":%zu,", 904 + i - 2);
        assert_int_equal(all->events.items[i].n, 904 + i);
        assert_non_null(strstr(scene_json(all->events.items[i].data), text));
    }
    assert_int_equal(scene_events(id, 950, 0)->events.items[0].n, 951);
}

// --- Lists

static void test_lists_by_pages_state_and_kind(void **state) {
    (void)state;
    open(NULL);
    for (int i = 0; i < 25; i++)
        scene_submit(i % 5 ? "play" : "sing", NULL);
    hand_hello(&ann, NULL, 0);
    const char *running = hand_take(&ann)->job;
    proto_job_list_t list;
    proto_defaults(PROTO_job_list, &list);
    list.limit = 10;
    size_t seen = 0;
    uint64_t last = UINT64_MAX;
    for (int page = 0; page < 4; page++) {
        const proto_jobs_t *jobs = scene_ask(PROTO_job_list, &list, PROTO_jobs);
        for (size_t i = 0; i < jobs->jobs.count; i++) {
            uint64_t id = strtoull(jobs->jobs.items[i].job, NULL, 10);
            assert_true(id < last);
            last = id;
            list.before = jobs->jobs.items[i].job;
        }
        seen += jobs->jobs.count;
    }
    assert_int_equal(seen, 25);
    proto_defaults(PROTO_job_list, &list);
    list.kind = "sing";
    assert_int_equal(((proto_jobs_t *)scene_ask(PROTO_job_list, &list, PROTO_jobs))->jobs.count, 5);
    list.kind = "";
    list.state = "running";
    const proto_jobs_t *jobs = scene_ask(PROTO_job_list, &list, PROTO_jobs);
    assert_int_equal(jobs->jobs.count, 1);
    assert_string_equal(jobs->jobs.items[0].job, running);
    list.state = "asleep";
    err_t err = scene_refused(PROTO_job_list, &list, ERR_INVALID);
    assert_non_null(strstr(err.message, "there is no state 'asleep'"));
    list.state = "";
    list.before = "12x";
    scene_refused(PROTO_job_list, &list, ERR_INVALID);
}

static void test_workers_are_listed(void **state) {
    (void)state;
    open(NULL);
    ann.kinds[1] = "sing";
    hand_hello(&ann, NULL, 0);
    hand_open(&bob, "bob", "play", 4);
    hand_hello(&bob, NULL, 0);
    const char *id = scene_submit("sing", NULL);
    hand_take(&ann);
    hand_renew(&bob, NULL, 0);
    proto_worker_list_t list = {0};
    const proto_workers_t *workers = scene_ask(PROTO_worker_list, &list, PROTO_workers);
    assert_int_equal(workers->workers.count, 2);
    assert_string_equal(workers->workers.items[0].worker, "ann");
    assert_string_equal(workers->workers.items[0].state, "busy");
    assert_string_equal(workers->workers.items[0].jobs.items[0], id);
    assert_int_equal(workers->workers.items[0].kinds.count, 2);
    assert_string_equal(workers->workers.items[1].state, "idle");
    assert_int_equal(workers->workers.items[1].slots, 4);
    clock_sleep_ms(1500); // more than three heartbeats, of which there are none
    workers = scene_ask(PROTO_worker_list, &list, PROTO_workers);
    assert_string_equal(workers->workers.items[1].state, "lost");
    assert_non_null(strstr(scene_why(scene_submit("play", NULL))->text, "are not heard of"));
}

// --- Limits

static void test_a_full_queue_refuses(void **state) {
    (void)state;
    open((const char *[]){"INKLING_MAX_QUEUED=3", NULL});
    const char *id = NULL;
    for (int i = 0; i < 3; i++)
        id = scene_submit("play", NULL);
    proto_job_submit_t submit = scene_wish("play", NULL);
    err_t err = {0};
    submit.key = "refused";
    assert_null(hand_try(&ann, PROTO_job_submit, &submit, PROTO_job_submitted, &err));
    assert_int_equal(err.code, ERR_FULL);
    assert_string_equal(err.message, "3 jobs wait already");
    assert_string_equal(err.remedy, "try again when some are done, or raise max_queued");
    cancel(id, "");
    const proto_job_submitted_t *done = scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    assert_false(done->existing);
    proto_job_retry_t message = {.job = id};
    assert_null(hand_try(&ann, PROTO_job_retry, &message, PROTO_job, &err));
    assert_int_equal(err.code, ERR_FULL);
    assert_true(scene_metric("inkling_refused_total{reason=\"full\"}") == 2);
    // What waits can be done, which makes room.
    hand_hello(&ann, NULL, 0);
    const proto_worker_assign_t *job = hand_take(&ann);
    scene_submit("play", NULL);
    hand_finish(&ann, job, "succeeded", "succeeded");
}

static void test_ended_jobs_are_forgotten_in_the_order_of_their_ends(void **state) {
    (void)state;
    open((const char *[]){"INKLING_KEEP_JOBS=3", NULL});
    hand_hello(&ann, NULL, 0);
    const char *ids[8], *last = NULL;
    for (size_t i = 0; i < 8; i++) {
        proto_job_submit_t submit = scene_wish("play", NULL);
        char key[16];
        snprintf(key, sizeof key, "key %zu", i);
        submit.key = key;
        ids[i] =
            ((proto_job_submitted_t *)scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted))
                ->job;
        const proto_worker_assign_t *job = hand_take(&ann);
        char *folder = mem_format("%s/files/jobs/%s/1", scene.home, ids[i]);
        assert_int_equal(fs_mkdirs(folder, NULL), ERR_OK);
        free(folder);
        if (i == 0) { // the first one is retried, and so ends later than its number says
            hand_finish(&ann, job, "cancelled", "cancelled");
            last = ids[0];
        } else {
            hand_finish(&ann, job, "succeeded", "succeeded");
        }
        if (i == 1) {
            retry(last);
            hand_finish(&ann, hand_take(&ann), "succeeded", "succeeded");
        }
    }
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (scene_redis_number("HLEN keys") > 3 && clock_mono_ms() < end_ms)
        clock_sleep_ms(50);
    assert_int_equal(scene_redis_number("LLEN done"), 3);
    assert_int_equal(scene_redis_number("ZCARD st:succeeded"), 3);
    char *forgotten = mem_format("%s/files/jobs/%s", scene.home, ids[2]);
    char *kept = mem_format("%s/files/jobs/%s", scene.home, ids[7]);
    while (access(forgotten, F_OK) == 0 && clock_mono_ms() < end_ms)
        clock_sleep_ms(20);
    assert_int_not_equal(access(forgotten, F_OK), 0);
    assert_int_equal(access(kept, F_OK), 0);
    free(forgotten);
    free(kept);
    proto_job_show_t show = {.job = ids[4]};
    scene_refused(PROTO_job_show, &show, ERR_NOT_FOUND);
    for (size_t i = 5; i < 8; i++)
        assert_string_equal(scene_show(ids[i])->state, "succeeded");
    proto_job_submit_t submit = scene_wish("play", NULL);
    submit.key = "key 0"; // its job is forgotten, and so the key
    assert_false(
        ((proto_job_submitted_t *)scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted))
            ->existing);
}

#define TEST(name) cmocka_unit_test_teardown(name, scene_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_life),
        TEST(test_idle_workers_get_jobs_in_the_order_of_submits),
        TEST(test_slots_are_used_and_shared),
        TEST(test_cancel_a_waiting_job),
        TEST(test_cancel_reaches_a_running_job_within_a_second),
        TEST(test_a_cancelled_job_that_is_given_back_is_not_begun_again),
        TEST(test_retryable_failures_back_off),
        TEST(test_retry_by_hand),
        TEST(test_a_delayed_job_comes_when_it_is_due),
        TEST(test_events_can_be_waited_for),
        TEST(test_events_are_capped_and_keep_their_numbers),
        TEST(test_lists_by_pages_state_and_kind),
        TEST(test_workers_are_listed),
        TEST(test_a_full_queue_refuses),
        TEST(test_ended_jobs_are_forgotten_in_the_order_of_their_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
