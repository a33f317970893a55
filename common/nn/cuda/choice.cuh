// The choices that a chain made going forward, a byte for each element that came out: bits 0 and 1
// which of the 2×2 window was the largest (2·dy + dx), bit 2 ReLU let it through, bit 3 dropout
// kept it.
#ifndef INKLING_NN_CUDA_CHOICE_CUH
#define INKLING_NN_CUDA_CHOICE_CUH

#include "nn/cuda/vector.cuh"

enum { CHOICE_PLACE = 3, CHOICE_POSITIVE = 4, CHOICE_KEPT = 8 };

struct alignas(8) codes_t {
    uint8_t v[KERNEL_VECTOR];
};

static __device__ inline codes_t load_codes(const uint8_t *code, int64_t index) {
    return reinterpret_cast<const codes_t *>(code)[index];
}

// The gradient in front of the ReLU.
static __device__ inline float choice_passes(const chain_t &chain, int code, float gradient) {
    bool through = (code & CHOICE_POSITIVE) && (code & CHOICE_KEPT);
    return through ? (chain.drop ? gradient * chain.drop_scale : gradient) : 0;
}

// The input's row that output row `row` was taken from.
static __device__ inline int64_t choice_row(const chain_t &chain, int64_t row, int code) {
    if (!chain.pool) {
        return row;
    }
    int64_t x = row % chain.out_width, y = row / chain.out_width % chain.out_height;
    int64_t sample = row / chain.out_width / chain.out_height;
    y = 2 * y + ((code & CHOICE_PLACE) >> 1);
    x = 2 * x + (code & 1);
    return (sample * chain.height + y) * chain.width + x;
}

#endif
