#include "tune/linalg_impl.h"
#include "tune/matern_impl.h"
#include "tune/study_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WARP_ROWS_MAX  200  // that the warp is chosen on
#define FRESH_ROWS_MAX 250  // from fresh starts up to so many rows
#define FIT_ROWS_MAX   400  // that hyperparameters are fitted to
#define FIT_ROWS_MIN   3    // before there is a model
#define OUTSIDE_MAX    3    // spreads of the values inside, by which one outside counts as worse
#define NOISY          1e-3 // σ²/s² above which the best is not known by its value

// ---- rows ----

void rows_release(rows_t *rows) {
    gp_data_release(&rows->data);
    free(rows->trial);
    free(rows->count);
    free(rows->within);
    *rows = (rows_t){0};
}

// The value that counted when `ended` trials had ended: a model that is fitted late, or again, is
// the one that was fitted then.
static told_t told_by(const trial_t *t, int ended) {
    told_t told = {0, t->value, t->variance};
    for (int i = 0; i < t->told_count && t->told[i].ended <= ended; i++)
        told = t->told[i];
    return told;
}

static void add_row(const tune_t *tune, int ended, rows_t *rows, int trial) {
    const trial_t *t = &tune->trials[trial];
    told_t told = told_by(t, ended);
    int row = rows->data.n++;
    frame_widen(&tune->frame, t->point, rows->data.x + (size_t)row * (size_t)tune->frame.wide);
    rows->data.y[row] = told.value;
    rows->data.own[row] = told.variance;
    rows->trial[row] = trial;
    rows->count[row] = 1;
    rows->within[row] = 0;
}

// Failed trials count as the worst that worked: the model stays away from them, and sees no cliff
// higher than it must be.
static void add_failures(const tune_t *tune, int ended, rows_t *rows) {
    double worst = -INFINITY;
    int n = rows->data.n;
    for (int row = 0; row < n; row++)
        worst = fmax(worst, rows->data.y[row]);
    for (int e = 0; n > 0 && e < ended; e++) {
        const trial_t *t = &tune->trials[tune->ended[e]];
        if (t->state != TRIAL_FAILED ||
            (t->earlier && !earlier_counts(tune, tune->ended[e], ended)))
            continue;
        add_row(tune, ended, rows, tune->ended[e]);
        rows->data.share[rows->data.n - 1] = 1;
        rows->data.y[rows->data.n - 1] = worst;
        rows->data.own[rows->data.n - 1] = 0;
    }
}

// How bad it is outside of the space tells little of what is inside of it from some point on, and
// would leave no differences between values inside when all are brought to unit variance.
static void cap_outside(const tune_t *tune, rows_t *rows) {
    double best = INFINITY, worst = -INFINITY;
    int inside = 0;
    for (int row = 0; row < rows->data.n; row++) {
        if (!tune->trials[rows->trial[row]].inside)
            continue;
        best = fmin(best, rows->data.y[row]);
        worst = fmax(worst, rows->data.y[row]);
        inside++;
    }
    if (inside < FIT_ROWS_MIN)
        return;
    double most = worst + OUTSIDE_MAX * (worst - best);
    for (int row = 0; row < rows->data.n; row++)
        if (!tune->trials[rows->trial[row]].inside)
            rows->data.y[row] = fmin(rows->data.y[row], most);
}

// Values as they are, repeated points averaged.
void model_collect(const tune_t *tune, int ended, rows_t *rows) {
    int *row_of = mem_alloc(sizeof *row_of * (size_t)(tune->count + 1));
    *rows = (rows_t){.trial = mem_alloc(sizeof(int) * (size_t)(ended + 1)),
                     .count = mem_alloc(sizeof(int) * (size_t)(ended + 1)),
                     .within = mem_alloc(sizeof(double) * (size_t)(ended + 1))};
    gp_data_init(&rows->data, &tune->frame, ended);
    for (int i = 0; i < tune->count; i++)
        row_of[i] = -1;
    for (int e = 0; e < ended; e++) {
        const trial_t *t = &tune->trials[tune->ended[e]];
        if (t->state != TRIAL_DONE || (t->earlier && !earlier_counts(tune, tune->ended[e], ended)))
            continue;
        int row = t->variance == 0 ? row_of[t->twin] : -1;
        if (row >= 0) {
            double off = t->value - rows->data.y[row];
            rows->data.y[row] += off / ++rows->count[row];
            rows->within[row] += off * (t->value - rows->data.y[row]);
            continue;
        }
        if (t->variance == 0)
            row_of[t->twin] = rows->data.n;
        add_row(tune, ended, rows, tune->ended[e]);
    }
    for (int row = 0; row < rows->data.n; row++)
        rows->data.share[row] = 1.0 / rows->count[row];
    if (tune->earlier > 0 && ended > tune->earlier)
        earlier_align(tune, rows);
    cap_outside(tune, rows);
    add_failures(tune, ended, rows);
    free(row_of);
}

typedef struct {
    double value;
    int row;
} ranked_t;

static int by_value(const void *a, const void *b) {
    const ranked_t *i = a, *j = b;
    if (i->value != j->value)
        return i->value < j->value ? -1 : 1;
    return i->row - j->row;
}

static void keep_row(rows_t *rows, int from, int to) {
    gp_data_t *data = &rows->data;
    size_t wide = (size_t)data->frame->wide;
    memmove(data->x + (size_t)to * wide, data->x + (size_t)from * wide, sizeof *data->x * wide);
    data->y[to] = data->y[from];
    data->own[to] = data->own[from];
    data->share[to] = data->share[from];
    rows->trial[to] = rows->trial[from];
    rows->count[to] = rows->count[from];
    rows->within[to] = rows->within[from];
}

// Leaves `most` rows: half of them the best, the rest spread evenly over all others' ranks. In the
// order in which they ended.
static void thin(rows_t *rows, int most) {
    int n = rows->data.n, kept = 0, head = most / 2;
    if (n <= most)
        return;
    ranked_t *ranked = mem_alloc(sizeof *ranked * (size_t)n);
    bool *keep = mem_zero((size_t)n, sizeof *keep);
    for (int i = 0; i < n; i++)
        ranked[i] = (ranked_t){rows->data.y[i], i};
    qsort(ranked, (size_t)n, sizeof *ranked, by_value);
    for (int i = 0; i < most; i++) {
        int64_t spread = (int64_t)(i - head) * (n - head) / (most - head);
        keep[ranked[i < head ? i : head + (int)spread].row] = true;
    }
    for (int i = 0; i < n; i++)
        if (keep[i])
            keep_row(rows, i, kept++);
    rows->data.n = kept;
    free(ranked);
    free(keep);
}

void model_bend(const warp_t *warp, rows_t *rows) {
    gp_data_t *data = &rows->data;
    data->repeats = 0;
    data->within = 0;
    for (int i = 0; i < data->n; i++) {
        double slope = warp_slope(warp, data->y[i]);
        data->own[i] *= slope * slope;
        data->within += rows->within[i] * slope * slope;
        data->repeats += rows->count[i] - 1;
        data->y[i] = warp_apply(warp, data->y[i]);
    }
}

void model_rows(const tune_t *tune, int ended, rows_t *rows) {
    model_collect(tune, ended, rows);
    thin(rows, TUNE_ACTIVE_MAX);
    model_bend(&tune->model.warp, rows);
}

void model_labels(const tune_t *tune, int ended, gp_data_t *labels) {
    gp_data_init(labels, &tune->frame, ended);
    int first = ended > TUNE_ACTIVE_MAX ? ended - TUNE_ACTIVE_MAX : 0;
    for (int e = first; e < ended; e++) {
        const trial_t *t = &tune->trials[tune->ended[e]];
        int row = labels->n++;
        frame_widen(&tune->frame, t->point, labels->x + (size_t)row * (size_t)tune->frame.wide);
        labels->y[row] = t->state == TRIAL_DONE ? 1 : -1;
        labels->share[row] = 1;
        labels->own[row] = 0;
    }
}

// ---- fits ----

// ln of the likelihood of values bent by each λ, with the process's scale at its best for each:
// −n/2 ln(yᵀK⁻¹y) + Σ ln |d bent/dy|; K by the current θ.
static double choose_lambda(const rows_t *raw, const double *theta) {
    static const double lambdas[] = {1, 0.5, 0, -0.5, -1, -1.5, -2};
    const gp_data_t *data = &raw->data;
    int n = data->n;
    double best = 1, best_likelihood = -INFINITY, diagonal[WARP_ROWS_MAX], y[WARP_ROWS_MAX];
    size_t wide = (size_t)data->frame->wide;
    double *scaled = mem_alloc(sizeof *scaled * (size_t)n * wide);
    double *k = mem_alloc(2 * sizeof *k * (size_t)n * (size_t)n);
    gp_scale(data->frame, theta, n, data->x, scaled);
    matern_square((int)wide, exp(theta[data->frame->dims]), n, scaled, k,
                  k + (size_t)n * (size_t)n);
    for (int i = 0; i < n; i++)
        diagonal[i] = exp(theta[data->frame->dims + 1]) * data->share[i];
    double *factor = k + (size_t)n * (size_t)n;
    bool factored = gp_factor(k, n, exp(theta[data->frame->dims]), diagonal, factor) >= 0;
    for (size_t l = 0; factored && l < sizeof lambdas / sizeof *lambdas; l++) {
        warp_t warp;
        double likelihood = 0;
        warp_init(&warp, lambdas[l], n, data->y);
        for (int i = 0; i < n; i++) {
            y[i] = warp_apply(&warp, data->y[i]);
            likelihood += log(warp_slope(&warp, data->y[i]));
        }
        linalg_solve_lower(factor, n, n, y, 1, n);
        likelihood -= 0.5 * n * log(linalg_dot(n, y, y));
        if (likelihood > best_likelihood) {
            best_likelihood = likelihood;
            best = lambdas[l];
        }
    }
    free(scaled);
    free(k);
    return best;
}

static double lambda_for(const tune_t *tune, int ended, const double *theta) {
    rows_t some;
    model_collect(tune, ended, &some);
    thin(&some, WARP_ROWS_MAX);
    double lambda = choose_lambda(&some, theta);
    rows_release(&some);
    return lambda;
}

static void fit_warped(const tune_t *tune, model_t *model, const rows_t *raw, int ended,
                       double lambda, bool fresh) {
    rows_t rows;
    warp_init(&model->warp, lambda, raw->data.n, raw->data.y);
    model_collect(tune, ended, &rows);
    thin(&rows, FIT_ROWS_MAX);
    model_bend(&model->warp, &rows);
    gp_fit(&rows.data, model->theta, fresh);
    rows_release(&rows);
}

static void fit_feasible(tune_t *tune, int ended, bool fresh) {
    model_t *model = &tune->model;
    bool failed = false;
    for (int e = 0; e < ended; e++)
        failed = failed || tune->trials[tune->ended[e]].state == TRIAL_FAILED;
    if (!failed)
        return;
    if (!model->may_fail)
        gp_prior(tune->frame.dims, model->theta_feasible);
    gp_data_t labels;
    model_labels(tune, ended, &labels);
    gp_fit(&labels, model->theta_feasible, fresh && !model->may_fail);
    gp_data_release(&labels);
    model->may_fail = true;
}

// Enough of this study's own values, not all of them equal.
static bool can_fit(const tune_t *tune, const rows_t *rows) {
    int own = 0, first = 0;
    bool differ = false;
    for (int i = 0; i < rows->data.n; i++) {
        if (tune->trials[rows->trial[i]].earlier)
            continue;
        first = own++ == 0 ? i : first;
        differ = differ || rows->data.y[i] != rows->data.y[first];
    }
    return own >= FIT_ROWS_MIN && differ;
}

static void fit(tune_t *tune, int ended) {
    model_t *model = &tune->model;
    rows_t raw;
    int own = ended - tune->earlier;
    model_collect(tune, ended, &raw);
    thin(&raw, TUNE_ACTIVE_MAX);
    if (can_fit(tune, &raw)) {
        bool first = model->fitted == 0, grown = own * 5 >= model->searched * 6;
        bool fresh = raw.data.n <= FRESH_ROWS_MAX && (raw.data.n < 20 || first || grown);
        if (first)
            gp_prior(tune->frame.dims, model->theta);
        double lambda = model->warp.lambda;
        if (fresh || first || grown) {
            lambda = lambda_for(tune, ended, model->theta);
            model->searched = own;
        }
        fit_warped(tune, model, &raw, ended, lambda, fresh);
        fit_feasible(tune, ended, fresh);
        model->fitted = ended;
    }
    rows_release(&raw);
}

// Refits at every end up to 30, then each time the record has grown by a twentieth.
static bool due(const model_t *model, int ended, int earlier) {
    return model->fitted == 0 || ended - earlier <= 30 || (ended - model->fitted) * 20 >= ended;
}

bool model_update(tune_t *tune) {
    model_t *model = &tune->model;
    while (model->considered < tune->ended_count) {
        model->considered++;
        if (due(model, model->considered, tune->earlier))
            fit(tune, model->considered);
    }
    return model->fitted > 0;
}

// To a hundredth of the variance that the model puts down to noise: that is then what the kernel
// cannot follow, and repeating tells nothing.
bool model_repeats(const tune_t *tune) {
    rows_t rows;
    model_rows(tune, tune->ended_count, &rows);
    double sigma2 = exp(tune->model.theta[tune->frame.dims + 1]);
    bool same = rows.data.repeats > 0 && rows.data.within < 0.01 * sigma2 * rows.data.repeats;
    rows_release(&rows);
    return same;
}

bool model_noisy(const tune_t *tune) {
    const double *theta = tune->model.theta;
    int dims = tune->frame.dims;
    return !tune->config.noiseless && theta[dims + 1] - theta[dims] > log(NOISY) &&
           !model_repeats(tune);
}

// ---- views ----

err_code_t view_init(tune_t *tune, view_t *view, err_t *err) {
    *view = (view_t){0};
    model_rows(tune, tune->ended_count, &view->rows);
    const gp_data_t *data = &view->rows.data;
    err_code_t code = posterior_init(&view->posterior, data, tune->model.theta, err);
    if (code) {
        rows_release(&view->rows);
        return code;
    }
    const posterior_t *p = &view->posterior;
    view->mean = mem_alloc(sizeof *view->mean * (size_t)(data->n + 1));
    int best = -1;
    bool best_inside = false;
    for (int i = 0; i < data->n; i++) { // (K + D)α = y, so Kα = y − Dα
        double noise = p->sigma2 * data->share[i] + data->own[i] + p->jitter;
        view->mean[i] = data->y[i] - noise * p->alpha[i];
        const trial_t *trial = &tune->trials[view->rows.trial[i]];
        bool better = best < 0 || trial->inside > best_inside ||
                      (trial->inside == best_inside && view->mean[i] < view->mean[best]);
        if (trial->state == TRIAL_DONE && !trial->earlier && better) {
            best = i;
            best_inside = trial->inside;
        }
    }
    view->best = best;
    return ERR_OK;
}

void view_release(view_t *view) {
    rows_release(&view->rows);
    posterior_release(&view->posterior);
    free(view->mean);
    *view = (view_t){0};
}

void view_predict(const tune_t *tune, const view_t *view, const double *point, double *mean,
                  double *sd, double *warped_mean, double *warped_sd) {
    double wide[FRAME_WIDE_MAX], z[FRAME_WIDE_MAX], m, variance;
    const warp_t *warp = &tune->model.warp;
    frame_widen(&tune->frame, point, wide);
    posterior_scale(&view->posterior, 1, wide, z);
    posterior_predict(&view->posterior, 1, z, &m, &variance);
    double s = sqrt(variance);
    *mean = warp_invert(warp, m);
    *sd = 0.5 * (warp_invert(warp, m + s) - warp_invert(warp, m - s));
    if (warped_mean) {
        *warped_mean = m;
        *warped_sd = s;
    }
}
