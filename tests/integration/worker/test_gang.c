// Does a member of a gang know its rank and its others, and does it end when the gang does?
#include "rig.h"

#include "proto/json.h"

#include <string.h>

static void assign(fake_t *fake, uint64_t rank, uint64_t world, const char *part) {
    json_t *body = json_pack("{s:s}", "do", part);
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
    assign(fake, 1, 3, "meet");
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
    assign(fake, 0, 0, "meet");
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
    assign(fake, 1, 3, "meet");
    fake_error(fake, expect_meet(fake, 1, "round-1"), ERR_STALE, NULL);
    const proto_job_finish_t *finish = fake_finish(fake, NULL);
    assert_string_equal(finish->outcome, "failed");
    assert_string_equal(finish->error->code, "STALE");
}

static void test_a_cancel_ends_the_waiting(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    assign(fake, 1, 3, "meet");
    expect_meet(fake, 1, "round-1");
    const proto_worker_cancel_t cancel = {.job = "j1", .token = 1};
    fake_send(fake, PROTO_worker_cancel, &cancel);
    assert_string_equal(fake_finish(fake, NULL)->outcome, "cancelled");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_ranks_meet),
        RIG_TEST(test_one_meets_oneself),
        RIG_TEST(test_a_refused_meeting_is_the_job_s_error),
        RIG_TEST(test_a_cancel_ends_the_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
