// The optimiser of a study: it is asked for the next trial's point and told what came of it.
//
//   tune_t *tune = tune_new(&space, &config);
//   tune_ask(tune, trial, point, &why, err);      the trial is pending from now on
//   tune_tell(tune, trial, value, 0, err);        or tune_fail, tune_forget
//   tune_free(&tune);
//
// It has no clock, no file, no thread and no state but this: the asks without an end (pending) and
// the ended trials in the order in which they ended, with the changes of the space between them. A
// suggestion is a pure function of (seed, trial number, both lists), so a study that is told again
// what it was told before goes on exactly as it would have, to the last bit on the same kind of
// processor; tune_asked() puts in an ask whose point is known. Every call computes on the caller's
// thread; two studies may be used on two threads, one study not. OpenBLAS is set to one thread for
// the whole process.
//
// What it does: a Gaussian process (Matérn-5/2, automatic relevance) on warped values, expected
// improvement in its stable logarithmic form, joint fantasies for pending trials, a second process
// for the odds of failure. The internal headers have the formulas and where they come from.
#ifndef INKLING_TUNE_OPTIMISER_H
#define INKLING_TUNE_OPTIMISER_H

#include "space/space.h"

#define TUNE_TRIALS_MAX  100000
#define TUNE_ACTIVE_MAX  1000 // trials the model looks at: the best and a sample of the rest
#define TUNE_EARLIER_MAX 200  // trials of an earlier study
#define TUNE_MODEL_MAX   (12 + 2 * TUNE_PARAMETERS_MAX)
#define TUNE_STOP_RUN    5 // suggestions in a row that promise too little end a study

typedef struct tune tune_t;

typedef enum {
    TUNE_MODEL,  // the Gaussian process
    TUNE_SOBOL,  // quasi-random
    TUNE_RANDOM, // independent
} tune_strategy_t;

typedef struct {
    tune_strategy_t strategy;
    uint64_t seed;
    bool maximise;    // the values told; else the least is best
    bool noiseless;   // a trial repeated gives the same value: then none is repeated
    int start;        // trials before the model is asked; 0: max(5, parameters that vary + 1), or 3
                      // that an earlier study leads to
    double tolerance; // in units of the values: gains below it are not worth a trial; 0: any is
} tune_config_t;

// Where a suggestion comes from.
typedef enum {
    TUNE_DEFAULT,   // the parameters' defaults
    TUNE_START,     // quasi-random, before there is a model
    TUNE_MODELLED,  // most promising by the model
    TUNE_DRAWN,     // by the strategies SOBOL and RANDOM, and where the model cannot be asked
    TUNE_EARLIER,   // good in an earlier study, before there is a model of this one
    TUNE_REPLICATE, // the best point so far again, to be surer of it
    TUNE_EXHAUSTED, // no point: every point of the space has been tried
} tune_kind_t;

// Of TUNE_MODELLED and TUNE_REPLICATE; other kinds have NaN.
typedef struct {
    tune_kind_t kind;
    double mean, sd; // what the model expects there, in units of the values
    double gain;     // expected improvement on the best, in the same units, never negative
    double left;     // bound on what is left to gain anywhere: the best's mean less the least
                     // mean − 2 sd (Makarova et al., "Automatic termination for hyperparameter
                     // optimization", AutoML 2022)
    bool exploring;  // the model does not know much there (else it improves on what it knows)
} tune_why_t;

const char *tune_kind_text(tune_kind_t kind); // "model"

// The space must pass tune_space_check; it is copied.
tune_t *tune_new(const tune_space_t *space, const tune_config_t *config);
void tune_free(tune_t **tune); // allows NULL in it
// Lets a study that has no trial yet begin with what an earlier one, of another function that may
// be much like this, has seen: `count` points of `space`, which is the study's own with the words
// of the earlier one retired (tune_space_follow, tune_space_carry), and their values; NaN: it
// failed. Values need not be of this function's size: how they compare, and how much they tell, is
// learnt. ERR_USAGE: the space has TUNE_PARAMETERS_MAX parameters.
err_code_t tune_earlier(tune_t *tune, const tune_space_t *space, int count, const double *points,
                        const double *values, err_t *err);

// The next point, for a trial number not used before; canonical, and none that was asked for before
// unless as a replicate. On TUNE_EXHAUSTED nothing is pending and point is left alone.
// ERR_CONFLICT: the number is taken; ERR_FULL: TUNE_TRIALS_MAX.
err_code_t tune_ask(tune_t *tune, uint64_t trial, double *point, tune_why_t *why, err_t *err);
// A trial that was asked for in an earlier life, or that the user wants. why: what tune_ask said of
// it, or NULL. Made canonical. ERR_INVALID: outside the space; else as tune_ask.
err_code_t tune_asked(tune_t *tune, uint64_t trial, const double *point, const tune_why_t *why,
                      err_t *err);

// From now on points are of another space, one that follows this (space.h). Earlier trials stay,
// and pending ones go on: those outside of the new space count for the model where they lie, but
// are neither suggested nor what a suggestion is to improve on, as long as there is one inside. The
// model begins anew with the next suggestion, so that this, too, has its place between the ends of
// trials and no other effect on what comes. With an earlier study a space has TUNE_PARAMETERS_MAX −
// 1 parameters at most.
void tune_change(tune_t *tune, const tune_space_t *space);

// The model's parameters as they are now, TUNE_MODEL_MAX numbers at most; returns how many, 0:
// there is no model yet. The second is the number of ended trials that they were fitted to. They
// are a function of the record; who puts a study in again and loads them at the place where they
// were saved only saves the time that it takes to fit them. ERR_INVALID: they are not of these
// trials.
size_t tune_model_save(const tune_t *tune, double numbers[TUNE_MODEL_MAX]);
err_code_t tune_model_load(tune_t *tune, const double *numbers, size_t count, err_t *err);

// Ends a pending trial. variance: of this value's own noise, on top of the study's (for
// guessed values, forecast.h); else 0. A value that is not finite is a failure. ERR_CONFLICT: the
// trial is not pending; ERR_INVALID: the variance is negative or not finite.
err_code_t tune_tell(tune_t *tune, uint64_t trial, double value, double variance, err_t *err);
// A better guess of what a trial's value would have been, in place of one that was told with a
// variance; suggestions from now on go by it. ERR_CONFLICT: there is no such trial; ERR_INVALID: a
// value that is not finite, a variance that is not above 0.
err_code_t tune_retell(tune_t *tune, uint64_t trial, double value, double variance, err_t *err);
// It diverged or crashed by its own fault: such points are avoided.
err_code_t tune_fail(tune_t *tune, uint64_t trial, err_t *err);
// It came to nothing for reasons of its host: as if it had never been asked for (its number stays
// taken).
err_code_t tune_forget(tune_t *tune, uint64_t trial, err_t *err);

// True once the last TUNE_STOP_RUN modelled suggestions each had `left` below the tolerance, or
// below half the noise's standard deviation.
bool tune_should_stop(tune_t *tune);

// ---- what the study has learnt ----

// The best ended trial, of those inside of the space if there are any: by the model's mean where
// values are noisy, else by value. Its number and point, and what the model expects there (without
// a model its value and 0). ERR_NOT_FOUND: none ended well yet. Each of the pointers may be NULL.
err_code_t tune_best(tune_t *tune, uint64_t *trial, double *point, double *mean, double *sd,
                     err_t *err);
// What the model expects at `count` values of parameter i spread over its range, the others as in
// the best trial: values, means and standard deviations. Where the parameter does not apply there,
// its parent takes the first word that lets it. A category gives one per choice. Writes at most
// count, says in *written how many. ERR_NOT_FOUND: no model yet.
err_code_t tune_slice(tune_t *tune, int i, size_t count, double *value, double *mean, double *sd,
                      size_t *written, err_t *err);
// The same of all parameters at once, for about the cost of one: parameter i's values begin at
// i · count in each array, *trial is the best trial.
err_code_t tune_slices(tune_t *tune, size_t count, double *value, double *mean, double *sd,
                       size_t written[], uint64_t *trial, err_t *err);
// Shares of the model's variance over the whole space: main[space->count] by the parameter alone,
// total[space->count] with all its interactions (Sobol' indices; main by Saltelli et al., Comput.
// Phys. Commun. 181, 2010, total by Jansen, ibid. 117, 1999). Failed trials count as bad values
// do. Constants have 0. In the model's warped units. ERR_NOT_FOUND: no model yet.
err_code_t tune_importance(tune_t *tune, double *main, double *total, err_t *err);
// Ended trials of this study that the model rests on: all that were not forgotten, or of more than
// TUNE_ACTIVE_MAX distinct points the best and a sample of the others; 0 without a model.
size_t tune_rests_on(tune_t *tune);
// The standard deviation of a repeated trial's value, near the best; 0 without a model.
double tune_noise(tune_t *tune);

#endif
