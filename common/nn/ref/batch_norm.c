// Batch normalisation (Ioffe, Szegedy 2015) over samples and pixels of each channel. The variance
// is that of the population, for normalising and for the moving statistics, as in Keras.
#include "nn/ref/ref_impl.h"

#include <math.h>
#include <string.h>

enum { GAMMA, BETA, MEAN, VARIANCE }; // the layer's tensors

static void batch_moments(const ref_layer_t *layer, const ref_real_t *in, int count, int c) {
    int64_t plane = (int64_t)layer->in.height * layer->in.width, step = ref_volume(layer->in);
    double sum = 0, square = 0, images = (double)count * (double)plane;
    if (count == 0) {
        layer->moments.mean[c] = layer->moments.variance[c] = 0;
        return;
    }
    for (int n = 0; n < count; n++) {
        for (int64_t i = 0; i < plane; i++) {
            sum += (double)in[n * step + c * plane + i];
        }
    }
    double mean = sum / images;
    for (int n = 0; n < count; n++) {
        for (int64_t i = 0; i < plane; i++) {
            double off = (double)in[n * step + c * plane + i] - mean;
            square += off * off;
        }
    }
    layer->moments.mean[c] = mean;
    layer->moments.variance[c] = square / images;
}

static void find_moments(ref_t *ref, const ref_layer_t *layer, const ref_pass_t *pass, int c) {
    if (pass->mode != REF_PREDICT) {
        batch_moments(layer, ref_input(ref, layer), pass->count, c);
        return;
    }
    nn_part_t part = ref->estimated ? NN_ESTIMATE : NN_PARAM;
    layer->moments.mean[c] = (double)ref_tensor(ref, layer, part, MEAN)[c];
    layer->moments.variance[c] = (double)ref_tensor(ref, layer, part, VARIANCE)[c];
}

static double share(const ref_pass_t *pass) {
    return (double)pass->count / pass->total;
}

err_code_t ref_batch_norm_moments(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                                  err_t *err) {
    for (int c = 0; c < layer->in.channels; c++) {
        find_moments(ref, layer, pass, c);
    }
    if (pass->mode != REF_TRAIN || !nn_syncs(pass->replicas)) {
        return ERR_OK;
    }
    nn_moments_t moments = {layer->moments.mean, layer->moments.variance, layer->in.channels};
    return nn_moments_of_all(pass->replicas, share(pass), moments, err);
}

void ref_batch_norm_forward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass) {
    const ref_real_t *in = ref_input(ref, layer);
    int64_t plane = (int64_t)layer->in.height * layer->in.width, step = ref_volume(layer->in);
    for (int c = 0; c < layer->in.channels; c++) {
        double mean = layer->moments.mean[c];
        double scale = (double)ref_tensor(ref, layer, NN_PARAM, GAMMA)[c] /
                       sqrt(layer->moments.variance[c] + (double)layer->spec->epsilon);
        double beta = (double)ref_tensor(ref, layer, NN_PARAM, BETA)[c];
        for (int n = 0; n < pass->count; n++) {
            int64_t at = n * step + c * plane;
            for (int64_t i = at; i < at + plane; i++) {
                layer->output[i] = (ref_real_t)(((double)in[i] - mean) * scale + beta);
            }
        }
    }
}

static double inverse_deviation(const ref_layer_t *layer, int c) {
    return 1 / sqrt(layer->moments.variance[c] + (double)layer->spec->epsilon);
}

// With x̂ = (x − mean)/σ and N numbers a channel:
// dγ = Σ g·x̂, dβ = Σ g, dx = γ/σ · (g − dβ/N − x̂·dγ/N).
err_code_t ref_batch_norm_sums(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                               const ref_real_t *behind, err_t *err) {
    const ref_real_t *in = ref_input(ref, layer);
    int channels = layer->in.channels;
    int64_t plane = (int64_t)layer->in.height * layer->in.width, step = ref_volume(layer->in);
    for (int c = 0; c < channels; c++) {
        double mean = layer->moments.mean[c], inverse = inverse_deviation(layer, c);
        double gamma = 0, beta = 0;
        for (int n = 0; n < pass->count; n++) {
            int64_t at = n * step + c * plane;
            for (int64_t i = at; i < at + plane; i++) {
                gamma += (double)behind[i] * ((double)in[i] - mean) * inverse;
                beta += (double)behind[i];
            }
        }
        layer->moments.beta[c] = beta;
        layer->moments.gamma[c] = gamma;
        ref_tensor(ref, layer, NN_GRADIENT, GAMMA)[c] = (float)gamma;
        ref_tensor(ref, layer, NN_GRADIENT, BETA)[c] = (float)beta;
    }
    if (!nn_syncs(pass->replicas)) {
        return ERR_OK;
    }
    return pass->replicas->sums(pass->replicas->arg, layer->moments.beta, 2 * (size_t)channels,
                                err);
}

void ref_batch_norm_backward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                             const ref_real_t *behind, ref_real_t *before) {
    const ref_real_t *in = ref_input(ref, layer);
    int64_t plane = (int64_t)layer->in.height * layer->in.width, step = ref_volume(layer->in);
    double images = (double)(nn_syncs(pass->replicas) ? pass->total : pass->count) * (double)plane;
    for (int c = 0; c < layer->in.channels && before; c++) {
        double mean = layer->moments.mean[c], inverse = inverse_deviation(layer, c);
        double beta = layer->moments.beta[c] / images, gamma = layer->moments.gamma[c] / images;
        double scale = (double)ref_tensor(ref, layer, NN_PARAM, GAMMA)[c] * inverse;
        for (int n = 0; n < pass->count; n++) {
            int64_t at = n * step + c * plane;
            for (int64_t i = at; i < at + plane; i++) {
                double unit = ((double)in[i] - mean) * inverse;
                before[i] = (ref_real_t)(scale * ((double)behind[i] - beta - unit * gamma));
            }
        }
    }
}

void ref_batch_norm_move(ref_t *ref, ref_layer_t *layer) {
    double keep = (double)layer->spec->momentum;
    float *mean = ref_tensor(ref, layer, NN_PARAM, MEAN);
    float *variance = ref_tensor(ref, layer, NN_PARAM, VARIANCE);
    for (int c = 0; c < layer->in.channels; c++) {
        mean[c] = (float)(keep * (double)mean[c] + (1 - keep) * layer->moments.mean[c]);
        variance[c] = (float)(keep * (double)variance[c] + (1 - keep) * layer->moments.variance[c]);
    }
}

void ref_batch_norm_clear(ref_layer_t *layer) {
    size_t size = (size_t)layer->in.channels * sizeof(double);
    memset(layer->moments.mean_sum, 0, size);
    memset(layer->moments.second_sum, 0, size);
}

void ref_batch_norm_collect(ref_layer_t *layer, int images) {
    ref_moments_t *moments = &layer->moments;
    for (int c = 0; c < layer->in.channels; c++) {
        double mean = moments->mean[c];
        moments->mean_sum[c] += images * mean;
        moments->second_sum[c] += images * (moments->variance[c] + mean * mean);
    }
}

void ref_batch_norm_settle(ref_t *ref, ref_layer_t *layer, int64_t images) {
    for (int c = 0; c < layer->in.channels; c++) {
        double mean = layer->moments.mean_sum[c] / (double)images;
        double variance = layer->moments.second_sum[c] / (double)images - mean * mean;
        ref_tensor(ref, layer, NN_ESTIMATE, MEAN)[c] = (float)mean;
        ref_tensor(ref, layer, NN_ESTIMATE, VARIANCE)[c] = (float)(variance > 0 ? variance : 0);
    }
}
