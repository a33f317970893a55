// Is nothing lost when the dispatcher does not answer, is started anew, comes late, or is
// elsewhere?
#include "rig.h"

#include "base/clock.h"

#include <stdio.h>

static void test_unanswered_is_sent_again(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"flood\", \"count\": 500}");
    const got_t *first = fake_expect(fake, PROTO_job_report);
    const proto_job_report_t *report = first->body;
    int64_t start = clock_mono_ms();
    const got_t *second = fake_expect(fake, PROTO_job_report);
    const proto_job_report_t *again = second->body;
    assert_true(clock_mono_ms() - start > 3000); // 5 s, of which some passed before the test saw it
    assert_int_equal(again->seq, report->seq);   // the same, whatever was queued meanwhile
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
    for (int i = 0; i < 100 && !fake_has_file(fake, "jobs/j1/1/flooded"); i++)
        fake_run(fake, 100);
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
    fake_assign_surely(fake, "j1", 1, "{\"do\": \"succeed\"}");
    assert_string_equal(fake_finish(fake, NULL)->outcome, "succeeded");
}

static void test_follows_the_leader(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"flood\", \"count\": 10}");
    const got_t *got = fake_next(fake); // a report; of a slow machine the end
    fake_t *leader = rig_open();
    fake_listen(leader, leader->endpoint);
    fake_error(fake, got, ERR_NOT_LEADER, leader->endpoint);
    fake_wait_hello(leader, 1);
    assert_int_equal(leader->hello.holds.count, 1);
    size_t events;
    assert_string_equal(fake_finish(leader, &events)->outcome, "succeeded");
    assert_int_equal(events, 10);
    rig_close(leader);
}

static void test_turns_to_the_next_when_none_answers(void **state) {
    fake_t *fake = *state;
    char both[300];
    snprintf(both, sizeof both, "%s,%s", fake->endpoint, fake->endpoint2);
    fake_worker(fake, (const char *[]){"--dispatcher", both, NULL});
    fake_assign(fake, "j1", 1, "{\"do\": \"polite\"}");
    fake_child_pid(fake, "j1", 1, "pid");
    fake->silent = true;
    fake_t *second = rig_open();
    fake_listen(second, fake->endpoint2);
    fake_wait_hello(second, 1);
    assert_int_equal(second->hello.holds.count, 1);
    assert_string_equal(second->hello.boot, fake->hello.boot);
    rig_close(second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_unanswered_is_sent_again), RIG_TEST(test_a_welcome_makes_it_send_again),
        RIG_TEST(test_dispatcher_restarts),      RIG_TEST(test_worker_starts_before_the_dispatcher),
        RIG_TEST(test_follows_the_leader),       RIG_TEST(test_turns_to_the_next_when_none_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
