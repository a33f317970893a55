#include "batch_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "dispatcher_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS_MAX      256         // of one call
#define BYTES_MAX      (4u << 20)  // of one call, unless one item alone is larger
#define CALLS_MAX      2           // of changes in flight; a round beyond it waits
#define READS_MAX      512         // in flight
#define WAITING_MAX    20000       // items; more are refused
#define ITEM_BYTES_MAX (64u << 20) // arguments of one item; messages are smaller

#define READ_SENDS_MAX 3 // of a question whose answer a broken connection took along

typedef enum { SORT_CHANGE, SORT_WRITES, SORT_READ, SORT_OWN } sort_t;

static const sort_t sorts[] = {
#define X(name, sort) SORT_##sort,
    SCRIPTS(X)
#undef X
};

static const char *const names[] = {
#define X(name, sort) #name,
    SCRIPTS(X)
#undef X
};

typedef struct {
    item_t *first, **end;
    size_t count;
} list_t;

typedef struct call call_t;
struct call {
    batch_t *batch;
    script_t script;
    uint64_t number, epoch; // epoch: in which it was sent
    list_t items;
    int64_t sent_us;
    int sends;
    call_t *next;
};

struct batch {
    dispatcher_t *d;
    list_t waiting[SCRIPT_COUNT];
    call_t *again, **again_end; // unknown outcome, in order
    uint64_t next_order, next_number;
    size_t items, changes, reads; // items not answered; calls in flight
    bool open;                    // Redis is up and this dispatcher leads
};

// --- Items
// ---------------------------------------------------------------------------------------

item_t *item_new(script_t script, const request_t *from, item_fn done) {
    item_t *item = mem_zero(1, sizeof *item);
    item->script = script;
    item->done = done;
    if (from)
        item->from = *from;
    buf_init(&item->args, ITEM_BYTES_MAX);
    return item;
}

static void item_free(item_t *item) {
    buf_release(&item->args);
    free(item);
}

void item_bytes(item_t *item, const void *data, size_t size) {
    uint32_t width = (uint32_t)size;
    buf_append(&item->args, &width, sizeof width);
    buf_append(&item->args, data, size);
    item->arg_count++;
}

void item_text(item_t *item, const char *text) {
    item_bytes(item, text, text ? strlen(text) : 0);
}

void item_number(item_t *item, uint64_t number) {
    char text[24];
    int size = snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    item_bytes(item, text, (size_t)size);
}

void item_real(item_t *item, double number) {
    char text[40];
    int size = snprintf(text, sizeof text, "%.9g", number);
    item_bytes(item, text, (size_t)size);
}

// --- Lists
// ---------------------------------------------------------------------------------------

static void list_init(list_t *list) {
    *list = (list_t){.end = &list->first};
}

static void list_add(list_t *list, item_t *item) {
    item->next = NULL;
    *list->end = item;
    list->end = &item->next;
    list->count++;
}

static item_t *list_take(list_t *list) {
    item_t *item = list->first;
    if (!item)
        return NULL;
    list->first = item->next;
    if (!list->first)
        list->end = &list->first;
    list->count--;
    return item;
}

static void finish_item(batch_t *batch, item_t *item, const store_reply_t *reply,
                        const err_t *err) {
    batch->items--;
    item->done(batch->d, item, reply, err);
    item_free(item);
}

static void refuse_list(batch_t *batch, list_t *list, const err_t *err) {
    list_t taken = *list;
    if (!taken.first)
        return;
    list_init(list);
    for (item_t *item = taken.first, *next; item; item = next) {
        next = item->next;
        finish_item(batch, item, NULL, err);
    }
}

// --- Life
// ----------------------------------------------------------------------------------------

static void flush(void *arg);

batch_t *batch_new(dispatcher_t *d) {
    batch_t *batch = mem_zero(1, sizeof *batch);
    batch->d = d;
    for (int i = 0; i < SCRIPT_COUNT; i++)
        list_init(&batch->waiting[i]);
    batch->again_end = &batch->again;
    batch->next_number = 1;
    return batch;
}

static void free_call(call_t *call) {
    for (item_t *item; (item = list_take(&call->items)) != NULL;) {
        free(item->context);
        item_free(item);
    }
    free(call);
}

void batch_destroy(batch_t **self) {
    batch_t *batch = *self;
    if (!batch)
        return;
    bus_loop_undefer(batch->d->loop, flush, batch);
    for (int i = 0; i < SCRIPT_COUNT; i++)
        for (item_t *item; (item = list_take(&batch->waiting[i])) != NULL;) {
            free(item->context);
            item_free(item);
        }
    for (call_t *call = batch->again, *next; call; call = next) {
        next = call->next;
        free_call(call);
    }
    free(batch);
    *self = NULL;
}

size_t batch_waiting(const batch_t *batch) {
    return batch->items;
}

// --- Sending
// -------------------------------------------------------------------------------------

static void on_reply(void *arg, const store_reply_t *reply, const err_t *err);

// The arguments of all items behind the call's own. Items were measured when they were taken.
static err_code_t send_call(batch_t *batch, call_t *call, err_t *err) {
    const conf_t *conf = batch->d->conf;
    bool read = sorts[call->script] == SORT_READ;
    size_t count = read ? 0 : 5;
    for (const item_t *item = call->items.first; item; item = item->next)
        count += item->arg_count;
    store_bytes_t *args = mem_alloc((count + 1) * sizeof *args);
    char own[5][24];
    int64_t keep = call->script == SCRIPT_report_full ? REPORT_FULL_EVENTS : conf->keep_events;
    int64_t values[5] = {(int64_t)batch->d->leader.epoch, (int64_t)call->number, keep,
                         conf->max_deaths, conf->max_queued};
    size_t used = 0;
    for (; !read && used < 5; used++) {
        int size = snprintf(own[used], sizeof own[used], "%lld", (long long)values[used]);
        args[used] = (store_bytes_t){own[used], (size_t)size};
    }
    for (const item_t *item = call->items.first; item; item = item->next) {
        const char *at = item->args.data;
        for (size_t i = 0; i < item->arg_count; i++) {
            uint32_t size;
            memcpy(&size, at, sizeof size);
            args[used++] = (store_bytes_t){at + sizeof size, size};
            at += sizeof size + size;
        }
    }
    call->sent_us = clock_mono_us();
    call->epoch = batch->d->leader.epoch;
    err_code_t code =
        store_call(batch->d->store, call->script, NULL, 0, args, count, on_reply, call, err);
    free(args);
    call->sends += code == ERR_OK;
    if (code == ERR_OK && read)
        batch->reads++;
    else if (code == ERR_OK)
        batch->changes++;
    return code;
}

static void put_again(batch_t *batch, call_t *call) {
    call->next = NULL;
    *batch->again_end = call;
    batch->again_end = &call->next;
}

static void give_up(batch_t *batch, call_t *call, const err_t *err) {
    refuse_list(batch, &call->items, err);
    free(call);
}

// What the store does not take now goes to the head of the queue, and nothing passes it. A full
// pipeline has replies to come, which call flush(); so does the next tick.
static void send_or_keep(batch_t *batch, call_t *call) {
    err_t err;
    err_code_t code = send_call(batch, call, &err);
    if (code == ERR_OK)
        return;
    if (code == ERR_TOO_LARGE) {
        give_up(batch, call, &err);
        return;
    }
    if (code == ERR_UNAVAILABLE)
        batch->open = false;
    put_again(batch, call);
}

static bool too_late(const item_t *item, int64_t now_ms) {
    return item->from.until_ms && now_ms >= item->from.until_ms;
}

static void refuse_late(batch_t *batch, item_t *item) {
    err_t err;
    err_set(&err, ERR_TIMEOUT, "the deadline passed before this was begun");
    finish_item(batch, item, NULL, &err);
}

// Takes what fits into one call. Items that arrived after `before` stay.
static call_t *make_call(batch_t *batch, script_t script, uint64_t before) {
    list_t *from = &batch->waiting[script];
    size_t most = sorts[script] == SORT_READ ? 1 : ITEMS_MAX, bytes = 0;
    int64_t now_ms = clock_mono_ms();
    call_t *call = mem_zero(1, sizeof *call);
    call->batch = batch;
    call->script = script;
    list_init(&call->items);
    while (from->first && from->first->order < before && call->items.count < most) {
        bytes += from->first->args.size;
        if (bytes > BYTES_MAX && call->items.count > 0)
            break;
        item_t *item = list_take(from);
        if (too_late(item, now_ms))
            refuse_late(batch, item);
        else
            list_add(&call->items, item);
    }
    if (call->items.count == 0) {
        free(call);
        return NULL;
    }
    call->number = sorts[script] == SORT_READ ? 0 : batch->next_number++;
    metric_add(&batch->d->stats.calls[script], 1);
    metric_add(&batch->d->stats.items[script], call->items.count);
    return call;
}

// One call of each script that has items. What belongs to a lease keeps its order of arrival: items
// stay while an older one of an earlier script stays.
static bool send_round(batch_t *batch) {
    uint64_t oldest_left = UINT64_MAX;
    bool sent = false;
    for (int i = 0; i < SCRIPT_COUNT && batch->open && !batch->again; i++) {
        bool ordered = sorts[i] == SORT_WRITES;
        if (sorts[i] == SORT_READ || !batch->waiting[i].first)
            continue;
        call_t *call = make_call(batch, (script_t)i, ordered ? oldest_left : UINT64_MAX);
        const item_t *left = batch->waiting[i].first;
        if (ordered && left && left->order < oldest_left)
            oldest_left = left->order;
        if (!call)
            continue;
        send_or_keep(batch, call);
        sent = true;
    }
    return sent;
}

static void send_reads(batch_t *batch) {
    for (int i = 0; i < SCRIPT_COUNT; i++)
        while (batch->open && !batch->again && sorts[i] == SORT_READ && batch->waiting[i].first &&
               batch->reads < READS_MAX) {
            call_t *call = make_call(batch, (script_t)i, UINT64_MAX);
            if (call)
                send_or_keep(batch, call);
        }
}

static void send_again(batch_t *batch) {
    while (batch->open && batch->again) {
        call_t *call = batch->again;
        err_t err;
        err_code_t code = send_call(batch, call, &err);
        if (code == ERR_UNAVAILABLE)
            batch->open = false;
        if (code)
            return; // it stays where it is
        batch->again = call->next;
        if (!batch->again)
            batch->again_end = &batch->again;
    }
}

static void flush(void *arg) {
    batch_t *batch = arg;
    send_again(batch);
    while (batch->open && !batch->again && batch->changes < CALLS_MAX && send_round(batch)) {
    }
    send_reads(batch);
}

void batch_add(batch_t *batch, item_t *item) {
    int64_t now_ms = clock_mono_ms();
    err_t err;
    batch->items++;
    if (item->args.failed) {
        err_set(&err, ERR_TOO_LARGE, "the message is too large to be stored");
        finish_item(batch, item, NULL, &err);
        return;
    }
    if (item->from.peer.size && batch->items > WAITING_MAX) {
        err_set(&err, ERR_UNAVAILABLE, "%d requests wait for Redis already", WAITING_MAX);
        finish_item(batch, item, NULL, &err);
        return;
    }
    if (item->from.peer.size && leader_patience_over(batch->d, now_ms)) {
        leader_away(batch->d, &err);
        finish_item(batch, item, NULL, &err);
        return;
    }
    item->order = batch->next_order++;
    list_add(&batch->waiting[item->script], item);
    if (batch->open)
        bus_loop_defer(batch->d->loop, flush, batch);
}

// --- Replies
// -------------------------------------------------------------------------------------

static void observe(batch_t *batch, const call_t *call) {
    metric_observe(&batch->d->stats.latency[call->script],
                   (double)(clock_mono_us() - call->sent_us) / 1e6);
}

// Memory is full: what running jobs report takes the place of what they reported before.
static void report_full(batch_t *batch, call_t *call) {
    list_t *list = &batch->waiting[SCRIPT_report_full];
    for (item_t *item; (item = list_take(&call->items)) != NULL;) {
        item->script = SCRIPT_report_full;
        list_add(list, item);
    }
    free(call);
}

static void deliver(batch_t *batch, call_t *call, const store_reply_t *reply) {
    bool read = sorts[call->script] == SORT_READ;
    const store_reply_t *list = !read && store_count(reply) > 1 ? store_item(reply, 1) : NULL;
    err_t err;
    if (!read && (!list || store_count(list) != call->items.count)) {
        err_set(&err, ERR_INTERNAL, "script %s answered %zu of %zu items", names[call->script],
                list ? store_count(list) : 0, call->items.count);
        log_error("%s", err.message);
        give_up(batch, call, &err);
        return;
    }
    item_t *item;
    for (size_t i = 0; (item = list_take(&call->items)) != NULL; i++)
        finish_item(batch, item, read ? reply : store_item(list, i), NULL);
    free(call);
}

// Nothing was done: another epoch has begun since the call was sent. If that is our own, only these
// are refused.
static void fenced_off(batch_t *batch, call_t *call, const char *endpoint) {
    dispatcher_t *d = batch->d;
    char other[257];
    err_t err;
    if (call->epoch == d->leader.epoch) {
        snprintf(other, sizeof other, "%s", endpoint);
        put_again(batch, call); // refused with all the others
        leader_lost(d, other);
        return;
    }
    err_set(&err, ERR_NOT_LEADER, "another epoch has begun; ask again");
    give_up(batch, call, &err);
}

static void on_reply(void *arg, const store_reply_t *reply, const err_t *err) {
    call_t *call = arg;
    batch_t *batch = call->batch;
    bool read = sorts[call->script] == SORT_READ;
    if (read)
        batch->reads--;
    else
        batch->changes--;
    observe(batch, call);
    if (err && err->code == ERR_CANCELLED) {
        free_call(call); // the end of this process
        return;
    }
    if (err && err->code == ERR_UNAVAILABLE) { // sent again by batch_resume(), or by the next tick
        batch->open = batch->open && store_is_up(batch->d->store);
        if (read && call->sends >= READ_SENDS_MAX)
            give_up(batch, call, err); // its answer may be what breaks the connection
        else
            put_again(batch, call);
        return;
    }
    if (err && err->code == ERR_FULL && call->script == SCRIPT_report)
        report_full(batch, call);
    else if (err)
        give_up(batch, call, err);
    else if (!read && strcmp(reply_text(reply, 0), "LEADER") == 0)
        fenced_off(batch, call, reply_text(reply, 1));
    else
        deliver(batch, call, reply);
    bus_loop_defer(batch->d->loop, flush, batch);
}

// --- Redis and leadership come and go
// ------------------------------------------------------------

void batch_resume(batch_t *batch) {
    batch->open = true;
    bus_loop_defer(batch->d->loop, flush, batch);
}

void batch_hold(batch_t *batch) {
    batch->open = false;
}

void batch_abandon(batch_t *batch, const err_t *err) {
    batch->open = false;
    call_t *again = batch->again;
    batch->again = NULL;
    batch->again_end = &batch->again;
    for (call_t *call = again, *next; call; call = next) {
        next = call->next;
        give_up(batch, call, err);
    }
    for (int i = 0; i < SCRIPT_COUNT; i++)
        refuse_list(batch, &batch->waiting[i], err);
}

// Only what has not been sent: what has been may be done, and is settled when Redis is back.
void batch_expire(batch_t *batch, int64_t now_ms) {
    err_t away;
    bool over = leader_patience_over(batch->d, now_ms);
    if (batch->open && batch->again)
        bus_loop_defer(batch->d->loop, flush, batch);
    if (over)
        leader_away(batch->d, &away);
    for (int i = 0; i < SCRIPT_COUNT && !batch->open; i++) {
        list_t all = batch->waiting[i];
        if (!all.first)
            continue;
        list_init(&batch->waiting[i]);
        for (item_t *item = all.first, *next; item; item = next) {
            next = item->next;
            if (item->from.peer.size && (over || too_late(item, now_ms))) {
                if (!over)
                    leader_away(batch->d, &away);
                finish_item(batch, item, NULL, &away);
            } else {
                list_add(&batch->waiting[i], item);
            }
        }
    }
}
