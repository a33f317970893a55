// Does the real trainer make good models, and the very same one whatever is killed when? The
// dispatcher is played by the test.
#include "images.h"
#include "stage.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/philox.h"
#include "model/model.h"
#include "proto/json.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE 16
// backend ref: the same on every machine, and fast enough for so small a network
#define TINY                                                                                       \
    "\"dataset\": \"toy\", \"backend\": \"ref\", \"threads\": 1, \"width\": 2, \"depth\": 2, "     \
    "\"dense\": 8, \"batch\": 7, \"lr\": 0.01, \"checkpoint_s\": 1"

static int set_up(void **state) {
    stage_t *stage = malloc(sizeof *stage);
    stage_open(stage, SIZE);
    *state = stage;
    return 0;
}

static int tear_down(void **state) {
    stage_close(*state);
    free(*state);
    return 0;
}

static double number(const json_t *json, const char *key) {
    const json_t *value = json_object_get(json, key);
    if (!json_is_number(value))
        fail_msg("no number %s", key);
    return json_number_value(value);
}

static const char *text(const json_t *json, const char *key) {
    const char *value = json_string_value(json_object_get(json, key));
    if (!value)
        fail_msg("no text %s", key);
    return value;
}

// Files below a folder of the stack.
static int count_files(stage_t *stage, const char *relative, const char *pattern) {
    char *path = stage_path(stage, relative);
    char *command = mem_format("find %s -name '%s' 2>/dev/null | wc -l", path, pattern);
    FILE *pipe = popen(command, "r");
    int count = -1;
    assert_int_equal(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    free(command);
    free(path);
    return count;
}

// weights_sha256 of the job undisturbed, in a stage of its own; malloc'ed.
static char *undisturbed(const char *body) {
    stage_t *stage = malloc(sizeof *stage);
    stage_open(stage, SIZE);
    stage_worker(stage, NULL);
    stage_submit(stage, "j0", "train", body);
    json_t *result = stage_succeed(stage);
    char *sha256 = mem_dup(text(result, "weights_sha256"));
    json_decref(result);
    stage_close(stage);
    free(stage);
    return sha256;
}

// ---- the plain course of things ----

static void check_history(const json_t *result, int epochs) {
    const json_t *history = json_object_get(result, "history");
    double best = INFINITY;
    int best_epoch = 0;
    assert_int_equal(json_array_size(history), epochs);
    for (int i = 0; i < epochs; i++) {
        const json_t *epoch = json_array_get(history, (size_t)i);
        assert_true(number(epoch, "epoch") == i + 1);
        assert_true(number(epoch, "loss") > 0 && number(epoch, "accuracy") >= 0);
        assert_true(number(epoch, "val_accuracy") <= 1);
        if (number(epoch, "val_loss") <= best) {
            best = number(epoch, "val_loss");
            best_epoch = i + 1;
        }
    }
    assert_true(number(result, "best_epoch") == best_epoch);
}

static void check_folder(stage_t *stage, const json_t *result) {
    const proto_model_info_t *made = &stage->models[stage->model_count - 1];
    char *folder = stage_path(stage, made->path);
    model_t *model;
    err_t err;
    if (model_open(folder, made->digest, &model, &err) != ERR_OK)
        fail_msg("%s", err.message);
    const model_info_t *info = model_info(model);
    assert_string_equal(info->weights_sha256, text(result, "weights_sha256"));
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
    stage_submit(stage, "j1", "train", "{" TINY ", \"epochs\": 8, \"model\": \"heads\"}");
    json_t *result = stage_succeed(stage);
    const json_t *test = json_object_get(result, "test");
    assert_string_equal(text(result, "model"), "heads");
    assert_true(number(result, "epochs_run") == 8);
    assert_true(number(result, "images_per_second") > 0);
    assert_true(json_is_true(json_object_get(result, "exact")));
    assert_string_equal(text(result, "dataset"), "toy");
    assert_true(number(result, "dataset_version") == 1);
    assert_string_equal(text(result, "precision"), "fp32");
    assert_non_null(text(result, "isa"));
    assert_true(number(test, "accuracy") >= 0.9);
    assert_true(number(test, "auc") >= 0.9 && number(test, "loss") < 1);
    assert_int_equal(json_array_size(json_object_get(test, "confusion")), 2);
    assert_int_equal(json_array_size(json_object_get(result, "classes")), 2);
    check_history(result, 8);
    check_folder(stage, result);
    assert_int_equal(stage->metrics, 8);
    assert_int_equal(stage->warnings, 0);
    assert_true(stage->checkpoints >= 3); // the choices, some epochs, the end
    // only the small one that says that all is done
    assert_int_equal(count_files(stage, "jobs/j1", "*.ckpt*"), 1);
    assert_int_equal(count_files(stage, "jobs/j1", "done.ckpt"), 1);
    json_t *info = proto_map_json(stage->finish->model->info);
    assert_true(number(info, "size") == SIZE);
    assert_true(json_equal(json_object_get(info, "test"), test));
    json_decref(info);
    json_decref(result);
}

static void test_options(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train",
                 "{" TINY ", \"epochs\": 40, \"patience\": 2, \"schedule\": \"cosine\", "
                 "\"augment\": \"flip,shift\", \"class_weights\": \"auto\", \"bn_stats\": "
                 "\"moving\", \"seed\": 9}");
    json_t *result = stage_succeed(stage);
    int epochs = (int)number(result, "epochs_run");
    assert_string_equal(text(result, "model"), "toy");
    check_history(result, epochs);
    assert_true(epochs == 40 || epochs == (int)number(result, "best_epoch") + 2);
    json_decref(result);
}

static void test_one_step_epochs(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", "{" TINY ", \"epochs\": 1, \"batch\": 4096}");
    json_t *result = stage_succeed(stage);
    assert_true(number(result, "images_per_second") > 0);
    json_decref(result);
}

static void test_refusals(void **state) {
    static const struct {
        const char *kind, *body;
        err_code_t code;
        const char *words;
    } cases[] = {
        {"train", "{\"dataset\": \"none\"}", ERR_NOT_FOUND, ""},
        {"train", "{" TINY ", \"schedule\": \"linear\"}", ERR_INVALID, "cosine"},
        {"train", "{" TINY ", \"augment\": \"flip,spin\"}", ERR_INVALID, "shift"},
        {"train", "{" TINY ", \"class_weights\": \"yes\"}", ERR_INVALID, "auto"},
        {"train", "{" TINY ", \"bn_stats\": \"batch\"}", ERR_INVALID, "moving"},
        {"train", "{" TINY ", \"model\": \"../x\"}", ERR_INVALID, "cannot name a model"},
        {"train", "{" TINY ", \"init\": \"ghost@3\"}", ERR_NOT_FOUND, ""},
        {"train", "{" TINY ", \"init\": \"ghost@x\"}", ERR_INVALID, "NAME@VERSION"},
        {"train", "{\"dataset\": \"toy\", \"depth\": 6}", ERR_INVALID, ""},
        {"train", "{\"dataset\": \"toy\", \"backend\": \"abacus\"}", ERR_UNSUPPORTED, "ref"},
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
    stage_submit(stage, "j1", "train", "{" TINY ", \"epochs\": 1, \"model\": \"heads\"}");
    json_decref(stage_succeed(stage));
    spoil_model(stage);
    stage_submit(stage, "j2", "train", "{" TINY ", \"init\": \"heads@2\", \"dropout\": 0}");
    stage_fails(stage, ERR_INVALID, "lower --lr");
    assert_false(stage->finish->error->retryable);
    assert_non_null(strstr(stage->finish->error->message, "epoch 1"));
    assert_int_equal(count_files(stage, "models", "model.json"), 2);
}

// ---- killed, and going on ----

#define LONG "{" TINY ", \"epochs\": 60, \"augment\": \"flip,shift\", \"seed\": 5}"

static void kill_worker(stage_t *stage) {
    kill(stage->fake.worker, SIGKILL);
    waitpid(stage->fake.worker, NULL, 0);
    stage->fake.worker = 0;
    stage_worker(stage, NULL);
}

static void kill_engine(stage_t *stage) {
    kill(stage_engine(stage), SIGKILL);
    const proto_job_finish_t *finish = stage_finish(stage);
    if (strcmp(finish->outcome, "succeeded") != 0) // it may just have ended
        assert_string_equal(finish->outcome, "died");
}

static void test_killed_anywhere(void **state) {
    stage_t *stage = *state;
    char *wanted = undisturbed(LONG);
    stage_worker(stage, NULL);
    for (uint32_t round = 0; round < 2; round++) {
        stage_submit(stage, round ? "j2" : "j1", "train", LONG);
        for (uint32_t i = 0; i < 6; i++) {
            // often soon, sometimes late
            uint32_t random = philox_below(philox(3, round, i, 0, 0).v[0], 1000);
            stage_pump(stage, 1 + random * random / 1000);
            if (stage->finish)
                break;
            if (i % 3 == 2)
                kill_worker(stage);
            else
                kill_engine(stage);
            if (stage->finish && strcmp(stage->finish->outcome, "succeeded") == 0)
                break;
            stage_again(stage);
        }
        json_t *result = stage_succeed(stage);
        assert_string_equal(text(result, "weights_sha256"), wanted);
        assert_true(number(result, "epochs_run") == 60);
        check_history(result, 60);
        json_decref(result);
        assert_int_equal(stage->warnings, 0);
        assert_int_equal(count_files(stage, round ? "jobs/j2" : "jobs/j1", "*.ckpt*"), 1);
    }
    // what attempts that died left has gone, too
    assert_int_equal(count_files(stage, "models", "model.json"), 2);
    free(wanted);
}

static void test_killed_at_the_end(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", "{" TINY ", \"epochs\": 3}");
    json_t *first = stage_succeed(stage);
    int made = stage->checkpoints;
    // killed before it had cleaned up, and as if the end had never been stored
    char *left = stage_path(stage, "jobs/j1/1/step-9.ckpt");
    char *torn = stage_path(stage, "jobs/j1/1/step-18.ckpt.tmp-a1b2c3");
    assert_int_equal(fs_write(left, "x", 1, NULL), ERR_OK);
    assert_int_equal(fs_write(torn, "x", 1, NULL), ERR_OK);
    free(left);
    free(torn);
    stage_again(stage);
    json_t *second = stage_succeed(stage);
    assert_int_equal(count_files(stage, "jobs/j1", "*.ckpt*"), 1);
    assert_true(json_equal(first, second));
    assert_int_equal(stage->checkpoints, made);
    assert_string_equal(stage->models[0].path, stage->models[1].path);
    // and with a model that is damaged it trains again
    char *path = stage_path(stage, stage->models[0].path);
    char *weights = fs_join(path, MODEL_WEIGHTS);
    assert_int_equal(truncate(weights, 1000), 0);
    stage_again(stage);
    json_t *third = stage_succeed(stage);
    assert_string_equal(text(first, "weights_sha256"), text(third, "weights_sha256"));
    assert_int_equal(stage->warnings, 1);
    free(weights);
    free(path);
    json_decref(first);
    json_decref(second);
    json_decref(third);
}

static void damage(stage_t *stage, const char *relative) {
    char *path = stage_path(stage, relative);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, -9, SEEK_END);
    fputc(fgetc(file) ^ 1, file);
    fclose(file);
    free(path);
}

static void test_damaged_checkpoint(void **state) {
    stage_t *stage = *state;
    char *wanted = undisturbed(LONG);
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", LONG);
    stage_await(stage, &stage->checkpoints, 4);
    kill_engine(stage);
    // the one before still serves
    json_t *info = proto_map_json(stage->checkpoint.info);
    const json_t *previous = json_object_get(info, "previous");
    damage(stage, stage->checkpoint.path);
    stage_again(stage);
    stage_await(stage, &stage->warnings, 1);
    assert_non_null(strstr(stage->warning, "SHA-256"));
    int before = stage->checkpoints;
    stage_await(stage, &stage->checkpoints, before + 1);
    assert_true((double)stage->checkpoint.step > number(previous, "step"));
    json_decref(info);
    kill_engine(stage);
    // both damaged
    info = proto_map_json(stage->checkpoint.info);
    damage(stage, stage->checkpoint.path);
    damage(stage, text(json_object_get(info, "previous"), "path"));
    json_decref(info);
    stage_again(stage);
    json_t *result = stage_succeed(stage);
    assert_string_equal(text(result, "weights_sha256"), wanted);
    assert_true(stage->warnings >= 4);
    json_decref(result);
    free(wanted);
}

// A checkpoint of another job's parameters is none of ours.
static void test_foreign_checkpoint(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", LONG);
    stage_await(stage, &stage->checkpoints, 3);
    kill_engine(stage);
    stage->body = "{" TINY ", \"epochs\": 2, \"seed\": 6}";
    stage_again(stage);
    json_t *result = stage_succeed(stage);
    char *wanted = undisturbed(stage->body);
    assert_string_equal(text(result, "weights_sha256"), wanted);
    assert_non_null(strstr(stage->warning, "beginning"));
    json_decref(result);
    free(wanted);
}

// ---- stopped on request ----

#define ENDLESS "{" TINY ", \"epochs\": 100000}"

static void test_cancel(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", ENDLESS);
    stage_await(stage, &stage->metrics, 2);
    proto_worker_cancel_t cancel = {.job = "j1", .token = stage->token};
    int64_t start = clock_mono_ms();
    fake_send(&stage->fake, PROTO_worker_cancel, &cancel);
    const proto_job_finish_t *finish = stage_finish(stage);
    assert_string_equal(finish->outcome, "cancelled");
    assert_true(clock_mono_ms() - start < 5000);
    assert_int_equal(count_files(stage, "models", "*"), 0);
}

static void test_drain(void **state) {
    stage_t *stage = *state;
    char *wanted = undisturbed(LONG);
    stage_worker(stage, NULL);
    stage_submit(stage, "j1", "train", LONG);
    stage_await(stage, &stage->metrics, 3);
    kill(stage->fake.worker, SIGTERM);
    const proto_job_finish_t *finish = stage_finish(stage);
    assert_string_equal(finish->outcome, "released");
    assert_true(stage->checkpoint.step > 0);
    fake_reap(&stage->fake);
    stage_worker(stage, NULL);
    uint64_t step = stage->checkpoint.step;
    stage_again(stage);
    json_t *result = stage_succeed(stage);
    assert_string_equal(text(result, "weights_sha256"), wanted);
    assert_true(step > 0);
    json_decref(result);
    free(wanted);
}

static uint64_t leased_step(stage_t *stage) {
    fake_wait_renew(&stage->fake);
    const proto_worker_renew_t *renew = &stage->fake.renew;
    return renew->leases.count ? renew->leases.items[0].step : 0;
}

// The dispatcher stays silent about a checkpoint: training goes on. Then the lease is lost: what
// the engine does is of no interest any more, and the worker takes the next job.
static void test_unanswered_and_stale(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage->deaf_to_checkpoints = true;
    stage_submit(stage, "j1", "train", ENDLESS);
    for (int i = 0; i < 1000 && !stage->unanswered; i++)
        stage_pump(stage, 20);
    assert_non_null(stage->unanswered);
    pid_t engine = stage_engine(stage);
    uint64_t first = leased_step(stage);
    for (int i = 0; i < 1000 && leased_step(stage) <= first + 20; i++)
        stage_pump(stage, 20);
    assert_true(leased_step(stage) > first + 20);
    assert_int_equal(stage->checkpoints, 0);
    fake_error(&stage->fake, stage->unanswered, ERR_STALE, NULL);
    assert_true(fake_gone(&stage->fake, engine, 10000));
    assert_null(stage->finish);
    stage->deaf_to_checkpoints = false;
    stage_submit(stage, "j2", "train", "{" TINY ", \"epochs\": 2}");
    json_decref(stage_succeed(stage));
}

// Refused, not unanswered: told, and training goes on; its file does not stay.
static void test_refused_checkpoint(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage->refuse_checkpoints = ERR_INVALID;
    stage_submit(stage, "j1", "train", "{" TINY ", \"epochs\": 3}");
    json_decref(stage_succeed(stage));
    assert_int_equal(stage->warnings, 1);
    assert_non_null(strstr(stage->warning, "as the test wants"));
    assert_int_equal(count_files(stage, "jobs/j1", "*.ckpt*"), 1);
}

static void test_full_disk(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, (const char *[]){"--disk-reserve-mb", "1048576", NULL});
    stage_submit(stage, "j1", "train", "{" TINY ", \"epochs\": 3}");
    json_t *result = stage_succeed(stage);
    assert_int_equal(stage->checkpoints, 0);
    assert_int_equal(stage->warnings, 1); // not one for each
    assert_non_null(strstr(stage->warning, "without a checkpoint"));
    json_decref(result);
}

// ---- models to begin with ----

static void test_init(void **state) {
    static const char *const three[] = {"comics", "faces", "prints"};
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    stage_dataset(stage, "more", three, 3, SIZE, 9);
    stage_submit(stage, "j1", "train", "{" TINY ", \"epochs\": 8, \"model\": \"heads\"}");
    json_decref(stage_succeed(stage));
    stage_submit(stage, "j2", "train",
                 "{" TINY
                 ", \"epochs\": 1, \"lr\": 1e-9, \"model\": \"tuned\", \"init\": \"heads@1\"}");
    json_t *result = stage_succeed(stage);
    assert_true(number(json_object_get(result, "test"), "accuracy") >= 0.9);
    assert_true(number(json_object_get(result, "init"), "version") == 1);
    json_decref(result);
    // another number of classes: a new last layer
    stage_submit(stage, "j3", "train",
                 "{\"dataset\": \"more\", \"backend\": \"ref\", \"threads\": 1, \"width\": 2, "
                 "\"depth\": 2, \"dense\": 8, \"epochs\": 2, \"init\": \"heads\"}");
    json_decref(stage_succeed(stage));
    // another network
    stage_submit(stage, "j4", "train", "{" TINY ", \"epochs\": 1, \"init\": \"heads\"}");
    stage->body = "{\"dataset\": \"toy\", \"backend\": \"ref\", \"width\": 4, \"depth\": 2, "
                  "\"dense\": 8, \"init\": \"heads\"}";
    json_decref(stage_succeed(stage));
    stage_submit(stage, "j5", "train", stage->body);
    stage_fails(stage, ERR_INVALID, "layer 0 is conv 2 kernel 3, the job's is conv 4 kernel 3");
}

// ---- evaluate, predict ----

static void make_model(stage_t *stage) {
    stage_submit(stage, "m", "train", "{" TINY ", \"epochs\": 8, \"model\": \"heads\"}");
    json_decref(stage_succeed(stage));
}

static void test_evaluate(void **state) {
    static const char *const more[] = {"comics", "faces", "prints"};
    static const char *const other[] = {"faces"};
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    make_model(stage);
    stage_submit(stage, "j1", "evaluate", "{\"model\": \"heads@1\", \"dataset\": \"toy\"}");
    json_t *result = stage_succeed(stage);
    assert_true(number(result, "images") == 12);
    assert_true(number(result, "accuracy") >= 0.9);
    assert_true(number(result, "version") == 1 && number(result, "dataset_version") == 1);
    assert_string_equal(text(result, "split"), "test");
    json_decref(result);
    // one class alone, which is the model's second
    stage_dataset(stage, "faces", other, 1, SIZE, 5);
    stage_submit(stage, "j2", "evaluate",
                 "{\"model\": \"heads\", \"dataset\": \"faces\", \"split\": \"all\"}");
    result = stage_succeed(stage);
    const json_t *confusion = json_object_get(result, "confusion");
    assert_true(number(result, "images") == 35);
    assert_true(json_is_null(json_object_get(result, "auc")));
    assert_int_equal(json_integer_value(json_array_get(json_array_get(confusion, 0), 0)) +
                         json_integer_value(json_array_get(json_array_get(confusion, 0), 1)),
                     0);
    assert_true(number(result, "accuracy") >= 0.9);
    json_decref(result);
    stage_dataset(stage, "more", more, 3, SIZE, 6);
    stage_submit(stage, "j3", "evaluate", "{\"model\": \"heads\", \"dataset\": \"more\"}");
    stage_fails(stage, ERR_INVALID, "prints");
}

static void test_other_pixels(void **state) {
    static const char *const classes[] = {"comics", "faces"};
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    make_model(stage);
    stage_dataset(stage, "large", classes, 2, SIZE + 1, 6);
    stage_submit(stage, "j1", "evaluate", "{\"model\": \"heads\", \"dataset\": \"large\"}");
    stage_fails(stage, ERR_INVALID, "17x17");
    stage_submit(stage, "j2", "predict", "{\"model\": \"heads\", \"dataset\": \"large\"}");
    stage_fails(stage, ERR_INVALID, "pixels");
}

static char *read_table(stage_t *stage, const json_t *result) {
    char *path = stage_path(stage, text(result, "path"));
    void *bytes;
    size_t size;
    assert_int_equal(fs_read(path, 1 << 20, &bytes, &size, NULL), ERR_OK);
    free(path);
    return bytes;
}

static int count_lines(const char *table) {
    int lines = 0;
    for (const char *at = table; (at = strstr(at, "\r\n")) != NULL; at += 2)
        lines++;
    return lines;
}

static void test_predict_folder(void **state) {
    stage_t *stage = *state;
    uint8_t pixels[SIZE * SIZE];
    stage_worker(stage, NULL);
    make_model(stage);
    char *folder = stage_path(stage, "../in"), *deep = fs_join(folder, "deep/er");
    assert_int_equal(fs_mkdirs(deep, NULL), ERR_OK);
    for (uint32_t i = 0; i < 70; i++) {
        char *path = mem_format("%s/%s %u.png", i % 3 ? folder : deep, i % 2 ? "comic" : "face", i);
        images_draw(i % 2, i + 50000, SIZE, pixels);
        assert_int_equal(prep_write_png(path, pixels, SIZE, SIZE, 1, NULL), ERR_OK);
        fake_run(&stage->fake, 1); // the worker wants answers
        free(path);
    }
    char *bad = fs_join(folder, "a \"bad\",\n\xff.jpg"), *hidden = fs_join(folder, ".hidden");
    char *empty = fs_join(deep, "empty.png"), *link = fs_join(folder, "loop");
    assert_int_equal(fs_write(bad, "text", 4, NULL), ERR_OK);
    char *fifo = fs_join(deep, "fifo.png");
    assert_int_equal(fs_write(empty, "", 0, NULL), ERR_OK);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(fs_write(hidden, "x", 1, NULL), ERR_OK);
    assert_int_equal(symlink(".", link), 0);
    char *body = mem_format("{\"model\": \"heads\", \"dir\": \"%s/deep/..\"}", folder);
    stage_submit(stage, "j1", "predict", body);
    json_t *result = stage_succeed(stage);
    char *table = read_table(stage, result);
    assert_non_null(
        strstr(table, "file,label,probability,error\r\n\"a \"\"bad\"\",\n\\xff.jpg\",,,"));
    assert_non_null(strstr(table, "\r\ndeep/er/empty.png,,,"));
    const char *row_of_fifo = strstr(table, "\r\ndeep/er/fifo.png,,,");
    assert_non_null(row_of_fifo);
    assert_non_null(strstr(row_of_fifo, "is not a regular file\r\n"));
    int right = 0;
    for (int i = 0; i < 70; i++) {
        char *row = mem_format("%s%s %d.png,%s,", i % 3 ? "\r\n" : "deep/er/",
                               i % 2 ? "comic" : "face", i, i % 2 ? "comics" : "faces");
        right += strstr(table, row) != NULL;
        free(row);
    }
    assert_true(right >= 60);
    assert_true(number(result, "images") == 73 && number(result, "failed") == 3);
    assert_int_equal(count_lines(table), 74);
    json_decref(result);
    stage_submit(stage, "j2", "predict", "{\"model\": \"heads\", \"dir\": \"/nonexistent\"}");
    stage_fails(stage, ERR_NOT_FOUND, "/nonexistent");
    free(table);
    free(body);
    free(bad);
    free(hidden);
    free(empty);
    free(fifo);
    free(link);
    free(deep);
    free(folder);
}

static void test_predict_dataset(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    make_model(stage);
    stage_submit(stage, "j1", "predict",
                 "{\"model\": \"heads\", \"dataset\": \"toy\", \"split\": \"val\"}");
    json_t *result = stage_succeed(stage);
    char *table = read_table(stage, result);
    assert_int_equal(count_lines(table), 13);
    assert_non_null(strstr(table, "\r\n\"comics/1-0, \"\"x\"\".png\",comics,"));
    assert_true(number(result, "images") == 12 && number(result, "failed") == 0);
    free(table);
    json_decref(result);
    stage_submit(stage, "j2", "predict", "{\"model\": \"heads\", \"dataset\": \"toy\"}");
    result = stage_succeed(stage);
    assert_true(number(result, "images") == 84);
    json_decref(result);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

// An argument: only tests whose names match it.
int main(int argc, char **argv) {
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(test_train),
        TEST(test_options),
        TEST(test_one_step_epochs),
        TEST(test_refusals),
        TEST(test_lost_loss),
        TEST(test_killed_anywhere),
        TEST(test_killed_at_the_end),
        TEST(test_damaged_checkpoint),
        TEST(test_foreign_checkpoint),
        TEST(test_cancel),
        TEST(test_drain),
        TEST(test_unanswered_and_stale),
        TEST(test_refused_checkpoint),
        TEST(test_full_disk),
        TEST(test_init),
        TEST(test_evaluate),
        TEST(test_other_pixels),
        TEST(test_predict_folder),
        TEST(test_predict_dataset),
    };
    return cmocka_run_group_tests_name("trainer", tests, NULL, NULL);
}
