#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "interpret.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define VALUES_MAX 1024
#define INPUTS_MAX 5

typedef struct {
    const Onnx__NodeProto *node;
    int input_count;
    const value_t *in[INPUTS_MAX];
    size_t used; // attributes that the operator knows
} call_t;

// --- Values

static int64_t count_of(const value_t *value) {
    int64_t count = 1;
    for (int i = 0; i < value->rank; i++)
        count *= value->dims[i];
    return count;
}

static value_t make(int rank, const int64_t *dims) {
    value_t value = {.rank = rank};
    assert_true(rank >= 0 && rank <= RANK_MAX);
    for (int i = 0; i < rank; i++)
        value.dims[i] = dims[i];
    value.data = calloc((size_t)count_of(&value) + 1, sizeof *value.data);
    assert_non_null(value.data);
    return value;
}

void value_release(value_t *value) {
    free(value->name);
    free(value->data);
    *value = (value_t){0};
}

// --- Attributes

static const Onnx__AttributeProto *attribute(call_t *call, const char *name,
                                             Onnx__AttributeProto__AttributeType type) {
    for (size_t i = 0; i < call->node->n_attribute; i++) {
        const Onnx__AttributeProto *found = call->node->attribute[i];
        if (strcmp(found->name, name) == 0) {
            assert_true(found->has_type && found->type == type);
            call->used++;
            return found;
        }
    }
    return NULL;
}

static int64_t whole(call_t *call, const char *name, int64_t usual) {
    const Onnx__AttributeProto *found =
        attribute(call, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    return found && found->has_i ? found->i : usual;
}

static double real(call_t *call, const char *name, double usual) {
    const Onnx__AttributeProto *found =
        attribute(call, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    return found && found->has_f ? (double)found->f : usual;
}

static void list(call_t *call, const char *name, size_t count, int64_t *values, int64_t usual) {
    const Onnx__AttributeProto *found =
        attribute(call, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    if (found)
        assert_int_equal(found->n_ints, count);
    for (size_t i = 0; i < count; i++)
        values[i] = found ? found->ints[i] : usual;
}

// --- Operators

static value_t copy(call_t *call) {
    value_t out = make(call->in[0]->rank, call->in[0]->dims);
    memcpy(out.data, call->in[0]->data, (size_t)count_of(&out) * sizeof *out.data);
    return out;
}

static value_t op_cast(call_t *call) {
    assert_int_equal(whole(call, "to", 0), ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    return copy(call);
}

// b is one number, or one for each of a's last dimension.
static value_t broadcast(call_t *call, bool divide) {
    const value_t *a = call->in[0], *b = call->in[1];
    value_t out = make(a->rank, a->dims);
    assert_true(b->rank == 1 && (b->dims[0] == 1 || b->dims[0] == a->dims[a->rank - 1]));
    for (int64_t i = 0; i < count_of(a); i++) {
        double other = b->data[i % b->dims[0]];
        out.data[i] = divide ? a->data[i] / other : a->data[i] - other;
    }
    return out;
}

static value_t op_sub(call_t *call) {
    return broadcast(call, false);
}

static value_t op_div(call_t *call) {
    return broadcast(call, true);
}

static value_t op_transpose(call_t *call) {
    const value_t *in = call->in[0];
    int64_t perm[RANK_MAX], dims[RANK_MAX], at[RANK_MAX] = {0}, from[RANK_MAX];
    assert_int_equal(in->rank, 4);
    list(call, "perm", 4, perm, -1);
    for (int i = 0; i < 4; i++)
        dims[i] = in->dims[perm[i]];
    value_t out = make(4, dims);
    for (int64_t i = 0; i < count_of(&out); i++) {
        int64_t rest = i;
        for (int d = 3; d >= 0; d--) {
            at[d] = rest % dims[d];
            rest /= dims[d];
        }
        for (int d = 0; d < 4; d++)
            from[perm[d]] = at[d];
        out.data[i] =
            in->data[((from[0] * in->dims[1] + from[1]) * in->dims[2] + from[2]) * in->dims[3] +
                     from[3]];
    }
    return out;
}

// [n][channel][y][x], 0 outside.
static double pixel(const value_t *in, int64_t n, int64_t c, int64_t y, int64_t x) {
    if (y < 0 || y >= in->dims[2] || x < 0 || x >= in->dims[3])
        return 0;
    return in->data[((n * in->dims[1] + c) * in->dims[2] + y) * in->dims[3] + x];
}

static double conv_at(const value_t *in, const value_t *w, const int64_t at[4], int64_t top,
                      int64_t left) {
    double sum = 0;
    for (int64_t c = 0; c < w->dims[1]; c++)
        for (int64_t y = 0; y < w->dims[2]; y++)
            for (int64_t x = 0; x < w->dims[3]; x++)
                sum += w->data[((at[1] * w->dims[1] + c) * w->dims[2] + y) * w->dims[3] + x] *
                       pixel(in, at[0], c, at[2] + y - top, at[3] + x - left);
    return sum;
}

static value_t op_conv(call_t *call) {
    const value_t *in = call->in[0], *w = call->in[1];
    const value_t *bias = call->input_count > 2 ? call->in[2] : NULL;
    int64_t kernel[2], pads[4], at[4];
    list(call, "kernel_shape", 2, kernel, -1);
    list(call, "pads", 4, pads, 0);
    assert_true(in->rank == 4 && w->rank == 4 && in->dims[1] == w->dims[1]);
    assert_true(kernel[0] == w->dims[2] && kernel[1] == w->dims[3]);
    assert_true(!bias || (bias->rank == 1 && bias->dims[0] == w->dims[0]));
    value_t out = make(4, (int64_t[]){in->dims[0], w->dims[0],
                                      in->dims[2] + pads[0] + pads[2] - kernel[0] + 1,
                                      in->dims[3] + pads[1] + pads[3] - kernel[1] + 1});
    double *to = out.data;
    for (at[0] = 0; at[0] < out.dims[0]; at[0]++)
        for (at[1] = 0; at[1] < out.dims[1]; at[1]++)
            for (at[2] = 0; at[2] < out.dims[2]; at[2]++)
                for (at[3] = 0; at[3] < out.dims[3]; at[3]++)
                    *to++ = conv_at(in, w, at, pads[0], pads[1]) + (bias ? bias->data[at[1]] : 0);
    return out;
}

// Of images and of vectors.
static value_t op_batch_norm(call_t *call) {
    const value_t *in = call->in[0];
    double epsilon = real(call, "epsilon", 1e-5);
    assert_true(call->input_count == 5 && (in->rank == 4 || in->rank == 2));
    int64_t channels = in->dims[1], plane = in->rank == 4 ? in->dims[2] * in->dims[3] : 1;
    for (int i = 1; i < 5; i++)
        assert_true(call->in[i]->rank == 1 && call->in[i]->dims[0] == channels);
    value_t out = make(in->rank, in->dims);
    for (int64_t i = 0; i < count_of(in); i++) {
        int64_t c = i / plane % channels;
        out.data[i] = (in->data[i] - call->in[3]->data[c]) / sqrt(call->in[4]->data[c] + epsilon) *
                          call->in[1]->data[c] +
                      call->in[2]->data[c];
    }
    return out;
}

static value_t op_relu(call_t *call) {
    value_t out = copy(call);
    for (int64_t i = 0; i < count_of(&out); i++)
        out.data[i] = fmax(out.data[i], 0);
    return out;
}

static value_t op_max_pool(call_t *call) {
    const value_t *in = call->in[0];
    int64_t kernel[2], strides[2];
    list(call, "kernel_shape", 2, kernel, -1);
    list(call, "strides", 2, strides, 1);
    assert_int_equal(in->rank, 4);
    value_t out =
        make(4, (int64_t[]){in->dims[0], in->dims[1], (in->dims[2] - kernel[0]) / strides[0] + 1,
                            (in->dims[3] - kernel[1]) / strides[1] + 1});
    for (int64_t i = 0; i < count_of(&out); i++) {
        int64_t x = i % out.dims[3], y = i / out.dims[3] % out.dims[2];
        int64_t plane = i / out.dims[3] / out.dims[2];
        double most = -INFINITY;
        for (int64_t k = 0; k < kernel[0] * kernel[1]; k++)
            most =
                fmax(most, pixel(in, plane / in->dims[1], plane % in->dims[1],
                                 y * strides[0] + k / kernel[1], x * strides[1] + k % kernel[1]));
        out.data[i] = most;
    }
    return out;
}

static value_t op_flatten(call_t *call) {
    const value_t *in = call->in[0];
    assert_int_equal(whole(call, "axis", 1), 1);
    value_t out = copy(call);
    out.dims[1] = count_of(in) / in->dims[0];
    out.rank = 2;
    return out;
}

static value_t op_gemm(call_t *call) {
    const value_t *in = call->in[0], *w = call->in[1];
    const value_t *bias = call->input_count > 2 ? call->in[2] : NULL;
    assert_int_equal(whole(call, "transB", 0), 1);
    assert_true(in->rank == 2 && w->rank == 2 && in->dims[1] == w->dims[1]);
    assert_true(!bias || (bias->rank == 1 && bias->dims[0] == w->dims[0]));
    value_t out = make(2, (int64_t[]){in->dims[0], w->dims[0]});
    for (int64_t i = 0; i < count_of(&out); i++) {
        int64_t n = i / w->dims[0], o = i % w->dims[0];
        out.data[i] = bias ? bias->data[o] : 0;
        for (int64_t k = 0; k < w->dims[1]; k++)
            out.data[i] += in->data[n * w->dims[1] + k] * w->data[o * w->dims[1] + k];
    }
    return out;
}

static value_t op_neg(call_t *call) {
    value_t out = copy(call);
    for (int64_t i = 0; i < count_of(&out); i++)
        out.data[i] = -out.data[i];
    return out;
}

static value_t op_concat(call_t *call) {
    const value_t *a = call->in[0], *b = call->in[1];
    assert_true(call->input_count == 2 && whole(call, "axis", -100) == 1);
    assert_true(a->rank == 2 && b->rank == 2 && a->dims[0] == b->dims[0]);
    value_t out = make(2, (int64_t[]){a->dims[0], a->dims[1] + b->dims[1]});
    for (int64_t i = 0; i < count_of(&out); i++) {
        int64_t n = i / out.dims[1], k = i % out.dims[1];
        out.data[i] =
            k < a->dims[1] ? a->data[n * a->dims[1] + k] : b->data[n * b->dims[1] + k - a->dims[1]];
    }
    return out;
}

static value_t op_sigmoid(call_t *call) {
    value_t out = copy(call);
    for (int64_t i = 0; i < count_of(&out); i++)
        out.data[i] = 1 / (1 + exp(-out.data[i]));
    return out;
}

static value_t op_softmax(call_t *call) {
    value_t out = copy(call);
    assert_true(whole(call, "axis", -1) == 1 && out.rank == 2);
    for (int64_t n = 0; n < out.dims[0]; n++) {
        double *row = out.data + n * out.dims[1], sum = 0;
        for (int64_t k = 0; k < out.dims[1]; k++)
            sum += exp(row[k]);
        for (int64_t k = 0; k < out.dims[1]; k++)
            row[k] = exp(row[k]) / sum;
    }
    return out;
}

static const struct {
    const char *op;
    int inputs_min, inputs_max;
    value_t (*run)(call_t *call);
} operators[] = {
    {"Cast", 1, 1, op_cast},       {"Sub", 2, 2, op_sub},
    {"Div", 2, 2, op_div},         {"Transpose", 1, 1, op_transpose},
    {"Conv", 2, 3, op_conv},       {"BatchNormalization", 5, 5, op_batch_norm},
    {"Relu", 1, 1, op_relu},       {"MaxPool", 1, 1, op_max_pool},
    {"Flatten", 1, 1, op_flatten}, {"Gemm", 2, 3, op_gemm},
    {"Neg", 1, 1, op_neg},         {"Concat", 1, INPUTS_MAX, op_concat},
    {"Sigmoid", 1, 1, op_sigmoid}, {"Softmax", 1, 1, op_softmax},
};

// --- The graph

typedef struct {
    value_t list[VALUES_MAX];
    int count;
} values_t;

static const value_t *find(const values_t *values, const char *name) {
    for (int i = 0; i < values->count; i++)
        if (strcmp(values->list[i].name, name) == 0)
            return &values->list[i];
    fail_msg("nobody has made the value %s", name);
    return NULL;
}

static void add(values_t *values, value_t value, const char *name) {
    for (int i = 0; i < values->count; i++)
        assert_string_not_equal(values->list[i].name, name);
    assert_true(values->count < VALUES_MAX);
    value.name = strdup(name);
    values->list[values->count++] = value;
}

static void add_initialiser(values_t *values, const Onnx__TensorProto *tensor) {
    assert_int_equal(tensor->data_type, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    value_t value = make((int)tensor->n_dims, tensor->dims);
    assert_int_equal(tensor->raw_data.len, (size_t)count_of(&value) * sizeof(float));
    for (int64_t i = 0; i < count_of(&value); i++) {
        float number;
        memcpy(&number, tensor->raw_data.data + (size_t)i * sizeof number, sizeof number);
        value.data[i] = (double)number;
    }
    add(values, value, tensor->name);
}

// The declared shape, but for the batch.
static value_t make_declared(const Onnx__ValueInfoProto *info, int32_t type, int count) {
    const Onnx__TypeProto__Tensor *tensor = info->type->tensor_type;
    int64_t dims[RANK_MAX];
    assert_int_equal(info->type->value_case, ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE);
    assert_int_equal(tensor->elem_type, type);
    assert_true(tensor->shape->n_dim >= 1 && tensor->shape->n_dim <= RANK_MAX);
    for (size_t i = 0; i < tensor->shape->n_dim; i++) {
        const Onnx__TensorShapeProto__Dimension *dim = tensor->shape->dim[i];
        assert_int_equal(dim->value_case,
                         i == 0 ? ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                : ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE);
        dims[i] = i == 0 ? count : dim->dim_value;
    }
    return make((int)tensor->shape->n_dim, dims);
}

static void run_node(values_t *values, const Onnx__NodeProto *node) {
    call_t call = {.node = node, .input_count = (int)node->n_input};
    size_t op = 0;
    while (op < sizeof operators / sizeof *operators &&
           strcmp(operators[op].op, node->op_type) != 0)
        op++;
    if (op == sizeof operators / sizeof *operators)
        fail_msg("there is no operator %s", node->op_type);
    assert_in_range(call.input_count, operators[op].inputs_min, operators[op].inputs_max);
    assert_int_equal(node->n_output, 1);
    for (int i = 0; i < call.input_count; i++)
        call.in[i] = find(values, node->input[i]);
    value_t out = operators[op].run(&call);
    assert_int_equal(call.used, node->n_attribute);
    add(values, out, node->output[0]);
}

value_t interpret(const Onnx__ModelProto *model, const uint8_t *pixels, int count) {
    const Onnx__GraphProto *graph = model->graph;
    values_t *values = calloc(1, sizeof *values);
    assert_non_null(values);
    assert_true(graph->n_input == 1 && graph->n_output == 1);
    value_t input = make_declared(graph->input[0], ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, count);
    for (int64_t i = 0; i < count_of(&input); i++)
        input.data[i] = pixels[i];
    add(values, input, graph->input[0]->name);
    for (size_t i = 0; i < graph->n_initializer; i++)
        add_initialiser(values, graph->initializer[i]);
    for (size_t i = 0; i < graph->n_node; i++)
        run_node(values, graph->node[i]);
    value_t declared = make_declared(graph->output[0], ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, count);
    const value_t *found = find(values, graph->output[0]->name);
    assert_int_equal(found->rank, declared.rank);
    assert_memory_equal(found->dims, declared.dims, (size_t)found->rank * sizeof *found->dims);
    memcpy(declared.data, found->data, (size_t)count_of(found) * sizeof *found->data);
    for (int i = 0; i < values->count; i++)
        value_release(&values->list[i]);
    free(values);
    return declared;
}
