// Collectives over TCP by libgloo. Sums go round a ring, in an order that rank and size fix.
#include "coll/coll_impl.h"
#include "coll/gloo_shim.h"

#include <stdlib.h>

static err_code_t fail(mesh_status_t status, const char *text, err_t *err) {
    static const err_code_t codes[] = {[MESH_OK] = ERR_OK,
                                       [MESH_LOST] = ERR_UNAVAILABLE,
                                       [MESH_LATE] = ERR_TIMEOUT,
                                       [MESH_NO_MEMORY] = ERR_NO_MEMORY,
                                       [MESH_WRONG] = ERR_INTERNAL};
    return status == MESH_OK ? ERR_OK : err_set(err, codes[status], "%s", text);
}

static err_code_t open_mesh(const coll_options_t *options, void **self, void **blob, size_t *size,
                            err_t *err) {
    char text[MESH_TEXT];
    mesh_t *mesh;
    const char *address = options->address ? options->address : "127.0.0.1";
    mesh_status_t status =
        mesh_new(options->rank, options->world, address, COLL_WARM_MS, &mesh, blob, size, text);
    *self = mesh;
    err_code_t code = fail(status, text, err);
    if (code)
        err_context(err, "listening on %s", address);
    return code;
}

static err_code_t join(void *self, const coll_blob_t *blobs, int world, err_t *err) {
    char text[MESH_TEXT];
    const void *others[COLL_WORLD_MAX];
    for (int i = 0; i < world; i++)
        others[i] = blobs[i].data;
    return fail(mesh_connect(self, others, text), text, err);
}

static void close_mesh(void *self) {
    if (self)
        mesh_delete(self);
}

static err_code_t sum(void *self, float *data, size_t count, int64_t deadline_ms, err_t *err) {
    char text[MESH_TEXT];
    return fail(mesh_sum(self, data, count, deadline_ms, text), text, err);
}

static err_code_t gather(void *self, const void *data, size_t size, void *all, int64_t deadline_ms,
                         err_t *err) {
    char text[MESH_TEXT];
    return fail(mesh_gather(self, data, size, all, deadline_ms, text), text, err);
}

static err_code_t broadcast(void *self, void *data, size_t size, int root, int64_t deadline_ms,
                            err_t *err) {
    char text[MESH_TEXT];
    return fail(mesh_broadcast(self, data, size, root, deadline_ms, text), text, err);
}

static void abort_mesh(void *self) {
    mesh_break(self);
}

const coll_backend_t coll_backend_gloo = {.name = "gloo",
                                          .open = open_mesh,
                                          .join = join,
                                          .close = close_mesh,
                                          .sum = sum,
                                          .gather = gather,
                                          .broadcast = broadcast,
                                          .abort = abort_mesh};
