// A worker's conversation with the dispatcher that leads: hello, heartbeats, and requests that are
// sent again until they are answered, whatever dies meanwhile.
//
// It turns to the next endpoint when nothing was heard for three heartbeats (to the same one, if
// there is only that: a fresh connection sheds what has piled up), and to the leader that
// NOT_LEADER names. Requests wait until the dispatcher has welcomed the worker; after each welcome
// all of them are sent again, with the same id.
#ifndef INKLING_WORKER_SESSION_IMPL_H
#define INKLING_WORKER_SESSION_IMPL_H

#include "bus/bus.h"

typedef struct session session_t;

// One request. Embed it; zero it before use. Callbacks may start and drop calls.
typedef struct call call_t;
struct call {
    // Sends it by session_send(); on failure the code decides: retryable is tried again.
    err_code_t (*send)(call_t *call, err_t *err);
    // Once. answer NULL: refused says why (never a retryable reason).
    void (*answered)(call_t *call, const bus_message_t *answer, const err_t *refused);
    // of the session
    uint64_t id; // 0: not waiting
    int64_t due_ms;
    call_t *next;
};

typedef struct {
    const char *name, *boot;  // of the worker
    const char *const *kinds; // ended by NULL
    uint64_t slots;
    const char *endpoints; // separated by commas
    int64_t heartbeat_ms;  // until the dispatcher says otherwise
    // Fills at most room leases of jobs it runs; texts are used at once. Returns their number.
    size_t (*leases)(void *arg, proto_lease_t *leases, size_t room);
    void (*assign)(void *arg, const proto_worker_assign_t *assign);
    void (*cancel)(void *arg, const char *job, uint64_t token);
    void (*release)(void *arg, const char *job, uint64_t token);
    void (*lost)(void *arg, const char *job, uint64_t token);
    void *arg;
} session_setup_t;

// Texts and kinds of setup must live as long as the session. Connects in the background.
err_code_t session_new(bus_loop_t *loop, const session_setup_t *setup, session_t **session,
                       err_t *err);
void session_destroy(session_t **session); // calls that wait are forgotten

void session_call(session_t *session, call_t *call);
// Ends the waiting, if any; answered is not called.
void session_drop(session_t *session, call_t *call);
// For call_t.send.
err_code_t session_send(session_t *session, const call_t *call, proto_type_t type,
                        const void *message, err_t *err);

// Tells the dispatcher at once and from now on that no job is wanted.
void session_drain(session_t *session);

bool session_welcome(const session_t *session); // a dispatcher knows this worker and answers
const char *session_endpoint(const session_t *session);
int64_t session_silence_ms(const session_t *session); // since something was heard
uint64_t session_reconnects(const session_t *session);

#endif
