#include "train_impl.h"

#include "base/fs.h"
#include "trainer/sampler.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- where to begin ----

// Does the state belong to this very job?
static err_code_t check_state(const train_t *train, const state_t *state, err_t *err) {
    if (strcmp(state->job_digest, train->job_digest) != 0)
        return err_set(err, ERR_CORRUPT, "it was made by a job with other parameters");
    if (state->epochs > train->options.epochs)
        return err_set(err, ERR_CORRUPT, "it has more epochs than the job");
    return ERR_OK;
}

// Reads one candidate; a damaged one is told, and is no error.
static err_code_t try_state(train_t *train, const proto_checkpoint_t *from, bool *found,
                            err_t *err) {
    char *path = fs_join(train->job->files, from->path);
    err_t wrong;
    state_t state;
    err_code_t code = child_fetch_file(train->child, from->path, from->digest, &wrong);
    if (code == ERR_OK)
        code = checkpoint_read_state(path, from->digest, &state, &wrong);
    if (code == ERR_OK && (code = check_state(train, &state, &wrong)) != ERR_OK)
        state_release(&state);
    free(path);
    if (code == ERR_OK) {
        train->at.state = state;
        train->used = *from;
        *found = true;
        return ERR_OK;
    }
    child_log(train->child, "warn", "the checkpoint of step %" PRIu64 " cannot be used: %s",
              from->step, wrong.message);
    if (code == ERR_CORRUPT || code == ERR_NOT_FOUND)
        return ERR_OK;
    *err = wrong;
    return code;
}

// What a checkpoint's record says beside the file: the one before it, and what was settled at the
// first attempt, so that even a start from the beginning gives the same result.
static void take_info(train_t *train, json_t *info, proto_checkpoint_t *previous) {
    const char *path = NULL, *digest = NULL, *choices = NULL;
    json_int_t step = 0, dataset = 0, init = 0;
    int replicas = 1;
    json_unpack(info, "{s?s, s?i, s?I, s?I, s?{s:s, s:s, s:I}}", "choices", &choices, "replicas",
                &replicas, "dataset_version", &dataset, "init_version", &init, "previous", "path",
                &path, "digest", &digest, "step", &step);
    state_t *state = &train->at.state;
    if (choices && strlen(choices) < sizeof state->choices)
        memcpy(state->choices, choices, strlen(choices) + 1);
    state->replicas = replicas;
    state->dataset_version = dataset > 0 ? (uint64_t)dataset : 0;
    state->init_version = init > 0 ? (uint64_t)init : 0;
    if (!path || !digest || strlen(digest) != DIGEST_HEX_SIZE - 1)
        return;
    proto_arena_t *arena = child_arena(train->child);
    previous->path = proto_arena_text(arena, path);
    previous->digest = proto_arena_text(arena, digest);
    previous->step = (uint64_t)step;
}

err_code_t resume_find(train_t *train, err_t *err) {
    const proto_checkpoint_t *newest = train->job->checkpoint;
    proto_checkpoint_t previous = {.path = NULL};
    bool found = false;
    state_init(&train->at.state);
    if (newest) {
        err_code_t code = try_state(train, newest, &found, err);
        if (code || found)
            return code;
        json_t *info = proto_map_json(newest->info);
        take_info(train, info, &previous);
        json_decref(info);
        if (previous.path)
            code = try_state(train, &previous, &found, err);
        if (code || found)
            return code;
        child_log(train->child, "warn",
                  "training starts from the beginning; its result will be the same");
    }
    memcpy(train->at.state.job_digest, train->job_digest, DIGEST_HEX_SIZE);
    return ERR_OK;
}

// ---- the engine's first state ----

static const char *describe_layer(const nn_layer_t *layer, char *text, size_t size) {
    static const char *const words[] = {
#define X(kind, word) word,
        NN_KINDS(X)
#undef X
    };
    if (layer->kind == NN_CONV)
        snprintf(text, size, "%s %d kernel %d", words[layer->kind], layer->units, layer->kernel);
    else if (layer->kind == NN_DENSE)
        snprintf(text, size, "%s %d", words[layer->kind], layer->units);
    else
        snprintf(text, size, "%s", words[layer->kind]);
    return text;
}

// All but the head (the last two layers) and the rates of dropout.
static err_code_t check_same_network(const nn_spec_t *have, const nn_spec_t *want, err_t *err) {
    if (have->height != want->height || have->width != want->width ||
        have->channels != want->channels)
        return err_set(err, ERR_INVALID,
                       "it takes %dx%dx%d pixels, the job's data set has %dx%dx%d", have->height,
                       have->width, have->channels, want->height, want->width, want->channels);
    for (int i = 0; i < have->layer_count - 2 && i < want->layer_count - 2; i++) {
        const nn_layer_t *a = &have->layers[i], *b = &want->layers[i];
        char texts[2][64];
        if (a->kind != b->kind || a->units != b->units || a->kernel != b->kernel ||
            a->bias != b->bias)
            return err_set(err, ERR_INVALID, "its layer %d is %s, the job's is %s", i,
                           describe_layer(a, texts[0], sizeof texts[0]),
                           describe_layer(b, texts[1], sizeof texts[1]));
    }
    if (have->layer_count != want->layer_count)
        return err_set(err, ERR_INVALID, "it has %d layers, the job's network %d",
                       have->layer_count, want->layer_count);
    return ERR_OK;
}

static bool same_classes(const model_info_t *model, const shard_info_t *data) {
    bool same = model->class_count == data->class_count;
    for (int i = 0; same && i < model->class_count; i++)
        same = strcmp(model->classes[i], data->classes[i]) == 0;
    return same;
}

// The engine's weights are new ones already: all tensors but the head's are replaced.
static err_code_t take_model(train_t *train, const model_t *model, err_t *err) {
    const model_info_t *info = model_info(model);
    bool head = same_classes(info, shard_info(train->dataset.shards));
    int head_layer = train->spec.layer_count - 2;
    err_code_t code = check_same_network(&info->spec, &train->spec, err);
    if (code)
        return err_remedy(err, "use the size, width, depth and dense units of the model");
    if (!head)
        child_log(train->child, "info",
                  "the model knows other classes: its last layer begins with new weights");
    for (int i = 0; i < train->tensor_count && code == ERR_OK; i++)
        if (head || train->tensors[i].layer != head_layer)
            code = nn_set(train->nn, NN_PARAM, i, model_tensor(model, i), err);
    return code;
}

static err_code_t begin_with_model(train_t *train, err_t *err) {
    lookup_model_t from = {.model = NULL};
    err_code_t code = lookup_model(train->child, train->job, train->body.init,
                                   train->at.state.init_version, &from, err);
    if (code == ERR_OK) {
        train->at.state.init_version = from.version;
        code = take_model(train, from.model, err);
        if (code)
            err_context(err, "init %s@%" PRIu64, from.name, from.version);
    }
    lookup_model_release(&from);
    return code;
}

static err_code_t begin(train_t *train, err_t *err) {
    err_code_t code = nn_init(train->nn, train->options.seed, err);
    if (code == ERR_OK && train->body.init && train->body.init[0])
        code = begin_with_model(train, err);
    train->at.state.begun = code == ERR_OK;
    return code;
}

// Is the state one that this training can be in?
static bool position_fits(const train_t *train, const state_t *state) {
    uint64_t batch = (uint64_t)train->options.batch, at = state->position;
    bool whole = at % batch == 0 || at == train->images;
    return at <= train->images && whole &&
           state->step == (uint64_t)state->epochs * train->steps + (at + batch - 1) / batch;
}

static err_code_t restore(train_t *train, err_t *err) {
    char *path = fs_join(train->job->files, train->used.path);
    checkpoint_t read;
    err_code_t code =
        checkpoint_read(path, train->used.digest, train->tensors, train->tensor_count, &read, err);
    free(path);
    if (code)
        return code;
    if (!position_fits(train, &read.state))
        code = err_set(err, ERR_CORRUPT, "it stands where this training cannot be");
    if (code == ERR_OK)
        code = weights_set(read.params, train->nn, NN_PARAM, err);
    if (code == ERR_OK)
        code = weights_set(read.m, train->nn, NN_ADAM_M, err);
    if (code == ERR_OK)
        code = weights_set(read.v, train->nn, NN_ADAM_V, err);
    if (code == ERR_OK) {
        train->at.best = weights_hold(read.best);
        child_log(train->child, "info", "goes on from step %" PRIu64 " (epoch %d of %d)",
                  read.state.step, read.state.epochs + 1, train->options.epochs);
    }
    checkpoint_release(&read);
    return code;
}

// Forgets where it was, not what was settled.
static void forget_progress(train_t *train) {
    state_t old = train->at.state, *state = &train->at.state;
    state_init(state);
    memcpy(state->job_digest, old.job_digest, sizeof old.job_digest);
    memcpy(state->choices, old.choices, sizeof old.choices);
    state->replicas = old.replicas;
    state->dataset_version = old.dataset_version;
    state->init_version = old.init_version;
    state->exact = old.exact;
    state_release(&old);
    train->used.path = NULL;
}

err_code_t resume_engine(train_t *train, err_t *err) {
    if (!train->at.state.begun || train->at.state.done) {
        if (train->at.state.done) // its model has gone
            forget_progress(train);
        return begin(train, err);
    }
    err_t wrong;
    err_code_t code = restore(train, &wrong);
    if (code != ERR_CORRUPT && code != ERR_INVALID && code != ERR_NOT_FOUND) {
        if (code)
            *err = wrong;
        return code;
    }
    child_log(train->child, "warn",
              "the checkpoint of step %" PRIu64 " cannot be used: %s; training starts from the "
              "beginning; its result will be the same",
              train->used.step, wrong.message);
    forget_progress(train);
    return begin(train, err);
}

// ---- what earlier attempts left ----

// The token in "<token>" or, with a job, "<job>-<token>"; 0: something else.
static uint64_t token_of(const char *name, const char *job) {
    size_t length = job ? strlen(job) : 0;
    if (job && (strncmp(name, job, length) != 0 || name[length] != '-'))
        return 0;
    const char *digits = job ? name + length + 1 : name;
    char *end;
    if (!isdigit((unsigned char)*digits))
        return 0;
    uint64_t token = strtoull(digits, &end, 10);
    return *end == 0 ? token : 0;
}

// kept: a path below the folder that must stay, or NULL.
static void clean_folder(const train_t *train, const char *folder, const char *job,
                         const char *kept) {
    DIR *list = opendir(folder);
    if (!list)
        return;
    for (const struct dirent *entry; (entry = readdir(list)) != NULL;) {
        uint64_t token = token_of(entry->d_name, job);
        if (token == 0 || token >= train->job->token)
            continue;
        char *path = fs_join(folder, entry->d_name);
        size_t length = strlen(path);
        bool needed =
            kept && strncmp(kept, path, length) == 0 && (kept[length] == '/' || kept[length] == 0);
        err_t err;
        if (!needed && fs_remove_all(path, &err) != ERR_OK)
            child_log(train->child, "warn", "%s stays: %s", entry->d_name, err.message);
        free(path);
    }
    closedir(list);
}

// In the folder of the checkpoint that is used: what was being written when its attempt died, and
// at the end, when that one says it all, the other checkpoints.
static void clean_used(const train_t *train, const char *used) {
    const char *slash = strrchr(used, '/');
    char *folder = strndup(used, (size_t)(slash - used));
    DIR *list = opendir(folder);
    for (const struct dirent *entry; list && (entry = readdir(list)) != NULL;) {
        bool torn = strstr(entry->d_name, ".ckpt.tmp-");
        if (torn || (train->at.state.done && strstr(entry->d_name, ".ckpt") &&
                     strcmp(entry->d_name, slash + 1) != 0))
            unlinkat(dirfd(list), entry->d_name, 0);
    }
    if (list)
        closedir(list);
    free(folder);
}

void resume_clean(const train_t *train) {
    const child_job_t *job = train->job;
    const char *done = json_string_value(json_object_get(train->at.state.done, "path"));
    char *used = train->used.path ? fs_join(job->files, train->used.path) : NULL;
    char *model = done ? fs_join(job->files, done) : NULL;
    char *attempts = mem_format("%s/jobs/%s", job->files, job->id);
    char *models = mem_format("%s/models/%s", job->files, train->model_name);
    clean_folder(train, attempts, NULL, used);
    if (used)
        clean_used(train, used);
    clean_folder(train, models, job->id, model);
    free(used);
    free(model);
    free(attempts);
    free(models);
}
