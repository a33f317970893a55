// Redis as a store of state: scripts, called asynchronously and pipelined over one connection that
// mends itself. The only module that knows Redis' client library.
//
// Every change of state is one Lua script, so it happens wholly or not at all; Redis is started
// with appendfsync always, so what it answered has reached the disk. What a call that was in flight
// when the connection broke has done is unknown: its callback gets ERR_UNAVAILABLE, and the caller
// sends it again later, so scripts must bear being called twice.
//
// A store belongs to one loop and its thread.
#ifndef INKLING_STORE_STORE_H
#define INKLING_STORE_STORE_H

#include "base/err.h"
#include "bus/loop.h"

#include <stddef.h>
#include <stdint.h>

#define STORE_PIPELINE_MAX 4096 // calls in flight; one more is ERR_FULL

typedef struct store store_t;

typedef struct {
    const void *data;
    size_t size;
} store_bytes_t;

// A reply and its parts live until the callback returns.
typedef struct redisReply store_reply_t;
typedef enum { STORE_NIL, STORE_INTEGER, STORE_BYTES, STORE_LIST } store_kind_t;
store_kind_t store_kind(const store_reply_t *reply);
int64_t store_integer(const store_reply_t *reply); // INTEGER, or BYTES that are one; else 0
store_bytes_t
store_bytes(const store_reply_t *reply); // BYTES (NUL-terminated behind size); else {NULL, 0}
size_t store_count(const store_reply_t *reply);                            // of a LIST; else 0
const store_reply_t *store_item(const store_reply_t *reply, size_t index); // index < count

// A Lua script, sent once per connection and then called by its SHA-1. Scripts begin with "#!lua …"
// where they need flags (allow-oom, no-writes).
typedef struct {
    const char *name; // for error messages and metrics
    const char *source;
} store_script_t;

typedef struct {
    // The connection is up and every script is loaded; calls are accepted from here on.
    void (*up)(void *arg);
    // It is lost (why says how); calls are refused with ERR_UNAVAILABLE until up() comes again,
    // which the store tries by itself, first after 50 ms, then at most 1 s apart.
    void (*down)(void *arg, const err_t *why);
} store_events_t;

// address: path of a unix socket, or "host:port". Connects in the background. scripts and their
// texts are kept by the caller. At each connection the server is checked: Redis 7 or newer,
// appendonly yes, appendfsync always, maxmemory-policy noeviction, not a replica; one that is
// otherwise is refused (down() with ERR_UNSUPPORTED or ERR_INVALID, naming the setting and the
// remedy), and tried again later.
err_code_t store_new(bus_loop_t *loop, const char *address, const store_script_t *scripts,
                     size_t script_count, const store_events_t *events, void *arg, store_t **store,
                     err_t *err);
// Calls in flight get ERR_CANCELLED.
void store_destroy(store_t **store);
bool store_is_up(const store_t *store);

// reply is NULL if err is not. ERR_FULL: the server is out of memory or its disk is full (nothing
// was done); ERR_UNAVAILABLE: unknown outcome; ERR_INTERNAL: the script failed, with its name and
// the server's text.
typedef void (*store_reply_fn)(void *arg, const store_reply_t *reply, const err_t *err);

// Calls script number `script`; keys and args are copied. Replies come in the order of the calls.
// fn is not called when this returns an error (ERR_UNAVAILABLE, ERR_FULL).
err_code_t store_call(store_t *store, size_t script, const store_bytes_t *keys, size_t key_count,
                      const store_bytes_t *args, size_t arg_count, store_reply_fn fn, void *arg,
                      err_t *err);
// A plain command, words[0] its name.
err_code_t store_command(store_t *store, const store_bytes_t *words, size_t word_count,
                         store_reply_fn fn, void *arg, err_t *err);

#endif
