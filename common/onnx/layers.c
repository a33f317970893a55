#include "layers_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 48

typedef struct {
    graph_t *graph;
    const nn_spec_t *spec;
    nn_tensor_t tensors[NN_TENSORS_MAX];
    int tensor_count;
    char value[NAME_SIZE]; // in front of the layer that is next
} layers_t;

// "7.conv" behind "6.max-pool"; it is the next layer's input.
static void add(layers_t *at, const char *op, const char *const *inputs, const char *output) {
    graph_node(at->graph, op, inputs, output);
    snprintf(at->value, sizeof at->value, "%s", output);
}

// The value in front of the layer, and the layer's own tensors, in the order in which ONNX wants
// them, which is that of nn_role_t.
static void add_with_tensors(layers_t *at, int layer, const char *op, const char *output) {
    const char *inputs[1 + 4 + 1] = {at->value};
    int count = 1;
    for (int i = 0; i < at->tensor_count; i++)
        if (at->tensors[i].layer == layer)
            inputs[count++] = at->tensors[i].name;
    add(at, op, inputs, output);
}

static void add_conv(layers_t *at, int layer, const char *output) {
    int64_t kernel = at->spec->layers[layer].kernel, half = kernel / 2;
    add_with_tensors(at, layer, "Conv", output);
    graph_ints(at->graph, "kernel_shape", 2, (int64_t[]){kernel, kernel});
    graph_ints(at->graph, "pads", 4, (int64_t[]){half, half, half, half});
}

static void add_max_pool(layers_t *at, const char *output) {
    add(at, "MaxPool", (const char *[]){at->value, NULL}, output);
    graph_ints(at->graph, "kernel_shape", 2, (int64_t[]){2, 2});
    graph_ints(at->graph, "strides", 2, (int64_t[]){2, 2});
}

// {1 − p, p} as the engine has them: both from the logit, so that neither loses digits to the
// other.
static void add_sigmoid(layers_t *at, const char *output) {
    graph_node(at->graph, "Neg", (const char *[]){at->value, NULL}, "logit-negated");
    graph_node(at->graph, "Concat", (const char *[]){"logit-negated", at->value, NULL}, "logits");
    graph_int(at->graph, "axis", 1);
    add(at, "Sigmoid", (const char *[]){"logits", NULL}, output);
}

static void add_layer(layers_t *at, int index, const char *output) {
    const nn_layer_t *layer = &at->spec->layers[index];
    switch (layer->kind) { // no default: the compiler names a kind that is missing
    case NN_CONV:
        add_conv(at, index, output);
        break;
    case NN_BATCH_NORM:
        add_with_tensors(at, index, "BatchNormalization", output);
        graph_float(at->graph, "epsilon", layer->epsilon);
        break;
    case NN_RELU:
        add(at, "Relu", (const char *[]){at->value, NULL}, output);
        break;
    case NN_MAX_POOL:
        add_max_pool(at, output);
        break;
    case NN_DROPOUT: // passes everything on
        break;
    case NN_FLATTEN:
        add(at, "Flatten", (const char *[]){at->value, NULL}, output);
        graph_int(at->graph, "axis", 1);
        break;
    case NN_DENSE: // the weights are [out][in]
        add_with_tensors(at, index, "Gemm", output);
        graph_int(at->graph, "transB", 1);
        break;
    case NN_SIGMOID:
        add_sigmoid(at, output);
        break;
    case NN_SOFTMAX:
        add(at, "Softmax", (const char *[]){at->value, NULL}, output);
        graph_int(at->graph, "axis", 1);
        break;
    }
}

static const char *word_of(nn_kind_t kind) {
    static const char *const words[] = {
#define X(kind, word) [NN_##kind] = word,
        NN_KINDS(X)
#undef X
    };
    return words[kind];
}

void layers_add(graph_t *graph, const nn_spec_t *spec, const float *const *tensors,
                const char *input, const char *output) {
    layers_t *at = mem_zero(1, sizeof *at);
    *at = (layers_t){.graph = graph, .spec = spec};
    snprintf(at->value, sizeof at->value, "%s", input);
    at->tensor_count = nn_spec_tensors(spec, at->tensors);
    for (int i = 0; i < at->tensor_count; i++) {
        const nn_tensor_t *tensor = &at->tensors[i];
        graph_tensor(graph, tensor->name, tensor->rank, tensor->dims, tensors[i]);
    }
    for (int i = 0; i < spec->layer_count; i++) {
        char name[NAME_SIZE];
        snprintf(name, sizeof name, "%d.%s", i, word_of(spec->layers[i].kind));
        add_layer(at, i, i == spec->layer_count - 1 ? output : name);
    }
    free(at);
}
