#include "nn/replicas_impl.h"

#include <stdlib.h>
#include <string.h>

void nn_buckets_begin(nn_buckets_t *buckets, const nn_replicas_t *replicas, float *gradients,
                      int64_t count) {
    *buckets = (nn_buckets_t){.replicas = replicas, .gradients = gradients, .rest = count};
}

static err_code_t send(nn_buckets_t *buckets, int64_t count, err_t *err) {
    buckets->rest -= count;
    const nn_replicas_t *replicas = buckets->replicas;
    return replicas->gradients(replicas->arg, buckets->sent++, buckets->gradients + buckets->rest,
                               (size_t)count, err);
}

err_code_t nn_buckets_ready(nn_buckets_t *buckets, int64_t from, err_t *err) {
    err_code_t code = ERR_OK;
    if (!buckets->replicas) {
        return ERR_OK;
    }
    while (!code && buckets->rest - from >= NN_BUCKET) {
        code = send(buckets, NN_BUCKET, err);
    }
    if (!code && from == 0 && buckets->rest > 0) {
        code = send(buckets, buckets->rest, err);
    }
    if (!code && from == 0) {
        const nn_replicas_t *replicas = buckets->replicas;
        buckets->replicas = NULL; // once
        code = replicas->finish ? replicas->finish(replicas->arg, err) : ERR_OK;
    }
    return code;
}

// Sums over ranks of share · (mean, variance + mean²), or of share · (mean, variance).
static err_code_t combine(const nn_replicas_t *replicas, double share, bool second, double *mean,
                          double *variance, int channels, err_t *err) {
    double *sums = malloc(2 * (size_t)channels * sizeof *sums);
    if (!sums) {
        return err_set(err, ERR_NO_MEMORY, "no memory for sums of %d channels", channels);
    }
    for (int c = 0; c < channels; c++) {
        double square = second ? mean[c] * mean[c] : 0;
        sums[c] = share > 0 ? share * mean[c] : 0;
        sums[channels + c] = share > 0 ? share * (variance[c] + square) : 0;
    }
    err_code_t code = replicas->sums(replicas->arg, sums, 2 * (size_t)channels, err);
    for (int c = 0; c < channels && !code; c++) {
        mean[c] = sums[c];
        double whole = sums[channels + c] - (second ? sums[c] * sums[c] : 0);
        variance[c] = whole < 0 ? 0 : whole; // NaN stays
    }
    free(sums);
    return code;
}

err_code_t nn_moments_of_all(const nn_replicas_t *replicas, double share, double *mean,
                             double *variance, int channels, err_t *err) {
    return combine(replicas, share, true, mean, variance, channels, err);
}

err_code_t nn_average_of_all(const nn_replicas_t *replicas, double share, double *mean,
                             double *variance, int channels, err_t *err) {
    return combine(replicas, share, false, mean, variance, channels, err);
}
