// The backend's own kernels, as calls from C that queue them on a stream. They return what the
// launch says; what goes wrong in a kernel surfaces when the host waits.
//
// Activations are rows of channels, [sample][y][x][stored], stored a multiple of 8; channels beyond
// the layer's own are zero before the flatten, and of no meaning behind it. Their type is float, or
// bfloat16 where `bf16` says so. A kernel takes 8 channels a thread. Sums run in an order that the
// shapes alone fix: partial sums of blocks, then one thread a channel adds them up.
#ifndef INKLING_NN_CUDA_KERNELS_H
#define INKLING_NN_CUDA_KERNELS_H

#include <driver_types.h>

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    KERNEL_VECTOR = 8,
    KERNEL_PARTS = 512, // blocks that sum, at most
};

// What a step changes; in device memory, so that a captured step can be launched again.
typedef struct {
    uint64_t seed;
    uint32_t step, position; // position: of the first sample in the global batch
    int batch_total;
    float rate, beta1, beta2, epsilon; // rate: Adam's, with its corrections in it
} step_args_t;

typedef struct {
    double loss;
    int correct;
} step_result_t;

// [batch-norm] [ReLU] [2×2 max-pool] [dropout], each optional.
typedef struct {
    bool bf16, norm, relu, pool, drop;
    int count, height, width; // of the input
    int out_height, out_width;
    int channels, stored;
    int drop_layer;
    uint32_t drop_threshold;
    float drop_scale;
    float epsilon, momentum; // of batch-norm
} chain_t;

// One float a stored channel each.
typedef struct {
    float *mean, *inverse; // of the pass: 1/√(variance + ε)
    float *variance;
    float *beta_mean, *gamma_mean; // of the gradients, backward
    double *sums[2];               // of an estimation: Σ n·mean, Σ n·(variance + mean²)
} norm_t;

// pixels: count images in the order of nn.h; table: [4][256], the input of a byte in a channel.
cudaError_t kernel_load(cudaStream_t stream, bool bf16, const uint8_t *pixels, const float *table,
                        int count, int64_t area, int channels, void *to);
cudaError_t kernel_load_floats(cudaStream_t stream, bool bf16, const float *input, int count,
                               int64_t area, int channels, void *to);

// Statistics of x over rows and pixels into norm; partial: KERNEL_PARTS · 2 · stored floats.
// moving: mean and variance to be moved, or NULL; collect: norm.sums are added to.
cudaError_t kernel_moments(cudaStream_t stream, const chain_t *chain, const void *x,
                           const norm_t *norm, float *partial, float *const moving[2],
                           bool collect);
// norm's mean and inverse from stored statistics.
cudaError_t kernel_fixed(cudaStream_t stream, const chain_t *chain, const norm_t *norm,
                         const float *mean, const float *variance);
// Σ over `images` images → mean and variance.
cudaError_t kernel_settle(cudaStream_t stream, int stored, const norm_t *norm, double images,
                          float *mean, float *variance);

// code: a byte for each element of y, what backward needs of the choices made, or NULL: no dropout
// then either. args: read only for dropout.
cudaError_t kernel_chain(cudaStream_t stream, const chain_t *chain, const void *x,
                         const norm_t *norm, const float *gamma, const float *beta,
                         const step_args_t *args, void *y, uint8_t *code);
// dy: gradients behind. Writes the gradients of gamma and beta, and norm's beta_mean and
// gamma_mean.
cudaError_t kernel_chain_sums(cudaStream_t stream, const chain_t *chain, const void *x,
                              const void *dy, const uint8_t *code, const norm_t *norm,
                              float *partial, float *gamma, float *beta);
cudaError_t kernel_chain_back(cudaStream_t stream, const chain_t *chain, const void *x,
                              const void *dy, const uint8_t *code, const norm_t *norm,
                              const float *gamma, void *dx);

// y += bias, [rows][stored].
cudaError_t kernel_bias(cudaStream_t stream, bool bf16, int64_t rows, int stored, const float *bias,
                        void *y);
// bias[c] = Σ over rows.
cudaError_t kernel_bias_back(cudaStream_t stream, bool bf16, int64_t rows, int stored,
                             const void *dy, float *partial, float *bias);

// [count][area][stored] ↔ float [count][flat_stored], channel-major.
cudaError_t kernel_flatten(cudaStream_t stream, bool bf16, int count, int64_t area, int channels,
                           int stored, int flat_stored, const void *x, float *y);
cudaError_t kernel_unflatten(cudaStream_t stream, bool bf16, int count, int64_t area, int channels,
                             int stored, int flat_stored, const float *dy, void *dx);

// logits: [count][stored]; classes 1: sigmoid. weights: of samples. Writes dy, and a loss and
// whether it is correct for each sample; then their sums.
cudaError_t kernel_loss(cudaStream_t stream, int count, int classes, int stored,
                        const float *logits, const int32_t *labels, const float *weights,
                        const step_args_t *args, float *dy, double *losses, int *correct);
cudaError_t kernel_result(cudaStream_t stream, int count, const double *losses, const int *correct,
                          step_result_t *result);

// One pass over all trained parameters; copy: theirs in bfloat16, or NULL. count: a multiple
// of 8.
cudaError_t kernel_adam(cudaStream_t stream, int64_t count, const step_args_t *args,
                        const float *gradient, float *m, float *v, float *param, void *copy);
cudaError_t kernel_halve(cudaStream_t stream, int64_t count, const float *param, void *copy);
cudaError_t kernel_widen(cudaStream_t stream, int64_t count, const void *from, float *to);

// y = x · weightᵀ + bias, every output by one warp in a fixed order, whatever count is.
cudaError_t kernel_dense(cudaStream_t stream, int count, int ins, int x_stored, int outs,
                         int y_stored, const float *x, const float *weight, const float *bias,
                         float *y);

#ifdef __cplusplus
}
#endif
#endif
