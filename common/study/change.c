// The space: as texts, and what becomes of a study whose space changes.
#include "study_impl.h"

// --- As texts
// -------------------------------------------------------------------------------------

err_code_t space_read(const json_t *list, tune_space_t *space, err_t *err) {
    const char *texts[TUNE_PARAMETERS_MAX];
    size_t count = json_array_size(list);
    bool good = count >= 1 && count <= TUNE_PARAMETERS_MAX;
    for (size_t i = 0; i < count && good; i++) {
        texts[i] = json_string_value(json_array_get(list, i));
        good = texts[i] != NULL;
    }
    if (good)
        return tune_space_parse(texts, count, space, err);
    err_set(err, ERR_USAGE, "the study's space is missing or wrong");
    return err_remedy(err, "give a list of 1 to %d texts, as \"lr=log:1e-5..1e-2\"",
                      TUNE_PARAMETERS_MAX);
}

json_t *study_space_texts(const tune_space_t *space) {
    json_t *list = json_array();
    for (int i = 0; i < space->count; i++) {
        buf_t text;
        buf_init(&text, 1 << 16);
        tune_space_print(space, i, &text);
        json_array_append_new(list, json_string(text.data));
        buf_release(&text);
    }
    return list;
}

// --- Changes
// --------------------------------------------------------------------------------------

// A trial's point is of the space as it is, what it was given of that as it was.
static void carry(study_t *study, const tune_space_t *to) {
    for (size_t i = 0; i < study->count; i++) {
        study_trial_t *trial = &study->trials[i];
        if (!trial->params)
            trial->params = study_params(&study->space, trial->point);
        tune_space_carry(&study->space, to, trial->point);
    }
    tune_change(study->tune, to);
    study->modelled = 0;
    study->space = *to;
}

static err_code_t check_size(const study_t *study, const tune_space_t *space, err_t *err) {
    if (!study->warm || space->count < TUNE_PARAMETERS_MAX)
        return ERR_OK;
    err_set(err, ERR_USAGE, "%d parameters are one too many for a study that began with another",
            space->count);
    return err_remedy(err, "add one less");
}

err_code_t apply_space(study_t *study, const json_t *list, err_t *err) {
    tune_space_t space;
    err_code_t code = space_read(list, &space, err);
    if (code == ERR_OK)
        code = tune_space_follow(&study->space, &space, err);
    if (code == ERR_OK)
        code = check_size(study, &space, err);
    if (code == ERR_OK)
        carry(study, &space);
    return code;
}

err_code_t study_change(study_t *study, const char *const *texts, size_t count, err_t *err) {
    tune_space_t space;
    err_code_t code = tune_space_merge(&study->space, texts, count, &space, err);
    if (code == ERR_OK)
        code = check_size(study, &space, err);
    if (code || tune_space_equal(&study->space, &space))
        return code;
    carry(study, &space);
    entry_put(study, json_pack("{s:s, s:o}", "do", "space", "space", study_space_texts(&space)));
    return ERR_OK;
}

json_t *study_trial_params(const study_t *study, const study_trial_t *trial) {
    return trial->params ? json_deep_copy(trial->params)
                         : study_params(&study->space, trial->point);
}
