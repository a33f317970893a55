// What is made for one batch size: plans, their workspace, and the recorded graphs.
#include "nn/cuda/cuda_impl.h"

#include <string.h>

// --- Plans

static err_code_t plan_conv(cuda_t *cuda, set_t *set, const stage_t *stage, err_t *err) {
    const values_t *from = &cuda->values[stage->index], *to = from + 1;
    conv_shape_t shape = {.count = set->count,
                          .height = from->shape.height,
                          .width = from->shape.width,
                          .ins = from->stored,
                          .outs = to->stored,
                          .kernel = cuda->plan->spec.layers[stage->layer].kernel,
                          .bf16 = from->bf16};
    err_code_t code = ERR_OK;
    for (int kind = CONV_FORWARD; kind < (set->training ? CONV_KINDS : CONV_DATA) && !code;
         kind++) {
        if (kind != CONV_DATA || stage->passes) {
            code = conv_plan_make(cuda->convs, &shape, (conv_kind_t)kind,
                                  &set->conv[stage->index][kind], err);
        }
    }
    return code;
}

// The stage's gradients in front and behind: they take turns, from the last stage on.
static void *gradient_behind(const cuda_t *cuda, const stage_t *stage) {
    return cuda->gradient[(cuda->stage_count - 1 - stage->index) % 2];
}

static void *gradient_before(const cuda_t *cuda, const stage_t *stage) {
    return cuda->gradient[(cuda->stage_count - stage->index) % 2];
}

static err_code_t plan_dense(cuda_t *cuda, set_t *set, const stage_t *stage, err_t *err) {
    const values_t *from = &cuda->values[stage->index], *to = from + 1;
    dense_shape_t shape = {.count = set->count,
                           .ins = from->shape.channels,
                           .x_stored = from->stored,
                           .outs = to->shape.channels,
                           .y_stored = to->stored,
                           .exact = !cuda->bf16};
    float *weight = cuda_part(cuda, NN_PARAM, stage->tensor);
    float *bias = stage->bias ? cuda_part(cuda, NN_PARAM, stage->tensor + 1) : NULL;
    dense_plan_t **plans = set->dense[stage->index];
    err_code_t code = dense_plan_make(cuda->denses, &shape, DENSE_FORWARD, from->data, weight,
                                      to->data, bias, &plans[DENSE_FORWARD], err);
    if (!code && stage->passes) {
        code = dense_plan_make(cuda->denses, &shape, DENSE_DATA, gradient_before(cuda, stage),
                               weight, gradient_behind(cuda, stage), NULL, &plans[DENSE_DATA], err);
    }
    if (!code) {
        code = dense_plan_make(cuda->denses, &shape, DENSE_FILTER, from->data,
                               cuda_part(cuda, NN_GRADIENT, stage->tensor),
                               gradient_behind(cuda, stage), NULL, &plans[DENSE_FILTER], err);
    }
    return code;
}

static err_code_t bind_conv(cuda_t *cuda, set_t *set, const stage_t *stage, err_t *err) {
    const values_t *from = &cuda->values[stage->index], *to = from + 1;
    conv_plan_t **plans = set->conv[stage->index];
    void *weights = cuda_weights(cuda, stage->tensor);
    err_code_t code =
        conv_plan_bind(plans[CONV_FORWARD], from->data, weights, to->data, set->workspace, err);
    if (!code && plans[CONV_DATA]) {
        code = conv_plan_bind(plans[CONV_DATA], gradient_before(cuda, stage), weights,
                              gradient_behind(cuda, stage), set->workspace, err);
    }
    if (!code && plans[CONV_FILTER]) {
        void *filter =
            cuda->bf16 ? cuda->filter : (void *)cuda_part(cuda, NN_GRADIENT, stage->tensor);
        code = conv_plan_bind(plans[CONV_FILTER], from->data, filter, gradient_behind(cuda, stage),
                              set->workspace, err);
    }
    return code;
}

static err_code_t take_workspace(set_t *set, err_t *err) {
    size_t size = 16;
    for (int i = 0; i < NN_LAYERS_MAX * CONV_KINDS; i++) {
        const conv_plan_t *plan = set->conv[i / CONV_KINDS][i % CONV_KINDS];
        size_t more = plan ? conv_plan_workspace(plan) : 0;
        size = more > size ? more : size;
    }
    return device_check(cudaMalloc(&set->workspace, size), "cuDNN's workspace", err);
}

static err_code_t fill(cuda_t *cuda, set_t *set, err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = 0; i < cuda->stage_count && !code; i++) {
        const stage_t *stage = &cuda->stages[i];
        if (stage->kind == STAGE_CONV) {
            code = plan_conv(cuda, set, stage, err);
        } else if (stage->kind == STAGE_DENSE && set->training) {
            code = plan_dense(cuda, set, stage, err);
        }
    }
    if (!code) {
        code = take_workspace(set, err);
    }
    for (int i = 0; i < cuda->stage_count && !code; i++) {
        if (cuda->stages[i].kind == STAGE_CONV) {
            code = bind_conv(cuda, set, &cuda->stages[i], err);
        }
    }
    return code;
}

// --- Sets

static void close_set(set_t *set) {
    for (int i = 0; i < 2; i++) {
        if (set->graphs[i]) {
            cudaGraphExecDestroy(set->graphs[i]);
        }
    }
    for (int i = 0; i < NN_LAYERS_MAX; i++) {
        for (int kind = 0; kind < 3; kind++) {
            conv_plan_destroy(&set->conv[i][kind]);
            dense_plan_destroy(&set->dense[i][kind]);
        }
    }
    cudaFree(set->workspace);
    memset(set, 0, sizeof *set);
}

void cuda_sets_close(cuda_t *cuda) {
    for (int i = 0; i < CUDA_SETS; i++) {
        close_set(&cuda->sets[i]);
    }
    for (int i = 0; i < CUDA_BUCKETS; i++) {
        close_set(&cuda->buckets[i]);
    }
}

err_code_t cuda_set_find(cuda_t *cuda, bool training, int count, set_t **set, err_t *err) {
    set_t *sets = training ? cuda->sets : cuda->buckets, *oldest = sets;
    int room = training ? CUDA_SETS : CUDA_BUCKETS;
    for (int i = 0; i < room; i++) {
        if (sets[i].count == count) {
            sets[i].used = ++cuda->clock;
            *set = &sets[i];
            return ERR_OK;
        }
        oldest = sets[i].used < oldest->used ? &sets[i] : oldest;
    }
    close_set(oldest);
    *oldest = (set_t){.count = count, .training = training, .used = ++cuda->clock};
    err_code_t code = fill(cuda, oldest, err);
    if (code) {
        close_set(oldest);
    }
    *set = oldest;
    return code;
}

// --- Graphs

static err_code_t capture(cuda_t *cuda, set_t *set, int index, cuda_record_t record, err_t *err) {
    cudaGraph_t graph = NULL;
    err_code_t code = device_check(
        cudaStreamBeginCapture(cuda->stream, cudaStreamCaptureModeThreadLocal), "recording", err);
    if (code) {
        return code;
    }
    code = record(cuda, set, err);
    cudaError_t ended = cudaStreamEndCapture(cuda->stream, &graph);
    if (!code) {
        code = device_check(ended, "recording", err);
    }
    if (!code) {
        code = device_check(cudaGraphInstantiate(&set->graphs[index], graph, 0), "recording", err);
    }
    if (graph) {
        cudaGraphDestroy(graph);
    }
    return code;
}

// Libraries load their kernels when they are first used, which a capture would not allow: so the
// first time all runs as it is queued.
err_code_t cuda_set_run(cuda_t *cuda, set_t *set, int index, cuda_record_t record, err_t *err) {
    if (!set->warm) {
        return record(cuda, set, err);
    }
    err_code_t code = set->graphs[index] ? ERR_OK : capture(cuda, set, index, record, err);
    return code ? code
                : device_check(cudaGraphLaunch(set->graphs[index], cuda->stream), "launching", err);
}
