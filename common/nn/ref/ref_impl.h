// The reference backend: plain C that follows the formulas, one layer after the other, sums in
// double. It is the oracle for the other backends, so it is written to be read, not to be fast.
//
// Activations are planes, [sample][channel][y][x]; the canonical forms of the weights match that
// order. They are stored as ref_real_t: float in the product, double in a second build of these
// sources with which tests compare gradients and finite differences to many digits.
#ifndef INKLING_NN_REF_IMPL_H
#define INKLING_NN_REF_IMPL_H

#include "nn/backend_impl.h"
#include "nn/replicas_impl.h"

#ifndef INKLING_REF_REAL
#define INKLING_REF_REAL float
#endif
typedef INKLING_REF_REAL ref_real_t;

enum { REF_PARTS = NN_ESTIMATE + 1 };

typedef enum {
    REF_TRAIN,    // statistics of the batch, dropout
    REF_ESTIMATE, // statistics of the batch, no dropout
    REF_PREDICT,  // stored statistics, no dropout
} ref_mode_t;

// One run through the layers.
typedef struct {
    ref_mode_t mode;
    int count;         // samples
    uint32_t position; // of the first sample in the global batch
    uint64_t step;
    int total;                     // REF_TRAIN: samples in the global batch
    const nn_replicas_t *replicas; // or NULL
} ref_pass_t;

// Statistics of a batch-norm layer, one number a channel each.
typedef struct {
    double *mean, *variance; // those of the last forward
    double *beta, *gamma;    // of the last backward: Σ g and Σ g·x̂
    double *mean_sum;        // Σ images · mean over the chunks of an estimation
    double *second_sum;      // Σ images · (variance + mean²)
} ref_moments_t;

typedef struct {
    const nn_layer_t *spec;
    int index;
    nn_shape_t in, out;
    int tensor;         // the layer's first, if it has any
    ref_real_t *output; // [max_batch][out]
    ref_moments_t moments;
} ref_layer_t;

typedef struct {
    const nn_plan_t *plan;
    int layer_count; // without the head
    ref_layer_t layers[NN_LAYERS_MAX];
    ref_real_t *input;                   // [max_batch][channels][y][x], normalised
    ref_real_t *gradient[2];             // of activations: behind and in front of a layer, in turn
    float *parts[REF_PARTS];             // by nn_part_t; NULL without training, but for NN_PARAM
    int64_t offsets[NN_TENSORS_MAX + 1]; // of each tensor in each part
    bool estimated;                      // NN_ESTIMATE is in use
    bool borrows;                        // parts[NN_PARAM] is another's
} ref_t;

static inline int64_t ref_volume(nn_shape_t shape) {
    return (int64_t)shape.height * shape.width * shape.channels;
}

// Tensor `which` of the layer, counted from its first.
static inline float *ref_tensor(const ref_t *ref, const ref_layer_t *layer, nn_part_t part,
                                int which) {
    return ref->parts[part] + ref->offsets[layer->tensor + which];
}

static inline const ref_real_t *ref_input(const ref_t *ref, const ref_layer_t *layer) {
    return layer->index > 0 ? ref->layers[layer->index - 1].output : ref->input;
}

// forward: the layer's input to its output. backward: from gradients behind the layer to those in
// front of it (before is NULL for the first layer), and into NN_GRADIENT.
#define REF_KIND(name)                                                                             \
    void ref_##name##_forward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass);             \
    void ref_##name##_backward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,             \
                               const ref_real_t *behind, ref_real_t *before);
REF_KIND(conv)
REF_KIND(batch_norm)
REF_KIND(relu)
REF_KIND(max_pool)
REF_KIND(dropout)
REF_KIND(flatten)
REF_KIND(dense)
#undef REF_KIND

// Before forward, the statistics that it normalises by, and before backward the sums that it
// subtracts; both over the ranks, too, where that is asked for.
err_code_t ref_batch_norm_moments(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                                  err_t *err);
err_code_t ref_batch_norm_sums(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                               const ref_real_t *behind, err_t *err);
// new = m·old + (1 − m)·batch.
void ref_batch_norm_move(ref_t *ref, ref_layer_t *layer);
// An estimation: cleared, fed after each forward, and written to NN_ESTIMATE for `images` in all.
void ref_batch_norm_clear(ref_layer_t *layer);
void ref_batch_norm_collect(ref_layer_t *layer, int images);
void ref_batch_norm_settle(ref_t *ref, ref_layer_t *layer, int64_t images);

// logits: [count][1 or classes]. The gradient is that of the sum of weighted losses over
// batch_total.
void ref_head_loss(const nn_spec_t *spec, const ref_real_t *logits, const nn_batch_t *batch,
                   ref_real_t *gradient, nn_result_t *result);
void ref_head_probabilities(const nn_spec_t *spec, const ref_real_t *logits, int count,
                            float *probabilities);

#endif
