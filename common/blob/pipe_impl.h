// A connection with several requests in flight. A request whose answer did not come before the
// connection broke is sent again on the next one, in the old order.
#ifndef INKLING_BLOB_PIPE_IMPL_H
#define INKLING_BLOB_PIPE_IMPL_H

#include "blob/blob.h"
#include "bus/bus.h"

typedef struct request request_t;

// answer: of the expected type, decoded into the blob's arena; NULL: err says what was answered
// instead.
typedef void (*answered_fn)(blob_t *blob, request_t *request, const void *answer,
                            proto_bytes_t attachment, const err_t *err);

struct request {
    request_t *next; // in the order in which they were first sent
    uint64_t id;
    proto_type_t type, reply_type;
    union {
        proto_blob_stat_t stat;
        proto_blob_put_t put;
        proto_blob_sync_t sync;
        proto_blob_place_t place;
        proto_blob_remove_t remove;
        proto_blob_get_t get;
    } message; // its texts live as long as the request, in digest or with the caller
    char digest[DIGEST_HEX_SIZE];
    answered_fn answered;
    void *arg;
    size_t size; // of the attachment
    unsigned char bytes[];
};

struct blob {
    blob_options_t options;
    char *endpoint;
    bus_socket_t *socket;
    unsigned breaks; // of the socket, when the requests were sent
    uint64_t next_id;
    uint64_t moved;   // bytes of pieces that were answered
    int64_t heard_ms; // last answer, or first request after none was waited for
    request_t *first, **end;
    size_t count, bytes; // in flight
    proto_arena_t *arena;
    err_t refused; // of puts since the last flush: the first refusal, code ERR_OK: none
};

// size: of its attachment, which is copied.
request_t *request_new(proto_type_t type, proto_type_t reply_type, answered_fn answered, void *arg,
                       const void *bytes, size_t size);
// Sends it as soon as there is room, and takes it over, also in a failure. An error is one of the
// connection, and of no single request.
err_code_t pipe_send(blob_t *blob, request_t *request, err_t *err);
// Until at most so many requests are in flight.
err_code_t pipe_wait(blob_t *blob, size_t count, err_t *err);
// Forgets what is in flight, and the connection with it.
void pipe_reset(blob_t *blob);

// One request and its answer, when nothing else is in flight. The answer's texts live until the
// next request.
err_code_t pipe_ask(blob_t *blob, request_t *request, void *reply, size_t reply_size, err_t *err);

#endif
