// Input, bias, flatten, dense of prediction, loss, Adam.
#include "nn/cuda/vector.cuh"

// --- Input

template <typename T, typename S>
static __global__ void fill_input(S source, int64_t pixels, int channels, T *to) {
    int64_t pixel = item();
    if (pixel >= pixels) {
        return;
    }
    floats_t values = {};
    for (int c = 0; c < channels; c++) {
        values.v[c] = source(pixel * channels + c, c);
    }
    store(to, pixel, values);
}

struct bytes_source_t {
    const uint8_t *pixels;
    const float *table;
    __device__ float operator()(int64_t at, int c) const {
        return table[c * 256 + pixels[at]];
    }
};

struct floats_source_t {
    const float *input;
    __device__ float operator()(int64_t at, int) const {
        return input[at];
    }
};

template <typename S>
static cudaError_t launch_input(cudaStream_t stream, bool bf16, S source, int64_t pixels,
                                int channels, void *to) {
    cudaLaunchConfig_t c = config_for(stream, pixels);
    if (bf16) {
        return cudaLaunchKernelEx(&c, fill_input<half_t, S>, source, pixels, channels,
                                  (half_t *)to);
    }
    return cudaLaunchKernelEx(&c, fill_input<float, S>, source, pixels, channels, (float *)to);
}

cudaError_t kernel_load(cudaStream_t stream, bool bf16, const uint8_t *pixels, const float *table,
                        int count, int64_t area, int channels, void *to) {
    return launch_input(stream, bf16, bytes_source_t{pixels, table}, count * area, channels, to);
}

cudaError_t kernel_load_floats(cudaStream_t stream, bool bf16, const float *input, int count,
                               int64_t area, int channels, void *to) {
    return launch_input(stream, bf16, floats_source_t{input}, count * area, channels, to);
}

// --- Bias

template <typename T>
static __global__ void add_bias(int64_t items, int vectors, const float *bias, T *y) {
    if (item() >= items) {
        return;
    }
    floats_t values = load(y, item()), more = load(bias, item() % vectors);
    for (int i = 0; i < KERNEL_VECTOR; i++) {
        values.v[i] += more.v[i];
    }
    store(y, item(), values);
}

cudaError_t kernel_bias(cudaStream_t stream, bool bf16, int64_t rows, int stored, const float *bias,
                        void *y) {
    int vectors = stored / KERNEL_VECTOR;
    cudaLaunchConfig_t c = config_for(stream, rows * vectors);
    if (bf16) {
        return cudaLaunchKernelEx(&c, add_bias<half_t>, rows * vectors, vectors, bias, (half_t *)y);
    }
    return cudaLaunchKernelEx(&c, add_bias<float>, rows * vectors, vectors, bias, (float *)y);
}

// --- Flatten

template <typename T>
static __global__ void flatten(int64_t items, int64_t area, int channels, int stored,
                               int flat_stored, const T *x, float *y) {
    if (item() >= items) {
        return;
    }
    int vectors = stored / KERNEL_VECTOR, vector = (int)(item() % vectors);
    int64_t pixel = item() / vectors % area, sample = item() / vectors / area;
    floats_t values = load(x, item());
    for (int i = 0; i < KERNEL_VECTOR; i++) {
        int c = vector * KERNEL_VECTOR + i;
        if (c < channels) {
            y[sample * flat_stored + c * area + pixel] = values.v[i];
        }
    }
}

cudaError_t kernel_flatten(cudaStream_t stream, bool bf16, int count, int64_t area, int channels,
                           int stored, int flat_stored, const void *x, float *y) {
    int64_t items = count * area * (stored / KERNEL_VECTOR);
    cudaLaunchConfig_t c = config_for(stream, items);
    if (bf16) {
        return cudaLaunchKernelEx(&c, flatten<half_t>, items, area, channels, stored, flat_stored,
                                  (const half_t *)x, y);
    }
    return cudaLaunchKernelEx(&c, flatten<float>, items, area, channels, stored, flat_stored,
                              (const float *)x, y);
}

template <typename T>
static __global__ void unflatten(int64_t items, int64_t area, int channels, int stored,
                                 int flat_stored, const float *dy, T *dx) {
    if (item() >= items) {
        return;
    }
    int vectors = stored / KERNEL_VECTOR, vector = (int)(item() % vectors);
    int64_t pixel = item() / vectors % area, sample = item() / vectors / area;
    floats_t values = {};
    for (int i = 0; i < KERNEL_VECTOR; i++) {
        int c = vector * KERNEL_VECTOR + i;
        if (c < channels) {
            values.v[i] = dy[sample * flat_stored + c * area + pixel];
        }
    }
    store(dx, item(), values);
}

cudaError_t kernel_unflatten(cudaStream_t stream, bool bf16, int count, int64_t area, int channels,
                             int stored, int flat_stored, const float *dy, void *dx) {
    int64_t items = count * area * (stored / KERNEL_VECTOR);
    cudaLaunchConfig_t c = config_for(stream, items);
    if (bf16) {
        return cudaLaunchKernelEx(&c, unflatten<half_t>, items, area, channels, stored, flat_stored,
                                  dy, (half_t *)dx);
    }
    return cudaLaunchKernelEx(&c, unflatten<float>, items, area, channels, stored, flat_stored, dy,
                              (float *)dx);
}

// --- Loss: one warp a sample

enum { WARP = 32 };
static const unsigned whole_warp = 0xffffffffu;

static __device__ inline double warp_sum(double value) {
    for (int by = WARP / 2; by > 0; by /= 2) {
        value += __shfl_xor_sync(whole_warp, value, by);
    }
    return value;
}

// The largest, and the first class that has it.
static __device__ inline void warp_largest(float *largest, int *best) {
    for (int by = WARP / 2; by > 0; by /= 2) {
        float other = __shfl_xor_sync(whole_warp, *largest, by);
        int other_best = __shfl_xor_sync(whole_warp, *best, by);
        if (other > *largest || (other == *largest && other_best < *best)) {
            *largest = other;
            *best = other_best;
        }
    }
}

static __device__ inline void binary_loss(const float *logits, int label, double weight,
                                          double scale, int stored, int lane, float *dy,
                                          double *loss, int *correct) {
    double logit = logits[0];
    double p = logit >= 0 ? 1 / (1 + exp(-logit)) : exp(logit) / (1 + exp(logit));
    for (int k = lane; k < stored; k += WARP) {
        dy[k] = k == 0 ? (float)(scale * (p - label)) : 0;
    }
    if (lane == 0) {
        *loss = weight * ((logit > 0 ? logit : 0) - logit * label + log1p(exp(-fabs(logit))));
        *correct = (logit > 0) == label;
    }
}

static __device__ inline void class_loss(const float *logits, int classes, int label, double weight,
                                         double scale, int stored, int lane, float *dy,
                                         double *loss, int *correct) {
    float largest = -INFINITY;
    int best = 0x7fffffff;
    for (int k = lane; k < classes; k += WARP) {
        if (logits[k] > largest) {
            largest = logits[k];
            best = k;
        }
    }
    warp_largest(&largest, &best);
    double sum = 0;
    for (int k = lane; k < classes; k += WARP) {
        sum += exp((double)logits[k] - (double)largest);
    }
    double whole = (double)largest + log(warp_sum(sum));
    for (int k = lane; k < stored; k += WARP) {
        double p = k < classes ? exp((double)logits[k] - whole) - (k == label) : 0;
        dy[k] = (float)(scale * p);
    }
    if (lane == 0) {
        *loss = weight * (whole - (double)logits[label]);
        *correct = best == label;
    }
}

static __global__ void losses_of(int count, int classes, int stored, const float *logits,
                                 const int32_t *labels, const float *weights,
                                 const step_args_t *args, float *dy, double *losses,
                                 int *correct) {
    int sample = (int)(item() / WARP), lane = (int)(threadIdx.x % WARP);
    if (sample >= count) {
        return;
    }
    double weight = weights[sample], scale = weight / args->batch_total;
    const float *at = logits + (int64_t)sample * stored;
    float *to = dy + (int64_t)sample * stored;
    if (classes == 1) {
        binary_loss(at, labels[sample], weight, scale, stored, lane, to, losses + sample,
                    correct + sample);
    } else {
        class_loss(at, classes, labels[sample], weight, scale, stored, lane, to, losses + sample,
                   correct + sample);
    }
}

cudaError_t kernel_loss(cudaStream_t stream, int count, int classes, int stored,
                        const float *logits, const int32_t *labels, const float *weights,
                        const step_args_t *args, float *dy, double *losses, int *correct) {
    cudaLaunchConfig_t c = config_for(stream, (int64_t)count * WARP);
    return cudaLaunchKernelEx(&c, losses_of, count, classes, stored, logits, labels, weights, args,
                              dy, losses, correct);
}

template <int THREADS>
static __global__ void sum_results(int count, const double *losses, const int *correct,
                                   step_result_t *result) {
    __shared__ double loss[THREADS];
    __shared__ int right[THREADS];
    int thread = (int)threadIdx.x;
    loss[thread] = 0;
    right[thread] = 0;
    for (int i = thread; i < count; i += THREADS) {
        loss[thread] += losses[i];
        right[thread] += correct[i];
    }
    for (int step = THREADS / 2; step > 0; step /= 2) {
        __syncthreads();
        if (thread < step) {
            loss[thread] += loss[thread + step];
            right[thread] += right[thread + step];
        }
    }
    if (thread == 0) {
        result->loss = loss[0];
        result->correct = right[0];
    }
}

cudaError_t kernel_result(cudaStream_t stream, int count, const double *losses, const int *correct,
                          step_result_t *result) {
    cudaLaunchConfig_t c = config(stream, 1, BLOCK);
    return cudaLaunchKernelEx(&c, sum_results<BLOCK>, count, losses, correct, result);
}

// --- Adam

static __global__ __launch_bounds__(BLOCK) void adam(int64_t vectors, const step_args_t *args,
                                                     const float *gradient, float *m, float *v,
                                                     float *param, half_t *copy) {
    if (item() >= vectors) {
        return;
    }
    float beta1 = args->beta1, beta2 = args->beta2, rate = args->rate, epsilon = args->epsilon;
    floats_t g = load(gradient, item()), m8 = load(m, item()), v8 = load(v, item());
    floats_t p = load(param, item());
    for (int i = 0; i < KERNEL_VECTOR; i++) {
        m8.v[i] = beta1 * m8.v[i] + (1 - beta1) * g.v[i];
        v8.v[i] = beta2 * v8.v[i] + (1 - beta2) * g.v[i] * g.v[i];
        p.v[i] -= rate * m8.v[i] / (sqrtf(v8.v[i]) + epsilon);
    }
    store(m, item(), m8);
    store(v, item(), v8);
    store(param, item(), p);
    if (copy) {
        store(copy, item(), p);
    }
}

cudaError_t kernel_adam(cudaStream_t stream, int64_t count, const step_args_t *args,
                        const float *gradient, float *m, float *v, float *param, void *copy) {
    cudaLaunchConfig_t c = config_for(stream, count / KERNEL_VECTOR);
    return cudaLaunchKernelEx(&c, adam, count / KERNEL_VECTOR, args, gradient, m, v, param,
                              (half_t *)copy);
}

static __global__ void halve(int64_t vectors, const float *param, half_t *copy) {
    if (item() < vectors) {
        store(copy, item(), load(param, item()));
    }
}

cudaError_t kernel_halve(cudaStream_t stream, int64_t count, const float *param, void *copy) {
    cudaLaunchConfig_t c = config_for(stream, count / KERNEL_VECTOR);
    return cudaLaunchKernelEx(&c, halve, count / KERNEL_VECTOR, param, (half_t *)copy);
}

static __global__ void widen(int64_t vectors, const half_t *from, float *to) {
    if (item() < vectors) {
        store(to, item(), load(from, item()));
    }
}

cudaError_t kernel_widen(cudaStream_t stream, int64_t count, const void *from, float *to) {
    cudaLaunchConfig_t c = config_for(stream, count / KERNEL_VECTOR);
    return cudaLaunchKernelEx(&c, widen, count / KERNEL_VECTOR, (const half_t *)from, to);
}

// --- Dense of prediction

static __global__ void dense(int count, int ins, int x_stored, int outs, int y_stored,
                             const float *x, const float *weight, const float *bias, float *y) {
    int64_t warp = item() / WARP;
    int lane = (int)(threadIdx.x % WARP), sample = (int)(warp / outs), out = (int)(warp % outs);
    if (sample >= count) {
        return;
    }
    const float *row = x + (int64_t)sample * x_stored, *column = weight + (int64_t)out * ins;
    float sum = 0;
    for (int i = lane; i < ins; i += WARP) {
        sum += row[i] * column[i];
    }
    for (int by = WARP / 2; by > 0; by /= 2) {
        sum += __shfl_xor_sync(whole_warp, sum, by);
    }
    if (lane == 0) {
        y[(int64_t)sample * y_stored + out] = bias ? sum + bias[out] : sum;
    }
}

cudaError_t kernel_dense(cudaStream_t stream, int count, int ins, int x_stored, int outs,
                         int y_stored, const float *x, const float *weight, const float *bias,
                         float *y) {
    cudaLaunchConfig_t c = config_for(stream, (int64_t)count * outs * WARP);
    return cudaLaunchKernelEx(&c, dense, count, ins, x_stored, outs, y_stored, x, weight, bias, y);
}
