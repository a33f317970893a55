// What one attempt has to tell the dispatcher, in order: events, checkpoints, the end. Plain data,
// no input or output.
//
// One flight at a time: outbox_take() fixes what is sent next, and gives the same again until
// outbox_done() says that it was answered. Events are numbered from 1; as many as fit go together,
// and with the end when they are the last.
#ifndef INKLING_WORKER_OUTBOX_IMPL_H
#define INKLING_WORKER_OUTBOX_IMPL_H

#include "proto/codec.h"

#define OUTBOX_EVENTS_MAX   1000       // beyond either the child is not read
#define OUTBOX_BYTES_MAX    (4u << 20) //
#define OUTBOX_FLIGHT_MAX   256        // events of one flight
#define OUTBOX_FLIGHT_BYTES (1u << 20)

typedef struct outbox_item outbox_item_t;

typedef struct {
    outbox_item_t *head, *tail;
    size_t events, bytes;
    uint64_t next_seq;   // of the next event put
    size_t flight_count; // items in flight, 0: none
    bool ended;          // the end was put
} outbox_t;

typedef struct {
    proto_type_t type; // job_report, job_checkpoint or job_finish
    uint64_t seq;      // of the first event
    uint64_t id;       // of the checkpoint: the child's request
    size_t event_count;
    proto_report_t events[OUTBOX_FLIGHT_MAX];
    proto_bytes_t body; // packed checkpoint or job_finish
} outbox_flight_t;

void outbox_init(outbox_t *outbox);
void outbox_release(outbox_t *outbox);

void outbox_put_event(outbox_t *outbox, const proto_report_t *event);
void outbox_put_checkpoint(outbox_t *outbox, uint64_t id, proto_bytes_t checkpoint);
void outbox_put_finish(outbox_t *outbox, proto_bytes_t finish);
// Puts another end in the place of the one in flight, which was refused.
void outbox_replace_finish(outbox_t *outbox, proto_bytes_t finish);

bool outbox_full(const outbox_t *outbox);
bool outbox_empty(const outbox_t *outbox);
// False if there is nothing. The flight points into the outbox until outbox_done().
bool outbox_take(outbox_t *outbox, outbox_flight_t *flight);
// What was taken is stored, or will never be.
void outbox_done(outbox_t *outbox);

#endif
