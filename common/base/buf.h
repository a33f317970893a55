// A growable byte buffer with a ceiling. data is always NUL-terminated behind size (not counted),
// so text can be used as a C string. Once an append would pass the ceiling or memory runs out,
// nothing more is appended and `failed` stays true: check it once at the end instead of after every
// call.
//
//   buf_t b; buf_init(&b, 65536); buf_printf(&b, "%d", 1); use(b.data, b.size); buf_release(&b);
#ifndef INKLING_BASE_BUF_H
#define INKLING_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char *data;
    size_t size, capacity, ceiling;
    bool failed;
} buf_t;

void buf_init(buf_t *buf, size_t ceiling_bytes);
void buf_release(buf_t *buf); // frees; the buffer may be initialised again
void buf_clear(buf_t *buf);   // size 0, keeps memory, clears failed
// Gives the bytes away (malloc'ed, NUL-terminated; never NULL unless failed) and leaves the buffer
// empty.
char *buf_take(buf_t *buf);

void buf_append(buf_t *buf, const void *bytes, size_t size);
void buf_puts(buf_t *buf, const char *text);
void buf_printf(buf_t *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
// text as a JSON string with quotes; bytes that are no UTF-8 become U+FFFD.
void buf_json_string(buf_t *buf, const char *text);
// Room for size more bytes; the caller fills data + size and adds to size. NULL once failed.
char *buf_reserve(buf_t *buf, size_t size);

#endif
