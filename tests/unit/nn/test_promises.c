// Does every backend keep the promises of nn.h: the same bits alone and in a batch, after a round
// trip of the state, and twice in a row, and gradients that add up? They hold for the reference as
// well.
#include "subject.h"
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROMISE_BATCH = 5 };

typedef struct {
    nn_spec_t spec;
    nn_options_t options;
    nn_t *nn;
    uint8_t *pixels;
    int32_t *labels;
} model_t;

static model_t make_model(const subject_t *subject, int classes) {
    char *text = support_paper(32, 8, classes);
    model_t model = {.spec = support_spec(text)};
    model.options = support_options(subject->backend, subject->tolerance->precision, PROMISE_BATCH);
    model.nn = support_new(&model.spec, &model.options);
    model.pixels = support_pixels(&model.spec, 2 * PROMISE_BATCH, 31);
    model.labels = support_labels(classes, 2 * PROMISE_BATCH, 32);
    support_params(model.nn, 33);
    free(text);
    return model;
}

static void free_model(model_t *model) {
    nn_destroy(&model->nn);
    free(model->pixels);
    free(model->labels);
}

static int64_t image_size(const model_t *model) {
    return (int64_t)model->spec.height * model->spec.width * model->spec.channels;
}

// Trains on steps [from, to) with batches of changing size.
static nn_result_t train(nn_t *nn, const model_t *model, int from, int to) {
    nn_result_t result = {0};
    for (int step = from; step < to; step++) {
        int count = 1 + (step + 2) % PROMISE_BATCH;
        nn_batch_t batch = {.pixels = model->pixels + step % 3 * image_size(model),
                            .labels = model->labels + step % 3,
                            .count = count,
                            .batch_total = count};
        OK(nn_step(nn, &batch, (uint64_t)step, &support_adam, NULL, &result, &err));
    }
    return result;
}

// --- The state

static void assert_same_state(nn_t *a, nn_t *b) {
    int64_t count, other;
    float *one = support_state(a, &count), *two = support_state(b, &other);
    assert_true(count == other);
    assert_memory_equal(one, two, (size_t)count * sizeof *one);
    free(one);
    free(two);
}

static void copy_state(nn_t *from, nn_t *to) {
    for (int t = 0; t < nn_tensor_count(from); t++) {
        int parts = nn_tensors(from)[t].trained ? NN_ADAM_V : NN_PARAM;
        for (int part = NN_PARAM; part <= parts; part++) {
            float *data = support_get(from, (nn_part_t)part, t);
            OK(nn_set(to, (nn_part_t)part, t, data, &err));
            free(data);
        }
    }
}

// Stopped, stored, and continued in a new handle made from the stored choices.
static void resumes_exactly(void **state) {
    model_t model = make_model(*state, 2);
    train(model.nn, &model, 0, 2);
    nn_options_t options = model.options;
    options.backend = "auto";
    options.precision = "auto";
    options.choices = nn_choices(model.nn);
    nn_t *other = support_new(&model.spec, &options);
    assert_true(nn_exact(other));
    assert_string_equal(nn_choices(other), nn_choices(model.nn));
    copy_state(model.nn, other);
    assert_same_state(model.nn, other);
    nn_result_t expected = train(model.nn, &model, 2, 5), got = train(other, &model, 2, 5);
    assert_memory_equal(&expected.loss, &got.loss, sizeof got.loss);
    assert_int_equal(expected.correct, got.correct);
    assert_same_state(model.nn, other);
    nn_destroy(&other);
    free_model(&model);
}

// Returns the first image's first probability.
static float first_probability(nn_t *nn, const model_t *model) {
    float probabilities[8];
    OK(nn_predict(nn, model->pixels, 1, probabilities, &err));
    return probabilities[0];
}

// Evaluation between two steps leaves no trace in training.
static void evaluation_leaves_no_trace(void **state) {
    model_t model = make_model(*state, 2);
    nn_t *other = support_new(&model.spec, &model.options);
    copy_state(model.nn, other);
    train(model.nn, &model, 0, 1);
    train(other, &model, 0, 1);
    float probabilities[2 * PROMISE_BATCH];
    OK(nn_bn_estimate(model.nn, model.pixels, 2 * PROMISE_BATCH, NULL, &err));
    OK(nn_predict(model.nn, model.pixels, 3, probabilities, &err));
    assert_same_state(model.nn, other);
    nn_result_t expected = train(other, &model, 1, 3), got = train(model.nn, &model, 1, 3);
    assert_memory_equal(&expected.loss, &got.loss, sizeof got.loss);
    assert_same_state(model.nn, other);
    assert_true(first_probability(model.nn, &model) == first_probability(other, &model));
    nn_destroy(&other);
    free_model(&model);
}

// A step and a set end the use of an estimate.
static void estimate_ends(void **state) {
    model_t model = make_model(*state, 2);
    train(model.nn, &model, 0, 2);
    float moving = first_probability(model.nn, &model);
    OK(nn_bn_estimate(model.nn, model.pixels, 7, NULL, &err));
    assert_true(first_probability(model.nn, &model) != moving);
    float *data = support_get(model.nn, NN_PARAM, 0), scratch[64];
    OK(nn_set(model.nn, NN_PARAM, 0, data, &err));
    free(data);
    assert_true(first_probability(model.nn, &model) == moving);
    err_t error = {0};
    assert_int_equal(nn_get(model.nn, NN_ESTIMATE, 3, scratch, &error), ERR_INVALID);
    free_model(&model);
}

// --- Predictions

static void assert_predicts_alone(nn_t *nn, const model_t *model) {
    int classes = model->spec.classes, many = PROMISE_BATCH;
    float whole[PROMISE_BATCH * 8], part[PROMISE_BATCH * 8];
    assert_true(classes <= 8);
    OK(nn_predict(nn, model->pixels, many, whole, &err));
    for (int count = 1; count <= many; count++) {
        for (int first = 0; first + count <= many; first++) {
            OK(nn_predict(nn, model->pixels + first * image_size(model), count, part, &err));
            assert_memory_equal(part, whole + first * classes,
                                (size_t)(count * classes) * sizeof *part);
        }
    }
    for (int n = 0; n < many; n++) {
        double sum = 0;
        for (int k = 0; k < classes; k++) {
            sum += (double)whole[n * classes + k];
        }
        assert_true(fabs(sum - 1) < 1e-5);
    }
}

static void predicts_alone_as_in_a_batch(void **state) {
    for (int classes = 2; classes <= 5; classes += 3) {
        model_t model = make_model(*state, classes);
        assert_predicts_alone(model.nn, &model);
        train(model.nn, &model, 0, 2);
        float moving = first_probability(model.nn, &model);
        OK(nn_bn_estimate(model.nn, model.pixels, 7, NULL, &err));
        assert_predicts_alone(model.nn, &model);
        assert_true(moving != first_probability(model.nn, &model));
        nn_use_moving(model.nn);
        assert_true(moving == first_probability(model.nn, &model));
        free_model(&model);
    }
}

#ifndef NN_DOUBLE_DEVICE // which has no such sizes, and would take minutes
// Sizes at which libraries change their algorithm with the batch: the paper's network, and channels
// and heights of other kinds. No comparison with the reference, which would take minutes.
static void predicts_alone_at_full_size(void **state) {
    const subject_t *subject = *state;
    static const int sizes[][2] = {{96, 64}, {61, 24}, {32, 32}};
    enum { MANY = 41 };
    for (int i = 0; i < (QUICK ? 1 : 3); i++) {
        char *text = support_paper(sizes[i][0], sizes[i][1], 2);
        nn_spec_t spec = support_spec(text);
        nn_options_t options =
            support_options(subject->backend, subject->tolerance->precision, MANY);
        options.training = false;
        nn_t *nn = support_new(&spec, &options);
        support_params(nn, 3);
        uint8_t *pixels = support_pixels(&spec, MANY, 4);
        float whole[2 * MANY], part[2 * MANY];
        OK(nn_predict(nn, pixels, MANY, whole, &err));
        for (int first = 0, count = 1; first + count <= MANY;
             first += count, count = 5 * count % 7) {
            OK(nn_predict(nn, pixels + (ptrdiff_t)first * sizes[i][0] * sizes[i][0], count, part,
                          &err));
            assert_memory_equal(part, whole + 2 * (ptrdiff_t)first,
                                2 * (size_t)count * sizeof *part);
        }
        free(pixels);
        free(text);
        nn_destroy(&nn);
    }
}

#endif

// A handle that only predicts gives the training handle's probabilities, but for folding.
static void predicts_without_training(void **state) {
    const subject_t *subject = *state;
    model_t model = make_model(subject, 5);
    nn_options_t options = model.options;
    options.training = false;
    nn_t *other = support_new(&model.spec, &options);
    for (int t = 0; t < nn_tensor_count(other); t++) {
        float *data = support_get(model.nn, NN_PARAM, t);
        OK(nn_set(other, NN_PARAM, t, data, &err));
        float *back = support_get(other, NN_PARAM, t);
        assert_memory_equal(data, back, (size_t)nn_tensors(other)[t].count * sizeof *data);
        free(back);
        free(data);
    }
    assert_predicts_alone(other, &model);
    float expected[5 * PROMISE_BATCH], got[5 * PROMISE_BATCH];
    OK(nn_predict(model.nn, model.pixels, PROMISE_BATCH, expected, &err));
    OK(nn_predict(other, model.pixels, PROMISE_BATCH, got, &err));
    for (int i = 0; i < 5 * PROMISE_BATCH; i++) {
        assert_true(fabs((double)expected[i] - (double)got[i]) <= subject->tolerance->output);
    }
    nn_destroy(&other);
    free_model(&model);
}

// --- Gradients

#ifndef NN_DOUBLE_DEVICE // the backend cuda has no replicas
typedef struct {
    int next;
    size_t count;
    int fail_at; // bucket, or −1 for none
} reduction_t;

// As if a second rank had the same gradients.
static err_code_t twice(void *arg, int bucket, float *gradients, size_t count, err_t *error) {
    reduction_t *reduction = arg;
    assert_int_equal(bucket, reduction->next++);
    reduction->count += count;
    for (size_t i = 0; i < count; i++) {
        gradients[i] *= 2;
    }
    return bucket == reduction->fail_at ? err_set(error, ERR_UNAVAILABLE, "the peer is gone")
                                        : ERR_OK;
}

static err_code_t keep_sums(void *arg, double *values, size_t count, err_t *error) {
    (void)arg;
    (void)values;
    (void)count;
    (void)error;
    return ERR_OK;
}

static void reduces_every_gradient(void **state) {
    model_t model = make_model(*state, 2);
    nn_t *other = support_new(&model.spec, &model.options);
    copy_state(model.nn, other);
    reduction_t reduction = {.fail_at = -1};
    const nn_replicas_t replicas = {
        .world = 2, .gradients = twice, .sums = keep_sums, .arg = &reduction};
    nn_batch_t batch = {model.pixels, model.labels, NULL, PROMISE_BATCH, 0, 2 * PROMISE_BATCH};
    nn_result_t result;
    OK(nn_step(other, &batch, 4, &support_adam, NULL, &result, &err));
    OK(nn_step(model.nn, &batch, 4, &support_adam, &replicas, &result, &err));
    int64_t trained = 0;
    for (int t = 0; t < nn_tensor_count(other); t++) {
        const nn_tensor_t *tensor = &nn_tensors(other)[t];
        if (tensor->trained) {
            trained += tensor->count;
            float *one = support_get(other, NN_GRADIENT, t);
            float *two = support_get(model.nn, NN_GRADIENT, t);
            for (int64_t i = 0; i < tensor->count; i++) {
                assert_true(two[i] == 2 * one[i]);
            }
            free(one);
            free(two);
        }
    }
    assert_true((int64_t)reduction.count >= trained); // a layout of its own may pad
    reduction = (reduction_t){.fail_at = 0};
    err_t error = {0};
    err_code_t code = nn_step(model.nn, &batch, 5, &support_adam, &replicas, &result, &error);
    assert_int_equal(code, ERR_UNAVAILABLE);
    assert_non_null(strstr(error.message, "the peer is gone"));
    nn_destroy(&other);
    free_model(&model);
}

#endif

// Without batch-norm two halves of a batch, at their positions, have gradients that sum to the
// whole batch's: dropout goes by the place in the global batch.
static void halves_sum_to_the_whole(void **state) {
    const subject_t *subject = *state;
    nn_spec_t spec = support_spec("input 12x12x1 classes 3\nconv 16 kernel 3 bias\nrelu\nmax-pool\n"
                                  "dropout 0.3\nflatten\ndense 20 bias\nrelu\ndropout 0.3\n"
                                  "dense 3 bias\nsoftmax\n");
    nn_options_t options = support_options(subject->backend, subject->tolerance->precision, 6);
    nn_t *nn = support_new(&spec, &options);
    support_params(nn, 3);
    uint8_t *pixels = support_pixels(&spec, 6, 1);
    int32_t *labels = support_labels(3, 6, 2);
    const float weights[6] = {1, 0.5f, 2, 0, 1, 3};
    const nn_adam_t still = {.lr = 0, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-7f};
    float *sums[NN_TENSORS_MAX] = {0};
    double loss = 0;
    for (int part = 0; part < 3; part++) { // samples 0–1, 2–5, then all
        int first = part == 1 ? 2 : 0, count = part == 0 ? 2 : part == 1 ? 4 : 6;
        nn_batch_t batch = {
            pixels + first * 144, labels + first, weights + first, count, (uint32_t)first, 6};
        nn_result_t result;
        OK(nn_step(nn, &batch, 9, &still, NULL, &result, &err));
        loss += part < 2 ? result.loss : -result.loss;
        for (int t = 0; t < nn_tensor_count(nn); t++) {
            float *gradient = support_get(nn, NN_GRADIENT, t);
            int64_t size = nn_tensors(nn)[t].count;
            if (part == 0) {
                sums[t] = gradient;
                continue;
            }
            for (int64_t i = 0; i < size && part == 1; i++) {
                sums[t][i] += gradient[i];
            }
            if (part == 2) {
                double distance = support_distance(sums[t], gradient, size);
                double norm = support_norm(gradient, size);
                assert_true(distance <= subject->tolerance->smooth * norm);
                free(sums[t]);
            }
            free(gradient);
        }
    }
    assert_true(fabs(loss) < subject->tolerance->loss);
    free(pixels);
    free(labels);
    nn_destroy(&nn);
}

static const subject_test_t tests[] = {
    {"resumes exactly", resumes_exactly, false},
    {"evaluation leaves no trace", evaluation_leaves_no_trace, false},
    {"step and set end an estimate", estimate_ends, false},
    {"predicts alone as in a batch", predicts_alone_as_in_a_batch, false},
#ifndef NN_DOUBLE_DEVICE
    {"predicts alone at full size", predicts_alone_at_full_size, true},
#endif
    {"predicts without training", predicts_without_training, false},
#ifndef NN_DOUBLE_DEVICE
    {"reduces every gradient", reduces_every_gradient, false},
#endif
    {"halves sum to the whole", halves_sum_to_the_whole, false},
};

int main(void) {
    return subject_run(tests, sizeof tests / sizeof tests[0]);
}
