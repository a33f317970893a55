// The layers without parameters: ReLU, max-pool, dropout, flatten.
#include "base/philox.h"
#include "nn/ref/ref_impl.h"

#include <math.h>
#include <string.h>

void ref_relu_forward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass) {
    const ref_real_t *in = ref_input(ref, layer);
    int64_t count = pass->count * ref_volume(layer->in);
    for (int64_t i = 0; i < count; i++) {
        layer->output[i] = in[i] < 0 ? 0 : in[i]; // NaN stays
    }
}

void ref_relu_backward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                       const ref_real_t *behind, ref_real_t *before) {
    const ref_real_t *in = ref_input(ref, layer);
    int64_t count = before ? pass->count * ref_volume(layer->in) : 0;
    for (int64_t i = 0; i < count; i++) {
        before[i] = in[i] <= 0 ? 0 : behind[i];
    }
}

// Where the largest of the 2×2 window at output y, x lies; the first in row order wins a tie,
// NaN wins over all.
static int64_t find_largest(const ref_real_t *plane, int width, int y, int x) {
    int64_t corner = (int64_t)2 * y * width + 2 * x, best = corner;
    const int64_t others[3] = {corner + 1, corner + width, corner + width + 1};
    for (int i = 0; i < 3; i++) {
        bool larger = plane[others[i]] > plane[best] || isnan(plane[others[i]]);
        best = larger ? others[i] : best;
    }
    return best;
}

void ref_max_pool_forward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass) {
    const ref_real_t *in = ref_input(ref, layer);
    ref_real_t *out = layer->output;
    int64_t planes = (int64_t)pass->count * layer->in.channels;
    for (int64_t p = 0; p < planes; p++) {
        const ref_real_t *plane = in + p * layer->in.height * layer->in.width;
        for (int y = 0; y < layer->out.height; y++) {
            for (int x = 0; x < layer->out.width; x++) {
                *out++ = plane[find_largest(plane, layer->in.width, y, x)];
            }
        }
    }
}

void ref_max_pool_backward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                           const ref_real_t *behind, ref_real_t *before) {
    if (!before) {
        return;
    }
    const ref_real_t *in = ref_input(ref, layer);
    int64_t planes = (int64_t)pass->count * layer->in.channels;
    memset(before, 0, (size_t)(pass->count * ref_volume(layer->in)) * sizeof *before);
    for (int64_t p = 0; p < planes; p++) {
        int64_t start = p * layer->in.height * layer->in.width;
        for (int y = 0; y < layer->out.height; y++) {
            for (int x = 0; x < layer->out.width; x++) {
                before[start + find_largest(in + start, layer->in.width, y, x)] = *behind++;
            }
        }
    }
}

// from to to, each element scaled or dropped. Random numbers are counted channel-last.
static void drop(const ref_t *ref, const ref_layer_t *layer, const ref_pass_t *pass,
                 const ref_real_t *from, ref_real_t *to) {
    uint32_t threshold = nn_dropout_threshold(layer->spec->rate);
    double scale = 1 / (1 - (double)layer->spec->rate);
    int64_t pixels = (int64_t)layer->in.height * layer->in.width, channels = layer->in.channels;
    for (int n = 0; n < pass->count; n++) {
        uint32_t position = pass->position + (uint32_t)n;
        for (int64_t i = 0; i < pixels * channels; i++) {
            int64_t element = i % pixels * channels + i / pixels;
            philox_t random = philox(ref->plan->seed, (uint32_t)(element / 4), position,
                                     (uint32_t)pass->step, (uint32_t)layer->index);
            bool kept = random.v[element % 4] >= threshold;
            int64_t at = n * pixels * channels + i;
            to[at] = kept ? (ref_real_t)((double)from[at] * scale) : 0;
        }
    }
}

void ref_dropout_forward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass) {
    if (pass->mode == REF_TRAIN) {
        drop(ref, layer, pass, ref_input(ref, layer), layer->output);
    } else {
        ref_flatten_forward(ref, layer, pass);
    }
}

void ref_dropout_backward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                          const ref_real_t *behind, ref_real_t *before) {
    if (before) {
        drop(ref, layer, pass, behind, before);
    }
}

// Planes are channel-major already: a copy.
void ref_flatten_forward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass) {
    memcpy(layer->output, ref_input(ref, layer),
           (size_t)(pass->count * ref_volume(layer->in)) * sizeof *layer->output);
}

void ref_flatten_backward(ref_t *ref, ref_layer_t *layer, const ref_pass_t *pass,
                          const ref_real_t *behind, ref_real_t *before) {
    (void)ref;
    if (before) {
        memcpy(before, behind, (size_t)(pass->count * ref_volume(layer->in)) * sizeof *before);
    }
}
