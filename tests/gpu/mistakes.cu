#include "mistakes.h"

#include <cuda_runtime.h>

template <int MISTAKE>
static __global__ void turn(const float *from, float *to) {
    __shared__ float part[MISTAKE == SHARED_TOO_SMALL ? MISTAKES_BLOCK - 1 : MISTAKES_BLOCK];
    int step = MISTAKE == BLOCKS_OVERLAP ? MISTAKES_BLOCK - 1 : MISTAKES_BLOCK;
    int thread = (int)threadIdx.x, start = (int)blockIdx.x * step;
    part[thread] = from[start + thread];
    if (MISTAKE != NO_BARRIER && (MISTAKE != BARRIER_IN_BRANCH || thread < 32)) {
        __syncthreads();
    }
    to[start + thread + (MISTAKE == PAST_THE_END)] = part[MISTAKES_BLOCK - 1 - thread];
}

template <int MISTAKE>
static __global__ void sum(const float *from, float *partial, unsigned *ticket, float *to) {
    __shared__ bool last;
    float value = from[blockIdx.x * MISTAKES_BLOCK + threadIdx.x] +
                  from[blockIdx.x * MISTAKES_BLOCK + 32 + threadIdx.x];
    for (int by = 16; by > 0; by /= 2) {
        unsigned mask = MISTAKE == WARP_MASK ? 0xffffu : 0xffffffffu;
        value += __shfl_xor_sync(mask, value, by);
    }
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = value;
        if (MISTAKE != NO_FENCE) {
            __threadfence();
        }
        last = atomicAdd(ticket, 1u) == gridDim.x - 1;
    }
    __syncwarp();
    if (last && threadIdx.x == 0) {
        float whole = 0;
        for (unsigned i = 0; i < gridDim.x; i++) {
            whole += partial[i];
        }
        *to = whole;
        *ticket = 0;
    }
}

static cudaLaunchConfig_t config(cudaStream_t stream, int blocks, int threads) {
    cudaLaunchConfig_t made = {};
    made.gridDim = dim3((unsigned)blocks);
    made.blockDim = dim3((unsigned)threads);
    made.stream = stream;
    return made;
}

cudaError_t launch_turn(cudaStream_t stream, const float *from, float *to, int blocks,
                        mistake_t mistake) {
    cudaLaunchConfig_t c = config(stream, blocks, MISTAKES_BLOCK);
    switch (mistake) {
    case NO_BARRIER:
        return cudaLaunchKernelEx(&c, turn<NO_BARRIER>, from, to);
    case BARRIER_IN_BRANCH:
        return cudaLaunchKernelEx(&c, turn<BARRIER_IN_BRANCH>, from, to);
    case PAST_THE_END:
        return cudaLaunchKernelEx(&c, turn<PAST_THE_END>, from, to);
    case BLOCKS_OVERLAP:
        return cudaLaunchKernelEx(&c, turn<BLOCKS_OVERLAP>, from, to);
    case SHARED_TOO_SMALL:
        return cudaLaunchKernelEx(&c, turn<SHARED_TOO_SMALL>, from, to);
    default:
        return cudaLaunchKernelEx(&c, turn<RIGHT>, from, to);
    }
}

cudaError_t launch_sum(cudaStream_t stream, const float *from, float *partial, unsigned *ticket,
                       float *to, int blocks, mistake_t mistake) {
    cudaLaunchConfig_t c = config(stream, blocks, 32);
    switch (mistake) {
    case NO_FENCE:
        return cudaLaunchKernelEx(&c, sum<NO_FENCE>, from, partial, ticket, to);
    case WARP_MASK:
        return cudaLaunchKernelEx(&c, sum<WARP_MASK>, from, partial, ticket, to);
    default:
        return cudaLaunchKernelEx(&c, sum<RIGHT>, from, partial, ticket, to);
    }
}
