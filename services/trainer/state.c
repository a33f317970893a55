#include "trainer/state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPOCHS_MAX 100000

void state_init(state_t *state) {
    *state = (state_t){.exact = true, .best = -1};
}

void state_release(state_t *state) {
    free(state->history);
    json_decref(state->done);
    state_init(state);
}

void state_copy(const state_t *state, state_t *copy) {
    *copy = *state;
    copy->history = NULL;
    if (state->epochs > 0) {
        size_t size = (size_t)state->epochs * sizeof *copy->history;
        copy->history = mem_alloc(size);
        memcpy(copy->history, state->history, size);
    }
    copy->done = json_deep_copy(state->done);
}

static void append(state_t *state, const state_epoch_t *epoch) {
    state->history = mem_grow(state->history, ((size_t)state->epochs + 1) * sizeof *state->history);
    state->history[state->epochs] = *epoch;
    // of equal losses the later: it has seen more
    if (state->best < 0 || epoch->val_loss <= state->history[state->best].val_loss)
        state->best = state->epochs;
    state->epochs++;
}

bool state_end_epoch(state_t *state, uint64_t images, double val_loss, double val_accuracy) {
    state_epoch_t epoch = {.loss = state->loss_sum / (double)images,
                           .accuracy = (double)state->correct / (double)images,
                           .val_loss = val_loss,
                           .val_accuracy = val_accuracy,
                           .lr = state->lr,
                           .seconds = state->seconds};
    append(state, &epoch);
    state->position = 0;
    state->loss_sum = 0;
    state->correct = 0;
    state->seconds = 0;
    return state->best == state->epochs - 1;
}

bool state_is_stuck(const state_t *state, int patience) {
    return patience > 0 && state->epochs > 0 && state->epochs - 1 - state->best >= patience;
}

// ---- as JSON ----

// One epoch as a list: short, and the keys are in one place.
static json_t *pack_epoch(const state_epoch_t *epoch) {
    return json_pack("[f, f, f, f, f, f]", epoch->loss, epoch->accuracy, epoch->val_loss,
                     epoch->val_accuracy, epoch->lr, epoch->seconds);
}

json_t *state_json(const state_t *state) {
    json_t *history = json_array();
    for (int i = 0; i < state->epochs; i++)
        json_array_append_new(history, pack_epoch(&state->history[i]));
    return json_pack(
        "{s:s, s:I, s:I, s:s, s:i, s:b, s:b, s:I, s:I, s:f, s:I, s:f, s:f, s:I, s:f, s:o, s:O*}",
        "job_digest", state->job_digest, "dataset_version", (json_int_t)state->dataset_version,
        "init_version", (json_int_t)state->init_version, "choices", state->choices, "replicas",
        state->replicas, "exact", state->exact, "begun", state->begun, "step",
        (json_int_t)state->step, "position", (json_int_t)state->position, "loss_sum",
        state->loss_sum, "correct", (json_int_t)state->correct, "lr", state->lr, "seconds",
        state->seconds, "timed_images", (json_int_t)state->timed_images, "timed_seconds",
        state->timed_seconds, "history", history, "done", state->done);
}

static bool take_history(const json_t *list, state_t *state) {
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > EPOCHS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        state_epoch_t epoch;
        if (json_unpack(json_array_get(list, i), "[F, F, F, F, F, F!]", &epoch.loss,
                        &epoch.accuracy, &epoch.val_loss, &epoch.val_accuracy, &epoch.lr,
                        &epoch.seconds))
            return false;
        append(state, &epoch);
    }
    return true;
}

static bool take_text(const char *text, char *to, size_t size) {
    size_t length = strlen(text);
    if (length >= size)
        return false;
    memcpy(to, text, length + 1);
    return true;
}

static bool take_all(json_t *json, state_t *state) {
    const char *job, *choices;
    int exact, begun, replicas;
    json_int_t dataset, init, step, position, correct, images;
    json_t *history, *done = NULL;
    if (json_unpack(json,
                    "{s:s, s:I, s:I, s:s, s:i, s:b, s:b, s:I, s:I, s:F, s:I, s:F, s:F, s:I, s:F, "
                    "s:o, s?o}",
                    "job_digest", &job, "dataset_version", &dataset, "init_version", &init,
                    "choices", &choices, "replicas", &replicas, "exact", &exact, "begun", &begun,
                    "step", &step, "position", &position, "loss_sum", &state->loss_sum, "correct",
                    &correct, "lr", &state->lr, "seconds", &state->seconds, "timed_images", &images,
                    "timed_seconds", &state->timed_seconds, "history", &history, "done", &done))
        return false;
    if (dataset < 0 || init < 0 || step < 0 || position < 0 || correct < 0 || images < 0 ||
        replicas < 0 || (done && !json_is_object(done)))
        return false;
    state->dataset_version = (uint64_t)dataset;
    state->init_version = (uint64_t)init;
    state->replicas = replicas;
    state->exact = exact;
    state->begun = begun;
    state->step = (uint64_t)step;
    state->position = (uint64_t)position;
    state->correct = (uint64_t)correct;
    state->timed_images = (uint64_t)images;
    state->done = json_incref(done);
    return take_text(job, state->job_digest, sizeof state->job_digest) &&
           take_text(choices, state->choices, sizeof state->choices) &&
           take_history(history, state);
}

err_code_t state_parse(const json_t *json, state_t *state, err_t *err) {
    state_init(state);
    if (take_all((json_t *)(uintptr_t)json, state)) // json_unpack only reads
        return ERR_OK;
    state_release(state);
    return err_set(err, ERR_CORRUPT, "this is no state of a training");
}

// ---- history ----

static json_t *describe(const state_t *state, int i, bool full) {
    const state_epoch_t *epoch = &state->history[i];
    json_t *json = json_pack("{s:i, s:f, s:f, s:f, s:f}", "epoch", i + 1, "loss", epoch->loss,
                             "accuracy", epoch->accuracy, "val_loss", epoch->val_loss,
                             "val_accuracy", epoch->val_accuracy);
    if (full) {
        json_object_set_new(json, "lr", json_real(epoch->lr));
        json_object_set_new(json, "seconds", json_real(epoch->seconds));
    }
    return json;
}

json_t *state_history(const state_t *state, int most, bool full) {
    json_t *list = json_array();
    int stride = state->epochs > most ? (state->epochs + most - 1) / most : 1;
    for (int i = 0; i < state->epochs; i++)
        if (i % stride == 0 || i == state->best || i == state->epochs - 1)
            json_array_append_new(list, describe(state, i, full));
    return list;
}
