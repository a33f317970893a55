// How promising a point is: ln of the expected improvement, averaged over the samples of pending
// (and noisy) values, plus ln of the probability that a trial there does not fail.
#ifndef INKLING_TUNE_ACQUIRE_IMPL_H
#define INKLING_TUNE_ACQUIRE_IMPL_H

#include "tune/posterior_impl.h"

typedef struct {
    posterior_t objective;
    double best[POSTERIOR_SAMPLES];
    bool may_fail; // `feasible` is of labels, 1: worked, −1: failed
    posterior_t feasible;
} acquire_t;

void acquire_release(acquire_t *acquire); // allows one that is all zeros
// Of count points (wide coordinates). mean and variance (of the first sample's objective) may be
// NULL.
void acquire_scores(const acquire_t *acquire, int count, const double *wide, double *score,
                    double *mean, double *variance);
// Roughly, to choose whom to look at closely: the samples' average stands for all of them. If
// `bound`, with upper bounds in the place of variances (posterior_bound).
void acquire_sift(const acquire_t *acquire, int count, const double *wide, bool bound,
                  double *score);
// Of one point, with the gradient with respect to the wide coordinates. work: 3 · n doubles, n of
// the larger of the two.
double acquire_score(const acquire_t *acquire, const double *wide, double *work, double *gradient);

#endif
