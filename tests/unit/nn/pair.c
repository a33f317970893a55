#include "pair.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

pair_t pair_make(const subject_t *subject, const char *text, int max_batch) {
    pair_t pair = {.what = text, .spec = support_spec(text), .tolerance = subject->tolerance};
    pair.options = support_options(subject->backend, subject->tolerance->precision, max_batch);
    pair.options.mean[0] = 120.5f;
    pair.options.mean[1] = 90;
    pair.nn = support_new(&pair.spec, &pair.options);
    nn_options_t options = pair.options;
    options.backend = "ref";
    options.precision = "fp32";
    pair.ref = support_new(&pair.spec, &options);
    pair.pixels = support_pixels(&pair.spec, max_batch, 77);
    pair.labels = support_labels(pair.spec.classes, max_batch, 78);
    pair.weights = malloc((size_t)max_batch * sizeof *pair.weights);
    assert_non_null(pair.weights);
    for (int n = 0; n < max_batch; n++) {
        pair.weights[n] = 0.5f + 0.25f * (float)n;
    }
    support_params(pair.ref, 79);
    support_params(pair.nn, 79);
    return pair;
}

void pair_free(pair_t *pair) {
    nn_destroy(&pair->ref);
    nn_destroy(&pair->nn);
    free(pair->pixels);
    free(pair->labels);
    free(pair->weights);
}

static double depth_tolerance(const pair_t *pair) {
    int kinks = 0;
    for (int i = 0; i < pair->spec.layer_count; i++) {
        nn_kind_t kind = pair->spec.layers[i].kind;
        kinks += kind == NN_RELU || kind == NN_MAX_POOL;
    }
    return kinks == 0  ? pair->tolerance->smooth
           : kinks < 5 ? pair->tolerance->kinked
                       : pair->tolerance->deep;
}

static void compare_tensor(const pair_t *pair, nn_part_t part, int t, double floor_size,
                           double limit) {
    const nn_tensor_t *tensor = &nn_tensors(pair->ref)[t];
    float *expected = support_get(pair->ref, part, t), *got = support_get(pair->nn, part, t);
    double size = support_norm(expected, tensor->count);
    size = size > floor_size ? size : floor_size;
    double distance = support_distance(expected, got, tensor->count) / size;
    if (!(distance <= limit)) {
        print_error("%s\npart %d of %s: distance %g > %g (size %g, at least %g)\n", pair->what,
                    (int)part, tensor->name, distance, limit, size, floor_size);
        fail();
    }
    free(expected);
    free(got);
}

// Batch-norm takes the mean away again: the gradient of a bias in front of it is rounding alone.
// With 8 bits the same holds for a few numbers, which may cancel by chance.
static bool is_rounding(const pair_t *pair, const nn_tensor_t *tensor) {
    const nn_spec_t *spec = &pair->spec;
    if (tensor->count < 4 && strcmp(pair->tolerance->precision, "bf16") == 0) {
        return true;
    }
    return tensor->role == NN_BIAS && tensor->layer + 1 < spec->layer_count &&
           spec->layers[tensor->layer + 1].kind == NN_BATCH_NORM;
}

static void compare_gradients(const pair_t *pair) {
    double sum = 0;
    int64_t count = 0;
    for (int t = 0; t < nn_tensor_count(pair->ref); t++) {
        if (nn_tensors(pair->ref)[t].trained) {
            float *gradient = support_get(pair->ref, NN_GRADIENT, t);
            double norm = support_norm(gradient, nn_tensors(pair->ref)[t].count);
            sum += norm * norm;
            count += nn_tensors(pair->ref)[t].count;
            free(gradient);
        }
    }
    for (int t = 0; t < nn_tensor_count(pair->ref); t++) {
        const nn_tensor_t *tensor = &nn_tensors(pair->ref)[t];
        if (tensor->trained) {
            double usual = sqrt(sum / (double)count * (double)tensor->count);
            double least = is_rounding(pair, tensor) ? usual : 1e-3 * usual;
            compare_tensor(pair, NN_GRADIENT, t, least, depth_tolerance(pair));
        }
    }
}

void pair_statistics(const pair_t *pair, nn_part_t part) {
    for (int t = 0; t < nn_tensor_count(pair->ref); t++) {
        const nn_tensor_t *tensor = &nn_tensors(pair->ref)[t];
        if (!tensor->trained) {
            compare_tensor(pair, part, t, 0.1 * sqrt((double)tensor->count),
                           pair->tolerance->moving);
        }
    }
}

void pair_predict(const pair_t *pair, int count) {
    size_t numbers = (size_t)count * (size_t)pair->spec.classes;
    float *expected = malloc(numbers * sizeof *expected), *got = malloc(numbers * sizeof *got);
    assert_true(expected && got);
    OK(nn_predict(pair->ref, pair->pixels, count, expected, &err));
    OK(nn_predict(pair->nn, pair->pixels, count, got, &err));
    for (size_t i = 0; i < numbers; i++) {
        double off = fabs((double)expected[i] - (double)got[i]);
        if (!(off <= pair->tolerance->output)) {
            print_error("%s\nprobability %zu of %d images: %g, but ref %g\n", pair->what, i, count,
                        (double)got[i], (double)expected[i]);
            fail();
        }
    }
    free(expected);
    free(got);
}

// A step of count samples that are the end of a larger global batch. lr 0 keeps the parameters, so
// that the next comparison starts from the same ones; moments and moving statistics go on.
static void compare_step(const pair_t *pair, int count, uint64_t step) {
    nn_batch_t batch = {.pixels = pair->pixels,
                        .labels = pair->labels,
                        .weights = count % 2 ? pair->weights : NULL,
                        .count = count,
                        .position = 3,
                        .batch_total = count + 4};
    nn_adam_t adam = support_adam;
    adam.lr = 0;
    nn_result_t expected, got;
    OK(nn_step(pair->ref, &batch, step, &adam, NULL, &expected, &err));
    OK(nn_step(pair->nn, &batch, step, &adam, NULL, &got, &err));
    if (!(fabs(expected.loss - got.loss) <= pair->tolerance->loss * (1 + expected.loss))) {
        print_error("%s\n%d samples: loss %.9g, but ref %.9g\n", pair->what, count, got.loss,
                    expected.loss);
        fail();
    }
    if (strcmp(pair->tolerance->precision, "fp32") == 0) {
        assert_int_equal(expected.correct, got.correct);
    }
    compare_gradients(pair);
    pair_statistics(pair, NN_PARAM);
}

void pair_compare(const subject_t *subject, const char *text, int max_batch) {
    pair_t pair = pair_make(subject, text, max_batch);
    pair_predict(&pair, max_batch);
    compare_step(&pair, max_batch, 0);
    if (max_batch > 1) {
        int fewer = 1 + max_batch / 2;
        compare_step(&pair, fewer < max_batch ? fewer : 1, 7);
        pair_predict(&pair, 1);
        compare_step(&pair, max_batch, (1ull << 32) + 1); // back to the full size
    }
    pair_free(&pair);
}
