// How a child ended without saying so: its wait status and its last words, as a message for people.
#ifndef INKLING_WORKER_ENDING_IMPL_H
#define INKLING_WORKER_ENDING_IMPL_H

#include "base/buf.h"

#define ENDING_TAIL_BYTES 4096

// The last bytes that went through; zero it before use.
typedef struct {
    char bytes[ENDING_TAIL_BYTES];
    size_t total; // that ever went through
} ending_tail_t;

void ending_tail_add(ending_tail_t *tail, const char *bytes, size_t size);

// Message and remedy (PROTO_TEXT_MAX bytes at most, UTF-8): what ended program, with its last
// lines. status: as of waitpid().
void ending_describe(const char *program, int status, const ending_tail_t *tail, buf_t *message,
                     buf_t *remedy);
// Puts the last lines behind a message of one's own.
void ending_quote(const ending_tail_t *tail, buf_t *message);

#endif
