// Does every backend train the paper's network as the reference does: single steps, the pace of
// learning, the statistics estimated anew? And is Adam's step that of the formula?
#include "pair.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void paper_steps(void **state) {
    static const struct {
        int size, width, classes, batch;
    } nets[] = {{32, 8, 2, 8}, {35, 6, 5, 5}, {48, 16, 2, 4}};
    for (int i = 0; i < (QUICK ? 2 : 3); i++) {
        char *text = support_paper(nets[i].size, nets[i].width, nets[i].classes);
        pair_compare(*state, text, nets[i].batch);
        free(text);
    }
}

static double run_steps(nn_t *nn, const pair_t *pair, int steps) {
    nn_batch_t batch = {.pixels = pair->pixels,
                        .labels = pair->labels,
                        .count = pair->options.max_batch,
                        .batch_total = pair->options.max_batch};
    nn_result_t result = {0};
    for (int step = 0; step < steps; step++) {
        OK(nn_step(nn, &batch, (uint64_t)step, &support_adam, NULL, &result, &err));
    }
    return result.loss / batch.count;
}

// A task that can be learnt (the second class is bright on the left), the same batch again and
// again: both must learn it, at the same pace. Adam makes equal steps of gradients of any size, so
// single weights may part; what the network does may not.
static void paper_learns_alike(void **state) {
    const subject_t *subject = *state;
    char *text = support_paper(32, 8, 2);
    pair_t pair = pair_make(subject, text, 8);
    for (int i = 0; i < 8 * 32 * 32; i++) {
        bool bright = pair.labels[i / (32 * 32)] == 1 && i % 32 < 16;
        pair.pixels[i] = (uint8_t)(pair.pixels[i] / 2 + (bright ? 100 : 0));
    }
    OK(nn_init(pair.ref, 5, &err));
    OK(nn_init(pair.nn, 5, &err));
    double start = run_steps(pair.ref, &pair, 1);
    OK(nn_init(pair.ref, 5, &err));
    double expected = run_steps(pair.ref, &pair, 8), got = run_steps(pair.nn, &pair, 8);
    bool fp32 = strcmp(subject->tolerance->precision, "fp32") == 0;
    if (!(expected < 0.5 * start && fabs(expected - got) <= (fp32 ? 0.05 : 0.3) * start)) {
        print_error("loss from %g to %g, but ref to %g\n", start, got, expected);
        fail();
    }
    pair_free(&pair);
    free(text);
}

// Adam from the backend's own gradients: exact but for the rounding of a handful of operations.
static void adam_by_the_formula(void **state) {
    const subject_t *subject = *state;
    char *text = support_paper(16, 4, 2);
    pair_t pair = pair_make(subject, text, 3);
    const nn_adam_t adam = {.lr = 3e-3f, .beta1 = 0.8f, .beta2 = 0.95f, .epsilon = 1e-5f};
    nn_batch_t batch = {pair.pixels, pair.labels, NULL, 3, 0, 3};
    for (uint64_t step = 0; step < 3; step++) {
        float *before[NN_TENSORS_MAX][3] = {{0}};
        for (int t = 0; t < nn_tensor_count(pair.nn); t++) {
            for (int part = 0; part < 3 && nn_tensors(pair.nn)[t].trained; part++) {
                before[t][part] = support_get(pair.nn, (nn_part_t)part, t);
            }
        }
        nn_result_t result;
        OK(nn_step(pair.nn, &batch, step, &adam, NULL, &result, &err));
        double b1 = (double)adam.beta1, b2 = (double)adam.beta2, when = (double)step + 1;
        double rate = (double)adam.lr * sqrt(1 - pow(b2, when)) / (1 - pow(b1, when));
        for (int t = 0; t < nn_tensor_count(pair.nn); t++) {
            if (!nn_tensors(pair.nn)[t].trained) {
                continue;
            }
            float *gradient = support_get(pair.nn, NN_GRADIENT, t);
            float *param = support_get(pair.nn, NN_PARAM, t);
            float *m = support_get(pair.nn, NN_ADAM_M, t), *v = support_get(pair.nn, NN_ADAM_V, t);
            for (int64_t i = 0; i < nn_tensors(pair.nn)[t].count; i++) {
                double g = (double)gradient[i];
                double m_new = b1 * (double)before[t][NN_ADAM_M][i] + (1 - b1) * g;
                double v_new = b2 * (double)before[t][NN_ADAM_V][i] + (1 - b2) * g * g;
                double old = (double)before[t][NN_PARAM][i];
                double change = rate * m_new / (sqrt(v_new) + (double)adam.epsilon);
                double m_scale = fabs(b1 * (double)before[t][NN_ADAM_M][i]) + fabs((1 - b1) * g);
                assert_true(fabs((double)m[i] - m_new) <= 1e-6 * m_scale + 1e-37);
                assert_true(fabs((double)v[i] - v_new) <= 1e-6 * v_new + 1e-37);
                assert_true(fabs((double)param[i] - (old - change)) <=
                            2e-7 * fabs(old) + 1e-5 * (double)adam.lr);
            }
            free(gradient);
            free(param);
            free(m);
            free(v);
            for (int part = 0; part < 3; part++) {
                free(before[t][part]);
            }
        }
    }
    pair_free(&pair);
    free(text);
}

static void estimates(void **state) {
    const subject_t *subject = *state;
    char *text = support_paper(32, 8, 2);
    pair_t pair = pair_make(subject, text, 5);
    uint8_t *pixels = support_pixels(&pair.spec, 13, 99); // chunks of 5, 5 and 3
    OK(nn_bn_estimate(pair.ref, pixels, 13, NULL, &err));
    OK(nn_bn_estimate(pair.nn, pixels, 13, NULL, &err));
    pair_statistics(&pair, NN_ESTIMATE);
    pair_predict(&pair, 5);
    nn_use_moving(pair.ref);
    nn_use_moving(pair.nn);
    pair_predict(&pair, 5);
    free(pixels);
    pair_free(&pair);
    free(text);
}

static const subject_test_t tests[] = {
    {"steps of the paper's network", paper_steps, true},
    {"learns at the reference's pace", paper_learns_alike, true},
    {"re-estimated statistics", estimates, true},
    {"Adam by the formula", adam_by_the_formula, false},
};

int main(void) {
    return subject_run(tests, sizeof tests / sizeof tests[0]);
}
