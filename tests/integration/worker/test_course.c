// Does a worker run jobs from its hello to its end: results, settings, slots, progress in its
// heartbeats, and nothing left when it is drained or dies?
#include "rig.h"

#include "base/clock.h"
#include "proto/json.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

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
    json_t *result = rig_result(finish);
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
    json_t *result = rig_result(fake_finish(fake, NULL));
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
    const got_t *got = rig_next_but_reports(fake, PROTO_job_finish);
    json_t *body = json_pack("{s:s}", "do", "succeed");
    proto_worker_assign_t after = {.job = "j2", .token = 2, .kind = "play", .attempt = 4};
    assert_int_equal(proto_map_from_json(body, fake->arena, &after.body, NULL), ERR_OK);
    json_decref(body);
    fake_finished(fake, got, &after);
    const proto_job_finish_t *finish = fake_finish(fake, NULL);
    assert_string_equal(finish->job, "j2");
    json_t *result = rig_result(finish);
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

// --- The end

static void test_drain_gives_jobs_back(void **state) {
    fake_t *fake = *state;
    fake_worker(fake, NULL);
    fake_assign(fake, "j1", 1, "{\"do\": \"polite\"}");
    pid_t child = fake_child_pid(fake, "j1", 1, "pid");
    kill(fake->worker, SIGTERM);
    const got_t *got = rig_next_but_reports(fake, PROTO_job_checkpoint); // progress is kept
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

int main(void) {
    const struct CMUnitTest tests[] = {
        RIG_TEST(test_hello),
        RIG_TEST(test_success),
        RIG_TEST(test_settings_reach_the_child),
        RIG_TEST(test_leases_tell_progress),
        RIG_TEST(test_next_job_comes_with_the_answer),
        RIG_TEST(test_slots_run_side_by_side),
        RIG_TEST(test_drain_gives_jobs_back),
        RIG_TEST(test_drain_of_an_idle_worker_without_dispatcher),
        RIG_TEST(test_child_dies_with_its_parent),
        RIG_TEST(test_idle_worker_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
