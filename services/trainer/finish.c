#include "train_impl.h"

#include "base/fs.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// The end of a job is a checkpoint, too: state.done is
//   {"path", "digest": of the model, "result", "info": what the registry is told}
// and once it is recorded the large ones are not needed any more.

#define RESULT_BYTES  900000 // of a message that may have 1 MiB
#define INFO_BYTES    PROTO_BODY_MAX
#define HISTORY_CURVE 100000
#define HISTORY_MOST  2000 // epochs in a result

typedef struct {
    train_t *train;
    char *path, *folder; // of the model: relative to files, absolute
    char digest[DIGEST_HEX_SIZE], weights_sha256[DIGEST_HEX_SIZE];
    json_t *test; // or NULL without test images
} finish_t;

// The word behind key in the engine's choices "key=value key=value".
static json_t *choice(const char *choices, const char *key) {
    size_t length = strlen(key);
    for (const char *at = choices; at; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, key, length) == 0 && at[length] == '=')
            return json_stringn(at + length + 1, strcspn(at + length + 1, " "));
    }
    return json_null();
}

static double images_per_second(const state_t *state, uint32_t images) {
    double seconds = 0;
    if (state->timed_seconds > 0)
        return (double)state->timed_images / state->timed_seconds;
    for (int i = 0; i < state->epochs; i++) // one step an attempt: better than nothing
        seconds += state->history[i].seconds;
    return seconds > 0 ? (double)images * state->epochs / seconds : 0;
}

// ---- telling ----

static json_t *list_classes(const train_t *train) {
    const shard_info_t *info = shard_info(train->dataset.shards);
    json_t *classes = json_array();
    for (int i = 0; i < info->class_count; i++)
        json_array_append_new(classes, json_string(info->classes[i]));
    return classes;
}

// What result, model.json and registry say alike.
static json_t *describe(const finish_t *finish) {
    const train_t *train = finish->train;
    const state_t *state = &train->at.state;
    json_t *json =
        json_pack("{s:s, s:i, s:i, s:f, s:b, s:s, s:s, s:I, s:s}", "model", train->model_name,
                  "best_epoch", state->best + 1, "epochs_run", state->epochs, "images_per_second",
                  images_per_second(state, train->images), "exact", state->exact, "weights_sha256",
                  finish->weights_sha256, "dataset", train->body.dataset, "dataset_version",
                  (json_int_t)state->dataset_version, "bn_stats", train->body.bn_stats);
    static const char *const keys[] = {"backend", "precision", "isa"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        json_object_set_new(json, keys[i], choice(state->choices, keys[i]));
    json_t *threads = choice(state->choices, "threads");
    if (json_is_string(threads))
        json_object_set_new(json, "threads", json_integer(atoi(json_string_value(threads))));
    json_decref(threads);
    if (train->body.init && train->body.init[0])
        json_object_set_new(json, "init",
                            json_pack("{s:s, s:I}", "model", train->body.init, "version",
                                      (json_int_t)state->init_version));
    if (finish->test)
        json_object_set(json, "test", finish->test);
    return json;
}

static json_t *describe_model(const finish_t *finish) {
    const train_t *train = finish->train;
    json_t *json = describe(finish);
    json_object_set_new(json, "job", json_string(train->job->id));
    json_object_set_new(json, "dataset_digest", json_string(shard_digest(train->dataset.shards)));
    json_object_set_new(json, "choices", json_string(train->at.state.choices));
    json_object_set_new(json, "parameters", proto_to_json(PROTO_train, &train->body));
    json_object_del(json, "weights_sha256"); // model.json has it among its files
    return json;
}

static size_t packed_size(const json_t *json) {
    buf_t packed;
    buf_init(&packed, PROTO_MESSAGE_MAX);
    err_code_t code = proto_pack_json(json, &packed, NULL);
    size_t size = code ? SIZE_MAX : packed.size;
    buf_release(&packed);
    return size;
}

static json_t *make_result(const finish_t *finish) {
    const train_t *train = finish->train;
    json_t *result = describe(finish);
    json_object_set_new(result, "classes", list_classes(train));
    json_object_set_new(result, "history", state_history(&train->at.state, HISTORY_MOST, false));
    if (!finish->test)
        json_object_set_new(result, "test", json_null());
    if (train->report)
        json_object_update(result, train->report);
    if (packed_size(result) > RESULT_BYTES) { // very many classes; model.json has it
        json_t *test = json_copy(json_object_get(result, "test"));
        json_object_set_new(test, "confusion", json_null());
        json_object_set_new(result, "test", test);
    }
    return result;
}

static json_t *make_info(const finish_t *finish) {
    const train_t *train = finish->train;
    const prep_recipe_t *recipe = &train->dataset.recipe;
    json_t *info = describe(finish),
           *pixels = json_pack("{s:i, s:i, s:s, s:i, s:o, s:I}", "size", recipe->size, "channels",
                               recipe->channels, "fit", prep_fit_name(recipe->fit), "class_count",
                               train->spec.classes, "classes", list_classes(train), "epochs",
                               (json_int_t)train->body.epochs);
    json_object_update(info, pixels);
    json_decref(pixels);
    if (packed_size(info) > INFO_BYTES && finish->test) {
        json_t *test = json_copy(finish->test);
        json_object_del(test, "confusion");
        json_object_set_new(info, "test", test);
    }
    if (packed_size(info) > INFO_BYTES)
        json_object_del(info, "classes"); // model.json has them
    return info;
}

// ---- the model ----

static void fill_info(const finish_t *finish, model_info_t *info) {
    const train_t *train = finish->train;
    const shard_info_t *data = shard_info(train->dataset.shards);
    *info = (model_info_t){.name = mem_dup(train->model_name),
                           .spec = train->spec,
                           .recipe = train->dataset.recipe,
                           .class_count = data->class_count,
                           .classes = mem_zero((size_t)data->class_count, sizeof(char *)),
                           .curves = state_history(&train->at.state, HISTORY_CURVE, true)};
    for (int i = 0; i < data->class_count; i++)
        info->classes[i] = mem_dup(data->classes[i]);
    info->about = describe_model(finish);
}

static err_code_t find_last(train_t *train, err_t *err) {
    if (train->last)
        return ERR_OK;
    err_code_t code = ERR_OK; // the last epoch was an earlier attempt's
    if (train->options.estimate_bn)
        code = nn_bn_estimate(train->nn, train->estimate, train->estimate_count, NULL, err);
    else
        nn_use_moving(train->nn);
    return code ? code : epoch_capture(train, &train->last, err);
}

static err_code_t write_model(finish_t *finish, err_t *err) {
    train_t *train = finish->train;
    model_info_t info;
    epoch_flush(train);
    err_code_t code = find_last(train, err);
    if (code == ERR_OK)
        code = fs_remove_all(finish->folder, err);
    if (code == ERR_OK)
        code = fs_mkdirs(finish->folder, err);
    if (code)
        return code;
    fill_info(finish, &info);
    code = model_write(finish->folder, &info, weights_all(train->at.best), weights_all(train->last),
                       finish->digest, err);
    memcpy(finish->weights_sha256, info.weights_sha256, DIGEST_HEX_SIZE);
    model_info_release(&info);
    return code;
}

// ---- the test ----

// Through the artefact itself and an engine for inference: the figures are those of what is served.
static err_code_t test_model(finish_t *finish, const model_t *model, score_t *score, err_t *err) {
    train_t *train = finish->train;
    nn_t *nn;
    const nn_options_t options = {
        .backend = train->body.backend,
        .precision = train->body.precision,
        .threads = (int)(train->body.threads ? train->body.threads
                                             : (uint64_t)child_conf(train->child)->threads),
        .max_batch = INFERENCE_BATCH};
    err_code_t code = model_engine(model, &options, &nn, err);
    if (code == ERR_OK)
        code = inference_score(nn, train->dataset.shards, SHARD_TEST, NULL, 0, score, &train->pace,
                               err);
    if (code == ERR_OK)
        code = score_json(score, &finish->test, err);
    nn_destroy(&nn);
    return code;
}

static err_code_t evaluate(finish_t *finish, err_t *err) {
    train_t *train = finish->train;
    int64_t images = shard_count(train->dataset.shards, SHARD_TEST);
    model_t *model = NULL;
    if (images == 0)
        return ERR_OK;
    nn_destroy(&train->nn); // its memory is of no more use
    score_t *score = score_new(train->spec.classes, images);
    err_code_t code = score ? model_open(finish->folder, finish->digest, &model, err)
                            : err_set(err, ERR_NO_MEMORY, "no memory for the test's scores");
    if (code == ERR_OK)
        code = test_model(finish, model, score, err);
    model_close(&model);
    score_destroy(&score);
    return code;
}

// Into model.json, where it stands for good.
static err_code_t add_test(finish_t *finish, err_t *err) {
    json_t *about = describe_model(finish);
    err_code_t code = model_describe(finish->folder, about, finish->digest, err);
    json_decref(about);
    return code;
}

// ---- the end ----

static err_code_t tell_registry(train_t *train, const json_t *done, child_result_t *result,
                                err_t *err) {
    proto_arena_t *arena = child_arena(train->child);
    proto_new_model_t *model = proto_arena_alloc(arena, sizeof *model);
    proto_defaults(PROTO_new_model, model);
    model->name = proto_arena_text(arena, train->model_name);
    model->promote = proto_arena_text(arena, train->body.promote);
    model->path = proto_arena_text(arena, json_string_value(json_object_get(done, "path")));
    model->digest = proto_arena_text(arena, json_string_value(json_object_get(done, "digest")));
    err_code_t code = proto_map_from_json(json_object_get(done, "info"), arena, &model->info, err);
    if (code)
        return code;
    result->model = model;
    result->result = json_incref(json_object_get(done, "result"));
    return ERR_OK;
}

// From here on no attempt trains again. Not recorded (the disk is full, the job is cancelled):
// the result counts all the same.
static err_code_t record_end(finish_t *finish, err_t *err) {
    train_t *train = finish->train;
    state_t *state = &train->at.state;
    checkpoint_t end = {.params = NULL};
    state->done = json_pack("{s:s, s:s, s:o, s:o}", "path", finish->path, "digest", finish->digest,
                            "result", make_result(finish), "info", make_info(finish));
    writer_wait(train->writer);
    state_copy(state, &end.state);
    writer_put(train->writer, &end);
    if (writer_wait(train->writer))
        writer_keep_last(train->writer);
    return writer_error(train->writer, err);
}

static err_code_t make_model(finish_t *finish, err_t *err) {
    err_code_t code = write_model(finish, err);
    if (code == ERR_OK)
        code = pace_tick(&finish->train->pace, err);
    if (code == ERR_OK)
        code = evaluate(finish, err);
    if (code == ERR_OK)
        code = add_test(finish, err);
    if (code == ERR_OK)
        code = child_publish_folder(finish->train->child, finish->path, MODEL_FILE, err);
    if (code == ERR_OK)
        code = record_end(finish, err);
    return code;
}

err_code_t finish_model(train_t *train, child_result_t *result, err_t *err) {
    const child_job_t *job = train->job;
    finish_t finish = {.train = train};
    finish.path = mem_format("models/%s/%s-%" PRIu64, train->model_name, job->id, job->token);
    finish.folder = fs_join(job->files, finish.path);
    snprintf(train->pace.text, sizeof train->pace.text, "testing");
    train->pace.done = train->pace.total; // stopped early or not
    err_code_t code = make_model(&finish, err);
    if (code == ERR_OK)
        code = tell_registry(train, train->at.state.done, result, err);
    if (code)
        fs_remove_all(finish.folder, NULL);
    json_decref(finish.test);
    free(finish.path);
    free(finish.folder);
    return code;
}

bool finish_is_done(train_t *train, child_result_t *result) {
    const json_t *done = train->at.state.done;
    const char *path = json_string_value(json_object_get(done, "path"));
    const char *digest = json_string_value(json_object_get(done, "digest"));
    if (!path || !digest)
        return false;
    char *folder = fs_join(train->job->files, path);
    model_t *model = NULL;
    err_t err;
    err_code_t code = child_fetch_folder(train->child, path, MODEL_FILE, digest, &err);
    if (code == ERR_OK)
        code = model_open(folder, digest, &model, &err);
    if (code == ERR_OK)
        code = tell_registry(train, done, result, &err);
    if (code)
        child_log(train->child, "warn", "the model of an earlier attempt cannot be used: %s",
                  err.message);
    model_close(&model);
    free(folder);
    return code == ERR_OK;
}
