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
        if (pass->count == 0 && stage->kind != STAGE_CHAIN) {
            continue; // but batch-norm may have to take part in sums
        }
        switch (stage->kind) {
        case STAGE_CONV:
            code = cpu_conv(cpu, set, stage, CONV_TRAIN, err);
            break;
        case STAGE_CHAIN:
            code = cpu_chain(cpu, stage, pass, err);
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
    if (pass->count == 0 && stage->kind != STAGE_CHAIN) {
        memset(cpu_part(cpu, stage, NN_GRADIENT), 0, (size_t)stage->count * sizeof(float));
        return ERR_OK;
    }
    switch (stage->kind) {
    case STAGE_CONV:
        code = cpu_conv(cpu, set, stage, CONV_WEIGHTS, err);
        if (!code && stage->passes) {
            code = cpu_conv(cpu, set, stage, CONV_DATA, err);
        }
        break;
    case STAGE_CHAIN:
        if (stage->passes || stage->count > 0) {
            code = cpu_chain_back(cpu, stage, pass, err);
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

// Slices lie in the order of stages.
static err_code_t backward(cpu_t *cpu, set_t *set, const pass_t *pass, err_t *err) {
    nn_buckets_t buckets;
    nn_buckets_begin(&buckets, pass->replicas, cpu->parts[NN_GRADIENT], cpu->part_count);
    err_code_t code = ERR_OK;
    for (int i = cpu->stage_count - 1; i >= 0 && !code; i--) {
        stage_t *stage = &cpu->stages[i];
        code = stage_back(cpu, set, stage, pass, err);
        if (!code) {
            code = nn_buckets_ready(&buckets, stage->slice, err);
        }
    }
    return code;
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
    if (batch->count == 0) {
        return ERR_OK;
    }
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

static bool has_norm(const stage_t *stage) {
    return stage->kind == STAGE_CHAIN && stage->links.norm.layer >= 0;
}

// Batch-norm's moments of this rank's samples become their averages over all ranks.
static err_code_t average_statistics(cpu_t *cpu, const pass_t *pass, err_t *err) {
    nn_moments_t moments[NN_LAYERS_MAX];
    int count = 0;
    for (int i = 0; i < cpu->stage_count; i++) {
        norm_t *norm = &cpu->stages[i].links.norm;
        if (has_norm(&cpu->stages[i])) {
            moments[count++] =
                (nn_moments_t){norm->mean, norm->variance, cpu->values[i].shape.channels};
        }
    }
    return nn_averages_of_all(pass->replicas, (double)pass->count / pass->total, moments, count,
                              err);
}

static err_code_t update(cpu_t *cpu, const nn_adam_t *adam, uint64_t step, const pass_t *pass,
                         err_t *err) {
    err_code_t code = ERR_OK;
    if (pass->replicas && !nn_syncs(pass->replicas)) {
        code = average_statistics(cpu, pass, err);
    }
    if (code) {
        return code;
    }
    cpu_adam(cpu, adam, step);
    for (int i = 0; i < cpu->stage_count; i++) {
        stage_t *stage = &cpu->stages[i];
        if (stage->kind == STAGE_CONV) {
            stage->weights->version++;
        }
        if (has_norm(stage)) {
            move_statistics(cpu, stage);
        }
    }
    return ERR_OK;
}

err_code_t cpu_step(void *self, const nn_batch_t *batch, uint64_t step, const nn_adam_t *adam,
                    const nn_replicas_t *replicas, nn_result_t *result, err_t *err) {
    cpu_t *cpu = self;
    pass_t pass = {.count = batch->count,
                   .drop = true,
                   .position = batch->position,
                   .step = (uint32_t)step,
                   .total = batch->batch_total,
                   .replicas = replicas};
    int before = parallel_set_threads(cpu->plan->threads);
    cpu->estimated = cpu->folded = false;
    set_t *set = NULL;
    err_code_t code = batch->count > 0 ? cpu_train_set(cpu, batch->count, &set, err) : ERR_OK;
    if (!code) {
        code = forward(cpu, set, batch->pixels, &pass, err);
    }
    if (!code) {
        code = head_loss(cpu, batch, result, err);
    }
    if (!code) {
        code = backward(cpu, set, &pass, err);
    }
    if (!code) {
        code = update(cpu, adam, step, &pass, err);
    }
    parallel_set_threads(before);
    return code;
}

// --- Estimation

static void clear(cpu_t *cpu) {
    for (int i = 0; i < cpu->stage_count; i++) {
        if (has_norm(&cpu->stages[i])) {
            size_t size = 2 * (size_t)cpu->values[i].stored * sizeof(double);
            memset(cpu->stages[i].links.norm.mean_sum, 0, size); // second_sum lies behind it
        }
    }
}

static void collect(cpu_t *cpu, int images) {
    for (int i = 0; i < cpu->stage_count; i++) {
        norm_t *norm = &cpu->stages[i].links.norm;
        for (int c = 0; has_norm(&cpu->stages[i]) && c < cpu->values[i].shape.channels; c++) {
            double mean = norm->mean[c];
            norm->mean_sum[c] += images * mean;
            norm->second_sum[c] += images * (norm->variance[c] + mean * mean);
        }
    }
}

static err_code_t settle(cpu_t *cpu, int64_t images, const nn_replicas_t *replicas, err_t *err) {
    for (int i = 0; i < cpu->stage_count; i++) {
        norm_t *norm = &cpu->stages[i].links.norm;
        err_code_t code = ERR_OK;
        if (has_norm(&cpu->stages[i]) && replicas) {
            code = replicas->sums(replicas->arg, norm->mean_sum, 2 * (size_t)cpu->values[i].stored,
                                  err);
        }
        if (code) {
            return code;
        }
        for (int c = 0; has_norm(&cpu->stages[i]) && c < cpu->values[i].shape.channels; c++) {
            double mean = norm->mean_sum[c] / (double)images;
            double variance = norm->second_sum[c] / (double)images - mean * mean;
            norm->estimate[0][c] = (float)mean;
            norm->estimate[1][c] = (float)(variance > 0 ? variance : 0);
        }
    }
    return ERR_OK;
}

// Chunks go round among the replicas.
err_code_t cpu_bn_estimate(void *self, const uint8_t *pixels, int64_t count,
                           const nn_replicas_t *replicas, err_t *err) {
    cpu_t *cpu = self;
    const nn_plan_t *plan = cpu->plan;
    int chunk = plan->max_batch < NN_ESTIMATE_CHUNK ? plan->max_batch : NN_ESTIMATE_CHUNK;
    int64_t image = (int64_t)plan->spec.height * plan->spec.width * plan->spec.channels;
    int before = parallel_set_threads(plan->threads);
    err_code_t code = ERR_OK;
    clear(cpu);
    for (int64_t done = 0; done < count && !code; done += chunk) {
        pass_t pass = {.count = count - done < chunk ? (int)(count - done) : chunk};
        set_t *set;
        if (replicas && done / chunk % replicas->world != replicas->rank) {
            continue;
        }
        code = cpu_train_set(cpu, pass.count, &set, err);
        if (!code) {
            code = forward(cpu, set, pixels + done * image, &pass, err);
        }
        collect(cpu, pass.count);
    }
    if (!code) {
        code = settle(cpu, count, replicas, err);
    }
    cpu->estimated = !code;
    cpu->folded = false;
    parallel_set_threads(before);
    return code;
}
