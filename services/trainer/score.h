// How good predictions are: accuracy, loss, confusion, area under the ROC curve.
#ifndef INKLING_TRAINER_SCORE_H
#define INKLING_TRAINER_SCORE_H

#include "base/err.h"

#include <jansson.h>
#include <stdint.h>

typedef struct score score_t;

// For at most capacity images; keeps their probabilities. NULL: no memory.
score_t *score_new(int classes, int64_t capacity);
void score_destroy(score_t **score); // allows *score == NULL

// probabilities: classes numbers. The prediction is the most probable class, of several the first.
void score_add(score_t *score, const float *probabilities, int label);

int64_t score_images(const score_t *score);
double score_accuracy(const score_t *score); // 0 without images
double score_loss(const score_t *score);     // mean of nn_loss
// [truth · classes + prediction].
const int64_t *score_confusion(const score_t *score);

// Area under the ROC curve of "class k or not", that is the probability that an image of class k
// has a higher probability of k than another image, ties counted half (mid-ranks); the mean over
// all classes that have images and are not all images. NaN if there is none.
err_code_t score_auc(const score_t *score, double *auc, err_t *err);

// {"images", "accuracy", "loss", "auc" (or null), "confusion": [[…]]}.
err_code_t score_json(const score_t *score, json_t **json, err_t *err);

// Index of the largest; of several the first.
int score_best(const float *probabilities, int classes);

#endif
