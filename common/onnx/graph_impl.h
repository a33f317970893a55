// A graph of ONNX that grows node by node, and its bytes. The only part that knows the messages of
// protocol buffers.
//
// A value has a name: that of the graph's input, of an initialiser, or of the node that makes it
// (each node makes one, and shares its name). All text is copied; the numbers of tensors are not,
// and must live until graph_pack.
#ifndef INKLING_ONNX_GRAPH_IMPL_H
#define INKLING_ONNX_GRAPH_IMPL_H

#include "base/err.h"

#include <stdint.h>

#define GRAPH_RANK_MAX 4

typedef struct graph graph_t;

typedef struct {
    const char *producer_version, *name, *about;
    uint64_t version;
} graph_label_t;

graph_t *graph_new(const graph_label_t *label);
void graph_free(graph_t **graph); // allows *graph == NULL

typedef enum { GRAPH_UINT8, GRAPH_FLOAT } graph_type_t;

// A dimension of 0 is the batch.
void graph_input(graph_t *graph, const char *name, graph_type_t type, int rank,
                 const int64_t *dims);
void graph_output(graph_t *graph, const char *name, graph_type_t type, int rank,
                  const int64_t *dims);
void graph_tensor(graph_t *graph, const char *name, int rank, const int64_t *dims,
                  const float *data);
// inputs: ended by NULL. Nodes come in the order in which they are computed.
void graph_node(graph_t *graph, const char *op, const char *const *inputs, const char *output);
// Attributes of the last node.
void graph_int(graph_t *graph, const char *name, int64_t value);
void graph_ints(graph_t *graph, const char *name, int count, const int64_t *values);
void graph_float(graph_t *graph, const char *name, float value);
void graph_to_float(graph_t *graph); // the type that a Cast makes
void graph_metadata(graph_t *graph, const char *key, const char *value);

// *bytes is malloc'ed. ERR_TOO_LARGE: more than limit; ERR_NO_MEMORY.
err_code_t graph_pack(const graph_t *graph, size_t limit, void **bytes, size_t *size, err_t *err);

#endif
