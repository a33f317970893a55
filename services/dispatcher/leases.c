// Leases: given to workers, told, taken back; and idle workers are sent for what waits.
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "gangs_impl.h"

#include <stdio.h>
#include <string.h>

#define MATCH_MAX 256 // lease items of one round

// --- Leases given
// --------------------------------------------------------------------------------

static void fill_assign(dispatcher_t *d, const lease_t *lease, proto_bytes_t body,
                        proto_bytes_t checkpoint, proto_worker_assign_t *assign) {
    *assign = (proto_worker_assign_t){.job = lease->job,
                                      .token = lease->token,
                                      .kind = lease->kind,
                                      .attempt = lease->attempt,
                                      .rank = lease->rank,
                                      .world = lease->world,
                                      .body = body,
                                      .checkpoint = checkpoint_of(d, checkpoint)};
}

static lease_t *grant(dispatcher_t *d, const store_reply_t *reply, const char *worker_name,
                      size_t rank, size_t world) {
    int64_t now_ms = clock_mono_ms();
    worker_t *worker = worker_make(d, worker_name);
    const char *job = reply_text(reply, 0);
    lease_t *lease = lease_find(d->leases, job);
    if (lease && rank == 0) // it ended, and was leased again, before we heard of the end
        drop_attempt(d, job, lease->token, NULL);
    lease = lease_add_member(d->leases, &worker->leases, job, reply_number(reply, 1), rank, world,
                             now_ms);
    snprintf(lease->kind, sizeof lease->kind, "%s", reply_text(reply, 2));
    snprintf(lease->worker, sizeof lease->worker, "%s", worker->name);
    snprintf(lease->boot, sizeof lease->boot, "%s", worker->boot);
    lease->attempt = reply_number(reply, 3);
    lease->sent_ms = now_ms;
    lease->heard = true; // it was alive just now
    followers_touch(d, job);
    log_debug("job %s leased to %s with token %llu", job, worker->name,
              (unsigned long long)lease->token);
    return lease;
}

bool take_lease(dispatcher_t *d, const store_reply_t *reply, const char *worker_name,
                proto_worker_assign_t *assign) {
    if (store_count(reply) < 4)
        return false;
    const lease_t *lease = grant(d, reply, worker_name, 0, 0);
    fill_assign(d, lease, reply_bytes(reply, 4), reply_bytes(reply, 5), assign);
    return true;
}

static const bus_peer_t *peer_of(dispatcher_t *d, const lease_t *lease) {
    const worker_t *worker = worker_find(d, lease->worker);
    return worker && worker->known ? &worker->peer : NULL;
}

// What does not arrive is sent again when the worker does not show the lease.
static void send_to_holder(dispatcher_t *d, const lease_t *lease, proto_type_t type,
                           const void *message) {
    const bus_peer_t *peer = peer_of(d, lease);
    err_t err;
    if (peer && bus_send(d->router, peer, 0, 0, type, message, NULL, 0, &err) != ERR_OK)
        log_debug("worker %s cannot be reached: %s", lease->worker, err.message);
}

void send_assign(dispatcher_t *d, const proto_worker_assign_t *assign) {
    const lease_t *lease = lease_find(d->leases, assign->job);
    if (lease)
        send_to_holder(d, lease, PROTO_worker_assign, assign);
}

void take_gang(dispatcher_t *d, const store_reply_t *reply, char (*names)[PROTO_NAME_MAX + 1],
               size_t count) {
    if (store_count(reply) < 4)
        return;
    for (size_t rank = 0; rank < count; rank++)
        grant(d, reply, names[rank], rank, count);
    for (size_t rank = 0; rank < count; rank++) {
        const lease_t *lease = lease_member(d->leases, reply_text(reply, 0), rank);
        proto_worker_assign_t assign;
        fill_assign(d, lease, reply_bytes(reply, 4), reply_bytes(reply, 5), &assign);
        send_to_holder(d, lease, PROTO_worker_assign, &assign);
    }
    log_info("job %s: a gang of %zu begins", reply_text(reply, 0), count);
}

static void assignment_read(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                            const err_t *err) {
    const lease_t *lease = lease_of(d->leases, item->job, item->worker);
    proto_worker_assign_t assign;
    if (err || !lease || lease->token != item->token || lease->ending)
        return;
    proto_arena_reset(d->arena);
    fill_assign(d, lease, reply_bytes(reply, 0), reply_bytes(reply, 1), &assign);
    send_to_holder(d, lease, PROTO_worker_assign, &assign);
}

void resend_assign(dispatcher_t *d, lease_t *lease, int64_t now_ms) {
    item_t *item = item_new(SCRIPT_assignment, NULL, assignment_read);
    lease->sent_ms = now_ms;
    snprintf(item->job, sizeof item->job, "%s", lease->job);
    snprintf(item->worker, sizeof item->worker, "%s", lease->worker);
    item->token = lease->token;
    item_text(item, lease->job);
    batch_add(d->batch, item);
}

lease_t *attempt_next(const dispatcher_t *d, const char *job, uint64_t token, size_t *rank) {
    const lease_t *first = lease_find(d->leases, job);
    size_t world = first && first->world ? first->world : 1;
    while (first && first->token == token && *rank < world) {
        lease_t *lease = lease_member(d->leases, job, (*rank)++);
        if (lease)
            return lease;
    }
    return NULL;
}

void tell_cancel(dispatcher_t *d, lease_t *lease) {
    proto_worker_cancel_t cancel = {.job = lease->job, .token = lease->token};
    lease->cancel = true;
    send_to_holder(d, lease, PROTO_worker_cancel, &cancel);
}

void cancel_attempt(dispatcher_t *d, const char *job, uint64_t token) {
    size_t rank = 0;
    for (lease_t *lease; (lease = attempt_next(d, job, token, &rank)) != NULL;)
        tell_cancel(d, lease);
}

void release_gang(dispatcher_t *d, const char *job, uint64_t token) {
    size_t rank = 0;
    for (lease_t *lease; (lease = attempt_next(d, job, token, &rank)) != NULL;) {
        proto_worker_release_t release = {.job = lease->job, .token = lease->token};
        lease->release = true;
        send_to_holder(d, lease, PROTO_worker_release, &release);
    }
}

void move_gang(dispatcher_t *d, const char *job, uint64_t token, int64_t now_ms) {
    size_t rank = 0;
    for (lease_t *lease; (lease = attempt_next(d, job, token, &rank)) != NULL;)
        lease->moved_ms = now_ms;
}

void drop_attempt(dispatcher_t *d, const char *job, uint64_t token, const char *teller) {
    const lease_t *first = lease_find(d->leases, job);
    if (!first || first->token != token)
        return;
    if (first->world)
        meetings_end(d, first->job);
    for (size_t rank = first->world ? first->world : 1; rank-- > 0;) { // rank 0 goes last
        lease_t *lease = lease_member(d->leases, job, rank);
        if (!lease)
            continue;
        proto_worker_lost_t lost = {.job = lease->job, .token = lease->token};
        if (lease->world && !(teller && strcmp(lease->worker, teller) == 0))
            send_to_holder(d, lease, PROTO_worker_lost, &lost);
        lease_remove(d->leases, lease);
    }
}

// --- Idle workers are sent for what waits
// --------------------------------------------------------

void put_kinds(item_t *item, const worker_t *worker) {
    item_number(item, worker->kind_count);
    for (size_t i = 0; i < worker->kind_count; i++)
        item_text(item, worker->kinds[i]->name);
}

static void lease_answered(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                           const err_t *err) {
    kind_t *kind = kind_make(d, item->kind);
    worker_t *worker = worker_find(d, item->worker);
    proto_worker_assign_t assign;
    if (kind->asked)
        kind->asked--;
    if (worker && worker->reserved)
        worker->reserved--;
    if (err) {
        if (err->code != ERR_NOT_LEADER)
            log_error("no lease: %s", err->message);
        return;
    }
    proto_arena_reset(d->arena);
    if (!take_lease(d, store_item(reply, 0), item->worker, &assign)) {
        kind->ready = 0;
        return;
    }
    kind_ready(d, assign.kind, -1);
    if (kind->ready)
        match_later(d); // it was an older job of another kind
    send_assign(d, &assign);
}

// For the oldest job of all kinds that the worker serves, whichever it was asked for.
static void ask_lease(dispatcher_t *d, worker_t *worker, kind_t *kind) {
    item_t *item = item_new(SCRIPT_lease, NULL, lease_answered);
    snprintf(item->worker, sizeof item->worker, "%s", worker->name);
    snprintf(item->kind, sizeof item->kind, "%s", kind->name);
    item_text(item, worker->name);
    item_text(item, worker->boot);
    item_text(item, gangs_before(d, worker));
    put_kinds(item, worker);
    kind->asked++;
    worker->reserved++;
    batch_add(d->batch, item);
}

static void match(void *arg) {
    dispatcher_t *d = arg;
    size_t asked = 0, at = 0;
    d->workers->matching = false;
    if (d->leader.state != LEADER_LEADING || !d->leader.store_up)
        return;
    gangs_match(d);
    for (kind_t *kind; (kind = map_next(d->workers->kinds, &at)) != NULL;) {
        worker_t *worker;
        while (kind->ready > kind->asked && asked < MATCH_MAX &&
               (worker = worker_idle(d, kind)) != NULL) {
            ask_lease(d, worker, kind);
            asked++;
        }
    }
}

void match_later(dispatcher_t *d) {
    d->workers->matching = true;
    bus_loop_defer(d->loop, match, d);
}

void kind_ready(dispatcher_t *d, const char *name, int64_t more) {
    kind_t *kind = kind_make(d, name);
    if (more < 0)
        kind->ready -= kind->ready < (uint64_t)-more ? kind->ready : (uint64_t)-more;
    else
        kind->ready += (uint64_t)more;
    if (kind->ready)
        match_later(d);
}
