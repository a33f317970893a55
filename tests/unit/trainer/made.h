// Made-up checkpoints of a small network, and a folder to keep them in.
#ifndef INKLING_TESTS_TRAINER_MADE_H
#define INKLING_TESTS_TRAINER_MADE_H

#include "trainer/checkpoint.h"

typedef struct {
    char folder[64];
    nn_tensor_t tensors[NN_TENSORS_MAX];
    int count;
} made_t;

int made_set_up(void **state); // a made_t
int made_tear_down(void **state);
// After step steps and so many epochs; its numbers depend on step alone.
checkpoint_t made_checkpoint(const made_t *made, uint64_t step, int epochs);
bool made_same(const made_t *made, const weights_t *a, const weights_t *b);

#endif
