#include "nn/cuda/conv.h"

#include <cudnn_graph.h>

#include <stdlib.h>
#include <string.h>

enum { X = 1, W, Y, CONFIGS_MAX = 64, NOTES_MAX = 16 }; // X, W, Y: names of tensors in a graph

struct conv_library {
    cudnnHandle_t handle;               // NULL: described
    cudnnBackendDescriptor_t described; // NULL: there
};

struct conv_plan {
    cudnnBackendDescriptor_t x, w, y, shape, operation, graph, heuristics;
    cudnnBackendDescriptor_t configs[CONFIGS_MAX], engine, config, plan, pack; // config: the plan's
    int64_t workspace;
};

// What cuDNN calls the parts of each kind.
static const struct {
    cudnnBackendDescriptorType_t descriptor;
    cudnnBackendAttributeName_t x, w, y, shape, alpha, beta;
    const char *word;
} kinds[CONV_KINDS] = {
    [CONV_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, "forward"},
    [CONV_DATA] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                   CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, "data gradient"},
    [CONV_FILTER] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, "weight gradient"},
};

// --- Descriptors: the first failure ends what follows

static cudnnStatus_t make(cudnnBackendDescriptorType_t kind, cudnnBackendDescriptor_t *made) {
    return cudnnBackendCreateDescriptor(kind, made);
}

static void set(cudnnStatus_t *status, cudnnBackendDescriptor_t at,
                cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
                const void *data) {
    if (*status == CUDNN_STATUS_SUCCESS) {
        *status = cudnnBackendSetAttribute(at, name, type, count, data);
    }
}

static void finish(cudnnStatus_t *status, cudnnBackendDescriptor_t at) {
    if (*status == CUDNN_STATUS_SUCCESS) {
        *status = cudnnBackendFinalize(at);
    }
}

static void destroy(cudnnBackendDescriptor_t *at) {
    if (*at) {
        cudnnBackendDestroyDescriptor(*at);
        *at = NULL;
    }
}

static err_code_t complain(cudnnStatus_t status, const char *what, err_t *err) {
    if (status == CUDNN_STATUS_SUCCESS) {
        return ERR_OK;
    }
    char more[256] = "";
    cudnnGetLastErrorString(more, sizeof more);
    return err_set(err, status == CUDNN_STATUS_ALLOC_FAILED ? ERR_NO_MEMORY : ERR_INTERNAL,
                   "cuDNN: %s: %s%s%s", what, cudnnGetErrorString(status), more[0] ? ": " : "",
                   more);
}

// --- The library

err_code_t conv_library_open(cudaStream_t stream, conv_library_t **library, err_t *err) {
    *library = calloc(1, sizeof **library);
    if (!*library) {
        return err_set(err, ERR_NO_MEMORY, "no memory for cuDNN's handle");
    }
    cudnnStatus_t status = cudnnCreate(&(*library)->handle);
    if (status == CUDNN_STATUS_SUCCESS) {
        status = cudnnSetStream((*library)->handle, stream);
    }
    if (status != CUDNN_STATUS_SUCCESS) {
        conv_library_close(library);
    }
    return complain(status, "starting", err);
}

err_code_t conv_library_describe(const char *device, conv_library_t **library, err_t *err) {
    *library = calloc(1, sizeof **library);
    if (!*library) {
        return err_set(err, ERR_NO_MEMORY, "no memory for a described device");
    }
    cudnnBackendDescriptor_t *made = &(*library)->described;
    cudnnStatus_t status = make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, made);
    set(&status, *made, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
        (int64_t)strlen(device) + 1, device);
    finish(&status, *made);
    if (status != CUDNN_STATUS_SUCCESS) {
        conv_library_close(library);
    }
    return complain(status, "describing a device", err);
}

void conv_library_close(conv_library_t **library) {
    if (*library) {
        destroy(&(*library)->described);
        if ((*library)->handle) {
            cudnnDestroy((*library)->handle);
        }
        free(*library);
        *library = NULL;
    }
}

// --- A graph of one operation

static cudnnStatus_t make_tensor(int64_t name, const int64_t size[4], bool bf16,
                                 cudnnBackendDescriptor_t *made) {
    cudnnDataType_t type = bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    int64_t alignment = 16;
    int64_t strides[4] = {size[1] * size[2] * size[3], 1, size[1] * size[3], size[1]};
    cudnnStatus_t status = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR, made);
    set(&status, *made, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &name);
    set(&status, *made, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(&status, *made, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    set(&status, *made, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, size);
    set(&status, *made, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    finish(&status, *made);
    return status;
}

static cudnnStatus_t make_shape(int kernel, cudnnBackendDescriptor_t *made) {
    int64_t two = 2, ones[2] = {1, 1}, pad[2] = {kernel / 2, kernel / 2};
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    cudnnStatus_t status = make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, made);
    set(&status, *made, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(&status, *made, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(&status, *made, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &two);
    set(&status, *made, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, ones);
    set(&status, *made, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, ones);
    set(&status, *made, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    set(&status, *made, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad);
    finish(&status, *made);
    return status;
}

static void set_descriptor(cudnnStatus_t *status, cudnnBackendDescriptor_t at,
                           cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t other) {
    set(status, at, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &other);
}

static cudnnStatus_t make_graph(const conv_library_t *library, const conv_shape_t *shape,
                                conv_kind_t kind, conv_plan_t *plan) {
    const int64_t x[4] = {shape->count, shape->ins, shape->height, shape->width};
    const int64_t w[4] = {shape->outs, shape->ins, shape->kernel, shape->kernel};
    const int64_t y[4] = {shape->count, shape->outs, shape->height, shape->width};
    const float one = 1, zero = 0;
    cudnnStatus_t status = make_tensor(X, x, shape->bf16, &plan->x);
    if (status == CUDNN_STATUS_SUCCESS) {
        status = make_tensor(W, w, shape->bf16, &plan->w);
    }
    if (status == CUDNN_STATUS_SUCCESS) {
        status = make_tensor(Y, y, shape->bf16, &plan->y);
    }
    if (status == CUDNN_STATUS_SUCCESS) {
        status = make_shape(shape->kernel, &plan->shape);
    }
    if (status == CUDNN_STATUS_SUCCESS) {
        status = make(kinds[kind].descriptor, &plan->operation);
    }
    set_descriptor(&status, plan->operation, kinds[kind].x, plan->x);
    set_descriptor(&status, plan->operation, kinds[kind].w, plan->w);
    set_descriptor(&status, plan->operation, kinds[kind].y, plan->y);
    set_descriptor(&status, plan->operation, kinds[kind].shape, plan->shape);
    set(&status, plan->operation, kinds[kind].alpha, CUDNN_TYPE_FLOAT, 1, &one);
    set(&status, plan->operation, kinds[kind].beta, CUDNN_TYPE_FLOAT, 1, &zero);
    finish(&status, plan->operation);
    if (status == CUDNN_STATUS_SUCCESS) {
        status = make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &plan->graph);
    }
    set_descriptor(&status, plan->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, plan->operation);
    if (library->handle) {
        set(&status, plan->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
            &library->handle);
    }
    finish(&status, plan->graph);
    return status;
}

// --- From graph to plan

// Configurations of the graph, best first; what is announced may not all come.
static cudnnStatus_t get_configs(const conv_library_t *library, conv_plan_t *plan,
                                 cudnnBackendHeurMode_t mode, int64_t *count) {
    destroy(&plan->heuristics);
    cudnnStatus_t status = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &plan->heuristics);
    set_descriptor(&status, plan->heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, plan->graph);
    set(&status, plan->heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (library->described) {
        set_descriptor(&status, plan->heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
                       library->described);
    }
    finish(&status, plan->heuristics);
    for (int i = 0; i < CONFIGS_MAX && status == CUDNN_STATUS_SUCCESS; i++) {
        if (!plan->configs[i]) {
            status = make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &plan->configs[i]);
        }
    }
    if (status == CUDNN_STATUS_SUCCESS) {
        status = cudnnBackendGetAttribute(plan->heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, CONFIGS_MAX, count,
                                          plan->configs);
    }
    return status;
}

// True if the engine's results do not depend on chance, and floats stay floats.
static cudnnStatus_t is_allowed_engine(cudnnBackendDescriptor_t engine, bool bf16, bool *allowed) {
    cudnnBackendNumericalNote_t notes[NOTES_MAX];
    int64_t count = 0;
    cudnnStatus_t status =
        cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                 CUDNN_TYPE_NUMERICAL_NOTE, NOTES_MAX, &count, notes);
    *allowed = status == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; i < count && i < NOTES_MAX && *allowed; i++) {
        bool rounds = notes[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE ||
                      notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS;
        *allowed = notes[i] != CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC && (bf16 || !rounds);
    }
    return status;
}

static cudnnStatus_t is_allowed(cudnnBackendDescriptor_t config, bool bf16, bool *allowed) {
    cudnnBackendDescriptor_t engine = NULL;
    int64_t got;
    cudnnStatus_t status = make(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine);
    if (status == CUDNN_STATUS_SUCCESS) {
        status = cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &got, &engine);
    }
    *allowed = false;
    if (status == CUDNN_STATUS_SUCCESS) {
        status = is_allowed_engine(engine, bf16, allowed);
    }
    destroy(&engine);
    return status;
}

static cudnnStatus_t make_plan(const conv_library_t *library, conv_plan_t *plan,
                               cudnnBackendDescriptor_t config) {
    destroy(&plan->plan);
    cudnnStatus_t status = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan->plan);
    set_descriptor(&status, plan->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    if (library->described) {
        set_descriptor(&status, plan->plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                       library->described);
    } else {
        set(&status, plan->plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
            &library->handle);
    }
    finish(&status, plan->plan);
    int64_t got;
    if (status == CUDNN_STATUS_SUCCESS) {
        status = cudnnBackendGetAttribute(plan->plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                          CUDNN_TYPE_INT64, 1, &got, &plan->workspace);
    }
    return status;
}

// The first allowed configuration that can be made; a configuration that cannot is no error.
static cudnnStatus_t choose(const conv_library_t *library, conv_plan_t *plan,
                            cudnnBackendHeurMode_t mode, bool bf16, bool *chosen) {
    int64_t count = 0;
    cudnnStatus_t status = get_configs(library, plan, mode, &count);
    for (int64_t i = 0; i < count && !*chosen && status == CUDNN_STATUS_SUCCESS; i++) {
        bool allowed;
        status = is_allowed(plan->configs[i], bf16, &allowed);
        *chosen = allowed && make_plan(library, plan, plan->configs[i]) == CUDNN_STATUS_SUCCESS;
        if (*chosen) {
            plan->config = plan->configs[i];
            plan->configs[i] = NULL;
        }
    }
    return status;
}

// The engine of that index as it comes, if it can be used.
static bool try_engine(const conv_library_t *library, conv_plan_t *plan, int64_t index, bool bf16) {
    destroy(&plan->config);
    destroy(&plan->engine);
    bool allowed = false;
    cudnnStatus_t status = make(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &plan->engine);
    set_descriptor(&status, plan->engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, plan->graph);
    set(&status, plan->engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &index);
    if (library->described) {
        set_descriptor(&status, plan->engine, CUDNN_ATTR_ENGINE_DEVICEPROP, library->described);
    }
    finish(&status, plan->engine);
    if (status == CUDNN_STATUS_SUCCESS) {
        status = is_allowed_engine(plan->engine, bf16, &allowed);
    }
    if (status != CUDNN_STATUS_SUCCESS || !allowed) {
        return false;
    }
    status = make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &plan->config);
    set_descriptor(&status, plan->config, CUDNN_ATTR_ENGINECFG_ENGINE, plan->engine);
    finish(&status, plan->config);
    return status == CUDNN_STATUS_SUCCESS &&
           make_plan(library, plan, plan->config) == CUDNN_STATUS_SUCCESS;
}

// Heuristics look for speed: in float they may name engines with TF32 alone, where slower ones
// would do. So then all engines are gone through, in the order of their indices.
static cudnnStatus_t choose_any(const conv_library_t *library, conv_plan_t *plan, bool bf16,
                                bool *chosen) {
    int64_t count = 0, got;
    cudnnStatus_t status =
        cudnnBackendGetAttribute(plan->graph, CUDNN_ATTR_OPERATIONGRAPH_ENGINE_GLOBAL_COUNT,
                                 CUDNN_TYPE_INT64, 1, &got, &count);
    for (int64_t i = 0; i < count && !*chosen && status == CUDNN_STATUS_SUCCESS; i++) {
        *chosen = try_engine(library, plan, i, bf16);
    }
    return status;
}

static err_code_t fill(const conv_library_t *library, const conv_shape_t *shape, conv_kind_t kind,
                       conv_plan_t *plan, err_t *err) {
    static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    cudnnStatus_t status = make_graph(library, shape, kind, plan);
    bool chosen = false;
    for (int i = 0; i < 2 && !chosen && status == CUDNN_STATUS_SUCCESS; i++) {
        status = choose(library, plan, modes[i], shape->bf16, &chosen);
    }
    if (!chosen && status == CUDNN_STATUS_SUCCESS) {
        status = choose_any(library, plan, shape->bf16, &chosen);
    }
    err_code_t code = complain(status, kinds[kind].word, err);
    if (!code && !chosen) {
        code = err_set(err, ERR_UNSUPPORTED, "cuDNN: %s: no configuration can be used",
                       kinds[kind].word);
    }
    if (code) {
        err_context(err, "convolution %dx%d of %d to %d channels, images %dx%d, batch %d, %s",
                    shape->kernel, shape->kernel, shape->ins, shape->outs, shape->height,
                    shape->width, shape->count, shape->bf16 ? "bf16" : "fp32");
    }
    return code;
}

err_code_t conv_plan_make(const conv_library_t *library, const conv_shape_t *shape,
                          conv_kind_t kind, conv_plan_t **plan, err_t *err) {
    *plan = calloc(1, sizeof **plan);
    if (!*plan) {
        return err_set(err, ERR_NO_MEMORY, "no memory for a plan of a convolution");
    }
    err_code_t code = fill(library, shape, kind, *plan, err);
    for (int i = 0; i < CONFIGS_MAX; i++) {
        destroy(&(*plan)->configs[i]);
    }
    destroy(&(*plan)->heuristics);
    if (code) {
        conv_plan_destroy(plan);
    }
    return code;
}

void conv_plan_destroy(conv_plan_t **plan) {
    if (*plan) {
        conv_plan_t *at = *plan;
        cudnnBackendDescriptor_t *all[] = {&at->pack,  &at->plan,      &at->config,    &at->engine,
                                           &at->graph, &at->operation, &at->shape,     &at->x,
                                           &at->w,     &at->y,         &at->heuristics};
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            destroy(all[i]);
        }
        free(at);
        *plan = NULL;
    }
}

size_t conv_plan_workspace(const conv_plan_t *plan) {
    return (size_t)plan->workspace;
}

// --- Running

err_code_t conv_plan_bind(conv_plan_t *plan, void *x, void *w, void *y, void *workspace,
                          err_t *err) {
    const int64_t names[3] = {X, W, Y};
    void *pointers[3] = {x, w, y};
    destroy(&plan->pack);
    cudnnStatus_t status = make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &plan->pack);
    set(&status, plan->pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, names);
    set(&status, plan->pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3,
        pointers);
    set(&status, plan->pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    finish(&status, plan->pack);
    return complain(status, "binding buffers", err);
}

err_code_t conv_plan_run(const conv_library_t *library, const conv_plan_t *plan, err_t *err) {
    return complain(cudnnBackendExecute(library->handle, plan->plan, plan->pack), "a convolution",
                    err);
}
