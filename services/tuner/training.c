#include "tuner/training.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define EVENTS_MAX 200

err_code_t training_submit(child_t *child, const char *study, uint64_t trial, const json_t *body,
                           training_t *training, err_t *err) {
    char key[128];
    proto_arena_t *arena = proto_arena_new();
    proto_job_submit_t submit;
    proto_job_submitted_t submitted;
    proto_defaults(PROTO_job_submit, &submit);
    snprintf(key, sizeof key, "%s:%llu", study, (unsigned long long)trial);
    submit.kind = "train";
    submit.key = key;
    err_code_t code = proto_map_from_json(body, arena, &submit.body, err);
    if (code == ERR_OK)
        code = child_ask(child, PROTO_job_submit, &submit, PROTO_job_submitted, &submitted, err);
    if (code == ERR_OK) {
        *training = (training_t){.trial = trial, .best_loss = INFINITY, .value = NAN};
        snprintf(training->job, sizeof training->job, "%s", submitted.job);
    }
    proto_arena_destroy(&arena);
    return code;
}

static double number(const json_t *data, const char *key) {
    const json_t *value = json_object_get(data, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

// Epochs of an attempt that was repeated come again, with the same values.
static void take_metric(const plan_t *plan, training_t *training, const json_t *data) {
    double epoch = number(data, "epoch"), loss = number(data, "val_loss");
    if (!(epoch > (double)training->epoch)) // of old events some may be gone
        return;
    training->epoch = (uint64_t)epoch;
    training->fresh = true;
    if (loss < training->best_loss) {
        training->best_loss = loss;
        training->value = plan->accuracy ? number(data, "val_accuracy") : loss;
    }
}

static bool is_end(const char *state, training_end_t *end) {
    if (strcmp(state, "succeeded") == 0)
        *end = TRAINING_SUCCEEDED;
    else if (strcmp(state, "failed") == 0 || strcmp(state, "dead") == 0)
        *end = TRAINING_FAILED;
    else if (strcmp(state, "cancelled") == 0)
        *end = TRAINING_CANCELLED;
    else
        return false;
    return true;
}

// What counts in the end is what the training itself says of its best epoch.
static void take_result(const plan_t *plan, training_t *training, const proto_job_info_t *job) {
    json_t *result = proto_map_json(job->result), *epoch;
    double best = number(result, "best_epoch");
    size_t i;
    json_array_foreach(json_object_get(result, "history"), i, epoch) {
        if (number(epoch, "epoch") == best)
            training->value = number(epoch, plan->accuracy ? "val_accuracy" : "val_loss");
    }
    json_decref(result);
}

static err_code_t take_end(child_t *child, const plan_t *plan, training_t *training,
                           training_end_t end, err_t *err) {
    const proto_job_show_t show = {.job = training->job};
    proto_job_t answer;
    err_code_t code = child_ask(child, PROTO_job_show, &show, PROTO_job, &answer, err);
    if (code)
        return code;
    training->version = answer.job->version;
    snprintf(training->reason, sizeof training->reason, "%s",
             answer.job->error ? answer.job->error->message : answer.job->reason);
    training->end = end;
    if (end == TRAINING_SUCCEEDED)
        take_result(plan, training, answer.job);
    return ERR_OK;
}

err_code_t training_look(child_t *child, const plan_t *plan, training_t *training, err_t *err) {
    const proto_job_events_t question = {
        .job = training->job, .after = training->seen, .limit = EVENTS_MAX};
    proto_events_t events;
    training_end_t end = TRAINING_RUNS;
    training->fresh = false;
    err_code_t code = child_ask(child, PROTO_job_events, &question, PROTO_events, &events, err);
    if (code)
        return code;
    for (size_t i = 0; i < events.events.count && !training->fresh; i++) {
        const proto_event_t *event = &events.events.items[i];
        training->seen = event->n;
        if (strcmp(event->type, "metric") != 0)
            continue;
        json_t *data = proto_map_json(event->data);
        take_metric(plan, training, data);
        json_decref(data);
    }
    if (!training->fresh && training->seen >= events.last && is_end(events.state, &end))
        code = take_end(child, plan, training, end, err);
    return code;
}

err_code_t training_cancel(child_t *child, const training_t *training, const char *reason,
                           err_t *err) {
    const proto_job_cancel_t cancel = {.job = training->job, .reason = reason};
    proto_job_t answer;
    err_code_t code = child_ask(child, PROTO_job_cancel, &cancel, PROTO_job, &answer, err);
    return code == ERR_CONFLICT ? ERR_OK : code; // it has just ended by itself
}
