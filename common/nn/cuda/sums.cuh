// Two sums a channel over rows. source(row, vector, a, b) gives what a row adds to both.
//
// A block is `lanes` vectors wide and BLOCK / lanes rows high; its thread walks over rows that lie
// a grid apart, then the block's rows are added up in shared memory, and one thread a channel adds
// the blocks' partial sums in order, in double.
#ifndef INKLING_NN_CUDA_SUMS_CUH
#define INKLING_NN_CUDA_SUMS_CUH

#include "nn/cuda/vector.cuh"

template <typename S>
static __global__ __launch_bounds__(BLOCK) void sum_blocks(S source, int64_t rows, int vectors,
                                                           int lanes, float *partial) {
    __shared__ float part[2][BLOCK][KERNEL_VECTOR];
    int lane = (int)threadIdx.x % lanes, high = BLOCK / lanes, row = (int)threadIdx.x / lanes;
    int vector = (int)blockIdx.y * lanes + lane;
    floats_t a = {}, b = {};
    if (vector < vectors) {
        for (int64_t r = (int64_t)blockIdx.x * high + row; r < rows;
             r += (int64_t)gridDim.x * high) {
            source(r, vector, a, b);
        }
    }
    for (int i = 0; i < KERNEL_VECTOR; i++) {
        part[0][threadIdx.x][i] = a.v[i];
        part[1][threadIdx.x][i] = b.v[i];
    }
    for (int step = high / 2; step > 0; step /= 2) {
        __syncthreads();
        if (row < step) {
            for (int i = 0; i < KERNEL_VECTOR; i++) {
                part[0][threadIdx.x][i] += part[0][threadIdx.x + step * lanes][i];
                part[1][threadIdx.x][i] += part[1][threadIdx.x + step * lanes][i];
            }
        }
    }
    if (row == 0 && vector < vectors) {
        float *to = partial + (int64_t)blockIdx.x * 2 * vectors * KERNEL_VECTOR;
        for (int i = 0; i < KERNEL_VECTOR; i++) {
            to[vector * KERNEL_VECTOR + i] = part[0][threadIdx.x][i];
            to[(vectors + vector) * KERNEL_VECTOR + i] = part[1][threadIdx.x][i];
        }
    }
}

enum { SUM_LANES = 16, SUM_LINES = BLOCK / SUM_LANES };

// The blocks' sums of a channel, for the thread to which it returns true. All threads of a block
// call it, once.
template <int LINES>
static __device__ inline bool add_blocks(const float *partial, int blocks, int stored, int *channel,
                                         double *a, double *b) {
    __shared__ double part[2][LINES][SUM_LANES];
    int lane = (int)threadIdx.x % SUM_LANES, line = (int)threadIdx.x / SUM_LANES;
    int c = (int)blockIdx.x * SUM_LANES + lane;
    *a = *b = 0;
    for (int i = line; i < blocks && c < stored; i += LINES) {
        *a += partial[((int64_t)i * 2) * stored + c];
        *b += partial[((int64_t)i * 2 + 1) * stored + c];
    }
    part[0][line][lane] = *a;
    part[1][line][lane] = *b;
    __syncthreads();
    if (line > 0 || c >= stored) {
        return false;
    }
    for (int other = 1; other < LINES; other++) {
        *a += part[0][other][lane];
        *b += part[1][other][lane];
    }
    *channel = c;
    return true;
}

// For the kernels that call add_blocks.
static inline cudaLaunchConfig_t config_add_blocks(cudaStream_t stream, int stored) {
    return config(stream, (stored + SUM_LANES - 1) / SUM_LANES, BLOCK);
}

static inline int sum_lanes(int vectors) {
    int lanes = 32;
    while (lanes > vectors) {
        lanes /= 2;
    }
    return lanes;
}

static inline int sum_block_count(int64_t rows, int vectors) {
    int64_t high = BLOCK / sum_lanes(vectors), blocks = (rows + 4 * high - 1) / (4 * high);
    return blocks < KERNEL_PARTS ? (int)blocks : KERNEL_PARTS;
}

template <typename S>
static inline cudaError_t launch_sums(cudaStream_t stream, S source, int64_t rows, int stored,
                                      float *partial) {
    int vectors = stored / KERNEL_VECTOR, lanes = sum_lanes(vectors);
    cudaLaunchConfig_t c = config(stream, sum_block_count(rows, vectors), BLOCK);
    c.gridDim.y = (unsigned)((vectors + lanes - 1) / lanes);
    return cudaLaunchKernelEx(&c, sum_blocks<S>, source, rows, vectors, lanes, partial);
}

#endif
