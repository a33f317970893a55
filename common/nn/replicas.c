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

// Of a rank without samples whatever is there counts nothing, NaN included.
static double weighed(double share, double value) {
    return share > 0 ? share * value : 0;
}

static err_code_t sum(const nn_replicas_t *replicas, double *values, size_t count, err_t *err) {
    return replicas->sums(replicas->arg, values, count, err);
}

err_code_t nn_moments_of_all(const nn_replicas_t *replicas, double share, nn_moments_t moments,
                             err_t *err) {
    int channels = moments.channels;
    double *sums = malloc(2 * (size_t)channels * sizeof *sums);
    if (!sums) {
        return err_set(err, ERR_NO_MEMORY, "no memory for sums of %d channels", channels);
    }
    for (int c = 0; c < channels; c++) {
        double mean = moments.mean[c];
        sums[c] = weighed(share, mean);
        sums[channels + c] = weighed(share, moments.variance[c] + mean * mean);
    }
    err_code_t code = sum(replicas, sums, 2 * (size_t)channels, err);
    for (int c = 0; c < channels && !code; c++) {
        double variance = sums[channels + c] - sums[c] * sums[c];
        moments.mean[c] = sums[c];
        moments.variance[c] = variance < 0 ? 0 : variance; // NaN stays
    }
    free(sums);
    return code;
}

err_code_t nn_averages_of_all(const nn_replicas_t *replicas, double share,
                              const nn_moments_t *moments, int count, err_t *err) {
    size_t numbers = 0, at = 0;
    for (int i = 0; i < count; i++) {
        numbers += 2 * (size_t)moments[i].channels;
    }
    double *sums = malloc((numbers + 1) * sizeof *sums);
    if (!sums) {
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu sums", numbers);
    }
    for (int i = 0; i < count; i++) {
        for (int c = 0; c < moments[i].channels; c++) {
            sums[at++] = weighed(share, moments[i].mean[c]);
            sums[at++] = weighed(share, moments[i].variance[c]);
        }
    }
    err_code_t code = count > 0 ? sum(replicas, sums, numbers, err) : ERR_OK;
    at = 0;
    for (int i = 0; i < count && !code; i++) {
        for (int c = 0; c < moments[i].channels; c++) {
            moments[i].mean[c] = sums[at++];
            moments[i].variance[c] = sums[at++];
        }
    }
    free(sums);
    return code;
}
