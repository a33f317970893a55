// oneDNN's operations, made when first asked for and kept for the sizes of a batch used last.
#include "nn/cpu/cpu_impl.h"
#include "nn/cpu/memory.h"

#include <stdlib.h>

static void free_set(set_t **set) {
    if (*set) {
        for (int i = 0; i < (*set)->stage_count; i++) {
            for (int kind = 0; kind < CONV_KINDS; kind++) {
                conv_call_free(&(*set)->stages[i].call[kind]);
                conv_op_free(&(*set)->stages[i].op[kind]);
            }
        }
        free(*set);
        *set = NULL;
    }
}

void cpu_sets_close(cpu_t *cpu) {
    for (int i = 0; i < CPU_SETS; i++) {
        free_set(&cpu->train_sets[i]);
        free_set(&cpu->infer_sets[i]);
    }
}

static err_code_t find_set(cpu_t *cpu, set_t **sets, int count, set_t **found, err_t *err) {
    set_t **place = &sets[0];
    for (int i = 0; i < CPU_SETS; i++) {
        if (sets[i] && sets[i]->count == count) {
            sets[i]->used = ++cpu->clock;
            *found = sets[i];
            return ERR_OK;
        }
        if (*place && (!sets[i] || sets[i]->used < (*place)->used)) {
            place = &sets[i];
        }
    }
    free_set(place);
    set_t *set = calloc(1, sizeof *set + (size_t)cpu->stage_count * sizeof set->stages[0]);
    if (!set) {
        return err_set(err, ERR_NO_MEMORY, "no memory for the operations of a batch");
    }
    set->count = count;
    set->stage_count = cpu->stage_count;
    set->used = ++cpu->clock;
    *place = *found = set;
    return ERR_OK;
}

err_code_t cpu_train_set(cpu_t *cpu, int count, set_t **set, err_t *err) {
    return find_set(cpu, cpu->train_sets, count, set, err);
}

err_code_t cpu_infer_set(cpu_t *cpu, int count, set_t **set, err_t *err) {
    return find_set(cpu, cpu->infer_sets, count, set, err);
}

err_code_t cpu_scratch(cpu_t *cpu, size_t size, err_t *err) {
    if (size <= cpu->scratch_size) {
        return ERR_OK;
    }
    memory_free(cpu->scratch);
    cpu->scratch_size = 0;
    cpu->scratch = memory_new(size, err);
    cpu->scratch_size = cpu->scratch ? size : 0;
    return cpu->scratch ? ERR_OK : ERR_NO_MEMORY;
}

// Where the operation reads and writes; weights in the layout it wants.
static err_code_t place(cpu_t *cpu, stage_t *stage, const conv_op_t *op, conv_buffers_t *buffers,
                        err_t *err) {
    const values_t *in = &cpu->values[stage->index], *out = &cpu->values[stage->index + 1];
    *buffers = (conv_buffers_t){.in = in->data, .out = out->data};
    if (op->kind == CONV_WEIGHTS) {
        buffers->weights = cpu_part(cpu, stage, NN_GRADIENT);
        buffers->bias = cpu_part(cpu, stage, NN_GRADIENT) + stage->second;
        return ERR_OK;
    }
    if (op->kind == CONV_INFER) {
        *buffers = (conv_buffers_t){.bias = stage->folded_bias}; // in and out: cpu_conv_infer
        return weights_copy(&cpu->device, stage->folded, &op->weights, &buffers->weights, err);
    }
    buffers->bias = cpu_part(cpu, stage, NN_PARAM) + stage->second;
    return weights_copy(&cpu->device, stage->weights, &op->weights, &buffers->weights, err);
}

static err_code_t make(cpu_t *cpu, int count, stage_t *stage, conv_kind_t kind, conv_ops_t *ops,
                       err_t *err) {
    conv_op_t *op = &ops->op[kind];
    conv_shape_t shape = cpu_conv_shape(cpu, stage, count, kind == CONV_INFER);
    conv_buffers_t buffers;
    err_code_t code = conv_op_new(&cpu->device, &shape, kind,
                                  kind == CONV_WEIGHTS ? &stage->weights->desc : NULL, op, err);
    if (!code && kind == CONV_INFER) {
        cpu->onednn_scratch = op->scratch > cpu->onednn_scratch ? op->scratch : cpu->onednn_scratch;
    } else if (!code) {
        code = cpu_scratch(cpu, op->scratch, err);
    }
    if (!code) {
        code = place(cpu, stage, op, &buffers, err);
    }
    if (!code) {
        code = conv_call_new(&cpu->device, op, &buffers, &ops->call[kind], err);
    }
    if (code) { // half-built operations are made anew the next time
        conv_call_free(&ops->call[kind]);
        conv_op_free(op);
    }
    return code;
}

err_code_t cpu_set_call(cpu_t *cpu, set_t *set, stage_t *stage, conv_kind_t kind,
                        conv_call_t **call, err_t *err) {
    conv_ops_t *ops = &set->stages[stage->index];
    *call = &ops->call[kind];
    return ops->op[kind].primitive ? ERR_OK : make(cpu, set->count, stage, kind, ops, err);
}
