#define ERR_IMPLEMENTATION
#include "base/err.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *text;
    bool retryable;
} codes[] = {
#define X(code, name, text, retry) {name, text, retry},
    ERR_CODES(X)
#undef X
};

const char *err_name(err_code_t code) {
    return codes[code < ERR_CODE_COUNT ? code : ERR_INTERNAL].name;
}

const char *err_text(err_code_t code) {
    return codes[code < ERR_CODE_COUNT ? code : ERR_INTERNAL].text;
}

bool err_retryable(err_code_t code) {
    return code < ERR_CODE_COUNT && codes[code].retryable;
}

err_code_t err_from_name(const char *name) {
    for (size_t i = 0; name && i < ERR_CODE_COUNT; i++)
        if (strcmp(codes[i].name, name) == 0)
            return (err_code_t)i;
    return ERR_INTERNAL;
}

// Messages quote foreign bytes and are cut at their size: what is no UTF-8 becomes '?'.
static void tidy(char *text) {
    for (size_t left = strlen(text); left > 0;) {
        size_t length = utf8_length(text, left);
        if (length == 0)
            *text = '?';
        text += length ? length : 1;
        left -= length ? length : 1;
    }
}

err_code_t err_set(err_t *err, err_code_t code, const char *format, ...) {
    if (!err)
        return code;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    tidy(err->message);
    err->code = code;
    err->remedy[0] = 0;
    return code;
}

err_code_t err_set_errno(err_t *err, const char *format, ...) {
    int number = errno;
    err_code_t code = number == ENOENT ? ERR_NOT_FOUND : number == ENOMEM ? ERR_NO_MEMORY : ERR_IO;
    if (!err)
        return code;
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used < sizeof err->message)
        snprintf(err->message + used, sizeof err->message - (size_t)used, ": %s", strerror(number));
    tidy(err->message);
    err->code = code;
    err->remedy[0] = 0;
    return code;
}

err_code_t err_remedy(err_t *err, const char *format, ...) {
    if (!err)
        return ERR_INTERNAL;
    va_list args;
    va_start(args, format);
    vsnprintf(err->remedy, sizeof err->remedy, format, args);
    va_end(args);
    tidy(err->remedy);
    return err->code;
}

err_code_t err_context(err_t *err, const char *format, ...) {
    if (!err)
        return ERR_INTERNAL;
    char old[sizeof err->message];
    memcpy(old, err->message, sizeof old);
    va_list args;
    va_start(args, format);
    int used = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (used >= 0 && (size_t)used + sizeof ": " < sizeof err->message) {
        size_t left = sizeof err->message - (size_t)used;
        snprintf(err->message + used, left, ": %.*s", (int)(left - sizeof ": "), old);
    }
    tidy(err->message);
    return err->code;
}

void err_abort(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}

static void *checked(void *memory) {
    if (!memory) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return memory;
}

void *mem_alloc(size_t size) {
    return checked(malloc(size ? size : 1));
}

void *mem_zero(size_t count, size_t size) {
    return checked(calloc(count ? count : 1, size ? size : 1));
}

void *mem_grow(void *old, size_t size) {
    return checked(realloc(old, size ? size : 1));
}

char *mem_dup(const char *text) {
    return checked(strdup(text));
}

char *mem_format(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return checked(text);
}
