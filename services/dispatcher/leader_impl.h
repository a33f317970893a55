// Which dispatcher leads. One does at a time, by an epoch in Redis that every change is checked
// against: see lua/lead.lua.
#ifndef INKLING_DISPATCHER_LEADER_IMPL_H
#define INKLING_DISPATCHER_LEADER_IMPL_H

#include "batch_impl.h"

#define LEADER_TIMEOUT_MS 3000 // another takes over when the leader is silent for so long
#define LEADER_RENEW_MS   1000
#define LEADER_ASK_MS     300 // by one that does not lead

typedef enum {
    LEADER_UNKNOWN,   // Redis has not been reached, or refuses
    LEADER_FOLLOWING, // another leads
    LEADER_LOADING,   // this one leads and reads the leases
    LEADER_LEADING    // and serves; also while Redis is away for a while
} leader_state_t;

typedef struct {
    leader_state_t state;
    bool store_up;
    uint64_t epoch; // 0: never led
    char id[33];
    char other[257];      // endpoint of the leader that is followed
    err_t why;            // of LEADER_UNKNOWN, or of the loss of Redis
    int64_t away_ms;      // when Redis was lost, or this began
    int64_t due_ms;       // of the next question
    uint64_t loaded;      // leases so far
    bool asking, loading; // a question is on its way
    bool outdated;        // the answer to loading will be of an epoch before
    bool held;            // Redis was lost since it began to serve
} leader_t;

err_code_t leader_init(dispatcher_t *d, err_t *err);
void leader_up(dispatcher_t *d);
void leader_down(dispatcher_t *d, const err_t *why);
void leader_tick(dispatcher_t *d, int64_t now_ms);
// A script found another epoch.
void leader_lost(dispatcher_t *d, const char *endpoint);
void leader_resign(dispatcher_t *d, void (*done)(void *arg), void *arg);
// May requests be taken? Otherwise err says why, and leader (an endpoint or "") where to go.
bool leader_serves(const dispatcher_t *d, err_t *err, const char **leader);
// Redis has been away for so long that nobody shall wait for it.
bool leader_patience_over(const dispatcher_t *d, int64_t now_ms);
err_code_t leader_away(const dispatcher_t *d, err_t *err);

#endif
