// Parameters, moments and gradients, from and to the canonical form of spec.h.
#include "nn/cuda/cuda_impl.h"

#include <string.h>

// Where element i of a convolution's canonical weight [out][in][ky][kx] lies.
static int64_t conv_index(const place_t *place, int64_t i) {
    int64_t tap = i % place->area, in = i / place->area % place->ins;
    int64_t out = i / place->area / place->ins;
    return (out * place->area + tap) * place->stored_ins + in;
}

static int64_t stored_count(const nn_tensor_t *tensor, const place_t *place) {
    if (tensor->role == NN_WEIGHT && place->area > 0) {
        return (int64_t)place->stored * place->area * place->stored_ins;
    }
    return tensor->role == NN_WEIGHT ? tensor->count : place->stored;
}

static float *memory_of(const cuda_t *cuda, nn_part_t part, int tensor) {
    const nn_tensor_t *what = &cuda->plan->tensors[tensor];
    const stage_t *stage = &cuda->stages[cuda->places[tensor].stage];
    if (what->trained) {
        return cuda_part(cuda, part, tensor);
    }
    int which = what->role == NN_VARIANCE;
    return part == NN_ESTIMATE ? stage->estimate[which] : stage->moving[which];
}

err_code_t cuda_get(void *self, nn_part_t part, int tensor, float *data, err_t *err) {
    cuda_t *cuda = self;
    const nn_tensor_t *what = &cuda->plan->tensors[tensor];
    const place_t *place = &cuda->places[tensor];
    size_t size = (size_t)stored_count(what, place) * sizeof(float);
    err_code_t code = device_use(err);
    if (!code) {
        code = device_check(cudaMemcpyAsync(cuda->host_memory, memory_of(cuda, part, tensor), size,
                                            cudaMemcpyDeviceToHost, cuda->stream),
                            "reading parameters", err);
    }
    if (!code) {
        code = cuda_wait(cuda, err);
    }
    const float *from = (const float *)cuda->host_memory;
    for (int64_t i = 0; i < what->count && !code; i++) {
        data[i] = from[place->area > 0 && what->role == NN_WEIGHT ? conv_index(place, i) : i];
    }
    return code;
}

err_code_t cuda_set(void *self, nn_part_t part, int tensor, const float *data, err_t *err) {
    cuda_t *cuda = self;
    const nn_tensor_t *what = &cuda->plan->tensors[tensor];
    const place_t *place = &cuda->places[tensor];
    int64_t count = stored_count(what, place);
    float *to = (float *)cuda->host_memory, *memory = memory_of(cuda, part, tensor);
    cuda->estimated = false;
    cuda->fixed_ready = false;
    memset(to, 0, (size_t)count * sizeof *to);
    for (int64_t i = 0; i < what->count; i++) {
        to[place->area > 0 && what->role == NN_WEIGHT ? conv_index(place, i) : i] = data[i];
    }
    err_code_t code = device_use(err);
    if (!code) {
        code = device_check(cudaMemcpyAsync(memory, to, (size_t)count * sizeof *to,
                                            cudaMemcpyHostToDevice, cuda->stream),
                            "writing parameters", err);
    }
    if (!code && cuda->bf16 && part == NN_PARAM && place->area > 0) {
        code = device_check(kernel_halve(cuda->stream, count, memory, cuda_weights(cuda, tensor)),
                            "writing parameters", err);
    }
    return code ? code : cuda_wait(cuda, err);
}
