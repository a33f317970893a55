#include "trainer/weights.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

struct weights {
    atomic_int holders;
    int count;
    float *block, *at[NN_TENSORS_MAX];
};

weights_t *weights_new(const nn_tensor_t *tensors, int count, bool trained_only) {
    weights_t *weights = mem_zero(1, sizeof *weights);
    int64_t total = 0;
    atomic_init(&weights->holders, 1);
    weights->count = count;
    for (int i = 0; i < count; i++)
        if (tensors[i].trained || !trained_only)
            total += tensors[i].count;
    ERR_ASSERT(total > 0);
    weights->block = malloc((size_t)total * sizeof(float));
    if (!weights->block) {
        weights_release(&weights);
        return NULL;
    }
    float *next = weights->block;
    for (int i = 0; i < count; i++)
        if (tensors[i].trained || !trained_only) {
            weights->at[i] = next;
            next += tensors[i].count;
        }
    return weights;
}

weights_t *weights_hold(weights_t *weights) {
    if (weights)
        atomic_fetch_add(&weights->holders, 1);
    return weights;
}

void weights_release(weights_t **self) {
    weights_t *weights = *self;
    *self = NULL;
    if (!weights || atomic_fetch_sub(&weights->holders, 1) > 1)
        return;
    free(weights->block);
    free(weights);
}

float *weights_at(const weights_t *weights, int index) {
    ERR_ASSERT(index >= 0 && index < weights->count);
    return weights->at[index];
}

const float *const *weights_all(const weights_t *weights) {
    return (const float *const *)weights->at;
}

bool weights_finite(const weights_t *weights, const nn_tensor_t *tensors) {
    for (int t = 0; t < weights->count; t++)
        for (int64_t i = 0; weights->at[t] && i < tensors[t].count; i++)
            if (!isfinite(weights->at[t][i]))
                return false;
    return true;
}

err_code_t weights_get(weights_t *weights, nn_t *nn, nn_part_t part, err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = 0; i < weights->count && code == ERR_OK; i++)
        if (weights->at[i])
            code = nn_get(nn, part, i, weights->at[i], err);
    return code;
}

err_code_t weights_set(const weights_t *weights, nn_t *nn, nn_part_t part, err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = 0; i < weights->count && code == ERR_OK; i++)
        if (weights->at[i])
            code = nn_set(nn, part, i, weights->at[i], err);
    return code;
}
