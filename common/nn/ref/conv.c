// Convolution, "same" padding, stride 1.
#include "nn/ref/ref_impl.h"

// The part of a row for which x + shift lies inside the image.
typedef struct {
    int from, to;
} span_t;

static span_t inside(int shift, int width) {
    return (span_t){shift < 0 ? -shift : 0, shift > 0 ? width - shift : width};
}

static void add_row(double *sum, const ref_real_t *row, int shift, int width, double factor) {
    span_t span = inside(shift, width);
    for (int x = span.from; x < span.to; x++) {
        sum[x] += factor * (double)row[x + shift];
    }
}

// sum[x] += Σ over the kernel of one input plane, for output row y. With `flip` the kernel is
// turned by 180°, as the gradient of the input needs it.
static void add_kernel_rows(double *sum, const ref_real_t *plane, const float *kernel, int size,
                            int y, nn_shape_t shape, bool flip) {
    int half = size / 2, last = size * size - 1;
    for (int ky = 0; ky < size; ky++) {
        int row = y + ky - half;
        if (row < 0 || row >= shape.height) {
            continue;
        }
        for (int kx = 0; kx < size; kx++) {
            int tap = ky * size + kx;
            add_row(sum, plane + (int64_t)row * shape.width, kx - half, shape.width,
                    (double)kernel[flip ? last - tap : tap]);
        }
    }
}

static void forward_plane(const ref_layer_t *layer, const ref_real_t *in, const float *weight,
                          float bias, ref_real_t *out) {
    int size = layer->spec->kernel, width = layer->in.width;
    int64_t plane = (int64_t)layer->in.height * width;
    double sum[NN_SIZE_MAX] = {0};
    for (int y = 0; y < layer->in.height; y++) {
        for (int x = 0; x < width; x++) {
            sum[x] = (double)bias;
        }
        for (int i = 0; i < layer->in.channels; i++) {
            add_kernel_rows(sum, in + i * plane, weight + (int64_t)i * size * size, size, y,
                            layer->in, false);
        }
        for (int x = 0; x < width; x++) {
            out[(int64_t)y * width + x] = (ref_real_t)sum[x];
        }
    }
}

void ref_conv_forward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass) {
    const float *weight = ref_tensor(ref, layer, NN_PARAM, 0);
    const float *bias = layer->spec->bias ? ref_tensor(ref, layer, NN_PARAM, 1) : NULL;
    int64_t plane = (int64_t)layer->in.height * layer->in.width;
    int64_t kernels = (int64_t)layer->spec->kernel * layer->spec->kernel * layer->in.channels;
    for (int n = 0; n < pass->count; n++) {
        const ref_real_t *in = ref_input(ref, layer) + n * ref_volume(layer->in);
        ref_real_t *out = layer->output + n * ref_volume(layer->out);
        for (int o = 0; o < layer->out.channels; o++) {
            forward_plane(layer, in, weight + o * kernels, bias ? bias[o] : 0, out + o * plane);
        }
    }
}

static void backward_data_plane(const ref_layer_t *layer, const ref_real_t *behind,
                                const float *weight, int i, ref_real_t *before) {
    int size = layer->spec->kernel, width = layer->in.width;
    int64_t plane = (int64_t)layer->in.height * width, area = (int64_t)size * size;
    double sum[NN_SIZE_MAX] = {0};
    for (int y = 0; y < layer->in.height; y++) {
        for (int x = 0; x < width; x++) {
            sum[x] = 0;
        }
        for (int o = 0; o < layer->out.channels; o++) {
            add_kernel_rows(sum, behind + o * plane,
                            weight + ((int64_t)o * layer->in.channels + i) * area, size, y,
                            layer->in, true);
        }
        for (int x = 0; x < width; x++) {
            before[(int64_t)y * width + x] = (ref_real_t)sum[x];
        }
    }
}

// Σ over samples and pixels of one kernel element: behind[y][x] · in[y + dy][x + dx].
static double correlate(const ref_layer_t *layer, const ref_pass_t *pass, const ref_real_t *in,
                        const ref_real_t *behind, int dy, int dx) {
    int height = layer->in.height, width = layer->in.width;
    int64_t in_step = ref_volume(layer->in), out_step = ref_volume(layer->out);
    span_t rows = inside(dy, height), columns = inside(dx, width);
    double sum[NN_SIZE_MAX] = {0}, total = 0;
    for (int n = 0; n < pass->count; n++) {
        for (int y = rows.from; y < rows.to; y++) {
            const ref_real_t *a = in + n * in_step + (int64_t)(y + dy) * width;
            const ref_real_t *b = behind + n * out_step + (int64_t)y * width;
            for (int x = columns.from; x < columns.to; x++) {
                sum[x] += (double)a[x + dx] * (double)b[x];
            }
        }
    }
    for (int x = columns.from; x < columns.to; x++) {
        total += sum[x];
    }
    return total;
}

static void backward_weight(ref_t *ref, const ref_layer_t *layer, const ref_pass_t *pass,
                            const ref_real_t *behind) {
    int size = layer->spec->kernel, half = size / 2;
    int64_t plane = (int64_t)layer->in.height * layer->in.width;
    float *gradient = ref_tensor(ref, layer, NN_GRADIENT, 0);
    for (int o = 0; o < layer->out.channels; o++) {
        for (int i = 0; i < layer->in.channels; i++) {
            const ref_real_t *in = ref_input(ref, layer) + i * plane;
            for (int tap = 0; tap < size * size; tap++) {
                *gradient++ = (float)correlate(layer, pass, in, behind + o * plane,
                                               tap / size - half, tap % size - half);
            }
        }
    }
}

static void backward_bias(ref_t *ref, const ref_layer_t *layer, const ref_pass_t *pass,
                          const ref_real_t *behind) {
    int64_t plane = (int64_t)layer->out.height * layer->out.width;
    float *gradient = ref_tensor(ref, layer, NN_GRADIENT, 1);
    for (int o = 0; o < layer->out.channels; o++) {
        double sum = 0;
        for (int n = 0; n < pass->count; n++) {
            const ref_real_t *at = behind + n * ref_volume(layer->out) + o * plane;
            for (int64_t i = 0; i < plane; i++) {
                sum += (double)at[i];
            }
        }
        gradient[o] = (float)sum;
    }
}

void ref_conv_backward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                       const ref_real_t *behind, ref_real_t *before) {
    const float *weight = ref_tensor(ref, layer, NN_PARAM, 0);
    int64_t plane = (int64_t)layer->in.height * layer->in.width;
    for (int n = 0; n < pass->count && before; n++) {
        for (int i = 0; i < layer->in.channels; i++) {
            backward_data_plane(layer, behind + n * ref_volume(layer->out), weight, i,
                                before + n * ref_volume(layer->in) + i * plane);
        }
    }
    backward_weight(ref, layer, pass, behind);
    if (layer->spec->bias) {
        backward_bias(ref, layer, pass, behind);
    }
}
