// study.change: another space for the same study.
#include "studies_impl.h"
#include "trials/trials.h"

#include <stdlib.h>
#include <string.h>

proto_strs_t deed_texts(json_t *list, proto_arena_t *arena) {
    size_t count = json_array_size(list);
    const char **items = proto_arena_alloc(arena, (count + 1) * sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = proto_arena_text(arena, json_string_value(json_array_get(list, i)));
    json_decref(list);
    return (proto_strs_t){items, count};
}

// --- Remarks
// --------------------------------------------------------------------------------------

static void remark(json_t *remarks, char *text) {
    json_array_append_new(remarks, json_string(text));
    free(text);
}

// How many trials were not given parameter i, although it applies to them.
static size_t count_without(const study_t *study, int i) {
    const tune_space_t *space = study_space(study);
    size_t without = 0;
    for (uint64_t n = 1; n <= study_count(study); n++) {
        const study_trial_t *trial = study_trial(study, n);
        without += trial->params && tune_space_active(space, trial->point, i) &&
                   !json_object_get(trial->params, space->parameters[i].name);
    }
    return without;
}

static bool is_equal(const json_t *a, const json_t *b) {
    return json_is_number(a) && json_is_number(b) ? json_number_value(a) == json_number_value(b)
                                                  : json_equal(a, b);
}

// A training has a parameter whether the search gives it or not: the default must be that.
static void remark_default(const study_t *study, int i, json_t *remarks) {
    const tune_space_t *space = study_space(study);
    const char *name = space->parameters[i].name;
    double point[TUNE_PARAMETERS_MAX];
    json_t *had = trials_had(study_about(study), name);
    tune_space_defaults(space, point);
    point[i] = tune_parameter_rest(&space->parameters[i]);
    json_t *params = study_params(space, point), *fallback = json_object_get(params, name);
    if (had && fallback && !is_equal(had, fallback)) {
        char *was = json_dumps(had, JSON_ENCODE_ANY), *is = json_dumps(fallback, JSON_ENCODE_ANY);
        remark(remarks, mem_format("%s: %zu earlier trials had %s, and count as having had %s",
                                   name, count_without(study, i), was, is));
        free(was);
        free(is);
    }
    json_decref(had);
    json_decref(params);
}

static json_t *remarks_on(study_t *study) {
    const tune_space_t *space = study_space(study);
    json_t *remarks = json_array();
    uint64_t best;
    for (int i = 0; i < space->count; i++)
        if (trials_train(study_about(study)) && count_without(study, i) > 0)
            remark_default(study, i, remarks);
    if (study_best(study, &best, NULL) == ERR_OK &&
        tune_space_contains(space, study_trial(study, best)->point, NULL) != ERR_OK)
        remark(remarks, mem_format("the best trial so far, %llu, is outside of the space",
                                   (unsigned long long)best));
    return remarks;
}

// --- The change
// -----------------------------------------------------------------------------------

// A search for a training's parameters may only ask for what a training takes.
static err_code_t check(const study_t *study, const char *const *texts, size_t count, err_t *err) {
    tune_space_t space;
    err_code_t code = tune_space_merge(study_space(study), texts, count, &space, err);
    if (code == ERR_OK && trials_train(study_about(study)))
        code = trials_check_space(study_about(study), &space, err);
    return code;
}

err_code_t deed_change(study_t *study, request_t *request, proto_arena_t *arena, err_t *err) {
    const char *texts[TUNE_PARAMETERS_MAX];
    size_t count = json_array_size(request->param);
    ERR_ASSERT(count <= TUNE_PARAMETERS_MAX); // by its declaration
    for (size_t i = 0; i < count; i++)
        texts[i] = json_string_value(json_array_get(request->param, i));
    err_code_t code = check(study, texts, count, err);
    if (code == ERR_OK)
        code = study_change(study, texts, count, err);
    if (code)
        return code;
    proto_study_changed_t *changed = proto_arena_alloc(arena, sizeof *changed);
    changed->space = deed_texts(study_space_texts(study_space(study)), arena);
    changed->remarks = deed_texts(remarks_on(study), arena);
    request->answer_type = PROTO_study_changed;
    request->answer = changed;
    return ERR_OK;
}
