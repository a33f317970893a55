// What the kernels share: 8 channels at once, and launch configurations.
#ifndef INKLING_NN_CUDA_VECTOR_CUH
#define INKLING_NN_CUDA_VECTOR_CUH

#include "nn/cuda/kernels.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

typedef __nv_bfloat16 half_t;

template <typename T> struct alignas(16) pack_t {
    T v[KERNEL_VECTOR];
};

static __device__ inline float to_float(float x) {
    return x;
}
static __device__ inline float to_float(half_t x) {
    return __bfloat162float(x);
}
template <typename T> static __device__ inline T from_float(float x);
template <> __device__ inline float from_float<float>(float x) {
    return x;
}
template <> __device__ inline half_t from_float<half_t>(float x) {
    return __float2bfloat16(x);
}

// 8 channels as floats. index: in vectors.
struct floats_t {
    float v[KERNEL_VECTOR];
};

template <typename T> static __device__ inline floats_t load(const T *from, int64_t index) {
    pack_t<T> pack = reinterpret_cast<const pack_t<T> *>(from)[index];
    floats_t floats;
    for (int i = 0; i < KERNEL_VECTOR; i++) {
        floats.v[i] = to_float(pack.v[i]);
    }
    return floats;
}

template <typename T>
static __device__ inline void store(T *to, int64_t index, const floats_t &floats) {
    pack_t<T> pack;
    for (int i = 0; i < KERNEL_VECTOR; i++) {
        pack.v[i] = from_float<T>(floats.v[i]);
    }
    reinterpret_cast<pack_t<T> *>(to)[index] = pack;
}

enum { BLOCK = 256 };

static inline cudaLaunchConfig_t config(cudaStream_t stream, int64_t blocks, int threads) {
    cudaLaunchConfig_t made = {};
    made.gridDim = dim3((unsigned)blocks);
    made.blockDim = dim3((unsigned)threads);
    made.stream = stream;
    return made;
}

// A thread for each of count items.
static inline cudaLaunchConfig_t config_for(cudaStream_t stream, int64_t count) {
    return config(stream, (count + BLOCK - 1) / BLOCK, BLOCK);
}

static __device__ inline int64_t item(void) {
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

#endif
