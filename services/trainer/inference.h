// Running images of a data set through an engine, batch by batch, with progress, and stopping
// between two batches.
#ifndef INKLING_TRAINER_INFERENCE_H
#define INKLING_TRAINER_INFERENCE_H

#include "child/child.h"
#include "nn/nn.h"
#include "shard/shard.h"
#include "trainer/score.h"

#define INFERENCE_BATCH 32

// What a job tells of its progress.
typedef struct {
    child_t *child;
    uint64_t counter; // grows with every batch, of whatever
    double done, total;
    char text[128];
} pace_t;

// Tells. ERR_CANCELLED if the job shall stop (child_stop says how).
err_code_t pace_tick(pace_t *pace, err_t *err);

// Called for every image, in order.
typedef void inference_fn(void *context, int64_t image, const float *probabilities);

// pace->done grows by advance for every image. nn takes batches of at least INFERENCE_BATCH.
err_code_t inference_split(nn_t *nn, const shard_dataset_t *shards, shard_split_t split,
                           double advance, inference_fn *each, void *context, pace_t *pace,
                           err_t *err);

// The score of one split. labels: class of the model for each of the data set's, or NULL for the
// same. Adds to *score, which must have room.
err_code_t inference_score(nn_t *nn, const shard_dataset_t *shards, shard_split_t split,
                           const int *labels, double advance, score_t *score, pace_t *pace,
                           err_t *err);

#endif
