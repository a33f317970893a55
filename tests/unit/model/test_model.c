// Does a model come back as it was written, and is anything else refused by the name of what is
// wrong?
#include "base/fs.h"
#include "base/philox.h"
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[40], digest[DIGEST_HEX_SIZE];
static nn_tensor_t tensors[NN_TENSORS_MAX];
static int count;
static float *best[NN_TENSORS_MAX], *last[NN_TENSORS_MAX];

static model_info_t make_info(void) {
    static const nn_vgg_t vgg = {8, 8, 1, 3, 2, 1, 4, 0.25f};
    model_info_t info = {.name = mem_dup("dots"), .class_count = 3};
    assert_int_equal(nn_spec_vgg(&vgg, &info.spec, NULL), ERR_OK);
    info.recipe = PREP_RECIPE_DEFAULT;
    info.recipe.size = 8;
    info.recipe.mean_subtract = true;
    info.recipe.mean[0] = 101.3f;
    info.classes = mem_zero(3, sizeof *info.classes);
    info.classes[0] = mem_dup("b");
    info.classes[1] = mem_dup("a");
    info.classes[2] = mem_dup("caf\xc3\xa9 \"x\"");
    info.about = json_pack("{s:s, s:{s:f}}", "job", "17", "test", "accuracy", 0.75);
    info.curves = json_pack("[{s:i}]", "epoch", 1);
    return info;
}

static float *fill(const nn_tensor_t *tensor, uint64_t seed) {
    float *data = malloc((size_t)tensor->count * sizeof *data);
    for (int64_t i = 0; i < tensor->count; i++)
        data[i] = philox_float(philox(seed, (uint32_t)i, 0, 0, 0).v[0]);
    return data;
}

static void write_model(void) {
    model_info_t info = make_info();
    err_t err;
    if (model_write(folder, &info, (const float *const *)best, (const float *const *)last, digest,
                    &err))
        fail_msg("%s", err.message);
    model_info_release(&info);
}

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/inkling-model-XXXXXX");
    assert_non_null(mkdtemp(folder));
    model_info_t info = make_info();
    count = nn_spec_tensors(&info.spec, tensors);
    model_info_release(&info);
    for (int i = 0; i < count; i++) {
        best[i] = fill(&tensors[i], (uint64_t)i);
        last[i] = fill(&tensors[i], (uint64_t)i + 1000);
    }
    write_model();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    for (int i = 0; i < count; i++) {
        free(best[i]);
        free(last[i]);
    }
    return fs_remove_all(folder, NULL);
}

static void comes_back(void **state) {
    (void)state;
    model_t *model;
    char hash[DIGEST_HEX_SIZE];
    assert_int_equal(model_open(folder, digest, &model, NULL), ERR_OK);
    const model_info_t *info = model_info(model);
    model_info_t wanted = make_info();
    assert_string_equal(info->name, "dots");
    assert_memory_equal(&info->spec, &wanted.spec, sizeof info->spec);
    assert_true(info->recipe.mean[0] == 101.3f);
    assert_true(prep_recipe_same_pixels(&info->recipe, &wanted.recipe));
    prep_recipe_hash(&wanted.recipe, hash);
    assert_string_equal(info->recipe_hash, hash);
    assert_int_equal(info->class_count, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(info->classes[i], wanted.classes[i]);
    assert_true(json_equal(info->about, wanted.about));
    assert_null(info->curves);
    assert_string_equal(model_digest(model), digest);
    for (int i = 0; i < count; i++)
        assert_memory_equal(model_tensor(model, i), best[i],
                            (size_t)tensors[i].count * sizeof(float));
    assert_string_not_equal(info->weights_sha256, info->last_sha256);
    char *path = fs_join(folder, MODEL_LAST);
    digest_file(path, hash, NULL, NULL);
    assert_string_equal(info->last_sha256, hash);
    free(path);
    model_info_release(&wanted);
    model_close(&model);
    model_close(&model);
}

static void equal_models_are_equal_bytes(void **state) {
    (void)state;
    char first[DIGEST_HEX_SIZE];
    memcpy(first, digest, sizeof first);
    write_model();
    assert_string_equal(first, digest);
}

static void engine_has_weights_and_mean(void **state) {
    (void)state;
    model_t *model;
    nn_t *nn, *trainer;
    float *got = malloc(1 << 20);
    assert_int_equal(model_open(folder, NULL, &model, NULL), ERR_OK);
    nn_options_t options = {.backend = "ref", .precision = "auto", .threads = 1, .max_batch = 2};
    assert_int_equal(model_engine(model, &options, &nn, NULL), ERR_OK);
    options.training = true;
    assert_int_equal(model_engine(model, &options, &trainer, NULL), ERR_OK);
    float probabilities[2][3];
    uint8_t pixels[64];
    memset(pixels, 101, sizeof pixels);
    assert_int_equal(nn_predict(nn, pixels, 1, probabilities[0], NULL), ERR_OK);
    assert_int_equal(nn_predict(trainer, pixels, 1, probabilities[1], NULL), ERR_OK);
    for (int i = 0; i < 3; i++)
        assert_true(fabsf(probabilities[0][i] - probabilities[1][i]) < 1e-5f);
    model_close(&model);
    for (int i = 0; i < count; i++) {
        assert_int_equal(nn_get(nn, NN_PARAM, i, got, NULL), ERR_OK);
        assert_memory_equal(got, best[i], (size_t)tensors[i].count * sizeof(float));
        if (!tensors[i].trained)
            continue;
        assert_int_equal(nn_get(trainer, NN_ADAM_M, i, got, NULL), ERR_OK);
        for (int64_t k = 0; k < tensors[i].count; k++)
            assert_true(got[k] == 0);
    }
    nn_destroy(&nn);
    nn_destroy(&trainer);
    free(got);
}

static void last_and_curves_may_be_missing(void **state) {
    (void)state;
    assert_int_equal(fs_remove_all(folder, NULL), ERR_OK);
    assert_int_equal(fs_mkdirs(folder, NULL), ERR_OK);
    model_info_t info = make_info();
    model_t *model;
    json_decref(info.curves);
    info.curves = NULL;
    json_decref(info.about);
    info.about = NULL;
    assert_int_equal(model_write(folder, &info, (const float *const *)best, NULL, digest, NULL),
                     ERR_OK);
    assert_int_equal(model_open(folder, digest, &model, NULL), ERR_OK);
    assert_string_equal(model_info(model)->last_sha256, "");
    assert_string_equal(model_info(model)->weights_sha256, info.weights_sha256);
    assert_null(model_info(model)->about);
    model_close(&model);
    model_info_release(&info);
}

// The open must fail with code, naming words.
static void assert_open_fails(const char *wanted_digest, err_code_t code, const char *words) {
    err_t err = {.message = ""};
    model_t *model;
    assert_int_equal(model_open(folder, wanted_digest, &model, &err), code);
    assert_null(model);
    if (!strstr(err.message, words))
        fail_msg("'%s' does not name %s", err.message, words);
}

static const char *const names[] = {MODEL_WEIGHTS, MODEL_LAST, MODEL_CURVES, MODEL_FILE};

static void every_changed_byte_is_noticed(void **state) {
    (void)state;
    for (size_t f = 0; f < 4; f++) {
        char *path = fs_join(folder, names[f]);
        void *bytes;
        size_t size;
        assert_int_equal(fs_read(path, 1 << 20, &bytes, &size, NULL), ERR_OK);
        size_t stride = size > 3000 ? 7 : 1; // coprime to the sizes of numbers
        FILE *file = fopen(path, "r+");
        assert_non_null(file);
        for (size_t i = 0; i < size; i += stride) {
            const char *text = bytes;
            fseek(file, (long)i, SEEK_SET);
            fputc(text[i] ^ 1, file);
            fflush(file);
            model_t *model;
            err_t err;
            err_code_t code = model_open(folder, digest, &model, &err);
            // a digit of the schema makes it a newer one
            if (code != ERR_CORRUPT && !(f == 3 && code == ERR_UNSUPPORTED))
                fail_msg("byte %zu of %s: %s", i, names[f], err_name(code));
            assert_non_null(strstr(err.message, names[f]));
            fseek(file, (long)i, SEEK_SET);
            fputc(text[i], file);
        }
        fclose(file);
        free(bytes);
        free(path);
    }
    model_t *model;
    assert_int_equal(model_open(folder, digest, &model, NULL), ERR_OK);
    model_close(&model);
}

static void cut_and_missing_files_are_named(void **state) {
    (void)state;
    for (size_t f = 0; f < 4; f++) {
        char *path = fs_join(folder, names[f]);
        void *bytes;
        size_t size;
        assert_int_equal(fs_read(path, 1 << 20, &bytes, &size, NULL), ERR_OK);
        for (size_t cut = 0; cut < size; cut += size / 11 + 1) {
            assert_int_equal(truncate(path, (off_t)cut), 0);
            assert_open_fails(NULL, ERR_CORRUPT, names[f]);
            assert_int_equal(fs_write(path, bytes, size, NULL), ERR_OK);
        }
        unlink(path);
        assert_open_fails(NULL, f == 3 ? ERR_NOT_FOUND : ERR_CORRUPT, names[f]);
        assert_int_equal(fs_write(path, bytes, size, NULL), ERR_OK);
        free(bytes);
        free(path);
    }
}

// Replaces the first `from` in model.json: the open must fail so.
static void edit(const char *from, const char *to, err_code_t code, const char *words) {
    char *path = fs_join(folder, MODEL_FILE);
    void *bytes;
    size_t size;
    assert_int_equal(fs_read(path, 1 << 20, &bytes, &size, NULL), ERR_OK);
    char *at = strstr(bytes, from);
    if (!at)
        fail_msg("no %s in %s", from, (char *)bytes);
    char *text =
        mem_format("%.*s%s%s", (int)(at - (char *)bytes), (char *)bytes, to, at + strlen(from));
    assert_int_equal(fs_write(path, text, strlen(text), NULL), ERR_OK);
    assert_open_fails(NULL, code, words);
    assert_int_equal(fs_write(path, bytes, size, NULL), ERR_OK);
    free(text);
    free(bytes);
    free(path);
}

static void wrong_descriptions_are_refused(void **state) {
    (void)state;
    edit("\"schema\": 1", "\"schema\": 2", ERR_UNSUPPORTED, "schema 2");
    edit("\"schema\": 1", "\"schema\": 0", ERR_CORRUPT, "does not describe");
    edit("prep 1", "prep 2", ERR_UNSUPPORTED, "recipe of version 2");
    edit("fit stretch", "fit crop", ERR_CORRUPT, "recipe's hash");
    edit("input 8x8x1", "input 9x9x1", ERR_CORRUPT, "other pixels");
    edit("classes 3", "classes 4", ERR_CORRUPT, "network");
    edit("conv 2", "conv 3", ERR_CORRUPT, "tensor 0.weight has another shape");
    edit("\"b\",", "", ERR_CORRUPT, "classes");
    edit("\"b\",", "\"a\",", ERR_CORRUPT, "different names");
    edit("\"b\",", "\"\",", ERR_CORRUPT, "different names");
    edit("\"model.safetensors\"", "\"../safetensors\"", ERR_CORRUPT, "list of files");
    edit("\"last.safetensors\"", "\"../../etc/passwd\"", ERR_CORRUPT, "list of files");
    edit("\"dots\"", "7", ERR_CORRUPT, "wrong type");
    edit("{", "[", ERR_CORRUPT, "does not describe");
}

static void wrong_digest_is_refused(void **state) {
    (void)state;
    char other[DIGEST_HEX_SIZE];
    digest_bytes("x", 1, other);
    assert_open_fails(other, ERR_CORRUPT, "registered");
}

static void numbers_must_be_finite(void **state) {
    (void)state;
    model_info_t info = make_info();
    err_t err;
    for (int t = 0; t < count; t++) {
        float kept = best[t][0];
        best[t][0] = tensors[t].role == NN_VARIANCE ? -1 : NAN;
        assert_int_equal(model_write(folder, &info, (const float *const *)best, NULL, digest, &err),
                         ERR_INVALID);
        assert_non_null(strstr(err.message, tensors[t].name));
        best[t][0] = kept;
    }
    model_info_release(&info);
}

// A weights file whose hash is right but whose numbers are not: written by something else.
static void readers_check_numbers_too(void **state) {
    (void)state;
    char *path = fs_join(folder, MODEL_WEIGHTS), old[DIGEST_HEX_SIZE], new[DIGEST_HEX_SIZE];
    digest_file(path, old, NULL, NULL);
    best[1][0] = INFINITY;
    assert_int_equal(
        model_weights_write(path, tensors, count, (const float *const *)best, new, NULL), ERR_OK);
    edit(old, new, ERR_CORRUPT, tensors[1].name);
    assert_int_equal(
        model_weights_write(path, tensors, count - 1, (const float *const *)best, new, NULL),
        ERR_OK);
    free(path);
}

static void no_model_is_not_found(void **state) {
    (void)state;
    err_t err;
    model_t *model;
    assert_int_equal(model_open("/nonexistent", NULL, &model, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(comes_back),
        TEST(equal_models_are_equal_bytes),
        TEST(engine_has_weights_and_mean),
        TEST(last_and_curves_may_be_missing),
        TEST(every_changed_byte_is_noticed),
        TEST(cut_and_missing_files_are_named),
        TEST(wrong_descriptions_are_refused),
        TEST(wrong_digest_is_refused),
        TEST(numbers_must_be_finite),
        TEST(readers_check_numbers_too),
        TEST(no_model_is_not_found),
    };
    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
