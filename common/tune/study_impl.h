// The study's record, and the model that is kept with it.
#ifndef INKLING_TUNE_STUDY_IMPL_H
#define INKLING_TUNE_STUDY_IMPL_H

#include "tune/acquire_impl.h"
#include "tune/optimiser.h"
#include "tune/sobol_impl.h"
#include "tune/warp_impl.h"

typedef enum { TRIAL_PENDING, TRIAL_DONE, TRIAL_FAILED, TRIAL_FORGOTTEN } trial_state_t;

// What counts once `ended` trials have ended, until the next.
typedef struct {
    int ended;
    double value, variance;
} told_t;

typedef struct {
    uint64_t number;
    trial_state_t state;
    int twin;        // the first trial at the same point: itself, or an earlier one
    double value;    // the less the better, whatever the user's goal
    double variance; // its own
    told_t *told;    // of a value that was told again: all of them, in order; else NULL
    int told_count;
    tune_why_t why; // kind TUNE_DRAWN if unknown
    bool inside;    // of the space as it is now
    bool earlier;   // of an earlier study
    double *point;  // canonical, or carried over from a space as it was
} trial_t;

// What is kept of the model between suggestions: a function of the ended trials and of the changes
// of the space alone, since it is brought up to date at fixed counts of them.
typedef struct {
    int fitted;     // ended trials at the last fit; 0: no model yet
    int searched;   // … of this study at the last fit from fresh starts
    int considered; // up to where the schedule was looked at
    warp_t warp;
    double theta[GP_THETA_MAX];
    bool may_fail;
    double theta_feasible[GP_THETA_MAX];
} model_t;

struct tune {
    tune_space_t space, scale; // scale: constants that were ranges are those still
    tune_config_t config;
    int changed; // trials that were asked for when the space changed last
    frame_t frame;
    sobol_t start; // of the study
    uint64_t size; // distinct points of the space
    trial_t *trials;
    int count, capacity, distinct; // distinct: points of the space, asked for and not forgotten
    int *ended, ended_count;       // trials in the order in which they ended
    model_t model;
    int earlier;        // the first so many trials are of an earlier study
    int given;          // parameters that the caller knows of; behind them is a hidden one, or none
    posterior_t before; // the earlier study's own model; n = 0: none
    warp_t before_warp;
};

// One observation per distinct point; those with noise of their own, and failures, stay apart.
typedef struct {
    gp_data_t data;
    int *trial;     // of each row, its first
    int *count;     // trials that were averaged
    double *within; // their squared deviations from the average, in units of the values
} rows_t;

// ---- optimiser.c ----

void study_lay_out(tune_t *tune); // what follows from the space
void study_add_earlier(tune_t *tune, const double *point, double value);

// ---- earlier.c ----

void earlier_hide(tune_t *tune);   // adds the hidden parameter to space and scale
void earlier_update(tune_t *tune); // the earlier study's own model, once the layout is made
void earlier_release(tune_t *tune);
// Brings earlier rows' values to the size of the others'.
void earlier_align(const tune_t *tune, rows_t *rows);
// Is an earlier trial still a row when so many have ended, the earlier ones with them?
bool earlier_counts(const tune_t *tune, int trial, int ended);
int earlier_starts(void); // trials before the model is asked
// One of these: the best of the earlier study by its model; then, of its better part, those
// farthest from all that were asked for here. False: they were asked for, or there are no others.
bool earlier_suggest(const tune_t *tune, double *point);

// ---- model.c ----

void model_collect(const tune_t *tune, int ended, rows_t *rows);
void model_bend(const warp_t *warp, rows_t *rows);

// Brings the model up to date. False: too few trials ended well.
bool model_update(tune_t *tune);
// The rows of the first `ended` trials that ended, targets warped.
void model_rows(const tune_t *tune, int ended, rows_t *rows);
void rows_release(rows_t *rows);
// Labels of feasibility: 1 or −1.
void model_labels(const tune_t *tune, int ended, gp_data_t *labels);
bool model_repeats(const tune_t *tune); // did repeated trials give the same values?
bool model_noisy(const tune_t *tune);   // is the best not known by its value?

// A model that can be asked, and its best row.
typedef struct {
    rows_t rows;
    posterior_t posterior;
    double *mean; // of each row
    int best; // row of the least mean among trials that worked, of those inside if there are any
} view_t;
err_code_t view_init(tune_t *tune, view_t *view, err_t *err); // the model must be up to date
void view_release(view_t *view);
// Mean and sd at a canonical point in units of the values, and in warped ones (may be NULL).
void view_predict(const tune_t *tune, const view_t *view, const double *point, double *mean,
                  double *sd, double *warped_mean, double *warped_sd);

// ---- search.c ----

// The most promising point that was not asked for yet, and the bound on what is left to gain.
// False: none was found. *score: ln of its expected improvement, warped units.
bool search(const tune_t *tune, const view_t *view, uint64_t trial, double *point, double *score,
            tune_why_t *why, err_t *err);
// Was that canonical point asked for, or one that differs from it by rounding only?
bool study_knows(const tune_t *tune, const double *point);
// Any point that was not asked for, at random; in small spaces by looking through all of them.
bool study_escape(const tune_t *tune, uint64_t trial, double *point);
// The canonical points of a finite space of at most `most` raw combinations, in order; NULL else.
double *study_enumerate(const tune_t *tune, size_t most, size_t *count);

#endif
