// Early stopping of trials that will not be among the best. One writer keeps it; trials report
// their values as they go, in any order and as often as they like.
//
// ASHA, stopping variant (Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar: "A
// system for massively parallel hyperparameter tuning", MLSys 2020): rungs at epochs first,
// first·η, first·η², … below `last`. A trial stops at a rung if it is not among the best 1/η of
// those that have come to it, itself included. Median rule (Golovin et al.: "Google Vizier", KDD
// 2017): at every epoch from `first` on a trial stops if its best so far is worse than the median
// of the others' values at that epoch. Either way only values of equal epochs are compared; the
// first 2η at an epoch go on; and so does a trial among the best `keep` of an epoch.
//
// A pruned trial still tells something: forecast.h guesses the value it was going to have.
#ifndef INKLING_TUNE_PRUNE_H
#define INKLING_TUNE_PRUNE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define TUNE_PRUNE_REPORTS_MAX 1000000

typedef enum { TUNE_PRUNE_ASHA, TUNE_PRUNE_MEDIAN } tune_prune_rule_t;

typedef struct {
    tune_prune_rule_t rule;
    int eta;   // 2 to 16; 0: 3
    int first; // epochs before the first look, at least 1; 0: 1
    int last;  // the epochs of a whole trial
    int keep;  // trials that are safe at an epoch; 0: 1
    bool maximise;
} tune_prune_config_t;

typedef struct tune_prune tune_prune_t;

// ERR_USAGE: eta, first, last or keep makes no sense.
err_code_t tune_prune_new(const tune_prune_config_t *config, tune_prune_t **prune, err_t *err);
void tune_prune_free(tune_prune_t **prune);

// Is something decided at that epoch? Only then a report counts.
bool tune_prune_looks(const tune_prune_t *prune, int epoch);
// The value after that epoch (counted from 1); not finite: the worst there is. The first report of
// a trial and epoch counts and decides; to the same report again the answer is the same. *stop: end
// the trial; once true for a trial, true for all its later epochs. ERR_INVALID: no such epoch;
// ERR_FULL: TUNE_PRUNE_REPORTS_MAX.
err_code_t tune_prune_report(tune_prune_t *prune, uint64_t trial, int epoch, double value,
                             bool *stop, err_t *err);
// What a report decided, decided otherwise: a trial that goes on is looked at again at the next
// such epoch. No effect if that report did not count.
void tune_prune_overrule(tune_prune_t *prune, uint64_t trial, int epoch, bool stop);
// How a report that counted stood among those that had come to its epoch by then (median rule: the
// trial's best so far among the others' values there): `rank` of `of`, itself included, 1 the best.
// False: no report of that trial and epoch counted.
bool tune_prune_standing(const tune_prune_t *prune, uint64_t trial, int epoch, int *rank, int *of);

#endif
