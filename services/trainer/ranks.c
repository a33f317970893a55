#include "train_impl.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MS 10000 // the dispatcher notices a lost rank within 5 s
#define POLL_MS 50

// ---- meeting ----

static err_code_t meet(void *arg, const char *round, const void *data, size_t size,
                       coll_blob_t *all, err_t *err) {
    train_t *train = arg;
    proto_bytes_t parts[PROTO_REPLICAS_MAX];
    err_code_t code = child_meet(train->child, round, data, size, parts, err);
    for (int i = 0; i < train->job->world && code == ERR_OK; i++)
        all[i] = (coll_blob_t){parts[i].data, parts[i].size};
    return code;
}

void ranks_open(train_t *train) {
    const mirror_options_t options = {.rank = train->job->rank,
                                      .world = train->job->world,
                                      .meet = meet,
                                      .meet_arg = train,
                                      .address = train->job->address,
                                      .sync_bn = train->body.sync_bn};
    train->mirror = mirror_new(&options);
}

err_code_t ranks_follow(train_t *train, bool *done, err_t *err) {
    state_t *state = &train->at.state;
    json_t *plan = NULL;
    if (train_leads(train))
        plan = json_pack("{s:b, s:I, s:I, s:s, s:i}", "done", *done, "dataset_version",
                         (json_int_t)state->dataset_version, "init_version",
                         (json_int_t)state->init_version, "choices", state->choices, "replicas",
                         state->replicas);
    err_code_t code = mirror_follow(train->mirror, "plan", &plan, err);
    if (code == ERR_OK && !train_leads(train)) {
        const char *choices;
        json_int_t dataset, init;
        int over;
        if (json_unpack(plan, "{s:b, s:I, s:I, s:s, s:i}", "done", &over, "dataset_version",
                        &dataset, "init_version", &init, "choices", &choices, "replicas",
                        &state->replicas) ||
            strlen(choices) >= sizeof state->choices)
            code = err_set(err, ERR_PROTOCOL, "rank 0 gave no plan");
        else {
            *done = over;
            state->dataset_version = (uint64_t)dataset;
            state->init_version = (uint64_t)init;
            memcpy(state->choices, choices, strlen(choices) + 1);
        }
    }
    json_decref(plan);
    return code;
}

// ---- the engine ----

static int stored_threads(const state_t *state) {
    const char *at = strstr(state->choices, "threads=");
    return at ? atoi(at + strlen("threads=")) : 0;
}

// What was settled at the first attempt holds for as many ranks; for others, and before, the job
// decides, then the worker, then the cores.
static mirror_host_t describe_host(const train_t *train) {
    const state_t *state = &train->at.state;
    bool same = state->choices[0] && state->replicas == train->job->world;
    mirror_host_t host = {.isa = nn_isa(), .cores = nn_cores()};
    if (train->body.threads)
        host.threads = (int)train->body.threads;
    else if (same)
        host.before = stored_threads(state);
    else
        host.threads = (int)child_conf(train->child)->threads;
    if (!host.threads && !same && state->choices[0] && train->job->world == 1)
        host.threads = host.cores;
    return host;
}

err_code_t ranks_agree(train_t *train, nn_options_t *options, char choices[NN_CHOICES_SIZE],
                       err_t *err) {
    const mirror_host_t host = describe_host(train);
    mirror_terms_t terms;
    err_code_t code = mirror_agree(train->mirror, &host, &terms, err);
    const char *stored = train->at.state.choices;
    if (code)
        return code;
    int size = terms.isa[0] ? snprintf(choices, NN_CHOICES_SIZE, "isa=%s %s", terms.isa, stored)
                            : snprintf(choices, NN_CHOICES_SIZE, "%s", stored);
    if (size >= NN_CHOICES_SIZE)
        return err_set(err, ERR_TOO_LARGE, "the engine's choices are too long: %s", stored);
    options->threads = terms.threads;
    options->choices = choices[0] ? choices : NULL;
    return ERR_OK;
}

// ---- the state ----

// Bytes of rank 0 for all; others get them malloc'ed, ended by a NUL.
static err_code_t give_text(train_t *train, char **text, err_t *err) {
    uint64_t size = *text ? strlen(*text) : 0;
    err_code_t code = mirror_give(train->mirror, &size, sizeof size, err);
    if (code == ERR_OK && !*text) {
        *text = calloc(1, size + 1);
        code = *text ? ERR_OK : err_set(err, ERR_NO_MEMORY, "no memory for rank 0's state");
    }
    return code ? code : mirror_give(train->mirror, *text, size, err);
}

static err_code_t give_state(train_t *train, err_t *err) {
    json_t *json = train_leads(train) ? state_json(&train->at.state) : NULL;
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    err_code_t code = give_text(train, &text, err);
    json_decref(json);
    if (code == ERR_OK && !train_leads(train)) {
        state_release(&train->at.state);
        json = json_loads(text, 0, NULL);
        code = state_parse(json, &train->at.state, err);
        json_decref(json);
    }
    free(text);
    return code;
}

static err_code_t give_tensor(train_t *train, nn_part_t part, int index, float *room, err_t *err) {
    size_t size = (size_t)train->tensors[index].count * sizeof *room;
    err_code_t code = train_leads(train) ? nn_get(train->nn, part, index, room, err) : ERR_OK;
    if (code == ERR_OK)
        code = mirror_give(train->mirror, room, size, err);
    return code || train_leads(train) ? code : nn_set(train->nn, part, index, room, err);
}

static err_code_t give_tensors(train_t *train, err_t *err) {
    static const nn_part_t parts[] = {NN_PARAM, NN_ADAM_M, NN_ADAM_V};
    int64_t largest = 1;
    for (int i = 0; i < train->tensor_count; i++)
        if (train->tensors[i].count > largest)
            largest = train->tensors[i].count;
    float *room = malloc((size_t)largest * sizeof *room);
    err_code_t code = room ? ERR_OK : err_set(err, ERR_NO_MEMORY, "no memory for rank 0's weights");
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++)
        for (int i = 0; i < train->tensor_count && code == ERR_OK; i++)
            if (parts[p] == NN_PARAM || train->tensors[i].trained)
                code = give_tensor(train, parts[p], i, room, err);
    free(room);
    return code;
}

err_code_t ranks_join(train_t *train, err_t *err) {
    err_code_t code = mirror_join(train->mirror, err);
    if (code || train->job->world == 1)
        return code;
    code = give_state(train, err);
    if (code == ERR_OK)
        code = give_tensors(train, err);
    return code;
}

// ---- together ----

enum { GO_ON, GIVE_BACK, STOP }; // wishes; the strongest counts

static int wish_of(child_stop_t stop) {
    return stop == CHILD_CANCEL ? STOP : stop == CHILD_RELEASE ? GIVE_BACK : GO_ON;
}

// Waits until this rank is told to stop, too.
static void await_stop(train_t *train) {
    int64_t end = clock_mono_ms() + WORD_MS;
    while (child_stop(train->child) == CHILD_GO && clock_mono_ms() < end)
        clock_sleep_ms(POLL_MS);
}

err_code_t ranks_tick(train_t *train, err_t *err) {
    pace_t *pace = &train->pace;
    child_progress(train->child, ++pace->counter, pace->done, pace->total, pace->text);
    int wish = wish_of(child_stop(train->child));
    err_code_t code = mirror_tick(train->mirror, &wish, err);
    if (code || wish == GO_ON)
        return code;
    await_stop(train);
    return err_set(err, ERR_CANCELLED, "stopped on request");
}

err_code_t ranks_fail(train_t *train, err_code_t code, err_t *err) {
    if (!train->mirror || train->job->world == 1)
        return code;
    if (!mirror_has_lost(train->mirror)) {
        mirror_abandon(train->mirror);
        return code;
    }
    child_log(train->child, "warn", "%s", err->message);
    await_stop(train);
    if (child_stop(train->child) == CHILD_GO)
        return code;
    return err_set(err, ERR_CANCELLED, "stopped on request");
}

// ---- validation ----

typedef struct {
    train_t *train;
    int64_t images;
    int classes;
    size_t part; // bytes of a rank's probabilities
    uint8_t *pixels;
    float *own, *all;
} validation_t;

static int part_count(const validation_t *v, int64_t from) {
    int64_t left = v->images - from;
    return left < 0 ? 0 : left < INFERENCE_BATCH ? (int)left : INFERENCE_BATCH;
}

// The images from `from` on, a batch for each rank.
static err_code_t validate_round(validation_t *v, int64_t from, score_t *score, err_t *err) {
    train_t *train = v->train;
    const shard_dataset_t *shards = train->dataset.shards;
    size_t bytes = shard_image_bytes(shards);
    int64_t mine = from + (int64_t)train->job->rank * INFERENCE_BATCH;
    int count = part_count(v, mine);
    for (int i = 0; i < count; i++)
        memcpy(v->pixels + (size_t)i * bytes, shard_pixels(shards, SHARD_VAL, mine + i), bytes);
    err_code_t code = count > 0 ? nn_predict(train->nn, v->pixels, count, v->own, err) : ERR_OK;
    if (code == ERR_OK)
        code = mirror_gather(train->mirror, v->own, v->part, v->all, err);
    for (int r = 0; r < train->job->world && code == ERR_OK; r++) {
        int64_t first = from + (int64_t)r * INFERENCE_BATCH;
        const float *part = v->all + (ptrdiff_t)r * INFERENCE_BATCH * v->classes;
        for (int i = 0; i < part_count(v, first); i++)
            score_add(score, part + (ptrdiff_t)i * v->classes,
                      shard_label(shards, SHARD_VAL, first + i));
    }
    return code;
}

err_code_t ranks_validate(train_t *train, score_t *score, err_t *err) {
    const int classes = train->spec.classes;
    size_t numbers = (size_t)INFERENCE_BATCH * (size_t)classes;
    validation_t v = {.train = train,
                      .images = shard_count(train->dataset.shards, SHARD_VAL),
                      .classes = classes,
                      .part = numbers * sizeof(float),
                      .pixels = malloc(INFERENCE_BATCH * shard_image_bytes(train->dataset.shards)),
                      .own = mem_zero(numbers, sizeof(float)),
                      .all = mem_zero((size_t)train->job->world * numbers, sizeof(float))};
    err_code_t code =
        v.pixels ? ERR_OK : err_set(err, ERR_NO_MEMORY, "no memory for %d images", INFERENCE_BATCH);
    int64_t round = (int64_t)train->job->world * INFERENCE_BATCH;
    for (int64_t from = 0; from < v.images && code == ERR_OK; from += round) {
        code = validate_round(&v, from, score, err);
        if (code == ERR_OK)
            code = ranks_tick(train, err);
    }
    free(v.pixels);
    free(v.own);
    free(v.all);
    return code;
}

// ---- the end ----

// Of all parameters and moving statistics in their order.
static err_code_t digest_weights(train_t *train, char hex[DIGEST_HEX_SIZE], err_t *err) {
    weights_t *weights = weights_new(train->tensors, train->tensor_count, false);
    if (!weights)
        return err_set(err, ERR_NO_MEMORY, "no memory for the weights");
    err_code_t code = weights_get(weights, train->nn, NN_PARAM, err);
    digest_t *digest = digest_new();
    for (int i = 0; i < train->tensor_count && code == ERR_OK; i++)
        digest_add(digest, weights_at(weights, i), (size_t)train->tensors[i].count * sizeof(float));
    digest_end(&digest, hex);
    weights_release(&weights);
    return code;
}

err_code_t ranks_compare(train_t *train, err_t *err) {
    char digest[DIGEST_HEX_SIZE];
    if (train->job->world == 1)
        return ERR_OK;
    err_code_t code = digest_weights(train, digest, err);
    return code ? code : mirror_compare(train->mirror, digest, &train->report, err);
}
