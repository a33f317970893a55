#include "tune/gp_impl.h"

#include "tune/descend_impl.h"
#include "tune/linalg_impl.h"
#include "tune/matern_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOISE_MIN (-18.420680743952367) // ln 1e-8
#define LENGTH_LN 3.0                   // ln ℓ stays that near to its prior's mean

struct gp_objective {
    const gp_data_t *data;
    double *scaled, *k, *slope, *factor, *inverse, *spare, *alpha, *diagonal, *turned, *product;
};

static double *doubles(size_t a, size_t b) {
    return mem_alloc(sizeof(double) * (a * b + 1));
}

void gp_data_init(gp_data_t *data, const frame_t *frame, int capacity) {
    size_t n = (size_t)capacity;
    *data = (gp_data_t){.frame = frame,
                        .x = doubles(n, (size_t)frame->wide),
                        .y = doubles(n, 1),
                        .share = doubles(n, 1),
                        .own = doubles(n, 1)};
}

void gp_data_release(gp_data_t *data) {
    free(data->x);
    free(data->y);
    free(data->share);
    free(data->own);
    *data = (gp_data_t){0};
}

void gp_prior(int dims, double *theta) {
    for (int d = 0; d < dims; d++)
        theta[d] = log(0.35 * sqrt(dims));
    theta[dims] = 0;
    theta[dims + 1] = -6;
}

void gp_scale(const frame_t *frame, const double *theta, int n, const double *x, double *scaled) {
    double factor[FRAME_WIDE_MAX];
    for (int c = 0; c < frame->wide; c++)
        factor[c] = sqrt(5) * exp(-theta[frame->group[c]]);
    for (int i = 0; i < n; i++)
        for (int c = 0; c < frame->wide; c++)
            scaled[(size_t)i * (size_t)frame->wide + (size_t)c] =
                factor[c] * x[(size_t)i * (size_t)frame->wide + (size_t)c];
}

gp_objective_t *gp_objective_new(const gp_data_t *data) {
    size_t n = (size_t)data->n, wide = (size_t)data->frame->wide;
    gp_objective_t *o = mem_zero(1, sizeof *o);
    o->data = data;
    o->scaled = doubles(n, wide);
    o->turned = doubles(n, wide);
    o->product = doubles(n, wide);
    o->k = doubles(n, n);
    o->slope = doubles(n, n);
    o->factor = doubles(n, n);
    o->inverse = doubles(n, n);
    o->spare = doubles(n, n);
    o->alpha = doubles(n, 1);
    o->diagonal = doubles(n, 1);
    return o;
}

void gp_objective_free(gp_objective_t **objective) {
    gp_objective_t *o = *objective;
    if (!o)
        return;
    free(o->scaled);
    free(o->turned);
    free(o->product);
    free(o->k);
    free(o->slope);
    free(o->factor);
    free(o->inverse);
    free(o->spare);
    free(o->alpha);
    free(o->diagonal);
    free(o);
    *objective = NULL;
}

// −ln of the priors' densities, added to the value and its gradient.
static double add_priors(int dims, const double *theta, double *gradient) {
    double mean[GP_THETA_MAX], value = 0;
    gp_prior(dims, mean);
    for (int i = 0; i < dims + 2; i++) {
        double variance = i == dims + 1 ? 4 : 1, off = theta[i] - mean[i];
        value += 0.5 * off * off / variance;
        if (gradient)
            gradient[i] += off / variance;
    }
    return value;
}

double gp_factor(const double *k, int n, double s2, const double *diagonal, double *l) {
    double jitter = 0;
    for (int attempt = 0; attempt < 9; attempt++) {
        for (size_t j = 0; j < (size_t)n; j++) {
            size_t at = j * (size_t)n + j;
            memcpy(l + at, k + at, sizeof *l * ((size_t)n - j));
            l[at] += diagonal[j] + jitter;
        }
        if (linalg_cholesky(l, n, n))
            return jitter;
        jitter = attempt == 0 ? 1e-8 * s2 : jitter * 10;
    }
    return -1;
}

// With W = ααᵀ − K⁻¹, d ln p/dθ = ½ tr(W dK/dθ) (Rasmussen and Williams, 5.9). For ln ℓ of a
// coordinate x, dK/d ln ℓ = S·(xᵢ − xⱼ)² with S = slope, and for symmetric G = W∘S the sum over
// all i, j of G(xᵢ − xⱼ)² is 2 Σ xᵢ²gᵢ − 2 xᵀGx, g = G's row sums.
static void add_gradient(gp_objective_t *o, const double *theta, double *gradient) {
    const gp_data_t *data = o->data;
    const frame_t *frame = data->frame;
    int n = data->n, wide = frame->wide, dims = frame->dims;
    size_t stride = (size_t)n;
    double *w = o->inverse, *sums = o->diagonal, signal = 0, noise = 0,
           sigma2 = exp(theta[dims + 1]);
    linalg_inverse(o->factor, n, o->spare, w);
    memset(sums, 0, sizeof *sums * stride);
    for (size_t j = 0; j < stride; j++) {
        double *column = w + j * stride, *s = o->slope + j * stride, *k = o->k + j * stride;
        double diagonal = o->alpha[j] * o->alpha[j] - column[j], row = 0, below = 0;
        noise += diagonal * sigma2 * data->share[j];
        signal += diagonal * k[j];
        column[j] = 0; // xᵢ − xᵢ is 0
        for (size_t i = j + 1; i < stride; i++) {
            double v = o->alpha[i] * o->alpha[j] - column[i], g = v * s[i];
            below += v * k[i];
            column[i] = g;
            sums[i] += g;
            row += g;
        }
        sums[j] += row;
        signal += 2 * below;
    }
    for (int c = 0; c < wide; c++)
        for (size_t i = 0; i < stride; i++)
            o->turned[(size_t)c * stride + i] = o->scaled[i * (size_t)wide + (size_t)c];
    linalg_symmetric(n, wide, w, n, o->turned, n, o->product, n);
    for (int c = 0; c < wide; c++) {
        const double *x = o->turned + (size_t)c * stride, *gx = o->product + (size_t)c * stride;
        double sum = 0;
        for (size_t i = 0; i < stride; i++)
            sum += x[i] * (x[i] * sums[i] - gx[i]);
        gradient[frame->group[c]] -= sum; // ½ · 2
    }
    gradient[dims] -= 0.5 * signal;
    gradient[dims + 1] -= 0.5 * noise;
}

double gp_objective_value(gp_objective_t *o, const double *theta, double *gradient) {
    const gp_data_t *data = o->data;
    int n = data->n, dims = data->frame->dims;
    double s2 = exp(theta[dims]), sigma2 = exp(theta[dims + 1]), value = 0;
    if (gradient)
        memset(gradient, 0, sizeof *gradient * (size_t)(dims + 2));
    gp_scale(data->frame, theta, n, data->x, o->scaled);
    matern_square(data->frame->wide, s2, n, o->scaled, o->k, o->slope);
    for (int i = 0; i < n; i++)
        o->diagonal[i] = sigma2 * data->share[i] + data->own[i];
    if (gp_factor(o->k, n, s2, o->diagonal, o->factor) < 0)
        return INFINITY;
    memcpy(o->alpha, data->y, sizeof *o->alpha * (size_t)n);
    linalg_solve_lower(o->factor, n, n, o->alpha, 1, n);
    value += 0.5 * linalg_dot(n, o->alpha, o->alpha);
    linalg_solve_upper(o->factor, n, n, o->alpha, 1, n);
    for (size_t i = 0; i < (size_t)n; i++)
        value += log(o->factor[i * (size_t)n + i]);
    if (gradient)
        add_gradient(o, theta, gradient);
    value += 0.5 * (data->repeats * theta[dims + 1] + data->within / sigma2);
    if (gradient)
        gradient[dims + 1] += 0.5 * (data->repeats - data->within / sigma2);
    return value + add_priors(dims, theta, gradient);
}

static double minus_log_density(void *context, const double *theta, double *gradient) {
    return gp_objective_value(context, theta, gradient);
}

double gp_fit(const gp_data_t *data, double *theta, bool fresh) {
    int dims = data->frame->dims;
    double lo[GP_THETA_MAX], hi[GP_THETA_MAX], best = INFINITY, at[GP_THETA_MAX];
    size_t bytes = sizeof *theta * (size_t)(dims + 2);
    gp_prior(dims, at);
    for (int i = 0; i < dims + 2; i++) {
        lo[i] = i < dims ? at[i] - LENGTH_LN : i == dims ? -5 : NOISE_MIN;
        hi[i] = i < dims ? at[i] + LENGTH_LN : i == dims ? 5 : 0;
    }
    gp_objective_t *objective = gp_objective_new(data);
    descend_t task = {dims + 2, fresh ? 60 : 30, 1e-4, lo, hi, minus_log_density, objective};
    double starts[3][GP_THETA_MAX];
    memcpy(starts[0], theta, bytes);
    gp_prior(dims, starts[1]);
    gp_prior(dims, starts[2]);
    starts[1][dims + 1] = -10;
    starts[2][dims + 1] = -2;
    for (int d = 0; d < dims; d++)
        starts[2][d] -= 0.7;
    for (int start = 0; start < (fresh ? 3 : 1); start++) {
        double value = descend(&task, starts[start]);
        if (value < best) {
            best = value;
            memcpy(theta, starts[start], bytes);
        }
    }
    gp_objective_free(&objective);
    return best;
}
