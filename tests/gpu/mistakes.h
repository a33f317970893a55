// Kernels that are right, and the same ones with a mistake planted: what the double must see.
#ifndef TEST_GPU_MISTAKES_H
#define TEST_GPU_MISTAKES_H

#include <driver_types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MISTAKES_BLOCK = 64 };

typedef enum {
    RIGHT,
    NO_BARRIER,
    BARRIER_IN_BRANCH,
    NO_FENCE,
    PAST_THE_END,
    BLOCKS_OVERLAP,
    SHARED_TOO_SMALL,
    WARP_MASK,
} mistake_t;

// to = from, turned round within each block of 64. from, to: blocks · 64 floats.
cudaError_t launch_turn(cudaStream_t stream, const float *from, float *to, int blocks,
                        mistake_t mistake);
// *to = Σ from, in a fixed order by the last block; partial: blocks floats; *ticket is 0 before and
// after.
cudaError_t launch_sum(cudaStream_t stream, const float *from, float *partial, unsigned *ticket,
                       float *to, int blocks, mistake_t mistake);

#ifdef __cplusplus
}
#endif
#endif
