#include "graph_impl.h"

#include <onnx.pb-c.h>
#include <stdlib.h>
#include <string.h>

#define OPSET 13
// Of the same release as the opset, and with all that is used here.
#define IR ONNX__VERSION__IR_VERSION_2020_5_8

struct graph {
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    void **kept; // all that is allocated, in no order
    size_t kept_count;
};

// --- Memory: everything small lives as long as the graph

static void *keep(graph_t *graph, void *memory) {
    graph->kept = mem_grow(graph->kept, (graph->kept_count + 1) * sizeof *graph->kept);
    return graph->kept[graph->kept_count++] = memory;
}

static char *keep_text(graph_t *graph, const char *text) {
    return keep(graph, mem_dup(text));
}

// A message of the type, as its INIT has it.
#define MAKE(graph, type, TYPE)                                                                    \
    ((type *)make(graph, &(const type)ONNX__##TYPE##__INIT, sizeof(type)))
static void *make(graph_t *graph, const void *initial, size_t size) {
    return memcpy(keep(graph, mem_alloc(size)), initial, size);
}

// Grows a list of messages by one. The lists' pointers are of different types, but all of one form.
#define APPEND(list, count, item)                                                                  \
    ((list) = mem_grow((list), ((count) + 1) * sizeof *(list)), (list)[(count)++] = (item))

graph_t *graph_new(const graph_label_t *label) {
    graph_t *graph = mem_zero(1, sizeof *graph);
    onnx__model_proto__init(&graph->model);
    onnx__graph_proto__init(&graph->graph);
    Onnx__OperatorSetIdProto *opset = MAKE(graph, Onnx__OperatorSetIdProto, OPERATOR_SET_ID_PROTO);
    opset->domain = keep_text(graph, ""); // ONNX' own operators
    opset->has_version = true;
    opset->version = OPSET;
    Onnx__ModelProto *model = &graph->model;
    APPEND(model->opset_import, model->n_opset_import, opset);
    model->has_ir_version = model->has_model_version = true;
    model->ir_version = IR;
    model->model_version = (int64_t)label->version;
    model->producer_name = keep_text(graph, "inkling");
    model->producer_version = keep_text(graph, label->producer_version);
    model->doc_string = keep_text(graph, label->about);
    model->graph = &graph->graph;
    graph->graph.name = keep_text(graph, label->name);
    return graph;
}

void graph_free(graph_t **self) {
    graph_t *graph = *self;
    if (!graph)
        return;
    for (size_t i = 0; i < graph->graph.n_node; i++) {
        free(graph->graph.node[i]->input);
        free(graph->graph.node[i]->output);
        free(graph->graph.node[i]->attribute);
    }
    for (size_t i = 0; i < graph->kept_count; i++)
        free(graph->kept[i]);
    free(graph->graph.node);
    free(graph->graph.initializer);
    free(graph->graph.input);
    free(graph->graph.output);
    free(graph->model.opset_import);
    free(graph->model.metadata_props);
    free(graph->kept);
    free(graph);
    *self = NULL;
}

// --- Values

static int64_t *keep_numbers(graph_t *graph, int count, const int64_t *numbers) {
    size_t size = (size_t)count * sizeof *numbers;
    return memcpy(keep(graph, mem_alloc(size)), numbers, size);
}

static Onnx__TensorShapeProto *make_shape(graph_t *graph, int rank, const int64_t *dims) {
    Onnx__TensorShapeProto *shape = MAKE(graph, Onnx__TensorShapeProto, TENSOR_SHAPE_PROTO);
    shape->n_dim = (size_t)rank;
    shape->dim = keep(graph, mem_zero((size_t)rank, sizeof *shape->dim));
    for (int i = 0; i < rank; i++) {
        Onnx__TensorShapeProto__Dimension *dim =
            MAKE(graph, Onnx__TensorShapeProto__Dimension, TENSOR_SHAPE_PROTO__DIMENSION);
        dim->value_case = dims[i] ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE
                                  : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        if (dims[i])
            dim->dim_value = dims[i];
        else
            dim->dim_param = keep_text(graph, "batch");
        shape->dim[i] = dim;
    }
    return shape;
}

static Onnx__ValueInfoProto *make_value(graph_t *graph, const char *name, graph_type_t type,
                                        int rank, const int64_t *dims) {
    Onnx__TypeProto__Tensor *tensor = MAKE(graph, Onnx__TypeProto__Tensor, TYPE_PROTO__TENSOR);
    tensor->has_elem_type = true;
    tensor->elem_type = type == GRAPH_UINT8 ? ONNX__TENSOR_PROTO__DATA_TYPE__UINT8
                                            : ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = make_shape(graph, rank, dims);
    Onnx__TypeProto *whole = MAKE(graph, Onnx__TypeProto, TYPE_PROTO);
    whole->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    whole->tensor_type = tensor;
    Onnx__ValueInfoProto *value = MAKE(graph, Onnx__ValueInfoProto, VALUE_INFO_PROTO);
    value->name = keep_text(graph, name);
    value->type = whole;
    return value;
}

void graph_input(graph_t *graph, const char *name, graph_type_t type, int rank,
                 const int64_t *dims) {
    APPEND(graph->graph.input, graph->graph.n_input, make_value(graph, name, type, rank, dims));
}

void graph_output(graph_t *graph, const char *name, graph_type_t type, int rank,
                  const int64_t *dims) {
    APPEND(graph->graph.output, graph->graph.n_output, make_value(graph, name, type, rank, dims));
}

// The bytes of the numbers stand in the file as they are here: little-endian, as in all of
// Inkling's files.
void graph_tensor(graph_t *graph, const char *name, int rank, const int64_t *dims,
                  const float *data) {
    Onnx__TensorProto *tensor = MAKE(graph, Onnx__TensorProto, TENSOR_PROTO);
    size_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= (size_t)dims[i];
    tensor->name = keep_text(graph, name);
    tensor->n_dims = (size_t)rank;
    tensor->dims = keep_numbers(graph, rank, dims);
    tensor->has_data_type = tensor->has_raw_data = true;
    tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->raw_data = (ProtobufCBinaryData){count * sizeof *data, (uint8_t *)(uintptr_t)data};
    APPEND(graph->graph.initializer, graph->graph.n_initializer, tensor);
}

// --- Nodes

void graph_node(graph_t *graph, const char *op, const char *const *inputs, const char *output) {
    Onnx__NodeProto *node = MAKE(graph, Onnx__NodeProto, NODE_PROTO);
    node->op_type = keep_text(graph, op);
    node->name = keep_text(graph, output);
    for (; *inputs; inputs++)
        APPEND(node->input, node->n_input, keep_text(graph, *inputs));
    APPEND(node->output, node->n_output, node->name);
    APPEND(graph->graph.node, graph->graph.n_node, node);
}

static Onnx__AttributeProto *make_attribute(graph_t *graph, const char *name,
                                            Onnx__AttributeProto__AttributeType type) {
    Onnx__NodeProto *node = graph->graph.node[graph->graph.n_node - 1];
    Onnx__AttributeProto *attribute = MAKE(graph, Onnx__AttributeProto, ATTRIBUTE_PROTO);
    attribute->name = keep_text(graph, name);
    attribute->has_type = true;
    attribute->type = type;
    APPEND(node->attribute, node->n_attribute, attribute);
    return attribute;
}

void graph_int(graph_t *graph, const char *name, int64_t value) {
    Onnx__AttributeProto *attribute =
        make_attribute(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    attribute->has_i = true;
    attribute->i = value;
}

void graph_ints(graph_t *graph, const char *name, int count, const int64_t *values) {
    Onnx__AttributeProto *attribute =
        make_attribute(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    attribute->n_ints = (size_t)count;
    attribute->ints = keep_numbers(graph, count, values);
}

void graph_float(graph_t *graph, const char *name, float value) {
    Onnx__AttributeProto *attribute =
        make_attribute(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    attribute->has_f = true;
    attribute->f = value;
}

void graph_to_float(graph_t *graph) {
    graph_int(graph, "to", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
}

void graph_metadata(graph_t *graph, const char *key, const char *value) {
    Onnx__StringStringEntryProto *entry =
        MAKE(graph, Onnx__StringStringEntryProto, STRING_STRING_ENTRY_PROTO);
    entry->key = keep_text(graph, key);
    entry->value = keep_text(graph, value);
    APPEND(graph->model.metadata_props, graph->model.n_metadata_props, entry);
}

// --- Bytes

err_code_t graph_pack(const graph_t *graph, size_t limit, void **bytes, size_t *size, err_t *err) {
    *size = onnx__model_proto__get_packed_size(&graph->model);
    if (*size > limit)
        return err_set(err, ERR_TOO_LARGE,
                       "an ONNX file of it would have %zu bytes; the limit is %zu", *size, limit);
    if (!(*bytes = malloc(*size)))
        return err_set(err, ERR_NO_MEMORY, "no memory for the %zu bytes of an ONNX file", *size);
    onnx__model_proto__pack(&graph->model, *bytes);
    return ERR_OK;
}
