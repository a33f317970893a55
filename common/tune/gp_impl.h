// A Gaussian process with zero mean and a Matérn-5/2 kernel, a length scale per dimension. Its
// hyperparameters maximise the posterior density. θ = (ln ℓ of each dimension, ln s², ln σ²), with
//
//   ln ℓ ~ N(ln 0.35√d, 1)   (in the unit cube; grows with √d as distances do: Hvarfner, Hellsten,
//                             Nardi: "Vanilla Bayesian optimization performs great in high
//                             dimensions", ICML 2024)
//   ln s² ~ N(0, 1), ln σ² ~ N(−6, 2²), σ² within [1e-8, 1]
//
// for targets of about unit variance.
#ifndef INKLING_TUNE_GP_IMPL_H
#define INKLING_TUNE_GP_IMPL_H

#include "tune/frame_impl.h"

#define GP_THETA_MAX (TUNE_PARAMETERS_MAX + 2)

// n observations. Rows' noise is σ²·share + own.
typedef struct {
    const frame_t *frame;
    int n;
    double *x; // n × wide coordinates, point by point
    double *y, *share, *own;
    int repeats;   // observations that went into rows' averages beyond the first of each
    double within; // squared deviations of all from their averages: with `repeats` degrees of
                   // freedom they tell of σ² what averages cannot
} gp_data_t;

void gp_data_init(gp_data_t *data, const frame_t *frame, int capacity);
void gp_data_release(gp_data_t *data);

void gp_prior(int dims, double *theta); // the priors' means
// Scaled coordinates √5·x/ℓ of n points.
void gp_scale(const frame_t *frame, const double *theta, int n, const double *x, double *scaled);

// −ln of the posterior density at θ, up to a constant, and its gradient if that is not NULL.
// Infinite if K cannot be factored.
typedef struct gp_objective gp_objective_t;
gp_objective_t *gp_objective_new(const gp_data_t *data); // borrows data
void gp_objective_free(gp_objective_t **objective);
double gp_objective_value(gp_objective_t *objective, const double *theta, double *gradient);

// Maximises from theta and, if `fresh`, from two fixed points besides. Returns −ln density.
double gp_fit(const gp_data_t *data, double *theta, bool fresh);

// l = the factor of k + diagonal, n×n, two matrices; with jitter s²·1e-8·10^k from the smallest k
// that works. Returns the jitter, or −1 if even k = 7 does not.
double gp_factor(const double *k, int n, double s2, const double *diagonal, double *l);

#endif
