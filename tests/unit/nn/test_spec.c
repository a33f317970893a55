// Are lists of layers built, checked, written and read as spec.h says, and is any text safe to
// read?
#include "support.h"

#include "base/philox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const nn_vgg_t paper = {96, 96, 1, 2, 64, 4, 256, 0.2f};

static const char paper_start[] = "input 96x96x1 classes 2\n"
                                  "conv 64 kernel 3\n"
                                  "batch-norm momentum 0.99 epsilon 0.001\n"
                                  "relu\n"
                                  "conv 64 kernel 3\n"
                                  "batch-norm momentum 0.99 epsilon 0.001\n"
                                  "relu\n"
                                  "max-pool\n"
                                  "dropout 0.2\n"
                                  "conv 128 kernel 3\n";
static const char paper_end[] = "max-pool\n"
                                "dropout 0.2\n"
                                "flatten\n"
                                "dense 256 bias\n"
                                "relu\n"
                                "dropout 0.2\n"
                                "dense 1 bias\n"
                                "sigmoid\n";

static void papers_network(void **state) {
    (void)state;
    nn_spec_t spec;
    OK(nn_spec_vgg(&paper, &spec, &err));
    char *text = nn_spec_write(&spec);
    assert_non_null(text);
    assert_int_equal(strncmp(text, paper_start, strlen(paper_start)), 0);
    assert_true(strlen(text) > strlen(paper_end));
    assert_string_equal(text + strlen(text) - strlen(paper_end), paper_end);
    free(text);
    nn_shape_t shapes[NN_LAYERS_MAX];
    nn_spec_shapes(&spec, shapes);
    nn_shape_t last = shapes[spec.layer_count - 7]; // in front of the flatten
    assert_true(last.height == 6 && last.width == 6 && last.channels == 512);
    assert_int_equal(shapes[spec.layer_count - 6].channels, 6 * 6 * 512);
    nn_tensor_t tensors[NN_TENSORS_MAX];
    int count = nn_spec_tensors(&spec, tensors);
    int64_t trained = 0, all = 0;
    for (int i = 0; i < count; i++) {
        all += tensors[i].count;
        trained += tensors[i].trained ? tensors[i].count : 0;
    }
    // Convolutions 9·(1·64 + 64·64 + … + 512·512), γ and β 2·2·960, dense layers with biases.
    assert_true(trained == 4682304 + 3840 + 18432 * 256 + 256 + 256 + 1);
    assert_true(all - trained == 3840);
}

static void tensors_of_each_kind(void **state) {
    (void)state;
    nn_spec_t spec = support_spec("input 4x6x3 classes 2\nconv 5 kernel 3 bias\nmax-pool\n"
                                  "batch-norm momentum 0.9 epsilon 0.001\nflatten\n"
                                  "dense 7\ndense 1 bias\nsigmoid\n");
    static const struct {
        const char *name;
        nn_role_t role;
        bool trained;
        int rank;
        int64_t dims[4], count;
        int fan_in, fan_out;
    } expected[] = {
        {"0.weight", NN_WEIGHT, true, 4, {5, 3, 3, 3}, 135, 27, 45},
        {"0.bias", NN_BIAS, true, 1, {5}, 5, 0, 0},
        {"2.weight", NN_GAMMA, true, 1, {5}, 5, 0, 0},
        {"2.bias", NN_BETA, true, 1, {5}, 5, 0, 0},
        {"2.running_mean", NN_MEAN, false, 1, {5}, 5, 0, 0},
        {"2.running_var", NN_VARIANCE, false, 1, {5}, 5, 0, 0},
        {"4.weight", NN_WEIGHT, true, 2, {7, 30}, 210, 30, 7},
        {"5.weight", NN_WEIGHT, true, 2, {1, 7}, 7, 7, 1},
        {"5.bias", NN_BIAS, true, 1, {1}, 1, 0, 0},
    };
    nn_tensor_t tensors[NN_TENSORS_MAX];
    assert_int_equal(nn_spec_tensors(&spec, tensors), 9);
    for (int i = 0; i < 9; i++) {
        assert_string_equal(tensors[i].name, expected[i].name);
        assert_int_equal(tensors[i].role, expected[i].role);
        assert_int_equal(tensors[i].trained, expected[i].trained);
        assert_int_equal(tensors[i].rank, expected[i].rank);
        assert_memory_equal(tensors[i].dims, expected[i].dims, sizeof tensors[i].dims);
        assert_true(tensors[i].count == expected[i].count);
        assert_int_equal(tensors[i].fan_in, expected[i].fan_in);
        assert_int_equal(tensors[i].fan_out, expected[i].fan_out);
    }
}

static void assert_same_spec(const nn_spec_t *a, const nn_spec_t *b) {
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->channels, b->channels);
    assert_int_equal(a->classes, b->classes);
    assert_int_equal(a->layer_count, b->layer_count);
    for (int i = 0; i < a->layer_count; i++) {
        const nn_layer_t *one = &a->layers[i], *two = &b->layers[i];
        assert_int_equal(one->kind, two->kind);
        assert_int_equal(one->units, two->units);
        assert_int_equal(one->kernel, two->kernel);
        assert_int_equal(one->bias, two->bias);
        assert_memory_equal(&one->rate, &two->rate, sizeof one->rate);
        assert_memory_equal(&one->momentum, &two->momentum, sizeof one->momentum);
        assert_memory_equal(&one->epsilon, &two->epsilon, sizeof one->epsilon);
    }
}

static void round_trip(const nn_spec_t *spec) {
    char *text = nn_spec_write(spec);
    nn_spec_t back;
    OK(nn_spec_parse(text, &back, &err));
    assert_same_spec(spec, &back);
    char *again = nn_spec_write(&back);
    assert_string_equal(text, again);
    free(text);
    free(again);
}

static void text_keeps_every_bit(void **state) {
    (void)state;
    nn_spec_t spec;
    OK(nn_spec_vgg(&paper, &spec, &err));
    round_trip(&spec);
    OK(nn_spec_vgg(&(nn_vgg_t){33, 18, 3, 10, 5, 3, 17, 0}, &spec, &err));
    round_trip(&spec);
    for (uint32_t i = 0; i < 1000; i++) { // rates of all sizes down to 2^-40
        philox_t random = philox(1, i, 0, 0, 0);
        for (int j = 0; j < spec.layer_count; j++) {
            if (spec.layers[j].kind == NN_DROPOUT) {
                spec.layers[j].rate = ldexpf(philox_float(random.v[0]), -(int)(random.v[1] % 17));
            }
        }
        round_trip(&spec);
    }
    // The longest text there is fits.
    spec = support_spec("input 4x4x1 classes 2\nflatten\ndense 1\nsigmoid\n");
    spec.layer_count = NN_LAYERS_MAX;
    for (int i = 0; i < NN_LAYERS_MAX - 3; i++) {
        spec.layers[i] = (nn_layer_t){
            .kind = NN_BATCH_NORM, .momentum = 0.987654321f, .epsilon = 1.23456789e-30f};
    }
    spec.layers[NN_LAYERS_MAX - 3] = (nn_layer_t){.kind = NN_FLATTEN};
    spec.layers[NN_LAYERS_MAX - 2] = (nn_layer_t){.kind = NN_DENSE, .units = 1};
    spec.layers[NN_LAYERS_MAX - 1] = (nn_layer_t){.kind = NN_SIGMOID};
    round_trip(&spec);
}

#define TAIL "flatten\ndense 1\nsigmoid\n"

// text, and what the message must name.
static const struct {
    const char *text, *culprit;
} hostile[] = {
    {"", "height"},
    {"\n", "line 1"},
    {"input 8x8x1 classes 2", "number of layers"},
    {"input 8x8x1 classes 2\n", "number of layers"},
    {"input 8x8x1 classes 2\n\n" TAIL, "line 2"},
    {"conv 3 kernel 3\n", "line 1"},
    {"input 8x8 classes 2\n" TAIL, "line 1"},
    {"input 8x8x1x1 classes 2\n" TAIL, "line 1"},
    {"input 8x8x1 classes\n" TAIL, "line 1"},
    {"input 8x8x1 classes 2 2\n" TAIL, "line 1"},
    {"input -8x8x1 classes 2\n" TAIL, "line 1"},
    {"input 8x8x0x1 classes 2\n" TAIL, "line 1"},
    {"input 99999999999999999999x8x1 classes 2\n" TAIL, "line 1"},
    {"input 0x8x1 classes 2\n" TAIL, "height is 0"},
    {"input 8x1025x1 classes 2\n" TAIL, "width is 1025"},
    {"input 8x8x5 classes 2\n" TAIL, "channels is 5"},
    {"input 8x8x1 classes 1\n" TAIL, "classes is 1"},
    {"input 8x8x1 classes 1001\n" TAIL, "classes is 1001"},
    {"input 8x8x1 classes 2\nconv\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nconv 3\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nconv 3 kernel 3 3\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nconv 3 kernel 3 bias bias\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nconv 3 kernel 3 biased\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nconv 3 kernel 4\n" TAIL, "layer 0 (conv)"},
    {"input 8x8x1 classes 2\nconv 3 kernel 9\n" TAIL, "layer 0 (conv)"},
    {"input 8x8x1 classes 2\nconv 0 kernel 3\n" TAIL, "layer 0 (conv)"},
    {"input 8x8x1 classes 2\nconv 8193 kernel 3\n" TAIL, "layer 0 (conv)"},
    {"input 8x8x1 classes 2\nconv 3.5 kernel 3\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nconvolution 3 kernel 3\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nrelu 3\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nrelu bias\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nRELU\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nrelu\r\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nrelu relu relu relu relu relu relu\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\ndropout 1\n" TAIL, "layer 0 (dropout)"},
    {"input 8x8x1 classes 2\ndropout -0.1\n" TAIL, "layer 0 (dropout)"},
    {"input 8x8x1 classes 2\ndropout nan\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\ndropout 1e99\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\ndropout 0x.8\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\ndropout .5.5\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\ndropout\n" TAIL, "line 2"},
    {"input 8x8x1 classes 2\nbatch-norm momentum 1 epsilon 0.001\n" TAIL, "layer 0 (batch-norm)"},
    {"input 8x8x1 classes 2\nbatch-norm momentum 0.9 epsilon 0\n" TAIL, "layer 0 (batch-norm)"},
    {"input 8x8x1 classes 2\nbatch-norm epsilon 0.9 momentum 0.9\n" TAIL, "line 2"},
    {"input 8x1x1 classes 2\nmax-pool\n" TAIL, "layer 0 (max-pool)"},
    {"input 8x8x1 classes 2\nflatten\n" TAIL, "layer 1 (flatten)"},
    {"input 8x8x1 classes 2\nflatten\nconv 3 kernel 3\ndense 1\nsigmoid\n", "layer 1 (conv)"},
    {"input 8x8x1 classes 2\nflatten\nmax-pool\ndense 1\nsigmoid\n", "layer 1 (max-pool)"},
    {"input 8x8x1 classes 2\ndense 1\nsigmoid\n", "layer 0 (dense)"},
    {"input 8x8x1 classes 2\nsigmoid\n", "layer 0 (sigmoid)"},
    {"input 8x8x1 classes 2\nflatten\ndense 2\nsigmoid\n", "layer 2 (sigmoid)"},
    {"input 8x8x1 classes 2\nflatten\ndense 1\nsoftmax\n", "layer 2 (softmax)"},
    {"input 8x8x1 classes 3\nflatten\ndense 1\nsigmoid\n", "layer 2 (sigmoid)"},
    {"input 8x8x1 classes 3\nflatten\ndense 3\nrelu\nsoftmax\n", "layer 3 (softmax)"},
    {"input 8x8x1 classes 3\nflatten\ndense 3\nsoftmax\nsoftmax\n", "layer 2 (softmax)"},
    {"input 8x8x1 classes 2\nflatten\ndense 1\n", "layer 1 (dense)"},
    {"input 1024x1024x1 classes 2\nconv 8192 kernel 1\n" TAIL, "layer 0 (conv)"},
    {"input 1024x1024x4 classes 2\nflatten\ndense 8192\ndense 1\nsigmoid\n", "layer 1 (dense)"},
};

static void assert_refused(const char *text, const char *culprit) {
    nn_spec_t spec;
    err_t error = {0};
    err_code_t code = nn_spec_parse(text, &spec, &error);
    if (code != ERR_INVALID || !strstr(error.message, culprit)) {
        print_error("\"%.200s\"\ngave %s \"%s\", not %s\n", text, err_name(code), error.message,
                    culprit);
        fail();
    }
}

static void hostile_text_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        assert_refused(hostile[i].text, hostile[i].culprit);
    }
    char *text = mem_alloc(NN_TEXT_MAX * 2);
    memset(text, 'x', NN_TEXT_MAX * 2 - 1);
    text[NN_TEXT_MAX * 2 - 1] = 0;
    assert_refused(text, "longer than");
    text[NN_TEXT_MAX - 1] = 0;
    assert_refused(text, "line 1");
    size_t used = (size_t)sprintf(text, "input 8x8x1 classes 2\n");
    for (int i = 0; i < 2 * NN_LAYERS_MAX; i++) {
        used += (size_t)sprintf(text + used, "relu\n");
    }
    assert_refused(text, "line 130");
    free(text);
}

// Texts one edit away from a good one: read or refused, never anything else, and what was read is
// good.
static void damaged_text_is_safe(void **state) {
    (void)state;
    nn_spec_t spec;
    OK(nn_spec_vgg(&(nn_vgg_t){16, 16, 1, 2, 2, 2, 4, 0.25f}, &spec, &err));
    char *good = nn_spec_write(&spec);
    size_t size = strlen(good);
    int refused = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        philox_t random = philox(2, i, 0, 0, 0);
        char *text = mem_dup(good);
        size_t at = random.v[0] % size;
        if (random.v[1] % 3 == 0) {
            text[at] = (char)random.v[2];
        } else if (random.v[1] % 3 == 1) {
            text[at] = "0123456789 \n.x-e"[random.v[2] % 16];
        } else {
            memmove(text + at, text + at + 1, size - at);
        }
        err_t error = {0};
        if (nn_spec_parse(text, &spec, &error)) {
            refused++;
            assert_int_equal(error.code, ERR_INVALID);
            assert_true(error.message[0] != 0);
        } else {
            round_trip(&spec);
        }
        free(text);
    }
    assert_true(refused > 1000 && refused < 20000);
    free(good);
}

static void vgg_refuses(void **state) {
    (void)state;
    static const struct {
        nn_vgg_t vgg;
        const char *culprit;
    } wrong[] = {
        {{96, 96, 1, 2, 64, 0, 256, 0.2f}, "blocks is 0"},
        {{96, 96, 1, 2, 64, 7, 256, 0.2f}, "too small for 7 blocks"},
        {{96, 96, 1, 2, 64, 1 << 30, 256, 0.2f}, "blocks is"},
        {{96, 96, 1, 2, 0, 4, 256, 0.2f}, "width 0"},
        {{96, 96, 1, 2, 1025, 4, 256, 0.2f}, "width 1025"},
        {{96, 96, 1, 2, 64, 4, 0, 0.2f}, "(dense)"},
        {{96, 96, 1, 2, 64, 4, 256, 1}, "(dropout)"},
        {{96, 96, 1, 2, 64, 4, 256, NAN}, "(dropout)"},
        {{96, 96, 9, 2, 64, 4, 256, 0.2f}, "channels is 9"},
        {{96, 96, 1, 1, 64, 4, 256, 0.2f}, "classes is 1"},
        {{9600, 96, 1, 2, 64, 4, 256, 0.2f}, "height is 9600"},
        {{-96, 96, 1, 2, 64, 4, 256, 0.2f}, "too small"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        nn_spec_t spec;
        err_t error = {0};
        assert_int_equal(nn_spec_vgg(&wrong[i].vgg, &spec, &error), ERR_INVALID);
        if (!strstr(error.message, wrong[i].culprit)) {
            print_error("%s: not %s\n", error.message, wrong[i].culprit);
            fail();
        }
    }
}

int main(void) {
    const struct CMUnitTest group[] = {
        cmocka_unit_test(papers_network),       cmocka_unit_test(tensors_of_each_kind),
        cmocka_unit_test(text_keeps_every_bit), cmocka_unit_test(hostile_text_is_refused),
        cmocka_unit_test(damaged_text_is_safe), cmocka_unit_test(vgg_refuses),
    };
    return cmocka_run_group_tests(group, NULL, NULL);
}
