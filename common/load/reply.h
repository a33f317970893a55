// The head of an HTTP/1.1 answer, read strictly: a client that measures must not guess where an
// answer ends. Understood is what a request/answer service over kept connections needs: a
// Content-Length. Chunked and other transfer codings, interim (1xx) answers and HTTP/0.9 are
// refused with a word about it.
#ifndef INKLING_LOAD_REPLY_H
#define INKLING_LOAD_REPLY_H

#include "base/err.h"

#include <stdint.h>

#define REPLY_HEAD_MAX 16384
#define REPLY_BODY_MAX (256u << 20)

typedef struct {
    int status;        // 200 … 599
    size_t head_bytes; // with the empty line
    size_t body_bytes;
    bool keeps; // the connection serves on behind this answer
    // Of the binary tensor extension: bytes of JSON at the body's beginning; SIZE_MAX: not there.
    size_t json_bytes;
} reply_t;

// bytes: what has come of the answer so far. *whole says whether the head is complete; only then
// *reply is filled. ERR_PROTOCOL: this is no answer as above, and the connection is of no use;
// ERR_UNSUPPORTED: one that is not understood; ERR_TOO_LARGE: head or body above the limits.
// Nothing beyond size is read; header names are compared without regard to case.
err_code_t reply_read(const char *bytes, size_t size, reply_t *reply, bool *whole, err_t *err);

#endif
