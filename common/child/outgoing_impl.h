// The child's way out: frames in order, written by a thread of its own, and progress, of which only
// the newest is sent, a few times a second; the same again when it stands still and somebody wants
// to know that this process lives. Thread-safe.
#ifndef INKLING_CHILD_OUTGOING_IMPL_H
#define INKLING_CHILD_OUTGOING_IMPL_H

#include "proto/codec.h"

typedef struct outgoing outgoing_t;

// job: for the lease's frames; must live as long. beat_ms: progress is told at least so often; 0:
// only when there is some. events: it is told as events, too.
outgoing_t *outgoing_new(int fd, const char *job, uint64_t token, int64_t beat_ms, bool events);
// Writes what waits, unless the link is broken, and ends the thread.
void outgoing_destroy(outgoing_t **outgoing);

// Puts a frame behind all others. patient: waits while too much is on its way; otherwise it goes in
// whatever waits. ERR_UNAVAILABLE: outgoing_break() was called; other errors: what proto_encode
// refuses.
err_code_t outgoing_put(outgoing_t *outgoing, proto_type_t type, uint64_t id, const void *message,
                        bool patient, err_t *err);
void outgoing_progress(outgoing_t *outgoing, uint64_t counter, double done, double total,
                       const char *text);
// Something has moved though the counter stands: the lease's step grows.
void outgoing_moved(outgoing_t *outgoing);
// Nothing is to be sent any more but what is put impatiently: ends all waiting.
void outgoing_hurry(outgoing_t *outgoing);
// The other side is gone.
void outgoing_break(outgoing_t *outgoing);

#endif
