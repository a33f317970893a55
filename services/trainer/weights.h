// One array per tensor of a network, in one piece of memory, shared by counting.
#ifndef INKLING_TRAINER_WEIGHTS_H
#define INKLING_TRAINER_WEIGHTS_H

#include "nn/nn.h"

#include <stdbool.h>

typedef struct weights weights_t;

// trained_only: no arrays for the moving statistics. Contents undefined. NULL: no memory.
weights_t *weights_new(const nn_tensor_t *tensors, int count, bool trained_only);
weights_t *weights_hold(weights_t *weights); // NULL is allowed
void weights_release(weights_t **weights);   // allows *weights == NULL; safe from any thread

// NULL if the tensor has none.
float *weights_at(const weights_t *weights, int index);
const float *const *weights_all(const weights_t *weights);

// Every number is finite.
bool weights_finite(const weights_t *weights, const nn_tensor_t *tensors);

// Reads a part of the engine into every array, or sets it from them.
err_code_t weights_get(weights_t *weights, nn_t *nn, nn_part_t part, err_t *err);
err_code_t weights_set(const weights_t *weights, nn_t *nn, nn_part_t part, err_t *err);

#endif
