// Does a worker keep its promises to a dispatcher that answers late, twice, wrongly or not at all,
// and whatever its child process does? The worker and its child are real processes.
#include "fake.h"

#include "base/clock.h"
#include "base/fs.h"
#include "proto/json.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state) {
    fake_t *fake = malloc(sizeof *fake);
    fake_open(fake, PLAY_PARENT, "play");
    fake_listen(fake, fake->endpoint);
    *state = fake;
    return 0;
}

static int tear_down(void **state) {
    fake_t *fake = *state;
    fake_close(fake);
    free(fake);
    return 0;
}

// The next message that is no report; reports are answered.
static const got_t *next_but_reports(fake_t *fake, proto_type_t type) {
    const got_t *got;
    while ((got = fake_next(fake))->type == PROTO_job_report)
        fake_ok(fake, got);
    assert_int_equal(got->type, type);
    return got;
}

static json_t *result_of(const proto_job_finish_t *finish) {
    json_t *result = proto_map_json(finish->result);
    assert_non_null(result);
    return result;
}

// --- The plain course of things
// -------------------------------------------------------------------

static void test_hello(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, (const char *[]){"--slots", "3", NULL});
    const proto_worker_hello_t *hello = &fake->hello;
    assert_string_equal(hello->worker, "play-0");
    assert_int_equal(strlen(hello->boot), 32);
    assert_int_equal(hello->kinds.count, 2);
    assert_string_equal(hello->kinds.items[0], "play");
    assert_int_equal(hello->slots, 3);
    assert_int_equal(hello->pid, fake->worker);
    assert_string_equal(hello->version, INKLING_VERSION);
    assert_int_equal(hello->holds.count, 0);
    fake_wait_renew(fake);
    assert_string_equal(fake->renew.boot, hello->boot);
    assert_int_equal(fake->renew.leases.count, 0);
    assert_true(fake_metric(fake, "inkling_worker_slots") == 3);
}

static void test_success(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 5, "{\"do\": \"succeed\"}");
    size_t events;
    const proto_job_finish_t *finish = fake_finish(fake, &events);
    assert_string_equal(finish->worker, "play-0");
    assert_string_equal(finish->job, "j1");
    assert_int_equal(finish->token, 5);
    assert_string_equal(finish->outcome, "succeeded");
    assert_int_equal(events, 3); // greeting, log, progress
    json_t *result = result_of(finish);
    assert_int_equal(json_integer_value(json_object_get(result, "answer")), 42);
    json_decref(result);
    fake_wait_renew(fake);
    assert_int_equal(fake->renew.leases.count, 0);
    assert_true(fake_metric(fake, "inkling_worker_jobs_total{outcome=\"succeeded\"}") == 1);
    assert_true(fake_metric(fake, "inkling_worker_running") == 0);
    assert_false(fake_has_file(fake, "jobs/j1")); // empty folders do not stay
}

static void test_settings_reach_the_child(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, (const char *[]){"--threads", "7", NULL});
    fake_assign(fake, "j1", 1, "{\"do\": \"settings\"}");
    json_t *result = result_of(fake_finish(fake, NULL));
    assert_string_equal(json_string_value(json_object_get(result, "name")), "play-0");
    assert_int_equal(json_integer_value(json_object_get(result, "threads")), 7);
    assert_true(json_is_true(json_object_get(result, "folder")));
    json_decref(result);
}

static void test_leases_tell_progress(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"polite\"}");
    fake_child_pid(fake, "j1", 1, "pid");
    fake_run(fake, 600);
    fake_wait_renew(fake);
    assert_int_equal(fake->renew.leases.count, 1);
    proto_lease_t lease = fake->renew.leases.items[0];
    assert_string_equal(lease.job, "j1");
    assert_true(lease.step > 5);
    assert_true(lease.step_ms > 10 && lease.step_ms < 500);
    fake_run(fake, 600);
    fake_wait_renew(fake);
    assert_true(fake->renew.leases.items[0].step > lease.step);
}

static void test_next_job_comes_with_the_answer(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"checkpoint\"}");
    fake_ok(fake, fake_expect(fake, PROTO_job_report));
    fake_ok(fake, fake_expect(fake, PROTO_job_checkpoint));
    const got_t *got = next_but_reports(fake, PROTO_job_finish);
    json_t *body = json_pack("{s:s}", "do", "succeed");
    proto_worker_assign_t after = {.job = "j2", .token = 2, .kind = "play", .attempt = 4};
    assert_int_equal(proto_map_from_json(body, fake->arena, &after.body, NULL), ERR_OK);
    json_decref(body);
    fake_finished(fake, got, &after);
    const proto_job_finish_t *finish = fake_finish(fake, NULL);
    assert_string_equal(finish->job, "j2");
    json_t *result = result_of(finish);
    assert_int_equal(json_integer_value(json_object_get(result, "attempt")), 4);
    json_decref(result);
}

static void test_slots_run_side_by_side(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, (const char *[]){"--slots", "2", NULL});
    fake_assign(fake, "j1", 1, "{\"do\": \"polite\"}");
    fake_assign(fake, "j2", 2, "{\"do\": \"succeed\"}");
    assert_string_equal(fake_finish(fake, NULL)->job, "j2");
    fake_wait_renew(fake);
    assert_int_equal(fake->renew.leases.count, 1);
}

// --- Failures of the child
// ------------------------------------------------------------------------

static const proto_job_finish_t *run_part(fake_t *fake, const char *body) {
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, body);
    return fake_finish(fake, NULL);
}

static void expect_death(const proto_job_finish_t *finish, const char *how, const char *words) {
    assert_string_equal(finish->outcome, "died");
    assert_non_null(finish->error);
    assert_string_equal(finish->error->code, "INTERNAL");
    if (!strstr(finish->error->message, how) || !strstr(finish->error->message, words))
        fail_msg("'%s' or '%s' is not in: %s", how, words, finish->error->message);
}

static void test_failure(void **state) {
    const proto_job_finish_t *finish =
        run_part(*state, "{\"do\": \"fail\", \"code\": \"INVALID\"}");
    assert_string_equal(finish->outcome, "failed");
    assert_string_equal(finish->error->code, "INVALID");
    assert_string_equal(finish->error->message, "the part is bad: ??"); // no UTF-8 before
    assert_string_equal(finish->error->remedy, "write a better one");
    assert_false(finish->error->retryable);
}

static void test_retryable_failure(void **state) {
    const proto_job_finish_t *finish = run_part(*state, "{\"do\": \"fail\", \"code\": \"IO\"}");
    assert_string_equal(finish->error->code, "IO");
    assert_true(finish->error->retryable);
}

static void test_cancelled_without_being_asked_is_a_failure(void **state) {
    const proto_job_finish_t *finish =
        run_part(*state, "{\"do\": \"fail\", \"code\": \"CANCELLED\"}");
    assert_string_equal(finish->outcome, "failed");
}

static void test_crash(void **state) {
    expect_death(run_part(*state, "{\"do\": \"crash\", \"signal\": 11}"), "signal 11",
                 "line one\nthe last words");
}

static void test_killed_from_outside(void **state) {
    expect_death(run_part(*state, "{\"do\": \"crash\", \"signal\": 9}"), "memory",
                 "the last words");
}

static void test_exit_without_a_word(void **state) {
    expect_death(run_part(*state, "{\"do\": \"leave\"}"), "exit status 3", "no more of this");
}

static void test_garbage_on_the_link(void **state) {
    expect_death(run_part(*state, "{\"do\": \"garbage\"}"), "rules of the link", "no frame");
}

static void test_result_too_large(void **state) {
    const proto_job_finish_t *finish = run_part(*state, "{\"do\": \"too_much\"}");
    assert_string_equal(finish->outcome, "failed");
    assert_non_null(strstr(finish->error->message, "result"));
}

static void test_missing_child_program(void **state) {
    setenv("PLAY_CHILD", "no_such_program", 1);
    const proto_job_finish_t *finish = run_part(*state, "{\"do\": \"succeed\"}");
    unsetenv("PLAY_CHILD");
    assert_string_equal(finish->outcome, "failed");
    assert_non_null(strstr(finish->error->message, "no_such_program"));
    assert_true(finish->error->remedy[0]);
}

// A job that cannot be started leaves the worker fit for the next one.
static void test_hostile_job_id(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "../../etc", 1, "{\"do\": \"succeed\"}");
    assert_string_equal(fake_finish(fake, NULL)->outcome, "failed");
    fake_assign(fake, "j2", 2, "{\"do\": \"succeed\"}");
    assert_string_equal(fake_finish(fake, NULL)->outcome, "succeeded");
}

static void test_child_is_no_program_for_people(void **state) {
    fake_t *fake = *state;
    fake->worker = fork();
    if (fake->worker == 0) {
        execl(PLAY_CHILD, PLAY_CHILD, (char *)NULL);
        _exit(127);
    }
    int status = fake_reap(fake);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

// --- Orders
// ---------------------------------------------------------------------------------------

static void test_duplicate_assign(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, (const char *[]){"--slots", "4", NULL});
    for (int i = 0; i < 3; i++)
        fake_assign(fake, "j1", 1, "{\"do\": \"succeed\"}");
    fake_finish(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"succeed\"}");
    fake_expect_nothing(fake, 500);
    fake_assign(fake, "j1", 2, "{\"do\": \"succeed\"}"); // another attempt
    assert_int_equal(fake_finish(fake, NULL)->token, 2);
}

static void test_gives_back_what_it_cannot_run(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    proto_worker_assign_t strange = {.job = "j1", .token = 1, .kind = "knit", .attempt = 1};
    fake_send(fake, PROTO_worker_assign, &strange);
    assert_string_equal(fake_finish(fake, NULL)->outcome, "released");
    fake_assign(fake, "j2", 2, "{\"do\": \"polite\"}");
    fake_assign(fake, "j3", 3, "{\"do\": \"succeed\"}"); // one slot only
    const proto_job_finish_t *finish = fake_finish(fake, NULL);
    assert_string_equal(finish->job, "j3");
    assert_string_equal(finish->outcome, "released");
    fake_wait_renew(fake);
    assert_int_equal(fake->renew.leases.count, 1);
}

static void test_cancel_ends_a_hanging_child(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"hang\"}");
    pid_t child = fake_child_pid(fake, "j1", 1, "pid");
    pid_t grandchild = fake_child_pid(fake, "j1", 1, "grandchild");
    proto_worker_cancel_t cancel = {.job = "j1", .token = 1};
    int64_t start = clock_mono_ms();
    fake_send(fake, PROTO_worker_cancel, &cancel);
    assert_string_equal(fake_finish(fake, NULL)->outcome, "cancelled");
    assert_true(clock_mono_ms() - start < 1000);
    assert_true(fake_gone(fake, child, 1000));
    assert_true(fake_gone(fake, grandchild, 1000));
}

static void test_cancel_by_heartbeat(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"polite\"}");
    pid_t child = fake_child_pid(fake, "j1", 1, "pid");
    const proto_hold_t hold = {.job = "j1", .token = 1};
    fake->renewed.cancel.items = &hold;
    fake->renewed.cancel.count = 1;
    int64_t start = clock_mono_ms();
    assert_string_equal(fake_finish(fake, NULL)->outcome, "cancelled");
    assert_true(clock_mono_ms() - start < 1000);
    assert_true(fake_gone(fake, child, 1000));
}

static void test_cancel_of_another_attempt_is_ignored(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 2, "{\"do\": \"polite\"}");
    pid_t child = fake_child_pid(fake, "j1", 2, "pid");
    proto_worker_cancel_t cancel = {.job = "j1", .token = 1};
    fake_send(fake, PROTO_worker_cancel, &cancel);
    fake_run(fake, 700);
    assert_false(fake_gone(fake, child, 0));
}

// --- Lost leases
// ----------------------------------------------------------------------------------

static void expect_dropped(fake_t *fake, pid_t child) {
    assert_true(fake_gone(fake, child, 1000));
    fake->taken = fake->got_count;
    fake_expect_nothing(fake, 300);
    assert_true(fake_metric(fake, "inkling_worker_jobs_total{outcome=\"lost\"}") == 1);
    fake_assign(fake, "j2", 9, "{\"do\": \"succeed\"}"); // the slot is free
    assert_string_equal(fake_finish(fake, NULL)->job, "j2");
}

static void test_lost_lease_kills_the_child(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"hang\"}");
    pid_t child = fake_child_pid(fake, "j1", 1, "pid");
    const proto_hold_t hold = {.job = "j1", .token = 1};
    fake->renewed.lost.items = &hold;
    fake->renewed.lost.count = 1;
    expect_dropped(fake, child);
}

static void test_stale_report_kills_the_child(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"flood\", \"count\": 100000}");
    pid_t child = fake_child_pid(fake, "j1", 1, "pid");
    fake_error(fake, fake_expect(fake, PROTO_job_report), ERR_STALE, NULL);
    expect_dropped(fake, child);
}

static void test_refused_hold_kills_the_child(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 7, "{\"do\": \"hang\"}");
    pid_t child = fake_child_pid(fake, "j1", 7, "pid");
    char boot[65];
    strcpy(boot, fake->hello.boot);
    const proto_hold_t hold = {.job = "j1", .token = 7};
    fake->welcome.refused.items = &hold;
    fake->welcome.refused.count = 1;
    fake->renewed.hello = true;
    fake_wait_hello(fake, 2);
    assert_string_equal(fake->hello.boot, boot);
    assert_int_equal(fake->hello.holds.count, 1);
    assert_string_equal(fake->hello.holds.items[0].job, "j1");
    assert_int_equal(fake->hello.holds.items[0].token, 7);
    expect_dropped(fake, child);
}

static void test_stale_finish_frees_the_slot(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"settings\"}");
    fake_error(fake, fake_expect(fake, PROTO_job_finish), ERR_STALE, NULL);
    fake_assign(fake, "j2", 2, "{\"do\": \"succeed\"}");
    assert_string_equal(fake_finish(fake, NULL)->job, "j2");
}

// --- Telling, whatever happens
// --------------------------------------------------------------------

static void test_flood_is_held_back_and_complete(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"flood\", \"count\": 20000}");
    const got_t *first = fake_expect(fake, PROTO_job_report);
    fake_expect_nothing(fake, 1000); // one at a time
    double waiting = fake_metric(fake, "inkling_worker_outbox");
    assert_true(waiting >= 1000 && waiting <= 1002);
    assert_false(fake_has_file(fake, "jobs/j1/1/flooded")); // the child waits, too
    uint64_t next = 1;
    for (const got_t *got = first;; got = NULL) {
        got = got ? got : &fake->got[fake->taken - 1];
        const proto_job_report_t *report = got->body;
        assert_int_equal(report->seq, next);
        for (size_t i = 0; i < report->events.count; i++) {
            json_t *data = proto_map_json(report->events.items[i].data);
            assert_int_equal(json_integer_value(json_object_get(data, "i")), next++);
            json_decref(data);
        }
        fake_ok(fake, got);
        if (next > 20000 - 1000)
            break;
        fake_expect(fake, PROTO_job_report);
    }
    for (;;) {
        const got_t *got = fake_next(fake);
        if (got->type == PROTO_job_finish) {
            const proto_job_finish_t *finish = got->body;
            assert_int_equal((finish->events.count ? finish->seq : next) + finish->events.count,
                             20001);
            fake_finished(fake, got, NULL);
            break;
        }
        const proto_job_report_t *report = got->body;
        assert_int_equal(report->seq, next);
        next += report->events.count;
        fake_ok(fake, got);
    }
}

static void test_checkpoint_in_order(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"checkpoint\"}");
    const got_t *got = fake_expect(fake, PROTO_job_report);
    const proto_job_report_t *report = got->body;
    assert_string_equal(report->events.items[0].type, "before");
    fake_ok(fake, got);
    got = fake_expect(fake, PROTO_job_checkpoint);
    const proto_job_checkpoint_t *message = got->body;
    assert_string_equal(message->worker, "play-0");
    assert_string_equal(message->job, "j1");
    assert_string_equal(message->checkpoint->path, "jobs/j/1/a.ckpt");
    assert_int_equal(message->checkpoint->step, 12);
    json_t *info = proto_map_json(message->checkpoint->info);
    assert_int_equal(json_integer_value(json_object_get(info, "epoch")), 3);
    json_decref(info);
    fake_expect_nothing(fake, 300); // the child waits for the answer
    fake_ok(fake, got);
    size_t events;
    json_t *result = result_of(fake_finish(fake, &events));
    assert_int_equal(events, 2);
    assert_string_equal(json_string_value(json_object_get(result, "checkpoint")), "OK");
    json_decref(result);
}

static void test_refused_checkpoint_is_told(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"checkpoint\"}");
    fake_ok(fake, fake_expect(fake, PROTO_job_report));
    fake_error(fake, fake_expect(fake, PROTO_job_checkpoint), ERR_INVALID, NULL);
    json_t *result = result_of(fake_finish(fake, NULL));
    assert_string_equal(json_string_value(json_object_get(result, "checkpoint")), "INVALID");
    json_decref(result);
}

static void test_busy_dispatcher_is_asked_again(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"ask\"}");
    const got_t *got = fake_expect(fake, PROTO_dataset_show);
    assert_string_equal(((const proto_dataset_show_t *)got->body)->name, "faces");
    fake_error(fake, got, ERR_UNAVAILABLE, NULL);
    got = fake_expect(fake, PROTO_dataset_show);
    proto_dataset_info_t info = {.name = "faces", .version = 3, .path = "datasets/faces/x"};
    proto_dataset_t dataset = {.dataset = &info};
    fake_answer(fake, got, PROTO_dataset, &dataset);
    fake_error(fake, fake_expect(fake, PROTO_job_finish), ERR_UNAVAILABLE, NULL);
    json_t *result = result_of(fake_finish(fake, NULL));
    assert_string_equal(json_string_value(json_object_get(result, "path")), "datasets/faces/x");
    json_decref(result);
}

static void test_error_answer_reaches_the_child(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"ask\"}");
    fake_error(fake, fake_expect(fake, PROTO_dataset_show), ERR_NOT_FOUND, NULL);
    const proto_job_finish_t *finish = fake_finish(fake, NULL);
    assert_string_equal(finish->outcome, "failed");
    assert_string_equal(finish->error->code, "NOT_FOUND");
    assert_string_equal(finish->error->message, "as the test wants");
}

static void test_refused_result_becomes_a_failure(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"settings\"}");
    fake_error(fake, fake_expect(fake, PROTO_job_finish), ERR_INVALID, NULL);
    const proto_job_finish_t *finish = fake_finish(fake, NULL);
    assert_string_equal(finish->outcome, "failed");
    assert_string_equal(finish->error->code, "INVALID");
    assert_string_equal(finish->error->message, "as the test wants");
}

static void test_unanswered_is_sent_again(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"flood\", \"count\": 500}");
    const got_t *first = fake_expect(fake, PROTO_job_report);
    const proto_job_report_t *report = first->body;
    int64_t start = clock_mono_ms();
    const got_t *second = fake_expect(fake, PROTO_job_report);
    const proto_job_report_t *again = second->body;
    assert_true(clock_mono_ms() - start > 4000);
    assert_int_equal(again->seq, report->seq); // the same, whatever was queued meanwhile
    assert_int_equal(again->events.count, report->events.count);
    fake_ok(fake, first);
    fake_ok(fake, second); // an answer too many does no harm
    size_t events;
    fake_finish(fake, &events);
    assert_int_equal(events, 500);
}

// The dispatcher was started anew, so quickly that the connection mended itself.
static void test_a_welcome_makes_it_send_again(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"flood\", \"count\": 500}");
    const proto_job_report_t *report = fake_expect(fake, PROTO_job_report)->body; // not answered
    int64_t start = clock_mono_ms();
    fake->renewed.hello = true;
    fake_wait_hello(fake, 2);
    const got_t *second = fake_expect(fake, PROTO_job_report);
    const proto_job_report_t *again = second->body;
    assert_true(clock_mono_ms() - start < 4500); // before it is tired of waiting
    assert_int_equal(again->seq, report->seq);
    assert_int_equal(again->events.count, report->events.count);
    fake_ok(fake, second);
    size_t events;
    fake_finish(fake, &events);
    assert_int_equal(events, 500);
}

// The dispatcher dies and comes back; the job goes on, ends meanwhile, and is told.
static void test_dispatcher_restarts(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"flood\", \"count\": 500}");
    fake_expect(fake, PROTO_job_report); // not answered
    fake_deaf(fake);
    fake_run(fake, 1500);
    assert_true(fake_has_file(fake, "jobs/j1/1/flooded"));
    fake->taken = fake->got_count;
    fake_listen(fake, fake->endpoint);
    fake_wait_hello(fake, 2);
    assert_int_equal(fake->hello.holds.count, 1);
    size_t events;
    assert_string_equal(fake_finish(fake, &events)->outcome, "succeeded");
    assert_int_equal(events, 500);
    assert_true(fake_metric(fake, "inkling_worker_reconnects_total") >= 1);
}

static void test_worker_starts_before_the_dispatcher(void **state) {
    fake_t *fake = *state;
    fake_deaf(fake);
    fake_worker(fake, NULL);
    fake_run(fake, 1200);
    fake_listen(fake, fake->endpoint);
    fake_wait_hello(fake, 1);
    fake_wait_renew(fake); // the first hello may come from a socket that the worker has left since
    fake_assign(fake, "j1", 1, "{\"do\": \"succeed\"}");
    assert_string_equal(fake_finish(fake, NULL)->outcome, "succeeded");
}

static void test_follows_the_leader(void **state) {
    fake_t *fake = *state;
    fake_t *leader = malloc(sizeof *leader);
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"flood\", \"count\": 10}");
    const got_t *got = fake_expect(fake, PROTO_job_report);
    fake_open(leader, PLAY_PARENT, "play");
    fake_listen(leader, leader->endpoint);
    fake_error(fake, got, ERR_NOT_LEADER, leader->endpoint);
    fake_wait_hello(leader, 1);
    assert_int_equal(leader->hello.holds.count, 1);
    size_t events;
    assert_string_equal(fake_finish(leader, &events)->outcome, "succeeded");
    assert_int_equal(events, 10);
    fake_close(leader);
    free(leader);
}

static void test_turns_to_the_next_when_none_answers(void **state) {
    fake_t *fake = *state;
    char both[300];
    snprintf(both, sizeof both, "%s,%s", fake->endpoint, fake->endpoint2);
    fake_worker(fake, (const char *[]){"--dispatcher", both, NULL});
    fake_assign(fake, "j1", 1, "{\"do\": \"polite\"}");
    fake_child_pid(fake, "j1", 1, "pid");
    fake->silent = true;
    fake_t *second = malloc(sizeof *second);
    fake_open(second, PLAY_PARENT, "play");
    fake_listen(second, fake->endpoint2);
    fake_wait_hello(second, 1);
    assert_int_equal(second->hello.holds.count, 1);
    assert_string_equal(second->hello.boot, fake->hello.boot);
    fake_close(second);
    free(second);
}

// --- The end
// --------------------------------------------------------------------------------------

static void test_drain_gives_jobs_back(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"polite\"}");
    pid_t child = fake_child_pid(fake, "j1", 1, "pid");
    kill(fake->worker, SIGTERM);
    const got_t *got = next_but_reports(fake, PROTO_job_checkpoint); // progress is kept
    assert_true(fake->renew.draining);
    fake_assign(fake, "j2", 2, "{\"do\": \"succeed\"}"); // too late
    fake_ok(fake, got);
    for (int i = 0; i < 2; i++)
        assert_string_equal(fake_finish(fake, NULL)->outcome, "released");
    got = fake_expect(fake, PROTO_worker_bye);
    assert_string_equal(((const proto_worker_bye_t *)got->body)->boot, fake->hello.boot);
    fake_ok(fake, got);
    int status = fake_reap(fake);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(fake_gone(fake, child, 1000));
}

static void test_drain_of_an_idle_worker_without_dispatcher(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_wait_renew(fake);
    fake_deaf(fake);
    int64_t start = clock_mono_ms();
    kill(fake->worker, SIGTERM);
    int status = fake_reap(fake);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(clock_mono_ms() - start < 6000);
}

static void test_child_dies_with_its_parent(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"hang\"}");
    pid_t child = fake_child_pid(fake, "j1", 1, "pid");
    pid_t grandchild = fake_child_pid(fake, "j1", 1, "grandchild");
    kill(fake->worker, SIGKILL);
    fake_reap(fake);
    assert_true(fake_gone(fake, child, 1000));
    kill(grandchild, SIGKILL);
}

static void test_idle_worker_is_small(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"flood\", \"count\": 5000}");
    fake_finish(fake, NULL);
    fake_wait_renew(fake);
#ifndef WORKER_SANITIZED
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)fake->worker);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %ld", &kib) == 1)
            break;
    fclose(file);
    print_message("RssAnon of the idle worker: %ld KiB\n", kib);
    assert_in_range(kib, 1, 10 * 1024);
#endif
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_hello),
        TEST(test_success),
        TEST(test_settings_reach_the_child),
        TEST(test_leases_tell_progress),
        TEST(test_next_job_comes_with_the_answer),
        TEST(test_slots_run_side_by_side),
        TEST(test_failure),
        TEST(test_retryable_failure),
        TEST(test_cancelled_without_being_asked_is_a_failure),
        TEST(test_crash),
        TEST(test_killed_from_outside),
        TEST(test_exit_without_a_word),
        TEST(test_garbage_on_the_link),
        TEST(test_result_too_large),
        TEST(test_missing_child_program),
        TEST(test_hostile_job_id),
        TEST(test_child_is_no_program_for_people),
        TEST(test_duplicate_assign),
        TEST(test_gives_back_what_it_cannot_run),
        TEST(test_cancel_ends_a_hanging_child),
        TEST(test_cancel_by_heartbeat),
        TEST(test_cancel_of_another_attempt_is_ignored),
        TEST(test_lost_lease_kills_the_child),
        TEST(test_stale_report_kills_the_child),
        TEST(test_refused_hold_kills_the_child),
        TEST(test_stale_finish_frees_the_slot),
        TEST(test_flood_is_held_back_and_complete),
        TEST(test_checkpoint_in_order),
        TEST(test_refused_checkpoint_is_told),
        TEST(test_busy_dispatcher_is_asked_again),
        TEST(test_error_answer_reaches_the_child),
        TEST(test_refused_result_becomes_a_failure),
        TEST(test_unanswered_is_sent_again),
        TEST(test_a_welcome_makes_it_send_again),
        TEST(test_dispatcher_restarts),
        TEST(test_worker_starts_before_the_dispatcher),
        TEST(test_follows_the_leader),
        TEST(test_turns_to_the_next_when_none_answers),
        TEST(test_drain_gives_jobs_back),
        TEST(test_drain_of_an_idle_worker_without_dispatcher),
        TEST(test_child_dies_with_its_parent),
        TEST(test_idle_worker_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
