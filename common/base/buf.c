#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char empty[1];

void buf_init(buf_t *buf, size_t ceiling_bytes) {
    *buf = (buf_t){.data = empty, .ceiling = ceiling_bytes};
}

void buf_release(buf_t *buf) {
    if (buf->data != empty)
        free(buf->data);
    buf_init(buf, buf->ceiling);
}

void buf_clear(buf_t *buf) {
    buf->size = 0;
    buf->failed = false;
    if (buf->data != empty)
        buf->data[0] = 0;
}

char *buf_take(buf_t *buf) {
    char *data = buf->failed ? NULL : buf->data == empty ? strdup("") : buf->data;
    if (buf->failed)
        buf_release(buf);
    buf_init(buf, buf->ceiling);
    return data;
}

char *buf_reserve(buf_t *buf, size_t size) {
    if (buf->failed || size > buf->ceiling || buf->size > buf->ceiling - size) {
        buf->failed = true;
        return NULL;
    }
    size_t need = buf->size + size + 1;
    if (need > buf->capacity) {
        size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
        while (capacity < need)
            capacity *= 2;
        char *data = realloc(buf->data == empty ? NULL : buf->data, capacity);
        if (!data) {
            buf->failed = true;
            return NULL;
        }
        buf->data = data;
        buf->capacity = capacity;
    }
    return buf->data + buf->size;
}

void buf_append(buf_t *buf, const void *bytes, size_t size) {
    char *end = buf_reserve(buf, size);
    if (!end)
        return;
    if (size)
        memcpy(end, bytes, size);
    buf->size += size;
    buf->data[buf->size] = 0;
}

void buf_puts(buf_t *buf, const char *text) {
    buf_append(buf, text, strlen(text));
}

void buf_printf(buf_t *buf, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *end = size < 0 ? NULL : buf_reserve(buf, (size_t)size);
    if (end) {
        vsnprintf(end, (size_t)size + 1, format, again);
        buf->size += (size_t)size;
    } else {
        buf->failed = true;
    }
    va_end(again);
}

// Length of the well-formed UTF-8 sequence at c (RFC 3629), or 0.
static size_t utf8_length(const unsigned char *c) {
    if (c[0] < 0x80)
        return 1;
    size_t length = c[0] >= 0xc2 && c[0] <= 0xdf   ? 2
                    : c[0] >= 0xe0 && c[0] <= 0xef ? 3
                    : c[0] >= 0xf0 && c[0] <= 0xf4 ? 4
                                                   : 0;
    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
        (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
        return 0;
    return length;
}

void buf_json_string(buf_t *buf, const char *text) {
    buf_append(buf, "\"", 1);
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        size_t length = utf8_length(c);
        if (length == 0)
            buf_puts(buf, "\\ufffd");
        else if (*c == '"' || *c == '\\')
            buf_printf(buf, "\\%c", *c);
        else if (*c < 32)
            buf_printf(buf, "\\u%04x", *c);
        else
            buf_append(buf, c, length);
        c += length ? length : 1;
    }
    buf_append(buf, "\"", 1);
}
