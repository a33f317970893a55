// Redis as a store of state: scripts, called asynchronously and pipelined over one connection that
// mends itself. The only module that knows Redis' client library.
//
// Every change of state is one Lua script, so it happens wholly or not at all; Redis is started
// with appendfsync always, so what it answered has reached the disk. What a call that was in flight
// when the connection broke has done is unknown: its callback gets ERR_UNAVAILABLE, and the caller
// sends it again later, so scripts must bear being called twice. A call of a lost connection is
// never carried out after up(): the next connection ends the old one inside the server first.
//
// Calls of one round of the loop leave in one write at its end. A store belongs to one loop and its
// thread. A host name is looked up on that thread, at each connecting: prefer a socket's path or a
// numeric address where name servers are slow.
#ifndef INKLING_STORE_STORE_H
#define INKLING_STORE_STORE_H

#include "base/err.h"
#include "bus/loop.h"

#include <stddef.h>
#include <stdint.h>

#define STORE_PIPELINE_MAX     4096     // calls in flight; one more is ERR_FULL
#define STORE_BYTES_MAX        67108864 // of their keys and arguments, encoded; more is ERR_FULL
#define STORE_REPLY_MAX        67108864 // bytes of one reply; a larger one ends the connection
#define STORE_REPLY_ITEMS_MAX  1048576  // items of one reply, nested ones counted
#define STORE_REPLY_DEPTH_MAX  7        // lists within lists
#define STORE_SILENCE_MS       5000     // a server that owes an answer for so long counts as lost
#define STORE_RECONNECT_MIN_MS 50       // the waits between attempts double, with jitter
#define STORE_RECONNECT_MAX_MS 1000

typedef struct store store_t;

typedef struct {
    const void *data;
    size_t size;
} store_bytes_t;

// A reply and its parts live until the callback returns. ERROR occurs only inside a LIST.
typedef struct redisReply store_reply_t;
typedef enum { STORE_NIL, STORE_INTEGER, STORE_BYTES, STORE_LIST, STORE_ERROR } store_kind_t;
store_kind_t store_kind(const store_reply_t *reply);
int64_t store_integer(const store_reply_t *reply); // INTEGER, or BYTES that are one; else 0
// BYTES and ERROR (NUL-terminated behind size); else {NULL, 0}.
store_bytes_t store_bytes(const store_reply_t *reply);
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
    // It is lost, after the callbacks of the calls in flight; or an attempt to connect failed for
    // another reason than the last one (why says how). Calls are refused with ERR_UNAVAILABLE until
    // up() comes, which the store tries by itself, first after 50 ms, then at most 1 s apart.
    void (*down)(void *arg, const err_t *why);
} store_events_t;

// address: path of a unix socket (it has a '/'), or "host:port". Connects in the background.
// scripts and their texts are kept by the caller. At each connection the server is checked: Redis 7
// or newer, appendonly yes, appendfsync always, maxmemory-policy noeviction, no cluster, not a
// replica; one that is otherwise is refused (down() with ERR_UNSUPPORTED or ERR_INVALID, naming the
// setting and the remedy), and tried again every second; so is one that still loads its data
// (ERR_UNAVAILABLE). ERR_USAGE: that is no address.
err_code_t store_new(bus_loop_t *loop, const char *address, const store_script_t *scripts,
                     size_t script_count, const store_events_t *events, void *arg, store_t **store,
                     err_t *err);
// Credentials (Redis' ACL) for every connection, copied; to be called before the loop runs. Without
// them none are sent. Wrong ones are told as a server that is otherwise, and tried again.
void store_login(store_t *store, const char *user, const char *password);
// Calls in flight get ERR_CANCELLED; no event comes. Not to be called from a store's callback.
void store_destroy(store_t **store);
bool store_is_up(const store_t *store);

// reply is NULL if err is not. ERR_FULL: the server is out of memory or its disk is full (nothing
// was done); ERR_UNAVAILABLE: unknown outcome; ERR_INTERNAL: the script failed, with its name and
// the server's text. A script's own error, redis.error_reply("STALE the lease was lost"), comes as
// the code whose name (base/err.h) is its first word, with the rest as the message.
// A callback may call anything but store_destroy().
typedef void (*store_reply_fn)(void *arg, const store_reply_t *reply, const err_t *err);

// Calls script number `script`; keys and args are copied. Replies come in the order of the calls,
// except around a SCRIPT FLUSH by somebody else: what met the missing script is sent again, in
// order, once the scripts are back. fn is not called when this returns an error (ERR_UNAVAILABLE,
// ERR_FULL, ERR_TOO_LARGE, ERR_NO_MEMORY).
err_code_t store_call(store_t *store, size_t script, const store_bytes_t *keys, size_t key_count,
                      const store_bytes_t *args, size_t arg_count, store_reply_fn fn, void *arg,
                      err_t *err);
// A plain command, words[0] its name.
err_code_t store_command(store_t *store, const store_bytes_t *words, size_t word_count,
                         store_reply_fn fn, void *arg, err_t *err);

// Counters since the store was made, and what is in flight now: for metrics.
typedef struct {
    uint64_t calls, failures, connections; // failures: callbacks with an error
    uint64_t bytes_out, bytes_in;
    size_t in_flight, in_flight_bytes;
} store_stats_t;
store_stats_t store_stats(const store_t *store);

#endif
