// The layers of a network as nodes of a graph.
#ifndef INKLING_ONNX_LAYERS_IMPL_H
#define INKLING_ONNX_LAYERS_IMPL_H

#include "graph_impl.h"
#include "nn/spec.h"

// Appends a node a layer, from the value `input`, float [batch][channels][height][width], to the
// value `output`, float [batch][classes]. spec is checked; tensors as in onnx_source_t.
void layers_add(graph_t *graph, const nn_spec_t *spec, const float *const *tensors,
                const char *input, const char *output);

#endif
