// What an earlier study has seen, as rows of this one's model.
#include "tune/linalg_impl.h"
#include "tune/study_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define HIDDEN      "(study)" // no parameter that is read from a text can have that name
#define STARTS      3         // from the earlier study's best, before the model is asked
#define BEST_PART   4         // starts are from the best one of so many parts
#define ROWS_MAX    100       // that the model looks at
#define FADE_FROM   8         // trials of this study, from where on there are fewer and fewer …
#define FADE_TO     20        // … and none any more
#define MODEL_MIN   3         // rows of a model of the earlier study alone
#define AGREE_PRIOR 2.0       // the two are taken to agree, with the weight of so many trials

// ---- the hidden parameter ----

// It cannot be chosen, and has two words on the model's scale: 0 here, 1 in the earlier study. Its
// length scale says how much the one tells of the other (a kernel of two tasks: Swersky, Snoek,
// Adams: "Multi-task Bayesian optimization", NeurIPS 2013).
void earlier_hide(tune_t *tune) {
    tune_parameter_t hidden = {.name = HIDDEN, .type = TUNE_CONSTANT, .parent = -1};
    tune->given = tune->space.count;
    tune->space.parameters[tune->space.count++] = hidden;
    hidden.type = TUNE_CATEGORY;
    hidden.choice_count = 2;
    tune->scale.parameters[tune->scale.count++] = hidden;
}

err_code_t tune_earlier(tune_t *tune, const tune_space_t *space, int count, const double *points,
                        const double *values, err_t *err) {
    size_t width = (size_t)space->count;
    ERR_ASSERT(tune->count == 0 && count <= TUNE_EARLIER_MAX);
    if (count == 0)
        return ERR_OK;
    if (space->count == TUNE_PARAMETERS_MAX) {
        err_set(err, ERR_USAGE, "a study of %d parameters cannot begin with an earlier one",
                space->count);
        return err_remedy(err, "tune one less");
    }
    tune->space = tune->scale = *space;
    earlier_hide(tune);
    study_lay_out(tune);
    for (int i = 0; i < count; i++) {
        double point[TUNE_PARAMETERS_MAX];
        memcpy(point, points + (size_t)i * width, sizeof *point * width);
        point[tune->given] = 1;
        study_add_earlier(tune, point, tune->config.maximise ? -values[i] : values[i]);
    }
    tune->earlier = tune->changed = count;
    earlier_update(tune);
    return ERR_OK;
}

// ---- how long it is looked at ----

// Evenly from best to worst.
bool earlier_counts(const tune_t *tune, int trial, int ended) {
    int own = ended - tune->earlier, kept = tune->earlier < ROWS_MAX ? tune->earlier : ROWS_MAX;
    if (own >= FADE_TO)
        return false;
    if (own > FADE_FROM)
        kept = kept * (FADE_TO - own) / (FADE_TO - FADE_FROM);
    return (trial + 1) * kept / tune->earlier > trial * kept / tune->earlier;
}

// ---- its own model ----

void earlier_release(tune_t *tune) {
    posterior_release(&tune->before);
}

// Anew whenever the layout is: a function of what was put in at first and of the space alone.
void earlier_update(tune_t *tune) {
    rows_t rows;
    double theta[GP_THETA_MAX];
    earlier_release(tune);
    if (tune->earlier == 0)
        return;
    linalg_single_thread();
    model_collect(tune, tune->earlier, &rows);
    if (rows.data.n >= MODEL_MIN) {
        warp_init(&tune->before_warp, 0, rows.data.n, rows.data.y);
        model_bend(&tune->before_warp, &rows);
        gp_prior(tune->frame.dims, theta);
        gp_fit(&rows.data, theta, true);
        if (posterior_init(&tune->before, &rows.data, theta, NULL) != ERR_OK)
            tune->before = (posterior_t){0};
    }
    rows_release(&rows);
}

// What the earlier study would have given at a point, by its own model.
static double expected(const tune_t *tune, const double *point) {
    double at[TUNE_PARAMETERS_MAX], wide[FRAME_WIDE_MAX], z[FRAME_WIDE_MAX], mean;
    memcpy(at, point, sizeof *at * (size_t)tune->space.count);
    at[tune->given] = 1;
    frame_widen(&tune->frame, at, wide);
    posterior_scale(&tune->before, 1, wide, z);
    posterior_predict(&tune->before, 1, z, &mean, NULL);
    return warp_invert(&tune->before_warp, mean);
}

// ---- its values in units of this study's ----

typedef struct {
    int n;
    double x, y, xx, yy, xy; // means; sums of squared deviations
} moments_t;

static void add(moments_t *m, double x, double y) {
    m->n++;
    double dx = x - m->x, dy = y - m->y;
    m->x += dx / m->n;
    m->y += dy / m->n;
    m->xx += dx * (x - m->x);
    m->yy += dy * (y - m->y);
    m->xy += dx * (y - m->y);
}

// this study's = a + b · the earlier one's, by what the latter's model expects where there are
// both: b = r·sd/sd, the correlation r not negative, and drawn to 1 as long as there is little to
// tell.
void earlier_align(const tune_t *tune, rows_t *rows) {
    moments_t m = {.n = 0};
    for (int i = 0; i < rows->data.n && tune->before.n > 0; i++) {
        const trial_t *trial = &tune->trials[rows->trial[i]];
        if (!trial->earlier)
            add(&m, expected(tune, trial->point), rows->data.y[i]);
    }
    if (m.n == 0)
        return;
    bool vary = m.xx > 0 && m.yy > 0;
    double r = vary ? fmax(m.xy, 0) / sqrt(m.xx * m.yy) : 0;
    double b = vary ? (m.n * r + AGREE_PRIOR) / (m.n + AGREE_PRIOR) * sqrt(m.yy / m.xx) : 1;
    for (int i = 0; i < rows->data.n; i++)
        if (tune->trials[rows->trial[i]].earlier)
            rows->data.y[i] = m.y + b * (rows->data.y[i] - m.x);
}

// ---- where to start ----

int earlier_starts(void) {
    return STARTS;
}

static double apart(const tune_t *tune, const double *a, const double *b) {
    double x[FRAME_WIDE_MAX], y[FRAME_WIDE_MAX], sum = 0;
    frame_widen(&tune->frame, a, x);
    frame_widen(&tune->frame, b, y);
    for (int c = 0; c < tune->frame.wide; c++)
        sum += pow((x[c] - y[c]) * (tune->before.n > 0 ? tune->before.factor[c] : 1), 2);
    return sum;
}

typedef struct {
    double value;
    int trial;
} ranked_t;

static int by_value(const void *a, const void *b) {
    const ranked_t *i = a, *j = b;
    if (i->value != j->value)
        return i->value < j->value ? -1 : 1;
    return i->trial - j->trial;
}

// How far from all that was asked for here; infinite: nothing was.
static double least_apart(const tune_t *tune, const double *point) {
    double least = INFINITY;
    for (int i = tune->earlier; i < tune->count; i++)
        if (tune->trials[i].state != TRIAL_FORGOTTEN)
            least = fmin(least, apart(tune, point, tune->trials[i].point));
    return least;
}

bool earlier_suggest(const tune_t *tune, double *point) {
    ranked_t ranked[TUNE_EARLIER_MAX];
    int count = 0;
    double most = -1;
    if (tune->count - tune->earlier >= STARTS)
        return false;
    for (int i = 0; i < tune->earlier; i++) {
        const trial_t *trial = &tune->trials[i];
        if (trial->state == TRIAL_DONE)
            ranked[count++] =
                (ranked_t){tune->before.n > 0 ? expected(tune, trial->point) : trial->value, i};
    }
    qsort(ranked, (size_t)count, sizeof *ranked, by_value);
    int part = count / BEST_PART > STARTS ? count / BEST_PART : STARTS;
    for (int k = 0; k < part && k < count && !isinf(most); k++) {
        double at[TUNE_PARAMETERS_MAX];
        size_t bytes = sizeof *at * (size_t)tune->space.count;
        memcpy(at, tune->trials[ranked[k].trial].point, bytes);
        tune_space_canonical(&tune->space, at);
        double least = least_apart(tune, at);
        if (study_knows(tune, at) || least <= most)
            continue;
        most = least;
        memcpy(point, at, bytes);
    }
    return most >= 0;
}
