// Sums over rows: batch-norm's statistics, forward and backward, and the gradient of a bias.
#include "nn/cuda/choice.cuh"
#include "nn/cuda/sums.cuh"

// --- Forward

template <typename T> struct moments_source_t {
    const T *x;
    int vectors;
    __device__ void operator()(int64_t row, int vector, floats_t &a, floats_t &b) const {
        floats_t x_row = load(x, row * vectors + vector), pivot = load(x, vector);
        for (int i = 0; i < KERNEL_VECTOR; i++) {
            float off = x_row.v[i] - pivot.v[i];
            a.v[i] += off;
            b.v[i] += off * off;
        }
    }
};

template <typename T>
static __global__ void finish_moments(const T *x, const float *partial, int blocks, double rows,
                                      int count, int stored, float epsilon, float momentum,
                                      norm_t norm, float *moving_mean, float *moving_variance,
                                      bool collect) {
    int c;
    double sum, square;
    if (!add_blocks<SUM_LINES>(partial, blocks, stored, &c, &sum, &square)) {
        return;
    }
    double off = sum / rows, variance = square / rows - off * off;
    double mean = to_float(x[c]) + off;
    variance = variance < 0 ? 0 : variance; // NaN stays
    norm.mean[c] = (float)mean;
    norm.variance[c] = (float)variance;
    norm.inverse[c] = (float)(1 / sqrt(variance + (double)epsilon));
    if (moving_mean) {
        double keep = momentum;
        moving_mean[c] = (float)(keep * moving_mean[c] + (1 - keep) * mean);
        moving_variance[c] = (float)(keep * moving_variance[c] + (1 - keep) * variance);
    }
    if (collect) {
        norm.sums[0][c] += count * mean;
        norm.sums[1][c] += count * (variance + mean * mean);
    }
}

template <typename T>
static cudaError_t moments(cudaStream_t stream, const chain_t *chain, const T *x,
                           const norm_t *norm, float *partial, float *const moving[2],
                           bool collect) {
    int vectors = chain->stored / KERNEL_VECTOR;
    int64_t rows = (int64_t)chain->count * chain->height * chain->width;
    cudaError_t failed =
        launch_sums(stream, moments_source_t<T>{x, vectors}, rows, chain->stored, partial);
    if (failed) {
        return failed;
    }
    cudaLaunchConfig_t c = config_add_blocks(stream, chain->stored);
    return cudaLaunchKernelEx(&c, finish_moments<T>, x, partial, sum_block_count(rows, vectors),
                              (double)rows, chain->count, chain->stored, chain->epsilon,
                              chain->momentum, *norm, moving ? moving[0] : nullptr,
                              moving ? moving[1] : nullptr, collect);
}

cudaError_t kernel_moments(cudaStream_t stream, const chain_t *chain, const void *x,
                           const norm_t *norm, float *partial, float *const moving[2],
                           bool collect) {
    return chain->bf16
               ? moments(stream, chain, (const half_t *)x, norm, partial, moving, collect)
               : moments(stream, chain, (const float *)x, norm, partial, moving, collect);
}

static __global__ void fix(norm_t norm, const float *mean, const float *variance, float epsilon,
                           int stored) {
    int c = (int)item();
    if (c < stored) {
        norm.mean[c] = mean[c];
        norm.inverse[c] = (float)(1 / sqrt((double)variance[c] + (double)epsilon));
    }
}

cudaError_t kernel_fixed(cudaStream_t stream, const chain_t *chain, const norm_t *norm,
                         const float *mean, const float *variance) {
    cudaLaunchConfig_t c = config_for(stream, chain->stored);
    return cudaLaunchKernelEx(&c, fix, *norm, mean, variance, chain->epsilon, chain->stored);
}

static __global__ void settle(norm_t norm, double images, float *mean, float *variance,
                              int stored) {
    int c = (int)item();
    if (c < stored) {
        double m = norm.sums[0][c] / images, second = norm.sums[1][c] / images - m * m;
        mean[c] = (float)m;
        variance[c] = (float)(second < 0 ? 0 : second);
    }
}

cudaError_t kernel_settle(cudaStream_t stream, int stored, const norm_t *norm, double images,
                          float *mean, float *variance) {
    cudaLaunchConfig_t c = config_for(stream, stored);
    return cudaLaunchKernelEx(&c, settle, *norm, images, mean, variance, stored);
}

// --- Backward

// Only where the gradient went through counts: rows are those behind the chain.
template <typename T> struct back_source_t {
    const T *x, *dy;
    const uint8_t *code;
    chain_t chain;
    norm_t norm;
    __device__ void operator()(int64_t row, int vector, floats_t &a, floats_t &b) const {
        int vectors = chain.stored / KERNEL_VECTOR;
        floats_t gradient = load(dy, row * vectors + vector);
        codes_t codes = load_codes(code, row * vectors + vector);
        for (int i = 0; i < KERNEL_VECTOR; i++) {
            float g = choice_passes(chain, codes.v[i], gradient.v[i]);
            int c = vector * KERNEL_VECTOR + i;
            int64_t from = choice_row(chain, row, codes.v[i]);
            float off = to_float(x[from * chain.stored + c]) - norm.mean[c];
            a.v[i] += g;
            b.v[i] += g * (off * norm.inverse[c]);
        }
    }
};

static __global__ void finish_back(const float *partial, int blocks, double rows, int stored,
                                   norm_t norm, float *gamma, float *beta) {
    int c;
    double sum, product;
    if (!add_blocks<SUM_LINES>(partial, blocks, stored, &c, &sum, &product)) {
        return;
    }
    beta[c] = (float)sum;
    gamma[c] = (float)product;
    norm.beta_mean[c] = (float)(sum / rows);
    norm.gamma_mean[c] = (float)(product / rows);
}

template <typename T>
static cudaError_t back_sums(cudaStream_t stream, const chain_t *chain, const T *x, const T *dy,
                             const uint8_t *code, const norm_t *norm, float *partial, float *gamma,
                             float *beta) {
    int64_t rows = (int64_t)chain->count * chain->out_height * chain->out_width;
    cudaError_t failed = launch_sums(stream, back_source_t<T>{x, dy, code, *chain, *norm}, rows,
                                     chain->stored, partial);
    if (failed) {
        return failed;
    }
    cudaLaunchConfig_t c = config_add_blocks(stream, chain->stored);
    return cudaLaunchKernelEx(&c, finish_back, partial,
                              sum_block_count(rows, chain->stored / KERNEL_VECTOR),
                              (double)chain->count * chain->height * chain->width, chain->stored,
                              *norm, gamma, beta);
}

cudaError_t kernel_chain_sums(cudaStream_t stream, const chain_t *chain, const void *x,
                              const void *dy, const uint8_t *code, const norm_t *norm,
                              float *partial, float *gamma, float *beta) {
    return chain->bf16 ? back_sums(stream, chain, (const half_t *)x, (const half_t *)dy, code, norm,
                                   partial, gamma, beta)
                       : back_sums(stream, chain, (const float *)x, (const float *)dy, code, norm,
                                   partial, gamma, beta);
}

// --- Bias

template <typename T> struct bias_source_t {
    const T *dy;
    int vectors;
    __device__ void operator()(int64_t row, int vector, floats_t &a, floats_t &) const {
        floats_t gradient = load(dy, row * vectors + vector);
        for (int i = 0; i < KERNEL_VECTOR; i++) {
            a.v[i] += gradient.v[i];
        }
    }
};

static __global__ void finish_bias(const float *partial, int blocks, int stored, float *bias) {
    int c;
    double sum, unused;
    if (add_blocks<SUM_LINES>(partial, blocks, stored, &c, &sum, &unused)) {
        bias[c] = (float)sum;
    }
}

template <typename T>
static cudaError_t bias_back(cudaStream_t stream, int64_t rows, int stored, const T *dy,
                             float *partial, float *bias) {
    int vectors = stored / KERNEL_VECTOR;
    cudaError_t failed = launch_sums(stream, bias_source_t<T>{dy, vectors}, rows, stored, partial);
    if (failed) {
        return failed;
    }
    cudaLaunchConfig_t c = config_add_blocks(stream, stored);
    return cudaLaunchKernelEx(&c, finish_bias, partial, sum_block_count(rows, vectors), stored,
                              bias);
}

cudaError_t kernel_bias_back(cudaStream_t stream, bool bf16, int64_t rows, int stored,
                             const void *dy, float *partial, float *bias) {
    return bf16 ? bias_back(stream, rows, stored, (const half_t *)dy, partial, bias)
                : bias_back(stream, rows, stored, (const float *)dy, partial, bias);
}
