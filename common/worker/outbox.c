#include "outbox_impl.h"

#include <stdlib.h>
#include <string.h>

struct outbox_item {
    outbox_item_t *next;
    proto_type_t type; // report, job_checkpoint or job_finish
    uint64_t number;   // seq of an event, id of a checkpoint
    char name[33];     // type of an event
    size_t size;
    char bytes[]; // data of an event, packed checkpoint or job_finish
};

void outbox_init(outbox_t *outbox) {
    *outbox = (outbox_t){.next_seq = 1};
}

static void drop_head(outbox_t *outbox) {
    outbox_item_t *item = outbox->head;
    outbox->head = item->next;
    if (!outbox->head)
        outbox->tail = NULL;
    if (item->type == PROTO_report)
        outbox->events--;
    outbox->bytes -= sizeof *item + item->size;
    free(item);
}

void outbox_release(outbox_t *outbox) {
    while (outbox->head)
        drop_head(outbox);
    outbox->flight_count = 0;
}

static outbox_item_t *put(outbox_t *outbox, proto_type_t type, uint64_t number,
                          proto_bytes_t bytes) {
    outbox_item_t *item = mem_alloc(sizeof *item + bytes.size);
    *item = (outbox_item_t){.type = type, .number = number, .size = bytes.size};
    if (bytes.size)
        memcpy(item->bytes, bytes.data, bytes.size);
    if (outbox->tail)
        outbox->tail->next = item;
    else
        outbox->head = item;
    outbox->tail = item;
    outbox->bytes += sizeof *item + item->size;
    return item;
}

void outbox_put_event(outbox_t *outbox, const proto_report_t *event) {
    ERR_ASSERT(!outbox->ended);
    outbox_item_t *item = put(outbox, PROTO_report, outbox->next_seq++, event->data);
    strncpy(item->name, event->type, sizeof item->name - 1);
    outbox->events++;
}

void outbox_put_checkpoint(outbox_t *outbox, uint64_t id, proto_bytes_t checkpoint) {
    ERR_ASSERT(!outbox->ended);
    put(outbox, PROTO_job_checkpoint, id, checkpoint);
}

void outbox_put_finish(outbox_t *outbox, proto_bytes_t finish) {
    ERR_ASSERT(!outbox->ended);
    outbox->ended = true;
    put(outbox, PROTO_job_finish, 0, finish);
}

void outbox_replace_finish(outbox_t *outbox, proto_bytes_t finish) {
    ERR_ASSERT(outbox->ended);
    while (outbox->head)
        drop_head(outbox);
    outbox->flight_count = 0;
    put(outbox, PROTO_job_finish, 0, finish);
}

bool outbox_full(const outbox_t *outbox) {
    return outbox->events > OUTBOX_EVENTS_MAX || outbox->bytes > OUTBOX_BYTES_MAX;
}

bool outbox_empty(const outbox_t *outbox) {
    return outbox->head == NULL;
}

// Events as long as they fit, then the end if it is next; or one checkpoint.
static size_t choose(const outbox_t *outbox) {
    size_t count = 0, bytes = 0;
    const outbox_item_t *item = outbox->head;
    for (; item && item->type == PROTO_report; item = item->next) {
        bytes += item->size;
        if (count == OUTBOX_FLIGHT_MAX || (count > 0 && bytes > OUTBOX_FLIGHT_BYTES))
            return count;
        count++;
    }
    if (item && (count == 0 || item->type == PROTO_job_finish))
        count++;
    return count;
}

bool outbox_take(outbox_t *outbox, outbox_flight_t *flight) {
    if (outbox->flight_count == 0)
        outbox->flight_count = choose(outbox);
    flight->type = PROTO_job_report;
    flight->event_count = 0;
    flight->seq = 1;
    flight->body = (proto_bytes_t){NULL, 0};
    const outbox_item_t *item = outbox->head;
    for (size_t i = 0; i < outbox->flight_count; i++, item = item->next) {
        proto_bytes_t bytes = {item->size ? item->bytes : NULL, item->size};
        if (item->type == PROTO_report) {
            if (flight->event_count == 0)
                flight->seq = item->number;
            flight->events[flight->event_count++] = (proto_report_t){item->name, bytes, 0};
        } else {
            flight->type = item->type;
            flight->id = item->number;
            flight->body = bytes;
        }
    }
    return outbox->flight_count > 0;
}

void outbox_done(outbox_t *outbox) {
    ERR_ASSERT(outbox->flight_count > 0);
    for (; outbox->flight_count > 0; outbox->flight_count--)
        drop_head(outbox);
}
