// Is a submit taken once, whatever its key, and refused when it says what its kind does not know?
#include "scene.h"

#include "base/clock.h"

#include <string.h>

static hand_t ann;

static void open(const char *const *settings) {
    scene_open(NULL, settings);
    hand_open(&ann, "ann", "play", 1);
}

// --- Idempotency

static void test_a_key_gets_one_job(void **state) {
    (void)state;
    open(NULL);
    proto_job_submit_t submit = scene_wish("play", "{\"n\":1}");
    submit.key = "the same";
    const proto_job_submitted_t *first = scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    assert_false(first->existing);
    scene_kill_dispatcher();
    scene_start_dispatcher();
    const proto_job_submitted_t *again = scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    assert_string_equal(again->job, first->job);
    assert_true(again->existing);
    hand_hello(&ann, NULL, 0);
    hand_finish(&ann, hand_take(&ann), "succeeded", "succeeded");
    again = scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    assert_string_equal(again->job, first->job);
    submit.key = "another";
    again = scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    assert_string_not_equal(again->job, first->job);
}

static void test_a_key_is_of_one_kind_and_body(void **state) {
    (void)state;
    open(NULL);
    const char *wrong = "the key is that of job 1, which has another kind or body";
    proto_job_submit_t submit = scene_wish("play", "{\"n\":1}");
    submit.key = "mine";
    scene_ask(PROTO_job_submit, &submit, PROTO_job_submitted);
    proto_job_submit_t other = scene_wish("play", "{\"n\":2}");
    other.key = "mine";
    err_t err = scene_refused(PROTO_job_submit, &other, ERR_CONFLICT);
    assert_string_equal(err.message, wrong);
    assert_string_equal(err.remedy, "give each job a key of its own, e.g. a random UUID");
    submit.kind = "plax";
    scene_refused(PROTO_job_submit, &submit, ERR_CONFLICT);
    // A built-in kind is found out before its references are looked at.
    proto_job_submit_t train = scene_wish("train", "{\"dataset\":\"none\"}");
    train.key = "mine";
    assert_string_equal(scene_refused(PROTO_job_submit, &train, ERR_CONFLICT).message, wrong);
    assert_int_equal(scene_redis_number("ZCARD st:queued"), 1);
}

// Parameters are named as the kind has them, or the job is refused; other kinds are the workers'.
static void test_unknown_parameters_are_refused(void **state) {
    (void)state;
    open(NULL);
    proto_job_submit_t train = scene_wish("train", "{\"dataset\":\"heads\",\"epoch\":3}");
    err_t err = scene_refused(PROTO_job_submit, &train, ERR_INVALID);
    assert_string_equal(err.message, "the kind train has no parameter 'epoch'");
    assert_string_equal(err.remedy, "did you mean epochs?");
    train = scene_wish("train", "{\"dataset\":\"heads\",\"xyzzy\":null}");
    err = scene_refused(PROTO_job_submit, &train, ERR_INVALID);
    assert_string_equal(err.message, "the kind train has no parameter 'xyzzy'");
    assert_non_null(strstr(err.remedy, "inkling help train"));
    scene_submit("play", "{\"epoch\":3}");
    assert_int_equal(scene_redis_number("ZCARD st:queued"), 1);
}

static void test_replicas(void **state) {
    (void)state;
    open(NULL);
    static const struct {
        const char *body, *words;
    } wrong[] = {{"{\"dataset\":\"heads\",\"replicas\":0}", "replicas"},
                 {"{\"dataset\":\"heads\",\"replicas\":65}", "replicas"},
                 {"{\"dataset\":\"heads\",\"replicas\":2,\"min_replicas\":3}",
                  "min_replicas 3 is more than replicas 2"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        proto_job_submit_t train = scene_wish("train", wrong[i].body);
        err_t err = scene_refused(PROTO_job_submit, &train, ERR_INVALID);
        assert_non_null(strstr(err.message, wrong[i].words));
    }
}

// Many in one batch.
static void test_a_key_gets_one_job_in_one_batch(void **state) {
    (void)state;
    open(NULL);
    proto_job_submit_t submit = scene_wish("play", NULL);
    submit.key = "k";
    err_t err;
    for (uint64_t id = 1; id <= 300; id++)
        if (bus_send(ann.dealer, NULL, 1000 + id, 0, PROTO_job_submit, &submit, NULL, 0, &err))
            fail_msg("%s", err.message);
    scene_submit("play", NULL);
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (ann.got_count < 300 && clock_mono_ms() < end_ms)
        hand_next(&ann, PROTO_worker_cancel, 10); // only receives
    assert_int_equal(ann.got_count, 300);
    size_t fresh = 0;
    for (size_t i = 0; i < 300; i++) {
        const proto_job_submitted_t *done = ann.got[i].body;
        assert_string_equal(done->job, ((proto_job_submitted_t *)ann.got[0].body)->job);
        fresh += !done->existing;
    }
    assert_int_equal(fresh, 1);
    assert_int_equal(scene_redis_number("ZCARD st:queued"), 2);
}

#define TEST(name) cmocka_unit_test_teardown(name, scene_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_key_gets_one_job),
        TEST(test_a_key_is_of_one_kind_and_body),
        TEST(test_unknown_parameters_are_refused),
        TEST(test_replicas),
        TEST(test_a_key_gets_one_job_in_one_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
