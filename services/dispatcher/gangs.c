// Gangs: jobs that several workers do together. Those that wait are learnt with each tick of Redis.
//
// One gang at a time gathers its workers: the oldest one that the workers who are here could form.
// Until it has them, they are given only jobs that are older than it, so smaller ones cannot keep
// it waiting for ever; and as no other gang keeps any back meanwhile, two cannot wait for each
// other. A gang for which too few workers are here keeps nobody back.
#include "gangs_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX 256
#define SHORT_BEATS 5    // fewer workers than wanted must have been here for so many heartbeats
#define SHORT_MS    1000 // and at least so long
#define LIMIT_BEATS 4    // a member that is silent for so many ends the gang

typedef struct {
    char job[PROTO_NAME_MAX + 1], kind[PROTO_NAME_MAX + 1], order[32];
    uint64_t replicas, least;
    int64_t short_ms; // since when too few workers were here; 0: enough
} waiting_t;

struct gangs {
    waiting_t waiting[WAITING_MAX]; // oldest first
    size_t count;
    waiting_t gathers; // whose workers are kept back; job "": none
    bool asked;        // for its leases
};

gangs_t *gangs_new(void) {
    return mem_zero(1, sizeof(gangs_t));
}

void gangs_destroy(gangs_t **gangs) {
    free(*gangs);
    *gangs = NULL;
}

void gangs_clear(dispatcher_t *d) {
    memset(d->gangs, 0, sizeof *d->gangs);
}

int64_t gang_limit_ms(const dispatcher_t *d) {
    int64_t limit_ms = LIMIT_BEATS * d->conf->heartbeat_ms;
    return limit_ms > SHORT_MS ? limit_ms : SHORT_MS;
}

static waiting_t *find(gangs_t *gangs, const char *job) {
    for (size_t i = 0; i < gangs->count; i++)
        if (strcmp(gangs->waiting[i].job, job) == 0)
            return &gangs->waiting[i];
    return NULL;
}

static int by_order(const void *a, const void *b) {
    double x = strtod(((const waiting_t *)a)->order, NULL),
           y = strtod(((const waiting_t *)b)->order, NULL);
    return (x > y) - (x < y);
}

void gangs_waiting(dispatcher_t *d, const store_reply_t *list) {
    gangs_t *gangs = d->gangs, *fresh = gangs_new();
    for (size_t i = 0; i + 4 < store_count(list) && fresh->count < WAITING_MAX; i += 5) {
        waiting_t *to = &fresh->waiting[fresh->count++];
        snprintf(to->kind, sizeof to->kind, "%s", reply_text(list, i));
        snprintf(to->job, sizeof to->job, "%s", reply_text(list, i + 1));
        snprintf(to->order, sizeof to->order, "%s", reply_text(list, i + 2));
        to->replicas = reply_number(list, i + 3);
        to->least = reply_number(list, i + 4);
        const waiting_t *before = find(gangs, to->job);
        to->short_ms = before ? before->short_ms : 0;
    }
    qsort(fresh->waiting, fresh->count, sizeof *fresh->waiting, by_order);
    if (fresh->count || gangs->count)
        match_later(d);
    memcpy(gangs->waiting, fresh->waiting, sizeof gangs->waiting);
    gangs->count = fresh->count;
    gangs_destroy(&fresh);
}

// --- Gathering
// -----------------------------------------------------------------------------------

static bool is_here(const dispatcher_t *d, const worker_t *worker, const kind_t *kind,
                    int64_t now_ms) {
    return !worker->draining && worker_serves(worker, kind) && worker_alive(d, worker, now_ms);
}

static size_t count_here(dispatcher_t *d, const kind_t *kind, int64_t now_ms) {
    size_t here = 0;
    for (size_t i = 0; i < d->workers->count; i++)
        here += is_here(d, d->workers->list[i], kind, now_ms);
    return here;
}

// With how many workers it may begin, given those who are here; 0: it cannot.
static size_t wanted(dispatcher_t *d, waiting_t *gang, const kind_t *kind, int64_t now_ms) {
    size_t here = count_here(d, kind, now_ms);
    int64_t patience_ms = SHORT_BEATS * d->conf->heartbeat_ms;
    if (here >= gang->replicas) {
        gang->short_ms = 0;
        return gang->replicas;
    }
    if (gang->short_ms == 0)
        gang->short_ms = now_ms;
    if (patience_ms < SHORT_MS)
        patience_ms = SHORT_MS;
    return here >= gang->least && now_ms - gang->short_ms >= patience_ms ? here : 0;
}

typedef struct {
    size_t count;
    char names[PROTO_REPLICAS_MAX][PROTO_NAME_MAX + 1];
} crew_t;

static void answered(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                     const err_t *err) {
    crew_t *crew = item->context;
    d->gangs->asked = false;
    for (size_t i = 0; i < crew->count; i++) {
        worker_t *worker = worker_find(d, crew->names[i]);
        if (worker && worker->reserved)
            worker->reserved--;
    }
    if (err) {
        if (err->code != ERR_NOT_LEADER)
            log_error("job %s: no leases for its gang: %s", item->job, err->message);
    } else {
        waiting_t *gang = find(d->gangs, item->job);
        proto_arena_reset(d->arena);
        take_gang(d, store_item(reply, 0), crew->names, crew->count);
        if (gang) // it waits no more
            memmove(gang, gang + 1,
                    (size_t)(d->gangs->waiting + d->gangs->count-- - gang - 1) * sizeof *gang);
        watch_soon(d);
    }
    free(crew);
    match_later(d);
}

static void ask(dispatcher_t *d, const waiting_t *gang, worker_t **workers, size_t count) {
    item_t *item = item_new(SCRIPT_gang, NULL, answered);
    crew_t *crew = mem_zero(1, sizeof *crew);
    snprintf(item->job, sizeof item->job, "%s", gang->job);
    item->context = crew;
    item_text(item, gang->job);
    item_number(item, 2 * count);
    for (crew->count = 0; crew->count < count; crew->count++) {
        worker_t *worker = workers[crew->count];
        snprintf(crew->names[crew->count], sizeof crew->names[0], "%s", worker->name);
        item_text(item, worker->name);
        item_text(item, worker->boot);
        worker->reserved++;
    }
    d->gangs->asked = true;
    batch_add(d->batch, item);
}

// True: this gang gathers, or has been asked for.
static bool gather(dispatcher_t *d, waiting_t *gang, int64_t now_ms) {
    worker_t *idle[PROTO_REPLICAS_MAX];
    const kind_t *kind = kind_make(d, gang->kind);
    size_t want = wanted(d, gang, kind, now_ms), found = 0;
    if (want == 0)
        return false;
    d->gangs->gathers = *gang;
    for (size_t i = 0; i < d->workers->count && found < want; i++)
        if (is_here(d, d->workers->list[i], kind, now_ms) && worker_free(d->workers->list[i]) > 0)
            idle[found++] = d->workers->list[i];
    if (found == want)
        ask(d, gang, idle, want);
    return true;
}

void gangs_match(dispatcher_t *d) {
    gangs_t *gangs = d->gangs;
    int64_t now_ms = clock_mono_ms();
    bool gathers = false;
    if (gangs->asked)
        return;
    for (size_t i = 0; i < gangs->count && !gathers; i++)
        gathers = gather(d, &gangs->waiting[i], now_ms);
    if (!gathers)
        gangs->gathers.job[0] = 0;
}

const char *gangs_before(dispatcher_t *d, const worker_t *worker) {
    const waiting_t *gathers = &d->gangs->gathers;
    return gathers->job[0] && worker_serves(worker, kind_make(d, gathers->kind)) ? gathers->order
                                                                                 : "0";
}

bool gangs_keep(dispatcher_t *d, const worker_t *worker) {
    return gangs_before(d, worker)[0] != '0';
}

err_code_t gangs_check_now(dispatcher_t *d, const char *kind_name, size_t replicas, err_t *err) {
    const kind_t *kind = map_get(d->workers->kinds, kind_name);
    int64_t now_ms = clock_mono_ms();
    size_t idle = 0;
    for (size_t i = 0; kind && i < d->workers->count; i++) {
        const worker_t *worker = d->workers->list[i];
        idle +=
            is_here(d, worker, kind, now_ms) && worker_free(worker) > 0 && !gangs_keep(d, worker);
    }
    if (idle >= replicas)
        return ERR_OK;
    err_set(err, ERR_CONFLICT, "%zu idle worker%s for %s %s wanted now, %zu %s here", replicas,
            replicas == 1 ? "" : "s", kind_name, replicas == 1 ? "is" : "are", idle,
            idle == 1 ? "is" : "are");
    return err_remedy(err, "`inkling workers` shows who does what; without now the job waits");
}

// --- What it waits for
// ---------------------------------------------------------------------------

static void name_busy(dispatcher_t *d, const kind_t *kind, buf_t *text, int64_t now_ms) {
    size_t named = 0;
    for (size_t i = 0; i < d->workers->count; i++) {
        const worker_t *worker = d->workers->list[i];
        if (!is_here(d, worker, kind, now_ms) || worker_free(worker) > 0)
            continue;
        if (worker->leases.first)
            buf_printf(text, "%s %s runs job %s", named ? "," : ":", worker->name,
                       worker->leases.first->job);
        else
            buf_printf(text, "%s %s begins another job", named ? "," : ":", worker->name);
        if (++named == 5)
            break;
    }
}

bool gangs_why(dispatcher_t *d, const char *job, buf_t *text, size_t *idle, size_t *want) {
    waiting_t *gang = find(d->gangs, job);
    if (!gang)
        return false;
    int64_t now_ms = clock_mono_ms();
    const kind_t *kind = kind_make(d, gang->kind);
    size_t here = count_here(d, kind, now_ms);
    *want = wanted(d, gang, kind, now_ms);
    *idle = 0;
    for (size_t i = 0; i < d->workers->count; i++)
        *idle +=
            is_here(d, d->workers->list[i], kind, now_ms) && worker_free(d->workers->list[i]) > 0;
    if (*want == 0) {
        *want = gang->replicas;
        buf_printf(text, "%llu replicas asked, %zu worker%s for %s %s here",
                   (unsigned long long)gang->replicas, here, here == 1 ? "" : "s", gang->kind,
                   here == 1 ? "is" : "are");
        if (here >= gang->least)
            buf_puts(text, "; it begins with those if no more come in the next seconds");
        else
            buf_puts(text, "; start more, or train with fewer (--min-replicas)");
        return true;
    }
    if (d->gangs->gathers.job[0] && strcmp(d->gangs->gathers.job, job) != 0) {
        buf_printf(text, "job %s gathers its workers first", d->gangs->gathers.job);
        return true;
    }
    buf_printf(text, "%zu of %zu workers for %s are idle and kept for it", *idle, *want,
               gang->kind);
    name_busy(d, kind, text, now_ms);
    return true;
}
