// Does every backend compute what the reference computes, and keep the promises of nn.h?
//
// Each backend of the build runs in each precision it has. Comparisons use small nets around one
// kind of layer, odd shapes included, and whole steps of the paper's network; promises (same bits
// alone and in a batch, after a round trip of the state, twice in a row) hold for the reference as
// well.
//
// Tolerances. The distance of a tensor is ‖backend − ref‖ over ‖ref‖, where ‖ref‖ is at least 1e-3
// of what the tensor would have at the gradients' overall size (sums that cancel to about nothing
// have no digits to compare; where rounding is all there is, see is_rounding, it is all of that
// size).
//   fp32: rounding is 6e-8, direct convolutions and sums lose some 1e-6, Winograd F(4×4, 3×3) up to
//   1e-5: `smooth` 1e-4. A ReLU or pooling window whose inputs are equal within the rounding may go
//   the other way and changes single elements altogether: `kinked` 1e-2 in a shallow net. Behind
//   eight such layers with batch-norm between: `deep` 5e-2.
//   bf16: 8 bits of mantissa, 4e-3 a rounding: `smooth` 3e-2, `kinked` 0.15; the deep net's
//   gradients at the first layers keep little more than their direction: `deep` 0.7.
#include "support.h"

#include "base/philox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef NN_QUICK
enum { QUICK = 1 };
#else
enum { QUICK = 0 };
#endif

typedef struct {
    const char *precision;
    double output; // largest difference of a probability
    double loss;   // relative, of a sum of losses
    double moving; // distance of moving statistics and estimates
    double smooth, kinked, deep;
} tolerance_t;

static const tolerance_t tolerances[] = {
    {"fp32", 1e-5, 1e-5, 1e-5, 1e-4, 1e-2, 5e-2},
    {"bf16", 3e-2, 2e-2, 1e-2, 3e-2, 0.15, 0.7},
};

typedef struct {
    const char *backend;
    const tolerance_t *tolerance;
} subject_t;

// --- Comparing

// The same model, with the same parameters, in a backend and in the reference.
typedef struct {
    const char *what;
    nn_spec_t spec;
    nn_options_t options;
    const tolerance_t *tolerance;
    nn_t *ref, *nn;
    uint8_t *pixels;
    int32_t *labels;
    float *weights;
} pair_t;

static pair_t make_pair(const subject_t *subject, const char *text, int max_batch) {
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

static void free_pair(pair_t *pair) {
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

// The statistics of a normalisation: the mean in units of the deviation.
static void compare_statistics(const pair_t *pair, nn_part_t part) {
    for (int t = 0; t < nn_tensor_count(pair->ref); t++) {
        const nn_tensor_t *tensor = &nn_tensors(pair->ref)[t];
        if (!tensor->trained) {
            compare_tensor(pair, part, t, 0.1 * sqrt((double)tensor->count),
                           pair->tolerance->moving);
        }
    }
}

static void compare_predict(const pair_t *pair, int count) {
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
    OK(nn_step(pair->ref, &batch, step, &adam, NULL, NULL, &expected, &err));
    OK(nn_step(pair->nn, &batch, step, &adam, NULL, NULL, &got, &err));
    if (!(fabs(expected.loss - got.loss) <= pair->tolerance->loss * (1 + expected.loss))) {
        print_error("%s\n%d samples: loss %.9g, but ref %.9g\n", pair->what, count, got.loss,
                    expected.loss);
        fail();
    }
    if (strcmp(pair->tolerance->precision, "fp32") == 0) {
        assert_int_equal(expected.correct, got.correct);
    }
    compare_gradients(pair);
    compare_statistics(pair, NN_PARAM);
}

static void compare_net(const subject_t *subject, const char *text, int max_batch) {
    pair_t pair = make_pair(subject, text, max_batch);
    compare_predict(&pair, max_batch);
    compare_step(&pair, max_batch, 0);
    if (max_batch > 1) {
        int fewer = 1 + max_batch / 2;
        compare_step(&pair, fewer < max_batch ? fewer : 1, 7);
        compare_predict(&pair, 1);
        compare_step(&pair, max_batch, (1ull << 32) + 1); // back to the full size
    }
    free_pair(&pair);
}

#define HEAD "flatten\ndense 3 bias\nsoftmax\n"

// --- Each kind of layer

static void layers_conv(void **state) {
    static const struct {
        int height, width, channels, between, filters, kernel, batch;
        bool bias;
    } shapes[] = {
        {8, 8, 1, 0, 16, 3, 4, false},    {5, 7, 1, 0, 17, 3, 3, true},
        {13, 9, 3, 0, 64, 3, 2, true},    {16, 16, 1, 0, 64, 3, 5, false},
        {1, 1, 3, 0, 5, 3, 2, true},      {2, 3, 4, 0, 1, 3, 1, false},
        {3, 20, 2, 0, 3, 5, 2, true},     {9, 9, 1, 0, 8, 7, 3, false},
        {4, 4, 3, 0, 16, 1, 5, true},     {8, 8, 1, 16, 16, 3, 4, false},
        {7, 7, 1, 17, 3, 3, 3, true},     {12, 12, 1, 64, 64, 3, 2, false},
        {5, 6, 3, 64, 17, 3, 1, true},    {6, 5, 1, 3, 64, 5, 3, false},
        {11, 3, 1, 16, 32, 7, 2, true},   {24, 24, 1, 32, 32, 3, 2, false},
        {10, 10, 3, 48, 16, 1, 4, true},  {1, 17, 1, 16, 17, 3, 5, false},
        {6, 6, 1, 128, 128, 3, 2, false},
    };
    int count = (int)(sizeof shapes / sizeof shapes[0]);
    for (int i = 0; i < count; i += 1 + QUICK) {
        char text[256], between[64] = "";
        if (shapes[i].between) {
            snprintf(between, sizeof between, "conv %d kernel 1\n", shapes[i].between);
        }
        snprintf(text, sizeof text, "input %dx%dx%d classes 3\n%sconv %d kernel %d%s\n" HEAD,
                 shapes[i].height, shapes[i].width, shapes[i].channels, between, shapes[i].filters,
                 shapes[i].kernel, shapes[i].bias ? " bias" : "");
        compare_net(*state, text, shapes[i].batch);
    }
}

static const int channels_few[] = {1, 3, 16, 17, 64};

// One layer of the given text behind a convolution, over channel counts and odd sizes.
static void compare_behind_conv(const subject_t *subject, const char *layer) {
    static const struct { int height, width; } sizes[] = {{8, 8}, {5, 7}, {2, 2}, {13, 4}, {3, 17}};
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < (QUICK ? 1 : 2); j++) {
            char text[256];
            snprintf(text, sizeof text, "input %dx%dx2 classes 3\nconv %d kernel 3 bias\n%s\n" HEAD,
                     sizes[i].height, sizes[i].width, channels_few[(i + 2 * j) % 5], layer);
            compare_net(subject, text, 1 + (i + j) % 5);
        }
    }
}

static void layers_batch_norm(void **state) {
    compare_behind_conv(*state, "batch-norm momentum 0.9 epsilon 0.001");
    compare_net(*state, "input 4x4x3 classes 3\nbatch-norm momentum 0.99 epsilon 0.001\n" HEAD, 3);
    compare_net(*state,
                "input 4x4x1 classes 2\nflatten\ndense 33 bias\n"
                "batch-norm momentum 0.5 epsilon 0.01\ndense 1 bias\nsigmoid\n",
                5);
}

static void layers_relu(void **state) {
    compare_behind_conv(*state, "relu");
    compare_net(*state, "input 3x5x2 classes 3\nflatten\ndense 19 bias\nrelu\ndense 3\nsoftmax\n",
                4);
}

static void layers_max_pool(void **state) {
    compare_behind_conv(*state, "max-pool");
    compare_net(*state, "input 9x6x3 classes 3\nmax-pool\n" HEAD, 3);
}

static void layers_dropout(void **state) {
    compare_behind_conv(*state, "dropout 0.2");
    compare_behind_conv(*state, "dropout 0.9");
    compare_net(*state, "input 4x4x1 classes 3\ndropout 0.5\n" HEAD, 3);
    compare_net(*state,
                "input 4x4x1 classes 3\nflatten\ndropout 0\ndense 21\ndropout 0.3\n"
                "dense 3 bias\nsoftmax\n",
                5);
}

static void layers_dense_and_heads(void **state) {
    static const int units[] = {1, 3, 16, 17, 64, 257};
    for (int i = 0; i < 6; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "input %dx%dx%d classes 2\nflatten\ndense %d%s\ndense 1 bias\nsigmoid\n", 1 + i,
                 7 - i, 1 + i % 4, units[i], i % 2 ? " bias" : "");
        compare_net(*state, text, 1 + i % 5);
        int classes = units[i] > 1 ? units[i] : 2;
        snprintf(text, sizeof text, "input 5x3x1 classes %d\nflatten\ndense %d%s\nsoftmax\n",
                 classes, classes, i % 2 ? "" : " bias");
        compare_net(*state, text, 5 - i % 5);
    }
}

// Orders that the paper's network does not have: nothing may rely on its patterns.
static void layers_in_any_order(void **state) {
    static const char *const bodies[] = {
        "relu\nconv 5 kernel 3\nrelu\nbatch-norm momentum 0.9 epsilon 0.001\n",
        "conv 16 kernel 3 bias\nmax-pool\nrelu\nconv 8 kernel 3\n",
        "conv 16 kernel 3\nbatch-norm momentum 0.9 epsilon 0.001\nconv 17 kernel 3 bias\n",
        "conv 16 kernel 3\nbatch-norm momentum 0.9 epsilon 0.001\nmax-pool\ndropout 0.3\n",
        "conv 16 kernel 3\nbatch-norm momentum 0.9 epsilon 0.001\nrelu\ndropout 0.3\nmax-pool\n",
        "conv 16 kernel 3 bias\nbatch-norm momentum 0.9 epsilon 0.001\nrelu\nmax-pool\nmax-pool\n",
        "dropout 0.1\nconv 16 kernel 3\nmax-pool\nbatch-norm momentum 0.9 epsilon 0.001\nrelu\n",
        "conv 32 kernel 3\nrelu\nconv 32 kernel 3\nrelu\n",
    };
    for (int i = 0; i < (int)(sizeof bodies / sizeof bodies[0]); i++) {
        char text[512];
        snprintf(text, sizeof text, "input 9x10x1 classes 3\n%s" HEAD, bodies[i]);
        compare_net(*state, text, 3);
    }
}

// --- The paper's network

static char *paper_text(int size, int width, int classes) {
    nn_vgg_t vgg = {size, size, 1, classes, width, 4, 4 * width, 0.2f};
    nn_spec_t spec;
    OK(nn_spec_vgg(&vgg, &spec, &err));
    return nn_spec_write(&spec);
}

static void paper_steps(void **state) {
    static const struct {
        int size, width, classes, batch;
    } nets[] = {{32, 8, 2, 8}, {35, 6, 5, 5}, {48, 16, 2, 4}};
    for (int i = 0; i < (QUICK ? 2 : 3); i++) {
        char *text = paper_text(nets[i].size, nets[i].width, nets[i].classes);
        compare_net(*state, text, nets[i].batch);
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
        OK(nn_step(nn, &batch, (uint64_t)step, &support_adam, NULL, NULL, &result, &err));
    }
    return result.loss / batch.count;
}

// A task that can be learnt (the second class is bright on the left), the same batch again and
// again: both must learn it, at the same pace. Adam makes equal steps of gradients of any size, so
// single weights may part; what the network does may not.
static void paper_learns_alike(void **state) {
    const subject_t *subject = *state;
    char *text = paper_text(32, 8, 2);
    pair_t pair = make_pair(subject, text, 8);
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
    free_pair(&pair);
    free(text);
}

// Adam from the backend's own gradients: exact but for the rounding of a handful of operations.
static void adam_by_the_formula(void **state) {
    const subject_t *subject = *state;
    char *text = paper_text(16, 4, 2);
    pair_t pair = make_pair(subject, text, 3);
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
        OK(nn_step(pair.nn, &batch, step, &adam, NULL, NULL, &result, &err));
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
    free_pair(&pair);
    free(text);
}

static void estimates(void **state) {
    const subject_t *subject = *state;
    char *text = paper_text(32, 8, 2);
    pair_t pair = make_pair(subject, text, 5);
    uint8_t *pixels = support_pixels(&pair.spec, 13, 99); // chunks of 5, 5 and 3
    OK(nn_bn_estimate(pair.ref, pixels, 13, &err));
    OK(nn_bn_estimate(pair.nn, pixels, 13, &err));
    compare_statistics(&pair, NN_ESTIMATE);
    compare_predict(&pair, 5);
    nn_use_moving(pair.ref);
    nn_use_moving(pair.nn);
    compare_predict(&pair, 5);
    free(pixels);
    free_pair(&pair);
    free(text);
}

// --- Promises

enum { PROMISE_BATCH = 5 };

typedef struct {
    nn_spec_t spec;
    nn_options_t options;
    nn_t *nn;
    uint8_t *pixels;
    int32_t *labels;
} model_t;

static model_t make_model(const subject_t *subject, int classes) {
    char *text = paper_text(32, 8, classes);
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
        OK(nn_step(nn, &batch, (uint64_t)step, &support_adam, NULL, NULL, &result, &err));
    }
    return result;
}

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
    OK(nn_bn_estimate(model.nn, model.pixels, 2 * PROMISE_BATCH, &err));
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
    OK(nn_bn_estimate(model.nn, model.pixels, 7, &err));
    assert_true(first_probability(model.nn, &model) != moving);
    float *data = support_get(model.nn, NN_PARAM, 0), scratch[64];
    OK(nn_set(model.nn, NN_PARAM, 0, data, &err));
    free(data);
    assert_true(first_probability(model.nn, &model) == moving);
    err_t error = {0};
    assert_int_equal(nn_get(model.nn, NN_ESTIMATE, 3, scratch, &error), ERR_INVALID);
    free_model(&model);
}

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
        OK(nn_bn_estimate(model.nn, model.pixels, 7, &err));
        assert_predicts_alone(model.nn, &model);
        assert_true(moving != first_probability(model.nn, &model));
        nn_use_moving(model.nn);
        assert_true(moving == first_probability(model.nn, &model));
        free_model(&model);
    }
}

// Sizes at which libraries change their algorithm with the batch: the paper's network, and channels
// and heights of other kinds. No comparison with the reference, which would take minutes.
static void predicts_alone_at_full_size(void **state) {
    const subject_t *subject = *state;
    static const int sizes[][2] = {{96, 64}, {61, 24}, {32, 32}};
    enum { MANY = 41 };
    for (int i = 0; i < (QUICK ? 1 : 3); i++) {
        char *text = paper_text(sizes[i][0], sizes[i][1], 2);
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

static void reduces_every_gradient(void **state) {
    model_t model = make_model(*state, 2);
    nn_t *other = support_new(&model.spec, &model.options);
    copy_state(model.nn, other);
    reduction_t reduction = {.fail_at = -1};
    nn_batch_t batch = {model.pixels, model.labels, NULL, PROMISE_BATCH, 0, 2 * PROMISE_BATCH};
    nn_result_t result;
    OK(nn_step(other, &batch, 4, &support_adam, NULL, NULL, &result, &err));
    OK(nn_step(model.nn, &batch, 4, &support_adam, twice, &reduction, &result, &err));
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
    err_code_t code =
        nn_step(model.nn, &batch, 5, &support_adam, twice, &reduction, &result, &error);
    assert_int_equal(code, ERR_UNAVAILABLE);
    assert_non_null(strstr(error.message, "the peer is gone"));
    nn_destroy(&other);
    free_model(&model);
}

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
        OK(nn_step(nn, &batch, 9, &still, NULL, NULL, &result, &err));
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

// --- Running it all

typedef struct {
    const char *name;
    void (*run)(void **state);
    bool compares; // with the reference, which is no test of the reference
} test_t;

static const test_t tests[] = {
    {"convolution", layers_conv, true},
    {"batch-norm", layers_batch_norm, true},
    {"relu", layers_relu, true},
    {"max-pool", layers_max_pool, true},
    {"dropout", layers_dropout, true},
    {"dense and heads", layers_dense_and_heads, true},
    {"layers in any order", layers_in_any_order, true},
    {"steps of the paper's network", paper_steps, true},
    {"learns at the reference's pace", paper_learns_alike, true},
    {"re-estimated statistics", estimates, true},
    {"Adam by the formula", adam_by_the_formula, false},
    {"resumes exactly", resumes_exactly, false},
    {"evaluation leaves no trace", evaluation_leaves_no_trace, false},
    {"step and set end an estimate", estimate_ends, false},
    {"predicts alone as in a batch", predicts_alone_as_in_a_batch, false},
    {"predicts alone at full size", predicts_alone_at_full_size, true},
    {"predicts without training", predicts_without_training, false},
    {"reduces every gradient", reduces_every_gradient, false},
    {"halves sum to the whole", halves_sum_to_the_whole, false},
};
enum { TEST_COUNT = sizeof tests / sizeof tests[0] };

// Precisions that a backend has not, here or at all, are refused by nn_new; only that is a reason
// to pass over one.
static bool has_precision(const char *backend, const char *precision) {
    nn_spec_t spec = support_spec("input 2x2x1 classes 2\nflatten\ndense 1 bias\nsigmoid\n");
    nn_options_t options = support_options(backend, precision, 1);
    nn_t *nn = NULL;
    err_t error = {0};
    err_code_t code = nn_new(&spec, &options, &nn, &error);
    if (code && code != ERR_UNSUPPORTED) {
        print_error("%s %s: %s\n", backend, precision, error.message);
        abort();
    }
    if (nn) {
        print_message("%s\n", nn_choices(nn));
    } else {
        print_message("backend=%s precision=%s: not here: %s\n", backend, precision, error.message);
    }
    nn_destroy(&nn);
    return !code;
}

static int run_subject(const char *backend, const tolerance_t *tolerance) {
    subject_t subject = {backend, tolerance};
    struct CMUnitTest group[TEST_COUNT];
    size_t count = 0;
    for (int i = 0; i < TEST_COUNT; i++) {
        if (!tests[i].compares || strcmp(backend, "ref") != 0) {
            group[count++] = (struct CMUnitTest){
                .name = tests[i].name, .test_func = tests[i].run, .initial_state = &subject};
        }
    }
    char name[64];
    snprintf(name, sizeof name, "%s %s", backend, tolerance->precision);
    return _cmocka_run_group_tests(name, group, count, NULL, NULL);
}

int main(void) {
    int failed = 0;
    for (int i = 0; nn_backend_name(i); i++) {
        for (size_t j = 0; j < sizeof tolerances / sizeof tolerances[0]; j++) {
            if (has_precision(nn_backend_name(i), tolerances[j].precision)) {
                failed += run_subject(nn_backend_name(i), &tolerances[j]);
            }
        }
    }
    return failed;
}
