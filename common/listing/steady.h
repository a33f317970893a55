// Reads whole files that may be written to at any moment, so that size, time and bytes belong
// together.
#ifndef INKLING_LISTING_STEADY_H
#define INKLING_LISTING_STEADY_H

#include "base/err.h"

#include <stdint.h>

typedef struct {
    uint8_t *bytes; // kept from file to file, free() at the end; a struct of zeros is an empty one
    size_t size, room;
} steady_t;

// Reads the file at path, of at most limit bytes (ERR_TOO_LARGE), again if it changes meanwhile.
// bytes and mtime_ns: those of what was read, or of what was refused. ERR_INVALID: it keeps
// changing, is no regular file or cannot be read, for reasons of its own; messages do not name it.
// ERR_NO_MEMORY: the machine's fault.
err_code_t steady_read(const char *path, size_t limit, steady_t *into, uint64_t *bytes,
                       int64_t *mtime_ns, err_t *err);

#endif
