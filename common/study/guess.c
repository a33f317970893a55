#include "study_impl.h"

#include "tune/forecast.h"

#include <math.h>
#include <stdlib.h>

#define SPARE_ODDS 0.3 // of ending best: above it a trial goes on, whatever its rank
#define OFTEN      64  // ended trials up to which each brings new guesses
#define SELDOM     16  // … later every so many

static bool value_at(const study_trial_t *trial, uint64_t step, double *value) {
    for (size_t i = 0; i < trial->report_count; i++)
        if (trial->reports[i].step == step && isfinite(trial->reports[i].value)) {
            *value = trial->reports[i].value;
            return true;
        }
    return false;
}

// The report from furthest on that says something.
static const study_report_t *furthest(const study_trial_t *trial) {
    const study_report_t *report = NULL;
    for (size_t i = 0; i < trial->report_count; i++)
        if (isfinite(trial->reports[i].value) && (!report || trial->reports[i].step > report->step))
            report = &trial->reports[i];
    return report;
}

// By the newest trials that ended well. NULL: too few.
static tune_forecast_t *forecast_from(const study_t *study, uint64_t step) {
    tune_course_t courses[TUNE_FORECAST_MOST];
    size_t count = 0;
    for (size_t i = study->count; i > 0 && count < TUNE_FORECAST_MOST; i--) {
        const study_trial_t *trial = &study->trials[i - 1];
        double value;
        if (trial->state == STUDY_DONE && value_at(trial, step, &value))
            courses[count++] = (tune_course_t){trial->point, value, trial->value};
    }
    return tune_forecast_new(study->tune, courses, count);
}

double guess_doubt(double value) {
    return fmax(value * value, 1e-12);
}

// Of the values that trials had at a step; of one alone, its doubt.
static double variance_at(const study_t *study, uint64_t step, double alone) {
    double mean = 0, squares = 0, value;
    size_t n = 0;
    for (size_t i = 0; i < study->count; i++)
        if (value_at(&study->trials[i], step, &value)) {
            double off = value - mean;
            mean += off / (double)++n;
            squares += off * (value - mean);
        }
    return n > 1 && squares > 0 ? squares / (double)(n - 1) : guess_doubt(alone);
}

static bool best_value(const study_t *study, double *value) {
    uint64_t best;
    if (study_best((study_t *)(uintptr_t)study, &best, NULL) != ERR_OK)
        return false;
    *value = study->trials[best - 1].value;
    return true;
}

// A trial that is stopped for being behind was not going to be the best: a guess that says so is
// cut.
static double behind_the_best(const study_t *study, double value) {
    double sign = study->config.maximise ? -1 : 1, best;
    return best_value(study, &best) && sign * value < sign * best ? best : value;
}

bool guess_may_win(const study_t *study, const study_trial_t *trial, uint64_t step, double value) {
    double best, mean, variance, sign = study->config.maximise ? -1 : 1;
    if (!isfinite(value))
        return false;
    tune_forecast_t *forecast = best_value(study, &best) ? forecast_from(study, step) : NULL;
    if (!forecast)
        return true;
    tune_forecast_at(forecast, trial->point, value, &mean, &variance);
    tune_forecast_free(&forecast);
    return 0.5 * erfc(sign * (mean - best) / sqrt(2 * variance)) > SPARE_ODDS;
}

err_code_t guess_value(study_t *study, const study_trial_t *trial, double *value, double *variance,
                       err_t *err) {
    const study_report_t *report = furthest(trial);
    if (!report)
        return err_set(err, ERR_CONFLICT, "trial %llu has reported no value",
                       (unsigned long long)trial->number);
    tune_forecast_t *forecast = forecast_from(study, report->step);
    *value = report->value;
    if (forecast)
        tune_forecast_at(forecast, trial->point, report->value, value, variance);
    else
        *variance = variance_at(study, report->step, report->value);
    tune_forecast_free(&forecast);
    *value = behind_the_best(study, *value);
    return ERR_OK;
}

// Of the pruned trials whose newest report is of that step.
static void guess_step(study_t *study, uint64_t step) {
    tune_forecast_t *forecast = forecast_from(study, step);
    for (size_t i = 0; forecast && i < study->count; i++) {
        study_trial_t *trial = &study->trials[i];
        const study_report_t *report = trial->state == STUDY_PRUNED ? furthest(trial) : NULL;
        if (!report || report->step != step)
            continue;
        tune_forecast_at(forecast, trial->point, report->value, &trial->value, &trial->variance);
        trial->value = behind_the_best(study, trial->value);
        err_code_t code =
            tune_retell(study->tune, trial->number, trial->value, trial->variance, NULL);
        ERR_ASSERT(code == ERR_OK);
    }
    tune_forecast_free(&forecast);
}

static int by_step(const void *a, const void *b) {
    uint64_t i = *(const uint64_t *)a, j = *(const uint64_t *)b;
    return (i > j) - (i < j);
}

void guess_again(study_t *study) {
    if (study->done > OFTEN && study->done % SELDOM != 0)
        return;
    uint64_t *steps = mem_alloc((study->count + 1) * sizeof *steps);
    size_t count = 0;
    for (size_t i = 0; i < study->count; i++) {
        const study_report_t *report =
            study->trials[i].state == STUDY_PRUNED ? furthest(&study->trials[i]) : NULL;
        if (report)
            steps[count++] = report->step;
    }
    qsort(steps, count, sizeof *steps, by_step);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || steps[i] != steps[i - 1])
            guess_step(study, steps[i]);
    free(steps);
}
