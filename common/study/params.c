// Points as JSON. Whoever only asks what a space has, as the command line does, gets this file and
// no model with it.
#include "study_impl.h"

#include <math.h>
#include <string.h>

static json_t *value_json(const tune_parameter_t *parameter, double value) {
    if (parameter->type == TUNE_CATEGORY)
        return json_string(parameter->choices[(int)value]);
    bool whole = parameter->type == TUNE_INTEGER ||
                 (parameter->type == TUNE_CONSTANT && value == floor(value) && fabs(value) < 1e15);
    return whole ? json_integer((json_int_t)value) : json_real(value);
}

json_t *study_params(const tune_space_t *space, const double *point) {
    json_t *params = json_object();
    for (int i = 0; i < space->count; i++)
        if (tune_space_active(space, point, i))
            json_object_set_new(params, space->parameters[i].name,
                                value_json(&space->parameters[i], point[i]));
    return params;
}

static err_code_t read_value(const tune_parameter_t *parameter, const json_t *json, double *value,
                             err_t *err) {
    if (parameter->type != TUNE_CATEGORY) {
        if (!json_is_number(json))
            return err_set(err, ERR_INVALID, "parameter %s is no number", parameter->name);
        *value = json_number_value(json);
        return ERR_OK;
    }
    const char *word = json_string_value(json);
    for (int i = 0; word && i < parameter->choice_count; i++)
        if (strcmp(parameter->choices[i], word) == 0) {
            *value = i;
            return ERR_OK;
        }
    return err_set(err, ERR_INVALID, "parameter %s is none of its words", parameter->name);
}

// Whether one applies depends on its parent, which may stand behind it: all are read first.
err_code_t study_point(const tune_space_t *space, const json_t *params, double *point, err_t *err) {
    const char *name;
    json_t *value;
    err_code_t code = ERR_OK;
    tune_space_defaults(space, point);
    json_object_foreach((json_t *)(uintptr_t)params, name, value) {
        int i = tune_space_find(space, name);
        if (code == ERR_OK && i < 0)
            code = err_set(err, ERR_INVALID, "there is no parameter %s", name);
        if (code == ERR_OK)
            code = read_value(&space->parameters[i], value, &point[i], err);
    }
    for (int i = 0; i < space->count && code == ERR_OK; i++) {
        bool given = json_object_get(params, space->parameters[i].name) != NULL;
        bool active = tune_space_active(space, point, i);
        if (given != active)
            code = err_set(err, ERR_INVALID, "parameter %s %s", space->parameters[i].name,
                           given ? "does not apply" : "is missing");
    }
    if (code == ERR_OK)
        code = tune_space_contains(space, point, err);
    if (code == ERR_OK)
        tune_space_canonical(space, point);
    return code;
}
