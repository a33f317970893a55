// A convolution's four operations: ours by Winograd's algorithm, or oneDNN's.
#include "nn/cpu/cpu_impl.h"
#include "nn/cpu/memory.h"
#include "nn/cpu/parallel.h"

#include <math.h>
#include <string.h>

enum { KEPT_BYTES = 256 << 10 };

static wino_t wino_of(const cpu_t *cpu, const stage_t *stage, int count) {
    return (wino_t){.kernels = cpu->kernels,
                    .threads = cpu->plan->threads,
                    .shape = cpu_conv_shape(cpu, stage, count, false)};
}

// Transformed weights of training lie in front of what the transforms need.
static uint64_t wino_bytes(const wino_t *wino) {
    return (uint64_t)(wino_weight_count(wino) + wino_scratch_count(wino)) * sizeof(float);
}

err_code_t cpu_conv_make(cpu_t *cpu, set_t *set, stage_t *stage, conv_kind_t kind, err_t *err) {
    if (stage->wino) {
        wino_t wino = wino_of(cpu, stage, set->count);
        return cpu_scratch(cpu, wino_bytes(&wino), err);
    }
    conv_call_t *call;
    return cpu_set_call(cpu, set, stage, kind, &call, err);
}

// --- Ours

typedef struct {
    const cpu_t *cpu;
    const stage_t *stage;
    chain_t chain;
} bias_t;

static void bias_sample(void *arg, int64_t sample, int thread) {
    (void)thread;
    const bias_t *bias = arg;
    int stored = bias->chain.padded;
    double *sums = bias->cpu->sums + sample * 2 * stored;
    part_t part = {(int)sample, 0, bias->chain.height, 0, stored / bias->cpu->kernels->lanes};
    bias->cpu->kernels->moments(&bias->chain, part, bias->cpu->pivot, sums, sums + stored);
}

// ∂bias = Σ ∂y, samples in their order.
static void bias_gradient(const cpu_t *cpu, const stage_t *stage, int count) {
    const values_t *out = &cpu->values[stage->index + 1];
    bias_t bias = {.cpu = cpu,
                   .stage = stage,
                   .chain = {.height = out->shape.height,
                             .width = out->shape.width,
                             .padded = out->stored,
                             .blocked = true,
                             .x = out->data}};
    memset(cpu->pivot, 0, (size_t)out->stored * sizeof *cpu->pivot);
    parallel_for(cpu->plan->threads, count, bias_sample, &bias);
    float *gradient = cpu_part(cpu, stage, NN_GRADIENT) + stage->second;
    for (int c = 0; c < out->stored; c++) {
        double sum = 0;
        for (int64_t n = 0; n < count; n++) {
            sum += cpu->sums[n * 2 * out->stored + c];
        }
        gradient[c] = (float)sum;
    }
}

static void run_wino(cpu_t *cpu, stage_t *stage, int count, conv_kind_t kind) {
    const values_t *in = &cpu->values[stage->index], *out = &cpu->values[stage->index + 1];
    wino_t wino = wino_of(cpu, stage, count);
    const float *weights = cpu_part(cpu, stage, NN_PARAM);
    float *u = cpu->scratch, *scratch = u + wino_weight_count(&wino);
    switch (kind) {
    case CONV_TRAIN:
        wino_transform(&wino, weights, NULL, false, u);
        wino_forward(&wino, in->data, u, stage->bias ? weights + stage->second : NULL, -INFINITY,
                     out->data, scratch);
        break;
    case CONV_DATA:
        wino_transform(&wino, weights, NULL, true, u);
        wino_data(&wino, out->data, u, in->data, scratch);
        break;
    case CONV_WEIGHTS:
        wino_gradient(&wino, in->data, out->data, cpu_part(cpu, stage, NN_GRADIENT), scratch);
        if (stage->bias) {
            bias_gradient(cpu, stage, count);
        }
        break;
    default:
        ERR_ASSERT(!"prediction has a function of its own");
    }
}

// --- Either

err_code_t cpu_conv(cpu_t *cpu, set_t *set, stage_t *stage, conv_kind_t kind, err_t *err) {
    err_code_t code = cpu_conv_make(cpu, set, stage, kind, err);
    if (!code && stage->wino) {
        run_wino(cpu, stage, set->count, kind);
        return ERR_OK;
    }
    conv_call_t *call = NULL;
    if (!code) {
        code = cpu_set_call(cpu, set, stage, kind, &call, err);
    }
    if (!code && kind != CONV_WEIGHTS) {
        code = weights_refresh(&cpu->device, stage->weights, err);
    }
    return code ? code : conv_call_run(&cpu->device, call, cpu->scratch, err);
}

// --- Prediction

// Transformed weights that stay in the core's cache are kept, others made as they are needed.
bool cpu_conv_keeps(const cpu_t *cpu, const stage_t *stage) {
    wino_t wino = wino_of(cpu, stage, 1);
    return wino_weight_count(&wino) * (int64_t)sizeof(float) <= KEPT_BYTES;
}

int64_t cpu_conv_infer_scratch(const cpu_t *cpu, const stage_t *stage, int count) {
    wino_t wino = wino_of(cpu, stage, count);
    int64_t floats = !stage->wino                 ? 0
                     : cpu_conv_keeps(cpu, stage) ? wino_forward_count(&wino)
                                                  : wino_infer_count(&wino);
    return floats * (int64_t)sizeof(float);
}

int64_t cpu_conv_infer_weights(const cpu_t *cpu, const stage_t *stage) {
    conv_shape_t shape = cpu_conv_shape(cpu, stage, 1, true);
    bool transformed = stage->wino && cpu_conv_keeps(cpu, stage);
    int64_t area = transformed ? 36 : shape.kernel * shape.kernel;
    return shape.in * area * shape.out * (cpu->bf16 ? 2 : 4);
}

err_code_t cpu_conv_infer_make(cpu_t *cpu, stage_t *stage, int count, err_t *err) {
    if (stage->wino) {
        return ERR_OK;
    }
    set_t *set;
    conv_call_t *call;
    err_code_t code = cpu_infer_set(cpu, count, &set, err);
    return code ? code : cpu_set_call(cpu, set, stage, CONV_INFER, &call, err);
}

err_code_t cpu_conv_infer(cpu_t *cpu, stage_t *stage, int count, void *from, void *to, err_t *err) {
    if (stage->wino) {
        wino_t wino = wino_of(cpu, stage, count);
        float floor = stage->infer_relu ? 0 : -INFINITY;
        if (stage->infer_u) {
            wino_forward(&wino, from, stage->infer_u, stage->folded_bias, floor, to, cpu->scratch);
        } else {
            wino_infer(&wino, from, cpu_part(cpu, stage, NN_PARAM), stage->infer_scale,
                       stage->folded_bias, floor, to, cpu->scratch);
        }
        return ERR_OK;
    }
    set_t *set;
    conv_call_t *call = NULL;
    err_code_t code = cpu_infer_set(cpu, count, &set, err);
    if (!code) {
        code = cpu_set_call(cpu, set, stage, CONV_INFER, &call, err);
    }
    if (!code && !cpu->shares) { // those that are shared are up to date, and only read
        code = weights_refresh(&cpu->device, stage->folded, err);
    }
    if (!code) {
        code = conv_call_place(call, from, to, err);
    }
    return code ? code : conv_call_run(&cpu->device, call, cpu->scratch, err);
}

// --- Folding

static err_code_t open_plain(cpu_t *cpu, stage_t *stage, const conv_shape_t *shape, err_t *err) {
    uint64_t count = (uint64_t)shape->out * (uint64_t)shape->in * (uint64_t)shape->kernel *
                     (uint64_t)shape->kernel;
    stage->folded_data = memory_new(count * sizeof(float), err);
    stage->folded = memory_new(sizeof *stage->folded, err);
    if (!stage->folded_data || !stage->folded) {
        return ERR_NO_MEMORY;
    }
    err_code_t code = weights_open(&cpu->device, shape, NULL, stage->folded, err);
    return code ? code : weights_place(stage->folded, stage->folded_data, err);
}

void cpu_conv_unfold(stage_t *stage) {
    if (stage->folded) {
        weights_close(stage->folded);
    }
    memory_free(stage->folded);
    memory_free(stage->folded_data);
    memory_free(stage->infer_u);
    memory_free(stage->infer_scale);
    memory_free(stage->folded_bias);
    stage->folded = NULL;
    stage->folded_data = stage->infer_u = stage->infer_scale = stage->folded_bias = NULL;
}

static err_code_t open_folded(cpu_t *cpu, stage_t *stage, const conv_shape_t *shape, err_t *err) {
    err_code_t code = ERR_OK;
    stage->folded_bias = memory_new((uint64_t)shape->out * sizeof(float), err);
    if (stage->wino && cpu_conv_keeps(cpu, stage)) {
        wino_t wino = wino_of(cpu, stage, 1);
        stage->infer_u = memory_new((uint64_t)wino_weight_count(&wino) * sizeof(float), err);
    } else if (stage->wino) {
        stage->infer_scale = memory_new((uint64_t)shape->out * sizeof(float), err);
    } else {
        code = open_plain(cpu, stage, shape, err);
    }
    bool made = !stage->wino || stage->infer_u || stage->infer_scale;
    if (code == ERR_OK && (!stage->folded_bias || !made)) {
        code = ERR_NO_MEMORY;
    }
    if (code) {
        cpu_conv_unfold(stage);
    }
    return code;
}

// scale: one number an output.
static err_code_t fold_weights(cpu_t *cpu, stage_t *stage, const conv_shape_t *shape,
                               const float *scale, err_t *err) {
    if (stage->infer_scale) {
        memcpy(stage->infer_scale, scale, (size_t)shape->out * sizeof *scale);
        return ERR_OK;
    }
    if (stage->wino) {
        wino_t wino = wino_of(cpu, stage, 1);
        wino_transform(&wino, cpu_part(cpu, stage, NN_PARAM), scale, false, stage->infer_u);
        return ERR_OK;
    }
    err_code_t code = cpu_weights_plain(cpu, stage, stage->folded_data, err);
    int64_t row = (int64_t)shape->in * shape->kernel * shape->kernel;
    for (int64_t i = 0; i < shape->out * row && !code; i++) {
        stage->folded_data[i] *= scale[i / row];
    }
    stage->folded->version++;
    return code;
}

err_code_t cpu_conv_fold(cpu_t *cpu, stage_t *stage, err_t *err) {
    conv_shape_t shape = cpu_conv_shape(cpu, stage, 1, true);
    if (!stage->folded_bias) {
        err_code_t code = open_folded(cpu, stage, &shape, err);
        if (code) {
            return code;
        }
    }
    const float *bias = stage->bias ? cpu_part(cpu, stage, NN_PARAM) + stage->second : NULL;
    float *scales = cpu->pivot;
    for (int o = 0; o < shape.out; o++) {
        double scale = 1, shift = 0;
        if (stage->folds) {
            cpu_norm_fixed(cpu, &stage[1], o, &scale, &shift);
        }
        scales[o] = (float)scale;
        stage->folded_bias[o] = (float)((bias ? (double)bias[o] : 0) * scale + shift);
    }
    return fold_weights(cpu, stage, &shape, scales, err);
}
