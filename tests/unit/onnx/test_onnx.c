// Does the file say what the model is, and does its graph, run by another, answer as the engine
// does?
#include "support.h"

#include "base/buf.h"
#include "base/philox.h"
#include "interpret.h"
#include "onnx/onnx.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEDS  60
#define COUNT  3
#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// --- Memory that runs out (see CMakeLists.txt)

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

static size_t malloc_limit = SIZE_MAX;

void *__wrap_malloc(size_t size) {
    return size >= malloc_limit ? NULL : __real_malloc(size);
}

// --- Models

typedef struct {
    nn_t *nn;
    model_info_t info;
    float *tensors[NN_TENSORS_MAX];
} made_t;

// text: of the network, square, for 1 or 3 channels. mean: NULL for none.
static made_t make(const char *text, const float *mean, uint64_t seed) {
    made_t made = {.info = {.name = mem_dup("dots"), .spec = support_spec(text)}};
    model_info_t *info = &made.info;
    nn_options_t options = support_options("ref", "fp32", COUNT);
    info->recipe = (prep_recipe_t){.size = info->spec.height,
                                   .channels = info->spec.channels,
                                   .fit = PREP_CROP,
                                   .mean_subtract = mean != NULL};
    for (int c = 0; mean && c < info->spec.channels; c++)
        options.mean[c] = info->recipe.mean[c] = mean[c];
    prep_recipe_hash(&info->recipe, info->recipe_hash);
    digest_bytes("weights", 7, info->weights_sha256);
    info->class_count = info->spec.classes;
    info->classes = mem_zero((size_t)info->class_count, sizeof *info->classes);
    for (int i = 0; i < info->class_count; i++)
        info->classes[i] = mem_format("caf\xc3\xa9 \"%d\"", i);
    made.nn = support_new(&info->spec, &options);
    support_params(made.nn, seed);
    for (int i = 0; i < nn_tensor_count(made.nn); i++)
        made.tensors[i] = support_get(made.nn, NN_PARAM, i);
    return made;
}

static void unmake(made_t *made) {
    for (int i = 0; i < nn_tensor_count(made->nn); i++)
        free(made->tensors[i]);
    nn_destroy(&made->nn);
    model_info_release(&made->info);
}

static onnx_source_t source_of(const made_t *made) {
    return (onnx_source_t){.info = &made->info,
                           .tensors = (const float *const *)made->tensors,
                           .version = 7,
                           .digest = DIGEST};
}

static Onnx__ModelProto *pack(const made_t *made) {
    onnx_source_t source = source_of(made);
    void *bytes = NULL;
    size_t size = 0;
    OK(onnx_pack(&source, &bytes, &size, &err));
    Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, size, bytes);
    free(bytes);
    assert_non_null(model);
    return model;
}

// --- The same answers

// The largest difference of any probability.
static double difference(const made_t *made, const Onnx__ModelProto *model, uint64_t seed) {
    int classes = made->info.class_count;
    float *wanted = malloc((size_t)(COUNT * classes) * sizeof *wanted);
    uint8_t *pixels = support_pixels(&made->info.spec, COUNT, seed);
    OK(nn_predict(made->nn, pixels, COUNT, wanted, &err));
    value_t got = interpret(model, pixels, COUNT);
    assert_true(got.rank == 2 && got.dims[0] == COUNT && got.dims[1] == classes);
    double most = 0;
    for (int i = 0; i < COUNT * classes; i++)
        most = fmax(most, fabs(got.data[i] - (double)wanted[i]));
    value_release(&got);
    free(pixels);
    free(wanted);
    return most;
}

typedef struct {
    uint64_t seed;
    uint32_t drawn;
} dice_t;

static int roll(dice_t *dice, int sides) {
    return (int)philox_below(philox(dice->seed, dice->drawn++, 0, 0x0a3b, 0).v[0], (uint32_t)sides);
}

// Any layers in any order that nn/spec.h allows.
static char *random_network(dice_t *dice, unsigned *seen) {
    buf_t text;
    int side = 8 + roll(dice, 6), classes = roll(dice, 2) ? 2 : 3 + roll(dice, 4), size = side;
    bool sigmoid = classes == 2 && roll(dice, 3) > 0;
    buf_init(&text, NN_TEXT_MAX);
    buf_printf(&text, "input %dx%dx%d classes %d\n", side, side, roll(dice, 2) ? 1 : 3, classes);
    for (int i = roll(dice, 8); i > 0; i--) {
        static const char *const same[] = {"batch-norm momentum 0.99 epsilon 0.001\n", "relu\n",
                                           "dropout 0.4\n"};
        int kind = roll(dice, 7);
        if (kind < 3)
            buf_printf(&text, "conv %d kernel %d%s\n", 1 + roll(dice, 5), 1 + 2 * roll(dice, 4),
                       roll(dice, 2) ? " bias" : "");
        else if (kind < 6)
            buf_puts(&text, same[kind - 3]);
        else if (size >= 2) {
            buf_puts(&text, "max-pool\n");
            size /= 2;
        }
    }
    buf_puts(&text, "flatten\n");
    if (roll(dice, 2))
        buf_printf(&text, "dense %d%s\n%s%s%s", 1 + roll(dice, 9), roll(dice, 2) ? " bias" : "",
                   roll(dice, 2) ? "batch-norm momentum 0.9 epsilon 0.1\n" : "",
                   roll(dice, 2) ? "relu\n" : "", roll(dice, 2) ? "dropout 0.5\n" : "");
    buf_printf(&text, "dense %d%s\n%s\n", sigmoid ? 1 : classes, roll(dice, 2) ? " bias" : "",
               sigmoid ? "sigmoid" : "softmax");
    nn_spec_t spec = support_spec(text.data);
    for (int i = 0; i < spec.layer_count; i++)
        *seen |= 1u << spec.layers[i].kind;
    return buf_take(&text);
}

static void random_models_answer_the_same(void **state) {
    (void)state;
    static const float mean[4] = {101.3f, 87.25f, 140};
    unsigned seen = 0;
    double most = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        dice_t dice = {.seed = seed};
        char *text = random_network(&dice, &seen);
        made_t made = make(text, roll(&dice, 2) ? mean : NULL, seed);
        Onnx__ModelProto *model = pack(&made);
        double off = difference(&made, model, seed);
        if (!(off <= 1e-5))
            fail_msg("%g between the answers of\n%s", off, text);
        most = fmax(most, off);
        onnx__model_proto__free_unpacked(model, NULL);
        unmake(&made);
        free(text);
    }
    assert_int_equal(seen, (1u << (NN_SOFTMAX + 1)) - 1); // every kind of layer
    print_message("largest difference: %g\n", most);
}

// Every parameter reaches the answers: with another value of any one, they are others.
static void every_tensor_matters(void **state) {
    (void)state;
    made_t made = make("input 8x8x3 classes 3\nconv 2 kernel 3 bias\nbatch-norm momentum 0.99 "
                       "epsilon 0.001\nmax-pool\nflatten\ndense 3 bias\nsoftmax\n",
                       (const float[]){90, 100, 110}, 5);
    for (int i = 0; i < nn_tensor_count(made.nn); i++) {
        float kept = made.tensors[i][0];
        made.tensors[i][0] += 1.5f;
        Onnx__ModelProto *model = pack(&made);
        if (!(difference(&made, model, 5) > 1e-4))
            fail_msg("%s changes nothing", nn_tensors(made.nn)[i].name);
        onnx__model_proto__free_unpacked(model, NULL);
        made.tensors[i][0] = kept;
    }
    unmake(&made);
}

// --- What it says about itself

#define SMALL "input 8x8x1 classes 2\ndropout 0.5\nflatten\ndense 1\nsigmoid\n"

static const char *metadata(const Onnx__ModelProto *model, const char *key) {
    const char *value = NULL;
    for (size_t i = 0; i < model->n_metadata_props; i++)
        if (strcmp(model->metadata_props[i]->key, key) == 0) {
            assert_null(value); // no key twice
            value = model->metadata_props[i]->value;
        }
    if (!value)
        fail_msg("there is no %s", key);
    return value;
}

static void says_what_it_is(void **state) {
    (void)state;
    made_t made = make(SMALL, (const float[]){101.3f}, 1);
    Onnx__ModelProto *model = pack(&made);
    char hash[DIGEST_HEX_SIZE];
    assert_int_equal(model->ir_version, 7);
    assert_int_equal(model->n_opset_import, 1);
    assert_int_equal(model->opset_import[0]->version, 13);
    assert_string_equal(model->opset_import[0]->domain, "");
    assert_string_equal(model->producer_name, "inkling");
    assert_string_equal(model->producer_version, INKLING_VERSION);
    assert_string_equal(model->graph->name, "dots");
    assert_string_equal(model->graph->input[0]->name, "pixels");
    assert_string_equal(model->graph->output[0]->name, "probabilities");
    assert_int_equal(model->model_version, 7);
    assert_int_equal(model->n_metadata_props, 7);
    assert_string_equal(metadata(model, "model"), "dots");
    assert_string_equal(metadata(model, "version"), "7");
    assert_string_equal(metadata(model, "model_sha256"), DIGEST);
    assert_string_equal(metadata(model, "weights_sha256"), made.info.weights_sha256);
    assert_string_equal(metadata(model, "classes"),
                        "[\"caf\xc3\xa9 \\\"0\\\"\",\"caf\xc3\xa9 \\\"1\\\"\"]");
    const char *recipe = metadata(model, "recipe");
    assert_string_equal(recipe, "prep 1\nsize 8\nchannels 1\nfit crop\nmean 101.300003\n");
    digest_bytes(recipe, strlen(recipe), hash);
    assert_string_equal(metadata(model, "recipe_sha256"), hash);
    onnx__model_proto__free_unpacked(model, NULL);
    unmake(&made);
}

static bool has_op(const Onnx__ModelProto *model, const char *op) {
    bool found = false;
    for (size_t i = 0; i < model->graph->n_node; i++)
        found = found || strcmp(model->graph->node[i]->op_type, op) == 0;
    return found;
}

// A model without a mean has no Sub, and none has a Dropout.
static void has_no_node_for_nothing(void **state) {
    (void)state;
    for (int centred = 0; centred < 2; centred++) {
        made_t made = make(SMALL, centred ? (const float[]){0.5f} : NULL, 1);
        Onnx__ModelProto *model = pack(&made);
        assert_int_equal(has_op(model, "Sub"), centred);
        assert_false(has_op(model, "Dropout"));
        assert_int_equal(model->graph->n_node, 8 + centred);
        onnx__model_proto__free_unpacked(model, NULL);
        unmake(&made);
    }
}

static void equal_models_are_equal_bytes(void **state) {
    (void)state;
    made_t made = make(SMALL, NULL, 1);
    onnx_source_t source = source_of(&made);
    void *bytes[2] = {NULL, NULL};
    size_t size[2] = {0, 0};
    for (int i = 0; i < 2; i++)
        OK(onnx_pack(&source, &bytes[i], &size[i], &err));
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(bytes[0], bytes[1], size[0]);
    for (int i = 0; i < 2; i++)
        free(bytes[i]);
    unmake(&made);
}

// --- What cannot be

static void refused(const onnx_source_t *source, err_code_t code, const char *words,
                    const char *remedy) {
    void *bytes = NULL;
    size_t size;
    err_t err = {0};
    assert_int_equal(onnx_pack(source, &bytes, &size, &err), code);
    assert_null(bytes);
    assert_non_null(strstr(err.message, words));
    assert_non_null(strstr(err.remedy, remedy));
}

// Twice 2 GiB of parameters, of which there are none: they are not read.
static void a_huge_model_is_refused_unread(void **state) {
    (void)state;
    static const float *const nowhere[8] = {NULL};
    char *classes[2] = {(char[]){"a"}, (char[]){"b"}};
    model_info_t info = {.name = (char[]){"huge"}, .class_count = 2, .classes = classes};
    info.spec =
        support_spec("input 1024x1024x1 classes 2\nflatten\ndense 1000\ndense 1\nsigmoid\n");
    info.recipe = PREP_RECIPE_DEFAULT;
    onnx_source_t source = {.info = &info, .tensors = nowhere, .digest = DIGEST};
    refused(&source, ERR_TOO_LARGE, "2147483647", "smaller");
}

static void memory_runs_out(void **state) {
    (void)state;
    made_t made = make("input 64x64x1 classes 2\nflatten\ndense 32\ndense 1\nsigmoid\n", NULL, 1);
    onnx_source_t source = source_of(&made);
    malloc_limit = 64 * 64 * 32 * sizeof(float); // the file, and nothing else
    refused(&source, ERR_NO_MEMORY, "bytes of an ONNX file", "");
    malloc_limit = SIZE_MAX;
    unmake(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_models_answer_the_same),
        cmocka_unit_test(every_tensor_matters),
        cmocka_unit_test(says_what_it_is),
        cmocka_unit_test(has_no_node_for_nothing),
        cmocka_unit_test(equal_models_are_equal_bytes),
        cmocka_unit_test(a_huge_model_is_refused_unread),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests_name("onnx", tests, NULL, NULL);
}
