// Probabilities and cross-entropy, both from logits so that nothing overflows or cancels.
#include "nn/ref/ref_impl.h"

#include <math.h>

static double sigmoid(double logit) {
    return logit >= 0 ? 1 / (1 + exp(-logit)) : exp(logit) / (1 + exp(logit));
}

// log Σ exp(logits), and the index of the first largest.
static double log_sum(const ref_real_t *logits, int classes, int *best) {
    *best = 0;
    for (int k = 1; k < classes; k++) {
        *best = logits[k] > logits[*best] ? k : *best;
    }
    double largest = (double)logits[*best], sum = 0;
    for (int k = 0; k < classes; k++) {
        sum += exp((double)logits[k] - largest);
    }
    return largest + log(sum);
}

// One sample: its loss, the most probable class, and scale · ∂loss/∂logits.
static double binary_loss(double logit, int label, double scale, ref_real_t *gradient, int *best) {
    *best = logit > 0;
    *gradient = (ref_real_t)(scale * (sigmoid(logit) - label));
    return (logit > 0 ? logit : 0) - logit * label + log1p(exp(-fabs(logit)));
}

static double class_loss(const ref_real_t *logits, int classes, int label, double scale,
                         ref_real_t *gradient, int *best) {
    double whole = log_sum(logits, classes, best);
    for (int k = 0; k < classes; k++) {
        gradient[k] = (ref_real_t)(scale * (exp((double)logits[k] - whole) - (k == label)));
    }
    return whole - (double)logits[label];
}

void ref_head_loss(const nn_spec_t *spec, const ref_real_t *logits, const nn_batch_t *batch,
                   ref_real_t *gradient, nn_result_t *result) {
    bool binary = spec->layers[spec->layer_count - 1].kind == NN_SIGMOID;
    int units = binary ? 1 : spec->classes;
    *result = (nn_result_t){0};
    for (int n = 0; n < batch->count; n++) {
        const ref_real_t *at = logits + (int64_t)n * units;
        double weight = batch->weights ? (double)batch->weights[n] : 1;
        double scale = weight / batch->batch_total;
        int label = batch->labels[n], best = 0;
        double loss =
            binary ? binary_loss((double)*at, label, scale, gradient + n, &best)
                   : class_loss(at, units, label, scale, gradient + (int64_t)n * units, &best);
        result->loss += weight * loss;
        result->correct += best == label;
    }
}

void ref_head_probabilities(const nn_spec_t *spec, const ref_real_t *logits, int count,
                            float *probabilities) {
    int classes = spec->classes;
    bool binary = spec->layers[spec->layer_count - 1].kind == NN_SIGMOID;
    for (int64_t n = 0; n < count; n++) {
        if (binary) {
            probabilities[2 * n] = (float)sigmoid(-(double)logits[n]);
            probabilities[2 * n + 1] = (float)sigmoid((double)logits[n]);
            continue;
        }
        const ref_real_t *at = logits + n * classes;
        int best;
        double whole = log_sum(at, classes, &best);
        for (int k = 0; k < classes; k++) {
            probabilities[n * classes + k] = (float)exp((double)at[k] - whole);
        }
    }
}
