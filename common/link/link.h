// Frames between the two halves of a worker, the light parent (worker/worker.h) and its child
// (child/child.h), over a stream socket pair.
//
//   0  u32 bytes of the body    4  u16 message type (proto_type_t)    6  u16 zero
//   8  u64 id of a request, repeated in its answer; 0: no answer wanted    16  body: msgpack
//
// In the machine's byte order and with this build's type numbers: both halves come from one build
// (the parent passes LINK_BUILD, the child compares).
//
// Parent to child: worker_assign (first), worker_cancel, service_drain, answers to requests, ok (to
// the finish). Child to parent: lease (progress; by a gang's member every LINK_BEAT_MS at least,
// from a thread that does nothing but send), report (one event), checkpoint (request),
// job_finish (request), gang_meet and any message of a client for the dispatcher (requests).
#ifndef INKLING_LINK_LINK_H
#define INKLING_LINK_LINK_H

#include "base/buf.h"
#include "proto/codec.h"

#define LINK_FD           3 // the child's end
#define LINK_HEADER_BYTES 16
#define LINK_BUILD_SIZE   48
#define LINK_BEAT_MS      1000

typedef struct {
    proto_type_t type;
    uint64_t id;
    proto_bytes_t body;
} link_frame_t;

// Version and number of message types: equal for halves of one build.
void link_build(char text[LINK_BUILD_SIZE]);

// Appends a frame to out. When it fails nothing is appended.
err_code_t link_encode(buf_t *out, proto_type_t type, uint64_t id, const void *message, err_t *err);
// The same for a body that is packed already.
err_code_t link_append(buf_t *out, proto_type_t type, uint64_t id, proto_bytes_t body, err_t *err);

typedef struct {
    buf_t bytes;
    size_t start; // of the first byte not given out
} link_reader_t;

typedef enum { LINK_MORE, LINK_BLOCKED, LINK_ENDED } link_fill_t;

void link_reader_init(link_reader_t *reader);
void link_reader_release(link_reader_t *reader);
// One read() of fd. LINK_BLOCKED: a non-blocking fd has nothing now; LINK_ENDED: the other side is
// gone.
link_fill_t link_fill(link_reader_t *reader, int fd);
// Sets *whole and, if it is true, *frame, which points into the reader until the next link_fill().
// ERR_PROTOCOL: the bytes are no frames; the link is of no use from then on.
err_code_t link_next(link_reader_t *reader, link_frame_t *frame, bool *whole, err_t *err);

// Makes text fit for a message, in place: bytes that are no UTF-8 become '?', and what is behind
// max bytes is cut off.
void link_clean_text(char *text, size_t max);

#endif
