// What backends share about replicas: gradients in buckets, statistics over all ranks. replicas may
// be NULL only where it says so.
#ifndef INKLING_NN_REPLICAS_IMPL_H
#define INKLING_NN_REPLICAS_IMPL_H

#include "nn/nn.h"

// Floats of a bucket; the last one may have fewer. Large enough for a network's bandwidth, small
// enough that sums begin long before the way back ends.
#define NN_BUCKET (1ll << 20)

// Gradients lie one behind the other in the order of layers, and become final from the last layer
// to the first: buckets are cut from the end.
typedef struct {
    const nn_replicas_t *replicas; // NULL: nothing to do
    float *gradients;
    int64_t rest; // floats not sent yet
    int sent;     // buckets
} nn_buckets_t;

void nn_buckets_begin(nn_buckets_t *buckets, const nn_replicas_t *replicas, float *gradients,
                      int64_t count);
// All from `from` on are final: whole buckets of them go. 0: what is left goes, too, and all sums
// are there when this returns.
err_code_t nn_buckets_ready(nn_buckets_t *buckets, int64_t from, err_t *err);

// Of each channel of one batch-norm.
typedef struct {
    double *mean, *variance;
    int channels;
} nn_moments_t;

// The moments of this rank's samples, which are `share` of the batch's, become those of all ranks'.
// A rank without samples has share 0, whatever its numbers.
err_code_t nn_moments_of_all(const nn_replicas_t *replicas, double share, nn_moments_t moments,
                             err_t *err);
// Those of several layers become their averages over the ranks, weighted by share; at one go.
err_code_t nn_averages_of_all(const nn_replicas_t *replicas, double share,
                              const nn_moments_t *moments, int count, err_t *err);

// sync_bn is asked for, and there is more than this rank.
static inline bool nn_syncs(const nn_replicas_t *replicas) {
    return replicas && replicas->sync_bn && replicas->world > 1;
}

#endif
