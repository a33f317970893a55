// What Redis is asked regularly: delays that are over, counts, how many jobs wait of each kind, and
// what has been kept long enough.
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "gangs_impl.h"

#include <stdio.h>

#define EVERY_MS   1000
#define DUE_MAX    256 // delayed jobs moved at once
#define FORGET_MAX 500 // ended jobs forgotten at once

static void count_states(dispatcher_t *d, const store_reply_t *reply) {
    metric_gauge_t *gauges[] = {&d->stats.queued,         &d->stats.running,
                                &d->stats.jobs_succeeded, &d->stats.jobs_failed,
                                &d->stats.jobs_cancelled, &d->stats.dead};
    for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++)
        metric_set(gauges[i], (double)reply_number(reply, 1 + i));
}

// Replies come in the order of the transitions, so these numbers hold now.
static void count_waiting(dispatcher_t *d, const store_reply_t *list) {
    size_t at = 0;
    for (kind_t *kind; (kind = map_next(d->workers->kinds, &at)) != NULL;)
        kind->ready = 0;
    for (size_t i = 0; i + 1 < store_count(list); i += 2)
        kind_ready(d, reply_text(list, i), (int64_t)reply_number(list, i + 1));
}

static void forgotten(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                      const err_t *err) {
    (void)item;
    d->watch.retaining = false;
    if (err)
        return;
    for (size_t i = 1; i < store_count(reply); i++) {
        char path[PROTO_NAME_MAX + 8];
        snprintf(path, sizeof path, "jobs/%s", reply_text(reply, i));
        files_delete(d->files, path);
        followers_touch(d, reply_text(reply, i));
    }
    if (reply_number(reply, 0))
        d->watch.tick_ms = 0;
}

static void retain(dispatcher_t *d, const store_reply_t *counts) {
    uint64_t ended = 0;
    for (size_t i = 3; i <= 6; i++)
        ended += reply_number(counts, i);
    if (d->watch.retaining || ended <= (uint64_t)d->conf->keep_jobs)
        return;
    item_t *item = item_new(SCRIPT_retain, NULL, forgotten);
    item_number(item, (uint64_t)d->conf->keep_jobs);
    item_number(item, FORGET_MAX);
    d->watch.retaining = true;
    batch_add(d->batch, item);
}

static void ticked(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                   const err_t *err) {
    (void)item;
    d->watch.ticking = false;
    if (err) {
        if (err->code != ERR_NOT_LEADER)
            log_error("Redis cannot be asked what is due: %s", err->message);
        return;
    }
    const store_reply_t *next = store_item(reply, 0);
    d->watch.due_ms = store_integer(next) >= 0 ? clock_mono_ms() + store_integer(next) : 0;
    count_states(d, reply);
    count_waiting(d, store_item(reply, 7));
    gangs_waiting(d, store_item(reply, 8));
    retain(d, reply);
}

void watch_delay(dispatcher_t *d, int64_t delay_ms) {
    int64_t due_ms = clock_mono_ms() + delay_ms;
    if (d->watch.due_ms == 0 || due_ms < d->watch.due_ms)
        d->watch.due_ms = due_ms;
}

void watch_soon(dispatcher_t *d) {
    d->watch.tick_ms = 0;
}

void watch_start(dispatcher_t *d) {
    watch_soon(d);
    watch_tick(d, clock_mono_ms());
}

void watch_tick(dispatcher_t *d, int64_t now_ms) {
    bool due = d->watch.due_ms && now_ms >= d->watch.due_ms;
    if (d->watch.ticking || (now_ms < d->watch.tick_ms && !due))
        return;
    item_t *item = item_new(SCRIPT_tick, NULL, ticked);
    item_number(item, DUE_MAX);
    d->watch.ticking = true;
    d->watch.tick_ms = now_ms + EVERY_MS;
    batch_add(d->batch, item);
}
