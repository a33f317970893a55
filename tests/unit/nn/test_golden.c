// Does the reference compute what PyTorch and Keras compute? goldens/make.py wrote down, for a few
// networks, both frameworks' probabilities, loss, gradients, and the parameters and moving
// statistics behind one Adam step, in float64; inputs and weights come from the counter-based
// generator on both sides.
//
// Built against the double reference the comparison is as sharp as the float storage of parameters
// and gradients (6e-8) allows. With the product's float activations rounding moves a value by some
// 1e-6, and in deep nets a ReLU or a pooling window within that of equality goes the other way and
// changes single gradients by more.
#include "support.h"

#include "base/philox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef NN_DOUBLE
static const struct { double output, loss, gradient, after; } limits = {1e-7, 1e-9, 2e-6, 1e-6};
#else
static const struct { double output, loss, gradient, after; } limits = {1e-6, 1e-6, 5e-3, 1e-3};
#endif

enum { LINE_SIZE = 4096, STREAM_MOMENTS = 0x7A12 };

typedef struct {
    const char *path;
    FILE *file;
    unsigned seed, position, step;
    int batch, total, weighted;
    nn_spec_t spec;
    nn_t *nn;
    float *probabilities;
    nn_result_t result;
} golden_t;

static void read_head(golden_t *golden) {
    char line[LINE_SIZE], text[LINE_SIZE] = "";
    golden->file = fopen(golden->path, "re");
    assert_non_null(golden->file);
    assert_non_null(fgets(line, sizeof line, golden->file)); // who made it
    assert_non_null(fgets(line, sizeof line, golden->file));
    assert_int_equal(sscanf(line, "seed %u batch %d total %d position %u step %u weighted %d",
                            &golden->seed, &golden->batch, &golden->total, &golden->position,
                            &golden->step, &golden->weighted),
                     6);
    while (fgets(line, sizeof line, golden->file) && line[0] != '\n') {
        assert_true(strlen(text) + strlen(line) < sizeof text);
        strcat(text, line);
    }
    golden->spec = support_spec(text);
}

static void set_moments(nn_t *nn, uint64_t seed) {
    static const float ranges[2][2] = {{-0.01f, 0.02f}, {0, 1e-4f}};
    for (int t = 0; t < nn_tensor_count(nn); t++) {
        const nn_tensor_t *tensor = &nn_tensors(nn)[t];
        for (uint32_t part = 0; part < 2 && tensor->trained; part++) {
            float *data = malloc((size_t)tensor->count * sizeof *data);
            assert_non_null(data);
            for (int64_t i = 0; i < tensor->count; i++) {
                philox_t random =
                    philox(seed, (uint32_t)(i / 4), 0, STREAM_MOMENTS + part, (uint32_t)t);
                data[i] = ranges[part][1] * philox_float(random.v[i % 4]) + ranges[part][0];
            }
            OK(nn_set(nn, part ? NN_ADAM_V : NN_ADAM_M, t, data, &err));
            free(data);
        }
    }
}

static void compute(golden_t *golden) {
    nn_options_t options = support_options("ref", "fp32", golden->batch);
    options.mean[0] = 120.5f;
    options.mean[1] = 90;
    golden->nn = support_new(&golden->spec, &options);
    support_params(golden->nn, golden->seed);
    set_moments(golden->nn, golden->seed);
    uint8_t *pixels = support_pixels(&golden->spec, golden->batch, golden->seed);
    int32_t *labels = support_labels(golden->spec.classes, golden->batch, golden->seed);
    float weights[16];
    assert_true(golden->batch <= 16);
    for (int n = 0; n < golden->batch; n++) {
        weights[n] = 0.5f + 0.25f * (float)n;
    }
    golden->probabilities =
        mem_zero((size_t)golden->batch * (size_t)golden->spec.classes, sizeof(float));
    OK(nn_predict(golden->nn, pixels, golden->batch, golden->probabilities, &err));
    nn_batch_t batch = {pixels,        labels,           golden->weighted ? weights : NULL,
                        golden->batch, golden->position, golden->total};
    OK(nn_step(golden->nn, &batch, golden->step, &support_adam, NULL, &golden->result, &err));
    free(pixels);
    free(labels);
}

static void check_value(const golden_t *golden, const char *what, int tensor, int64_t index,
                        double got, double expected, double limit) {
    if (!(fabs(got - expected) <= limit)) {
        print_error("%s: %s %d [%lld] is %.9g, not %.9g (limit %g)\n", golden->path, what, tensor,
                    (long long)index, got, expected, limit);
        fail();
    }
}

// One block of the file: "what tensor stride usual values", then the values.
static bool check_block(golden_t *golden) {
    char what[32];
    int tensor, count;
    long long stride;
    double usual;
    int found = fscanf(golden->file, "%31s %d stride %lld usual %lf values %d", what, &tensor,
                       &stride, &usual, &count);
    if (found == EOF) {
        return false;
    }
    assert_int_equal(found, 5);
    float *data = NULL;
    double limit = limits.output;
    if (strcmp(what, "gradient") == 0) {
        data = support_get(golden->nn, NN_GRADIENT, tensor);
        limit = limits.gradient * usual;
    } else if (strcmp(what, "after") == 0) {
        data = support_get(golden->nn, NN_PARAM, tensor);
        limit = limits.after * usual;
    } else if (strcmp(what, "loss") == 0) {
        limit = limits.loss * usual;
    } else {
        assert_string_equal(what, "probabilities");
        assert_int_equal(count, golden->batch * golden->spec.classes);
    }
    for (int i = 0; i < count; i++) {
        double expected;
        assert_int_equal(fscanf(golden->file, "%lf", &expected), 1);
        double got = data                        ? (double)data[i * stride]
                     : strcmp(what, "loss") == 0 ? golden->result.loss
                                                 : (double)golden->probabilities[i];
        check_value(golden, what, tensor, i * stride, got, expected, limit);
    }
    free(data);
    return true;
}

static void check_file(void **state) {
    golden_t golden = {.path = *state};
    read_head(&golden);
    compute(&golden);
    int blocks = 0;
    while (check_block(&golden)) {
        blocks++;
    }
    // Probabilities, loss, a gradient of each trained tensor, statistics at least.
    assert_true(blocks >= 2 + nn_tensor_count(golden.nn));
    fclose(golden.file);
    free(golden.probabilities);
    nn_destroy(&golden.nn);
}

int main(void) {
    static const char *const names[] = {
        "paper-small", "mixed", "classes",
#ifndef NN_QUICK
        "paper", // the real size: some seconds
#endif
    };
    enum { NAMES = sizeof names / sizeof names[0] };
    static const char *const sources[] = {"pytorch", "keras"};
    static char paths[2 * NAMES][512];
    struct CMUnitTest group[2 * NAMES];
    for (int i = 0; i < 2 * NAMES; i++) {
        snprintf(paths[i], sizeof paths[i], NN_GOLDENS "/%s.%s.txt", names[i / 2], sources[i % 2]);
        group[i] = (struct CMUnitTest){
            .name = strrchr(paths[i], '/') + 1, .test_func = check_file, .initial_state = paths[i]};
    }
    return _cmocka_run_group_tests("goldens", group, 2 * NAMES, NULL, NULL);
}
