#include "tune/acquire_impl.h"

#include "tune/special_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void acquire_release(acquire_t *acquire) {
    posterior_release(&acquire->objective);
    posterior_release(&acquire->feasible);
    *acquire = (acquire_t){0};
}

// ln of the mean over samples of σ·h((best − mean)/σ); share (may be NULL): what each sample adds.
static double log_mean_improvement(const acquire_t *a, const double *mean, double sd,
                                   double *share) {
    int samples = a->objective.samples;
    double logs[POSTERIOR_SAMPLES], most = -INFINITY, sum = 0;
    for (int s = 0; s < samples; s++) {
        logs[s] = log_improvement((a->best[s] - mean[s]) / sd);
        most = logs[s] > most ? logs[s] : most;
    }
    for (int s = 0; s < samples; s++)
        sum += exp(logs[s] - most);
    if (share)
        for (int s = 0; s < samples; s++)
            share[s] = exp(logs[s] - most) / sum;
    return log(sd) + most + log(sum / samples);
}

static double *scaled(const posterior_t *p, int count, const double *wide) {
    double *z = mem_alloc(sizeof *z * (size_t)count * (size_t)p->frame->wide);
    posterior_scale(p, count, wide, z);
    return z;
}

static void add_feasible(const acquire_t *a, int count, const double *wide, bool bound,
                         double *score) {
    if (!a->may_fail)
        return;
    double *z = scaled(&a->feasible, count, wide);
    double *mean = mem_alloc(2 * sizeof *mean * (size_t)count), *variance = mean + count;
    (bound ? posterior_bound : posterior_predict)(&a->feasible, count, z, mean, variance);
    for (int i = 0; i < count; i++)
        score[i] += normal_log_cdf(mean[i] / sqrt(variance[i]));
    free(z);
    free(mean);
}

void acquire_scores(const acquire_t *a, int count, const double *wide, double *score, double *mean,
                    double *variance) {
    const posterior_t *p = &a->objective;
    double *z = scaled(p, count, wide);
    double *means = mem_alloc(sizeof *means * (size_t)count * (size_t)p->samples);
    double *variances = mem_alloc(sizeof *variances * (size_t)count);
    posterior_predict(p, count, z, means, variances);
    for (int i = 0; i < count; i++) {
        const double *at = means + (size_t)i * (size_t)p->samples;
        score[i] = log_mean_improvement(a, at, sqrt(variances[i]), NULL);
        if (mean) {
            mean[i] = at[0];
            variance[i] = variances[i];
        }
    }
    free(z);
    free(means);
    free(variances);
    add_feasible(a, count, wide, false, score);
}

void acquire_sift(const acquire_t *a, int count, const double *wide, bool bound, double *score) {
    const posterior_t *p = &a->objective;
    double *z = scaled(p, count, wide);
    double *means = mem_alloc(sizeof *means * (size_t)count * (size_t)p->samples);
    double *variances = mem_alloc(sizeof *variances * (size_t)count), best = 0;
    for (int s = 0; s < p->samples; s++)
        best += a->best[s] / p->samples;
    (bound ? posterior_bound : posterior_predict)(p, count, z, means, variances);
    for (int i = 0; i < count; i++) {
        double mean = 0, sd = sqrt(variances[i]);
        for (int s = 0; s < p->samples; s++)
            mean += means[(size_t)i * (size_t)p->samples + (size_t)s] / p->samples;
        score[i] = log(sd) + log_improvement((best - mean) / sd);
    }
    free(z);
    free(means);
    free(variances);
    add_feasible(a, count, wide, bound, score);
}

// d ln(σh(u))/dμ = −Φ/(σh), d/dσ = φ/(σh): ratios of what may underflow, by their logarithms.
static double objective_part(const acquire_t *a, const double *wide, double *work,
                             double *gradient) {
    const posterior_t *p = &a->objective;
    double z[FRAME_WIDE_MAX], share[POSTERIOR_SAMPLES], by_mean[POSTERIOR_SAMPLES];
    posterior_point_t at;
    posterior_scale(p, 1, wide, z);
    posterior_point(p, z, work, &at);
    double sd = sqrt(at.variance), by_sd = 0;
    double value = log_mean_improvement(a, at.mean, sd, share);
    for (int s = 0; s < p->samples; s++) {
        double u = (a->best[s] - at.mean[s]) / sd, h = log_improvement(u);
        by_mean[s] = -share[s] * exp(normal_log_cdf(u) - h) / sd;
        by_sd += share[s] * exp(normal_log_density(u) - h) / sd;
    }
    posterior_gradient(p, z, &at, by_mean, by_sd / (2 * sd), gradient);
    for (int c = 0; c < p->frame->wide; c++)
        gradient[c] *= p->factor[c];
    return value;
}

// ln Φ(t) with t = mean/sd.
static double feasible_part(const acquire_t *a, const double *wide, double *work,
                            double *gradient) {
    const posterior_t *p = &a->feasible;
    double z[FRAME_WIDE_MAX], slope[FRAME_WIDE_MAX];
    posterior_point_t at;
    posterior_scale(p, 1, wide, z);
    posterior_point(p, z, work, &at);
    double sd = sqrt(at.variance), t = at.mean[0] / sd, value = normal_log_cdf(t);
    double by_t = exp(normal_log_density(t) - value), by_mean = by_t / sd;
    memset(slope, 0, sizeof *slope * (size_t)p->frame->wide);
    posterior_gradient(p, z, &at, &by_mean, -by_t * t / (2 * at.variance), slope);
    for (int c = 0; c < p->frame->wide; c++)
        gradient[c] += slope[c] * p->factor[c];
    return value;
}

double acquire_score(const acquire_t *a, const double *wide, double *work, double *gradient) {
    memset(gradient, 0, sizeof *gradient * (size_t)a->objective.frame->wide);
    double value = objective_part(a, wide, work, gradient);
    return a->may_fail ? value + feasible_part(a, wide, work, gradient) : value;
}
