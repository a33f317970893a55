// The same model, with the same parameters, in a backend and in the reference, and comparisons of
// what both compute.
//
// The distance of a tensor is ‖backend − ref‖ over ‖ref‖, where ‖ref‖ is at least 1e-3 of what the
// tensor would have at the gradients' overall size (sums that cancel to about nothing have no
// digits to compare; where rounding is all there is, it is all of that size). What is farther apart
// than the subject's tolerance fails the test.
#ifndef TEST_NN_PAIR_H
#define TEST_NN_PAIR_H

#include "subject.h"
#include "support.h"

typedef struct {
    const char *what;
    nn_spec_t spec;
    nn_options_t options;
    const tolerance_t *tolerance;
    nn_t *ref, *nn;
    uint8_t *pixels;
    int32_t *labels;
    float *weights;
} pair_t;

// With inputs for max_batch samples. text: the model's; must outlive the pair.
pair_t pair_make(const subject_t *subject, const char *text, int max_batch);
void pair_free(pair_t *pair);

// The probabilities of the first count images.
void pair_predict(const pair_t *pair, int count);
// The statistics of a normalisation: the mean in units of the deviation.
void pair_statistics(const pair_t *pair, nn_part_t part);
// All of it: predictions and steps of a model of that text, in batches of several sizes.
void pair_compare(const subject_t *subject, const char *text, int max_batch);

#endif
