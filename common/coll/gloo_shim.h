// libgloo for C: the only place that knows its types is gloo_shim.cc, and no exception leaves it.
//
// Functions return a mesh_status_t and, unless that is MESH_OK, put a text into text[MESH_TEXT].
#ifndef INKLING_COLL_GLOO_SHIM_H
#define INKLING_COLL_GLOO_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MESH_TEXT = 512 };

// LOST: a peer or its connection; LATE: the deadline; WRONG: anything else.
typedef enum { MESH_OK, MESH_LOST, MESH_LATE, MESH_NO_MEMORY, MESH_WRONG } mesh_status_t;

typedef struct mesh mesh_t;

// Listens on a numeric address, at a port for each other rank. *addresses: malloc'ed, for the
// others' mesh_connect. deadline_ms: of connecting.
mesh_status_t mesh_new(int rank, int world, const char *address, int64_t deadline_ms, mesh_t **mesh,
                       void **addresses, size_t *size, char *text);
// others: what each rank's mesh_new gave, its own included; all of one size.
mesh_status_t mesh_connect(mesh_t *mesh, const void *const *others, char *text);
void mesh_delete(mesh_t *mesh); // says farewell, unless it is broken

mesh_status_t mesh_sum(mesh_t *mesh, float *data, size_t count, int64_t deadline_ms, char *text);
mesh_status_t mesh_gather(mesh_t *mesh, const void *data, size_t size, void *all,
                          int64_t deadline_ms, char *text);
mesh_status_t mesh_broadcast(mesh_t *mesh, void *data, size_t size, int root, int64_t deadline_ms,
                             char *text);
// From any thread, once it is connected: operations fail from now on.
void mesh_break(mesh_t *mesh);

#ifdef __cplusplus
}
#endif

#endif
