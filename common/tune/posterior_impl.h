// What a Gaussian process knows, ready to be asked: means and variances at new points, for several
// sets of values (samples) at the same places, which share one Cholesky factor.
#ifndef INKLING_TUNE_POSTERIOR_IMPL_H
#define INKLING_TUNE_POSTERIOR_IMPL_H

#include "tune/gp_impl.h"

#define POSTERIOR_SAMPLES 16

typedef struct {
    const frame_t *frame;
    int n, samples, wide; // wide: the frame's, when this was made
    double s2, sigma2, jitter;
    double factor[FRAME_WIDE_MAX]; // √5/ℓ of each coordinate
    double *scaled;                // n × wide, point by point
    double *norms;                 // their squared lengths
    double *factored;              // L of kernel + noise, n×n
    double *alpha;                 // (LLᵀ)⁻¹·values, n × samples
} posterior_t;

// From the observations. ERR_INTERNAL: the matrix cannot be factored.
err_code_t posterior_init(posterior_t *posterior, const gp_data_t *data, const double *theta,
                          err_t *err);
// From the observations and `pending` points (wide coordinates) that have no value yet: sampled
// values for them, jointly, given the observations. If `noisy`, the observed points' true values
// are sampled too, and further points are seen as if these were known without noise. best[samples]
// is the least value of each sample, at observed and pending points that contend.
//   "noisy": Letham, Karrer, Ottoni, Bakshy: "Constrained Bayesian optimization with noisy
//   experiments", Bayesian Analysis 14, 2019. Samples by Matheron's rule: Wilson et al.,
//   "Efficiently sampling functions from Gaussian process posteriors", ICML 2020.
// least: the smallest posterior mean at observed points (used without noise).
typedef struct {
    const gp_data_t *data;
    const double *theta;
    const posterior_t *given; // of these
    int pending;
    const double *x;
    const bool
        *contends; // per observation, then per pending point: may it be the best? NULL: all may
    bool noisy;
    double least;
    uint64_t key;      // of the random numbers, with
    uint32_t trial[2]; // these counters
} posterior_fantasy_t;
err_code_t posterior_fantasise(posterior_t *posterior, const posterior_fantasy_t *wanted,
                               double best[POSTERIOR_SAMPLES], err_t *err);
void posterior_release(posterior_t *posterior); // allows one that is all zeros

// At count points z (scaled coordinates): mean[samples × count], column by point; variance[count]
// of the noise-free function, at least 1e-12 s², or NULL.
void posterior_predict(const posterior_t *posterior, int count, const double *z, double *mean,
                       double *variance);
// An upper bound on the variance that costs no solve: that given the nearest observation alone.
void posterior_bound(const posterior_t *posterior, int count, const double *z, double *mean,
                     double *variance);
// scaled = factor · wide coordinates.
void posterior_scale(const posterior_t *posterior, int count, const double *wide, double *scaled);

// One point, with what gradients need. work: 3n doubles.
typedef struct {
    double mean[POSTERIOR_SAMPLES], variance;
    double *slope, *weights; // within work: kernel slopes; K⁻¹k
} posterior_point_t;
void posterior_point(const posterior_t *posterior, const double *z, double *work,
                     posterior_point_t *point);
// Adds Σₛ by_mean[s]·∇mean[s] + by_variance·∇variance, with respect to z.
void posterior_gradient(const posterior_t *posterior, const double *z,
                        const posterior_point_t *point, const double *by_mean, double by_variance,
                        double *gradient);

#endif
