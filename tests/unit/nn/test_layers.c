// Does every backend compute each kind of layer as the reference does: small nets around one kind,
// odd shapes included, and orders of layers that the paper's network does not have?
#include "pair.h"

#include <stdio.h>

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
        pair_compare(*state, text, shapes[i].batch);
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
            pair_compare(subject, text, 1 + (i + j) % 5);
        }
    }
}

static void layers_batch_norm(void **state) {
    compare_behind_conv(*state, "batch-norm momentum 0.9 epsilon 0.001");
    pair_compare(*state, "input 4x4x3 classes 3\nbatch-norm momentum 0.99 epsilon 0.001\n" HEAD, 3);
    pair_compare(*state,
                 "input 4x4x1 classes 2\nflatten\ndense 33 bias\n"
                 "batch-norm momentum 0.5 epsilon 0.01\ndense 1 bias\nsigmoid\n",
                 5);
}

static void layers_relu(void **state) {
    compare_behind_conv(*state, "relu");
    pair_compare(*state, "input 3x5x2 classes 3\nflatten\ndense 19 bias\nrelu\ndense 3\nsoftmax\n",
                 4);
}

static void layers_max_pool(void **state) {
    compare_behind_conv(*state, "max-pool");
    pair_compare(*state, "input 9x6x3 classes 3\nmax-pool\n" HEAD, 3);
}

static void layers_dropout(void **state) {
    compare_behind_conv(*state, "dropout 0.2");
    compare_behind_conv(*state, "dropout 0.9");
    pair_compare(*state, "input 4x4x1 classes 3\ndropout 0.5\n" HEAD, 3);
    pair_compare(*state,
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
        pair_compare(*state, text, 1 + i % 5);
        int classes = units[i] > 1 ? units[i] : 2;
        snprintf(text, sizeof text, "input 5x3x1 classes %d\nflatten\ndense %d%s\nsoftmax\n",
                 classes, classes, i % 2 ? "" : " bias");
        pair_compare(*state, text, 5 - i % 5);
    }
}

// --- Orders

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
        pair_compare(*state, text, 3);
    }
}

static const subject_test_t tests[] = {
    {"convolution", layers_conv, true},
    {"batch-norm", layers_batch_norm, true},
    {"relu", layers_relu, true},
    {"max-pool", layers_max_pool, true},
    {"dropout", layers_dropout, true},
    {"dense and heads", layers_dense_and_heads, true},
    {"layers in any order", layers_in_any_order, true},
};

int main(void) {
    return subject_run(tests, sizeof tests / sizeof tests[0]);
}
