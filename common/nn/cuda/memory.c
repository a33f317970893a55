#include "nn/cuda/cuda_impl.h"

#include <stdlib.h>
#include <string.h>

err_code_t cuda_take(cuda_t *cuda, void **at, int64_t size, const char *what, err_t *err) {
    cuda->bytes += (uint64_t)size;
    if (cuda->counting || size == 0) {
        return ERR_OK;
    }
    err_code_t code = device_check(cudaMalloc(at, (size_t)size), what, err);
    if (!code) {
        code = device_check(cudaMemsetAsync(*at, 0, (size_t)size, cuda->stream), what, err);
    }
    return code;
}

static void give_back(void *at) {
    void **pointer = at;
    cudaFree(*pointer);
    *pointer = NULL;
}

static err_code_t take_floats(cuda_t *cuda, float **at, int64_t count, const char *what,
                              err_t *err) {
    return cuda_take(cuda, (void **)at, count * (int64_t)sizeof(float), what, err);
}

// --- Parts

static err_code_t take_parameters(cuda_t *cuda, err_t *err) {
    int parts = cuda->plan->training ? NN_GRADIENT : NN_PARAM;
    err_code_t code = ERR_OK;
    for (int part = NN_PARAM; part <= parts && !code; part++) {
        code = take_floats(cuda, &cuda->parts[part], cuda->trained, "parameters", err);
    }
    if (!code && cuda->bf16) {
        code = cuda_take(cuda, &cuda->half, cuda->trained * 2, "parameters", err);
    }
    return code;
}

static err_code_t take_norm(cuda_t *cuda, stage_t *stage, err_t *err) {
    bool training = cuda->plan->training;
    norm_t *norm = &stage->norm;
    float **always[] = {&stage->moving[0], &stage->moving[1], &stage->fixed.mean,
                        &stage->fixed.inverse};
    float **more[] = {&norm->mean,       &norm->inverse,      &norm->variance,    &norm->beta_mean,
                      &norm->gamma_mean, &stage->estimate[0], &stage->estimate[1]};
    int64_t stored = stage->chain.stored;
    err_code_t code = ERR_OK;
    for (size_t i = 0; i < sizeof always / sizeof always[0] && !code; i++) {
        code = take_floats(cuda, always[i], stored, "statistics", err);
    }
    for (size_t i = 0; i < sizeof more / sizeof more[0] && training && !code; i++) {
        code = take_floats(cuda, more[i], stored, "statistics", err);
    }
    for (int i = 0; i < 2 && training && !code; i++) {
        code = cuda_take(cuda, (void **)&norm->sums[i], stored * (int64_t)sizeof(double),
                         "statistics", err);
    }
    return code;
}

static err_code_t take_values(cuda_t *cuda, err_t *err) {
    int64_t batch = cuda->plan->max_batch, largest = 0;
    err_code_t code = ERR_OK;
    for (int i = 0; i <= cuda->stage_count && !code; i++) {
        values_t *values = &cuda->values[i];
        int64_t size = batch * values->sample * (int64_t)cuda_element(values);
        largest = size > largest ? size : largest;
        code = cuda_take(cuda, &values->data, size, "activations", err);
    }
    for (int i = 0; i < 2 && cuda->plan->training && !code; i++) {
        code = cuda_take(cuda, &cuda->gradient[i], largest, "gradients", err);
    }
    return code;
}

static err_code_t take_stages(cuda_t *cuda, err_t *err) {
    int64_t stored = KERNEL_VECTOR, filter = 0;
    err_code_t code = ERR_OK;
    for (int i = 0; i < cuda->stage_count && !code; i++) {
        stage_t *stage = &cuda->stages[i];
        const values_t *to = &cuda->values[i + 1];
        stored = to->stored > stored ? to->stored : stored;
        filter =
            stage->kind == STAGE_CONV && stage->slice_count > filter ? stage->slice_count : filter;
        if (stage->kind == STAGE_CHAIN && cuda->plan->training) {
            code = cuda_take(cuda, (void **)&stage->code, cuda->plan->max_batch * to->sample,
                             "choices of layers", err);
        }
        if (!code && stage->chain.norm && !cuda->borrows) {
            code = take_norm(cuda, stage, err);
        }
    }
    stored = cuda->values[0].stored > stored ? cuda->values[0].stored : stored;
    if (!code && cuda->plan->training) {
        code = take_floats(cuda, &cuda->partial, KERNEL_PARTS * 2 * stored, "sums", err);
    }
    if (!code && cuda->plan->training && cuda->bf16) {
        code = cuda_take(cuda, &cuda->filter, filter * 2, "a gradient", err);
    }
    return code;
}

static err_code_t take_input(cuda_t *cuda, err_t *err) {
    int64_t batch = cuda->plan->max_batch;
    err_code_t code =
        cuda_take(cuda, (void **)&cuda->input_memory, (int64_t)cuda->input_size, "input", err);
    if (!code) {
        code = take_floats(cuda, &cuda->table, NN_CHANNELS_MAX * 256, "input", err);
    }
    if (!code && cuda->plan->training) {
        code =
            cuda_take(cuda, (void **)&cuda->losses, batch * (int64_t)sizeof(double), "losses", err);
    }
    if (!code && cuda->plan->training) {
        code =
            cuda_take(cuda, (void **)&cuda->correct, batch * (int64_t)sizeof(int), "losses", err);
    }
    if (!code && cuda->plan->training) {
        code = cuda_take(cuda, (void **)&cuda->result, sizeof(step_result_t), "losses", err);
    }
    return code;
}

// The pinned buffer takes the input, the largest tensor as it lies here, or the logits.
static err_code_t take_pinned(cuda_t *cuda, err_t *err) {
    if (cuda->counting) {
        return ERR_OK;
    }
    const values_t *logits = &cuda->values[cuda->stage_count];
    size_t sizes[] = {cuda->input_size,
                      (size_t)(cuda->plan->max_batch * logits->sample) * sizeof(float),
                      NN_CHANNELS_MAX * 256 * sizeof(float)};
    for (int i = 0; i < 3; i++) {
        cuda->io_size = sizes[i] > cuda->io_size ? sizes[i] : cuda->io_size;
    }
    for (int i = 0; i < cuda->stage_count; i++) {
        size_t slice = (size_t)cuda->stages[i].slice_count * sizeof(float);
        cuda->io_size = slice > cuda->io_size ? slice : cuda->io_size;
    }
    err_code_t code = device_check(cudaMallocHost((void **)&cuda->host_memory, cuda->io_size),
                                   "pinned memory", err);
    if (!code) {
        code = device_check(cudaMallocHost((void **)&cuda->host_result, sizeof(step_result_t)),
                            "pinned memory", err);
    }
    return code;
}

// What a byte of each channel becomes.
static err_code_t fill_table(cuda_t *cuda, err_t *err) {
    float *table = (float *)cuda->host_memory;
    for (int c = 0; c < NN_CHANNELS_MAX; c++) {
        for (int pixel = 0; pixel < 256; pixel++) {
            table[c * 256 + pixel] = (float)((pixel - (double)cuda->plan->mean[c]) / 255);
        }
    }
    err_code_t code =
        device_check(cudaMemcpyAsync(cuda->table, table, NN_CHANNELS_MAX * 256 * sizeof(float),
                                     cudaMemcpyHostToDevice, cuda->stream),
                     "input", err);
    return code ? code : device_check(cudaStreamSynchronize(cuda->stream), "starting", err);
}

// --- Whole

err_code_t cuda_memory_open(cuda_t *cuda, err_t *err) {
    err_code_t code = cuda->borrows ? ERR_OK : take_parameters(cuda, err);
    if (!code) {
        code = take_stages(cuda, err);
    }
    if (!code) {
        code = take_values(cuda, err);
    }
    if (!code) {
        code = take_input(cuda, err);
    }
    if (!code) {
        code = take_pinned(cuda, err);
    }
    return code || cuda->counting ? code : fill_table(cuda, err);
}

// Its own activations.
static void close_values(cuda_t *cuda) {
    for (int i = 0; i <= cuda->stage_count; i++) {
        give_back(&cuda->values[i].data);
    }
    give_back(&cuda->input_memory);
    give_back(&cuda->table);
    cudaFreeHost(cuda->host_memory);
    cudaFreeHost(cuda->host_result);
    cuda->host_memory = NULL;
    cuda->host_result = NULL;
}

static void close_norm(stage_t *stage) {
    norm_t *norm = &stage->norm;
    void *all[] = {&stage->moving[0],     &stage->moving[1],   &stage->fixed.mean,
                   &stage->fixed.inverse, &norm->mean,         &norm->inverse,
                   &norm->variance,       &norm->beta_mean,    &norm->gamma_mean,
                   &stage->estimate[0],   &stage->estimate[1], &norm->sums[0],
                   &norm->sums[1]};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        give_back(all[i]);
    }
}

void cuda_memory_close(cuda_t *cuda) {
    close_values(cuda);
    for (int i = 0; i < cuda->stage_count; i++) {
        give_back(&cuda->stages[i].code);
        if (!cuda->borrows) {
            close_norm(&cuda->stages[i]);
        }
    }
    for (int part = NN_PARAM; part <= NN_GRADIENT && !cuda->borrows; part++) {
        give_back(&cuda->parts[part]);
    }
    if (!cuda->borrows) {
        give_back(&cuda->half);
    }
    void *rest[] = {&cuda->filter, &cuda->gradient[0], &cuda->gradient[1], &cuda->partial,
                    &cuda->losses, &cuda->correct,     &cuda->result};
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        give_back(rest[i]);
    }
}

void cuda_memory_seal(cuda_t *cuda) {
    close_values(cuda);
}

uint64_t cuda_memory(const nn_plan_t *plan) {
    cuda_t *cuda = mem_zero(1, sizeof *cuda);
    cuda->counting = true;
    cuda_plan(cuda, plan);
    cuda_memory_open(cuda, NULL);
    uint64_t bytes = cuda->bytes;
    free(cuda);
    return bytes;
}
