// Parts of a store: store.c (calls and their queue), connection.c (the socket, reconnecting),
// handshake.c (checks and loads at each connection), reply.c (accessors, limits, errors).
#ifndef INKLING_STORE_STORE_IMPL_H
#define INKLING_STORE_STORE_IMPL_H

#include "store/store.h"

#include <hiredis/hiredis.h>

#define DIGEST_SIZE 40 // of a script: SHA-1 in hex
#define NO_SCRIPT   SIZE_MAX
#define RESENDS_MAX 3 // of a call whose script is missing

// A command in the queue: sent or to be sent, its answer to come. Its bytes stay until then.
typedef struct call {
    struct call *next;
    store_reply_fn fn;                                   // a caller's; or NULL and
    void (*own)(store_t *, struct call *, redisReply *); // the store's, reply may be an error
    void *arg;
    size_t script; // or NO_SCRIPT
    int resends;
    size_t size;
    char bytes[]; // RESP
} call_t;

typedef enum { STORE_AWAY, STORE_CONNECTING, STORE_CHECKING, STORE_UP } store_state_t;

struct store {
    bus_loop_t *loop;
    char *address;
    char *user, *password; // or NULL
    const store_script_t *scripts;
    size_t script_count, loads; // loads: SCRIPT LOAD whose answers are to come
    char (*digests)[DIGEST_SIZE + 1];
    store_events_t events;
    void *arg;

    store_state_t state;
    uint64_t life; // number of the connection
    int fd, watched;
    redisReader *reader;
    redisReplyObjectFunctions reply_functions;
    size_t reply_items; // of the reply being read

    call_t *first, **end; // FIFO; *end is the NULL behind the last one
    call_t *unsent;       // first that is not wholly written
    size_t sent;          // bytes of it that are
    size_t caller_calls, bytes;
    bool calling; // in a callback

    int tick, retry; // timers
    int64_t tick_ms, heard_ms, wait_ms;
    char told[768];  // reason of the last down()
    char run_id[64]; // of the server of client_id
    char new_run_id[64];
    int64_t client_id; // the last connection's number inside that server; 0: none
    store_stats_t stats;
};

// store.c
err_code_t call_words(const store_bytes_t *const *lists, const size_t *counts, size_t list_count,
                      call_t **made, err_t *err);
void call_own(store_t *store, void (*own)(store_t *, call_t *, redisReply *), size_t script,
              const char *const *words); // ended by NULL
void call_append(store_t *store, call_t *call);
void call_answered(store_t *store, redisReply *reply);
// Empties the queue; callers get err.
void calls_fail(store_t *store, const err_t *err);

// connection.c
void connection_start(store_t *store);
// Ends the connection: why is told to every call in flight and to down().
void connection_lost(store_t *store, const err_t *why);
void connection_close(store_t *store);
void connection_flush(void *store);

// handshake.c
void handshake_start(store_t *store);
void handshake_load(store_t *store); // SCRIPT LOAD of all scripts

// reply.c
void reply_limits(store_t *store);
// True if the server will answer every call with this for a while: the connection is of no use.
bool reply_error(const store_t *store, const call_t *call, const redisReply *reply, err_t *err);
bool reply_is_error(const redisReply *reply, const char *word);

#endif
