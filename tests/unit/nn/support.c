#include "support.h"

#include "base/philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const nn_adam_t support_adam = {.lr = 1e-3f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-7f};

void ok_at(err_code_t code, const err_t *err, const char *file, int line) {
    if (code) {
        print_error("%s: %s (%s)\n", err_name(code), err->message, err->remedy);
        _fail(file, line);
    }
}

nn_spec_t support_spec(const char *text) {
    nn_spec_t spec;
    OK(nn_spec_parse(text, &spec, &err));
    return spec;
}

char *support_paper(int size, int width, int classes) {
    nn_vgg_t vgg = {size, size, 1, classes, width, 4, 4 * width, 0.2f};
    nn_spec_t spec;
    OK(nn_spec_vgg(&vgg, &spec, &err));
    return nn_spec_write(&spec);
}

nn_options_t support_options(const char *backend, const char *precision, int max_batch) {
    return (nn_options_t){.backend = backend,
                          .precision = precision,
                          .max_batch = max_batch,
                          .training = true,
                          .seed = 0x1234567890ull};
}

nn_t *support_new(const nn_spec_t *spec, const nn_options_t *options) {
    nn_t *nn = NULL;
    OK(nn_new(spec, options, &nn, &err));
    return nn;
}

uint8_t *support_pixels(const nn_spec_t *spec, int count, uint64_t seed) {
    int64_t image = (int64_t)spec->height * spec->width * spec->channels;
    uint8_t *pixels = malloc((size_t)(count * image));
    assert_non_null(pixels);
    for (int n = 0; n < count; n++) {
        for (int64_t i = 0; i < image; i++) {
            philox_t random = philox(seed, (uint32_t)(i / 4), (uint32_t)n, 0x9127, 0);
            pixels[n * image + i] = (uint8_t)(random.v[i % 4] >> 24);
        }
    }
    return pixels;
}

int32_t *support_labels(int classes, int count, uint64_t seed) {
    int32_t *labels = malloc((size_t)count * sizeof *labels);
    assert_non_null(labels);
    for (int n = 0; n < count; n++) {
        philox_t random = philox(seed, (uint32_t)n, 0, 0x1abe, 0);
        labels[n] = (int32_t)philox_below(random.v[0], (uint32_t)classes);
    }
    return labels;
}

void support_params(nn_t *nn, uint64_t seed) {
    static const struct {
        float low, span;
    } ranges[] = {
        [NN_BIAS] = {-0.2f, 0.4f}, [NN_GAMMA] = {0.5f, 1},    [NN_BETA] = {-0.2f, 0.4f},
        [NN_MEAN] = {-0.3f, 0.6f}, [NN_VARIANCE] = {0.5f, 1},
    };
    OK(nn_init(nn, seed, &err));
    for (int t = 0; t < nn_tensor_count(nn); t++) {
        const nn_tensor_t *tensor = &nn_tensors(nn)[t];
        if (tensor->role == NN_WEIGHT) {
            continue;
        }
        float *data = malloc((size_t)tensor->count * sizeof *data);
        assert_non_null(data);
        for (int64_t i = 0; i < tensor->count; i++) {
            philox_t random = philox(seed, (uint32_t)(i / 4), 0, 0x7a11, (uint32_t)t);
            data[i] = ranges[tensor->role].low +
                      ranges[tensor->role].span * philox_float(random.v[i % 4]);
        }
        OK(nn_set(nn, NN_PARAM, t, data, &err));
        free(data);
    }
}

float *support_get(nn_t *nn, nn_part_t part, int tensor) {
    float *data = malloc((size_t)nn_tensors(nn)[tensor].count * sizeof *data);
    assert_non_null(data);
    OK(nn_get(nn, part, tensor, data, &err));
    return data;
}

float *support_state(nn_t *nn, int64_t *count) {
    float *state = NULL;
    *count = 0;
    for (int t = 0; t < nn_tensor_count(nn); t++) {
        const nn_tensor_t *tensor = &nn_tensors(nn)[t];
        for (nn_part_t part = NN_PARAM; part <= (tensor->trained ? NN_ADAM_V : NN_PARAM); part++) {
            state = mem_grow(state, (size_t)(*count + tensor->count) * sizeof *state);
            OK(nn_get(nn, part, t, state + *count, &err));
            *count += tensor->count;
        }
    }
    return state;
}

double support_norm(const float *data, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)data[i] * (double)data[i];
    }
    return sqrt(sum);
}

double support_distance(const float *a, const float *b, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double off = (double)a[i] - (double)b[i];
        sum += off * off;
    }
    return sqrt(sum);
}
