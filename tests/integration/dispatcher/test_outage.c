// What becomes of requests and jobs when Redis is away or full, and when two dispatchers share it?
#include "scene.h"

#include "base/clock.h"
#include "conf/conf.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static hand_t ann;

static const proto_worker_assign_t *begin(const char *const *redis_extra) {
    scene_open(redis_extra, NULL);
    hand_open(&ann, "ann", "play", 1);
    hand_hello(&ann, NULL, 0);
    scene_submit("play", NULL);
    return hand_take(&ann);
}

// --- Redis

static void test_a_short_outage_is_waited_for(void **state) {
    (void)state;
    err_t err;
    const proto_worker_assign_t *job = begin(NULL);
    redis_kill(&scene.redis);
    proto_job_submit_t submit = scene_wish("play", NULL);
    bus_send(ann.dealer, NULL, 900, 0, PROTO_job_submit, &submit, NULL, 0, &err);
    assert_int_equal(hand_renew_job(&ann, job, 1)->lost.count, 0); // needs no Redis
    if (redis_restart(&scene.redis, &err) != ERR_OK)
        fail_msg("%s", err.message);
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (ann.got_count == 0 && clock_mono_ms() < end_ms)
        hand_next(&ann, PROTO_worker_cancel, 10); // only receives
    assert_int_equal(ann.got_count, 1);
    assert_int_equal(ann.got[0].type, PROTO_job_submitted);
    ann.got_count = 0;
    hand_finish(&ann, job, "succeeded", "succeeded");
    assert_string_equal(scene_history(job->job), "queued running succeeded");
    assert_int_equal(scene_redis_number("GET ids"), 2);
}

static void test_a_long_outage_is_told(void **state) {
    (void)state;
    err_t err = {ERR_OK, "", ""};
    const proto_worker_assign_t *job = begin(NULL);
    redis_kill(&scene.redis);
    proto_job_show_t show = {.job = job->job};
    assert_null(hand_try(&ann, PROTO_job_show, &show, PROTO_job, &err));
    assert_int_equal(err.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, scene.redis.socket));
    assert_true(err.remedy[0] != 0);
    if (redis_restart(&scene.redis, &err) != ERR_OK)
        fail_msg("%s", err.message);
    if (proc_await_ready(&scene.dispatcher, PATIENCE_MS, &err) != ERR_OK)
        fail_msg("%s", err.message);
    hand_renew_job(&ann, job, 1);
    hand_finish(&ann, job, "succeeded", "succeeded");
    assert_string_equal(scene_history(job->job), "queued running succeeded");
}

// What adds work is refused, what runs can come to its end.
static void test_memory_is_full(void **state) {
    (void)state;
    char reply[64];
    err_t err = {ERR_OK, "", ""};
    const proto_worker_assign_t *job = begin(NULL);
    scene_redis("CONFIG SET maxmemory 1", reply, sizeof reply);
    proto_job_submit_t submit = scene_wish("play", NULL);
    assert_null(hand_try(&ann, PROTO_job_submit, &submit, PROTO_job_submitted, &err));
    assert_int_equal(err.code, ERR_FULL);
    assert_non_null(strstr(err.message, "Redis has no memory left"));
    assert_int_equal(hand_report(&ann, job, 1, 2, "still here"), ERR_OK);
    assert_int_equal(hand_checkpoint(&ann, job, 3), ERR_OK);
    hand_finish(&ann, job, "succeeded", "succeeded");
    assert_int_equal(scene_show(job->job)->last_event, 2 + 2 + 1 + 1);
    scene_redis("CONFIG SET maxmemory 0", reply, sizeof reply);
    scene_submit("play", NULL);
}

// Its dump cannot be written, so Redis refuses every change until it can.
static void test_the_disk_refuses(void **state) {
    (void)state;
    char reply[256] = "", command[160];
    err_t err = {ERR_OK, "", ""};
    const proto_worker_assign_t *job = begin((const char *[]){"--save", "3600 1", NULL});
    snprintf(command, sizeof command, "%s/dump.rdb", scene.redis.folder);
    assert_int_equal(mkdir(command, 0700), 0); // a folder in the file's place
    scene_redis("CONFIG SET stop-writes-on-bgsave-error yes", reply, sizeof reply);
    scene_redis("BGSAVE", reply, sizeof reply);
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    char info[4096] = "";
    while (!strstr(info, "rdb_last_bgsave_status:err") && clock_mono_ms() < end_ms)
        scene_redis("INFO persistence", info, sizeof info);
    proto_job_submit_t submit = scene_wish("play", NULL);
    assert_null(hand_try(&ann, PROTO_job_submit, &submit, PROTO_job_submitted, &err));
    assert_int_equal(err.code, ERR_FULL);
    assert_non_null(strstr(err.message, "Redis cannot write to its disk"));
    assert_string_equal(err.remedy, "free some disk space");
    proto_job_finish_t finish = hand_end(&ann, job, "succeeded");
    assert_null(hand_try(&ann, PROTO_job_finish, &finish, PROTO_job_finished, &err));
    assert_int_equal(err.code, ERR_FULL); // the worker tells it again
    assert_int_equal(hand_renew_job(&ann, job, 1)->lost.count, 0);
    assert_int_equal(rmdir(command), 0);
    scene_redis("BGSAVE", reply, sizeof reply);
    while (!strstr(info, "rdb_last_bgsave_status:ok") && clock_mono_ms() < end_ms)
        scene_redis("INFO persistence", info, sizeof info);
    hand_finish(&ann, job, "succeeded", "succeeded");
    assert_string_equal(scene_history(job->job), "queued running succeeded");
}

// --- Data of other versions

static void test_data_of_an_older_version_are_taken_over(void **state) {
    (void)state;
    char reply[64];
    err_t err;
    const proto_worker_assign_t *job = begin(NULL);
    hand_renew_job(&ann, job, 1);
    scene_kill_dispatcher();
    assert_true(scene_redis_number("GET schema") > 1);
    scene_redis("SET schema 1", reply, sizeof reply);
    scene_start_dispatcher();
    assert_true(scene_redis_number("GET schema") > 1); // from now on the older one refuses them
    const proto_hold_t hold = {.job = job->job, .token = job->token};
    assert_int_equal(hand_hello(&ann, &hold, 1)->refused.count, 0);
    hand_finish(&ann, job, "succeeded", "succeeded");
    scene_kill_dispatcher();
    scene_redis("SET schema 9", reply, sizeof reply);
    scene_begin_dispatcher();
    proto_job_show_t show = {.job = job->job};
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    do {
        assert_null(hand_try(&ann, PROTO_job_show, &show, PROTO_job, &err));
    } while (err.code == ERR_NOT_LEADER && clock_mono_ms() < end_ms);
    assert_non_null(strstr(err.message, "the data in Redis have schema 9"));
    assert_non_null(strstr(err.remedy, "install the newer Inkling"));
}

// --- Two dispatchers

static void test_the_other_takes_over_and_the_first_is_fenced_off(void **state) {
    (void)state;
    err_t err = {ERR_OK, "", ""};
    proc_t second;
    const proto_worker_assign_t *job = begin(NULL);
    hand_renew_job(&ann, job, 1);
    scene_start_second(&second, "dispatcher-1");
    char *endpoint = conf_endpoint(scene.home, "dispatcher-1"), *first = scene.endpoint;
    scene.endpoint = endpoint;
    hand_t bob;
    hand_open(&bob, "ann", "play", 1); // the same worker's way to the other
    scene.endpoint = first;
    bob.boot = ann.boot;
    // It stands by, and names who leads.
    proto_job_show_t show = {.job = job->job};
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    while (clock_mono_ms() < end_ms && !strstr(err.message, first)) {
        assert_null(hand_try(&bob, PROTO_job_show, &show, PROTO_job, &err));
        assert_int_equal(err.code, ERR_NOT_LEADER);
    }
    assert_non_null(strstr(err.message, first));
    // The leader is stopped; the other takes over with all leases.
    proc_signal(&scene.dispatcher, SIGSTOP);
    if (proc_await_ready(&second, PATIENCE_MS, &err) != ERR_OK)
        fail_msg("%s", err.message);
    const proto_hold_t hold = {.job = job->job, .token = job->token};
    assert_int_equal(hand_hello(&bob, &hold, 1)->refused.count, 0);
    assert_int_equal(hand_renew_job(&bob, job, 2)->lost.count, 0);
    assert_int_equal(hand_report(&bob, job, 1, 1, "to the second"), ERR_OK);
    // It wakes up and believes that it leads: what it is asked now is in the epoch before.
    proto_job_submit_t submit = scene_wish("play", NULL);
    bus_send(ann.dealer, NULL, 900, 0, PROTO_job_submit, &submit, NULL, 0, &err);
    proc_signal(&scene.dispatcher, SIGCONT);
    while (ann.got_count == 0 && clock_mono_ms() < end_ms)
        hand_next(&ann, PROTO_worker_cancel, 10); // only receives
    assert_int_equal(ann.got_count, 1);
    assert_int_equal(ann.got[0].type, PROTO_error);
    assert_string_equal(((proto_error_t *)ann.got[0].body)->code, "NOT_LEADER");
    ann.got_count = 0;
    end_ms = clock_mono_ms() + PATIENCE_MS;
    while (clock_mono_ms() < end_ms && !strstr(err.message, endpoint))
        assert_null(hand_try(&ann, PROTO_job_show, &show, PROTO_job, &err));
    assert_int_equal(err.code, ERR_NOT_LEADER);
    assert_non_null(strstr(err.message, endpoint));
    assert_int_equal(scene_redis_number("GET ids"), 1);
    hand_finish(&bob, job, "succeeded", "succeeded");
    // The second is killed: the first leads again, and nothing is lost.
    proc_kill(&second);
    if (proc_await_ready(&scene.dispatcher, PATIENCE_MS, &err) != ERR_OK)
        fail_msg("%s", err.message);
    assert_string_equal(scene_history(job->job), "queued running succeeded");
    assert_int_equal(scene_redis_number("HGET lead epoch"), 3);
    free(endpoint);
}

#define TEST(name) cmocka_unit_test_teardown(name, scene_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_short_outage_is_waited_for),
        TEST(test_a_long_outage_is_told),
        TEST(test_memory_is_full),
        TEST(test_the_disk_refuses),
        TEST(test_data_of_an_older_version_are_taken_over),
        TEST(test_the_other_takes_over_and_the_first_is_fenced_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
