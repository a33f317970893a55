// A study: trials of a space, what came of them, and the log that all of it can be rebuilt from.
//
// Decisions are made here, and stored elsewhere (study.append), in this order: a call decides and
// puts an entry into the study's list of what is unsaved; its driver stores those; only then does
// it act on the decision or tell anybody of it. So whoever replays the stored log is where the
// driver was, to the last bit (tune/optimiser.h), and whatever dies when, no later decision is
// another one. A driver whose entries are refused, because another one wrote first, throws its
// study away and replays.
//
// about, a JSON object that never changes:
//   {"schema": 1, "space": ["lr=log:1e-5..1e-2", …], "direction": "minimise" | "maximise", "seed":
//   0,
//    "strategy": "model" | "sobol" | "random", "noiseless": false, "tolerance": 0, "start": 0,
//    "prune": "none" | "asha" | "median", "first": 1, "last": 12, "eta": 3, "trials": 0}
// trials: at most so many, 0: no end. Other keys are the driver's own.
//
// Entries, each a JSON object ("do" says which):
//   {"do": "ask", "trial": 1, "params": {"lr": 0.001}, "key": "…", "why": {"kind", "mean", "sd",
//   "gain", "left", "exploring"}, "model": [12, …]}               model: what the trial was chosen
//   by, where it is not what the one before was: for whoever replays the log need not fit it again
//   {"do": "report", "trial": 1, "step": 3, "value": 0.2, "stop": false}
//   {"do": "tell", "trial": 1, "value": 0.12}
//   {"do": "prune", "trial": 1, "value": 0.3, "variance": 0.01}    stopped early; value: where it
//   was going, by what was known then
//   {"do": "fail", "trial": 1, "reason": "…"}                      by its own fault: such points
//   are avoided
//   {"do": "forget", "trial": 1, "reason": "…"}                    for its host's sake: as if never
//   asked for
//   {"do": "note", "trial": 1, "note": {…}}                        the driver's own; of trial 0,
//   the study's; newer keys win
//   {"do": "stop", "reason": "…"}, {"do": "continue"}
//   {"do": "earlier", "study": "…", "space": ["lr=log:1e-5..1e-2", …], "points": [[0.001, …], …],
//    "values": [0.12, null, …]}                                    what an earlier study has seen
//   {"do": "space", "space": ["lr=log:1e-4..1e-2", …]}             the space from here on
// Numbers are natural ones: those of the job's parameters, values as they were told.
//
// Whoever replays makes the same guesses of what stopped trials would have reached
// (tune/forecast.h), which change as other trials end. A trial that the rule of `prune` would stop
// goes on if its odds of becoming the best are above 0.3, or if fewer than three trials have shown
// where one goes from there.
//
// A study may begin with what an earlier one has seen, "warm_start" in its about: of all trials
// that ended, at most TUNE_EARLIER_MAX are copied into its first entry, so that it depends on
// nothing but its own log. The earlier space must have no other parameters, and those that it does
// not have must have a default; ranges, scales and words may differ. How much the earlier values
// tell is learnt (tune_earlier).
//
// The space may change while trials run: a parameter's definition is replaced, or one comes, which
// must have a default. Ranges may become narrower, wider, logarithmic, whole or not, or a constant;
// words may come and go. Trials so far stay, running ones go on, and what was tried is not tried
// again. What comes is within the new space; the model goes on knowing what is outside of it, at
// its true place, which on the new scale is outside of the unit interval. What is new to a trial
// counts as its default, also for the best's sake; study_trial_params() says what it was given.
// Words cannot become numbers, and no parameter can go. Early stopping knows nothing of the space.
#ifndef INKLING_STUDY_STUDY_H
#define INKLING_STUDY_STUDY_H

#include "tune/optimiser.h"
#include "tune/prune.h"

#include <jansson.h>

#define STUDY_SCHEMA     1
#define STUDY_KEY_SIZE   129
#define STUDY_TEXT_SIZE  513
#define STUDY_STEPS_MAX  1000000
#define STUDY_TRIALS_MAX 10000

typedef struct study study_t;

typedef enum {
    STUDY_RUNNING,
    STUDY_DONE,
    STUDY_PRUNED,
    STUDY_FAILED,
    STUDY_FORGOTTEN,
} study_state_t;

typedef struct {
    uint64_t step;
    double value;
} study_report_t;

typedef struct {
    uint64_t number; // from 1
    study_state_t state;
    double point[TUNE_PARAMETERS_MAX]; // of the space as it is now, maybe outside of it
    json_t *params;                    // given when the space was another one; else NULL
    tune_why_t why;
    char key[STUDY_KEY_SIZE];     // of the ask, or ""
    char reason[STUDY_TEXT_SIZE]; // of failed and forgotten ones
    double value, variance;       // of done ones; of pruned ones the present guess
    bool stop;                    // a report said that it is to stop
    uint64_t stop_step;           // … after this step, where it was
    int stop_rank, stop_of;       // the stop_rank-th best of so many that had come there by then
    study_report_t *reports;      // in the order of their coming
    size_t report_count;
    json_t *note; // object
} study_trial_t;

// Of a study that is to be: ERR_USAGE names what in about is wrong. Some of it earlier releases
// took, and made something of that nobody had meant; study_new goes on doing so, for the logs there
// are.
err_code_t study_check(const json_t *about, err_t *err);
// ERR_USAGE names what in about is wrong.
err_code_t study_new(const json_t *about, study_t **study, err_t *err);
void study_free(study_t **study); // allows NULL in it

const json_t *study_about(const study_t *study);
const tune_space_t *study_space(const study_t *study); // as it is now
bool study_maximises(const study_t *study);
const char *study_warm_start(const study_t *study); // the earlier study's name, or NULL
bool study_wants_earlier(const study_t *study);     // it has yet to begin with that
uint64_t study_limit(const study_t *study);         // of trials; 0: none

// --- The log

// An entry that is stored, in order. ERR_CORRUPT: no study has written that.
err_code_t study_replay(study_t *study, const json_t *entry, err_t *err);
uint64_t study_saved(const study_t *study); // entries that are stored
// What the calls below have decided since: borrowed until the next call; NULL with *count 0.
const json_t *const *study_unsaved(const study_t *study, size_t *count);
void study_save(study_t *study, size_t count); // the first so many are stored now

// --- Decisions

// The next trial. With a key, the trial that was asked for by it before, if there is one.
// ERR_NOT_FOUND: every point of the space has been tried; ERR_CONFLICT: the study is stopped, or
// has its number of trials.
err_code_t study_ask(study_t *study, const char *key, uint64_t *trial, err_t *err);
// What is told of a trial that has ended otherwise is ERR_CONFLICT; the same again is no error. A
// value that is not finite is a failure. ERR_NOT_FOUND: no such trial.
err_code_t study_tell(study_t *study, uint64_t trial, double value, err_t *err);
err_code_t study_fail(study_t *study, uint64_t trial, const char *reason, err_t *err);
err_code_t study_forget(study_t *study, uint64_t trial, const char *reason, err_t *err);
// The value after a step (an epoch, from 1), as the objective has it. *stop: end the trial, then
// study_prune().
err_code_t study_report(study_t *study, uint64_t trial, uint64_t step, double value, bool *stop,
                        err_t *err);
// Ends a trial before its time; its value is guessed from its reports, of which there must be one.
err_code_t study_prune(study_t *study, uint64_t trial, err_t *err);
err_code_t study_note(study_t *study, uint64_t trial, json_t *note, err_t *err); // takes note
err_code_t study_stop(study_t *study, const char *reason, err_t *err);
err_code_t study_continue(study_t *study, err_t *err);
// Lets a study that has no trial yet begin with another one, which is called so. ERR_INVALID: that
// one has no value; ERR_USAGE: another space; ERR_CONFLICT: there are trials, or it has begun so.
err_code_t study_begin_with(study_t *study, const char *name, const study_t *from, err_t *err);
// Definitions that replace those of the same names, or come behind them; the same again is no
// change. ERR_USAGE: as tune_space_merge().
err_code_t study_change(study_t *study, const char *const *texts, size_t count, err_t *err);

// --- What there is

size_t study_count(const study_t *study); // of trials
const study_trial_t *study_trial(const study_t *study,
                                 uint64_t number); // NULL: none; until the next call
size_t study_running(const study_t *study);
const char *study_stopped(const study_t *study); // the reason, or NULL
const json_t *study_notes(const study_t *study); // of the study itself
const char *study_state_text(study_state_t state);
// Does the optimiser see nothing left to gain?
bool study_should_stop(const study_t *study);
// The best trial by value among those done. ERR_NOT_FOUND: none yet.
err_code_t study_best(study_t *study, uint64_t *trial, err_t *err);
tune_t *study_tune(study_t *study); // for slices and importance

// --- Parameters

// The definitions of a space, as about has them; new reference.
json_t *study_space_texts(const tune_space_t *space);
// What the trial was given to try; new reference.
json_t *study_trial_params(const study_t *study, const study_trial_t *trial);
// What applies, as {"lr": 0.001, "batch": 32, "augment": "flip"}; new reference.
json_t *study_params(const tune_space_t *space, const double *point);
// ERR_INVALID: one that does not exist, does not apply, is missing or out of its range.
err_code_t study_point(const tune_space_t *space, const json_t *params, double *point, err_t *err);
// {"kind": "model", "mean": …}: figures that there are none of are left out. New reference.
json_t *study_why(const tune_why_t *why);

#endif
