// cuDNN's backend interface, as far as convolutions need it: descriptors are lists of attributes,
// finalising checks them, executing queues loops.
//
// Of the configurations that the heuristics announce the last is never delivered; the first rounds
// like TF32 and the second says that it is not deterministic, as its notes tell.
#include "double.h"

#include <cudnn_graph.h>

#include <stdlib.h>
#include <string.h>

enum { ANNOUNCED = 4, DELIVERED = 3, WORKSPACE = 4096 + 256 };

typedef struct attribute {
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t count;
    void *data;
    struct attribute *next;
} attribute_t;

struct cudnnContext {
    cudaStream_t stream;
};

typedef struct {
    cudnnBackendDescriptorType_t kind;
    bool final;
    attribute_t *attributes;
    int engine; // of a configuration
} descriptor_t;

static const struct {
    cudnnBackendAttributeType_t type;
    size_t size;
} sizes[] = {
    {CUDNN_TYPE_HANDLE, sizeof(void *)},
    {CUDNN_TYPE_DATA_TYPE, sizeof(cudnnDataType_t)},
    {CUDNN_TYPE_BOOLEAN, sizeof(bool)},
    {CUDNN_TYPE_INT64, sizeof(int64_t)},
    {CUDNN_TYPE_FLOAT, sizeof(float)},
    {CUDNN_TYPE_DOUBLE, sizeof(double)},
    {CUDNN_TYPE_VOID_PTR, sizeof(void *)},
    {CUDNN_TYPE_HEUR_MODE, sizeof(cudnnBackendHeurMode_t)},
    {CUDNN_TYPE_CONVOLUTION_MODE, sizeof(cudnnConvolutionMode_t)},
    {CUDNN_TYPE_BACKEND_DESCRIPTOR, sizeof(void *)},
    {CUDNN_TYPE_NUMERICAL_NOTE, sizeof(cudnnBackendNumericalNote_t)},
};

static size_t size_of(cudnnBackendAttributeType_t type) {
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i].type == type) {
            return sizes[i].size;
        }
    }
    double_fail("cuDNN: the double does not know attribute type %d", (int)type);
}

static const attribute_t *find(const descriptor_t *descriptor, int name) {
    const attribute_t *at = descriptor->attributes;
    while (at && (int)at->name != name) {
        at = at->next;
    }
    return at;
}

// --- Descriptors

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t kind,
                                           cudnnBackendDescriptor_t *made) {
    cudaError_t failed = double_enter();
    descriptor_t *descriptor = failed ? NULL : calloc(1, sizeof *descriptor);
    *made = descriptor;
    if (descriptor) {
        descriptor->kind = kind;
        double_count_alive(1);
    }
    double_leave();
    return failed ? CUDNN_STATUS_ALLOC_FAILED : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t at) {
    descriptor_t *descriptor = at;
    while (descriptor->attributes) {
        attribute_t *attribute = descriptor->attributes;
        descriptor->attributes = attribute->next;
        free(attribute->data);
        free(attribute);
    }
    free(descriptor);
    double_enter();
    double_count_alive(-1);
    double_leave();
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t at,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void *data) {
    descriptor_t *descriptor = at;
    cudaError_t failed = double_enter();
    double_leave();
    if (failed) {
        return CUDNN_STATUS_INTERNAL_ERROR;
    }
    if (descriptor->final) {
        return CUDNN_STATUS_NOT_INITIALIZED;
    }
    if (find(descriptor, (int)name)) {
        double_fail("cuDNN: attribute %d is set twice", (int)name);
    }
    attribute_t *attribute = calloc(1, sizeof *attribute);
    size_t size = size_of(type) * (size_t)count;
    *attribute = (attribute_t){name, type, count, malloc(size + 1), descriptor->attributes};
    memcpy(attribute->data, data, size);
    descriptor->attributes = attribute;
    return CUDNN_STATUS_SUCCESS;
}

static const void *need(const descriptor_t *descriptor, int name, cudnnBackendAttributeType_t type,
                        int64_t count) {
    const attribute_t *attribute = find(descriptor, name);
    if (!attribute) {
        double_fail("cuDNN: a descriptor of kind %d lacks attribute %d", (int)descriptor->kind,
                    name);
    }
    if (attribute->type != type || attribute->count != count) {
        double_fail("cuDNN: attribute %d has type %d and %lld elements, not %d and %lld", name,
                    (int)attribute->type, (long long)attribute->count, (int)type, (long long)count);
    }
    return attribute->data;
}

static const descriptor_t *need_descriptor(const descriptor_t *descriptor, int name,
                                           cudnnBackendDescriptorType_t kind) {
    const descriptor_t *const *other = need(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1);
    if ((*other)->kind != kind || !(*other)->final) {
        double_fail("cuDNN: attribute %d is a descriptor of the wrong kind, or not finalised",
                    name);
    }
    return *other;
}

// --- What an operation says

typedef struct {
    int64_t uid, size[4], stride[4]; // n, c, y, x
    cudnnDataType_t type;
} tensor_t;

typedef struct {
    cudnnBackendDescriptorType_t kind;
    tensor_t x, w, y;
    int64_t pad[2];
} conv_t;

static tensor_t read_tensor(const descriptor_t *operation, int name) {
    const descriptor_t *at = need_descriptor(operation, name, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    tensor_t tensor;
    memcpy(tensor.size, need(at, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4),
           sizeof tensor.size);
    memcpy(tensor.stride, need(at, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4),
           sizeof tensor.stride);
    memcpy(&tensor.uid, need(at, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1),
           sizeof tensor.uid);
    memcpy(&tensor.type, need(at, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1),
           sizeof tensor.type);
    need(at, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1);
    if (tensor.type != CUDNN_DATA_FLOAT && tensor.type != CUDNN_DATA_BFLOAT16) {
        double_fail("cuDNN: the double has no data type %d", (int)tensor.type);
    }
    return tensor;
}

static void read_padding(const descriptor_t *operation, int name, conv_t *conv) {
    const descriptor_t *at = need_descriptor(operation, name, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    const int64_t *pre = need(at, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2);
    const int64_t *post = need(at, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2);
    const int64_t *stride = need(at, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2);
    const int64_t *dilation = need(at, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2);
    const cudnnConvolutionMode_t *mode =
        need(at, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1);
    const cudnnDataType_t *compute =
        need(at, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1);
    for (int i = 0; i < 2; i++) {
        if (stride[i] != 1 || dilation[i] != 1 || *mode != CUDNN_CROSS_CORRELATION ||
            *compute != CUDNN_DATA_FLOAT) {
            double_fail("cuDNN: a convolution that this engine does not need");
        }
        conv->pad[i] = pre[i];
        if (conv->y.size[2 + i] !=
            conv->x.size[2 + i] + pre[i] + post[i] - conv->w.size[2 + i] + 1) {
            double_fail("cuDNN: the sizes of a convolution do not fit together");
        }
    }
    if (conv->x.size[0] != conv->y.size[0] || conv->x.size[1] != conv->w.size[1] ||
        conv->y.size[1] != conv->w.size[0]) {
        double_fail("cuDNN: samples or channels of a convolution do not fit together");
    }
}

typedef struct {
    cudnnBackendDescriptorType_t kind;
    int x, w, y, conv, alpha, beta;
} names_t;

static const names_t names[] = {
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

static const names_t *names_of(cudnnBackendDescriptorType_t kind) {
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].kind == kind) {
            return &names[i];
        }
    }
    return NULL;
}

static conv_t read_conv(const descriptor_t *operation) {
    const names_t *name = names_of(operation->kind);
    conv_t conv = {.kind = operation->kind,
                   .x = read_tensor(operation, name->x),
                   .w = read_tensor(operation, name->w),
                   .y = read_tensor(operation, name->y)};
    const float *alpha = need(operation, name->alpha, CUDNN_TYPE_FLOAT, 1);
    const float *beta = need(operation, name->beta, CUDNN_TYPE_FLOAT, 1);
    if (*alpha != 1 || *beta != 0) {
        double_fail("cuDNN: the double has alpha 1 and beta 0 only");
    }
    read_padding(operation, name->conv, &conv);
    return conv;
}

static conv_t graph_conv(const descriptor_t *graph) {
    const descriptor_t *const *operation =
        need(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1);
    return read_conv(*operation);
}

static const descriptor_t *config_of_plan(const descriptor_t *plan) {
    return need_descriptor(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                           CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
}

static const descriptor_t *graph_of(const descriptor_t *config) {
    return need_descriptor(config, CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
                           CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t at) {
    descriptor_t *descriptor = at;
    cudaError_t failed = double_enter();
    double_leave();
    if (failed) {
        return CUDNN_STATUS_INTERNAL_ERROR;
    }
    if (names_of(descriptor->kind)) {
        read_conv(descriptor);
    } else if (descriptor->kind == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
        need(descriptor, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1);
        graph_conv(descriptor);
    } else if (descriptor->kind == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) {
        need_descriptor(descriptor, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
                        CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
        need(descriptor, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1);
    } else if (descriptor->kind == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
        config_of_plan(descriptor);
    }
    descriptor->final = true;
    return CUDNN_STATUS_SUCCESS;
}

// A configuration: attributes of its own that a caller cannot see.
static void deliver(const descriptor_t *graph, descriptor_t *config, int engine) {
    attribute_t *attribute = calloc(1, sizeof *attribute);
    *attribute = (attribute_t){CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                               malloc(sizeof graph), NULL};
    memcpy(attribute->data, &graph, sizeof graph);
    config->attributes = attribute;
    config->engine = engine;
    config->final = true;
}

static void get_notes(const descriptor_t *engine, int64_t room, int64_t *count, void *data) {
    cudnnBackendNumericalNote_t note = engine->engine == 0 ? CUDNN_NUMERICAL_NOTE_TENSOR_CORE
                                                           : CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
    *count = engine->engine < 2;
    if (*count && room > 0) {
        memcpy(data, &note, sizeof note);
    }
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const at,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t room,
                                       int64_t *count, void *data) {
    const descriptor_t *descriptor = at;
    cudaError_t failed = double_enter();
    double_leave();
    if (failed) {
        return CUDNN_STATUS_INTERNAL_ERROR;
    }
    size_of(type);
    int64_t ignored;
    count = count ? count : &ignored;
    if (!descriptor->final) {
        double_fail("cuDNN: attribute %d of a descriptor that is not finalised", (int)name);
    }
    switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: {
        const descriptor_t *graph =
            need_descriptor(descriptor, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
                            CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
        *count = room > 0 ? (room < DELIVERED ? room : DELIVERED) : ANNOUNCED;
        for (int i = 0; i < *count && room > 0; i++) {
            deliver(graph, ((descriptor_t **)data)[i], i);
        }
        return CUDNN_STATUS_SUCCESS;
    }
    case CUDNN_ATTR_ENGINECFG_ENGINE:
        (*(descriptor_t **)data)->engine = descriptor->engine;
        (*(descriptor_t **)data)->final = true;
        *count = 1;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
        get_notes(descriptor, room, count, data);
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        *(int64_t *)data = WORKSPACE;
        *count = 1;
        return CUDNN_STATUS_SUCCESS;
    default:
        double_fail("cuDNN: the double cannot tell attribute %d", (int)name);
    }
}

// --- Execution

typedef struct {
    conv_t conv;
    int engine;
    char *x, *w, *y, *workspace;
} call_t;

static float to_float(uint16_t bits) {
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static uint16_t to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        return 0x7fff;
    }
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static float to_tf32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x1000) & 0xffffe000u;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int64_t volume(const tensor_t *tensor) {
    return tensor->size[0] * tensor->size[1] * tensor->size[2] * tensor->size[3];
}

static size_t bytes(const tensor_t *tensor) {
    return (size_t)volume(tensor) * (tensor->type == CUDNN_DATA_FLOAT ? 4 : 2);
}

// In the order [n][y][x][c], which the engine stores; other strides are refused.
static void check_strides(const tensor_t *tensor) {
    int64_t c = tensor->size[1], x = tensor->size[3], y = tensor->size[2];
    if (tensor->stride[1] != 1 || tensor->stride[3] != c || tensor->stride[2] != c * x ||
        tensor->stride[0] != c * x * y) {
        double_fail("cuDNN: a tensor is not laid out channel-last and dense");
    }
}

static float *load(const tensor_t *tensor, const char *at, bool tf32) {
    int64_t count = volume(tensor);
    float *values = malloc((size_t)count * sizeof *values);
    double_race_range(at, bytes(tensor), false);
    for (int64_t i = 0; i < count; i++) {
        values[i] = tensor->type == CUDNN_DATA_FLOAT ? ((const float *)at)[i]
                                                     : to_float(((const uint16_t *)at)[i]);
        values[i] = tf32 ? to_tf32(values[i]) : values[i];
    }
    return values;
}

static void store(const tensor_t *tensor, char *at, float *values) {
    int64_t count = volume(tensor);
    double_race_range(at, bytes(tensor), true);
    for (int64_t i = 0; i < count; i++) {
        if (tensor->type == CUDNN_DATA_FLOAT) {
            ((float *)at)[i] = values[i];
        } else {
            ((uint16_t *)at)[i] = to_bf16(values[i]);
        }
    }
    free(values);
}

// One pixel of y and the pixel of x under one tap; w: the tap's weights, `step` apart.
static void tap_forward(const float *x, float *y, const float *w, int64_t ins, int64_t outs,
                        int64_t step) {
    for (int64_t o = 0; o < outs; o++) {
        float sums[8] = {0}, rest = 0;
        int64_t i = 0;
        for (; i + 8 <= ins; i += 8) {
            for (int j = 0; j < 8; j++) {
                sums[j] += x[i + j] * w[o * step + i + j];
            }
        }
        for (; i < ins; i++) {
            rest += x[i] * w[o * step + i];
        }
        y[o] += ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
                ((sums[4] + sums[5]) + (sums[6] + sums[7])) + rest;
    }
}

static void tap_data(float *restrict dx, const float *restrict dy, const float *restrict w,
                     int64_t ins, int64_t outs, int64_t step) {
    for (int64_t o = 0; o < outs; o++) {
        for (int64_t i = 0; i < ins; i++) {
            dx[i] += dy[o] * w[o * step + i];
        }
    }
}

static void tap_filter(const float *restrict x, const float *restrict dy, float *restrict dw,
                       int64_t ins, int64_t outs, int64_t step) {
    for (int64_t o = 0; o < outs; o++) {
        for (int64_t i = 0; i < ins; i++) {
            dw[o * step + i] += dy[o] * x[i];
        }
    }
}

static void convolve(const conv_t *conv, float *x, float *w, float *y) {
    int64_t rows = conv->y.size[2], columns = conv->y.size[3], height = conv->x.size[2];
    int64_t width = conv->x.size[3], ins = conv->x.size[1], outs = conv->y.size[1];
    int64_t taps_y = conv->w.size[2], taps_x = conv->w.size[3], step = taps_y * taps_x * ins;
    for (int64_t pixel = 0; pixel < conv->y.size[0] * rows * columns; pixel++) {
        int64_t n = pixel / columns / rows, py = pixel / columns % rows, px = pixel % columns;
        float *out = y + pixel * outs;
        for (int64_t tap = 0; tap < taps_y * taps_x; tap++) {
            int64_t sy = py + tap / taps_x - conv->pad[0], sx = px + tap % taps_x - conv->pad[1];
            if (sy < 0 || sy >= height || sx < 0 || sx >= width) {
                continue;
            }
            float *in = x + ((n * height + sy) * width + sx) * ins, *row = w + tap * ins;
            if (conv->kind == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR) {
                tap_forward(in, out, row, ins, outs, step);
            } else if (conv->kind == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR) {
                tap_data(in, out, row, ins, outs, step);
            } else {
                tap_filter(in, out, row, ins, outs, step);
            }
        }
    }
}

static void run(void *arg) {
    const call_t *call = arg;
    const conv_t *conv = &call->conv;
    bool tf32 = call->engine == 0 && conv->x.type == CUDNN_DATA_FLOAT;
    bool forward = conv->kind == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR;
    bool filter = conv->kind == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR;
    float *x = forward || filter ? load(&conv->x, call->x, tf32)
                                 : calloc((size_t)volume(&conv->x), sizeof(float));
    float *w =
        filter ? calloc((size_t)volume(&conv->w), sizeof(float)) : load(&conv->w, call->w, tf32);
    float *y =
        forward ? calloc((size_t)volume(&conv->y), sizeof(float)) : load(&conv->y, call->y, tf32);
    double_race_range(call->workspace, WORKSPACE, true);
    memset(call->workspace, 0xee, WORKSPACE);
    convolve(conv, x, w, y);
    if (forward) {
        store(&conv->y, call->y, y);
        free(x);
        free(w);
    } else if (filter) {
        store(&conv->w, call->w, w);
        free(x);
        free(y);
    } else {
        store(&conv->x, call->x, x);
        free(w);
        free(y);
    }
}

static char *pointer_of(const descriptor_t *pack, const tensor_t *tensor) {
    const attribute_t *ids = find(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const attribute_t *pointers = find(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    for (int64_t i = 0; ids && pointers && i < ids->count && ids->count == pointers->count; i++) {
        if (((const int64_t *)ids->data)[i] == tensor->uid) {
            char *at = ((char *const *)pointers->data)[i];
            double_check_range("cuDNN", at, bytes(tensor));
            if ((uintptr_t)at % 16 != 0) {
                double_fail("cuDNN: a tensor is not aligned to 16 bytes");
            }
            check_strides(tensor);
            return at;
        }
    }
    double_fail("cuDNN: the variant pack lacks tensor %lld", (long long)tensor->uid);
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan_at,
                                  cudnnBackendDescriptor_t pack_at) {
    const descriptor_t *plan = plan_at, *pack = pack_at;
    if (!plan->final || !pack->final) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    const descriptor_t *config = config_of_plan(plan);
    call_t *call = malloc(sizeof *call);
    *call = (call_t){.conv = graph_conv(graph_of(config)), .engine = config->engine};
    call->x = pointer_of(pack, &call->conv.x);
    call->w = pointer_of(pack, &call->conv.w);
    call->y = pointer_of(pack, &call->conv.y);
    char *const *workspace = need(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1);
    call->workspace = *workspace;
    double_check_range("cuDNN's workspace", call->workspace, WORKSPACE);
    return double_queue(handle->stream, "cuDNN", run, call) ? CUDNN_STATUS_EXECUTION_FAILED
                                                            : CUDNN_STATUS_SUCCESS;
}

// --- Handles

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
    cudaError_t failed = double_enter();
    *handle = failed ? NULL : calloc(1, sizeof **handle);
    double_count_alive(!failed);
    double_leave();
    return failed ? CUDNN_STATUS_NOT_INITIALIZED : CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    free(handle);
    double_enter();
    double_count_alive(-1);
    double_leave();
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

size_t cudnnGetVersion(void) {
    return CUDNN_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t status) {
    return status == CUDNN_STATUS_SUCCESS ? "success" : "an error of the test double";
}

void cudnnGetLastErrorString(char *message, size_t size) {
    if (size > 0) {
        *message = 0;
    }
}
