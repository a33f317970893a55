// Does every service keep what the run loop promises: readiness that tells the truth, metrics that
// Prometheus can read, an end when asked for it?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "client/client.h"
#include "conf/conf.h"
#include "support/proc.h"
#include "support/redis.h"
#include "support/spawn.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define PATIENCE_MS 60000
#define TEXT_MAX    (1 << 20)

// Every service, and metrics that it must have.
static const struct {
    const char *program, *name;
    const char *metrics[6];
} services[] = {
    {"inkling-dispatcher",
     "dispatcher",
     {"inkling_leader", "inkling_store_up", "inkling_workers", "inkling_jobs{state=\"queued\"}",
      "inkling_attempts_total{outcome=\"died\"}", "inkling_dispatch_seconds_count"}},
    {"inkling-ingest",
     "ingest-0",
     {"inkling_worker_slots", "inkling_worker_running", "inkling_worker_outbox",
      "inkling_worker_reconnects_total", "inkling_worker_jobs_total{outcome=\"succeeded\"}",
      "inkling_worker_jobs_total{outcome=\"lost\"}"}},
    {"inkling-trainer",
     "trainer-0",
     {"inkling_worker_slots", "inkling_worker_running", "inkling_worker_outbox",
      "inkling_worker_reconnects_total", "inkling_worker_jobs_total{outcome=\"succeeded\"}",
      "inkling_worker_jobs_total{outcome=\"lost\"}"}},
    {"inkling-gateway",
     "gateway-0",
     {"inkling_gateway_requests_total", "inkling_gateway_images_total",
      "inkling_gateway_models_served", "inkling_gateway_queue_images{queue=\"compute\"}",
      "inkling_gateway_request_seconds_count", "inkling_gateway_errors_total{code=\"FULL\"}"}},
};
enum { COUNT = sizeof services / sizeof *services };

typedef struct {
    char home[PROC_HOME_SIZE];
    redis_t redis;
    proc_t procs[COUNT];
} fleet_t;

static void start_service(fleet_t *stack, size_t i) {
    err_t err;
    if (proc_start(&stack->procs[i], services[i].program, services[i].name, stack->home, NULL, NULL,
                   &err))
        fail_msg("%s", err.message);
}

static void start_redis(fleet_t *stack) {
    err_t err;
    char *run = conf_run_folder(stack->home), *socket = fs_join(run, "redis.sock"),
         *folder = fs_join(stack->home, "redis");
    assert_int_equal(fs_mkdirs(run, NULL), ERR_OK);
    assert_int_equal(fs_mkdirs(folder, NULL), ERR_OK);
    if (redis_start_at(&stack->redis, folder, socket, NULL, &err))
        fail_msg("%s", err.message);
    free(run);
    free(socket);
    free(folder);
}

static void await_ready(fleet_t *stack, size_t i) {
    err_t err;
    if (proc_await_ready(&stack->procs[i], PATIENCE_MS, &err))
        fail_msg("%s", err.message);
}

static void open_stack(fleet_t *stack) {
    *stack = (fleet_t){0};
    assert_int_equal(proc_make_home(stack->home, NULL), ERR_OK);
}

static void start_all(fleet_t *stack) {
    start_redis(stack);
    for (size_t i = 0; i < COUNT; i++)
        start_service(stack, i);
    for (size_t i = 0; i < COUNT; i++)
        await_ready(stack, i);
}

static void expect_end(fleet_t *stack, size_t i, int exit_code) {
    err_t err;
    int status = -1;
    if (proc_await_end(&stack->procs[i], PATIENCE_MS, &status, &err))
        fail_msg("%s", err.message);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), exit_code);
}

// In the order in which a stack is taken down: the dispatcher last, then Redis.
static void close_stack(fleet_t *stack) {
    for (size_t i = COUNT; i-- > 0;)
        if (stack->procs[i].pid) {
            proc_signal(&stack->procs[i], SIGTERM);
            expect_end(stack, i, 0);
        }
    redis_stop(&stack->redis);
    proc_remove_home(stack->home);
}

// Runs the program to its end; text: what it printed, errors included. Returns the exit code.
static int run(const fleet_t *stack, size_t i, const char *option, const char *argument,
               char *text) {
    char *path = proc_program(services[i].program), *log = fs_join(stack->home, "output");
    const char *argv[] = {path,
                          "--home",
                          stack->home,
                          "--name",
                          services[i].name,
                          argument ? argument : option,
                          argument ? option : NULL,
                          NULL};
    pid_t pid;
    int status = -1;
    err_t err;
    remove(log);
    if (spawn(path, argv, NULL, log, &pid, &err))
        fail_msg("%s", err.message);
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (!spawn_ended(pid, &status)) {
        assert_true(clock_mono_ms() < end);
        clock_sleep_ms(5);
    }
    void *bytes;
    size_t size;
    assert_int_equal(fs_read(log, TEXT_MAX, &bytes, &size, NULL), ERR_OK);
    snprintf(text, TEXT_MAX, "%.*s", (int)size, (char *)bytes);
    free(bytes);
    free(path);
    free(log);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void probes_tell_who_is_ready(void **state) {
    (void)state;
    static const char *const reasons[COUNT] = {"Redis", "dispatcher", "dispatcher", "dispatcher"};
    fleet_t stack;
    char *text = mem_alloc(TEXT_MAX);
    open_stack(&stack);
    assert_int_equal(run(&stack, 0, "--probe", NULL, text), 4); // nobody there
    assert_non_null(strstr(text, "dispatcher"));
    for (size_t i = COUNT; i-- > 0;) { // without what they need they run, and say what is missing
        start_service(&stack, i);
        int64_t end = clock_mono_ms() + PATIENCE_MS;
        int code;
        while ((code = run(&stack, i, "--probe", NULL, text)) == 4 && clock_mono_ms() < end)
            continue; // it is still starting
        assert_int_equal(code, 1);
        assert_non_null(strstr(text, "not ready: "));
        assert_non_null(strstr(text, reasons[i]));
        assert_true(proc_metric(&stack.procs[i], "inkling_uptime_seconds") >= 0);
    }
    start_redis(&stack);
    for (size_t i = 0; i < COUNT; i++) {
        await_ready(&stack, i);
        assert_int_equal(run(&stack, i, "--probe", NULL, text), 0);
        assert_true(strncmp(text, "ready", 5) == 0);
    }
    redis_kill(&stack.redis);
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (run(&stack, 0, "--probe", NULL, text) == 0 && clock_mono_ms() < end)
        clock_sleep_ms(20);
    assert_non_null(strstr(text, "not ready: Redis"));
    assert_int_equal(redis_restart(&stack.redis, NULL), ERR_OK);
    await_ready(&stack, 0);
    free(text);
    close_stack(&stack);
}

// --- Metrics

static bool is_name(const char *text, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '_')
            return false;
    return size > 0 && !isdigit((unsigned char)text[0]);
}

// The family that was described last, as TYPE lines give it.
typedef struct {
    char name[128], type[16];
} family_t;

// name, name_bucket, name_sum and name_count belong to a histogram; for others only the name does.
static bool belongs(const family_t *family, const char *line, size_t size) {
    size_t own = strlen(family->name);
    if (size < own || strncmp(line, family->name, own) != 0)
        return false;
    size_t rest = size - own;
    if (strcmp(family->type, "histogram") != 0)
        return rest == 0;
    static const char *const ends[] = {"_bucket", "_sum", "_count"};
    for (size_t i = 0; i < 3; i++)
        if (rest == strlen(ends[i]) && strncmp(line + own, ends[i], rest) == 0)
            return true;
    return false;
}

static void check_sample(const family_t *family, const char *line, const char *all) {
    size_t size = strcspn(line, "{ ");
    if (!is_name(line, size) || !belongs(family, line, size))
        fail_msg("'%s' does not belong to %s", line, family->name);
    const char *value = strrchr(line, ' ');
    char *end;
    double number = strtod(value + 1, &end);
    assert_true(*end == 0 && end > value + 1);
    assert_true(number == number); // not NaN
    assert_true(strcmp(family->type, "gauge") == 0 || number >= 0);
    // No sample twice.
    char key[512];
    snprintf(key, sizeof key, "\n%.*s", (int)(value + 1 - line), line);
    const char *first = strstr(all, key);
    assert_non_null(first);
    if (strstr(first + 1, key))
        fail_msg("twice: %s", line);
}

static void take_type(family_t *family, const char *line, const char *all) {
    assert_int_equal(sscanf(line, "# TYPE %127s %15s", family->name, family->type), 2);
    bool counter = strcmp(family->type, "counter") == 0;
    assert_true(counter || strcmp(family->type, "gauge") == 0 ||
                strcmp(family->type, "histogram") == 0);
    size_t size = strlen(family->name);
    bool total = size > 6 && strcmp(family->name + size - 6, "_total") == 0;
    assert_int_equal(counter, total);
    assert_true(strncmp(family->name, "inkling_", 8) == 0 ||
                strncmp(family->name, "process_", 8) == 0);
    char key[160];
    snprintf(key, sizeof key, "\n# TYPE %s ", family->name);
    const char *first = strstr(all, key);
    if (!first || strstr(first + 1, key))
        fail_msg("%s is described twice", family->name);
    snprintf(key, sizeof key, "\n# HELP %s ", family->name);
    assert_non_null(strstr(all, key));
}

// all: the text with a newline before it, so that each line begins after one.
static void check_text(const char *all) {
    family_t family = {{0}, {0}};
    char *copy = mem_dup(all), *rest = copy, *line;
    while ((line = strsep(&rest, "\n")) != NULL)
        if (strncmp(line, "# TYPE ", 7) == 0)
            take_type(&family, line, all);
        else if (line[0] && line[0] != '#')
            check_sample(&family, line, all);
    free(copy);
}

static void metrics_are_for_prometheus(void **state) {
    (void)state;
    fleet_t stack;
    char *text = mem_alloc(TEXT_MAX + 1);
    open_stack(&stack);
    start_all(&stack);
    for (size_t i = 0; i < COUNT; i++) {
        text[0] = '\n';
        assert_int_equal(run(&stack, i, "--metrics", NULL, text + 1), 0);
        check_text(text);
        char info[128];
        snprintf(info, sizeof info, "\ninkling_info{service=\"%s\",program=\"%s\",version=\"",
                 services[i].name, services[i].program + strlen("inkling-"));
        assert_non_null(strstr(text, info));
        const proc_t *proc = &stack.procs[i];
        assert_true(proc_metric(proc, "inkling_ready") == 1);
        assert_true(proc_metric(proc, "process_resident_memory_bytes") > 1 << 20);
        assert_true(proc_metric(proc, "process_open_fds") > 3);
        for (size_t k = 0; k < sizeof services[i].metrics / sizeof(char *); k++)
            if (proc_metric(proc, services[i].metrics[k]) < 0)
                fail_msg("%s has no %s", services[i].name, services[i].metrics[k]);
    }
    assert_true(proc_metric(&stack.procs[0], "inkling_leader") == 1);
    assert_true(proc_metric(&stack.procs[0], "inkling_store_up") == 1);
    free(text);
    close_stack(&stack);
}

// --- Ends and mistakes

static void a_drain_by_message_ends_them(void **state) {
    (void)state;
    fleet_t stack;
    open_stack(&stack);
    start_all(&stack);
    for (size_t i = COUNT; i-- > 0;) {
        char *endpoint = conf_control_endpoint(stack.home, services[i].name);
        proto_arena_t *arena = proto_arena_new();
        client_t *client = NULL;
        proto_ok_t ok;
        err_t err;
        assert_int_equal(client_new(endpoint, services[i].name, &client, &err), ERR_OK);
        // Nothing but its own messages is taken there.
        assert_int_equal(client_request(client, PROTO_job_list, &(proto_job_list_t){.limit = 1},
                                        NULL, 0, PROTO_ok, &ok, arena, PATIENCE_MS, NULL, &err),
                         ERR_UNSUPPORTED);
        assert_non_null(strstr(err.message, services[i].name));
        if (client_request(client, PROTO_service_drain, &(proto_service_drain_t){0}, NULL, 0,
                           PROTO_ok, &ok, arena, PATIENCE_MS, NULL, &err))
            fail_msg("%s", err.message);
        expect_end(&stack, i, 0);
        client_destroy(&client);
        proto_arena_destroy(&arena);
        free(endpoint);
    }
    close_stack(&stack);
}

static void mistakes_are_named(void **state) {
    (void)state;
    fleet_t stack;
    char *text = mem_alloc(TEXT_MAX);
    open_stack(&stack);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(run(&stack, i, "--no-such-setting", NULL, text), 2);
        assert_non_null(strstr(text, "no-such-setting"));
        assert_int_equal(run(&stack, i, "--log-level=loud", NULL, text), 2);
        assert_non_null(strstr(text, "loud"));
        assert_int_equal(run(&stack, i, "--probe", "--metrics", text), 2); // one at a time
        assert_int_equal(run(&stack, i, "--help", NULL, text), 0);
        assert_non_null(strstr(text, "--probe"));
        assert_non_null(strstr(text, "INKLING_HOME"));
    }
    start_redis(&stack);
    start_service(&stack, 0);
    await_ready(&stack, 0);
    assert_int_equal(run(&stack, 0, "--log-level=info", NULL, text), 1); // the name is taken
    assert_non_null(strstr(text, "runs already under"));
    await_ready(&stack, 0); // and the first one did not notice
    free(text);
    close_stack(&stack);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probes_tell_who_is_ready), cmocka_unit_test(metrics_are_for_prometheus),
        cmocka_unit_test(a_drain_by_message_ends_them), cmocka_unit_test(mistakes_are_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
