// Events of a job: history by number, and waiting for the next.
#include "base/clock.h"
#include "followers_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_BYTES 4000000 // of one answer, give or take 50 events

static void answer_events(dispatcher_t *d, const follower_t *follower, const store_reply_t *reply) {
    size_t count = store_count(reply) > 5 ? store_count(reply) - 5 : 0, good = 0;
    proto_arena_reset(d->arena);
    proto_event_t *events = proto_arena_alloc(d->arena, (count + 1) * sizeof *events);
    uint64_t number = reply_number(reply, 4);
    for (size_t i = 0; i < count; i++)
        if (event_of_reply(d, store_item(reply, 5 + i), &events[good]))
            events[good++].n = number + i;
    proto_events_t answered = {.job = follower->job,
                               .state = reply_text(reply, 1),
                               .first = reply_number(reply, 2),
                               .last = reply_number(reply, 3),
                               .events = {events, good}};
    answer(d, &follower->from, PROTO_events, &answered);
}

static void events_came(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                        const err_t *err) {
    follower_t *follower = item->context;
    err_t none;
    job_state_t state = JOB_QUEUED;
    if (err || reply_text(reply, 0)[0]) {
        if (!err)
            no_such_job(&none, follower->job);
        answer_error(d, &follower->from, err ? err : &none);
        free(follower);
        return;
    }
    job_state_parse(reply_text(reply, 1), &state);
    if (store_count(reply) == 5 && !job_state_final(state) &&
        clock_mono_ms() < follower->until_ms) {
        follower_wait(d, follower);
        return;
    }
    answer_events(d, follower, reply);
    free(follower);
}

void events_read(dispatcher_t *d, follower_t *follower) {
    item_t *item = item_new(SCRIPT_events, &follower->from, events_came);
    item->context = follower;
    item_text(item, follower->job);
    item_number(item, follower->after);
    item_number(item, follower->limit);
    item_number(item, EVENTS_BYTES);
    batch_add(d->batch, item);
}

void on_events(dispatcher_t *d, const bus_message_t *message) {
    proto_job_events_t events;
    if (!decode(d, message, &events))
        return;
    follower_t *follower = mem_zero(1, sizeof *follower);
    follower->from = request_of(message);
    snprintf(follower->job, sizeof follower->job, "%s", events.job);
    follower->after = events.after;
    follower->limit = events.limit;
    follower->until_ms = message->received_ms + (int64_t)events.wait_ms;
    events_read(d, follower);
}
