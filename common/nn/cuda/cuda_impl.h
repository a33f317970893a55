// The backend on CUDA. A model becomes a row of stages, values[i] → stage i → values[i + 1]:
//
//   conv     one convolution, by cuDNN; its bias, if it has one, by a kernel
//   chain    [batch-norm] [ReLU] [max-pool] [dropout], in this order, each optional: one kernel
//   flatten  from rows of channels to rows of float in canonical order (c, y, x)
//   dense    one dense layer, in float, by cublasLt
//
// Values are float or bfloat16 (by precision) before the flatten, float behind it, in rows of
// channels padded to a multiple of 8. Parameters, gradients and moments are float, each in one
// arena, convolutions as [out][ky][kx][in] with padded channels; with bf16 there is a copy of the
// parameters for cuDNN, which Adam writes along.
//
// A step of a given batch size is recorded once as CUDA graphs and launched again from then on; all
// that changes between steps goes through one pinned buffer. One stream; nothing here waits for the
// device but at the end of a call.
#ifndef INKLING_NN_CUDA_IMPL_H
#define INKLING_NN_CUDA_IMPL_H

#include "nn/backend_impl.h"
#include "nn/cuda/conv.h"
#include "nn/cuda/dense.h"
#include "nn/cuda/device.h"
#include "nn/cuda/kernels.h"

#include <cuda_runtime_api.h>

enum {
    CUDA_SETS = 4,    // batch sizes that training keeps recorded
    CUDA_BUCKETS = 6, // batch sizes of prediction: 1, 8, 32, 128, 512, and the largest
};

typedef struct {
    nn_shape_t shape;
    bool bf16, flat;
    int stored;     // channels in memory
    int64_t sample; // elements of one sample
    void *data;     // [max_batch] samples
} values_t;

typedef enum { STAGE_CONV, STAGE_CHAIN, STAGE_FLATTEN, STAGE_DENSE } stage_kind_t;

typedef struct {
    stage_kind_t kind;
    int index, tensor; // tensor: its first, if it has parameters
    int layer;         // its first
    bool bias;
    bool passes; // ∂loss/∂input is wanted: there are parameters in front
    chain_t chain;
    norm_t norm, fixed; // of a pass in training; of prediction: mean and inverse
    float *moving[2];   // mean, variance
    float *estimate[2];
    uint8_t *code;
    int64_t slice, slice_count; // its trained parameters in the arenas
} stage_t;

// Where a tensor lies: offset in the arenas, or, if it is not trained, the stage's own memory.
typedef struct {
    int64_t offset;
    int stage;
    int outs, ins, area, stored_ins, stored; // a convolution's weight: area > 0
} place_t;

// All that belongs to one batch size.
typedef struct {
    int count; // 0: unused
    bool training;
    uint64_t used; // the clock when it was
    conv_plan_t *conv[NN_LAYERS_MAX][CONV_KINDS];
    dense_plan_t *dense[NN_LAYERS_MAX][DENSE_KINDS];
    void *workspace;
    cudaGraphExec_t graphs[2]; // training: gradients, update; prediction: one
    bool warm;                 // it has run once
} set_t;

// The pinned buffer and its copy on the device: args, labels, weights, pixels or floats.
typedef struct {
    step_args_t *args;
    int32_t *labels;
    float *weights;
    uint8_t *pixels;
    float *floats; // in place of pixels
} input_t;

typedef struct {
    const nn_plan_t *plan;
    bool bf16;
    bool counting;  // memory is only added up
    uint64_t bytes; // of device memory
    cudaStream_t stream;
    conv_library_t *convs;
    dense_library_t *denses;
    int stage_count;
    values_t values[NN_LAYERS_MAX + 1];
    stage_t stages[NN_LAYERS_MAX];
    place_t places[NN_TENSORS_MAX];
    int64_t trained; // floats in an arena
    float *parts[NN_GRADIENT + 1];
    void *half;        // of parts[NN_PARAM]
    void *filter;      // bf16: the gradient of one convolution's weights
    void *gradient[2]; // of values, in turn
    float *partial;    // sums of blocks
    float *table;      // [4][256] input of a byte
    double *losses;
    int *correct;
    step_result_t *result, *host_result;
    char *input_memory, *host_memory;
    size_t input_size, io_size; // io_size: of the pinned buffer
    size_t labels_at, weights_at, pixels_at;
    set_t sets[CUDA_SETS], buckets[CUDA_BUCKETS];
    uint64_t clock;
    bool estimated, fixed_ready, borrows;
} cuda_t;

static inline int64_t cuda_round_up(int64_t count, int64_t unit) {
    return (count + unit - 1) / unit * unit;
}

static inline size_t cuda_element(const values_t *values) {
    return values->bf16 ? 2 : 4;
}

static inline float *cuda_part(const cuda_t *cuda, nn_part_t part, int tensor) {
    return cuda->parts[part] + cuda->places[tensor].offset;
}

// The parameters as cuDNN reads them.
static inline void *cuda_weights(const cuda_t *cuda, int tensor) {
    int64_t offset = cuda->places[tensor].offset;
    return cuda->bf16 ? (char *)cuda->half + 2 * offset : (void *)(cuda->parts[NN_PARAM] + offset);
}

static inline input_t cuda_input(const cuda_t *cuda, char *memory) {
    return (input_t){.args = (step_args_t *)memory,
                     .labels = (int32_t *)(memory + cuda->labels_at),
                     .weights = (float *)(memory + cuda->weights_at),
                     .pixels = (uint8_t *)(memory + cuda->pixels_at),
                     .floats = (float *)(memory + cuda->pixels_at)};
}

// --- plan.c: stages, values and places from the spec; no memory yet
void cuda_plan(cuda_t *cuda, const nn_plan_t *plan);

// --- memory.c
// All device memory but that of sets. counting: only adds up.
err_code_t cuda_memory_open(cuda_t *cuda, err_t *err);
void cuda_memory_close(cuda_t *cuda);
uint64_t cuda_memory(const nn_plan_t *plan);
// What only training or changing needs, away.
void cuda_memory_seal(cuda_t *cuda);
// Zero bytes from cudaMalloc, unless counting.
err_code_t cuda_take(cuda_t *cuda, void **at, int64_t size, const char *what, err_t *err);

// --- state.c
err_code_t cuda_get(void *self, nn_part_t part, int tensor, float *data, err_t *err);
err_code_t cuda_set(void *self, nn_part_t part, int tensor, const float *data, err_t *err);

// --- sets.c
// The plans for a batch of count, made if they are not there.
err_code_t cuda_set_find(cuda_t *cuda, bool training, int count, set_t **set, err_t *err);
void cuda_sets_close(cuda_t *cuda);
// Queues what record queues; from the second time on as a graph.
typedef err_code_t (*cuda_record_t)(cuda_t *cuda, set_t *set, err_t *err);
err_code_t cuda_set_run(cuda_t *cuda, set_t *set, int graph, cuda_record_t record, err_t *err);

// --- passes.c
typedef enum { PASS_TRAIN, PASS_ESTIMATE, PASS_PREDICT } pass_t;
// From values[0] to the logits.
err_code_t cuda_forward(cuda_t *cuda, set_t *set, pass_t pass, err_t *err);
err_code_t cuda_step(void *self, const nn_batch_t *batch, uint64_t step, const nn_adam_t *adam,
                     const nn_replicas_t *replicas, nn_result_t *result, err_t *err);
err_code_t cuda_bn_estimate(void *self, const uint8_t *pixels, int64_t count,
                            const nn_replicas_t *replicas, err_t *err);
err_code_t cuda_wait(cuda_t *cuda, err_t *err);

// --- predict.c
err_code_t cuda_predict(void *self, nn_workspace_t *workspace, const nn_sample_t *samples,
                        int count, err_t *err);
// Statistics of prediction, unless they are ready.
err_code_t cuda_fix(cuda_t *cuda, err_t *err);

extern const nn_backend_t nn_backend_cuda;

#endif
