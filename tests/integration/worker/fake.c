#include "fake.h"

#include "base/clock.h"
#include "base/fs.h"
#include "conf/conf.h"
#include "proto/json.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 10000

// --- Life
// ---------------------------------------------------------------------------------------

void fake_open(fake_t *fake, const char *program, const char *kind) {
    memset(fake, 0, sizeof *fake);
    fake->program = program;
    fake->kind = kind;
    strcpy(fake->home, "/tmp/inkling-worker-XXXXXX");
    assert_non_null(mkdtemp(fake->home));
    snprintf(fake->endpoint, sizeof fake->endpoint, "ipc://%s/a", fake->home);
    snprintf(fake->endpoint2, sizeof fake->endpoint2, "ipc://%s/b", fake->home);
    fake->arena = proto_arena_new();
    fake->welcome.heartbeat_ms = 100;
    fake->welcome.lease_ms = 5000;
}

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message);

void fake_listen(fake_t *fake, const char *endpoint) {
    err_t err;
    if (bus_router_new(NULL, endpoint, on_message, fake, &fake->router, &err) != ERR_OK)
        fail_msg("%s", err.message);
}

void fake_deaf(fake_t *fake) {
    bus_socket_destroy(&fake->router);
}

void fake_close(fake_t *fake) {
    if (fake->worker > 0) {
        kill(fake->worker, SIGKILL);
        waitpid(fake->worker, NULL, 0);
    }
    bus_socket_destroy(&fake->router);
    proto_arena_destroy(&fake->arena);
    fs_remove_all(fake->home, NULL);
}

void fake_worker(fake_t *fake, const char *const *extra) {
    const char *argv[32] = {fake->program,  "--home",      fake->home, "--dispatcher",
                            fake->endpoint, "--name",      "play-0",   "--heartbeat-ms",
                            "100",          "--log-level", "warn"};
    size_t count = 11;
    while (extra && *extra && count < 31)
        argv[count++] = *extra++;
    fake->worker = fork();
    if (fake->worker == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(fake->program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (fake->router)
        fake_wait_hello(fake, 1);
}

int fake_reap(fake_t *fake) {
    int status = -1;
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (clock_mono_ms() < end) {
        fake_run(fake, 10);
        if (waitpid(fake->worker, &status, WNOHANG) == fake->worker) {
            fake->worker = 0;
            return status;
        }
    }
    fail_msg("the worker does not end");
    return status;
}

// --- Messages
// -----------------------------------------------------------------------------------

static void send_to(fake_t *fake, const bus_peer_t *peer, uint64_t id, proto_type_t type,
                    const void *message) {
    err_t err;
    if (bus_send(fake->router, peer, id, 0, type, message, NULL, 0, &err) != ERR_OK &&
        err.code != ERR_UNAVAILABLE)
        fail_msg("%s", err.message);
}

static void keep(fake_t *fake, const bus_message_t *message, void *body) {
    assert_true(fake->got_count < sizeof fake->got / sizeof *fake->got);
    fake->got[fake->got_count++] = (got_t){message->type, message->id, message->peer, body};
}

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    fake_t *fake = arg;
    err_t err;
    (void)socket;
    void *body = proto_arena_alloc(fake->arena, proto_message(message->type)->size);
    if (proto_decode(message->type, message->body.data, message->body.size, fake->arena, body,
                     &err) != ERR_OK)
        fail_msg("%s", err.message);
    fake->peer = message->peer;
    if (message->type == PROTO_worker_hello) {
        fake->hello = *(proto_worker_hello_t *)body;
        fake->hellos++;
        if (!fake->silent)
            send_to(fake, &message->peer, message->id, PROTO_worker_welcome, &fake->welcome);
        fake->welcome.refused.count = 0;
    } else if (message->type == PROTO_worker_renew) {
        fake->renew = *(proto_worker_renew_t *)body;
        fake->renews++;
        if (!fake->silent)
            send_to(fake, &message->peer, message->id, PROTO_worker_renewed, &fake->renewed);
        memset(&fake->renewed, 0, sizeof fake->renewed);
    } else {
        keep(fake, message, body);
    }
}

void fake_run(fake_t *fake, int64_t ms) {
    int64_t end = clock_mono_ms() + ms;
    do {
        int64_t left = end - clock_mono_ms();
        if (fake->router)
            bus_receive(fake->router, left > 0 ? left : 0, on_message, fake, NULL);
        else
            clock_sleep_ms(left > 0 ? left : 0);
    } while (clock_mono_ms() < end);
}

static const got_t *next(fake_t *fake, int64_t ms) {
    int64_t end = clock_mono_ms() + ms;
    while (fake->taken == fake->got_count && clock_mono_ms() < end)
        bus_receive(fake->router, end - clock_mono_ms(), on_message, fake, NULL);
    return fake->taken < fake->got_count ? &fake->got[fake->taken++] : NULL;
}

const got_t *fake_next(fake_t *fake) {
    const got_t *got = next(fake, PATIENCE_MS);
    if (!got)
        fail_msg("nothing came");
    return got;
}

const got_t *fake_expect(fake_t *fake, proto_type_t type) {
    const got_t *got = next(fake, PATIENCE_MS);
    if (!got)
        fail_msg("no %s came", proto_message(type)->wire);
    if (got->type != type)
        fail_msg("%s came, not %s", proto_message(got->type)->wire, proto_message(type)->wire);
    return got;
}

void fake_expect_nothing(fake_t *fake, int64_t ms) {
    const got_t *got = next(fake, ms);
    if (got)
        fail_msg("%s came, but nothing should", proto_message(got->type)->wire);
}

void fake_wait_hello(fake_t *fake, int hellos) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (fake->hellos < hellos && clock_mono_ms() < end)
        fake_run(fake, 10);
    assert_true(fake->hellos >= hellos);
}

void fake_wait_renew(fake_t *fake) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    fake_run(fake, 1);
    int wanted = fake->renews + 2; // the first may have been on its way
    while (fake->renews < wanted && clock_mono_ms() < end)
        fake_run(fake, 10);
    assert_true(fake->renews >= wanted);
}

void fake_send(fake_t *fake, proto_type_t type, const void *message) {
    send_to(fake, &fake->peer, 0, type, message);
}

void fake_assign(fake_t *fake, const char *job, uint64_t token, const char *body_json) {
    err_t err;
    json_t *body = json_loads(body_json, 0, NULL);
    proto_worker_assign_t assign = {.job = job, .token = token, .kind = fake->kind, .attempt = 1};
    if (proto_map_from_json(body, fake->arena, &assign.body, &err) != ERR_OK)
        fail_msg("%s", err.message);
    json_decref(body);
    fake_send(fake, PROTO_worker_assign, &assign);
}

void fake_assign_surely(fake_t *fake, const char *job, uint64_t token, const char *body_json) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    for (int hellos = -1; fake->taken == fake->got_count && clock_mono_ms() < end;) {
        if (hellos != fake->hellos)
            fake_assign(fake, job, token, body_json);
        hellos = fake->hellos;
        fake_run(fake, 10);
    }
}

void fake_answer(fake_t *fake, const got_t *got, proto_type_t type, const void *message) {
    send_to(fake, &got->peer, got->id, type, message);
}

void fake_ok(fake_t *fake, const got_t *got) {
    proto_ok_t ok = {0};
    fake_answer(fake, got, PROTO_ok, &ok);
}

void fake_error(fake_t *fake, const got_t *got, err_code_t code, const char *leader) {
    proto_error_t error = {.code = err_name(code),
                           .message = "as the test wants",
                           .remedy = "",
                           .retryable = err_retryable(code),
                           .leader = leader ? leader : ""};
    fake_answer(fake, got, PROTO_error, &error);
}

void fake_finished(fake_t *fake, const got_t *got, const proto_worker_assign_t *next_job) {
    const proto_job_finish_t *finish = got->body;
    proto_job_finished_t finished = {
        .job = finish->job, .state = finish->outcome, .version = 0, .next = next_job};
    fake_answer(fake, got, PROTO_job_finished, &finished);
}

// Number of the attempt's newest event. The test may have answered the first reports itself.
static size_t count_events(fake_t *fake, const char *job, uint64_t token, uint64_t seq,
                           size_t count) {
    size_t i = 0;
    while (fake->seqs[i].token &&
           (fake->seqs[i].token != token || strcmp(fake->seqs[i].job, job) != 0))
        assert_true(++i < sizeof fake->seqs / sizeof *fake->seqs);
    if (!fake->seqs[i].token) {
        snprintf(fake->seqs[i].job, sizeof fake->seqs[i].job, "%s", job);
        fake->seqs[i].token = token;
        fake->seqs[i].next = count ? seq : 1;
    }
    if (count)
        assert_int_equal(seq, fake->seqs[i].next);
    fake->seqs[i].next += count;
    return fake->seqs[i].next - 1;
}

static void keep_logs(fake_t *fake, const proto_report_t *events, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(events[i].type, "log") != 0)
            continue;
        json_t *data = proto_map_json(events[i].data);
        const char *text = json_string_value(json_object_get(data, "text"));
        size_t used = strlen(fake->logs), room = sizeof fake->logs - used;
        snprintf(fake->logs + used, room, "%s\n", text ? text : "");
        json_decref(data);
    }
}

const proto_job_finish_t *fake_finish(fake_t *fake, size_t *events) {
    fake->logs[0] = 0;
    for (;;) {
        const got_t *got = fake_next(fake);
        if (got->type == PROTO_job_report) {
            const proto_job_report_t *report = got->body;
            count_events(fake, report->job, report->token, report->seq, report->events.count);
            keep_logs(fake, report->events.items, report->events.count);
            fake_ok(fake, got);
            continue;
        }
        if (got->type != PROTO_job_finish)
            fail_msg("%s came, not the end", proto_message(got->type)->wire);
        const proto_job_finish_t *finish = got->body;
        size_t last =
            count_events(fake, finish->job, finish->token, finish->seq, finish->events.count);
        keep_logs(fake, finish->events.items, finish->events.count);
        if (events)
            *events = last;
        fake_finished(fake, got, NULL);
        return finish;
    }
}

// --- Processes and files
// ------------------------------------------------------------------------

bool fake_has_file(const fake_t *fake, const char *path) {
    char full[512];
    snprintf(full, sizeof full, "%s/files/%s", fake->home, path);
    return access(full, F_OK) == 0;
}

pid_t fake_child_pid(fake_t *fake, const char *job, uint64_t token, const char *name) {
    char path[512];
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    snprintf(path, sizeof path, "%s/files/jobs/%s/%llu/%s", fake->home, job,
             (unsigned long long)token, name);
    while (access(path, F_OK) != 0 && clock_mono_ms() < end)
        fake_run(fake, 10);
    void *text;
    size_t size;
    err_t err;
    if (fs_read(path, 64, &text, &size, &err) != ERR_OK)
        fail_msg("%s", err.message);
    pid_t pid = atoi(text);
    free(text);
    assert_true(pid > 1);
    return pid;
}

// Dead, or a zombie that nobody has fetched yet (in a container init may be slow at that).
static bool is_dead(pid_t pid) {
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return true;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    const char *state = strrchr(text, ')');
    return size == 0 || (state && strncmp(state, ") Z", 3) == 0);
}

bool fake_gone(fake_t *fake, pid_t pid, int64_t ms) {
    int64_t end = clock_mono_ms() + ms;
    while (!is_dead(pid)) {
        if (clock_mono_ms() >= end)
            return false;
        fake_run(fake, 10);
    }
    return true;
}

typedef struct {
    char *text;
} metrics_t;

static void on_metrics(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    metrics_t *metrics = arg;
    proto_arena_t *arena = proto_arena_new();
    proto_service_text_t text;
    (void)socket;
    if (message->type == PROTO_service_text &&
        proto_decode(PROTO_service_text, message->body.data, message->body.size, arena, &text,
                     NULL) == ERR_OK)
        metrics->text = mem_dup(text.text);
    proto_arena_destroy(&arena);
}

double fake_metric(fake_t *fake, const char *name) {
    char *endpoint = conf_control_endpoint(fake->home, "play-0");
    bus_socket_t *dealer = NULL;
    metrics_t metrics = {NULL};
    proto_service_metrics_t ask = {0};
    err_t err;
    if (bus_dealer_new(NULL, endpoint, on_metrics, &metrics, &dealer, &err) != ERR_OK ||
        bus_send(dealer, NULL, 1, 0, PROTO_service_metrics, &ask, NULL, 0, &err) != ERR_OK ||
        bus_receive(dealer, PATIENCE_MS, on_metrics, &metrics, &err) != ERR_OK)
        fail_msg("%s: %s", endpoint, err.message);
    bus_socket_destroy(&dealer);
    free(endpoint);
    assert_non_null(metrics.text);
    char *line = mem_format("\n%s ", name);
    const char *at = strstr(metrics.text, line);
    double value = at ? strtod(at + strlen(line), NULL) : -1;
    free(line);
    free(metrics.text);
    return value;
}
