// The log: what is unsaved, and replaying.
#include "study_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *entry_real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

double entry_value(const json_t *value) {
    return json_is_number(value) ? json_number_value(value) : NAN;
}

// --- What is unsaved
// ------------------------------------------------------------------------------

void entry_put(study_t *study, json_t *entry) {
    if (study->unsaved_count == study->unsaved_room) {
        study->unsaved_room = study->unsaved_room ? 2 * study->unsaved_room : 16;
        study->unsaved = mem_grow(study->unsaved, study->unsaved_room * sizeof *study->unsaved);
    }
    study->unsaved[study->unsaved_count++] = entry;
}

const json_t *const *study_unsaved(const study_t *study, size_t *count) {
    *count = study->unsaved_count;
    return study->unsaved_count ? (const json_t *const *)study->unsaved : NULL;
}

void study_save(study_t *study, size_t count) {
    for (size_t i = 0; i < count; i++)
        json_decref(study->unsaved[i]);
    study->unsaved_count -= count;
    if (study->unsaved_count > 0)
        memmove(study->unsaved, study->unsaved + count,
                study->unsaved_count * sizeof *study->unsaved);
    study->saved += count;
}

uint64_t study_saved(const study_t *study) {
    return study->saved;
}

// --- Replaying
// ------------------------------------------------------------------------------------

static err_code_t corrupt(const study_t *study, const char *what, err_t *err) {
    err_set(err, ERR_CORRUPT, "entry %llu of the study's log %s",
            (unsigned long long)study->saved + 1, what);
    return err_remedy(err, "it was written by another release, or by no study");
}

static err_code_t replay_ask(study_t *study, const json_t *entry, err_t *err) {
    double point[TUNE_PARAMETERS_MAX];
    tune_why_t why;
    const char *key = json_string_value(json_object_get(entry, "key"));
    json_int_t number = json_integer_value(json_object_get(entry, "trial"));
    if (why_read(json_object_get(entry, "why"), &why) != ERR_OK || number < 1)
        return corrupt(study, "is no ask", err);
    const json_t *model = json_object_get(entry, "model");
    err_code_t code = study_point(&study->space, json_object_get(entry, "params"), point, err);
    if (code == ERR_OK && model)
        code = apply_model(study, model, err);
    return code ? code
                : apply_asked(study, (uint64_t)number, point, &why, key ? key : "", true, err);
}

static err_code_t replay_report(study_t *study, study_trial_t *trial, const json_t *entry,
                                err_t *err) {
    bool stop, logged = json_is_true(json_object_get(entry, "stop"));
    json_int_t step = json_integer_value(json_object_get(entry, "step"));
    return apply_report(study, trial, (uint64_t)step, entry_value(json_object_get(entry, "value")),
                        &logged, &stop, err);
}

static const char *text_of(const json_t *entry, const char *key) {
    const char *text = json_string_value(json_object_get(entry, key));
    return text ? text : "";
}

static err_code_t replay_trial(study_t *study, const char *word, const json_t *entry, err_t *err) {
    json_int_t number = json_integer_value(json_object_get(entry, "trial"));
    study_trial_t *trial = study_find(study, (uint64_t)number);
    double value = entry_value(json_object_get(entry, "value"));
    if (strcmp(word, "note") == 0 && (trial || number == 0)) {
        apply_note(study, trial, json_object_get(entry, "note"));
        return ERR_OK;
    }
    if (!trial)
        return corrupt(study, "is about a trial that there is not", err);
    if (strcmp(word, "report") == 0)
        return replay_report(study, trial, entry, err);
    if ((strcmp(word, "tell") == 0 || strcmp(word, "prune") == 0) && !isfinite(value))
        return corrupt(study, "has no value", err);
    if (strcmp(word, "tell") == 0)
        return apply_tell(study, trial, value, err);
    if (strcmp(word, "prune") == 0)
        return apply_prune(study, trial, value, entry_value(json_object_get(entry, "variance")),
                           err);
    if (strcmp(word, "fail") == 0)
        return apply_end(study, trial, STUDY_FAILED, text_of(entry, "reason"), err);
    if (strcmp(word, "forget") == 0)
        return apply_end(study, trial, STUDY_FORGOTTEN, text_of(entry, "reason"), err);
    return corrupt(study, "is of an unknown sort", err);
}

err_code_t study_replay(study_t *study, const json_t *entry, err_t *err) {
    const char *word = text_of(entry, "do");
    err_code_t code = ERR_OK;
    ERR_ASSERT(study->unsaved_count == 0);
    if (strcmp(word, "ask") == 0)
        code = replay_ask(study, entry, err);
    else if (strcmp(word, "stop") == 0)
        apply_stop(study, text_of(entry, "reason"));
    else if (strcmp(word, "continue") == 0)
        apply_stop(study, "");
    else if (strcmp(word, "earlier") == 0)
        code = apply_earlier(study, entry, err);
    else if (strcmp(word, "space") == 0)
        code = apply_space(study, json_object_get(entry, "space"), err);
    else
        code = replay_trial(study, word, entry, err);
    if (code && code != ERR_CORRUPT) {
        err_context(err, "entry %llu of the study's log", (unsigned long long)study->saved + 1);
        if (err)
            err->code = ERR_CORRUPT;
        code = ERR_CORRUPT;
    }
    study->saved += code == ERR_OK;
    return code;
}
