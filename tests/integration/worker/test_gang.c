// Does a member of a gang know its rank and its others, and does it end when the gang does?
#include "rig.h"

#include "base/clock.h"
#include "proto/json.h"

#include <signal.h>
#include <string.h>

static void assign(fake_t *fake, uint64_t rank, uint64_t world, const char *body_json) {
    json_t *body = json_loads(body_json, 0, NULL);
    proto_worker_assign_t member = {
        .job = "j1", .token = 1, .kind = fake->kind, .attempt = 1, .rank = rank, .world = world};
    assert_int_equal(proto_map_from_json(body, fake->arena, &member.body, NULL), ERR_OK);
    json_decref(body);
    fake_send(fake, PROTO_worker_assign, &member);
}

static const got_t *expect_meet(fake_t *fake, uint64_t rank, const char *round) {
    const got_t *got = fake_expect(fake, PROTO_gang_meet);
    const proto_gang_meet_t *meet = got->body;
    assert_string_equal(meet->job, "j1");
    assert_int_equal(meet->token, 1);
    assert_int_equal(meet->rank, rank);
    assert_string_equal(meet->round, round);
    assert_int_equal(meet->data.size, strlen("from 1"));
    return got;
}

static void answer_meet(fake_t *fake, const got_t *got) {
    const proto_gang_part_t parts[] = {
        {.data = {"zero", 4}}, {.data = {NULL, 0}}, {.data = {"two", 3}}};
    const proto_gang_met_t met = {.parts = {parts, 3}};
    fake_answer(fake, got, PROTO_gang_met, &met);
}

static void test_ranks_meet(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 1, 3, "{\"do\": \"meet\"}");
    answer_meet(fake, expect_meet(fake, 1, "round-1"));
    answer_meet(fake, expect_meet(fake, 1, "round-2"));
    const proto_job_finish_t *finish = fake_finish(fake, NULL);
    assert_string_equal(finish->outcome, "succeeded");
    json_t *result = rig_result(finish);
    json_t *met = json_object_get(result, "met");
    assert_int_equal(json_array_size(met), 6);
    assert_string_equal(json_string_value(json_array_get(met, 3)), "zero");
    assert_string_equal(json_string_value(json_array_get(met, 4)), "");
    assert_string_equal(json_string_value(json_array_get(met, 5)), "two");
    assert_string_equal(json_string_value(json_object_get(result, "address")), "127.0.0.1");
    json_decref(result);
}

static void test_one_meets_oneself(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 0, 0, "{\"do\": \"meet\"}");
    const proto_job_finish_t *finish = fake_finish(fake, NULL);
    assert_string_equal(finish->outcome, "succeeded");
    json_t *result = rig_result(finish);
    assert_int_equal(json_array_size(json_object_get(result, "met")), 2);
    assert_true(json_is_null(json_object_get(result, "address")));
    json_decref(result);
}

// The dispatcher says that the gang has ended.
static void test_a_refused_meeting_is_the_job_s_error(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 1, 3, "{\"do\": \"meet\"}");
    fake_error(fake, expect_meet(fake, 1, "round-1"), ERR_STALE, NULL);
    const proto_job_finish_t *finish = fake_finish(fake, NULL);
    assert_string_equal(finish->outcome, "failed");
    assert_string_equal(finish->error->code, "STALE");
}

static void test_a_cancel_ends_the_waiting(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 1, 3, "{\"do\": \"meet\"}");
    expect_meet(fake, 1, "round-1");
    const proto_worker_cancel_t cancel = {.job = "j1", .token = 1};
    fake_send(fake, PROTO_worker_cancel, &cancel);
    assert_string_equal(fake_finish(fake, NULL)->outcome, "cancelled");
}

// --- Processes that stand still

static void expect_frozen(fake_t *fake, const char *body) {
    assign(fake, 1, 2, body);
    pid_t child = fake_child_pid(fake, "j1", 1, "pid");
    int64_t begun_ms = clock_mono_ms();
    const proto_job_finish_t *finish = fake_finish(fake, NULL);
    int64_t took_ms = clock_mono_ms() - begun_ms;
    assert_string_equal(finish->outcome, "died");
    assert_non_null(strstr(finish->error->message, "nothing was heard of it for"));
    assert_non_null(strstr(finish->error->remedy, "who stopped it"));
    assert_in_range(took_ms, 3500, 5000);
    assert_true(fake_gone(fake, child, 1000));
}

static void test_a_stopped_process_is_ended_within_5_s(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    expect_frozen(fake, "{\"do\": \"freeze\", \"after_ms\": 300}");
}

// It makes no step, and that may be: its thread tells that it lives.
static void test_a_long_step_is_no_standstill(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 1, 2, "{\"do\": \"hang\"}");
    pid_t child = fake_child_pid(fake, "j1", 1, "pid");
    fake_run(fake, 7000);
    assert_false(fake_gone(fake, child, 0));
    fake->taken = fake->got_count;
    fake_expect_nothing(fake, 100);
    const proto_worker_cancel_t cancel = {.job = "j1", .token = 1};
    fake_send(fake, PROTO_worker_cancel, &cancel); // and with it, what it has begun itself
    assert_string_equal(fake_finish(fake, NULL)->outcome, "cancelled");
}

// Nobody waits for it: how long it may stand still is the dispatcher's business.
static void test_a_stopped_process_without_a_gang_is_let_be(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 0, 0, "{\"do\": \"freeze\"}");
    pid_t child = fake_child_pid(fake, "j1", 1, "pid");
    fake_expect_nothing(fake, 6000);
    assert_false(fake_gone(fake, child, 0));
}

// A worker that was stopped itself has not listened meanwhile.
static void test_a_stopped_worker_does_not_blame_its_process(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 1, 2, "{\"do\": \"polite\"}");
    pid_t child = fake_child_pid(fake, "j1", 1, "pid");
    kill(fake->worker, SIGSTOP);
    fake_run(fake, 6000);
    kill(fake->worker, SIGCONT);
    fake_run(fake, 2000);
    assert_false(fake_gone(fake, child, 0));
    // Both were, as when their container is: they begin anew together.
    kill(fake->worker, SIGSTOP);
    kill(child, SIGSTOP);
    fake_run(fake, 6000);
    kill(fake->worker, SIGCONT);
    fake_run(fake, 300);
    kill(child, SIGCONT);
    fake_run(fake, 2000);
    assert_false(fake_gone(fake, child, 0));
}

// The dispatcher wants the job back: a checkpoint comes first, and the worker is fit for the next.
static void test_a_release_brings_a_checkpoint(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 0, 2, "{\"do\": \"polite\"}");
    fake_child_pid(fake, "j1", 1, "pid");
    const proto_worker_release_t release = {.job = "j1", .token = 1};
    fake_send(fake, PROTO_worker_release, &release);
    fake_send(fake, PROTO_worker_release, &release); // it may come again
    fake_ok(fake, rig_next_but_reports(fake, PROTO_job_checkpoint));
    assert_string_equal(fake_finish(fake, NULL)->outcome, "released");
    fake_assign(fake, "j2", 2, "{\"do\": \"succeed\"}");
    assert_string_equal(fake_finish(fake, NULL)->outcome, "succeeded");
}

// As it is said with a heartbeat.
static void test_a_release_with_a_renewal(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 0, 2, "{\"do\": \"polite\"}");
    fake_child_pid(fake, "j1", 1, "pid");
    static const proto_hold_t hold = {.job = "j1", .token = 1};
    fake->renewed.release.items = &hold;
    fake->renewed.release.count = 1;
    fake_ok(fake, rig_next_but_reports(fake, PROTO_job_checkpoint));
    assert_string_equal(fake_finish(fake, NULL)->outcome, "released");
}

static void test_what_is_lost_is_ended_at_once_without_a_word(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 1, 2, "{\"do\": \"hang\"}");
    pid_t pid = fake_child_pid(fake, "j1", 1, "pid");
    const proto_worker_lost_t lost = {.job = "j1", .token = 1};
    fake_send(fake, PROTO_worker_lost, &lost);
    assert_true(fake_gone(fake, pid, 1000));
    fake_expect_nothing(fake, 500);
    fake_assign(fake, "j2", 2, "{\"do\": \"succeed\"}");
    assert_string_equal(fake_finish(fake, NULL)->outcome, "succeeded");
}

// Events, and progress as events, are rank 0's.
static void test_other_ranks_tell_no_events(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 1, 2, "{\"do\": \"succeed\"}");
    size_t events = 1;
    assert_string_equal(fake_finish(fake, &events)->outcome, "succeeded");
    assert_int_equal(events, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_a_release_brings_a_checkpoint),
        RIG_TEST(test_a_release_with_a_renewal),
        RIG_TEST(test_what_is_lost_is_ended_at_once_without_a_word),
        RIG_TEST(test_other_ranks_tell_no_events),
        RIG_TEST(test_ranks_meet),
        RIG_TEST(test_one_meets_oneself),
        RIG_TEST(test_a_refused_meeting_is_the_job_s_error),
        RIG_TEST(test_a_cancel_ends_the_waiting),
        RIG_TEST(test_a_stopped_process_is_ended_within_5_s),
        RIG_TEST(test_a_long_step_is_no_standstill),
        RIG_TEST(test_a_stopped_process_without_a_gang_is_let_be),
        RIG_TEST(test_a_stopped_worker_does_not_blame_its_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
