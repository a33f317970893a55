// Does all that a child says reach the dispatcher, once and in order, and each answer the child,
// whatever the answer is?
#include "rig.h"

#include "proto/json.h"

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
    json_t *result = rig_result(fake_finish(fake, &events));
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
    json_t *result = rig_result(fake_finish(fake, NULL));
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
    json_t *result = rig_result(fake_finish(fake, NULL));
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

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_flood_is_held_back_and_complete),
        RIG_TEST(test_checkpoint_in_order),
        RIG_TEST(test_refused_checkpoint_is_told),
        RIG_TEST(test_busy_dispatcher_is_asked_again),
        RIG_TEST(test_error_answer_reaches_the_child),
        RIG_TEST(test_refused_result_becomes_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
