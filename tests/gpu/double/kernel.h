// What turns CUDA sources into C++ that a host runs: force-included (g++ -include) before every .cu
// file of a build for the double. NVIDIA's own headers stay in use, so the compiler checks the
// product's calls against the real signatures; only what a host lacks is put in here.
#ifndef DOUBLE_KERNEL_H
#define DOUBLE_KERNEL_H

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>

extern "C" {
// The thread whose code runs now.
typedef struct {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
} double_place_t;
extern double_place_t double_place;

void double_barrier(const char *file, int line);
// Waits for the lanes of mask and gives what lane `from` of them brought.
uint64_t double_exchange(const char *file, int line, unsigned mask, uint64_t value, int from);
void double_fence(void);
// A read-modify-write by this thread: before and after it no other runs. Tells the race detector.
void double_atomic(void *at, int size);
int double_lane(void);
// args: a copy is kept until the kernel has run; run is called once by every thread.
cudaError_t double_launch(const char *name, const cudaLaunchConfig_t *config,
                          void (*run)(const void *args), const void *args, size_t size);
}

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __constant__
// Blocks run one after the other, so one copy in a section that the executor clears will do.
#define __shared__ static __attribute__((section("cu_shared")))
#define __launch_bounds__(...)

static const uint3 &threadIdx = double_place.thread, &blockIdx = double_place.block;
static const dim3 &blockDim = double_place.block_dim, &gridDim = double_place.grid_dim;
enum { warpSize = 32 };

#define __syncthreads() double_barrier(__FILE__, __LINE__)
#define __threadfence() double_fence()
#define __syncwarp(...)                                                                            \
    ((void)double_exchange(__FILE__, __LINE__, double_mask(__VA_ARGS__), 0, double_lane()))
#define __shfl_sync(...)      double_shuffle(__FILE__, __LINE__, DOUBLE_TO, __VA_ARGS__)
#define __shfl_xor_sync(...)  double_shuffle(__FILE__, __LINE__, DOUBLE_XOR, __VA_ARGS__)
#define __shfl_down_sync(...) double_shuffle(__FILE__, __LINE__, DOUBLE_DOWN, __VA_ARGS__)
#define __ldg(at)             (*(at))

typedef enum { DOUBLE_TO, DOUBLE_XOR, DOUBLE_DOWN } double_shuffle_t;

static inline unsigned double_mask(unsigned mask = 0xffffffffu) {
    return mask;
}

template <typename T>
static inline T double_shuffle(const char *file, int line, double_shuffle_t how, unsigned mask,
                               T value, int by) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    int lane = double_lane();
    int from = how == DOUBLE_TO ? by : how == DOUBLE_XOR ? lane ^ by : lane + by;
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = double_exchange(file, line, mask, bits, from > 31 ? lane : from);
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <typename T>
__attribute__((no_sanitize("thread"))) static inline T double_atomic_add(T *at, T value) {
    double_atomic(at, sizeof *at);
    T before = *at;
    *at = before + value;
    return before;
}
#define atomicAdd double_atomic_add

// Launches with the kernel's own types, as NVIDIA's template does; the arguments are copied now.
template <typename... Wanted, size_t... Index>
static inline void double_call(const std::tuple<void (*)(Wanted...), Wanted...> &call,
                               std::index_sequence<Index...>) {
    std::get<0>(call)(std::get<Index + 1>(call)...);
}

template <typename... Wanted, typename... Given>
static inline cudaError_t double_launch_typed(const char *name, const cudaLaunchConfig_t *config,
                                              void (*kernel)(Wanted...), Given &&...given) {
    typedef std::tuple<void (*)(Wanted...), Wanted...> call_t;
    call_t call(kernel, static_cast<Wanted>(given)...);
    return double_launch(
        name, config,
        [](const void *args) {
            double_call(*static_cast<const call_t *>(args), std::index_sequence_for<Wanted...>());
        },
        &call, sizeof call);
}
#define cudaLaunchKernelEx(config, ...) double_launch_typed(#__VA_ARGS__, config, __VA_ARGS__)

#endif
