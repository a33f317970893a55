// What a kind of collectives must do: a const vtable; coll.c holds the only list of them, checks
// arguments, keeps the deadlines and makes a failure final.
#ifndef INKLING_COLL_COLL_IMPL_H
#define INKLING_COLL_COLL_IMPL_H

#include "coll/coll.h"

typedef struct {
    const char *name;
    // Makes the object and what the other ranks must know to reach it (gloo: addresses; NCCL: rank
    // 0's unique id, nothing from the others): *blob, malloc'ed or NULL.
    err_code_t (*open)(const coll_options_t *options, void **self, void **blob, size_t *size,
                       err_t *err);
    // Connects, with the blobs of all ranks.
    err_code_t (*join)(void *self, const coll_blob_t *blobs, int world, err_t *err);
    void (*close)(void *self); // accepts NULL, and one that has not joined
    err_code_t (*sum)(void *self, float *data, size_t count, int64_t deadline_ms, err_t *err);
    // In host memory, whatever sum works on.
    err_code_t (*gather)(void *self, const void *data, size_t size, void *all, int64_t deadline_ms,
                         err_t *err);
    err_code_t (*broadcast)(void *self, void *data, size_t size, int root, int64_t deadline_ms,
                            err_t *err);
    // From any thread, once it has joined: operations fail from now on, on all ranks. May be called
    // again.
    void (*abort)(void *self);
} coll_backend_t;

extern const coll_backend_t coll_backend_local;
extern const coll_backend_t coll_backend_gloo; // absent from builds without libgloo

#endif
