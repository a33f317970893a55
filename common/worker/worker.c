#include "worker/worker.h"

#include "attempt_impl.h"
#include "base/clock.h"
#include "base/log.h"
#include "metric/metric.h"
#include "service/service.h"
#include "settings_impl.h"

#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define BOOT_BYTES  16
#define RECENT_MAX  256   // ended leases that are remembered, lest a late assign starts them again
#define REJECTS_MAX 64    // jobs being given back at once; more are not answered: their leases end
#define RELEASE_MS  30000 // for children that give their job back
#define TELL_MS     10000 // for telling the rest after that
#define IDLE_MS     200   // the time without a job is looked at this often
#define BYE_MS      2000  // for the answer to the last word

// Attempts by outcome; the names are those that attempts end with.
#define OUTCOMES(X)                                                                                \
    X(COUNTER, succeeded, "inkling_worker_jobs_total", "outcome=\"succeeded\"",                    \
      "Attempts that ended, by outcome.")                                                          \
    X(COUNTER, failed, "inkling_worker_jobs_total", "outcome=\"failed\"", "")                      \
    X(COUNTER, cancelled, "inkling_worker_jobs_total", "outcome=\"cancelled\"", "")                \
    X(COUNTER, released, "inkling_worker_jobs_total", "outcome=\"released\"", "")                  \
    X(COUNTER, died, "inkling_worker_jobs_total", "outcome=\"died\"", "")                          \
    X(COUNTER, lost, "inkling_worker_jobs_total", "outcome=\"lost\"", "")

#define WORKER_METRICS(X)                                                                          \
    OUTCOMES(X)                                                                                    \
    X(COUNTER, reconnects, "inkling_worker_reconnects_total", "",                                  \
      "Turns to another or the same dispatcher.")                                                  \
    X(GAUGE, running, "inkling_worker_running", "", "Jobs in this worker's slots.")                \
    X(GAUGE, slots, "inkling_worker_slots", "", "Jobs it may run at once.")                        \
    X(GAUGE, outbox, "inkling_worker_outbox", "", "Events that the dispatcher has not stored yet.")

typedef struct {
    WORKER_METRICS(METRIC_FIELD)
} stats_t;

static const metric_info_t infos[] = {
#define X(...) METRIC_INFO(stats_t, __VA_ARGS__)
    WORKER_METRICS(X)
#undef X
};

typedef struct {
    char job[PROTO_NAME_MAX + 1];
    uint64_t token;
} ended_t;

typedef struct {
    service_t *service;
    const worker_spec_t *spec;
    const conf_t *conf;
    char boot[2 * BOOT_BYTES + 1];
    char *child, **env;
    proto_arena_t *arena;
    session_t *session;
    attempt_host_t host;
    attempt_t **attempts;
    size_t count, room;
    ended_t recent[RECENT_MAX];
    size_t recent_next;
    call_t bye;
    int64_t idle_since_ms; // without a job; holds while count is 0
    bool draining, said_bye, drained;
    stats_t stats;
} worker_t;

// --- Attempts
// -----------------------------------------------------------------------------------

static size_t busy_slots(const worker_t *worker) {
    size_t busy = 0;
    for (size_t i = 0; i < worker->count; i++)
        busy += attempt_busy(worker->attempts[i]);
    return busy;
}

static attempt_t *find_attempt(const worker_t *worker, const char *job, uint64_t token) {
    for (size_t i = 0; i < worker->count; i++)
        if (attempt_is(worker->attempts[i], job, token))
            return worker->attempts[i];
    return NULL;
}

static bool known(const worker_t *worker, const char *job, uint64_t token) {
    if (find_attempt(worker, job, token))
        return true;
    for (size_t i = 0; i < RECENT_MAX; i++)
        if (worker->recent[i].token == token && strcmp(worker->recent[i].job, job) == 0)
            return true;
    return false;
}

static void remember(worker_t *worker, const proto_worker_assign_t *assign) {
    ended_t *entry = &worker->recent[worker->recent_next++ % RECENT_MAX];
    entry->token = assign->token;
    snprintf(entry->job, sizeof entry->job, "%s", assign->job);
}

static bool serves(const worker_t *worker, const char *kind) {
    for (const char *const *own = worker->spec->kinds; *own; own++)
        if (strcmp(*own, kind) == 0)
            return true;
    return false;
}

static const char *why_not(const worker_t *worker, const proto_worker_assign_t *assign) {
    if (worker->draining)
        return "this worker is draining";
    if (!serves(worker, assign->kind))
        return "this worker does not serve its kind";
    if (busy_slots(worker) >= (size_t)worker->conf->slots)
        return "all slots are busy";
    return NULL;
}

static void on_assign(void *arg, const proto_worker_assign_t *assign) {
    worker_t *worker = arg;
    if (known(worker, assign->job, assign->token))
        return;
    const char *reason = why_not(worker, assign);
    if (reason) {
        if (worker->count - busy_slots(worker) >= REJECTS_MAX)
            return;
        log_warn("job %s (%s) is given back: %s", assign->job, assign->kind, reason);
    }
    remember(worker, assign);
    if (worker->count == worker->room) {
        worker->room = worker->room ? 2 * worker->room : 8;
        worker->attempts = mem_grow(worker->attempts, worker->room * sizeof(attempt_t *));
    }
    worker->attempts[worker->count++] =
        reason ? attempt_reject(&worker->host, assign) : attempt_start(&worker->host, assign);
}

static void on_cancel(void *arg, const char *job, uint64_t token) {
    attempt_t *attempt = find_attempt(arg, job, token);
    if (attempt)
        attempt_cancel(attempt);
}

static void on_release(void *arg, const char *job, uint64_t token) {
    attempt_t *attempt = find_attempt(arg, job, token);
    if (attempt)
        attempt_release(attempt);
}

static void on_lost(void *arg, const char *job, uint64_t token) {
    attempt_t *attempt = find_attempt(arg, job, token);
    if (attempt)
        attempt_lose(attempt);
}

static size_t list_leases(void *arg, proto_lease_t *leases, size_t room) {
    worker_t *worker = arg;
    size_t count = 0;
    for (size_t i = 0; i < worker->count && count < room; i++)
        if (attempt_holding(worker->attempts[i]))
            attempt_lease(worker->attempts[i], &leases[count++]);
    return count;
}

static void on_finished(void *arg, const char *outcome, const proto_worker_assign_t *next) {
    worker_t *worker = arg;
#define X(type, field, name, labels, help)                                                         \
    if (strcmp(outcome, #field) == 0)                                                              \
        metric_add(&worker->stats.field, 1);
    OUTCOMES(X)
#undef X
    if (next)
        on_assign(worker, next);
}

// --- Drain
// --------------------------------------------------------------------------------------

static void drained(void *arg) {
    worker_t *worker = arg;
    if (!worker->drained)
        service_drained(worker->service);
    worker->drained = true;
}

static err_code_t send_bye(call_t *call, err_t *err) {
    worker_t *worker = (worker_t *)(void *)((char *)call - offsetof(worker_t, bye));
    proto_worker_bye_t bye = {.worker = service_name(worker->service), .boot = worker->boot};
    return session_send(worker->session, call, PROTO_worker_bye, &bye, err);
}

static void bye_answered(call_t *call, const bus_message_t *answer, const err_t *refused) {
    worker_t *worker = (worker_t *)(void *)((char *)call - offsetof(worker_t, bye));
    if (!answer)
        log_warn("the dispatcher refuses the worker's leave: %s", refused->message);
    drained(worker);
}

static void drain_if_idle(worker_t *worker) {
    if (!worker->draining || worker->said_bye || worker->count > 0)
        return;
    worker->said_bye = true;
    worker->bye = (call_t){.send = send_bye, .answered = bye_answered};
    session_call(worker->session, &worker->bye);
    bus_loop_timer(service_loop(worker->service), BYE_MS, 0, drained, worker);
}

static void give_up_telling(void *arg) {
    worker_t *worker = arg;
    if (!worker->drained)
        log_warn("%zu jobs end untold: no answer from the dispatcher; their leases will run out",
                 worker->count);
    drained(worker);
}

static void worker_drain(void *self) {
    worker_t *worker = self;
    worker->draining = true;
    session_drain(worker->session);
    for (size_t i = 0; i < worker->count; i++)
        attempt_release(worker->attempts[i]);
    bus_loop_timer(service_loop(worker->service), RELEASE_MS + TELL_MS, 0, give_up_telling, worker);
    drain_if_idle(worker);
}

static void sweep(void *arg) {
    worker_t *worker = arg;
    size_t kept = 0, before = worker->count;
    for (size_t i = 0; i < before; i++)
        if (attempt_over(worker->attempts[i]))
            attempt_destroy(&worker->attempts[i]);
        else
            worker->attempts[kept++] = worker->attempts[i];
    worker->count = kept;
    if (kept == 0 && before > 0) {
        malloc_trim(0); // what a flood of events took
        worker->idle_since_ms = clock_mono_ms();
    }
    drain_if_idle(worker);
}

static void on_over(void *arg) {
    worker_t *worker = arg;
    bus_loop_defer(service_loop(worker->service), sweep, worker);
}

// Whether the dispatcher answers or not: nobody has work for it.
static void look_if_idle(void *arg) {
    worker_t *worker = arg;
    int64_t limit_ms = 1000 * worker->conf->idle_exit_s;
    if (worker->draining || worker->count > 0 || clock_mono_ms() - worker->idle_since_ms < limit_ms)
        return;
    log_info("no job for %lld s (idle_exit_s): this worker ends",
             (long long)worker->conf->idle_exit_s);
    service_drain(worker->service);
}

// --- The service
// --------------------------------------------------------------------------------

static err_code_t make_boot(worker_t *worker, err_t *err) {
    unsigned char bytes[BOOT_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return err_set_errno(err, "no random bytes from the kernel");
    for (size_t i = 0; i < BOOT_BYTES; i++)
        snprintf(worker->boot + 2 * i, 3, "%02x", bytes[i]);
    return ERR_OK;
}

static err_code_t find_child(worker_t *worker, err_t *err) {
    char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size < 0)
        return err_set_errno(err, "cannot find this program's own folder");
    path[size] = 0;
    *strrchr(path, '/') = 0;
    worker->child = mem_format("%s/%s", path, worker->spec->child);
    return ERR_OK;
}

static void worker_stop(void *self) {
    worker_t *worker = self;
    for (size_t i = 0; i < worker->count; i++)
        attempt_destroy(&worker->attempts[i]);
    free(worker->attempts);
    session_destroy(&worker->session);
    proto_arena_destroy(&worker->arena);
    settings_environment_free(worker->env);
    free(worker->child);
    free(worker);
}

static err_code_t connect_session(worker_t *worker, err_t *err) {
    session_setup_t setup = {.name = service_name(worker->service),
                             .boot = worker->boot,
                             .kinds = worker->spec->kinds,
                             .slots = (uint64_t)worker->conf->slots,
                             .endpoints = worker->conf->dispatcher,
                             .heartbeat_ms = worker->conf->heartbeat_ms,
                             .leases = list_leases,
                             .assign = on_assign,
                             .cancel = on_cancel,
                             .release = on_release,
                             .lost = on_lost,
                             .arg = worker};
    return session_new(service_loop(worker->service), &setup, &worker->session, err);
}

static err_code_t worker_start(service_t *service, const void *arg, void **self, err_t *err) {
    worker_t *worker = mem_zero(1, sizeof *worker);
    worker->service = service;
    worker->spec = arg;
    worker->conf = service_conf(service);
    worker->arena = proto_arena_new();
    conf_t for_children = *worker->conf;
    for_children.name = (char *)(uintptr_t)service_name(service);
    for_children.stack = (char *)""; // what its file says is in the other settings
    worker->env = settings_environment(&for_children);
    err_code_t code = make_boot(worker, err);
    if (code == ERR_OK)
        code = find_child(worker, err);
    if (code == ERR_OK)
        code = connect_session(worker, err);
    if (code) {
        worker_stop(worker);
        return code;
    }
    worker->host = (attempt_host_t){.loop = service_loop(service),
                                    .session = worker->session,
                                    .name = service_name(service),
                                    .files = worker->conf->files,
                                    .listen = worker->conf->dispatcher_listen,
                                    .child = worker->child,
                                    .env = worker->env,
                                    .release_ms = RELEASE_MS,
                                    .finished = on_finished,
                                    .over = on_over,
                                    .arg = worker,
                                    .arena = worker->arena};
    worker->idle_since_ms = clock_mono_ms();
    if (worker->conf->idle_exit_s > 0)
        bus_loop_timer(service_loop(service), IDLE_MS, IDLE_MS, look_if_idle, worker);
    *self = worker;
    return ERR_OK;
}

static bool worker_ready(void *self, char *detail, size_t size) {
    worker_t *worker = self;
    bool welcome = session_welcome(worker->session);
    if (welcome)
        snprintf(detail, size, "%zu of %lld slots busy", busy_slots(worker),
                 (long long)worker->conf->slots);
    else
        snprintf(detail, size, "no answer from the dispatcher at %s",
                 session_endpoint(worker->session));
    return welcome;
}

static void worker_metrics(void *self, buf_t *out) {
    worker_t *worker = self;
    stats_t *stats = &worker->stats;
    size_t waiting = 0;
    for (size_t i = 0; i < worker->count; i++)
        waiting += attempt_waiting(worker->attempts[i]);
    // The session's own count, brought up to date.
    metric_add(&stats->reconnects,
               session_reconnects(worker->session) - metric_count(&stats->reconnects));
    metric_set(&stats->running, (double)busy_slots(worker));
    metric_set(&stats->slots, (double)worker->conf->slots);
    metric_set(&stats->outbox, (double)waiting);
    metric_render(infos, sizeof infos / sizeof *infos, stats, out);
}

int worker_main(int argc, char **argv, const worker_spec_t *spec) {
    const service_ops_t ops = {.program = spec->program,
                               .about = spec->about,
                               .joins = true,
                               .start = worker_start,
                               .ready = worker_ready,
                               .metrics = worker_metrics,
                               .drain = worker_drain,
                               .stop = worker_stop};
    return service_main(argc, argv, &ops, spec);
}
