// A study that begins with what an earlier one has seen: a copy of that, as its first entry.
#include "study_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_BYTES 50000 // of the entry's text, which is longer than what is stored of it

const char *study_warm_start(const study_t *study) {
    return json_string_value(json_object_get(study->about, "warm_start"));
}

bool study_wants_earlier(const study_t *study) {
    return study_warm_start(study) && !study->warm;
}

// --- What is copied
// -------------------------------------------------------------------------------

typedef struct {
    const study_trial_t *trial;
    double value; // the less the better; infinite: it failed
} ranked_t;

static int by_value(const void *a, const void *b) {
    const ranked_t *i = a, *j = b;
    if (i->value != j->value)
        return i->value < j->value ? -1 : 1;
    return i->trial->number < j->trial->number ? -1 : 1;
}

// Words that are none any more have no place in the text of a space.
static bool has_place(const tune_space_t *space, const study_trial_t *trial) {
    for (int i = 0; i < space->count; i++)
        if (space->parameters[i].type == TUNE_CATEGORY &&
            trial->point[i] >= space->parameters[i].choice_count)
            return false;
    return true;
}

// Best first, of those that have ended by themselves.
static ranked_t *rank(const study_t *study, size_t *count) {
    ranked_t *ranked = mem_alloc((study->count + 1) * sizeof *ranked);
    *count = 0;
    for (size_t i = 0; i < study->count; i++) {
        const study_trial_t *trial = &study->trials[i];
        bool valued = trial->state == STUDY_DONE || trial->state == STUDY_PRUNED;
        double sign = study->config.maximise ? -1 : 1;
        if ((valued || trial->state == STUDY_FAILED) && has_place(&study->space, trial))
            ranked[(*count)++] = (ranked_t){trial, valued ? sign * trial->value : INFINITY};
    }
    qsort(ranked, *count, sizeof *ranked, by_value);
    return ranked;
}

static json_t *point_json(const tune_space_t *space, const double *point) {
    json_t *list = json_array();
    for (int i = 0; i < space->count; i++) {
        const tune_parameter_t *p = &space->parameters[i];
        json_array_append_new(list, p->type == TUNE_CATEGORY
                                        ? json_string(p->choices[(int)point[i]])
                                        : json_real(point[i]));
    }
    return list;
}

// Half of `most` the best, the rest spread evenly over the others' ranks.
static json_t *entry_of(const char *name, const study_t *from, bool maximise,
                        const ranked_t *ranked, size_t count, size_t most) {
    size_t kept = count < most ? count : most, head = kept / 2;
    json_t *points = json_array(), *values = json_array();
    for (size_t i = 0; i < kept; i++) {
        size_t at = i < head ? i : head + (i - head) * (count - head) / (kept - head);
        double value = maximise ? -ranked[at].value : ranked[at].value;
        json_array_append_new(points, point_json(&from->space, ranked[at].trial->point));
        json_array_append_new(values, entry_real(value));
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:o}", "do", "earlier", "study", name, "space",
                     study_space_texts(&from->space), "points", points, "values", values);
}

// --- Beginning with it
// ----------------------------------------------------------------------------

static err_code_t read_point(const tune_space_t *space, const json_t *list, double *point) {
    for (int i = 0; i < space->count; i++) {
        const tune_parameter_t *p = &space->parameters[i];
        const json_t *value = json_array_get(list, (size_t)i);
        const char *word = json_string_value(value);
        point[i] = json_is_number(value) ? json_number_value(value) : NAN;
        for (int k = 0; p->type == TUNE_CATEGORY && k < p->choice_count; k++)
            if (word && strcmp(word, p->choices[k]) == 0)
                point[i] = k;
        bool known = p->type == TUNE_CATEGORY ? word && !isnan(point[i]) : isfinite(point[i]);
        if (!known)
            return ERR_INVALID;
    }
    return ERR_OK;
}

static err_code_t begin(study_t *study, const json_t *entry, const tune_space_t *from,
                        const tune_space_t *to, err_t *err) {
    const json_t *list = json_object_get(entry, "points"),
                 *given = json_object_get(entry, "values");
    size_t count = json_array_size(list), width = (size_t)to->count;
    if (count != json_array_size(given) || count > TUNE_EARLIER_MAX)
        return err_set(err, ERR_INVALID, "no list of points and values");
    double *points = mem_alloc((count * width + 1) * sizeof *points);
    double *values = mem_alloc((count + 1) * sizeof *values);
    err_code_t code = ERR_OK;
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        double point[TUNE_PARAMETERS_MAX];
        values[i] = entry_value(json_array_get(given, i));
        code = read_point(from, json_array_get(list, i), point);
        if (code) {
            err_set(err, code, "point %zu is none of its space", i + 1);
            break;
        }
        tune_space_carry(from, to, point);
        memcpy(points + i * width, point, width * sizeof *points);
    }
    if (code == ERR_OK)
        code = tune_earlier(study->tune, to, (int)count, points, values, err);
    free(points);
    free(values);
    return code;
}

err_code_t apply_earlier(study_t *study, const json_t *entry, err_t *err) {
    tune_space_t from, to = study->space;
    if (study->count > 0 || study->warm)
        return err_set(err, ERR_CONFLICT, "the study has begun already");
    err_code_t code = space_read(json_object_get(entry, "space"), &from, err);
    if (code == ERR_OK)
        code = tune_space_follow(&from, &to, err);
    if (code == ERR_OK)
        code = begin(study, entry, &from, &to, err);
    if (code)
        return code;
    study->space = to;
    study->warm = true;
    return ERR_OK;
}

err_code_t study_begin_with(study_t *study, const char *name, const study_t *from, err_t *err) {
    size_t count, most = TUNE_EARLIER_MAX;
    ranked_t *ranked = rank(from, &count);
    err_code_t code = ERR_OK;
    json_t *entry = NULL;
    if (count == 0 || !isfinite(ranked[0].value)) {
        err_set(err, ERR_INVALID, "study %s has no trial that ended well, to begin with", name);
        code = err_remedy(err, "begin without it, or with another one");
    }
    while (code == ERR_OK && !entry) {
        entry = entry_of(name, from, study->config.maximise, ranked, count, most);
        if (json_dumpb(entry, NULL, 0, 0) > ENTRY_BYTES) {
            json_decref(entry);
            entry = NULL;
            most -= most / 8 + 1;
            if (most == 0) {
                err_set(err, ERR_INVALID, "its space leaves no room for a point in an entry of %d",
                        ENTRY_BYTES);
                code = err_remedy(err, "begin without it, or with one of fewer or shorter words");
            }
        }
    }
    if (code == ERR_OK)
        code = apply_earlier(study, entry, err);
    if (code)
        err_context(err, "to begin with study %s", name);
    free(ranked);
    if (code)
        json_decref(entry);
    else
        entry_put(study, entry);
    return code;
}
