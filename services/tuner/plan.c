#include "tuner/plan.h"

#include "trials/trials.h"

#include <string.h>

#define ENTRIES_MAX   900000 // of a study's log, with a reserve
#define ENTRIES_TRIAL 8      // of a trial beside those of its epochs
#define EPOCHS_PRUNED 3      // of shorter trainings nothing is left that stopping one would save

void plan_release(plan_t *plan) {
    json_decref(plan->train);
    json_decref(plan->about);
}

static json_t *space_texts(const proto_tune_t *body) {
    json_t *space = json_array();
    for (size_t i = 0; i < body->param.count; i++)
        json_array_append_new(space, json_string(body->param.items[i]));
    if (body->param.count == 0)
        json_array_extend(space,
                          json_pack("[s, s]", "lr=log:1e-5..1e-2=0.001", "dropout=0..0.5=0.2"));
    return space;
}

// The rule that a search has by default is left out where it is of no use; one that somebody chose
// is not.
static err_code_t choose_prune(child_t *child, plan_t *plan, err_t *err) {
    proto_tune_t *body = &plan->body;
    if (plan->epochs >= EPOCHS_PRUNED)
        return ERR_OK;
    if (strcmp(body->prune, "asha") == 0) {
        child_log(child, "info", "trainings of fewer than %d epochs are not stopped early: no asha",
                  EPOCHS_PRUNED);
        body->prune = "none";
    } else if (strcmp(body->prune, "median") == 0) {
        err_set(err, ERR_INVALID, "tune: prune is median, but trainings have %llu epochs",
                (unsigned long long)plan->epochs);
        return err_remedy(err, "give them %d epochs or more, or use prune none", EPOCHS_PRUNED);
    }
    return ERR_OK;
}

static json_t *make_about(const plan_t *plan) {
    const proto_tune_t *body = &plan->body;
    json_t *about = json_pack(
        "{s:i, s:o, s:s, s:I, s:s, s:s, s:I, s:I, s:f}", "schema", STUDY_SCHEMA, "space",
        space_texts(body), "direction", plan->accuracy ? "maximise" : "minimise", "seed",
        (json_int_t)body->seed, "strategy", body->strategy, "prune", body->prune, "last",
        (json_int_t)plan->epochs, "trials", (json_int_t)body->trials, "tolerance", body->tolerance);
    json_object_set_new(about, "dataset", json_string(body->dataset));
    json_object_set_new(about, "dataset_version", json_integer((json_int_t)body->dataset_version));
    json_object_set_new(about, "model", json_string(body->model));
    json_object_set_new(about, "objective", json_string(body->objective));
    json_object_set(about, "train", plan->train);
    if (body->warm_start[0])
        json_object_set_new(about, "warm_start", json_string(body->warm_start));
    return about;
}

static err_code_t check_space(const plan_t *plan, err_t *err) {
    study_t *study = NULL;
    err_code_t code = study_new(plan->about, &study, err);
    if (code == ERR_OK)
        code = trials_check_space(plan->about, study_space(study), err);
    study_free(&study);
    return code;
}

static uint64_t epochs_of(const json_t *train) {
    const json_t *epochs = json_object_get(train, "epochs");
    proto_train_t defaults;
    proto_defaults(PROTO_train, &defaults);
    return json_is_integer(epochs) ? (uint64_t)json_integer_value(epochs) : defaults.epochs;
}

err_code_t plan_read(child_t *child, const child_job_t *job, plan_t *plan, err_t *err) {
    *plan = (plan_t){.train = NULL};
    proto_tune_t *body = &plan->body;
    err_code_t code =
        proto_decode(PROTO_tune, job->body.data, job->body.size, child_arena(child), body, err);
    if (code)
        return code;
    if (!body->model[0])
        body->model = body->dataset;
    plan->train = proto_map_json(body->train);
    if (!plan->train)
        plan->train = json_object();
    plan->accuracy = strcmp(body->objective, "val_accuracy") == 0;
    plan->epochs = epochs_of(plan->train);
    code = trials_check_train(plan->train, err);
    if (code == ERR_OK)
        code = choose_prune(child, plan, err);
    if (code)
        return code;
    if (body->trials * (plan->epochs + ENTRIES_TRIAL) > ENTRIES_MAX) {
        err_set(err, ERR_INVALID,
                "tune: %llu trials of %llu epochs are more than a study's log holds",
                (unsigned long long)body->trials, (unsigned long long)plan->epochs);
        return err_remedy(err, "trials x epochs may be %d", ENTRIES_MAX / 2);
    }
    plan->about = make_about(plan);
    return check_space(plan, err);
}
