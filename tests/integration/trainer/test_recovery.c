// Is the promise kept with nothing played: real Redis, dispatcher, ingest and trainer, each of the
// trainer, its engine, the dispatcher and Redis killed in the middle of one job, and the weights
// the very same as undisturbed?
#include "images.h"

#include "base/clock.h"
#include "base/fs.h"
#include "client/client.h"
#include "conf/conf.h"
#include "prep/prep.h"
#include "proto/json.h"
#include "support/proc.h"
#include "support/redis.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_MS 240000
#define SIZE        16
#define IMAGES      40 // a class
#define TRAIN                                                                                      \
    "{\"dataset\": \"toy\", \"model\": \"heads\", \"threads\": 1, "                                \
    "\"width\": 2, \"depth\": 2, \"dense\": 8, \"batch\": 7, \"lr\": 0.003, \"seed\": 5, "         \
    "\"augment\": \"flip,shift\", \"checkpoint_s\": 1, \"epochs\": 250}"

static struct {
    redis_t redis;
    proc_t dispatcher, ingest, trainer;
    char home[PROC_HOME_SIZE], redis_setting[128];
    client_t *client;
    proto_arena_t *arena;
} stack;

static void start(proc_t *proc, const char *program, const char *name) {
    const char *const env[] = {stack.redis_setting,       "INKLING_HEARTBEAT_MS=100",
                               "INKLING_LEASE_MS=2000",   "INKLING_DISK_RESERVE_MB=0",
                               "INKLING_LOG_LEVEL=debug", NULL};
    err_t err;
    if (proc_start(proc, program, name, stack.home, NULL, env, &err) != ERR_OK ||
        proc_await_ready(proc, PATIENCE_MS, &err) != ERR_OK)
        fail_msg("%s: %s", err.message, proc_output(proc));
}

static int set_up(void **state) {
    (void)state;
    err_t err;
    stack.arena = proto_arena_new();
    if (redis_start(&stack.redis, NULL, &err) != ERR_OK ||
        proc_make_home(stack.home, &err) != ERR_OK)
        fail_msg("%s; %s", err.message, err.remedy);
    snprintf(stack.redis_setting, sizeof stack.redis_setting, "INKLING_REDIS=%s",
             stack.redis.socket);
    char *endpoint = conf_endpoint(stack.home, "dispatcher");
    assert_int_equal(client_new(endpoint, "the dispatcher", &stack.client, NULL), ERR_OK);
    free(endpoint);
    start(&stack.dispatcher, "inkling-dispatcher", "dispatcher");
    start(&stack.ingest, "inkling-ingest", "ingest-0");
    start(&stack.trainer, "inkling-trainer", "trainer-0");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    proc_kill(&stack.trainer);
    proc_kill(&stack.ingest);
    proc_kill(&stack.dispatcher);
    redis_stop(&stack.redis);
    client_destroy(&stack.client);
    proto_arena_destroy(&stack.arena);
    proc_remove_home(stack.home);
    return 0;
}

// ---- jobs ----

static void ask(proto_type_t type, const void *message, proto_type_t reply_type, void *reply) {
    err_t err;
    if (client_request(stack.client, type, message, NULL, 0, reply_type, reply, stack.arena,
                       PATIENCE_MS, NULL, &err) != ERR_OK)
        fail_msg("%s: %s; %s", err_name(err.code), err.message, err.remedy);
}

static const char *submit(const char *kind, const char *body) {
    proto_job_submit_t message;
    proto_job_submitted_t submitted;
    json_t *json = json_loads(body, 0, NULL);
    proto_defaults(PROTO_job_submit, &message);
    message.kind = kind;
    assert_int_equal(proto_map_from_json(json, stack.arena, &message.body, NULL), ERR_OK);
    json_decref(json);
    ask(PROTO_job_submit, &message, PROTO_job_submitted, &submitted);
    return submitted.job;
}

static const proto_job_info_t *show(const char *id) {
    const proto_job_show_t message = {.job = id};
    proto_job_t job;
    ask(PROTO_job_show, &message, PROTO_job, &job);
    return job.job;
}

static bool has_ended(const proto_job_info_t *job) {
    return strcmp(job->state, "queued") != 0 && strcmp(job->state, "running") != 0;
}

// Until it has ended, or runs and is so far; false: it has ended.
static bool await(const char *id, double progress) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (clock_mono_ms() < end) {
        const proto_job_info_t *job = show(id);
        if (has_ended(job))
            return false;
        if (strcmp(job->state, "running") == 0 && job->progress >= progress)
            return true;
        clock_sleep_ms(10);
    }
    fail_msg("job %s does not get on", id);
    return false;
}

// Its result must be a success's; a new reference.
static json_t *succeed(const char *id) {
    await(id, 2);
    const proto_job_info_t *job = show(id);
    if (strcmp(job->state, "succeeded") != 0)
        fail_msg("job %s %s: %s; %s", id, job->state, job->reason,
                 job->error ? job->error->message : "");
    return proto_map_json(job->result);
}

static void ingest(void) {
    uint8_t pixels[SIZE * SIZE];
    for (uint32_t i = 0; i < 2 * IMAGES; i++) {
        char *folder = mem_format("%s/in/%s", stack.home, i % 2 ? "comics" : "faces");
        char *path = mem_format("%s/%u.png", folder, i);
        images_draw(i % 2, i, SIZE, pixels);
        assert_int_equal(fs_mkdirs(folder, NULL), ERR_OK);
        assert_int_equal(prep_write_png(path, pixels, SIZE, SIZE, 1, NULL), ERR_OK);
        free(path);
        free(folder);
    }
    char *body =
        mem_format("{\"dir\": \"%s/in\", \"name\": \"toy\", \"size\": %d}", stack.home, SIZE);
    json_decref(succeed(submit("ingest", body)));
    free(body);
}

// ---- the kills ----

static void kill_trainer(void) {
    proc_kill(&stack.trainer);
    start(&stack.trainer, "inkling-trainer", "trainer-0");
}

static void kill_engine(void) {
    char path[64];
    int engine = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)stack.trainer.pid,
             (int)stack.trainer.pid);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%d", &engine) == 1)
        kill(engine, SIGKILL);
    if (file)
        fclose(file);
}

static void kill_dispatcher(void) {
    proc_kill(&stack.dispatcher);
    start(&stack.dispatcher, "inkling-dispatcher", "dispatcher");
}

static void kill_redis(void) {
    err_t err;
    redis_kill(&stack.redis);
    if (redis_restart(&stack.redis, &err) != ERR_OK)
        fail_msg("%s", err.message);
}

static void test_same_weights(void **state) {
    (void)state;
    static void (*const kills[])(void) = {kill_trainer, kill_dispatcher, kill_engine, kill_redis,
                                          kill_trainer};
    enum { KILLS = sizeof kills / sizeof *kills };
    ingest();
    json_t *wanted = succeed(submit("train", TRAIN));
    const char *id = submit("train", TRAIN);
    int killed = 0;
    while (killed < KILLS && await(id, 0.1 + 0.15 * killed))
        kills[killed++]();
    assert_int_equal(killed, KILLS);
    json_t *result = succeed(id);
    const proto_job_info_t *job = show(id);
    assert_true(job->attempts >= 3 && job->version == 2);
    const json_t *sha256 = json_object_get(wanted, "weights_sha256");
    assert_true(json_is_string(sha256));
    assert_true(json_equal(json_object_get(result, "weights_sha256"), sha256));
    assert_true(json_equal(json_object_get(result, "test"), json_object_get(wanted, "test")));
    assert_true(json_equal(json_object_get(result, "history"), json_object_get(wanted, "history")));
    // the first version is the one that is served
    const proto_model_show_t ask_model = {.name = "heads"};
    proto_model_t model;
    ask(PROTO_model_show, &ask_model, PROTO_model, &model);
    assert_true(model.model->version == 1 && model.model->promoted);
    json_decref(wanted);
    json_decref(result);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_weights, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("trainer recovery", tests, NULL, NULL);
}
