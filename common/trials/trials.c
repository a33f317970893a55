#include "trials/trials.h"

#include "proto/json.h"
#include "training/options.h"

#include <stdio.h>
#include <string.h>

bool trials_train(const json_t *about) {
    return json_is_object(json_object_get(about, "train")) &&
           json_is_string(json_object_get(about, "dataset"));
}

json_t *trials_training(const json_t *about, const json_t *params) {
    const char *name = json_string_value(json_object_get(about, "model"));
    char model[PROTO_NAME_MAX + sizeof TRIALS_MODEL];
    json_t *train = json_deep_copy(json_object_get(about, "train"));
    snprintf(model, sizeof model, "%s" TRIALS_MODEL, name ? name : "");
    json_object_update(train, (json_t *)(uintptr_t)params);
    json_object_set(train, "dataset", json_object_get(about, "dataset"));
    json_object_set(train, "dataset_version", json_object_get(about, "dataset_version"));
    json_object_set_new(train, "model", json_string(model));
    json_object_set_new(train, "promote", json_string("never"));
    return train;
}

static err_code_t read_training(const json_t *body, proto_arena_t *arena, proto_train_t *train,
                                err_t *err) {
    return proto_from_json(PROTO_train, body, arena, train, err);
}

err_code_t trials_check_training(const json_t *body, err_t *err) {
    proto_arena_t *arena = proto_arena_new();
    proto_train_t train;
    options_t options;
    err_code_t code = read_training(body, arena, &train, err);
    if (code == ERR_OK)
        code = options_read(&train, &options, err);
    proto_arena_destroy(&arena);
    return code;
}

json_t *trials_had(const json_t *about, const char *name) {
    proto_arena_t *arena = proto_arena_new();
    proto_train_t train;
    json_t *nothing = json_object(), *body = trials_training(about, nothing), *all = NULL;
    if (read_training(body, arena, &train, NULL) == ERR_OK)
        all = proto_to_json(PROTO_train, &train);
    json_t *had = json_incref(json_object_get(all, name));
    proto_arena_destroy(&arena);
    json_decref(all);
    json_decref(body);
    json_decref(nothing);
    return had;
}

static err_code_t check_owned(const char *name, err_t *err) {
    static const char *const owned[] = {"dataset", "dataset_version", "model", "promote"};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        if (strcmp(owned[i], name) == 0) {
            err_set(err, ERR_INVALID, "tune: a training's %s is none of its parameters", name);
            return err_remedy(err, "leave it out: the search says what it is");
        }
    return ERR_OK;
}

err_code_t trials_check_train(const json_t *train, err_t *err) {
    const char *name;
    json_t *value;
    err_code_t code = ERR_OK;
    json_object_foreach((json_t *)(uintptr_t)train, name, value) {
        if (code == ERR_OK)
            code = check_owned(name, err);
    }
    return code;
}

// Words that it depends on are chosen, so that it applies.
static void make_apply(const tune_space_t *space, int i, double *point) {
    for (; space->parameters[i].conditional; i = space->parameters[i].parent) {
        int choice = 0;
        while (!(space->parameters[i].parent_choices >> choice & 1))
            choice++;
        point[space->parameters[i].parent] = choice;
    }
}

static err_code_t check_params(const json_t *about, const json_t *params, err_t *err) {
    json_t *body = trials_training(about, params);
    err_code_t code = trials_check_training(body, err);
    json_decref(body);
    if (code && err && !err->remedy[0])
        err_remedy(err, "`inkling help train` lists what a training takes");
    return code;
}

// What every training has: were it looked at with a parameter, that one would be blamed for it.
static err_code_t check_fixed(const json_t *about, err_t *err) {
    json_t *nothing = json_object();
    err_code_t code = check_params(about, nothing, err);
    if (code)
        err_context(err, "tune");
    json_decref(nothing);
    return code;
}

// Alone, so that no other parameter's fault is taken for its own.
static err_code_t check_value(const json_t *about, const tune_space_t *space, int i, double value,
                              err_t *err) {
    const char *name = space->parameters[i].name;
    double point[TUNE_PARAMETERS_MAX];
    tune_space_defaults(space, point);
    make_apply(space, i, point);
    point[i] = value;
    json_t *all = study_params(space, point), *params = json_object();
    json_object_set(params, name, json_object_get(all, name));
    err_code_t code = check_params(about, params, err);
    if (code)
        err_context(err, "tune: parameter %s", name);
    json_decref(params);
    json_decref(all);
    return code;
}

err_code_t trials_check_space(const json_t *about, const tune_space_t *space, err_t *err) {
    err_code_t code = check_fixed(about, err);
    for (int i = 0; i < space->count && code == ERR_OK; i++) {
        const tune_parameter_t *p = &space->parameters[i];
        bool words = p->type == TUNE_CATEGORY;
        code = check_owned(p->name, err);
        int count = words ? p->choice_count : 2;
        for (int k = 0; k < count && code == ERR_OK; k++)
            code = check_value(about, space, i, words ? k : k ? p->hi : p->lo, err);
    }
    if (code != ERR_PROTOCOL)
        return code;
    if (err)
        err->code = ERR_INVALID;
    return ERR_INVALID;
}
