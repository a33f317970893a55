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

// Message and remedy: what ended program. status: as of waitpid(). With a quote behind it the
// message still fits PROTO_TEXT_MAX.
void ending_describe(const char *program, int status, buf_t *message, buf_t *remedy);
// Puts the last lines behind it, as UTF-8.
void ending_quote(const ending_tail_t *tail, buf_t *message);

#endif
