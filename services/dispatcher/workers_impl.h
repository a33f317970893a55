// The workers that this leader knows of, in memory only: they say hello again after every change of
// leader. And the kinds of jobs: how many wait, so that idle workers are sent for them.
#ifndef INKLING_DISPATCHER_WORKERS_IMPL_H
#define INKLING_DISPATCHER_WORKERS_IMPL_H

#include "base/map.h"
#include "dispatcher_impl.h"

#define WORKERS_MAX     10000 // as many as one list holds
#define KINDS_KEPT      4096  // beyond, kinds that nothing refers to are forgotten
#define HEARTBEATS_LOST 3     // missed ones after which a worker gets no job

typedef struct {
    char name[PROTO_NAME_MAX + 1];
    uint64_t ready; // jobs that wait in its queue
    uint64_t asked; // lease items on their way for it
    size_t workers; // that serve it
} kind_t;

typedef struct {
    char name[PROTO_NAME_MAX + 1], boot[PROTO_NAME_MAX + 1];
    bool known; // it has said hello; else only leases name it
    bool draining;
    bool full;   // it gave back a job that it had not begun: none until it renews, lest this spin
    bool missed; // an answer to it may be lost: it is to say hello, and to send again what has none
    kind_t **kinds;
    size_t kind_count;
    uint64_t slots, pid;
    char host[257], version[33];
    bus_peer_t peer;
    int64_t seen_ms;
    lease_owner_t leases;
    size_t reserved; // slots for leases on their way
} worker_t;

struct workers {
    map_t *by_name, *kinds;
    worker_t **list; // in order of arrival
    size_t count, room, turn;
    bool matching;
};

workers_t *workers_new(void);
void workers_destroy(workers_t **workers);
// Forgets all, with their leases: this dispatcher leads no more.
void workers_clear(dispatcher_t *d);

void on_hello(dispatcher_t *d, const bus_message_t *message);
void on_renew(dispatcher_t *d, const bus_message_t *message);
void on_bye(dispatcher_t *d, const bus_message_t *message);
void on_worker_list(dispatcher_t *d, const bus_message_t *message);
void workers_tick(dispatcher_t *d, int64_t now_ms);
// An answer to that peer was not sent.
void workers_missed(dispatcher_t *d, const bus_peer_t *peer);

worker_t *worker_find(dispatcher_t *d, const char *name); // NULL: none
worker_t *worker_make(dispatcher_t *d, const char *name); // found, or made as unknown
bool worker_alive(const dispatcher_t *d, const worker_t *worker, int64_t now_ms);
size_t worker_free(const worker_t *worker); // slots
bool worker_serves(const worker_t *worker, const kind_t *kind);
kind_t *kind_make(dispatcher_t *d, const char *name);
// A worker with a free slot that takes jobs of that kind now, or NULL; in turn.
worker_t *worker_idle(dispatcher_t *d, const kind_t *kind);

// --- Leases (leases.c)
// A lease of a reply goes into the table; false if reply has none. assign lives as reply and arena.
// The same of a gang, whose members are told; names by rank.
void take_gang(dispatcher_t *d, const store_reply_t *lease, char (*names)[PROTO_NAME_MAX + 1],
               size_t count);
bool take_lease(dispatcher_t *d, const store_reply_t *lease, const char *worker,
                proto_worker_assign_t *assign);
void send_assign(dispatcher_t *d, const proto_worker_assign_t *assign);
void resend_assign(dispatcher_t *d, lease_t *lease, int64_t now_ms);
// Jobs wait for this kind: n more. Workers are sent for them at the end of the round.
void kind_ready(dispatcher_t *d, const char *name, int64_t more);
void match_later(dispatcher_t *d);
void tell_cancel(dispatcher_t *d, lease_t *lease);
void cancel_attempt(dispatcher_t *d, const char *job, uint64_t token); // tells all its workers
// Of a gang that is to end with a checkpoint: all members are told.
void release_gang(dispatcher_t *d, const char *job, uint64_t token);
// One member has made progress: the others may wait for it meanwhile.
void move_gang(dispatcher_t *d, const char *job, uint64_t token, int64_t now_ms);
// The attempt is over. Its leases go; a gang's members are told, but not teller (NULL: all are).
void drop_attempt(dispatcher_t *d, const char *job, uint64_t token, const char *teller);
// The attempt's leases, one after the other; *rank begins with 0.
lease_t *attempt_next(const dispatcher_t *d, const char *job, uint64_t token, size_t *rank);
void put_kinds(item_t *item, const worker_t *worker); // those that it serves, as a list

// --- Attempts (attempts.c)
void on_report(dispatcher_t *d, const bus_message_t *message);
void on_checkpoint(dispatcher_t *d, const bus_message_t *message);
void on_finish(dispatcher_t *d, const bus_message_t *message);
// Ends an attempt from this side. outcome: "lost", "died", "released", or "failed" with a failure.
void end_attempt(dispatcher_t *d, lease_t *lease, const char *outcome, const err_t *failure,
                 const char *reason);
void attempts_tick(dispatcher_t *d, int64_t now_ms);
// Ticks of Redis: delayed jobs, counts, retention (watch.c).
void watch_soon(dispatcher_t *d);
void watch_start(dispatcher_t *d);
void watch_tick(dispatcher_t *d, int64_t now_ms);
void watch_delay(dispatcher_t *d, int64_t delay_ms);

#endif
