// Does a worker do as the dispatcher bids: each assignment once, what it cannot run given back, and
// an end to what was cancelled or is no longer its own?
#include "rig.h"

#include "base/clock.h"

#include <string.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_duplicate_assign),
        RIG_TEST(test_gives_back_what_it_cannot_run),
        RIG_TEST(test_cancel_ends_a_hanging_child),
        RIG_TEST(test_cancel_by_heartbeat),
        RIG_TEST(test_cancel_of_another_attempt_is_ignored),
        RIG_TEST(test_lost_lease_kills_the_child),
        RIG_TEST(test_stale_report_kills_the_child),
        RIG_TEST(test_refused_hold_kills_the_child),
        RIG_TEST(test_stale_finish_frees_the_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
