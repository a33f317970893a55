// Where a trial's value goes from an epoch to its last, judged by trials that have gone there.
//
// The way w (the last value less the value at the epoch) is taken for a linear function of that
// value and of the point's coordinates (a small learning rate has further to go), with Gaussian
// priors on its weights: Bayesian linear regression in its dual form (Rasmussen and Williams:
// "Gaussian Processes for Machine Learning", 2.1), on standardised values; the scales of weights
// and noise are those of a small grid with the greatest evidence.
#ifndef INKLING_TUNE_FORECAST_H
#define INKLING_TUNE_FORECAST_H

#include "tune/optimiser.h"

#define TUNE_FORECAST_LEAST 3  // courses below which nothing is known
#define TUNE_FORECAST_MOST  64 // that are looked at

// A trial that has ended well.
typedef struct {
    const double *point;
    double value, last; // at the epoch, and its last; both finite
} tune_course_t;

typedef struct tune_forecast tune_forecast_t;

// From the first TUNE_FORECAST_MOST of `count` courses, whose points are of the study's space as it
// is now. NULL: fewer than TUNE_FORECAST_LEAST.
tune_forecast_t *tune_forecast_new(const tune_t *tune, const tune_course_t *courses, size_t count);
void tune_forecast_free(tune_forecast_t **forecast); // allows NULL in it
// What a trial's last value will be that has `value` at the epoch, and the variance of that guess,
// above 0.
void tune_forecast_at(const tune_forecast_t *forecast, const double *point, double value,
                      double *mean, double *variance);

#endif
