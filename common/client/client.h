// Requests and their answers, blocking: for the command line, child processes and tools.
//
// A client talks to one of several endpoints; when that one is away, or answers NOT_LEADER, it
// turns to the leader or the next, and sends the request again until the time is up. So requests
// may arrive twice: a job.submit without a key gets a random one. A handle is used by one thread at
// a time.
#ifndef INKLING_CLIENT_CLIENT_H
#define INKLING_CLIENT_CLIENT_H

#include "bus/bus.h"

typedef struct client client_t;

// endpoints: "ipc://…,tcp://…". service: what error messages call it ("the dispatcher").
err_code_t client_new(const char *endpoints, const char *service, client_t **client, err_t *err);
void client_destroy(client_t **client);

// Sends message (of type) and waits for the answer, decoded into reply (struct of reply_type) and
// arena. An error answer becomes err. Nothing within timeout_ms is ERR_UNAVAILABLE; a signal that
// interrupts is ERR_CANCELLED if *interrupted (may be NULL) is then true, and otherwise ignored.
err_code_t client_request(client_t *client, proto_type_t type, const void *message,
                          const proto_bytes_t *attachments, size_t attachment_count,
                          proto_type_t reply_type, void *reply, proto_arena_t *arena,
                          int64_t timeout_ms, const volatile bool *interrupted, err_t *err);

#endif
