#include "nn/cuda/cuda_impl.h"

#include <math.h>
#include <string.h>

err_code_t cuda_wait(cuda_t *cuda, err_t *err) {
    return device_check(cudaStreamSynchronize(cuda->stream), "waiting for the device", err);
}

static err_code_t queued(cudaError_t code, err_t *err) {
    return device_check(code, "queueing a kernel", err);
}

static const step_args_t *device_args(const cuda_t *cuda) {
    return cuda_input(cuda, cuda->input_memory).args;
}

// --- Forward

static err_code_t forward_conv(cuda_t *cuda, set_t *set, const stage_t *stage, err_t *err) {
    const values_t *to = &cuda->values[stage->index + 1];
    err_code_t code = conv_plan_run(cuda->convs, set->conv[stage->index][CONV_FORWARD], err);
    if (!code && stage->bias) {
        int64_t rows = (int64_t)set->count * to->shape.height * to->shape.width;
        code = queued(kernel_bias(cuda->stream, to->bf16, rows, to->stored,
                                  cuda_part(cuda, NN_PARAM, stage->tensor + 1), to->data),
                      err);
    }
    return code;
}

static err_code_t forward_chain(cuda_t *cuda, const set_t *set, const stage_t *stage, pass_t pass,
                                err_t *err) {
    const values_t *from = &cuda->values[stage->index], *to = from + 1;
    chain_t chain = stage->chain;
    chain.count = set->count;
    const norm_t *norm = pass == PASS_PREDICT ? &stage->fixed : &stage->norm;
    const float *gamma = chain.norm ? cuda_part(cuda, NN_PARAM, stage->tensor) : NULL;
    const float *beta = chain.norm ? cuda_part(cuda, NN_PARAM, stage->tensor + 1) : NULL;
    err_code_t code = ERR_OK;
    if (chain.norm && pass != PASS_PREDICT) {
        code =
            queued(kernel_moments(cuda->stream, &chain, from->data, norm, cuda->partial,
                                  pass == PASS_TRAIN ? stage->moving : NULL, pass == PASS_ESTIMATE),
                   err);
    }
    return code ? code
                : queued(kernel_chain(cuda->stream, &chain, from->data, norm, gamma, beta,
                                      device_args(cuda), to->data,
                                      pass == PASS_TRAIN ? stage->code : NULL),
                         err);
}

static err_code_t forward_dense(cuda_t *cuda, set_t *set, const stage_t *stage, err_t *err) {
    const values_t *from = &cuda->values[stage->index], *to = from + 1;
    if (set->training) {
        return dense_plan_run(cuda->denses, set->dense[stage->index][DENSE_FORWARD], err);
    }
    return queued(kernel_dense(cuda->stream, set->count, from->shape.channels, from->stored,
                               to->shape.channels, to->stored, from->data,
                               cuda_part(cuda, NN_PARAM, stage->tensor),
                               stage->bias ? cuda_part(cuda, NN_PARAM, stage->tensor + 1) : NULL,
                               to->data),
                  err);
}

static err_code_t forward_flatten(cuda_t *cuda, const set_t *set, const stage_t *stage,
                                  err_t *err) {
    const values_t *from = &cuda->values[stage->index], *to = from + 1;
    return queued(kernel_flatten(cuda->stream, from->bf16, set->count,
                                 (int64_t)from->shape.height * from->shape.width,
                                 from->shape.channels, from->stored, to->stored, from->data,
                                 to->data),
                  err);
}

err_code_t cuda_forward(cuda_t *cuda, set_t *set, pass_t pass, err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = 0; i < cuda->stage_count && !code; i++) {
        const stage_t *stage = &cuda->stages[i];
        switch (stage->kind) {
        case STAGE_CONV:
            code = forward_conv(cuda, set, stage, err);
            break;
        case STAGE_CHAIN:
            code = forward_chain(cuda, set, stage, pass, err);
            break;
        case STAGE_FLATTEN:
            code = forward_flatten(cuda, set, stage, err);
            break;
        case STAGE_DENSE:
            code = forward_dense(cuda, set, stage, err);
            break;
        }
    }
    return code;
}

// --- Backward: from the gradients behind a stage to those in front of it and of its parameters

static err_code_t back_bias(cuda_t *cuda, const set_t *set, const stage_t *stage,
                            const void *behind, err_t *err) {
    const values_t *to = &cuda->values[stage->index + 1];
    int64_t rows = (int64_t)set->count * to->shape.height * to->shape.width;
    return queued(kernel_bias_back(cuda->stream, to->bf16, rows, to->stored, behind, cuda->partial,
                                   cuda_part(cuda, NN_GRADIENT, stage->tensor + 1)),
                  err);
}

static err_code_t back_conv(cuda_t *cuda, set_t *set, const stage_t *stage, const void *behind,
                            err_t *err) {
    conv_plan_t **plans = set->conv[stage->index];
    const place_t *place = &cuda->places[stage->tensor];
    err_code_t code = conv_plan_run(cuda->convs, plans[CONV_FILTER], err);
    if (!code && cuda->bf16) {
        int64_t count = (int64_t)place->stored * place->area * place->stored_ins;
        code = queued(kernel_widen(cuda->stream, count, cuda->filter,
                                   cuda_part(cuda, NN_GRADIENT, stage->tensor)),
                      err);
    }
    if (!code && stage->bias) {
        code = back_bias(cuda, set, stage, behind, err);
    }
    return code || !stage->passes ? code : conv_plan_run(cuda->convs, plans[CONV_DATA], err);
}

static err_code_t back_chain(cuda_t *cuda, const set_t *set, const stage_t *stage,
                             const void *behind, void *before, err_t *err) {
    const values_t *from = &cuda->values[stage->index];
    chain_t chain = stage->chain;
    chain.count = set->count;
    const float *gamma = chain.norm ? cuda_part(cuda, NN_PARAM, stage->tensor) : NULL;
    err_code_t code = ERR_OK;
    if (chain.norm) {
        code = queued(kernel_chain_sums(cuda->stream, &chain, from->data, behind, stage->code,
                                        &stage->norm, cuda->partial,
                                        cuda_part(cuda, NN_GRADIENT, stage->tensor),
                                        cuda_part(cuda, NN_GRADIENT, stage->tensor + 1)),
                      err);
    }
    return code || !stage->passes
               ? code
               : queued(kernel_chain_back(cuda->stream, &chain, from->data, behind, stage->code,
                                          &stage->norm, gamma, before),
                        err);
}

static err_code_t back_dense(cuda_t *cuda, set_t *set, const stage_t *stage, const void *behind,
                             err_t *err) {
    dense_plan_t **plans = set->dense[stage->index];
    err_code_t code = dense_plan_run(cuda->denses, plans[DENSE_FILTER], err);
    if (!code && stage->bias) {
        code = back_bias(cuda, set, stage, behind, err);
    }
    return code || !stage->passes ? code : dense_plan_run(cuda->denses, plans[DENSE_DATA], err);
}

static err_code_t back_flatten(cuda_t *cuda, const set_t *set, const stage_t *stage,
                               const void *behind, void *before, err_t *err) {
    const values_t *from = &cuda->values[stage->index], *to = from + 1;
    if (!stage->passes) {
        return ERR_OK;
    }
    return queued(kernel_unflatten(cuda->stream, from->bf16, set->count,
                                   (int64_t)from->shape.height * from->shape.width,
                                   from->shape.channels, from->stored, to->stored, behind, before),
                  err);
}

static err_code_t backward(cuda_t *cuda, set_t *set, err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = cuda->stage_count - 1; i >= 0 && !code; i--) {
        const stage_t *stage = &cuda->stages[i];
        int turn = (cuda->stage_count - 1 - i) % 2;
        void *behind = cuda->gradient[turn], *before = cuda->gradient[1 - turn];
        switch (stage->kind) {
        case STAGE_CONV:
            code = back_conv(cuda, set, stage, behind, err);
            break;
        case STAGE_CHAIN:
            code = back_chain(cuda, set, stage, behind, before, err);
            break;
        case STAGE_FLATTEN:
            code = back_flatten(cuda, set, stage, behind, before, err);
            break;
        case STAGE_DENSE:
            code = back_dense(cuda, set, stage, behind, err);
            break;
        }
    }
    return code;
}

// --- A step

static int64_t image_bytes(const cuda_t *cuda) {
    const nn_spec_t *spec = &cuda->plan->spec;
    return (int64_t)spec->height * spec->width * spec->channels;
}

static err_code_t copy_input(cuda_t *cuda, int count, err_t *err) {
    size_t size = cuda->pixels_at + (size_t)(count * image_bytes(cuda));
    return device_check(cudaMemcpyAsync(cuda->input_memory, cuda->host_memory, size,
                                        cudaMemcpyHostToDevice, cuda->stream),
                        "input", err);
}

static err_code_t load_pixels(cuda_t *cuda, int count, err_t *err) {
    const nn_spec_t *spec = &cuda->plan->spec;
    const values_t *values = &cuda->values[0];
    return queued(kernel_load(cuda->stream, values->bf16,
                              cuda_input(cuda, cuda->input_memory).pixels, cuda->table, count,
                              (int64_t)spec->height * spec->width, spec->channels, values->data),
                  err);
}

static err_code_t record_gradients(cuda_t *cuda, set_t *set, err_t *err) {
    const nn_spec_t *spec = &cuda->plan->spec;
    const values_t *logits = &cuda->values[cuda->stage_count];
    input_t input = cuda_input(cuda, cuda->input_memory);
    bool binary = spec->layers[spec->layer_count - 1].kind == NN_SIGMOID;
    err_code_t code = copy_input(cuda, set->count, err);
    if (!code) {
        code = load_pixels(cuda, set->count, err);
    }
    if (!code) {
        code = cuda_forward(cuda, set, PASS_TRAIN, err);
    }
    if (!code) {
        code = queued(kernel_loss(cuda->stream, set->count, binary ? 1 : spec->classes,
                                  logits->stored, logits->data, input.labels, input.weights,
                                  input.args, cuda->gradient[0], cuda->losses, cuda->correct),
                      err);
    }
    if (!code) {
        code = queued(
            kernel_result(cuda->stream, set->count, cuda->losses, cuda->correct, cuda->result),
            err);
    }
    if (!code) {
        code = backward(cuda, set, err);
    }
    return code
               ? code
               : device_check(cudaMemcpyAsync(cuda->host_result, cuda->result, sizeof *cuda->result,
                                              cudaMemcpyDeviceToHost, cuda->stream),
                              "the loss", err);
}

static err_code_t record_update(cuda_t *cuda, set_t *set, err_t *err) {
    (void)set;
    return queued(kernel_adam(cuda->stream, cuda->trained, device_args(cuda),
                              cuda->parts[NN_GRADIENT], cuda->parts[NN_ADAM_M],
                              cuda->parts[NN_ADAM_V], cuda->parts[NN_PARAM],
                              cuda->bf16 ? cuda->half : NULL),
                  err);
}

static void fill_input(cuda_t *cuda, const nn_batch_t *batch, uint64_t step,
                       const nn_adam_t *adam) {
    input_t input = cuda_input(cuda, cuda->host_memory);
    double beta1 = (double)adam->beta1, beta2 = (double)adam->beta2, t = (double)step + 1;
    *input.args = (step_args_t){
        .seed = cuda->plan->seed,
        .step = (uint32_t)step,
        .position = batch->position,
        .batch_total = batch->batch_total,
        .rate = (float)((double)adam->lr * sqrt(1 - pow(beta2, t)) / (1 - pow(beta1, t))),
        .beta1 = adam->beta1,
        .beta2 = adam->beta2,
        .epsilon = adam->epsilon};
    memcpy(input.labels, batch->labels, (size_t)batch->count * sizeof *input.labels);
    for (int i = 0; i < batch->count; i++) {
        input.weights[i] = batch->weights ? batch->weights[i] : 1;
    }
    memcpy(input.pixels, batch->pixels, (size_t)(batch->count * image_bytes(cuda)));
}

static err_code_t no_replicas(err_t *err) {
    err_set(err, ERR_UNSUPPORTED, "the backend cuda trains on one device, not as one of several");
    return err_remedy(err, "use 1 replica, or the backend cpu");
}

err_code_t cuda_step(void *self, const nn_batch_t *batch, uint64_t step, const nn_adam_t *adam,
                     const nn_replicas_t *replicas, nn_result_t *result, err_t *err) {
    cuda_t *cuda = self;
    set_t *set = NULL;
    if (replicas) {
        return no_replicas(err);
    }
    cuda->estimated = false;
    cuda->fixed_ready = false;
    err_code_t code = device_use(err);
    if (!code) {
        code = cuda_set_find(cuda, true, batch->count, &set, err);
    }
    if (code) {
        return code;
    }
    fill_input(cuda, batch, step, adam);
    code = cuda_set_run(cuda, set, 0, record_gradients, err);
    if (!code) {
        code = cuda_set_run(cuda, set, 1, record_update, err);
    }
    if (!code) {
        code = cuda_wait(cuda, err);
    }
    if (!code) {
        set->warm = true;
        result->loss = cuda->host_result->loss;
        result->correct = cuda->host_result->correct;
    }
    return code;
}

// --- Statistics

static err_code_t clear_sums(cuda_t *cuda, err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = 0; i < 2 * cuda->stage_count && !code; i++) {
        const stage_t *stage = &cuda->stages[i / 2];
        if (stage->chain.norm) {
            code = device_check(cudaMemsetAsync(stage->norm.sums[i % 2], 0,
                                                (size_t)stage->chain.stored * sizeof(double),
                                                cuda->stream),
                                "statistics", err);
        }
    }
    return code;
}

static err_code_t estimate_chunk(cuda_t *cuda, const uint8_t *pixels, int count, err_t *err) {
    set_t *set = NULL;
    err_code_t code = cuda_set_find(cuda, true, count, &set, err);
    if (!code) {
        memcpy(cuda_input(cuda, cuda->host_memory).pixels, pixels,
               (size_t)(count * image_bytes(cuda)));
        code = copy_input(cuda, count, err);
    }
    if (!code) {
        code = load_pixels(cuda, count, err);
    }
    if (!code) {
        code = cuda_forward(cuda, set, PASS_ESTIMATE, err);
    }
    return code ? code : cuda_wait(cuda, err); // the pinned buffer is used again
}

err_code_t cuda_bn_estimate(void *self, const uint8_t *pixels, int64_t count,
                            const nn_replicas_t *replicas, err_t *err) {
    cuda_t *cuda = self;
    if (replicas) {
        return no_replicas(err);
    }
    int chunk = cuda->plan->max_batch;
    chunk = chunk < NN_ESTIMATE_CHUNK ? chunk : NN_ESTIMATE_CHUNK;
    cuda->fixed_ready = false;
    err_code_t code = device_use(err);
    if (!code) {
        code = clear_sums(cuda, err);
    }
    for (int64_t done = 0; done < count && !code; done += chunk) {
        int now = count - done < chunk ? (int)(count - done) : chunk;
        code = estimate_chunk(cuda, pixels + done * image_bytes(cuda), now, err);
    }
    for (int i = 0; i < cuda->stage_count && !code; i++) {
        const stage_t *stage = &cuda->stages[i];
        if (stage->chain.norm) {
            code = queued(kernel_settle(cuda->stream, stage->chain.stored, &stage->norm,
                                        (double)count, stage->estimate[0], stage->estimate[1]),
                          err);
        }
    }
    if (!code) {
        code = cuda_wait(cuda, err);
    }
    cuda->estimated = !code;
    return code;
}
