// Gathers what many clients and workers want of Redis into few script calls.
//
// An item is one transition or one question. Items are gathered while a round of the loop handles
// messages, and sent at its end: one call per script, several calls in flight, at most ROUNDS_MAX
// rounds, so that what comes meanwhile makes the next batch larger. done() is called once, in the
// order in which Redis did the items.
//
// A call whose outcome is unknown because the connection broke is sent again, with the same number,
// before anything else: the scripts keep their replies and do nothing twice. Items that have not
// been sent wait for Redis, those of a requester for a few seconds at most.
#ifndef INKLING_DISPATCHER_BATCH_IMPL_H
#define INKLING_DISPATCHER_BATCH_IMPL_H

#include "bus/bus.h"
#include "scripts_impl.h"
#include "store/store.h"

typedef struct dispatcher dispatcher_t;

// Who asked: answered later.
typedef struct {
    bus_peer_t peer; // size 0: nobody, it is the dispatcher's own
    uint64_t id;
    int64_t received_us; // monotonic
    int64_t until_ms;    // monotonic; 0: without end
} request_t;

typedef struct item item_t;
// reply is the item's part of the reply; NULL if err is not.
typedef void (*item_fn)(dispatcher_t *dispatcher, const item_t *item, const store_reply_t *reply,
                        const err_t *err);

struct item {
    script_t script;
    item_fn done;
    request_t from;
    // For done(), as it likes.
    char job[PROTO_NAME_MAX + 1], worker[PROTO_NAME_MAX + 1], kind[PROTO_NAME_MAX + 1];
    uint64_t token, number, number2;
    void *context; // its owner frees it in done()
    // of the batch
    uint64_t order;
    item_t *next;
    buf_t args; // [size: 4 bytes][bytes] …
    size_t arg_count;
};

item_t *item_new(script_t script, const request_t *from, item_fn done);
void item_bytes(item_t *item, const void *data, size_t size);
void item_text(item_t *item, const char *text); // NULL: ""
void item_number(item_t *item, uint64_t number);
void item_real(item_t *item, double number);

typedef struct batch batch_t;
batch_t *batch_new(dispatcher_t *dispatcher);
void batch_destroy(batch_t **batch); // items that wait are forgotten

void batch_add(batch_t *batch, item_t *item); // takes the item
// Redis answers and this dispatcher leads in its epoch: calls with unknown outcome go first.
void batch_resume(batch_t *batch);
void batch_hold(batch_t *batch); // until batch_resume()
// It leads no more: all that waits is refused with err.
void batch_abandon(batch_t *batch, const err_t *err);
// Refuses what has waited too long.
void batch_expire(batch_t *batch, int64_t now_ms);
size_t batch_waiting(const batch_t *batch); // items not yet answered by Redis

#endif
