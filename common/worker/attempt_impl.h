// One attempt at one job: its child process, the link to it, and what it has to tell the
// dispatcher.
//
// Two things end independently: the process (reaped) and the telling (the end was answered, or the
// lease was lost). When both have, the attempt is over and may be destroyed.
#ifndef INKLING_WORKER_ATTEMPT_IMPL_H
#define INKLING_WORKER_ATTEMPT_IMPL_H

#include "session_impl.h"

typedef struct attempt attempt_t;

// What attempts share; outlives them.
typedef struct {
    bus_loop_t *loop;
    session_t *session;
    const char *name;   // of the worker
    const char *files;  // root of the stack's files
    const char *listen; // the setting dispatcher_listen
    const char *child;  // path of the child program
    char *const *env;   // of the child
    int64_t release_ms; // time for giving a job back
    // The end is stored, or given up (outcome "lost"). next: a job to go on with, or NULL.
    void (*finished)(void *arg, const char *outcome, const proto_worker_assign_t *next);
    void (*over)(void *arg); // an attempt may be destroyed, but not from in here
    void *arg;
    proto_arena_t *arena; // scratch
} attempt_host_t;

// Starts the job. What goes wrong becomes the end of the attempt.
attempt_t *attempt_start(const attempt_host_t *host, const proto_worker_assign_t *assign);
// Gives the job back without starting it.
attempt_t *attempt_reject(const attempt_host_t *host, const proto_worker_assign_t *assign);
void attempt_destroy(attempt_t **attempt); // kills the process if there is one

void attempt_cancel(attempt_t *attempt);
void attempt_release(attempt_t *attempt);
void attempt_lose(attempt_t *attempt); // somebody else has the job: nothing more is told of it

bool attempt_is(const attempt_t *attempt, const char *job, uint64_t token);
bool attempt_over(const attempt_t *attempt);
bool attempt_busy(const attempt_t *attempt);    // occupies a slot
bool attempt_holding(const attempt_t *attempt); // has the lease, as far as known here
void attempt_lease(const attempt_t *attempt, proto_lease_t *lease); // texts live as the attempt
size_t attempt_waiting(const attempt_t *attempt);                   // events not yet stored

#endif
