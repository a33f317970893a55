// A training step, and an estimation of the batch-norm statistics.
#include "nn/cpu/cpu_impl.h"
#include "nn/cpu/memory.h"
#include "nn/cpu/parallel.h"
#include "nn/ref/ref_impl.h" // the head: a few numbers an image, computed as the reference does

#include <stdlib.h>
#include <string.h>

// --- Training

static err_code_t forward(cpu_t *cpu, set_t *set, const uint8_t *pixels, const pass_t *pass,
                          err_t *err) {
    cpu_load(cpu, pixels, pass->count, cpu->values[0].data);
    for (int i = 0; i < cpu->stage_count; i++) {
        stage_t *stage = &cpu->stages[i];
        void *from = cpu->values[i].data, *to = cpu->values[i + 1].data;
        err_code_t code = ERR_OK;
        switch (stage->kind) {
        case STAGE_CONV:
            code = cpu_conv(cpu, set, stage, CONV_TRAIN, err);
            break;
        case STAGE_CHAIN:
            cpu_chain(cpu, stage, pass);
            break;
        case STAGE_FLATTEN:
            cpu_flatten(cpu, stage, pass->count, from, to);
            break;
        case STAGE_DENSE:
            cpu_dense(cpu, stage, pass->count, from, to);
            break;
        }
        if (code) {
            return code;
        }
    }
    return ERR_OK;
}

static err_code_t stage_back(cpu_t *cpu, set_t *set, stage_t *stage, const pass_t *pass,
                             err_t *err) {
    err_code_t code = ERR_OK;
    switch (stage->kind) {
    case STAGE_CONV:
        code = cpu_conv(cpu, set, stage, CONV_WEIGHTS, err);
        if (!code && stage->passes) {
            code = cpu_conv(cpu, set, stage, CONV_DATA, err);
        }
        break;
    case STAGE_CHAIN:
        if (stage->passes || stage->count > 0) {
            cpu_chain_back(cpu, stage, pass);
        }
        break;
    case STAGE_FLATTEN:
        if (stage->passes) {
            cpu_unflatten(cpu, stage, pass->count);
        }
        break;
    case STAGE_DENSE:
        cpu_dense_back(cpu, stage, pass->count);
        break;
    }
    return code;
}

static err_code_t backward(cpu_t *cpu, set_t *set, const pass_t *pass, nn_reduce_fn reduce,
                           void *arg, err_t *err) {
    int bucket = 0;
    for (int i = cpu->stage_count - 1; i >= 0; i--) {
        stage_t *stage = &cpu->stages[i];
        err_code_t code = stage_back(cpu, set, stage, pass, err);
        if (!code && reduce && stage->count > 0) {
            code =
                reduce(arg, bucket++, cpu_part(cpu, stage, NN_GRADIENT), (size_t)stage->count, err);
        }
        if (code) {
            return code;
        }
    }
    return ERR_OK;
}

// The logits without the stored channels, in the reference's form.
static void gather(const cpu_t *cpu, int count, const float *from, float *to) {
    const values_t *logits = &cpu->values[cpu->stage_count];
    int units = logits->shape.channels;
    for (int64_t n = 0; n < count; n++) {
        memcpy(to + n * units, from + n * logits->stored, (size_t)units * sizeof *to);
    }
}

static err_code_t head_loss(cpu_t *cpu, const nn_batch_t *batch, nn_result_t *result, err_t *err) {
    const values_t *logits = &cpu->values[cpu->stage_count];
    int64_t units = logits->shape.channels, numbers = batch->count * units;
    float *rows = memory_new(2 * (uint64_t)numbers * sizeof *rows, err);
    if (!rows) {
        return ERR_NO_MEMORY;
    }
    float *gradient = rows + numbers, *data = logits->data;
    gather(cpu, batch->count, data, rows);
    ref_head_loss(&cpu->plan->spec, rows, batch, gradient, result);
    for (int64_t n = 0; n < batch->count; n++) {
        memcpy(data + n * logits->stored, gradient + n * units, (size_t)units * sizeof *data);
    }
    memory_free(rows);
    return ERR_OK;
}

// new = m·old + (1 − m)·batch.
static void move_statistics(cpu_t *cpu, stage_t *stage) {
    norm_t *norm = &stage->links.norm;
    double keep = (double)cpu->plan->spec.layers[norm->layer].momentum;
    for (int c = 0; c < cpu->values[stage->index].shape.channels; c++) {
        norm->moving[0][c] =
            (float)(keep * (double)norm->moving[0][c] + (1 - keep) * norm->mean[c]);
        norm->moving[1][c] =
            (float)(keep * (double)norm->moving[1][c] + (1 - keep) * norm->variance[c]);
    }
}

static void update(cpu_t *cpu, const nn_adam_t *adam, uint64_t step) {
    cpu_adam(cpu, adam, step);
    for (int i = 0; i < cpu->stage_count; i++) {
        stage_t *stage = &cpu->stages[i];
        if (stage->kind == STAGE_CONV) {
            stage->weights->version++;
        }
        if (stage->kind == STAGE_CHAIN && stage->links.norm.layer >= 0) {
            move_statistics(cpu, stage);
        }
    }
}

err_code_t cpu_step(void *self, const nn_batch_t *batch, uint64_t step, const nn_adam_t *adam,
                    nn_reduce_fn reduce, void *reduce_arg, nn_result_t *result, err_t *err) {
    cpu_t *cpu = self;
    pass_t pass = {
        .count = batch->count, .drop = true, .position = batch->position, .step = (uint32_t)step};
    int before = parallel_set_threads(cpu->plan->threads);
    cpu->estimated = cpu->folded = false;
    set_t *set;
    err_code_t code = cpu_train_set(cpu, batch->count, &set, err);
    if (!code) {
        code = forward(cpu, set, batch->pixels, &pass, err);
    }
    if (!code) {
        code = head_loss(cpu, batch, result, err);
    }
    if (!code) {
        code = backward(cpu, set, &pass, reduce, reduce_arg, err);
    }
    if (!code) {
        update(cpu, adam, step);
    }
    parallel_set_threads(before);
    return code;
}

// --- Estimation

static void collect(cpu_t *cpu, int images, bool first) {
    for (int i = 0; i < cpu->stage_count; i++) {
        norm_t *norm = &cpu->stages[i].links.norm;
        bool has = cpu->stages[i].kind == STAGE_CHAIN && norm->layer >= 0;
        for (int c = 0; has && c < cpu->values[i].shape.channels; c++) {
            double mean = norm->mean[c];
            norm->mean_sum[c] = (first ? 0 : norm->mean_sum[c]) + images * mean;
            norm->second_sum[c] =
                (first ? 0 : norm->second_sum[c]) + images * (norm->variance[c] + mean * mean);
        }
    }
}

static void settle(cpu_t *cpu, int64_t images) {
    for (int i = 0; i < cpu->stage_count; i++) {
        norm_t *norm = &cpu->stages[i].links.norm;
        bool has = cpu->stages[i].kind == STAGE_CHAIN && norm->layer >= 0;
        for (int c = 0; has && c < cpu->values[i].shape.channels; c++) {
            double mean = norm->mean_sum[c] / (double)images;
            double variance = norm->second_sum[c] / (double)images - mean * mean;
            norm->estimate[0][c] = (float)mean;
            norm->estimate[1][c] = (float)(variance > 0 ? variance : 0);
        }
    }
}

err_code_t cpu_bn_estimate(void *self, const uint8_t *pixels, int64_t count, err_t *err) {
    cpu_t *cpu = self;
    const nn_plan_t *plan = cpu->plan;
    int chunk = plan->max_batch < NN_ESTIMATE_CHUNK ? plan->max_batch : NN_ESTIMATE_CHUNK;
    int64_t image = (int64_t)plan->spec.height * plan->spec.width * plan->spec.channels;
    int before = parallel_set_threads(plan->threads);
    err_code_t code = ERR_OK;
    for (int64_t done = 0; done < count && !code; done += chunk) {
        pass_t pass = {.count = count - done < chunk ? (int)(count - done) : chunk};
        set_t *set;
        code = cpu_train_set(cpu, pass.count, &set, err);
        if (!code) {
            code = forward(cpu, set, pixels + done * image, &pass, err);
        }
        collect(cpu, pass.count, done == 0);
    }
    if (!code) {
        settle(cpu, count);
    }
    cpu->estimated = !code;
    cpu->folded = false;
    parallel_set_threads(before);
    return code;
}
