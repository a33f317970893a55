// Is the reference right? Its gradients are compared with central differences of its own loss, for
// every kind of layer, and what has a value known beforehand is compared with that. Runs against
// the build whose activations are double, so that eight digits can be asked for.
#include "support.h"

#include "base/philox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const nn_adam_t still = {.lr = 0, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-7f};

enum { BATCH_MAX = 5 };

typedef struct {
    const char *text;
    nn_t *nn;
    uint8_t *pixels;
    nn_batch_t batch;
} fixture_t;

static fixture_t make_fixture(const char *text, int count, const float *weights) {
    nn_spec_t spec = support_spec(text);
    nn_options_t options = support_options("ref", "fp32", BATCH_MAX);
    options.mean[0] = 127.5f;
    fixture_t fixture = {.text = text, .nn = support_new(&spec, &options)};
    support_params(fixture.nn, 21);
    fixture.pixels = support_pixels(&spec, count, 22);
    fixture.batch = (nn_batch_t){.pixels = fixture.pixels,
                                 .labels = support_labels(spec.classes, count, 23),
                                 .weights = weights,
                                 .count = count,
                                 .position = 2,
                                 .batch_total = count + 3};
    return fixture;
}

static void free_fixture(fixture_t *fixture) {
    free((void *)fixture->batch.labels);
    free(fixture->pixels);
    nn_destroy(&fixture->nn);
}

// A step that changes no parameter; what is left are loss and gradients.
static double loss_of(fixture_t *fixture) {
    nn_result_t result;
    OK(nn_step(fixture->nn, &fixture->batch, 6, &still, NULL, &result, &err));
    return result.loss / fixture->batch.batch_total;
}

static double loss_with(fixture_t *fixture, int tensor, float *data, int64_t index, float value) {
    data[index] = value;
    OK(nn_set(fixture->nn, NN_PARAM, tensor, data, &err));
    return loss_of(fixture);
}

static void check_tensor(fixture_t *fixture, int t) {
    const nn_tensor_t *tensor = &nn_tensors(fixture->nn)[t];
    float *gradient = support_get(fixture->nn, NN_GRADIENT, t);
    float *data = support_get(fixture->nn, NN_PARAM, t);
    double size = support_norm(gradient, tensor->count) / sqrt((double)tensor->count);
    int64_t stride = 1 + tensor->count / 17;
    for (int64_t i = 0; i < tensor->count; i += stride) {
        const float keep = data[i], high = keep + 0x1p-13f, low = keep - 0x1p-13f;
        double above = loss_with(fixture, t, data, i, high);
        double below = loss_with(fixture, t, data, i, low);
        double difference = (above - below) / ((double)high - (double)low);
        double off = fabs(difference - (double)gradient[i]);
        if (!(off <= 3e-6 * (size + fabs(difference)) + 1e-9)) {
            print_error("%s%s[%lld]: gradient %.9g, difference %.9g (usual size %g)\n",
                        fixture->text, tensor->name, (long long)i, (double)gradient[i], difference,
                        size);
            fail();
        }
        loss_with(fixture, t, data, i, keep);
    }
    free(gradient);
    free(data);
}

static void check_net(const char *text, int count, const float *weights) {
    fixture_t fixture = make_fixture(text, count, weights);
    loss_of(&fixture);
    for (int t = 0; t < nn_tensor_count(fixture.nn); t++) {
        if (nn_tensors(fixture.nn)[t].trained) {
            check_tensor(&fixture, t);
        }
    }
    free_fixture(&fixture);
}

static void gradients_match_differences(void **state) {
    (void)state;
    static const char *const nets[] = {
        "input 1x3x2 classes 2\nflatten\ndense 1 bias\nsigmoid\n",
        "input 1x3x2 classes 2\nflatten\ndense 2\nsoftmax\n",
        "input 2x3x1 classes 4\nflatten\ndense 5 bias\ndense 4 bias\nsoftmax\n",
        "input 4x5x2 classes 2\nconv 3 kernel 3 bias\nflatten\ndense 1\nsigmoid\n",
        "input 3x7x1 classes 3\nconv 2 kernel 5\nconv 3 kernel 7 bias\nconv 2 kernel 1\n"
        "flatten\ndense 3\nsoftmax\n",
        "input 1x1x3 classes 2\nconv 4 kernel 3\nconv 2 kernel 3\nflatten\ndense 1\nsigmoid\n",
        "input 4x4x1 classes 2\nconv 3 kernel 3\nrelu\nflatten\ndense 6\nrelu\ndense 1\nsigmoid\n",
        "input 5x6x1 classes 2\nconv 3 kernel 3\nmax-pool\nconv 2 kernel 3\nflatten\ndense 1\n"
        "sigmoid\n",
        "input 4x3x2 classes 3\nconv 3 kernel 3\nbatch-norm momentum 0.9 epsilon 0.001\n"
        "conv 2 kernel 3\nflatten\ndense 3\nsoftmax\n",
        "input 2x2x1 classes 2\nflatten\ndense 4\nbatch-norm momentum 0.9 epsilon 0.1\ndense 1\n"
        "sigmoid\n",
        "input 4x4x1 classes 2\nconv 3 kernel 3\ndropout 0.4\nconv 2 kernel 3\nflatten\n"
        "dense 6\ndropout 0.3\ndense 1\nsigmoid\n",
        "input 8x8x1 classes 2\nconv 2 kernel 3\nbatch-norm momentum 0.99 epsilon 0.001\nrelu\n"
        "conv 2 kernel 3\nbatch-norm momentum 0.99 epsilon 0.001\nrelu\nmax-pool\ndropout 0.2\n"
        "conv 4 kernel 3\nbatch-norm momentum 0.99 epsilon 0.001\nrelu\nmax-pool\ndropout 0.2\n"
        "flatten\ndense 6 bias\nrelu\ndropout 0.2\ndense 1 bias\nsigmoid\n",
    };
    const float weights[BATCH_MAX] = {1, 0.5f, 2, 0, 3};
    for (size_t i = 0; i < sizeof nets / sizeof nets[0]; i++) {
        check_net(nets[i], 4, NULL);
        check_net(nets[i], 5, weights);
        check_net(nets[i], 1, NULL);
    }
}

static void set_all(nn_t *nn, int tensor, float value) {
    float data[64];
    assert_true(nn_tensors(nn)[tensor].count <= 64);
    for (int i = 0; i < 64; i++) {
        data[i] = value;
    }
    OK(nn_set(nn, NN_PARAM, tensor, data, &err));
}

// All inputs of a window are equal: the first in row order takes the whole gradient. The kernel's
// only weight is its centre; the gradients of the taps beside it tell which inputs were picked.
static void first_of_a_tie_wins(void **state) {
    (void)state;
    nn_spec_t spec = support_spec("input 2x2x1 classes 2\nconv 1 kernel 3\nmax-pool\nflatten\n"
                                  "dense 1\nsigmoid\n");
    nn_options_t options = support_options("ref", "fp32", 1);
    nn_t *nn = support_new(&spec, &options);
    const float centre[9] = {[4] = 1};
    OK(nn_set(nn, NN_PARAM, 0, centre, &err));
    set_all(nn, 1, 2);
    const uint8_t pixels[4] = {255, 255, 255, 255};
    const int32_t label = 0;
    nn_result_t result;
    OK(nn_step(nn, &(nn_batch_t){pixels, &label, NULL, 1, 0, 1}, 0, &still, NULL, &result, &err));
    const double behind = 2 / (1 + exp(-2)); // (p − y) · weight
    float *gradient = support_get(nn, NN_GRADIENT, 0);
    for (int tap = 0; tap < 9; tap++) { // seen from the corner at 0, 0
        bool within = tap / 3 >= 1 && tap % 3 >= 1;
        assert_true(fabs((double)gradient[tap] - (within ? behind : 0)) < 1e-6);
    }
    free(gradient);
    nn_destroy(&nn);
}

// Population variance, Keras' direction of the momentum.
static void moving_statistics(void **state) {
    (void)state;
    nn_spec_t spec = support_spec("input 1x2x1 classes 2\nbatch-norm momentum 0.75 epsilon 0.001\n"
                                  "flatten\ndense 1\nsigmoid\n");
    nn_options_t options = support_options("ref", "fp32", 2);
    nn_t *nn = support_new(&spec, &options);
    OK(nn_init(nn, 1, &err));
    const uint8_t pixels[4] = {0, 51, 102, 255}; // 0, 0.2, 0.4, 1: mean 0.4, variance 0.14
    const int32_t labels[2] = {0, 1};
    nn_result_t result;
    OK(nn_step(nn, &(nn_batch_t){pixels, labels, NULL, 2, 0, 2}, 0, &still, NULL, &result, &err));
    float mean, variance;
    OK(nn_get(nn, NN_PARAM, 2, &mean, &err));
    OK(nn_get(nn, NN_PARAM, 3, &variance, &err));
    assert_true(fabs((double)mean - 0.25 * 0.4) < 1e-7);
    assert_true(fabs((double)variance - (0.75 + 0.25 * 0.14)) < 1e-7);
    // Chunks {0, 0.2} and {0.4, 1}, merged, are the statistics of all four again.
    options.max_batch = 1;
    nn_destroy(&nn);
    nn = support_new(&spec, &options);
    OK(nn_init(nn, 1, &err));
    OK(nn_bn_estimate(nn, pixels, 2, NULL, &err));
    OK(nn_get(nn, NN_ESTIMATE, 2, &mean, &err));
    OK(nn_get(nn, NN_ESTIMATE, 3, &variance, &err));
    assert_true(fabs((double)mean - 0.4) < 1e-7);
    assert_true(fabs((double)variance - 0.14) < 1e-7);
    nn_destroy(&nn);
}

// The loss comes from the logit: it neither overflows nor saturates.
static void loss_of_far_logits(void **state) {
    (void)state;
    static const char *const heads[] = {"dense 1 bias\nsigmoid\n", "dense 2 bias\nsoftmax\n"};
    for (int softmax = 0; softmax < 2; softmax++) {
        char text[128];
        snprintf(text, sizeof text, "input 1x1x1 classes 2\nflatten\n%s", heads[softmax]);
        nn_spec_t spec = support_spec(text);
        nn_options_t options = support_options("ref", "fp32", 2);
        nn_t *nn = support_new(&spec, &options);
        const float bias[2] = {softmax ? 0 : 1000, 1000};
        OK(nn_set(nn, NN_PARAM, 1, bias, &err));
        const uint8_t pixels[2] = {0, 0};
        const int32_t labels[2] = {0, 1};
        nn_result_t result;
        OK(nn_step(nn, &(nn_batch_t){pixels, labels, NULL, 2, 0, 2}, 0, &still, NULL, &result,
                   &err));
        assert_true(fabs(result.loss - 1000) < 1e-9);
        assert_int_equal(result.correct, 1);
        float probabilities[2];
        OK(nn_predict(nn, pixels, 1, probabilities, &err));
        assert_true(probabilities[0] == 0 && probabilities[1] == 1);
        assert_true(fabs(nn_loss(probabilities, 2, 0) + log(1e-7)) < 1e-9);
        assert_true(fabs(nn_loss(probabilities, 2, 1) + log(1 - 1e-7)) < 1e-9);
        nn_destroy(&nn);
    }
}

// Dropped elements are those the header's formula says; kept ones are scaled by 1/(1 − rate).
static void dropout_follows_the_counter(void **state) {
    (void)state;
    enum { C = 2, X = 3, Y = 2, STEP = 11, POSITION = 4 };
    nn_spec_t spec =
        support_spec("input 2x3x2 classes 2\ndropout 0.5\nflatten\ndense 1\nsigmoid\n");
    nn_options_t options = support_options("ref", "fp32", 1);
    nn_t *nn = support_new(&spec, &options);
    set_all(nn, 0, 0); // p = 1/2 whatever is dropped
    uint8_t pixels[Y * X * C];
    memset(pixels, 255, sizeof pixels);
    const int32_t label = 0;
    nn_result_t result;
    OK(nn_step(nn, &(nn_batch_t){pixels, &label, NULL, 1, POSITION, 5}, STEP, &still, NULL, &result,
               &err));
    float *gradient = support_get(nn, NN_GRADIENT, 0);
    int kept = 0;
    for (int c = 0; c < C; c++) {
        for (int i = 0; i < Y * X; i++) {
            int element = i * C + c;
            philox_t random = philox(options.seed, (uint32_t)element / 4, POSITION, STEP, 0);
            bool keeps = random.v[element % 4] >= 0x80000000u;
            kept += keeps;
            assert_true(gradient[c * Y * X + i] == (keeps ? 0.5f * 2 / 5 : 0));
        }
    }
    assert_true(kept > 0 && kept < Y * X * C);
    free(gradient);
    nn_destroy(&nn);
}

int main(void) {
    const struct CMUnitTest group[] = {
        cmocka_unit_test(gradients_match_differences), cmocka_unit_test(first_of_a_tie_wins),
        cmocka_unit_test(moving_statistics),           cmocka_unit_test(loss_of_far_logits),
        cmocka_unit_test(dropout_follows_the_counter),
    };
    return cmocka_run_group_tests(group, NULL, NULL);
}
