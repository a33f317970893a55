// [batch-norm] [ReLU] [max-pool] [dropout] in one pass over the input, and its way back.
#include "nn/cuda/choice.cuh"

// As __device__ code of the one header that says what the numbers are.
#define PHILOX_FUNCTION static __device__ inline
#include "base/philox.h"

// --- Forward

// Which of the vector's elements dropout keeps, one bit each. Elements are counted over the
// layer's own channels.
static __device__ inline int draw(const chain_t &chain, const step_args_t &args, int64_t row,
                                  int vector) {
    int64_t area = (int64_t)chain.out_height * chain.out_width;
    int64_t first = row % area * chain.channels + vector * KERNEL_VECTOR;
    uint32_t position = args.position + (uint32_t)(row / area);
    philox_t random = {};
    int kept = 0;
    for (int i = 0; i < KERNEL_VECTOR; i++) {
        int64_t element = first + i;
        if (i == 0 || element % 4 == 0) {
            random = philox(args.seed, (uint32_t)(element / 4), position, args.step,
                            (uint32_t)chain.drop_layer);
        }
        kept |= (random.v[element % 4] >= chain.drop_threshold) << i;
    }
    return kept;
}

// One input vector behind batch-norm and ReLU; positive: bits, ReLU lets the gradient through.
template <typename T>
static __device__ inline floats_t pass(const chain_t &chain, const T *x, int64_t index, int vector,
                                       const norm_t &norm, const float *gamma, const float *beta,
                                       int *positive) {
    floats_t value = load(x, index);
    *positive = 0;
    for (int i = 0; i < KERNEL_VECTOR; i++) {
        int c = vector * KERNEL_VECTOR + i;
        float v = value.v[i];
        if (chain.norm) {
            v = (v - norm.mean[c]) * (norm.inverse[c] * gamma[c]) + beta[c];
        }
        *positive |= (!chain.relu || !(v <= 0)) << i;
        value.v[i] = chain.relu && v < 0 ? 0 : v;
    }
    return value;
}

template <typename T>
static __global__ __launch_bounds__(BLOCK) void
forward(chain_t chain, const T *x, norm_t norm, const float *gamma, const float *beta,
        const step_args_t *args, T *y, uint8_t *code) {
    int vectors = chain.stored / KERNEL_VECTOR, vector = (int)(item() % vectors);
    int64_t row = item() / vectors;
    if (row >= (int64_t)chain.count * chain.out_height * chain.out_width) {
        return;
    }
    int positive;
    floats_t best = pass(chain, x, choice_row(chain, row, 0) * vectors + vector, vector, norm,
                         gamma, beta, &positive);
    codes_t codes = {};
    for (int place = 1; chain.pool && place < 4; place++) {
        int other_positive;
        floats_t other = pass(chain, x, choice_row(chain, row, place) * vectors + vector, vector,
                              norm, gamma, beta, &other_positive);
        for (int i = 0; i < KERNEL_VECTOR; i++) {
            if (other.v[i] > best.v[i] || !(other.v[i] == other.v[i])) {
                best.v[i] = other.v[i];
                codes.v[i] = (uint8_t)place;
                positive = (positive & ~(1 << i)) | (other_positive & (1 << i));
            }
        }
    }
    int kept = chain.drop && code ? draw(chain, *args, row, vector) : 0xff;
    for (int i = 0; i < KERNEL_VECTOR; i++) {
        bool keep = kept >> i & 1;
        float scale = chain.drop && code ? chain.drop_scale : 1;
        best.v[i] = keep ? best.v[i] * scale : 0;
        codes.v[i] |= (uint8_t)((positive >> i & 1 ? CHOICE_POSITIVE : 0) |
                                (keep ? CHOICE_KEPT : 0));
    }
    store(y, row * vectors + vector, best);
    if (code) {
        reinterpret_cast<codes_t *>(code)[row * vectors + vector] = codes;
    }
}

cudaError_t kernel_chain(cudaStream_t stream, const chain_t *chain, const void *x,
                         const norm_t *norm, const float *gamma, const float *beta,
                         const step_args_t *args, void *y, uint8_t *code) {
    int64_t rows = (int64_t)chain->count * chain->out_height * chain->out_width;
    cudaLaunchConfig_t c = config_for(stream, rows * (chain->stored / KERNEL_VECTOR));
    if (chain->bf16) {
        return cudaLaunchKernelEx(&c, forward<half_t>, *chain, (const half_t *)x, *norm, gamma,
                                  beta, args, (half_t *)y, code);
    }
    return cudaLaunchKernelEx(&c, forward<float>, *chain, (const float *)x, *norm, gamma, beta,
                              args, (float *)y, code);
}

// --- Backward

// The gradient that reaches input row (sample, y, x) in front of the ReLU.
template <typename T>
static __device__ inline floats_t behind(const chain_t &chain, const T *dy, const uint8_t *code,
                                         int64_t row, int vector) {
    int vectors = chain.stored / KERNEL_VECTOR, place = 0;
    int64_t out = row;
    floats_t gradient = {};
    if (chain.pool) {
        int64_t x = row % chain.width, y = row / chain.width % chain.height;
        int64_t sample = row / chain.width / chain.height;
        if (y / 2 >= chain.out_height || x / 2 >= chain.out_width) {
            return gradient; // an odd last row or column
        }
        out = (sample * chain.out_height + y / 2) * chain.out_width + x / 2;
        place = (int)(y % 2 * 2 + x % 2);
    }
    gradient = load(dy, out * vectors + vector);
    codes_t codes = load_codes(code, out * vectors + vector);
    for (int i = 0; i < KERNEL_VECTOR; i++) {
        bool mine = !chain.pool || (codes.v[i] & CHOICE_PLACE) == place;
        gradient.v[i] = mine ? choice_passes(chain, codes.v[i], gradient.v[i]) : 0;
    }
    return gradient;
}

template <typename T>
static __global__ __launch_bounds__(BLOCK) void backward(chain_t chain, const T *x, const T *dy,
                                                         const uint8_t *code, norm_t norm,
                                                         const float *gamma, T *dx) {
    int vectors = chain.stored / KERNEL_VECTOR, vector = (int)(item() % vectors);
    int64_t row = item() / vectors;
    if (row >= (int64_t)chain.count * chain.height * chain.width) {
        return;
    }
    floats_t gradient = behind(chain, dy, code, row, vector);
    if (chain.norm) {
        floats_t value = load(x, row * vectors + vector);
        for (int i = 0; i < KERNEL_VECTOR; i++) {
            int c = vector * KERNEL_VECTOR + i;
            float unit = (value.v[i] - norm.mean[c]) * norm.inverse[c];
            gradient.v[i] = norm.inverse[c] * gamma[c] *
                            (gradient.v[i] - norm.beta_mean[c] - unit * norm.gamma_mean[c]);
        }
    }
    store(dx, row * vectors + vector, gradient);
}

cudaError_t kernel_chain_back(cudaStream_t stream, const chain_t *chain, const void *x,
                              const void *dy, const uint8_t *code, const norm_t *norm,
                              const float *gamma, void *dx) {
    int64_t rows = (int64_t)chain->count * chain->height * chain->width;
    cudaLaunchConfig_t c = config_for(stream, rows * (chain->stored / KERNEL_VECTOR));
    if (chain->bf16) {
        return cudaLaunchKernelEx(&c, backward<half_t>, *chain, (const half_t *)x,
                                  (const half_t *)dy, code, *norm, gamma, (half_t *)dx);
    }
    return cudaLaunchKernelEx(&c, backward<float>, *chain, (const float *)x, (const float *)dy,
                              code, *norm, gamma, (float *)dx);
}
