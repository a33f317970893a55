#include "gangs_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORGET_MS 600000 // a worker that is silent for so long and holds nothing

// --- Tables
// --------------------------------------------------------------------------------------

workers_t *workers_new(void) {
    workers_t *workers = mem_zero(1, sizeof *workers);
    workers->by_name = map_new();
    workers->kinds = map_new();
    return workers;
}

static void drop_kinds(worker_t *worker) {
    for (size_t i = 0; i < worker->kind_count; i++)
        worker->kinds[i]->workers--;
    free(worker->kinds);
    worker->kinds = NULL;
    worker->kind_count = 0;
}

static void worker_free_all(worker_t *worker) {
    drop_kinds(worker);
    free(worker);
}

void workers_clear(dispatcher_t *d) {
    size_t at = 0;
    for (lease_t *lease; (lease = lease_next(d->leases, &at)) != NULL;)
        lease_remove(d->leases, lease);
    workers_t *workers = d->workers;
    for (size_t i = 0; i < workers->count; i++) {
        map_remove(workers->by_name, workers->list[i]->name);
        worker_free_all(workers->list[i]);
    }
    workers->count = 0;
    at = 0;
    for (kind_t *kind; (kind = map_next(workers->kinds, &at)) != NULL;)
        kind->ready = kind->asked = 0;
    gangs_clear(d);
}

void workers_destroy(workers_t **self) {
    workers_t *workers = *self;
    if (!workers)
        return;
    size_t at = 0;
    for (kind_t *kind; (kind = map_next(workers->kinds, &at)) != NULL;)
        free(kind);
    map_destroy(&workers->kinds);
    map_destroy(&workers->by_name);
    free(workers->list);
    free(workers);
    *self = NULL;
}

kind_t *kind_make(dispatcher_t *d, const char *name) {
    kind_t *kind = map_get(d->workers->kinds, name);
    if (kind)
        return kind;
    kind = mem_zero(1, sizeof *kind);
    snprintf(kind->name, sizeof kind->name, "%s", name);
    map_put(d->workers->kinds, kind->name, kind);
    return kind;
}

static void forget_kinds(workers_t *workers) {
    if (map_count(workers->kinds) <= KINDS_KEPT)
        return;
    size_t at = 0;
    for (kind_t *kind; (kind = map_next(workers->kinds, &at)) != NULL;)
        if (kind->ready == 0 && kind->asked == 0 && kind->workers == 0) {
            map_remove(workers->kinds, kind->name);
            free(kind);
        }
}

worker_t *worker_find(dispatcher_t *d, const char *name) {
    return map_get(d->workers->by_name, name);
}

worker_t *worker_make(dispatcher_t *d, const char *name) {
    workers_t *workers = d->workers;
    worker_t *worker = worker_find(d, name);
    if (worker)
        return worker;
    worker = mem_zero(1, sizeof *worker);
    snprintf(worker->name, sizeof worker->name, "%s", name);
    worker->seen_ms = clock_mono_ms();
    if (workers->count == workers->room) {
        workers->room = workers->room ? 2 * workers->room : 16;
        workers->list = mem_grow(workers->list, workers->room * sizeof *workers->list);
    }
    workers->list[workers->count++] = worker;
    map_put(workers->by_name, worker->name, worker);
    return worker;
}

bool worker_alive(const dispatcher_t *d, const worker_t *worker, int64_t now_ms) {
    int64_t limit_ms = HEARTBEATS_LOST * d->conf->heartbeat_ms;
    if (limit_ms < 1000)
        limit_ms = 1000;
    return worker->known && now_ms - worker->seen_ms <= limit_ms;
}

size_t worker_free(const worker_t *worker) {
    size_t taken = worker->leases.count + worker->reserved;
    return worker->draining || worker->full || taken >= worker->slots ? 0 : worker->slots - taken;
}

bool worker_serves(const worker_t *worker, const kind_t *kind) {
    for (size_t i = 0; i < worker->kind_count; i++)
        if (worker->kinds[i] == kind)
            return true;
    return false;
}

worker_t *worker_idle(dispatcher_t *d, const kind_t *kind) {
    workers_t *workers = d->workers;
    int64_t now_ms = clock_mono_ms();
    if (kind->workers == 0)
        return NULL;
    for (size_t i = 0; i < workers->count; i++) {
        worker_t *worker = workers->list[(workers->turn + i) % workers->count];
        if (worker_free(worker) > 0 && worker_serves(worker, kind) &&
            worker_alive(d, worker, now_ms)) {
            workers->turn = (workers->turn + i + 1) % workers->count;
            return worker;
        }
    }
    return NULL;
}

void workers_tick(dispatcher_t *d, int64_t now_ms) {
    workers_t *workers = d->workers;
    size_t kept = 0, alive = 0;
    for (size_t i = 0; i < workers->count; i++) {
        worker_t *worker = workers->list[i];
        alive += worker_alive(d, worker, now_ms);
        if (worker->leases.count || worker->reserved || now_ms - worker->seen_ms < FORGET_MS) {
            workers->list[kept++] = worker;
            continue;
        }
        map_remove(workers->by_name, worker->name);
        worker_free_all(worker);
    }
    workers->count = kept;
    metric_set(&d->stats.workers, (double)alive);
    forget_kinds(workers);
}

// --- Hello
// ---------------------------------------------------------------------------------------

static err_code_t check_hello(dispatcher_t *d, const proto_worker_hello_t *hello, err_t *err) {
    err_code_t code = job_check_name("worker", hello->worker, err);
    for (size_t i = 0; i < hello->kinds.count && code == ERR_OK; i++)
        code = job_check_kind(hello->kinds.items[i], err);
    if (code == ERR_OK && d->workers->count >= WORKERS_MAX && !worker_find(d, hello->worker))
        code = err_set(err, ERR_FULL, "%d workers are known already", WORKERS_MAX);
    return code;
}

static bool shows(const proto_worker_hello_t *hello, const lease_t *lease) {
    for (size_t i = 0; i < hello->holds.count; i++)
        if (hello->holds.items[i].token == lease->token &&
            strcmp(hello->holds.items[i].job, lease->job) == 0)
            return true;
    return false;
}

static void take_hello(dispatcher_t *d, worker_t *worker, const proto_worker_hello_t *hello,
                       const bus_peer_t *peer) {
    drop_kinds(worker);
    worker->kinds = mem_alloc(hello->kinds.count * sizeof *worker->kinds);
    for (size_t i = 0; i < hello->kinds.count; i++) {
        kind_t *kind = kind_make(d, hello->kinds.items[i]);
        if (worker_serves(worker, kind))
            continue;
        worker->kinds[worker->kind_count++] = kind;
        kind->workers++;
    }
    if (strcmp(worker->boot, hello->boot) != 0)
        worker->draining = false;
    snprintf(worker->boot, sizeof worker->boot, "%s", hello->boot);
    snprintf(worker->host, sizeof worker->host, "%s", hello->host ? hello->host : "");
    snprintf(worker->version, sizeof worker->version, "%s", hello->version ? hello->version : "");
    worker->slots = hello->slots;
    worker->pid = hello->pid;
    worker->peer = *peer;
    worker->missed = worker->full = false;
    worker->seen_ms = clock_mono_ms();
    if (!worker->known)
        log_write(LOG_INFO, (const char *[]){"worker", worker->name, NULL},
                  "worker %s is here, with %llu slots", worker->name,
                  (unsigned long long)worker->slots);
    worker->known = true;
}

// A lease that the worker does not show: its process died with it, or has not heard of it yet.
static void judge_unshown(dispatcher_t *d, lease_t *lease, const char *boot, int64_t now_ms) {
    if (lease->ending)
        return;
    if (strcmp(lease->boot, boot) == 0)
        resend_assign(d, lease, now_ms);
    else if (lease->shown)
        end_attempt(d, lease, "died", NULL, "the worker's process died while it ran the job");
    else
        end_attempt(d, lease, "released", NULL, "the worker was restarted before it began");
}

void on_hello(dispatcher_t *d, const bus_message_t *message) {
    proto_worker_hello_t hello;
    request_t from = request_of(message);
    err_t err;
    if (!decode(d, message, &hello))
        return;
    if (check_hello(d, &hello, &err) != ERR_OK) {
        answer_error(d, &from, &err);
        return;
    }
    worker_t *worker = worker_make(d, hello.worker);
    take_hello(d, worker, &hello, &message->peer);
    int64_t now_ms = clock_mono_ms();
    proto_hold_t *refused = proto_arena_alloc(d->arena, (hello.holds.count + 1) * sizeof *refused);
    proto_worker_welcome_t welcome = {.heartbeat_ms = (uint64_t)d->conf->heartbeat_ms,
                                      .lease_ms = (uint64_t)d->conf->lease_ms,
                                      .refused = {refused, 0}};
    for (size_t i = 0; i < hello.holds.count; i++) {
        const proto_hold_t *hold = &hello.holds.items[i];
        lease_t *lease = lease_of(d->leases, hold->job, worker->name);
        if (lease && !lease->ending && lease->token == hold->token &&
            strcmp(lease->worker, worker->name) == 0)
            lease_renew(lease, lease->step, lease->step_ms, now_ms);
        else
            refused[welcome.refused.count++] = *hold;
    }
    answer(d, &from, PROTO_worker_welcome, &welcome);
    for (lease_t *lease = worker->leases.first, *next; lease; lease = next) {
        next = lease->next;
        if (!shows(&hello, lease))
            judge_unshown(d, lease, hello.boot, now_ms);
        else if (lease->cancel)
            tell_cancel(d, lease);
    }
    match_later(d);
}

// --- Heartbeats
// ----------------------------------------------------------------------------------

// Room for what a renewal is answered.
typedef struct {
    proto_hold_t *lost, *cancel, *release;
} renewal_t;

static void renew_lease(dispatcher_t *d, const char *worker, const proto_lease_t *shown,
                        proto_worker_renewed_t *renewed, renewal_t *to, int64_t now_ms) {
    const proto_hold_t hold = {.job = shown->job, .token = shown->token};
    lease_t *lease = lease_of(d->leases, shown->job, worker);
    if (!lease || lease->ending || lease->token != shown->token ||
        strcmp(lease->worker, worker) != 0) {
        to->lost[renewed->lost.count++] = hold;
        return;
    }
    lease_renew(lease, shown->step, shown->step_ms, now_ms);
    if (lease->world > 1 && lease->moved_ms == now_ms)
        move_gang(d, lease->job, lease->token, now_ms);
    lease->sent_ms = now_ms;
    if (lease->cancel)
        to->cancel[renewed->cancel.count++] = hold;
    if (lease->release)
        to->release[renewed->release.count++] = hold;
}

static bool same_peer(const bus_peer_t *a, const bus_peer_t *b) {
    return a->size == b->size && memcmp(a->id, b->id, a->size) == 0;
}

void workers_missed(dispatcher_t *d, const bus_peer_t *peer) {
    const workers_t *workers = d->workers;
    for (size_t i = 0; i < workers->count; i++)
        if (same_peer(&workers->list[i]->peer, peer))
            workers->list[i]->missed = true;
}

void on_renew(dispatcher_t *d, const bus_message_t *message) {
    proto_worker_renew_t renew;
    request_t from = request_of(message);
    if (!decode(d, message, &renew))
        return;
    int64_t now_ms = clock_mono_ms();
    size_t room = (renew.leases.count + 1) * sizeof(proto_hold_t);
    renewal_t to = {proto_arena_alloc(d->arena, room), proto_arena_alloc(d->arena, room),
                    proto_arena_alloc(d->arena, room)};
    proto_worker_renewed_t renewed = {
        .lost = {to.lost, 0}, .cancel = {to.cancel, 0}, .release = {to.release, 0}};
    for (size_t i = 0; i < renew.leases.count; i++)
        renew_lease(d, renew.worker, &renew.leases.items[i], &renewed, &to, now_ms);
    worker_t *worker = worker_find(d, renew.worker);
    bool known = worker && worker->known && strcmp(worker->boot, renew.boot) == 0;
    // ZeroMQ connects anew by itself: the worker does not know that answers went the old way.
    if (known && !same_peer(&worker->peer, &message->peer))
        worker->missed = true;
    renewed.hello = !known || worker->missed;
    answer(d, &from, PROTO_worker_renewed, &renewed);
    if (!known)
        return;
    worker->seen_ms = now_ms;
    worker->peer = message->peer;
    worker->draining = renew.draining;
    worker->full = false;
    for (const lease_t *lease = worker->leases.first; lease && renew.draining; lease = lease->next)
        if (lease->world > 1 && !lease->release)
            release_gang(d, lease->job, lease->token);
    int64_t patience_ms = HEARTBEATS_LOST * d->conf->heartbeat_ms;
    for (lease_t *lease = worker->leases.first; lease; lease = lease->next)
        if (now_ms - lease->sent_ms > patience_ms)
            resend_assign(d, lease, now_ms);
    if (worker_free(worker) > 0)
        match_later(d);
}

void on_bye(dispatcher_t *d, const bus_message_t *message) {
    proto_worker_bye_t bye;
    request_t from = request_of(message);
    if (!decode(d, message, &bye))
        return;
    worker_t *worker = worker_find(d, bye.worker);
    if (worker && strcmp(worker->boot, bye.boot) == 0) {
        worker->draining = true;
        worker->known = false;
        worker->seen_ms = clock_mono_ms() - FORGET_MS;
        drop_kinds(worker);
        for (lease_t *lease = worker->leases.first; lease; lease = lease->next)
            end_attempt(d, lease, "released", NULL, "its worker left");
        log_info("worker %s has left", worker->name);
    }
    answer_ok(d, &from);
}

// --- The list
// ------------------------------------------------------------------------------------

static void describe(dispatcher_t *d, const worker_t *worker, proto_worker_info_t *info,
                     int64_t now_ms) {
    const char **kinds = proto_arena_alloc(d->arena, (worker->kind_count + 1) * sizeof *kinds);
    const char **jobs = proto_arena_alloc(d->arena, (worker->leases.count + 1) * sizeof *jobs);
    size_t job_count = 0;
    proto_defaults(PROTO_worker_info, info);
    for (size_t i = 0; i < worker->kind_count; i++)
        kinds[i] = worker->kinds[i]->name;
    for (const lease_t *lease = worker->leases.first; lease && job_count < PROTO_LEASES_MAX;
         lease = lease->next)
        jobs[job_count++] = lease->job;
    info->worker = worker->name;
    info->kinds = (proto_strs_t){kinds, worker->kind_count};
    info->state = !worker_alive(d, worker, now_ms) ? "lost"
                  : worker->draining               ? "draining"
                  : worker->leases.count           ? "busy"
                                                   : "idle";
    info->slots = worker->slots;
    info->jobs = (proto_strs_t){jobs, job_count};
    info->age_ms = (uint64_t)(now_ms > worker->seen_ms ? now_ms - worker->seen_ms : 0);
    info->host = worker->host;
    info->pid = worker->pid;
    info->version = worker->version;
}

void on_worker_list(dispatcher_t *d, const bus_message_t *message) {
    request_t from = request_of(message);
    const workers_t *workers = d->workers;
    proto_worker_info_t *infos = proto_arena_alloc(d->arena, (workers->count + 1) * sizeof *infos);
    size_t count = 0;
    int64_t now_ms = clock_mono_ms();
    for (size_t i = 0; i < workers->count && count < WORKERS_MAX; i++)
        if (workers->list[i]->known || workers->list[i]->leases.count)
            describe(d, workers->list[i], &infos[count++], now_ms);
    proto_workers_t list = {.workers = {infos, count}};
    answer(d, &from, PROTO_workers, &list);
}
