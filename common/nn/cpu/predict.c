// Prediction: folded weights, activations in two buffers in turn.
//
// A batch goes through the first stages image by image, so that their large activations stay in
// the core's cache, and from `split` on together, so that the large weights there are read once.
// One thread alone does that; several share each stage of the whole batch. The bits are the same:
// no stage's depend on the batch (see conv.h and wino_body.h) or on who computes.
#include "nn/cpu/cpu_impl.h"
#include "nn/cpu/memory.h"
#include "nn/cpu/parallel.h"
#include "nn/ref/ref_impl.h" // the head: a few numbers an image, computed as the reference does

#include <stdlib.h>

enum {
    ALIGN = 4096,
    MUCH = 4,
};

// --- Where activations lie

static int64_t sample_bytes(const values_t *values) {
    return values->sample * (int64_t)cpu_element(values);
}

// The first stage from which on weights are much larger than an image's activations: below that,
// what a batch saves on weights it loses on activations.
static int find_split(const cpu_t *cpu) {
    int split = cpu->stage_count;
    for (int i = cpu->stage_count - 1; i >= 0; i--) {
        const stage_t *stage = &cpu->stages[i];
        const values_t *in = &cpu->values[i], *out = &cpu->values[i + 1];
        if (stage->kind == STAGE_FLATTEN) {
            split = i;
        } else if (stage->kind == STAGE_CONV) {
            int64_t activations = sample_bytes(in) + sample_bytes(out);
            if (cpu_conv_infer_weights(cpu, stage) < MUCH * activations) {
                break;
            }
            split = i;
        }
    }
    return split;
}

static int64_t align(int64_t bytes) {
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

// Values [from, to) in two buffers of so many samples behind `at`; returns where they end.
static int64_t place_values(cpu_t *cpu, int from, int to, int samples, int64_t at) {
    int64_t largest = 0;
    for (int i = from; i < to; i++) {
        int64_t bytes = sample_bytes(&cpu->values[i]);
        largest = bytes > largest ? bytes : largest;
    }
    int64_t buffer = align(largest * samples);
    int turn = 0;
    for (int i = from; i < to; i++) {
        turn ^= i > from && !cpu->stages[i - 1].absorbed;
        cpu->values[i].place = at + turn * buffer;
    }
    return at + 2 * buffer;
}

void cpu_infer_plan(cpu_t *cpu) {
    bool alone = cpu->plan->threads == 1 && cpu->infer_batch > 1;
    cpu->split = alone && !cpu->plan->training ? find_split(cpu) : 0;
    cpu->laid_out = 0;
    cpu->whole = true;
    for (int i = cpu->split; i < cpu->stage_count; i++) {
        const stage_t *stage = &cpu->stages[i];
        cpu->whole = cpu->whole && (stage->kind != STAGE_CONV || stage->wino);
    }
}

// Scratch memory of our own convolutions for count samples.
static int64_t scratch_bytes(const cpu_t *cpu, int count) {
    int64_t most = 0;
    for (int i = 0; i < cpu->stage_count; i++) {
        const stage_t *stage = &cpu->stages[i];
        if (stage->kind == STAGE_CONV) {
            int64_t own = cpu_conv_infer_scratch(cpu, stage, i < cpu->split ? 1 : count);
            most = own > most ? own : most;
        }
    }
    return most;
}

// Where everything lies for count samples; returns the bytes of the activations.
static int64_t lay_out(cpu_t *cpu, int count) {
    int64_t early = place_values(cpu, 0, cpu->split, 1, 0);
    return place_values(cpu, cpu->split, cpu->stage_count + 1, count, early);
}

int64_t cpu_infer_memory(cpu_t *cpu) {
    int64_t weights = 0;
    for (int i = 0; i < cpu->stage_count; i++) {
        const stage_t *stage = &cpu->stages[i];
        weights += stage->kind == STAGE_CONV && (!stage->wino || cpu_conv_keeps(cpu, stage))
                       ? cpu_conv_infer_weights(cpu, stage)
                       : 0;
    }
    return weights + lay_out(cpu, cpu->infer_batch) + scratch_bytes(cpu, cpu->infer_batch);
}

// A workspace grows once for one image at a time, and once for batches of any size.
static void lay_out_for(cpu_t *cpu, int count) {
    int64_t own = scratch_bytes(cpu, count), onednn = (int64_t)cpu->onednn_scratch;
    int64_t full = count > 1 ? scratch_bytes(cpu, cpu->infer_batch) : 0;
    full = (full > onednn ? full : onednn) + lay_out(cpu, count > 1 ? cpu->infer_batch : 1);
    cpu->infer_bytes = lay_out(cpu, count);
    cpu->infer_scratch = (size_t)(own > onednn ? own : onednn);
    uint64_t need = (uint64_t)cpu->infer_bytes + cpu->infer_scratch;
    cpu->infer_need = need > (uint64_t)full ? need : (uint64_t)full;
    cpu->laid_out = count;
    cpu->bound = NULL;
}

// The workspace is large enough, and values and scratch lie in it.
static err_code_t bind(cpu_t *cpu, nn_workspace_t *workspace, err_t *err) {
    if (cpu->plan->training) {
        return cpu_scratch(cpu, cpu->infer_scratch, err);
    }
    uint64_t need = cpu->infer_need;
    if (workspace->size < need) {
        memory_free(workspace->memory);
        workspace->size = 0;
        workspace->memory = memory_new(need, err);
        if (!workspace->memory) {
            return ERR_NO_MEMORY;
        }
        workspace->size = need;
    }
    if (cpu->bound != workspace->memory) {
        cpu->bound = workspace->memory;
        cpu->scratch = (char *)cpu->bound + cpu->infer_bytes;
        for (int i = 0; i <= cpu->stage_count; i++) {
            cpu->values[i].infer = (char *)cpu->bound + cpu->values[i].place;
        }
    }
    return ERR_OK;
}

// --- What is made beforehand

static err_code_t prepare_stages(cpu_t *cpu, int from, int to, int count, err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = from; i < to && !code; i++) {
        if (cpu->stages[i].kind == STAGE_CONV) {
            code = cpu_conv_infer_make(cpu, &cpu->stages[i], count, err);
        }
    }
    return code;
}

static err_code_t prepare(cpu_t *cpu, int count, err_t *err) {
    err_code_t code = prepare_stages(cpu, 0, cpu->split, 1, err);
    return code ? code : prepare_stages(cpu, cpu->split, cpu->stage_count, count, err);
}

static err_code_t fold_all(cpu_t *cpu, err_t *err) {
    for (int i = 0; i < cpu->stage_count && !cpu->folded; i++) {
        stage_t *stage = &cpu->stages[i];
        err_code_t code = ERR_OK;
        if (stage->kind == STAGE_CONV) {
            code = cpu_conv_fold(cpu, stage, err);
        } else if (stage->kind == STAGE_CHAIN) {
            cpu_chain_fold(cpu, stage);
        }
        if (code) {
            return code;
        }
    }
    cpu->folded = true;
    return ERR_OK;
}

// --- Running

// Where sample n's values lie.
static void *values_at(const cpu_t *cpu, int index, int64_t n) {
    const values_t *values = &cpu->values[index];
    return (char *)values->infer + (index < cpu->split ? 0 : n * sample_bytes(values));
}

// The stage for count samples from the first on.
static err_code_t infer_stage(cpu_t *cpu, stage_t *stage, int first, int count, err_t *err) {
    int index = stage->index;
    void *from = values_at(cpu, index, first), *to = values_at(cpu, index + 1, first);
    switch (stage->kind) {
    case STAGE_CONV: {
        // Past the chain behind it that it has done as well.
        bool both = index + 1 < cpu->stage_count && stage[1].absorbed;
        return cpu_conv_infer(cpu, stage, count, from, both ? values_at(cpu, index + 2, first) : to,
                              err);
    }
    case STAGE_CHAIN:
        if (!(stage->absorbed && cpu_behind_conv(stage))) {
            cpu_chain_infer(cpu, stage, count, from, to);
        }
        return ERR_OK;
    case STAGE_FLATTEN:
        cpu_flatten(cpu, stage, count, from, to);
        return ERR_OK;
    case STAGE_DENSE:
        cpu_dense(cpu, stage, count, from, to);
        return ERR_OK;
    }
    return ERR_OK;
}

static err_code_t predict_early(cpu_t *cpu, const nn_sample_t *samples, int count, err_t *err) {
    err_code_t code = ERR_OK;
    for (int n = 0; n < count && cpu->split > 0 && !code; n++) {
        cpu_load_samples(cpu, samples + n, 1, values_at(cpu, 0, n));
        for (int i = 0; i < cpu->split && !code; i++) {
            code = infer_stage(cpu, &cpu->stages[i], n, 1, err);
        }
    }
    return code;
}

static err_code_t predict_some(cpu_t *cpu, nn_workspace_t *workspace, const nn_sample_t *samples,
                               int count, err_t *err) {
    err_code_t code = ERR_OK;
    if (cpu->laid_out != count) {
        code = prepare(cpu, count, err);
        lay_out_for(cpu, count);
    }
    if (code) {
        cpu->laid_out = 0;
        return code;
    }
    code = bind(cpu, workspace, err);
    if (!code && cpu->split > 0) {
        code = predict_early(cpu, samples, count, err);
    } else if (!code) {
        cpu_load_samples(cpu, samples, count, cpu->values[0].infer);
    }
    for (int i = cpu->split; i < cpu->stage_count && !code; i++) {
        code = infer_stage(cpu, &cpu->stages[i], 0, count, err);
    }
    const values_t *logits = &cpu->values[cpu->stage_count];
    for (int64_t n = 0; n < count && !code; n++) {
        ref_head_probabilities(&cpu->plan->spec, (float *)logits->infer + n * logits->stored, 1,
                               samples[n].probabilities);
    }
    return code;
}

// oneDNN's operations are for one size of a batch: few sizes, so that few operations and copies of
// weights are needed.
static int next_count(const cpu_t *cpu, int rest) {
    static const int sizes[] = {32, 8, 1};
    if (cpu->whole) {
        return rest < cpu->infer_batch ? rest : cpu->infer_batch;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i] <= rest && sizes[i] <= cpu->infer_batch) {
            return sizes[i];
        }
    }
    return 1;
}

err_code_t cpu_predict(void *self, nn_workspace_t *workspace, const nn_sample_t *samples, int count,
                       err_t *err) {
    cpu_t *cpu = self;
    int before = parallel_set_threads(cpu->plan->threads);
    err_code_t code = fold_all(cpu, err);
    for (int done = 0; done < count && !code;) {
        int now = next_count(cpu, count - done);
        code = predict_some(cpu, workspace ? workspace : &cpu->own, samples + done, now, err);
        done += now;
    }
    parallel_set_threads(before);
    return code;
}

// --- Sharing

err_code_t cpu_seal(void *self, err_t *err) {
    cpu_t *cpu = self;
    int before = parallel_set_threads(cpu->plan->threads);
    err_code_t code = fold_all(cpu, err);
    parallel_set_threads(before);
    cpu_sets_close(cpu);
    memory_free(cpu->own.memory);
    cpu->own = (nn_workspace_t){0};
    return code ? code : cpu_state_seal(cpu, err);
}

// All sizes of a batch that can come.
static err_code_t prepare_all(cpu_t *cpu, err_t *err) {
    err_code_t code = ERR_OK;
    for (int rest = cpu->infer_batch; rest > 0 && !code; rest--) {
        int count = next_count(cpu, rest);
        code = prepare(cpu, count, err);
    }
    for (int i = 0; i < cpu->stage_count && !code; i++) {
        if (cpu->stages[i].folded) {
            code = weights_refresh(&cpu->device, cpu->stages[i].folded, err);
        }
    }
    return code;
}

err_code_t cpu_share(void *self, const nn_plan_t *plan, void **shared, err_t *err) {
    cpu_t *cpu = memory_new(sizeof *cpu, err);
    if (!cpu) {
        return ERR_NO_MEMORY;
    }
    *cpu = *(cpu_t *)self; // with pointers to all that is only read from now on
    cpu->shares = true;
    cpu->plan = plan;
    cpu->scratch = NULL;
    cpu->onednn_scratch = 0;
    cpu->infer_batch = cpu_infer_batch(plan);
    cpu_infer_plan(cpu);
    int before = parallel_set_threads(plan->threads);
    err_code_t code = conv_device_share(&cpu->device, err);
    if (!code) {
        code = prepare_all(cpu, err);
    }
    parallel_set_threads(before);
    if (code) {
        cpu_destroy(cpu);
        return code;
    }
    *shared = cpu;
    return ERR_OK;
}
