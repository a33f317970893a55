// The parts of the service: messages (blobs.c), what takes long (tasks.c), which uploads stay
// (keep.c).
#ifndef INKLING_BLOBS_BLOBS_IMPL_H
#define INKLING_BLOBS_BLOBS_IMPL_H

#include "bus/background.h"
#include "cas.h"
#include "metric/metric.h"
#include "service/service.h"

// X(type, field, name, labels, help)
#define BLOBS_METRICS(X)                                                                           \
    X(COUNTER, pieces_in, "inkling_blobs_pieces_total", "way=\"in\"", "Pieces by their way.")      \
    X(COUNTER, pieces_out, "inkling_blobs_pieces_total", "way=\"out\"", "")                        \
    X(COUNTER, bytes_in, "inkling_blobs_bytes_total", "way=\"in\"", "Bytes of pieces.")            \
    X(COUNTER, bytes_out, "inkling_blobs_bytes_total", "way=\"out\"", "")                          \
    X(COUNTER, refused, "inkling_blobs_refused_total", "", "Requests answered with an error.")     \
    X(COUNTER, removed, "inkling_blobs_removed_total", "", "Uploads removed to make room.")        \
    X(GAUGE, kept_bytes, "inkling_blobs_kept_bytes", "",                                           \
      "Uploads that are kept, when last looked at.")

typedef struct {
    BLOBS_METRICS(METRIC_FIELD)
} stats_t;

// A request that is answered later.
typedef struct waiter waiter_t;
struct waiter {
    waiter_t *next;
    bus_peer_t peer;
    uint64_t id;
};

typedef struct {
    service_t *service;
    bus_loop_t *loop;
    const conf_t *conf;
    bus_socket_t *router;
    proto_arena_t *arena;
    mailbox_t *mailbox;
    background_t *background;
    cas_t *cas;
    stats_t stats;
    // Sync: one runs, the next one's waiters gather.
    bool syncing, keeping, draining;
    waiter_t *sync_waiters, *next_waiters;
    int sync_timer, keep_timer, full_timer;
    int64_t kept_ms;                // of the last look
    uint64_t kept_bytes, put_since; // uploads as of the last look, and since
    err_t full;                     // why uploads are refused, code ERR_OK: they are not
} blobs_t;

void blobs_refuse(blobs_t *blobs, const bus_peer_t *peer, uint64_t id, const err_t *err);

// --- tasks.c
void task_sync(blobs_t *blobs, const bus_message_t *message); // message NULL: nobody waits
void task_finish(blobs_t *blobs, const bus_message_t *message, const char *digest, uint64_t size);
void task_place(blobs_t *blobs, const bus_message_t *message, const proto_blob_place_t *place);
void task_remove(blobs_t *blobs, const bus_message_t *message, const char *path);
// Verifies the file at the path, then serves the request.
void task_verify(blobs_t *blobs, const bus_message_t *message, const proto_blob_get_t *get);
void waiters_free(waiter_t *waiter);

// --- blobs.c
// Answers a get from an open file, which it closes.
void blobs_serve(blobs_t *blobs, const bus_peer_t *peer, uint64_t id, int fd, uint64_t whole,
                 const proto_blob_get_t *get);

// --- keep.c
// Looks in the background how much the uploads take, and removes the ones used longest ago if that
// is too much.
void keep_start(blobs_t *blobs);
// Below so much free disk uploads go that nobody needs, before others are refused anything.
uint64_t keep_free_bytes(const conf_t *conf);

#endif
