// Do handles that share weights give an image the bits it has alone, whatever the batch, the place
// in it, the threads, the workspace's other users and who predicts meanwhile? And are the weights
// there once?
#include "subject.h"
#include "support.h"

#include <float.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 24, BATCH = 16, CLASSES = 3, RUNNERS = 4 };

// Kernels of every size, pooling without a ReLU, a batch-norm on its own, odd sizes.
static const char *const MIXED =
    "input 37x29x3 classes 3\nbatch-norm momentum 0.9 epsilon 0.001\nconv 20 kernel 7 bias\n"
    "max-pool\nconv 33 kernel 1\nbatch-norm momentum 0.9 epsilon 0.001\nrelu\nconv 40 kernel 5 "
    "bias\nrelu\nmax-pool\ndropout 0.5\nconv 64 kernel 3 bias\nbatch-norm momentum 0.9 epsilon "
    "0.001\nrelu\nflatten\ndense 50 bias\nrelu\ndense 3 bias\nsoftmax\n";

typedef struct {
    nn_spec_t spec;
    nn_t *nn;
    uint8_t *pixels;
    int64_t image; // bytes
    float expected[IMAGES * CLASSES];
} model_t;

// The answers of each image alone, from a handle that shares nothing.
static void open_model(const subject_t *subject, const char *text, model_t *model) {
    model->spec = support_spec(text);
    nn_options_t options = support_options(subject->backend, subject->tolerance->precision, BATCH);
    options.training = false;
    options.threads = 1;
    options.mean[0] = 120.25f;
    options.mean[1] = 3;
    model->nn = support_new(&model->spec, &options);
    support_params(model->nn, 7);
    model->pixels = support_pixels(&model->spec, IMAGES, 8);
    model->image = (int64_t)model->spec.height * model->spec.width * model->spec.channels;
    for (int i = 0; i < IMAGES; i++) {
        OK(nn_predict(model->nn, model->pixels + i * model->image, 1, model->expected + i * CLASSES,
                      &err));
    }
    for (int i = 1; i < IMAGES; i++) { // they differ: a mix-up would be seen
        assert_memory_not_equal(model->expected, model->expected + (ptrdiff_t)i * CLASSES,
                                CLASSES * sizeof(float));
    }
}

static void open_paper(const subject_t *subject, int size, int width, model_t *model) {
    char *text = support_paper(size, width, CLASSES);
    open_model(subject, text, model);
    free(text);
}

static void close_model(model_t *model) {
    nn_destroy(&model->nn);
    free(model->pixels);
}

static nn_workspace_t *new_workspace(void) {
    nn_workspace_t *workspace = NULL;
    OK(nn_workspace_new(&workspace, &err));
    return workspace;
}

static nn_t *share(model_t *model, int threads, int batch) {
    nn_t *shared = NULL;
    OK(nn_share(model->nn, threads, batch, &shared, &err));
    return shared;
}

// True if count images, taken first + i · step of them, have their own answers.
static bool agrees(nn_t *shared, nn_workspace_t *workspace, const model_t *model, int first,
                   int count, int step) {
    float got[BATCH][CLASSES];
    nn_sample_t samples[BATCH] = {{0}};
    err_t err;
    for (int i = 0; i < count; i++) {
        int image = (first + i * step) % IMAGES;
        samples[i] =
            (nn_sample_t){.pixels = model->pixels + image * model->image, .probabilities = got[i]};
    }
    bool same = nn_predict_samples(shared, workspace, samples, count, &err) == ERR_OK;
    for (int i = 0; i < count; i++) {
        int image = (first + i * step) % IMAGES;
        same = same &&
               memcmp(got[i], model->expected + (ptrdiff_t)image * CLASSES, sizeof got[i]) == 0;
    }
    return same;
}

// --- Bits

static void every_batch(model_t *model) {
    nn_workspace_t *workspace = new_workspace();
    for (int threads = 1; threads <= 2; threads++) {
        for (int batch = 1; batch <= BATCH; batch += QUICK ? 5 : 3) {
            nn_t *shared = share(model, threads, batch);
            for (int count = 1; count <= batch; count++) {
                assert_true(
                    agrees(shared, workspace, model, count * 5, count, 1 + 4 * (count % 2)));
            }
            nn_destroy(&shared);
        }
    }
    nn_workspace_destroy(&workspace);
}

static void bits_do_not_depend_on_the_batch(void **state) {
    static const int sizes[][2] = {{32, 4}, {61, 24}, {96, 40}};
    for (int i = 0; i < (QUICK ? 1 : 3); i++) {
        model_t model;
        open_paper(*state, sizes[i][0], sizes[i][1], &model);
        every_batch(&model);
        close_model(&model);
    }
    model_t model;
    open_model(*state, MIXED, &model);
    every_batch(&model);
    close_model(&model);
}

typedef struct {
    model_t *model, *other;
    pthread_barrier_t *start;
    nn_t *shared, *of_other;
    nn_workspace_t *workspace;
    int turns, batch;
    bool wrong;
} runner_t;

static void *run(void *arg) {
    runner_t *runner = arg;
    pthread_barrier_wait(runner->start);
    for (int i = 0; i < runner->turns; i++) {
        int count = 1 + i % runner->batch;
        runner->wrong =
            runner->wrong ||
            !agrees(runner->shared, runner->workspace, runner->model, i, count, 1) ||
            !agrees(runner->of_other, runner->workspace, runner->other, 2 * i, count, 3);
    }
    return NULL;
}

// Each thread predicts with two models in turn, in one workspace; some in teams.
static void bits_do_not_depend_on_others(void **state) {
    model_t model, other;
    open_paper(*state, 32, QUICK ? 8 : 24, &model);
    open_model(*state, MIXED, &other);
    runner_t runners[RUNNERS];
    pthread_t threads[RUNNERS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, RUNNERS);
    for (int i = 0; i < RUNNERS; i++) {
        runners[i] = (runner_t){.model = &model,
                                .other = &other,
                                .start = &start,
                                .workspace = new_workspace(),
                                .turns = QUICK ? 4 : 20,
                                .batch = 1 + 5 * i};
        runners[i].batch = runners[i].batch < BATCH ? runners[i].batch : BATCH;
        runners[i].shared = share(&model, 1 + i % 2, runners[i].batch);
        runners[i].of_other = share(&other, 1 + i % 2, runners[i].batch);
        assert_int_equal(pthread_create(&threads[i], NULL, run, &runners[i]), 0);
    }
    for (int i = 0; i < RUNNERS; i++) {
        pthread_join(threads[i], NULL);
        assert_false(runners[i].wrong);
        nn_destroy(&runners[i].shared);
        nn_destroy(&runners[i].of_other);
        nn_workspace_destroy(&runners[i].workspace);
    }
    pthread_barrier_destroy(&start);
    close_model(&model);
    close_model(&other);
}

// --- Input

// The input of an image, at an odd address: what stands in a message has no alignment.
static char *input_of(const model_t *model, int image) {
    static const double means[] = {120.25, 3, 0, 0};
    char *input = malloc((size_t)model->image * sizeof(float) + 1);
    assert_non_null(input);
    for (int64_t i = 0; i < model->image; i++) {
        double pixel = model->pixels[image * model->image + i];
        float value = (float)((pixel - means[i % model->spec.channels]) / 255);
        memcpy(input + 1 + (size_t)i * sizeof value, &value, sizeof value);
    }
    return input;
}

static void input_gives_the_bits_of_pixels(void **state) {
    model_t model;
    open_model(*state, MIXED, &model);
    nn_workspace_t *workspace = new_workspace();
    nn_t *shared = share(&model, 1, 5);
    char *inputs[5];
    float got[5][CLASSES];
    nn_sample_t samples[5];
    for (int i = 0; i < 5; i++) {
        inputs[i] = input_of(&model, i);
        samples[i] = (nn_sample_t){.probabilities = got[i]};
        if (i % 3 == 1) {
            samples[i].pixels = model.pixels + i * model.image;
        } else {
            samples[i].input = inputs[i] + 1;
        }
    }
    OK(nn_predict_samples(shared, workspace, samples, 5, &err));
    assert_memory_equal(got, model.expected, sizeof got);
    for (int i = 0; i < 5; i++) {
        free(inputs[i]);
    }
    nn_destroy(&shared);
    nn_workspace_destroy(&workspace);
    close_model(&model);
}

static void overflow_stays_with_its_image(void **state) {
    model_t model;
    open_paper(*state, 32, 8, &model);
    nn_workspace_t *workspace = new_workspace();
    nn_t *shared = share(&model, 1, 3);
    float *input = malloc((size_t)model.image * sizeof *input), got[3][CLASSES];
    for (int64_t i = 0; i < model.image; i++) {
        input[i] = i % 2 ? FLT_MAX : -FLT_MAX;
    }
    nn_sample_t samples[3] = {{model.pixels, NULL, got[0]},
                              {NULL, input, got[1]},
                              {model.pixels + 2 * model.image, NULL, got[2]}};
    OK(nn_predict_samples(shared, workspace, samples, 3, &err));
    assert_memory_equal(got[0], model.expected, sizeof got[0]);
    assert_memory_equal(got[2], model.expected + 2 * CLASSES, sizeof got[2]);
    assert_true(agrees(shared, workspace, &model, 0, 3, 1)); // nothing is left of it
    free(input);
    nn_destroy(&shared);
    nn_workspace_destroy(&workspace);
    close_model(&model);
}

// --- Handles

static void only_predicting_is_left(void **state) {
    model_t model;
    open_paper(*state, 32, 8, &model);
    nn_workspace_t *workspace = new_workspace();
    nn_t *shared = share(&model, 0, 2), *none;
    float row[CLASSES], *data = malloc((size_t)nn_tensors(model.nn)[0].count * sizeof *data);
    err_t error;
    assert_int_equal(nn_predict(model.nn, model.pixels, 1, row, &error), ERR_INVALID);
    assert_true(error.remedy[0] != 0);
    assert_int_equal(nn_get(model.nn, NN_PARAM, 0, data, &error), ERR_INVALID);
    assert_int_equal(nn_init(model.nn, 1, &error), ERR_INVALID);
    assert_int_equal(nn_get(shared, NN_PARAM, 0, data, &error), ERR_INVALID);
    assert_int_equal(nn_init(shared, 1, &error), ERR_INVALID);
    assert_int_equal(nn_share(shared, 1, 1, &none, &error), ERR_INVALID);
    assert_int_equal(nn_share(model.nn, 1, 0, &none, &error), ERR_INVALID);
    assert_null(none);
    assert_true(agrees(shared, workspace, &model, 0, 2, 1));
    assert_int_equal(nn_predict(shared, model.pixels, 1, row, &error), ERR_INVALID);
    nn_sample_t sample = {.pixels = model.pixels, .probabilities = row};
    assert_int_equal(nn_predict_samples(shared, NULL, &sample, 1, &error), ERR_INVALID);
    sample.pixels = NULL;
    assert_int_equal(nn_predict_samples(shared, workspace, &sample, 1, &error), ERR_INVALID);
    sample = (nn_sample_t){.pixels = model.pixels};
    assert_int_equal(nn_predict_samples(shared, workspace, &sample, 1, &error), ERR_INVALID);
    free(data);
    nn_destroy(&shared);
    nn_workspace_destroy(&workspace);
    close_model(&model);
}

#ifndef NN_DOUBLE_DEVICE // whose memory would be counted
static size_t allocated(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

// A further handle takes a few kilobytes, a workspace what one image's activations need, and a
// second model in it nothing that the first has not.
static void weights_are_there_once(void **state) {
    model_t model;
    open_paper(*state, 32, 64, &model);
    size_t parameters = 0;
    for (int i = 0; i < nn_tensor_count(model.nn); i++) {
        parameters += (size_t)nn_tensors(model.nn)[i].count * sizeof(float);
    }
    nn_workspace_t *workspace = new_workspace();
    nn_t *first = share(&model, 1, 1);
    size_t before = allocated();
    nn_t *second = share(&model, 1, 1);
    assert_true(allocated() - before < parameters / 20);
    assert_true(agrees(first, workspace, &model, 0, 1, 1) &&
                agrees(second, workspace, &model, 1, 1, 1));
    uint64_t bytes = nn_workspace_bytes(workspace);
    assert_true(bytes < parameters / 2);
    assert_true(agrees(first, workspace, &model, 2, 1, 1));
    assert_true(nn_workspace_bytes(workspace) == bytes);
    nn_destroy(&first);
    nn_destroy(&second);
    nn_workspace_destroy(&workspace);
    close_model(&model);
}
#endif

static const subject_test_t tests[] = {
    {"bits do not depend on the batch", bits_do_not_depend_on_the_batch, true},
    {"bits do not depend on others", bits_do_not_depend_on_others, false},
    {"input gives the bits of pixels", input_gives_the_bits_of_pixels, false},
    {"overflow stays with its image", overflow_stays_with_its_image, false},
    {"only predicting is left", only_predicting_is_left, false},
#ifndef NN_DOUBLE_DEVICE
    {"weights are there once", weights_are_there_once, true},
#endif
};

int main(void) {
    return subject_run(tests, sizeof tests / sizeof tests[0]);
}
