// One rank: sums and broadcasts are what they are.
#include "coll/coll_impl.h"

#include <string.h>

static err_code_t open_one(const coll_options_t *options, void **self, void **blob, size_t *size,
                           err_t *err) {
    *self = *blob = NULL;
    *size = 0;
    if (options->world == 1)
        return ERR_OK;
    return err_set(err, ERR_INVALID, "collectives of kind local have one rank, not %d",
                   options->world);
}

static err_code_t join(void *self, const coll_blob_t *blobs, int world, err_t *err) {
    (void)self, (void)blobs, (void)world, (void)err;
    return ERR_OK;
}

static void nothing(void *self) {
    (void)self;
}

static err_code_t sum(void *self, float *data, size_t count, int64_t deadline_ms, err_t *err) {
    (void)self, (void)data, (void)count, (void)deadline_ms, (void)err;
    return ERR_OK;
}

static err_code_t gather(void *self, const void *data, size_t size, void *all, int64_t deadline_ms,
                         err_t *err) {
    (void)self, (void)deadline_ms, (void)err;
    memcpy(all, data, size);
    return ERR_OK;
}

static err_code_t broadcast(void *self, void *data, size_t size, int root, int64_t deadline_ms,
                            err_t *err) {
    (void)self, (void)data, (void)size, (void)root, (void)deadline_ms, (void)err;
    return ERR_OK;
}

const coll_backend_t coll_backend_local = {.name = "local",
                                           .open = open_one,
                                           .join = join,
                                           .close = nothing,
                                           .sum = sum,
                                           .gather = gather,
                                           .broadcast = broadcast,
                                           .abort = nothing};
