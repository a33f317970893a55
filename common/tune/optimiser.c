#include "tune/linalg_impl.h"
#include "tune/purpose_impl.h"
#include "tune/special_impl.h"
#include "tune/study_impl.h"

#include "base/philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REPLICATES_MAX 3    // of one point, beside its first trial
#define KNOWN_SD       0.35 // of the values' spread: below it a suggestion exploits

const char *tune_kind_text(tune_kind_t kind) {
    static const char *const texts[] = {"default", "start",     "model",    "drawn",
                                        "earlier", "replicate", "exhausted"};
    return texts[kind];
}

// What follows from the space.
void study_lay_out(tune_t *tune) {
    frame_init(&tune->frame, &tune->space, &tune->scale);
    tune->size = tune_space_size(&tune->space);
    sobol_init(&tune->start, tune->frame.dims);
    sobol_shift(&tune->start, tune->config.seed, 0, 0, PURPOSE_START);
}

tune_t *tune_new(const tune_space_t *space, const tune_config_t *config) {
    tune_t *tune = mem_zero(1, sizeof *tune);
    ERR_ASSERT(tune_space_check(space, NULL) == ERR_OK);
    tune->space = tune->scale = *space;
    tune->config = *config;
    tune->given = space->count;
    study_lay_out(tune);
    return tune;
}

void tune_free(tune_t **tune) {
    if (!*tune)
        return;
    for (int i = 0; i < (*tune)->count; i++) {
        free((*tune)->trials[i].point);
        free((*tune)->trials[i].told);
    }
    free((*tune)->trials);
    free((*tune)->ended);
    earlier_release(*tune);
    free(*tune);
    *tune = NULL;
}

// ---- the record ----

static trial_t *find(const tune_t *tune, uint64_t number) {
    if (tune->count > 0) { // where it is if numbers go up by one
        uint64_t back = tune->trials[tune->count - 1].number - number;
        int i = back < (uint64_t)tune->count ? tune->count - 1 - (int)back : 0;
        if (tune->trials[i].number == number)
            return &tune->trials[i];
    }
    for (int i = tune->count - 1; i >= 0; i--)
        if (tune->trials[i].number == number)
            return &tune->trials[i];
    return NULL;
}

static err_code_t check_new(const tune_t *tune, uint64_t number, err_t *err) {
    if (find(tune, number))
        return err_set(err, ERR_CONFLICT, "trial %llu was asked for before",
                       (unsigned long long)number);
    if (tune->count == TUNE_TRIALS_MAX)
        return err_set(err, ERR_FULL, "a study has at most %d trials", TUNE_TRIALS_MAX);
    return ERR_OK;
}

// ---- a space that changes ----

// The hidden parameter, if there is one, stays the last.
static void carry(const tune_space_t *from, const tune_space_t *to, trial_t *trial) {
    double point[TUNE_PARAMETERS_MAX + 1];
    memcpy(point, trial->point, sizeof *point * (size_t)from->count);
    tune_space_carry(from, to, point);
    point[to->count] = trial->earlier;
    trial->point = mem_grow(trial->point, sizeof *point * (size_t)(to->count + 1));
    memcpy(trial->point, point, sizeof *point * (size_t)(to->count + 1));
    trial->inside = !trial->earlier && tune_space_contains(to, point, NULL) == ERR_OK;
}

// The first trial at the same point that counts, or -1.
static int find_twin(const tune_t *tune, const double *point) {
    for (int i = 0; i < tune->count; i++)
        if (tune->trials[i].state != TRIAL_FORGOTTEN &&
            memcmp(tune->trials[i].point, point, sizeof *point * (size_t)tune->space.count) == 0)
            return i;
    return -1;
}

// Points may have come to differ, or to be the same.
static void find_twins(tune_t *tune) {
    int count = tune->count;
    tune->distinct = 0;
    for (tune->count = 0; tune->count < count; tune->count++) {
        trial_t *trial = &tune->trials[tune->count];
        int twin = find_twin(tune, trial->point);
        trial->twin = twin < 0 ? tune->count : twin;
        tune->distinct += twin < 0 && trial->inside && trial->state != TRIAL_FORGOTTEN;
    }
}

void tune_change(tune_t *tune, const tune_space_t *space) {
    tune_space_t was = tune->space;
    ERR_ASSERT(tune_space_check(space, NULL) == ERR_OK);
    ERR_ASSERT(tune->earlier == 0 || space->count < TUNE_PARAMETERS_MAX);
    tune_space_t scale = *space;
    for (int i = 0; i < scale.count; i++) {
        int before = tune_space_find(&was, scale.parameters[i].name);
        if (before >= 0 && scale.parameters[i].type == TUNE_CONSTANT)
            scale.parameters[i] = tune->scale.parameters[before];
    }
    for (int i = 0; i < tune->count; i++)
        carry(&was, space, &tune->trials[i]);
    tune->space = *space;
    tune->scale = scale;
    tune->changed = tune->count;
    tune->given = space->count;
    if (tune->earlier > 0)
        earlier_hide(tune);
    find_twins(tune);
    study_lay_out(tune);
    earlier_update(tune);
    tune->model = (model_t){.considered = tune->ended_count > 0 ? tune->ended_count - 1 : 0};
}

static void add(tune_t *tune, uint64_t number, const double *point, const tune_why_t *why) {
    if (tune->count == tune->capacity) {
        tune->capacity = tune->capacity ? 2 * tune->capacity : 64;
        tune->trials = mem_grow(tune->trials, sizeof *tune->trials * (size_t)tune->capacity);
        tune->ended = mem_grow(tune->ended, sizeof *tune->ended * (size_t)tune->capacity);
    }
    double *kept = mem_alloc(sizeof *kept * (size_t)tune->space.count);
    memcpy(kept, point, sizeof *kept * (size_t)tune->space.count);
    int twin = find_twin(tune, point);
    if (twin < 0) {
        twin = tune->count;
        tune->distinct++;
    }
    tune->trials[tune->count++] =
        (trial_t){.number = number, .twin = twin, .why = *why, .inside = true, .point = kept};
}

// Their numbers are from the other end.
void study_add_earlier(tune_t *tune, const double *point, double value) {
    tune_why_t why = {.kind = TUNE_EARLIER};
    add(tune, UINT64_MAX - (uint64_t)tune->count, point, &why);
    trial_t *trial = &tune->trials[tune->count - 1];
    tune->distinct = 0;
    trial->inside = false;
    trial->earlier = true;
    trial->value = value;
    trial->state = isfinite(value) ? TRIAL_DONE : TRIAL_FAILED;
    tune->ended[tune->ended_count++] = tune->count - 1;
}

static err_code_t find_pending(const tune_t *tune, uint64_t number, trial_t **trial, err_t *err) {
    *trial = find(tune, number);
    if (*trial && (*trial)->state == TRIAL_PENDING)
        return ERR_OK;
    return err_set(err, ERR_CONFLICT, "trial %llu is not pending", (unsigned long long)number);
}

static void end(tune_t *tune, trial_t *trial, trial_state_t state) {
    trial->state = state;
    tune->ended[tune->ended_count++] = (int)(trial - tune->trials);
}

err_code_t tune_tell(tune_t *tune, uint64_t number, double value, double variance, err_t *err) {
    trial_t *trial;
    if (!(variance >= 0) || !isfinite(variance))
        return err_set(err, ERR_INVALID, "trial %llu: a variance of %g", (unsigned long long)number,
                       variance);
    err_code_t code = find_pending(tune, number, &trial, err);
    if (code)
        return code;
    trial->value = tune->config.maximise ? -value : value;
    trial->variance = variance;
    end(tune, trial, isfinite(value) ? TRIAL_DONE : TRIAL_FAILED);
    return ERR_OK;
}

// What counted before the trials that the model has looked at is not asked for any more.
static void forget_told(const tune_t *tune, trial_t *trial) {
    int old = 0;
    while (old + 1 < trial->told_count && trial->told[old + 1].ended <= tune->model.considered)
        old++;
    trial->told_count -= old;
    memmove(trial->told, trial->told + old, sizeof *trial->told * (size_t)trial->told_count);
}

static void note_told(const tune_t *tune, trial_t *trial) {
    if (trial->told)
        forget_told(tune, trial);
    trial->told = mem_grow(trial->told, sizeof *trial->told * (size_t)(trial->told_count + 1));
    trial->told[trial->told_count++] = (told_t){tune->ended_count, trial->value, trial->variance};
}

err_code_t tune_retell(tune_t *tune, uint64_t number, double value, double variance, err_t *err) {
    trial_t *trial = find(tune, number);
    if (!(variance > 0) || !isfinite(variance) || !isfinite(value))
        return err_set(err, ERR_INVALID, "trial %llu: a value of %g with a variance of %g",
                       (unsigned long long)number, value, variance);
    if (!trial || trial->state != TRIAL_DONE || trial->variance == 0)
        return err_set(err, ERR_CONFLICT, "trial %llu has no value that was a guess",
                       (unsigned long long)number);
    value = tune->config.maximise ? -value : value;
    if (value == trial->value && variance == trial->variance)
        return ERR_OK;
    if (!trial->told) { // from its end on
        note_told(tune, trial);
        trial->told[0].ended = 0;
    }
    trial->value = value;
    trial->variance = variance;
    note_told(tune, trial);
    return ERR_OK;
}

err_code_t tune_fail(tune_t *tune, uint64_t number, err_t *err) {
    return tune_tell(tune, number, NAN, 0, err);
}

// The next trial at the same point, if there is one, is its first now.
err_code_t tune_forget(tune_t *tune, uint64_t number, err_t *err) {
    trial_t *trial;
    err_code_t code = find_pending(tune, number, &trial, err);
    if (code)
        return code;
    int gone = (int)(trial - tune->trials), heir = -1;
    trial->state = TRIAL_FORGOTTEN;
    for (int i = gone + 1; i < tune->count && trial->twin == gone; i++)
        if (tune->trials[i].twin == gone && tune->trials[i].state != TRIAL_FORGOTTEN) {
            heir = heir < 0 ? i : heir;
            tune->trials[i].twin = heir;
        }
    if (trial->twin == gone && heir < 0 && trial->inside)
        tune->distinct--;
    return ERR_OK;
}

// ---- suggestions ----

static tune_why_t why_of(tune_kind_t kind) {
    return (tune_why_t){.kind = kind, .mean = NAN, .sd = NAN, .gain = NAN, .left = NAN};
}

static void draw_random(const tune_t *tune, uint64_t trial, double *point) {
    double at[TUNE_PARAMETERS_MAX];
    for (int d = 0; d < tune->frame.dims; d++) {
        philox_t r = philox(tune->config.seed, (uint32_t)trial, (uint32_t)(trial >> 32),
                            PURPOSE_RANDOM, (uint32_t)d);
        at[d] = (r.v[0] + 0.5) * 0x1p-32;
    }
    frame_decode(&tune->frame, at, point);
}

static void draw_sobol(const tune_t *tune, uint64_t trial, double *point) {
    double at[TUNE_PARAMETERS_MAX];
    sobol_point(&tune->start, (uint32_t)trial, at);
    frame_decode(&tune->frame, at, point);
}

static bool has_defaults(const tune_space_t *space) {
    for (int i = 0; i < space->count; i++)
        if (space->parameters[i].has_default && space->parameters[i].type != TUNE_CONSTANT)
            return true;
    return false;
}

// Trials before there is a model.
static int starts(const tune_t *tune) {
    int dims = 0;
    if (tune->config.start > 0)
        return tune->config.start;
    if (tune->earlier > 0)
        return earlier_starts();
    for (int d = 0; d < tune->frame.dims; d++)
        dims += frame_varies(&tune->frame, d);
    return dims + 1 > 5 ? dims + 1 : 5;
}

// A point without the model, none that is known. False: there is none.
static bool ask_plainly(const tune_t *tune, uint64_t trial, tune_kind_t kind, double *point,
                        tune_why_t *why) {
    *why = why_of(kind);
    if (tune->count == tune->earlier && has_defaults(&tune->space) && kind == TUNE_START) {
        why->kind = TUNE_DEFAULT;
        tune_space_defaults(&tune->space, point);
        return true;
    }
    if (kind == TUNE_START && tune->earlier > 0 && earlier_suggest(tune, point)) {
        why->kind = TUNE_EARLIER;
        return true;
    }
    if (tune->config.strategy == TUNE_RANDOM)
        draw_random(tune, trial, point);
    else
        draw_sobol(tune, trial, point);
    return !study_knows(tune, point) || study_escape(tune, trial, point);
}

// ln of what a further trial of the best point is expected to gain: its mean would move by
// N(0, s̃²), s̃² = variance²/(variance + noise), and with it the choice between it and the runner-up
// (knowledge gradient: Frazier, Powell, Dayanik, INFORMS J. Comput. 21, 2009).
static double replicate_score(const tune_t *tune, const view_t *view) {
    const rows_t *rows = &view->rows;
    double second = INFINITY, wide[FRAME_WIDE_MAX], z[FRAME_WIDE_MAX], mean, variance;
    for (int i = 0; i < rows->data.n; i++)
        if (i != view->best && view->mean[i] < second)
            second = view->mean[i];
    frame_widen(&tune->frame, tune->trials[rows->trial[view->best]].point, wide);
    posterior_scale(&view->posterior, 1, wide, z);
    posterior_predict(&view->posterior, 1, z, &mean, &variance);
    double sd = variance / sqrt(variance + view->posterior.sigma2);
    return log(sd) + log_improvement((view->mean[view->best] - second) / sd);
}

// Is the best point known too little? Only where repeating it tells something, and not while a
// repetition is under way.
static bool wants_replicate(const tune_t *tune, const view_t *view, double score) {
    int first = view->rows.trial[view->best], count = 0;
    if (!model_noisy(tune) || tune->trials[first].variance > 0 || !tune->trials[first].inside)
        return false;
    for (int i = 0; i < tune->count; i++) {
        const trial_t *t = &tune->trials[i];
        if (t->twin != tune->trials[first].twin || t->state == TRIAL_FORGOTTEN)
            continue;
        if (t->state == TRIAL_PENDING)
            return false;
        count++;
    }
    return count <= REPLICATES_MAX && replicate_score(tune, view) > score;
}

// Expected improvement in units of the values: the warp's inverse over 64 quantiles.
static double expected_gain(const tune_t *tune, double best, double mean, double sd) {
    double sum = 0;
    for (int i = 0; i < 64; i++) {
        double w = mean + sd * normal_quantile((i + 0.5) / 64);
        double gain = best - warp_invert(&tune->model.warp, w);
        sum += gain > 0 ? gain / 64 : 0;
    }
    return sum;
}

static void explain(const tune_t *tune, const view_t *view, const double *point, tune_why_t *why) {
    double mean, sd;
    view_predict(tune, view, point, &why->mean, &why->sd, &mean, &sd);
    double best = warp_invert(&tune->model.warp, view->mean[view->best]);
    why->gain = expected_gain(tune, best, mean, sd);
    why->exploring = sd > KNOWN_SD;
    if (tune->config.maximise)
        why->mean = -why->mean;
}

// False: the model has no suggestion.
static bool ask_model(tune_t *tune, uint64_t trial, double *point, tune_why_t *why) {
    view_t view;
    double score = -INFINITY;
    if (!model_update(tune) || view_init(tune, &view, NULL) != ERR_OK)
        return false;
    *why = why_of(TUNE_MODELLED);
    bool found = search(tune, &view, trial, point, &score, why, NULL);
    if (found && wants_replicate(tune, &view, score)) {
        why->kind = TUNE_REPLICATE;
        const double *best = tune->trials[view.rows.trial[view.best]].point;
        memcpy(point, best, sizeof *point * (size_t)tune->space.count);
    }
    if (found)
        explain(tune, &view, point, why);
    view_release(&view);
    return found;
}

err_code_t tune_ask(tune_t *tune, uint64_t trial, double *point, tune_why_t *why, err_t *err) {
    tune_why_t reason;
    double found[TUNE_PARAMETERS_MAX];
    err_code_t code = check_new(tune, trial, err);
    if (code)
        return code;
    linalg_single_thread();
    bool done = false, plain = tune->config.strategy != TUNE_MODEL;
    int counted = -tune->earlier;
    for (int i = 0; i < tune->count && !plain; i++)
        counted += tune->trials[i].state != TRIAL_FORGOTTEN;
    if ((uint64_t)tune->distinct >= tune->size) {
        *why = why_of(TUNE_EXHAUSTED);
        return ERR_OK;
    }
    bool start = !plain && counted < starts(tune);
    if (!plain && !start)
        done = ask_model(tune, trial, found, &reason);
    if (!done)
        done = ask_plainly(tune, trial, start ? TUNE_START : TUNE_DRAWN, found, &reason);
    if (!done) {
        *why = why_of(TUNE_EXHAUSTED);
        return ERR_OK;
    }
    // A point that is none would make the study's log unreadable.
    if (tune_space_contains(&tune->space, found, NULL) != ERR_OK)
        return err_set(err, ERR_INTERNAL, "the suggestion for trial %llu lies outside of the space",
                       (unsigned long long)trial);
    add(tune, trial, found, &reason);
    memcpy(point, found, sizeof *point * (size_t)tune->given);
    *why = reason;
    return ERR_OK;
}

err_code_t tune_asked(tune_t *tune, uint64_t trial, const double *point, const tune_why_t *why,
                      err_t *err) {
    double canonical[TUNE_PARAMETERS_MAX] = {0}; // a hidden parameter's 0 with them
    tune_why_t unknown = why_of(TUNE_DRAWN);
    err_code_t code = check_new(tune, trial, err);
    memcpy(canonical, point, sizeof *point * (size_t)tune->given);
    if (code == ERR_OK)
        code = tune_space_contains(&tune->space, canonical, err);
    if (code)
        return code;
    tune_space_canonical(&tune->space, canonical);
    add(tune, trial, canonical, why ? why : &unknown);
    return ERR_OK;
}
