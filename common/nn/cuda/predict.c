// Prediction: a batch is padded to the next of a few sizes, so that few plans are needed. Dense
// layers are a kernel of ours here, whose sums do not depend on the batch.
#include "nn/cuda/cuda_impl.h"
#include "nn/ref/ref_impl.h"

#include <string.h>

err_code_t cuda_fix(cuda_t *cuda, err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = 0; i < cuda->stage_count && !cuda->fixed_ready && !code; i++) {
        const stage_t *stage = &cuda->stages[i];
        float *const *from = cuda->estimated ? stage->estimate : stage->moving;
        if (stage->chain.norm) {
            code = device_check(
                kernel_fixed(cuda->stream, &stage->chain, &stage->fixed, from[0], from[1]),
                "statistics", err);
        }
    }
    cuda->fixed_ready = !code;
    return code;
}

static int bucket_for(const cuda_t *cuda, int count) {
    static const int sizes[] = {1, 8, 32, 128, 512};
    int most = cuda->plan->max_batch;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (count <= sizes[i]) {
            return sizes[i] < most ? sizes[i] : most;
        }
    }
    return most;
}

// As floats: pixels become what the device's table would make of them.
static void stage_samples(const cuda_t *cuda, const nn_sample_t *samples, int count) {
    const nn_spec_t *spec = &cuda->plan->spec;
    int64_t numbers = (int64_t)spec->height * spec->width * spec->channels;
    float *to = cuda_input(cuda, cuda->host_memory).floats;
    for (int n = 0; n < count; n++, to += numbers) {
        if (!samples[n].pixels) {
            memcpy(to, samples[n].input, (size_t)numbers * sizeof *to);
            continue;
        }
        const uint8_t *pixels = samples[n].pixels;
        for (int64_t i = 0; i < numbers; i++) {
            double mean = (double)cuda->plan->mean[i % spec->channels];
            to[i] = (float)((pixels[i] - mean) / 255);
        }
    }
}

static err_code_t record(cuda_t *cuda, set_t *set, err_t *err) {
    const nn_spec_t *spec = &cuda->plan->spec;
    const values_t *values = &cuda->values[0], *logits = &cuda->values[cuda->stage_count];
    int64_t area = (int64_t)spec->height * spec->width;
    size_t size = (size_t)(set->count * area * spec->channels) * sizeof(float);
    float *floats = cuda_input(cuda, cuda->input_memory).floats;
    err_code_t code =
        device_check(cudaMemcpyAsync(floats, cuda_input(cuda, cuda->host_memory).floats, size,
                                     cudaMemcpyHostToDevice, cuda->stream),
                     "input", err);
    if (!code) {
        code = device_check(kernel_load_floats(cuda->stream, values->bf16, floats, set->count, area,
                                               spec->channels, values->data),
                            "input", err);
    }
    if (!code) {
        code = cuda_forward(cuda, set, PASS_PREDICT, err);
    }
    return code
               ? code
               : device_check(cudaMemcpyAsync(cuda->host_memory, logits->data,
                                              (size_t)(set->count * logits->sample) * sizeof(float),
                                              cudaMemcpyDeviceToHost, cuda->stream),
                              "logits", err);
}

static err_code_t predict_some(cuda_t *cuda, const nn_sample_t *samples, int count, err_t *err) {
    set_t *set = NULL;
    const values_t *logits = &cuda->values[cuda->stage_count];
    err_code_t code = cuda_set_find(cuda, false, bucket_for(cuda, count), &set, err);
    if (!code) {
        stage_samples(cuda, samples, count);
        code = cuda_set_run(cuda, set, 0, record, err);
    }
    if (!code) {
        code = cuda_wait(cuda, err);
    }
    for (int64_t n = 0; n < count && !code; n++) {
        ref_head_probabilities(&cuda->plan->spec,
                               (const float *)cuda->host_memory + n * logits->sample, 1,
                               samples[n].probabilities);
    }
    if (!code) {
        set->warm = true;
    }
    return code;
}

// Its activations are its own, on the device: the workspace is not used.
err_code_t cuda_predict(void *self, nn_workspace_t *workspace, const nn_sample_t *samples,
                        int count, err_t *err) {
    (void)workspace;
    cuda_t *cuda = self;
    err_code_t code = device_use(err);
    if (!code && !cuda->borrows) {
        code = cuda_fix(cuda, err);
    }
    return code ? code : predict_some(cuda, samples, count, err);
}
