#include "leader_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "gangs_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define LOAD_MAX 500 // leases of one question

err_code_t leader_init(dispatcher_t *d, err_t *err) {
    leader_t *leader = &d->leader;
    unsigned char random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_set_errno(err, "no random bytes from the kernel");
    for (int i = 0; i < 16; i++)
        snprintf(leader->id + 2 * i, 3, "%02x", random[i]);
    leader->away_ms = clock_mono_ms();
    err_set(&leader->why, ERR_UNAVAILABLE, "not connected yet");
    return ERR_OK;
}

// --- States
// --------------------------------------------------------------------------------------

static err_code_t not_leader(err_t *err, const char *endpoint) {
    if (endpoint[0])
        return err_set(err, ERR_NOT_LEADER, "this dispatcher does not lead, the one at %s does",
                       endpoint);
    return err_set(err, ERR_NOT_LEADER, "no dispatcher leads yet");
}

// Everything that only the leader knows is given up.
static void step_down(dispatcher_t *d) {
    err_t err;
    not_leader(&err, d->leader.other);
    batch_abandon(d->batch, &err);
    followers_refuse(d, &err);
    meetings_refuse(d, &err);
    workers_clear(d);
}

void leader_lost(dispatcher_t *d, const char *endpoint) {
    leader_t *leader = &d->leader;
    snprintf(leader->other, sizeof leader->other, "%s",
             strcmp(endpoint, d->endpoint) == 0 ? "" : endpoint);
    if (leader->state == LEADER_LEADING || leader->state == LEADER_LOADING)
        log_warn("the dispatcher at %s leads now", endpoint);
    leader->state = LEADER_FOLLOWING;
    leader->due_ms = 0;
    step_down(d);
}

static void lead(dispatcher_t *d) {
    leader_t *leader = &d->leader;
    leader->state = LEADER_LEADING;
    leader->held = false;
    lease_grace(d->leases, clock_mono_ms());
    batch_resume(d->batch);
    watch_start(d);
    match_later(d);
}

// --- Loading
// -------------------------------------------------------------------------------------

static void load_more(dispatcher_t *d);

static void load_lease(dispatcher_t *d, const store_reply_t *item, const char *name,
                       const char *boot, size_t rank, size_t world, int64_t now_ms) {
    const char *job = reply_text(item, 0);
    worker_t *worker = worker_make(d, name);
    lease_t *lease = lease_add_member(d->leases, &worker->leases, job, reply_number(item, 1), rank,
                                      world, now_ms);
    snprintf(lease->kind, sizeof lease->kind, "%s", reply_text(item, 2));
    lease->attempt = reply_number(item, 3);
    snprintf(lease->worker, sizeof lease->worker, "%s", worker->name);
    snprintf(lease->boot, sizeof lease->boot, "%s", boot);
    lease->cancel = reply_number(item, 6) != 0;
    lease->sent_ms = now_ms;
    // Only what surely was begun counts as a death if its worker's process turns out to be gone.
    lease->shown = reply_number(item, 7) > 0;
}

// Those of its members whose part is done hold nothing any more.
static void load_gang(dispatcher_t *d, const store_reply_t *item, const store_reply_t *members,
                      int64_t now_ms) {
    bool release = false;
    size_t world = store_count(members) / 3;
    for (size_t i = 0; i < world; i++) {
        uint64_t done = reply_number(members, 3 * i + 2);
        release = release || done == 2;
        if (!done)
            load_lease(d, item, reply_text(members, 3 * i), reply_text(members, 3 * i + 1), i,
                       world, now_ms);
    }
    if (release)
        release_gang(d, reply_text(item, 0), reply_number(item, 1));
}

static void load_job(dispatcher_t *d, const store_reply_t *item, int64_t now_ms) {
    const store_reply_t *members = store_item(item, 8);
    if (lease_find(d->leases, reply_text(item, 0)))
        return;
    if (store_count(members))
        load_gang(d, item, members, now_ms);
    else
        load_lease(d, item, reply_text(item, 4), reply_text(item, 5), 0, 0, now_ms);
}

static void on_loaded(void *arg, const store_reply_t *reply, const err_t *err) {
    dispatcher_t *d = arg;
    leader_t *leader = &d->leader;
    bool outdated = leader->outdated;
    leader->loading = leader->outdated = false;
    if (leader->state != LEADER_LOADING || (err && err->code != ERR_INTERNAL))
        return; // it goes on when Redis is back
    if (outdated) {
        load_more(d);
        return;
    }
    if (err) {
        log_error("cannot read the leases: %s", err->message);
        leader->state = LEADER_UNKNOWN;
        return;
    }
    int64_t now_ms = clock_mono_ms();
    for (size_t i = 0; i < store_count(reply); i++)
        load_job(d, store_item(reply, i), now_ms);
    leader->loaded += store_count(reply);
    if (store_count(reply) == LOAD_MAX) {
        load_more(d);
        return;
    }
    log_info("leads in epoch %llu with %zu leases", (unsigned long long)leader->epoch,
             lease_count(d->leases));
    lead(d);
}

static void load_more(dispatcher_t *d) {
    char from[24], most[24];
    store_bytes_t args[2] = {
        {from, (size_t)snprintf(from, sizeof from, "%llu", (unsigned long long)d->leader.loaded)},
        {most, (size_t)snprintf(most, sizeof most, "%d", LOAD_MAX)}};
    d->leader.loading =
        store_call(d->store, SCRIPT_running, NULL, 0, args, 2, on_loaded, d, NULL) == ERR_OK;
}

static void begin_epoch(dispatcher_t *d, uint64_t epoch) {
    leader_t *leader = &d->leader;
    if (leader->epoch) // what it knew is of another time
        step_down(d);
    metric_add(&d->stats.takeovers, 1);
    leader->epoch = epoch;
    leader->state = LEADER_LOADING;
    leader->loaded = 0;
    leader->outdated = leader->loading;
    if (!leader->loading)
        load_more(d);
}

// --- Asking
// --------------------------------------------------------------------------------------

static void refused(dispatcher_t *d, const store_reply_t *reply) {
    leader_t *leader = &d->leader;
    bool schema = strcmp(reply_text(reply, 0), "SCHEMA") == 0;
    char before[sizeof leader->why.message];
    memcpy(before, leader->why.message, sizeof before);
    if (leader->state == LEADER_LEADING || leader->state == LEADER_LOADING)
        step_down(d);
    leader->state = LEADER_UNKNOWN;
    if (schema) {
        err_set(&leader->why, ERR_UNSUPPORTED,
                "the data in Redis have schema %llu; this version knows %d",
                (unsigned long long)reply_number(reply, 1), SCHEMA_VERSION);
        err_remedy(&leader->why, "install the newer Inkling that wrote them");
    } else {
        err_set(&leader->why, ERR_CONFLICT, "the Redis at %s holds data of something else",
                d->conf->redis);
        err_remedy(&leader->why, "give Inkling a Redis, or a database of it, of its own");
    }
    if (strcmp(before, leader->why.message) != 0) // it is asked again and again
        log_error("%s; %s", leader->why.message, leader->why.remedy);
}

// Of every second while it leads, and when Redis is back.
static void leads(dispatcher_t *d, uint64_t epoch, bool is_new) {
    leader_t *leader = &d->leader;
    bool led = leader->state == LEADER_LEADING || leader->state == LEADER_LOADING;
    if (is_new || !led) // it may have stepped down in this epoch: what it knew is gone
        begin_epoch(d, epoch);
    else if (leader->state == LEADER_LOADING && !leader->loading)
        load_more(d); // what is known already is left out
    else if (leader->state == LEADER_LEADING && leader->held)
        lead(d);
}

static void on_lead(void *arg, const store_reply_t *reply, const err_t *err) {
    dispatcher_t *d = arg;
    leader_t *leader = &d->leader;
    leader->asking = false;
    if (err) {
        if (err->code != ERR_UNAVAILABLE && err->code != ERR_CANCELLED)
            log_error("cannot become the leader: %s", err->message);
        return;
    }
    const char *word = reply_text(reply, 0);
    if (strcmp(word, "FOLLOW") == 0) {
        const char *other = reply_text(reply, 1);
        if (leader->state == LEADER_LEADING || leader->state == LEADER_LOADING) {
            leader_lost(d, other);
            return;
        }
        if (leader->state != LEADER_FOLLOWING || strcmp(other, leader->other) != 0)
            log_info("the dispatcher at %s leads; this one stands by", other);
        leader->state = LEADER_FOLLOWING;
        snprintf(leader->other, sizeof leader->other, "%s", other);
    } else if (strcmp(word, "LEAD") == 0) {
        if (reply_number(reply, 2))
            sweep_claim(d, reply_text(reply, 3));
        leads(d, reply_number(reply, 1), reply_number(reply, 2) != 0);
    } else {
        refused(d, reply);
    }
}

static void ask(dispatcher_t *d, int64_t now_ms) {
    leader_t *leader = &d->leader;
    bool leads = leader->state == LEADER_LEADING || leader->state == LEADER_LOADING;
    leader->due_ms = now_ms + (leads ? LEADER_RENEW_MS : LEADER_ASK_MS);
    char timeout[16], schema[16], epoch[24];
    store_bytes_t args[5] = {
        {leader->id, strlen(leader->id)},
        {d->endpoint, strlen(d->endpoint)},
        {timeout, (size_t)snprintf(timeout, sizeof timeout, "%d", LEADER_TIMEOUT_MS)},
        {schema, (size_t)snprintf(schema, sizeof schema, "%d", SCHEMA_VERSION)},
        {epoch, (size_t)snprintf(epoch, sizeof epoch, "%llu", (unsigned long long)leader->epoch)}};
    leader->asking =
        store_call(d->store, SCRIPT_lead, NULL, 0, args, 5, on_lead, d, NULL) == ERR_OK;
}

void leader_up(dispatcher_t *d) {
    d->leader.store_up = true;
    ask(d, clock_mono_ms());
}

void leader_down(dispatcher_t *d, const err_t *why) {
    leader_t *leader = &d->leader;
    if (leader->store_up)
        leader->away_ms = clock_mono_ms();
    leader->store_up = false;
    leader->asking = false;
    leader->held = true;
    leader->why = *why;
    log_warn("Redis: %s%s%s", why->message, why->remedy[0] ? "; " : "", why->remedy);
    batch_hold(d->batch);
}

void leader_tick(dispatcher_t *d, int64_t now_ms) {
    leader_t *leader = &d->leader;
    if (leader->store_up && !leader->asking && !d->draining && now_ms >= leader->due_ms)
        ask(d, now_ms);
}

// --- End
// -----------------------------------------------------------------------------------------

typedef struct {
    void (*done)(void *arg);
    void *arg;
} resigning_t;

static void on_resigned(void *arg, const store_reply_t *reply, const err_t *err) {
    resigning_t *resigning = arg;
    (void)reply;
    if (!err || err->code != ERR_CANCELLED)
        resigning->done(resigning->arg);
    free(resigning);
}

void leader_resign(dispatcher_t *d, void (*done)(void *arg), void *arg) {
    char epoch[24];
    store_bytes_t args[1] = {{epoch, (size_t)snprintf(epoch, sizeof epoch, "%llu",
                                                      (unsigned long long)d->leader.epoch)}};
    resigning_t *resigning = mem_alloc(sizeof *resigning);
    *resigning = (resigning_t){done, arg};
    if (d->leader.state == LEADER_LEADING && d->leader.store_up &&
        store_call(d->store, SCRIPT_resign, NULL, 0, args, 1, on_resigned, resigning, NULL) ==
            ERR_OK)
        return;
    free(resigning);
    done(arg);
}

// --- Questions
// -----------------------------------------------------------------------------------

bool leader_patience_over(const dispatcher_t *d, int64_t now_ms) {
    return !d->leader.store_up && now_ms - d->leader.away_ms >= OUTAGE_PATIENCE_MS;
}

err_code_t leader_away(const dispatcher_t *d, err_t *err) {
    const err_t *why = &d->leader.why;
    err_set(err, ERR_UNAVAILABLE, "the dispatcher cannot work: %s", why->message);
    return err_remedy(err, "%s", why->remedy[0] ? why->remedy : "is redis-server running?");
}

bool leader_serves(const dispatcher_t *d, err_t *err, const char **other) {
    const leader_t *leader = &d->leader;
    *other = "";
    if (leader->state == LEADER_LEADING)
        return true;
    bool refused = leader->store_up && leader->state == LEADER_UNKNOWN && leader->why.code &&
                   leader->why.code != ERR_UNAVAILABLE;
    if (refused || leader_patience_over(d, clock_mono_ms())) {
        leader_away(d, err);
        return false;
    }
    if (leader->state == LEADER_FOLLOWING && leader->store_up)
        *other = leader->other;
    not_leader(err, *other);
    return false;
}
