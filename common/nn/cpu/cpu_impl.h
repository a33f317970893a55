// The backend on oneDNN. A model becomes a row of stages, values[i] → stage i → values[i + 1]:
//
//   conv     one convolution, by oneDNN
//   chain    [batch-norm] [ReLU] [max-pool] [dropout], in this order, each optional: one pass of
//            ours over the convolution's output
//   flatten  from the convolutions' layout to rows of float in canonical order (c, y, x)
//   dense    one dense layer, in float, kernels of ours
//
// Training keeps every stage's values. Going back, ∂loss/∂values[i] replaces values[i] once nothing
// needs those any more, so gradients of activations need no memory of their own.
//
// What makes results repeat: sums run over samples and pixels in an order fixed by the shapes, a
// thread's share of a loop depends on count and threads alone, and the algorithm of a convolution
// on ISA, precision and shape alone. Dropout's numbers are counted, not drawn.
#ifndef INKLING_NN_CPU_IMPL_H
#define INKLING_NN_CPU_IMPL_H

#include "nn/backend_impl.h"
#include "nn/cpu/conv.h"
#include "nn/cpu/kernels.h"
#include "nn/cpu/weights.h"
#include "nn/cpu/wino.h"
#include "nn/replicas_impl.h"

enum {
    CPU_SETS = 6, // operations for that many sizes of a batch are kept
    CPU_PARTS = NN_GRADIENT + 1,
};

typedef struct {
    nn_shape_t shape;
    layout_t layout;
    bool bf16, flat; // flat: behind the flatten, rows of float
    int stored;      // channels in memory; those added are always zero
    int64_t sample;  // elements of one sample
    void *data;      // training: [max_batch] samples; else NULL
    void *infer;     // where prediction keeps them, see predict.c
    int64_t place;   // bytes into the workspace, where infer is there
} values_t;

typedef enum { STAGE_CONV, STAGE_CHAIN, STAGE_FLATTEN, STAGE_DENSE } stage_kind_t;

// Batch-norm: one number a stored channel each.
typedef struct {
    int layer;                      // −1: none
    double *mean, *variance;        // of the last forward pass in training
    double *mean_sum, *second_sum;  // of an estimation, as in the reference
    float *moving[2], *estimate[2]; // mean, variance
} norm_t;

typedef struct {
    norm_t norm;
    bool relu, pool;
    int drop;      // layer, or −1
    uint8_t *code; // see chain_t
    // One float a stored channel each, as chain_t wants them.
    float *scale, *shift, *mean, *factor, *beta_mean, *gamma_mean;
} links_t;

typedef struct {
    stage_kind_t kind;
    int index, layer; // layer: the first of the stage
    int tensor;       // its first, if it has parameters
    bool bias;
    bool passes;          // ∂loss/∂input is wanted: there are parameters in front
    int64_t slice, count; // its trained parameters in the parts
    int64_t second;       // offset in the slice of bias or beta
    links_t links;        // chain
    weights_t *weights;   // conv: the master copy lies in the part NN_PARAM
    weights_t *folded;    // conv: with the normalisation behind it folded in, plain layout
    float *folded_data, *folded_bias;
    bool wino;          // conv: Winograd's algorithm, ours, instead of oneDNN's operations
    float *infer_u;     // wino: weights of prediction, folded and transformed, if they are few
    float *infer_scale; // wino: else the factors of the outputs that folding gives
    bool folds;         // conv: the chain behind it starts with a batch-norm
    bool infer_relu;    // conv: the chain's ReLU is done by the convolution
    bool absorbed;      // chain: nothing is left of it in prediction
} stage_t;

typedef struct {
    conv_op_t op[CONV_KINDS];
    conv_call_t call[CONV_KINDS];
} conv_ops_t;

// The convolutions for one size of a batch.
typedef struct {
    int count, stage_count; // samples
    uint64_t used;          // the clock when it was
    conv_ops_t stages[];    // unused ones zero
} set_t;

typedef struct {
    const nn_plan_t *plan;
    conv_device_t device;
    const kernels_t *kernels; // before the flatten
    const kernels_t *flat;    // behind it: always float
    bool bf16;
    int stage_count;
    // Prediction: the largest batch at once; the first stage that a batch goes through together; no
    // operation behind it is for one size of a batch.
    int infer_batch, split;
    bool whole;
    int laid_out;         // the number of samples for which the following is right
    int64_t infer_bytes;  // of activations in the workspace; scratch memory lies behind them
    size_t infer_scratch; // bytes
    size_t onednn_scratch;
    uint64_t infer_need; // bytes of the workspace
    nn_workspace_t own;
    void *bound; // the memory of the workspace that values[].infer point to
    bool shares; // only stream and sets are its own
    values_t values[NN_LAYERS_MAX + 1];
    stage_t stages[NN_LAYERS_MAX];
    int64_t part_count;      // floats
    float *parts[CPU_PARTS]; // by nn_part_t: trained parameters, each stage a slice
    float *table;            // [channel][256]: the input of a pixel's byte
    double *sums;            // [max_batch][2][largest stored]: of each sample
    float *pivot;
    uint8_t *keep; // [threads] masks of a row
    int64_t keep_size;
    void *scratch;
    size_t scratch_size;
    set_t *train_sets[CPU_SETS], *infer_sets[CPU_SETS];
    uint64_t clock;
    bool estimated, folded; // folded: the folded weights are up to date
    int threads_before;
} cpu_t;

typedef struct {
    int count; // samples
    bool drop; // training: dropout, and codes for the way back
    uint32_t position, step;
    int total;                     // training: samples in the global batch
    const nn_replicas_t *replicas; // training: or NULL
} pass_t;

static inline int cpu_round_up(int count, int lanes) {
    return (count + lanes - 1) / lanes * lanes;
}

static inline const kernels_t *cpu_kernels(const cpu_t *cpu, const values_t *values) {
    return values->flat ? cpu->flat : cpu->kernels;
}

static inline size_t cpu_element(const values_t *values) {
    return values->bf16 ? 2 : 4;
}

static inline float *cpu_part(const cpu_t *cpu, const stage_t *stage, nn_part_t part) {
    return cpu->parts[part] + stage->slice;
}

static inline bool cpu_behind_conv(const stage_t *stage) {
    return stage->index > 0 && stage[-1].kind == STAGE_CONV;
}

// --- cpu.c
int cpu_infer_batch(const nn_plan_t *plan);
// What follows from the plan alone; allocates nothing.
void cpu_open_plan(cpu_t *cpu, const nn_plan_t *plan);
void cpu_destroy(void *self);

// --- plan.c: stages and their values, from the spec; no memory yet
void cpu_plan(cpu_t *cpu);
uint64_t cpu_memory(const nn_plan_t *plan);
conv_shape_t cpu_conv_shape(const cpu_t *cpu, const stage_t *stage, int count, bool infer);

// --- state.c
err_code_t cpu_state_open(cpu_t *cpu, err_t *err);
void cpu_state_close(cpu_t *cpu);
// Folded weights are all that is needed of convolutions from now on.
err_code_t cpu_state_seal(cpu_t *cpu, err_t *err);
err_code_t cpu_get(void *self, nn_part_t part, int tensor, float *data, err_t *err);
err_code_t cpu_set(void *self, nn_part_t part, int tensor, const float *data, err_t *err);
// From a convolution's master copy to the plain form, stored channels included.
err_code_t cpu_weights_plain(cpu_t *cpu, stage_t *stage, float *data, err_t *err);

// --- conv_stage.c: a convolution by either way. Scratch memory for it is made by cpu_conv_make.
err_code_t cpu_conv_make(cpu_t *cpu, set_t *set, stage_t *stage, conv_kind_t kind, err_t *err);
err_code_t cpu_conv(cpu_t *cpu, set_t *set, stage_t *stage, conv_kind_t kind, err_t *err);
// Weights and bias of prediction, with the normalisation behind the convolution in them.
err_code_t cpu_conv_fold(cpu_t *cpu, stage_t *stage, err_t *err);
void cpu_conv_unfold(stage_t *stage); // they are gone; nothing happens if there are none
// With them, and the ReLU behind it if there is one. make: before, for that many samples; tells
// onednn_scratch.
bool cpu_conv_keeps(const cpu_t *cpu, const stage_t *stage); // Winograd's weights, transformed
int64_t cpu_conv_infer_weights(const cpu_t *cpu, const stage_t *stage); // bytes that it reads
int64_t cpu_conv_infer_scratch(const cpu_t *cpu, const stage_t *stage, int count); // bytes of ours
err_code_t cpu_conv_infer_make(cpu_t *cpu, stage_t *stage, int count, err_t *err);
err_code_t cpu_conv_infer(cpu_t *cpu, stage_t *stage, int count, void *from, void *to, err_t *err);

// --- sets.c: oneDNN's operations for one size of a batch
err_code_t cpu_scratch(cpu_t *cpu, size_t size, err_t *err);
err_code_t cpu_train_set(cpu_t *cpu, int count, set_t **set, err_t *err);
err_code_t cpu_infer_set(cpu_t *cpu, int count, set_t **set, err_t *err);
void cpu_sets_close(cpu_t *cpu);
// The operation with its buffers, made if it is not there.
err_code_t cpu_set_call(cpu_t *cpu, set_t *set, stage_t *stage, conv_kind_t kind,
                        conv_call_t **call, err_t *err);

// --- simple.c: input, flatten, dense. `to` and `from` are values' data.
void cpu_load(const cpu_t *cpu, const uint8_t *pixels, int count, void *to);
void cpu_load_samples(const cpu_t *cpu, const nn_sample_t *samples, int count, void *to);
void cpu_flatten(const cpu_t *cpu, const stage_t *stage, int count, void *from, float *to);
void cpu_unflatten(const cpu_t *cpu, const stage_t *stage, int count);
void cpu_dense(const cpu_t *cpu, const stage_t *stage, int count, const float *from, float *to);
// Gradients of the parameters, then of the input if the stage passes it on.
void cpu_dense_back(const cpu_t *cpu, const stage_t *stage, int count);
void cpu_adam(const cpu_t *cpu, const nn_adam_t *adam, uint64_t step);

// --- chain.c
// With the batch's statistics.
err_code_t cpu_chain(const cpu_t *cpu, stage_t *stage, const pass_t *pass, err_t *err);
err_code_t cpu_chain_back(const cpu_t *cpu, stage_t *stage, const pass_t *pass, err_t *err);
// With stored statistics, which fold makes ready; without batch-norm and ReLU behind a convolution,
// which has done them.
void cpu_chain_fold(const cpu_t *cpu, stage_t *stage);
void cpu_chain_infer(const cpu_t *cpu, const stage_t *stage, int count, void *from, void *to);
// The channel's factor and offset of prediction.
void cpu_norm_fixed(const cpu_t *cpu, const stage_t *stage, int channel, double *scale,
                    double *shift);

// --- passes.c
err_code_t cpu_step(void *self, const nn_batch_t *batch, uint64_t step, const nn_adam_t *adam,
                    const nn_replicas_t *replicas, nn_result_t *result, err_t *err);
err_code_t cpu_bn_estimate(void *self, const uint8_t *pixels, int64_t count,
                           const nn_replicas_t *replicas, err_t *err);

// --- predict.c
void cpu_infer_plan(cpu_t *cpu);
int64_t cpu_infer_memory(cpu_t *cpu); // bytes of packed weights and of the workspace
err_code_t cpu_predict(void *self, nn_workspace_t *workspace, const nn_sample_t *samples, int count,
                       err_t *err);
err_code_t cpu_seal(void *self, err_t *err);
err_code_t cpu_share(void *self, const nn_plan_t *plan, void **shared, err_t *err);

#endif
