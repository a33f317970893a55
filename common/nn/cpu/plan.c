// From the layer list to stages and their values.
#include "nn/cpu/cpu_impl.h"

#include <stdlib.h>
#include <string.h>

static bool has_parameters(const stage_t *stage) {
    return stage->kind == STAGE_CONV || stage->kind == STAGE_DENSE ||
           (stage->kind == STAGE_CHAIN && stage->links.norm.layer >= 0);
}

// Takes as many layers as a chain can hold in its order.
static int plan_chain(const nn_spec_t *spec, int first, stage_t *stage) {
    links_t *links = &stage->links;
    int i = first, end = spec->layer_count - 1; // the head is no stage
    links->norm.layer = links->drop = -1;
    if (i < end && spec->layers[i].kind == NN_BATCH_NORM) {
        links->norm.layer = i++;
    }
    if (i < end && spec->layers[i].kind == NN_RELU) {
        links->relu = true;
        i++;
    }
    if (i < end && spec->layers[i].kind == NN_MAX_POOL) {
        links->pool = true;
        i++;
    }
    if (i < end && spec->layers[i].kind == NN_DROPOUT) {
        links->drop = i++;
    }
    ERR_ASSERT(i > first);
    return i;
}

static int plan_stage(const nn_spec_t *spec, int layer, stage_t *stage) {
    stage->layer = layer;
    stage->bias = spec->layers[layer].bias;
    switch (spec->layers[layer].kind) {
    case NN_CONV:
        stage->kind = STAGE_CONV;
        return layer + 1;
    case NN_DENSE:
        stage->kind = STAGE_DENSE;
        return layer + 1;
    case NN_FLATTEN:
        stage->kind = STAGE_FLATTEN;
        return layer + 1;
    default:
        stage->kind = STAGE_CHAIN;
        return plan_chain(spec, layer, stage);
    }
}

static void plan_values(const cpu_t *cpu, nn_shape_t shape, bool flat, values_t *values) {
    int lanes = cpu->kernels->lanes;
    values->shape = shape;
    values->flat = flat;
    values->bf16 = cpu->bf16 && !flat;
    values->layout = flat || cpu->bf16 ? LAYOUT_LAST
                     : lanes == 16     ? LAYOUT_BLOCKED_16
                                       : LAYOUT_BLOCKED_8;
    values->stored = cpu_round_up(shape.channels, lanes);
    values->sample = (int64_t)shape.height * shape.width * values->stored;
}

// A convolution reads the image itself: with 16 lanes oneDNN has kernels for one to three planes
// (with 8 its weight gradient has plain loops only: a block with empty channels is far faster); in
// bfloat16 pixels have an even number of channels.
static void plan_input(const cpu_t *cpu, values_t *values) {
    nn_shape_t shape = values->shape;
    bool planes = cpu->kernels->lanes == 16 && shape.channels <= 3;
    if (cpu->stages[0].kind != STAGE_CONV || (!cpu->bf16 && !planes)) {
        return;
    }
    values->layout = cpu->bf16 ? LAYOUT_LAST : LAYOUT_PLANES;
    values->stored = cpu->bf16 ? cpu_round_up(shape.channels, 2) : shape.channels;
    values->sample = (int64_t)shape.height * shape.width * values->stored;
}

// What prediction makes of a convolution and the chain behind it.
static void plan_folding(stage_t *conv, stage_t *chain) {
    links_t *links = &chain->links;
    conv->folds = links->norm.layer >= 0;
    conv->infer_relu = links->relu;
    chain->absorbed = !links->pool;
}

void cpu_plan(cpu_t *cpu) {
    const nn_spec_t *spec = &cpu->plan->spec;
    bool flat = false, passes = false;
    plan_values(cpu, (nn_shape_t){spec->height, spec->width, spec->channels}, false,
                &cpu->values[0]);
    int layer = 0, tensor = 0;
    while (layer < spec->layer_count - 1) {
        int index = cpu->stage_count++;
        stage_t *stage = &cpu->stages[index];
        stage->index = index;
        layer = plan_stage(spec, layer, stage);
        while (tensor < cpu->plan->tensor_count &&
               cpu->plan->tensors[tensor].layer < stage->layer) {
            tensor++;
        }
        stage->tensor = tensor;
        stage->passes = passes;
        passes = passes || has_parameters(stage);
        flat = flat || stage->kind == STAGE_FLATTEN;
        plan_values(cpu, cpu->plan->shapes[layer - 1], flat, &cpu->values[index + 1]);
        if (index > 0 && stage->kind == STAGE_CHAIN && stage[-1].kind == STAGE_CONV) {
            plan_folding(&stage[-1], stage);
        }
    }
    plan_input(cpu, &cpu->values[0]);
    for (int i = 0; i < cpu->stage_count; i++) {
        stage_t *stage = &cpu->stages[i];
        if (stage->kind == STAGE_CONV) {
            conv_shape_t shape = cpu_conv_shape(cpu, stage, 1, false);
            stage->wino = wino_pays(&shape);
        }
    }
}

conv_shape_t cpu_conv_shape(const cpu_t *cpu, const stage_t *stage, int count, bool infer) {
    const values_t *in = &cpu->values[stage->index], *out = &cpu->values[stage->index + 1];
    return (conv_shape_t){.batch = count,
                          .height = in->shape.height,
                          .width = in->shape.width,
                          .kernel = cpu->plan->spec.layers[stage->layer].kernel,
                          .in = in->stored,
                          .out = out->stored,
                          .bias = stage->bias || (infer && stage->folds),
                          .relu = infer && stage->infer_relu,
                          .bf16 = cpu->bf16,
                          .in_layout = in->layout,
                          .out_layout = out->layout};
}

// --- An estimate; for training: stored channels at their widest, Winograd's transforms as scratch

static int64_t volume(nn_shape_t shape) {
    return (int64_t)shape.height * shape.width * cpu_round_up(shape.channels, 16);
}

static int64_t parameter_count(const nn_plan_t *plan) {
    int64_t count = 0;
    for (int i = 0; i < plan->tensor_count; i++) {
        count += plan->tensors[i].count;
    }
    return count;
}

static uint64_t training_memory(const nn_plan_t *plan) {
    bool bf16 = strcmp(plan->precision, "bf16") == 0;
    nn_shape_t in = {plan->spec.height, plan->spec.width, plan->spec.channels};
    int64_t values = volume(in), scratch = 0;
    for (int i = 0; i < plan->spec.layer_count - 1; i++) {
        nn_kind_t kind = plan->spec.layers[i].kind;
        nn_shape_t out = plan->shapes[i];
        bool fused = kind == NN_DROPOUT || kind == NN_RELU || kind == NN_MAX_POOL;
        values += fused ? 0 : volume(out);
        if (kind == NN_CONV && !bf16) { // 36 numbers for 16 on both sides
            int64_t transformed = 9 * (volume(in) + volume(out)) / 4;
            scratch = transformed > scratch ? transformed : scratch;
        }
        in = out;
    }
    int64_t copies = 4 + 2 + 5;
    return sizeof(cpu_t) + (uint64_t)(plan->max_batch * (values + scratch)) * 4 +
           (uint64_t)(copies * parameter_count(plan)) * 4;
}

// The weights as they are set and as they are packed, and the workspace.
static uint64_t prediction_memory(const nn_plan_t *plan) {
    cpu_t *cpu = mem_zero(1, sizeof *cpu);
    cpu_open_plan(cpu, plan);
    uint64_t bytes = sizeof *cpu + (uint64_t)parameter_count(plan) * 4;
    bytes += (uint64_t)cpu_infer_memory(cpu);
    free(cpu);
    return bytes;
}

uint64_t cpu_memory(const nn_plan_t *plan) {
    return plan->training ? training_memory(plan) : prediction_memory(plan);
}
