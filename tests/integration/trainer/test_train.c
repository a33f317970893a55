// Does the real trainer make good models, with the options it has, and from models made before, and
// does it refuse the others with words that help? The dispatcher is played by the test.
#include "toy.h"

#include "base/fs.h"
#include "model/model.h"
#include "proto/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check_folder(stage_t *stage, const json_t *result) {
    const proto_model_info_t *made = &stage->models[stage->model_count - 1];
    char *folder = stage_path(stage, made->path);
    model_t *model;
    err_t err;
    if (model_open(folder, made->digest, &model, &err) != ERR_OK)
        fail_msg("%s", err.message);
    const model_info_t *info = model_info(model);
    assert_string_equal(info->weights_sha256, toy_text(result, "weights_sha256"));
    assert_string_equal(info->name, "heads");
    assert_string_equal(info->classes[0], "comics");
    assert_true(info->recipe.mean[0] == 90.5f);
    assert_string_not_equal(info->last_sha256, "");
    assert_true(json_equal(json_object_get(info->about, "test"), json_object_get(result, "test")));
    char *curves = fs_join(folder, MODEL_CURVES);
    assert_int_equal(access(curves, R_OK), 0);
    free(curves);
    model_close(&model);
    free(folder);
}

static void test_train(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", "{" TOY_TRAIN ", \"epochs\": 8, \"model\": \"heads\"}");
    json_t *result = stage_succeed(stage);
    const json_t *test = json_object_get(result, "test");
    assert_string_equal(toy_text(result, "model"), "heads");
    assert_true(toy_number(result, "epochs_run") == 8);
    assert_true(toy_number(result, "images_per_second") > 0);
    assert_true(json_is_true(json_object_get(result, "exact")));
    assert_string_equal(toy_text(result, "dataset"), "toy");
    assert_true(toy_number(result, "dataset_version") == 1);
    assert_string_equal(toy_text(result, "precision"), "fp32");
    assert_non_null(toy_text(result, "isa"));
    assert_true(toy_number(test, "accuracy") >= 0.9);
    assert_true(toy_number(test, "auc") >= 0.9 && toy_number(test, "loss") < 1);
    assert_int_equal(json_array_size(json_object_get(test, "confusion")), 2);
    assert_int_equal(json_array_size(json_object_get(result, "classes")), 2);
    toy_check_history(result, 8);
    check_folder(stage, result);
    assert_int_equal(stage->metrics, 8);
    assert_int_equal(stage->warnings, 0);
    assert_true(stage->checkpoints >= 3); // the choices, some epochs, the end
    // only the small one that says that all is done
    assert_int_equal(toy_count_files(stage, "jobs/j1", "*.ckpt*"), 1);
    assert_int_equal(toy_count_files(stage, "jobs/j1", "done.ckpt"), 1);
    json_t *info = proto_map_json(stage->finish->model->info);
    assert_true(toy_number(info, "size") == TOY_SIZE);
    assert_true(json_equal(json_object_get(info, "test"), test));
    json_decref(info);
    json_decref(result);
}

static void test_options(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train",
                 "{" TOY_TRAIN ", \"epochs\": 40, \"patience\": 2, \"schedule\": \"cosine\", "
                 "\"augment\": \"flip,shift\", \"class_weights\": \"auto\", \"bn_stats\": "
                 "\"moving\", \"seed\": 9}");
    json_t *result = stage_succeed(stage);
    int epochs = (int)toy_number(result, "epochs_run");
    assert_string_equal(toy_text(result, "model"), "toy");
    toy_check_history(result, epochs);
    assert_true(epochs == 40 || epochs == (int)toy_number(result, "best_epoch") + 2);
    json_decref(result);
}

static void test_one_step_epochs(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", "{" TOY_TRAIN ", \"epochs\": 1, \"batch\": 4096}");
    json_t *result = stage_succeed(stage);
    assert_true(toy_number(result, "images_per_second") > 0);
    json_decref(result);
}

static void test_init(void **state) {
    static const char *const three[] = {"comics", "faces", "prints"};
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_dataset(stage, "more", three, 3, TOY_SIZE, 9);
    stage_submit(stage, "j1", "train", "{" TOY_TRAIN ", \"epochs\": 8, \"model\": \"heads\"}");
    json_decref(stage_succeed(stage));
    stage_submit(stage, "j2", "train",
                 "{" TOY_TRAIN
                 ", \"epochs\": 1, \"lr\": 1e-9, \"model\": \"tuned\", \"init\": \"heads@1\"}");
    json_t *result = stage_succeed(stage);
    assert_true(toy_number(json_object_get(result, "test"), "accuracy") >= 0.9);
    assert_true(toy_number(json_object_get(result, "init"), "version") == 1);
    json_decref(result);
    // another number of classes: a new last layer
    stage_submit(stage, "j3", "train",
                 "{\"dataset\": \"more\", \"backend\": \"ref\", \"threads\": 1, \"width\": 2, "
                 "\"depth\": 2, \"dense\": 8, \"epochs\": 2, \"init\": \"heads\"}");
    json_decref(stage_succeed(stage));
    // another network
    stage_submit(stage, "j4", "train", "{" TOY_TRAIN ", \"epochs\": 1, \"init\": \"heads\"}");
    stage->body = "{\"dataset\": \"toy\", \"backend\": \"ref\", \"width\": 4, \"depth\": 2, "
                  "\"dense\": 8, \"init\": \"heads\"}";
    json_decref(stage_succeed(stage));
    stage_submit(stage, "j5", "train", stage->body);
    stage_fails(stage, ERR_INVALID, "layer 0 is conv 2 kernel 3, the job's is conv 4 kernel 3");
}

// ---- refusals ----

static void test_refusals(void **state) {
    static const struct {
        const char *kind, *body;
        err_code_t code;
        const char *words;
    } cases[] = {
        {"train", "{\"dataset\": \"none\"}", ERR_NOT_FOUND, ""},
        {"train", "{" TOY_TRAIN ", \"schedule\": \"linear\"}", ERR_INVALID, "cosine"},
        {"train", "{" TOY_TRAIN ", \"augment\": \"flip,spin\"}", ERR_INVALID, "shift"},
        {"train", "{" TOY_TRAIN ", \"class_weights\": \"yes\"}", ERR_INVALID, "auto"},
        {"train", "{" TOY_TRAIN ", \"bn_stats\": \"batch\"}", ERR_INVALID, "moving"},
        {"train", "{" TOY_TRAIN ", \"model\": \"../x\"}", ERR_INVALID, "cannot name a model"},
        {"train", "{" TOY_TRAIN ", \"init\": \"ghost@3\"}", ERR_NOT_FOUND, ""},
        {"train", "{" TOY_TRAIN ", \"init\": \"ghost@x\"}", ERR_INVALID, "NAME@VERSION"},
        {"train", "{\"dataset\": \"toy\", \"depth\": 6}", ERR_INVALID, ""},
        {"train", "{\"dataset\": \"toy\", \"backend\": \"abacus\"}", ERR_INVALID, "ref"},
        {"evaluate", "{\"model\": \"ghost\", \"dataset\": \"toy\"}", ERR_NOT_FOUND, ""},
        {"evaluate", "{\"model\": \"ghost\", \"dataset\": \"toy\", \"split\": \"x\"}", ERR_INVALID,
         "train, val, test or all"},
        {"predict", "{\"model\": \"ghost\"}", ERR_INVALID, "dir and dataset"},
        {"predict", "{\"model\": \"ghost\", \"dir\": \"x\"}", ERR_INVALID, "absolute"},
    };
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stage_submit(stage, "j1", cases[i].kind, cases[i].body);
        stage_fails(stage, cases[i].code, cases[i].words);
    }
}

// A copy of the newest model whose last two layers compute inf - inf, registered as version + 1.
static void spoil_model(stage_t *stage) {
    char *from = stage_path(stage, stage->models[stage->model_count - 1].path);
    char *to = mem_format("%s-spoilt", from), digest[DIGEST_HEX_SIZE];
    nn_tensor_t *tensors = mem_zero(NN_TENSORS_MAX, sizeof *tensors);
    float **data = mem_zero(NN_TENSORS_MAX, sizeof *data);
    model_t *model;
    assert_int_equal(model_open(from, NULL, &model, NULL), ERR_OK);
    model_info_t info = *model_info(model);
    int count = nn_spec_tensors(&info.spec, tensors);
    for (int t = 0; t < count; t++) {
        data[t] = mem_alloc((size_t)tensors[t].count * sizeof(float));
        memcpy(data[t], model_tensor(model, t), (size_t)tensors[t].count * sizeof(float));
        for (int64_t i = 0; t == count - 3 && i < tensors[t].count; i++)
            data[t][i] = 1e6f; // biases: all units are on
        for (int64_t i = 0; t == count - 2 && i < tensors[t].count; i++)
            data[t][i] = i % 2 ? 3e38f : -3e38f;
    }
    assert_int_equal(fs_mkdirs(to, NULL), ERR_OK);
    assert_int_equal(model_write(to, &info, (const float *const *)data, NULL, digest, NULL),
                     ERR_OK);
    stage_model(stage, info.name, strstr(to, "models/"), digest);
    for (int t = 0; t < count; t++)
        free(data[t]);
    free(data);
    free(tensors);
    model_close(&model);
    free(from);
    free(to);
}

// A loss that is no number ends the job for good, saying what to do.
static void test_lost_loss(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", "{" TOY_TRAIN ", \"epochs\": 1, \"model\": \"heads\"}");
    json_decref(stage_succeed(stage));
    spoil_model(stage);
    stage_submit(stage, "j2", "train", "{" TOY_TRAIN ", \"init\": \"heads@2\", \"dropout\": 0}");
    stage_fails(stage, ERR_INVALID, "lower --lr");
    assert_false(stage->finish->error->retryable);
    assert_non_null(strstr(stage->finish->error->message, "epoch 1"));
    assert_int_equal(toy_count_files(stage, "models", "model.json"), 2);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TOY_TEST(test_train),    TOY_TEST(test_options),   TOY_TEST(test_one_step_epochs),
        TOY_TEST(test_refusals), TOY_TEST(test_lost_loss), TOY_TEST(test_init),
    };
    toy_filter(argc, argv);
    return cmocka_run_group_tests_name("train", tests, NULL, NULL);
}
