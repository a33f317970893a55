#include "tune/linalg_impl.h"
#include "tune/purpose_impl.h"
#include "tune/study_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define IMPORTANCE_POINTS 512

// ---- the best, and the noise ----

// Of those inside of the space, if there are any.
static int best_by_value(const tune_t *tune) {
    const trial_t *best = NULL;
    for (int e = 0; e < tune->ended_count; e++) {
        const trial_t *t = &tune->trials[tune->ended[e]];
        if (t->state == TRIAL_DONE && !t->earlier &&
            (!best || t->inside > best->inside ||
             (t->inside == best->inside && t->value < best->value)))
            best = t;
    }
    return best ? (int)(best - tune->trials) : -1;
}

err_code_t tune_best(tune_t *tune, uint64_t *trial, double *point, double *mean, double *sd,
                     err_t *err) {
    linalg_single_thread();
    int best = best_by_value(tune);
    if (best < 0)
        return err_set(err, ERR_NOT_FOUND, "no trial has ended well yet");
    double m = tune->trials[best].value, s = 0;
    view_t view;
    if (model_update(tune) && view_init(tune, &view, NULL) == ERR_OK) {
        if (model_noisy(tune))
            best = view.rows.trial[view.best];
        view_predict(tune, &view, tune->trials[best].point, &m, &s, NULL, NULL);
        view_release(&view);
    }
    if (trial)
        *trial = tune->trials[best].number;
    if (point)
        memcpy(point, tune->trials[best].point, sizeof *point * (size_t)tune->given);
    if (mean)
        *mean = tune->config.maximise ? -m : m;
    if (sd)
        *sd = s;
    return ERR_OK;
}

static double noise_at_best(const tune_t *tune) {
    int best = best_by_value(tune);
    if (tune->model.fitted == 0 || best < 0 || tune->config.noiseless || model_repeats(tune))
        return 0;
    double sigma2 = exp(tune->model.theta[tune->frame.dims + 1]);
    return sqrt(sigma2) / warp_slope(&tune->model.warp, tune->trials[best].value);
}

size_t tune_rests_on(tune_t *tune) {
    linalg_single_thread();
    if (!model_update(tune))
        return 0;
    rows_t rows;
    size_t all = 0;
    model_rows(tune, tune->ended_count, &rows);
    for (int i = 0; i < rows.data.n; i++)
        all += tune->trials[rows.trial[i]].earlier ? 0 : (size_t)rows.count[i];
    rows_release(&rows);
    return all;
}

double tune_noise(tune_t *tune) {
    linalg_single_thread();
    model_update(tune);
    return noise_at_best(tune);
}

bool tune_should_stop(tune_t *tune) {
    linalg_single_thread();
    model_update(tune); // else the answer would depend on when the model was last asked
    double enough = 0.5 * noise_at_best(tune);
    enough = tune->config.tolerance > enough ? tune->config.tolerance : enough;
    int run = 0;
    for (int i = tune->count - 1; i >= tune->changed && run < TUNE_STOP_RUN; i--) {
        const tune_why_t *why = &tune->trials[i].why;
        if (tune->trials[i].state == TRIAL_FORGOTTEN || why->kind == TUNE_REPLICATE)
            continue;
        if (why->kind != TUNE_MODELLED || !(why->left < enough))
            return false;
        run++;
    }
    return run == TUNE_STOP_RUN;
}

// ---- slices ----

// Moves the point to where parameter i applies: its parents take the first word that lets it.
static void make_apply(const tune_space_t *space, double *point, int i) {
    for (const tune_parameter_t *p = &space->parameters[i]; p->conditional;
         p = &space->parameters[p->parent]) {
        int choice = (int)point[p->parent];
        if (p->parent_choices >> choice & 1)
            continue;
        for (choice = 0; !(p->parent_choices >> choice & 1);)
            choice++;
        point[p->parent] = choice;
    }
}

// Of parameter i, the others as in point.
static size_t slice(const tune_t *tune, const view_t *view, const double *point, int i,
                    size_t count, double *value, double *mean, double *sd) {
    const tune_parameter_t *p = &tune->space.parameters[i];
    size_t all = p->type == TUNE_CONSTANT ? 1 : count;
    if (p->type == TUNE_CATEGORY && (size_t)p->choice_count < count)
        all = (size_t)p->choice_count;
    for (size_t k = 0; k < all; k++) {
        double at = p->type == TUNE_CATEGORY ? (double)k
                    : all < 2                ? point[i]
                              : tune_parameter_decode(p, (double)k / (double)(all - 1));
        double moved[TUNE_PARAMETERS_MAX];
        memcpy(moved, point, sizeof moved);
        make_apply(&tune->space, moved, i);
        moved[i] = at;
        tune_space_canonical(&tune->space, moved);
        value[k] = at;
        view_predict(tune, view, moved, &mean[k], &sd[k], NULL, NULL);
        if (tune->config.maximise)
            mean[k] = -mean[k];
    }
    return all;
}

// The best trial's point, and the model.
static err_code_t slice_begin(tune_t *tune, double *point, uint64_t *trial, view_t *view,
                              err_t *err) {
    err_code_t code = tune_best(tune, trial, point, NULL, NULL, err);
    if (code)
        return code;
    if (tune->model.fitted == 0)
        return err_set(err, ERR_NOT_FOUND, "too few trials have ended well for a model");
    return view_init(tune, view, err);
}

err_code_t tune_slice(tune_t *tune, int i, size_t count, double *value, double *mean, double *sd,
                      size_t *written, err_t *err) {
    ERR_ASSERT(i >= 0 && i < tune->space.count);
    double point[TUNE_PARAMETERS_MAX] = {0};
    view_t view;
    *written = 0;
    err_code_t code = slice_begin(tune, point, NULL, &view, err);
    if (code)
        return code;
    *written = slice(tune, &view, point, i, count, value, mean, sd);
    view_release(&view);
    return ERR_OK;
}

err_code_t tune_slices(tune_t *tune, size_t count, double *value, double *mean, double *sd,
                       size_t written[], uint64_t *trial, err_t *err) {
    double point[TUNE_PARAMETERS_MAX] = {0};
    view_t view;
    err_code_t code = slice_begin(tune, point, trial, &view, err);
    if (code)
        return code;
    for (int i = 0; i < tune->given; i++) {
        size_t at = (size_t)i * count;
        written[i] = slice(tune, &view, point, i, count, value + at, mean + at, sd + at);
    }
    view_release(&view);
    return ERR_OK;
}

// ---- importance ----

// Model means at the points unit[dims] of IMPORTANCE_POINTS rows.
static void means_at(const tune_t *tune, const view_t *view, const double *unit, double *mean) {
    size_t dims = (size_t)tune->frame.dims, width = (size_t)tune->frame.wide;
    double *wide = mem_alloc(2 * sizeof *wide * IMPORTANCE_POINTS * width);
    double *scaled = wide + IMPORTANCE_POINTS * width, point[TUNE_PARAMETERS_MAX];
    for (size_t k = 0; k < IMPORTANCE_POINTS; k++) {
        frame_decode(&tune->frame, unit + k * dims, point);
        frame_widen(&tune->frame, point, wide + k * width);
    }
    posterior_scale(&view->posterior, IMPORTANCE_POINTS, wide, scaled);
    posterior_predict(&view->posterior, IMPORTANCE_POINTS, scaled, mean, NULL);
    free(wide);
}

typedef struct {
    double *a, *b, *mixed; // points
    double *fa, *fb, *fm;  // means there, a's and b's less `mean`
    double mean, variance;
} saltelli_t;

static void saltelli_init(const tune_t *tune, const view_t *view, saltelli_t *s) {
    size_t dims = (size_t)tune->frame.dims, n = IMPORTANCE_POINTS;
    s->a = mem_alloc(sizeof(double) * 3 * n * (dims + 1));
    s->b = s->a + n * dims;
    s->mixed = s->b + n * dims;
    s->fa = s->mixed + n * dims;
    s->fb = s->fa + n;
    s->fm = s->fb + n;
    sobol_t *sobol = mem_alloc(sizeof *sobol);
    double both[SOBOL_DIMS_MAX], sum = 0, squares = 0;
    sobol_init(sobol, 2 * (int)dims);
    sobol_shift(sobol, tune->config.seed, 0, 0, PURPOSE_IMPORTANCE);
    for (size_t k = 0; k < n; k++) {
        sobol_point(sobol, (uint32_t)k, both);
        memcpy(s->a + k * dims, both, sizeof *both * dims);
        memcpy(s->b + k * dims, both + dims, sizeof *both * dims);
    }
    free(sobol);
    means_at(tune, view, s->a, s->fa);
    means_at(tune, view, s->b, s->fb);
    for (size_t k = 0; k < n; k++)
        sum += (s->fa[k] + s->fb[k]) / (2.0 * (double)n);
    for (size_t k = 0; k < n; k++)
        squares += (s->fa[k] - sum) * (s->fa[k] - sum) + (s->fb[k] - sum) * (s->fb[k] - sum);
    s->variance = squares / (2.0 * (double)n);
    for (size_t k = 0; k < n; k++) {
        s->fa[k] -= sum;
        s->fb[k] -= sum;
    }
    s->mean = sum;
}

err_code_t tune_importance(tune_t *tune, double *main, double *total, err_t *err) {
    linalg_single_thread();
    view_t view;
    if (!model_update(tune))
        return err_set(err, ERR_NOT_FOUND, "too few trials have ended well for a model");
    err_code_t code = view_init(tune, &view, err);
    if (code)
        return code;
    saltelli_t s;
    size_t dims = (size_t)tune->frame.dims, n = IMPORTANCE_POINTS;
    for (int i = 0; i < tune->given; i++)
        main[i] = total[i] = 0;
    saltelli_init(tune, &view, &s);
    for (size_t d = 0; d < dims && s.variance > 1e-12; d++) {
        double first = 0, all = 0;
        if (!frame_varies(&tune->frame, (int)d))
            continue;
        memcpy(s.mixed, s.a, sizeof *s.a * n * dims);
        for (size_t k = 0; k < n; k++)
            s.mixed[k * dims + d] = s.b[k * dims + d];
        means_at(tune, &view, s.mixed, s.fm);
        for (size_t k = 0; k < n; k++) {
            double step = s.fm[k] - s.mean - s.fa[k];
            first += s.fb[k] * step;
            all += step * step / 2;
        }
        int i = tune->frame.parameter[d];
        main[i] = fmax(0, first / (double)n / s.variance);
        total[i] = all / (double)n / s.variance;
    }
    free(s.a);
    view_release(&view);
    return ERR_OK;
}
