// Parameters, moments and gradients: one array a part, in it each stage's trained parameters as the
// stage's operations want them. Reading and writing convert to the canonical form, which moves
// numbers but never changes them.
#include "nn/cpu/cpu_impl.h"
#include "nn/cpu/memory.h"

#include <stdlib.h>
#include <string.h>

enum { SLICE_ALIGN = 16 }; // floats

static int64_t align_slice(int64_t count) {
    return (count + SLICE_ALIGN - 1) / SLICE_ALIGN * SLICE_ALIGN;
}

static int64_t plain_count(const cpu_t *cpu, const stage_t *stage) {
    conv_shape_t shape = cpu_conv_shape(cpu, stage, 1, false);
    return (int64_t)shape.out * shape.in * shape.kernel * shape.kernel;
}

// --- Making

// The master copy lies as the weight gradient does, so that Adam is one loop over all.
static err_code_t open_master(cpu_t *cpu, stage_t *stage, err_t *err) {
    conv_shape_t shape = cpu_conv_shape(cpu, stage, cpu->plan->max_batch, false);
    stage->weights = memory_new(sizeof *stage->weights, err);
    if (!stage->weights) {
        return ERR_NO_MEMORY;
    }
    if (stage->wino) {
        dnnl_memory_desc_t blocked;
        err_code_t code = weights_blocked(&shape, &blocked, err);
        return code ? code : weights_open(&cpu->device, &shape, &blocked, stage->weights, err);
    }
    if (!cpu->plan->training) {
        return weights_open(&cpu->device, &shape, NULL, stage->weights, err);
    }
    conv_op_t op = {0};
    err_code_t code = conv_op_new(&cpu->device, &shape, CONV_WEIGHTS, NULL, &op, err);
    if (!code) {
        code = weights_open(&cpu->device, &shape, &op.weights, stage->weights, err);
    }
    conv_op_free(&op);
    return code;
}

static void close_master(stage_t *stage) {
    if (stage->weights) {
        weights_close(stage->weights);
        memory_free(stage->weights);
        stage->weights = NULL;
    }
}

static void measure(const cpu_t *cpu, stage_t *stage) {
    const values_t *in = &cpu->values[stage->index], *out = &cpu->values[stage->index + 1];
    int64_t first = 0, second = 0;
    if (stage->kind == STAGE_CONV) {
        first = (int64_t)(weights_bytes(stage->weights) / sizeof(float));
        second = stage->bias ? out->stored : 0;
    } else if (stage->kind == STAGE_DENSE) {
        first = (int64_t)out->shape.channels * in->stored;
        second = stage->bias ? out->stored : 0;
    } else if (stage->kind == STAGE_CHAIN && stage->links.norm.layer >= 0) {
        first = second = in->stored;
    }
    stage->second = align_slice(first);
    stage->count = stage->second + align_slice(second);
}

static err_code_t open_norm(cpu_t *cpu, norm_t *norm, int stored, err_t *err) {
    (void)cpu;
    size_t size = (size_t)stored;
    norm->mean = memory_new(4 * size * sizeof(double), err);
    norm->moving[0] = memory_new(4 * size * sizeof(float), err);
    if (!norm->mean || !norm->moving[0]) {
        return ERR_NO_MEMORY;
    }
    norm->variance = norm->mean + size;
    norm->mean_sum = norm->mean + 2 * size;
    norm->second_sum = norm->mean + 3 * size;
    norm->moving[1] = norm->moving[0] + size;
    norm->estimate[0] = norm->moving[0] + 2 * size;
    norm->estimate[1] = norm->moving[0] + 3 * size;
    return ERR_OK;
}

static err_code_t open_chain(cpu_t *cpu, stage_t *stage, err_t *err) {
    links_t *links = &stage->links;
    const values_t *in = &cpu->values[stage->index], *out = &cpu->values[stage->index + 1];
    int stored = in->stored;
    links->scale = memory_new(6 * (uint64_t)stored * sizeof(float), err);
    if (!links->scale) {
        return ERR_NO_MEMORY;
    }
    links->shift = links->scale + stored;
    links->mean = links->scale + (ptrdiff_t)2 * stored;
    links->factor = links->scale + (ptrdiff_t)3 * stored;
    links->beta_mean = links->scale + (ptrdiff_t)4 * stored;
    links->gamma_mean = links->scale + (ptrdiff_t)5 * stored;
    if (cpu->plan->training && (links->pool || links->drop >= 0)) {
        links->code = memory_new((uint64_t)(cpu->plan->max_batch * out->sample), err);
        if (!links->code) {
            return ERR_NO_MEMORY;
        }
    }
    return links->norm.layer >= 0 ? open_norm(cpu, &links->norm, stored, err) : ERR_OK;
}

static err_code_t open_stages(cpu_t *cpu, err_t *err) {
    for (int i = 0; i < cpu->stage_count; i++) {
        stage_t *stage = &cpu->stages[i];
        err_code_t code = stage->kind == STAGE_CONV    ? open_master(cpu, stage, err)
                          : stage->kind == STAGE_CHAIN ? open_chain(cpu, stage, err)
                                                       : ERR_OK;
        if (code) {
            return code;
        }
        measure(cpu, stage);
        stage->slice = cpu->part_count;
        cpu->part_count += stage->count;
    }
    return ERR_OK;
}

// Training keeps all values; prediction alone needs but two buffers in turn, see predict.c.
static err_code_t open_values(cpu_t *cpu, err_t *err) {
    for (int i = 0; i <= cpu->stage_count && cpu->plan->training; i++) {
        values_t *values = &cpu->values[i];
        uint64_t sample = (uint64_t)values->sample * cpu_element(values);
        values->data = memory_new((uint64_t)cpu->plan->max_batch * sample, err);
        values->infer = values->data;
        if (!values->data) {
            return ERR_NO_MEMORY;
        }
    }
    return ERR_OK;
}

static err_code_t open_parts(cpu_t *cpu, err_t *err) {
    for (int part = 0; part < (cpu->plan->training ? CPU_PARTS : 1); part++) {
        cpu->parts[part] = memory_new((uint64_t)cpu->part_count * sizeof(float), err);
        if (!cpu->parts[part]) {
            return ERR_NO_MEMORY;
        }
    }
    for (int i = 0; i < cpu->stage_count; i++) {
        stage_t *stage = &cpu->stages[i];
        err_code_t code = ERR_OK;
        if (stage->kind == STAGE_CONV) {
            code = weights_place(stage->weights, cpu_part(cpu, stage, NN_PARAM), err);
        }
        if (code) {
            return code;
        }
    }
    return ERR_OK;
}

static err_code_t open_working(cpu_t *cpu, err_t *err) {
    int stored = 0;
    int64_t row = 0;
    for (int i = 0; i <= cpu->stage_count; i++) {
        const values_t *values = &cpu->values[i];
        int64_t wide = (int64_t)values->shape.width * values->shape.channels;
        stored = values->stored > stored ? values->stored : stored;
        row = wide > row ? wide : row;
    }
    int channels = cpu->plan->spec.channels;
    cpu->table = memory_new((uint64_t)channels * 256 * sizeof(float), err);
    cpu->pivot = memory_new((uint64_t)stored * sizeof(float), err);
    if (!cpu->table || !cpu->pivot) {
        return ERR_NO_MEMORY;
    }
    for (int i = 0; i < channels * 256; i++) {
        cpu->table[i] = (float)((i % 256 - (double)cpu->plan->mean[i / 256]) / 255);
    }
    if (!cpu->plan->training) {
        return ERR_OK;
    }
    cpu->keep_size = (row + KEEP_SLACK + 63) / 64 * 64;
    cpu->keep = memory_new((uint64_t)(cpu->plan->threads * cpu->keep_size), err);
    cpu->sums =
        memory_new((uint64_t)cpu->plan->max_batch * 2 * (uint64_t)stored * sizeof(double), err);
    return cpu->keep && cpu->sums ? ERR_OK : ERR_NO_MEMORY;
}

err_code_t cpu_state_open(cpu_t *cpu, err_t *err) {
    err_code_t code = open_stages(cpu, err);
    if (!code) {
        code = open_parts(cpu, err);
    }
    if (!code) {
        code = open_values(cpu, err);
    }
    return code ? code : open_working(cpu, err);
}

void cpu_state_close(cpu_t *cpu) {
    for (int i = 0; i < cpu->stage_count; i++) {
        stage_t *stage = &cpu->stages[i];
        close_master(stage);
        cpu_conv_unfold(stage);
        memory_free(stage->links.code);
        memory_free(stage->links.scale);
        memory_free(stage->links.norm.mean);
        memory_free(stage->links.norm.moving[0]);
    }
    for (int i = 0; i <= cpu->stage_count; i++) {
        memory_free(cpu->values[i].data);
    }
    for (int part = 0; part < CPU_PARTS; part++) {
        memory_free(cpu->parts[part]);
    }
    memory_free(cpu->table);
    memory_free(cpu->pivot);
    memory_free(cpu->keep);
    memory_free(cpu->sums);
    if (cpu->plan->training) { // else it lies in a workspace
        memory_free(cpu->scratch);
    }
    memory_free(cpu->own.memory);
}

// Floats of the stage's slice that predictions read.
static int64_t read_count(const stage_t *stage) {
    bool folded = stage->kind == STAGE_CONV && !stage->infer_scale;
    return folded ? 0 : stage->count;
}

err_code_t cpu_state_seal(cpu_t *cpu, err_t *err) {
    int64_t count = 0;
    for (int i = 0; i < cpu->stage_count; i++) {
        close_master(&cpu->stages[i]);
        count += read_count(&cpu->stages[i]);
    }
    if (count >= cpu->part_count - cpu->part_count / 8) {
        return ERR_OK; // little would be gained
    }
    float *kept = memory_new((uint64_t)count * sizeof *kept, err);
    if (!kept) {
        return ERR_NO_MEMORY;
    }
    count = 0;
    for (int i = 0; i < cpu->stage_count; i++) {
        stage_t *stage = &cpu->stages[i];
        stage->count = read_count(stage);
        memcpy(kept + count, cpu_part(cpu, stage, NN_PARAM), (size_t)stage->count * sizeof *kept);
        stage->slice = count;
        count += stage->count;
    }
    memory_free(cpu->parts[NN_PARAM]);
    cpu->parts[NN_PARAM] = kept;
    cpu->part_count = count;
    return ERR_OK;
}

// --- Reading and writing

static stage_t *owner(cpu_t *cpu, int tensor) {
    int layer = cpu->plan->tensors[tensor].layer;
    for (int i = 0; i < cpu->stage_count; i++) {
        stage_t *stage = &cpu->stages[i];
        if (stage->kind == STAGE_CHAIN ? stage->links.norm.layer == layer : stage->layer == layer) {
            return stage;
        }
    }
    ERR_ASSERT(false);
    return NULL;
}

err_code_t cpu_weights_plain(cpu_t *cpu, stage_t *stage, float *data, err_t *err) {
    conv_shape_t shape = cpu_conv_shape(cpu, stage, 1, false);
    dnnl_memory_desc_t plain;
    err_code_t code = weights_plain(&shape, &plain, err);
    return code ? code
                : weights_convert(&cpu->device, &stage->weights->desc, stage->weights->data, &plain,
                                  data, err);
}

// Between the canonical form and the plain one with stored channels.
static void copy_channels(const cpu_t *cpu, const stage_t *stage, float *canonical, float *plain,
                          bool write) {
    const values_t *in = &cpu->values[stage->index], *out = &cpu->values[stage->index + 1];
    int kernel = cpu->plan->spec.layers[stage->layer].kernel;
    int64_t area = (int64_t)kernel * kernel;
    size_t row = (size_t)(area * in->shape.channels);
    for (int64_t o = 0; o < out->shape.channels; o++) {
        float *one = canonical + o * (int64_t)row, *other = plain + o * area * in->stored;
        memcpy(write ? other : one, write ? one : other, row * sizeof(float));
    }
}

static err_code_t move_conv(cpu_t *cpu, stage_t *stage, float *at, float *data, bool write,
                            err_t *err) {
    conv_shape_t shape = cpu_conv_shape(cpu, stage, 1, false);
    dnnl_memory_desc_t plain;
    if (weights_plain(&shape, &plain, err)) {
        return ERR_INTERNAL;
    }
    float *buffer = memory_new((uint64_t)plain_count(cpu, stage) * sizeof(float), err);
    if (!buffer) {
        return ERR_NO_MEMORY;
    }
    err_code_t code;
    if (write) {
        copy_channels(cpu, stage, data, buffer, true);
        code = weights_convert(&cpu->device, &plain, buffer, &stage->weights->desc, at, err);
    } else {
        code = weights_convert(&cpu->device, &stage->weights->desc, at, &plain, buffer, err);
        copy_channels(cpu, stage, data, buffer, false);
    }
    memory_free(buffer);
    return code;
}

static void move_dense(const cpu_t *cpu, const stage_t *stage, float *at, float *data, bool write) {
    const values_t *in = &cpu->values[stage->index], *out = &cpu->values[stage->index + 1];
    size_t row = (size_t)in->shape.channels;
    for (int64_t o = 0; o < out->shape.channels; o++) {
        float *one = data + o * in->shape.channels, *other = at + o * in->stored;
        memcpy(write ? other : one, write ? one : other, row * sizeof(float));
    }
}

static float *statistics(stage_t *stage, nn_part_t part, nn_role_t role) {
    norm_t *norm = &stage->links.norm;
    return (part == NN_ESTIMATE ? norm->estimate : norm->moving)[role == NN_VARIANCE];
}

static err_code_t move(cpu_t *cpu, nn_part_t part, int index, float *data, bool write, err_t *err) {
    const nn_tensor_t *tensor = &cpu->plan->tensors[index];
    stage_t *stage = owner(cpu, index);
    float *at;
    if (tensor->trained) {
        bool second = tensor->role == NN_BIAS || tensor->role == NN_BETA;
        at = cpu_part(cpu, stage, part) + (second ? stage->second : 0);
    } else {
        at = statistics(stage, part, tensor->role);
    }
    if (tensor->role == NN_WEIGHT && stage->kind == STAGE_CONV) {
        return move_conv(cpu, stage, at, data, write, err);
    }
    if (tensor->role == NN_WEIGHT) {
        move_dense(cpu, stage, at, data, write);
        return ERR_OK;
    }
    memcpy(write ? at : data, write ? data : at, (size_t)tensor->count * sizeof(float));
    return ERR_OK;
}

err_code_t cpu_get(void *self, nn_part_t part, int tensor, float *data, err_t *err) {
    return move(self, part, tensor, data, false, err);
}

err_code_t cpu_set(void *self, nn_part_t part, int tensor, const float *data, err_t *err) {
    cpu_t *cpu = self;
    cpu->estimated = cpu->folded = false;
    stage_t *stage = owner(cpu, tensor);
    if (stage->kind == STAGE_CONV && part == NN_PARAM) {
        stage->weights->version++;
    }
    return move(cpu, part, tensor, (float *)data, true, err); // only read
}
