// What a study shows of itself besides its trials' ends.
#include "proto/json.h"
#include "studies_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

// --- Curves
// ---------------------------------------------------------------------------------------

static int by_step(const void *a, const void *b) {
    const study_report_t *left = a, *right = b;
    return (left->step > right->step) - (left->step < right->step);
}

json_t *view_curve(const study_trial_t *trial, uint64_t most) {
    json_t *steps = json_array(), *values = json_array();
    size_t count = trial->report_count, shown = count < most ? count : (size_t)most;
    study_report_t *sorted = mem_alloc((count + 1) * sizeof *sorted);
    if (count > 0)
        memcpy(sorted, trial->reports, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_step);
    for (size_t i = 0; i < shown; i++) { // the last one always, the first one if there are two
        size_t at = shown > 1 ? i * (count - 1) / (shown - 1) : count - 1;
        json_array_append_new(steps, json_integer((json_int_t)sorted[at].step));
        json_array_append_new(values, real(sorted[at].value));
    }
    free(sorted);
    return json_pack("{s:o, s:o}", "steps", steps, "values", values);
}

json_t *view_stopped(const study_trial_t *trial) {
    return json_pack("{s:I, s:i, s:i}", "step", (json_int_t)trial->stop_step, "rank",
                     trial->stop_rank, "of", trial->stop_of);
}

// --- The model
// ------------------------------------------------------------------------------------

json_t *view_importance(study_t *study) {
    const tune_space_t *space = study_space(study);
    double main[TUNE_PARAMETERS_MAX], total[TUNE_PARAMETERS_MAX];
    if (tune_importance(study_tune(study), main, total, NULL) != ERR_OK)
        return NULL;
    json_t *map = json_object();
    for (int i = 0; i < space->count; i++)
        if (isfinite(main[i]) && isfinite(total[i]))
            json_object_set_new(map, space->parameters[i].name,
                                json_pack("{s:f, s:f}", "main", main[i], "total", total[i]));
    return map;
}

static json_t *natural(const tune_parameter_t *parameter, double value) {
    if (parameter->type == TUNE_CATEGORY)
        return json_string(parameter->choices[(int)value]);
    return parameter->type == TUNE_INTEGER ? json_integer((json_int_t)value) : real(value);
}

// Whole numbers that stand side by side in a small range come once.
static json_t *slice_json(const tune_parameter_t *parameter, size_t count, const double *value,
                          const double *mean, const double *sd) {
    json_t *at = json_array(), *means = json_array(), *sds = json_array();
    for (size_t k = 0; k < count; k++) {
        if (k > 0 && value[k] == value[k - 1])
            continue;
        json_array_append_new(at, natural(parameter, value[k]));
        json_array_append_new(means, real(mean[k]));
        json_array_append_new(sds, real(sd[k]));
    }
    return json_pack("{s:o, s:o, s:o}", "at", at, "mean", means, "sd", sds);
}

json_t *view_slices(study_t *study, uint64_t points) {
    const tune_space_t *space = study_space(study);
    size_t count = (size_t)points, written[TUNE_PARAMETERS_MAX];
    size_t all = count * (size_t)space->count;
    double *value = mem_alloc(3 * all * sizeof *value), *mean = value + all, *sd = mean + all;
    uint64_t trial;
    json_t *parameters = NULL;
    if (tune_slices(study_tune(study), count, value, mean, sd, written, &trial, NULL) == ERR_OK) {
        parameters = json_object();
        for (int i = 0; i < space->count; i++) {
            size_t at = (size_t)i * count;
            json_object_set_new(
                parameters, space->parameters[i].name,
                slice_json(&space->parameters[i], written[i], value + at, mean + at, sd + at));
        }
    }
    free(value);
    return parameters
               ? json_pack("{s:I, s:o}", "trial", (json_int_t)trial, "parameters", parameters)
               : NULL;
}
