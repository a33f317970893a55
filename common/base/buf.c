#include "base/buf.h"

#include "base/utf8.h"

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

void buf_json_string(buf_t *buf, const char *text) {
    buf_append(buf, "\"", 1);
    for (size_t left = strlen(text); left > 0;) {
        size_t length = utf8_length(text, left);
        if (length == 0)
            buf_puts(buf, "\\ufffd");
        else if (*text == '"' || *text == '\\')
            buf_printf(buf, "\\%c", *text);
        else if ((unsigned char)*text < 32)
            buf_printf(buf, "\\u%04x", (unsigned char)*text);
        else
            buf_append(buf, text, length);
        text += length ? length : 1;
        left -= length ? length : 1;
    }
    buf_append(buf, "\"", 1);
}
