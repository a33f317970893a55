#include "tune/posterior_impl.h"

#include "base/philox.h"
#include "tune/linalg_impl.h"
#include "tune/matern_impl.h"
#include "tune/purpose_impl.h"
#include "tune/sobol_impl.h"
#include "tune/special_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *doubles(size_t a, size_t b) {
    return mem_alloc(sizeof(double) * (a * b + 1));
}

// Everything but the factor's and alpha's contents, for n observations and more points. Returns
// their kernel (lower triangle), the caller's.
static double *prepare(posterior_t *p, const gp_data_t *data, const double *theta, int more,
                       const double *x, int samples) {
    const frame_t *frame = data->frame;
    size_t wide = (size_t)frame->wide, n = (size_t)data->n + (size_t)more;
    *p = (posterior_t){.frame = frame,
                       .n = (int)n,
                       .samples = samples,
                       .wide = frame->wide,
                       .s2 = exp(theta[frame->dims]),
                       .sigma2 = exp(theta[frame->dims + 1]),
                       .scaled = doubles(n, wide),
                       .norms = doubles(n, 1),
                       .factored = doubles(n, n),
                       .alpha = doubles(n, (size_t)samples)};
    for (size_t c = 0; c < wide; c++)
        p->factor[c] = sqrt(5) * exp(-theta[frame->group[c]]);
    posterior_scale(p, data->n, data->x, p->scaled);
    posterior_scale(p, more, x, p->scaled + (size_t)data->n * wide);
    for (size_t i = 0; i < n; i++)
        p->norms[i] = linalg_dot((int)wide, p->scaled + i * wide, p->scaled + i * wide);
    double *kernel = doubles(n, n);
    matern_square((int)wide, p->s2, (int)n, p->scaled, kernel, p->factored);
    return kernel;
}

void posterior_scale(const posterior_t *p, int count, const double *wide, double *scaled) {
    ERR_ASSERT(p->wide == p->frame->wide);
    for (size_t i = 0; i < (size_t)count; i++)
        for (size_t c = 0; c < (size_t)p->frame->wide; c++)
            scaled[i * (size_t)p->frame->wide + c] =
                p->factor[c] * wide[i * (size_t)p->frame->wide + c];
}

void posterior_release(posterior_t *p) {
    free(p->scaled);
    free(p->norms);
    free(p->factored);
    free(p->alpha);
    *p = (posterior_t){0};
}

// Rows' noise; pending ones have none.
static double *noise_of(const posterior_t *p, const gp_data_t *data) {
    double *noise = doubles((size_t)p->n, 1);
    for (int i = 0; i < p->n; i++)
        noise[i] = i < data->n ? p->sigma2 * data->share[i] + data->own[i] : 0;
    return noise;
}

static err_code_t factor(posterior_t *p, const double *kernel, const double *diagonal, err_t *err) {
    p->jitter = gp_factor(kernel, p->n, p->s2, diagonal, p->factored);
    if (p->jitter >= 0)
        return ERR_OK;
    return err_set(err, ERR_INTERNAL, "the model's covariance of %d trials cannot be factored",
                   p->n);
}

err_code_t posterior_init(posterior_t *p, const gp_data_t *data, const double *theta, err_t *err) {
    double *kernel = prepare(p, data, theta, 0, NULL, 1), *noise = noise_of(p, data);
    err_code_t code = factor(p, kernel, noise, err);
    free(kernel);
    free(noise);
    if (code) {
        posterior_release(p);
        return code;
    }
    memcpy(p->alpha, data->y, sizeof *p->alpha * (size_t)p->n);
    linalg_solve_lower(p->factored, p->n, p->n, p->alpha, 1, p->n);
    linalg_solve_upper(p->factored, p->n, p->n, p->alpha, 1, p->n);
    return ERR_OK;
}

// ---- samples ----

// Standard normal numbers, count × samples, in antithetic pairs of columns; quasi-random where few
// are wanted.
static void draw_normals(const posterior_fantasy_t *wanted, uint32_t purpose, int count,
                         int samples, double *out) {
    sobol_t *sobol = mem_zero(1, sizeof *sobol);
    bool quasi = count <= SOBOL_DIMS_MAX;
    sobol_init(sobol, quasi ? count : 0);
    sobol_shift(sobol, wanted->key, wanted->trial[0], wanted->trial[1], purpose);
    for (int s = 0; s < samples; s += 2) {
        double *a = out + (size_t)s * (size_t)count, *b = a + count;
        sobol_point(sobol, (uint32_t)s / 2, a);
        for (int i = 0; i < count; i++) {
            if (!quasi) {
                philox_t r = philox(wanted->key, wanted->trial[0], wanted->trial[1], purpose,
                                    (uint32_t)(s * count + i));
                a[i] = (r.v[0] + 0.5) * 0x1p-32;
            }
            a[i] = normal_quantile(a[i]);
            b[i] = -a[i];
        }
    }
    free(sobol);
}

static void least_values(int n, int samples, const double *f, const bool *contends, int first,
                         double start, double *best) {
    for (int s = 0; s < samples; s++) {
        best[s] = start;
        for (int i = first; i < n; i++) {
            double value = f[(size_t)s * (size_t)n + (size_t)i];
            if ((!contends || contends[i]) && value < best[s])
                best[s] = value;
        }
    }
}

// Without noise: L of all points is [Lₙ 0; P Lₚ]. The observations' whitened values are Lₙ⁻¹y; the
// pending points' are standard normal by definition, and values are L times these.
static err_code_t fantasise_pending(posterior_t *p, const posterior_fantasy_t *w,
                                    const double *kernel, double *best, err_t *err) {
    const gp_data_t *data = w->data;
    int n = p->n, known = data->n, more = w->pending;
    double *noise = noise_of(p, data);
    for (int i = known; i < n; i++) // true values, but no better known than measured ones
        noise[i] = fmin(p->sigma2, 1e-6 * p->s2) + 1e-9 * p->s2;
    err_code_t code = factor(p, kernel, noise, err);
    free(noise);
    if (code)
        return code;
    size_t stride = (size_t)n, samples = (size_t)p->samples;
    double *white = doubles((size_t)known, 1), *normals = doubles((size_t)more, samples);
    double *f = doubles(stride, samples);
    memcpy(white, data->y, sizeof *white * (size_t)known);
    linalg_solve_lower(p->factored, known, n, white, 1, known);
    draw_normals(w, PURPOSE_FANTASY, more, p->samples, normals);
    for (size_t s = 0; s < samples; s++) {
        double *column = p->alpha + s * stride;
        memcpy(column, white, sizeof *white * (size_t)known);
        memcpy(column + known, normals + s * (size_t)more, sizeof *normals * (size_t)more);
    }
    memcpy(f, p->alpha, sizeof *f * stride * samples);
    linalg_lower_times(p->factored, n, n, f, p->samples, n);
    least_values(n, p->samples, f, w->contends, known, w->least, best);
    linalg_solve_upper(p->factored, n, n, p->alpha, p->samples, n);
    free(white);
    free(normals);
    free(f);
    return ERR_OK;
}

// With noise: f = f₀ + K(K + Σ)⁻¹(y − f₀ − ε), f₀ = Lz from the prior, ε from the noise, so that
// K⁻¹f = L⁻ᵀz + (K + Σ)⁻¹(y − f₀ − ε), the latter on the observations' rows only.
static err_code_t fantasise_noisy(posterior_t *p, const posterior_fantasy_t *w,
                                  const double *kernel, double *best, err_t *err) {
    const gp_data_t *data = w->data;
    const posterior_t *given = w->given;
    size_t n = (size_t)p->n, known = (size_t)data->n, samples = (size_t)p->samples;
    double *f = doubles(n, samples), *residual = doubles(known, samples);
    for (size_t i = 0; i < n; i++)
        f[i] = 1e-6 * p->s2; // samples are as smooth as the kernel: K alone is near singular
    err_code_t code = factor(p, kernel, f, err);
    if (code == ERR_OK) {
        draw_normals(w, PURPOSE_PRIOR, p->n, p->samples, p->alpha);
        draw_normals(w, PURPOSE_NOISE, data->n, p->samples, residual);
        memcpy(f, p->alpha, sizeof *f * n * samples);
        linalg_lower_times(p->factored, p->n, p->n, f, p->samples, p->n);
        for (size_t s = 0; s < samples; s++)
            for (size_t i = 0; i < known; i++) {
                double *at = &residual[s * known + i];
                double noise = sqrt(p->sigma2 * data->share[i] + data->own[i]);
                *at = data->y[i] - f[s * n + i] - noise * *at;
            }
        linalg_solve_upper(p->factored, p->n, p->n, p->alpha, p->samples, p->n);
        linalg_solve_lower(given->factored, given->n, given->n, residual, p->samples, given->n);
        linalg_solve_upper(given->factored, given->n, given->n, residual, p->samples, given->n);
        for (size_t s = 0; s < samples; s++)
            for (size_t i = 0; i < known; i++)
                p->alpha[s * n + i] += residual[s * known + i];
        linalg_symmetric(p->n, p->samples, kernel, p->n, p->alpha, p->n, f, p->n);
        least_values(p->n, p->samples, f, w->contends, 0, INFINITY, best);
    }
    free(residual);
    free(f);
    return code;
}

static void copy(posterior_t *p, const posterior_t *from) {
    size_t n = (size_t)from->n, samples = (size_t)from->samples, wide = (size_t)from->frame->wide;
    *p = *from;
    p->scaled = doubles(n, wide);
    p->norms = doubles(n, 1);
    p->factored = doubles(n, n);
    p->alpha = doubles(n, samples);
    memcpy(p->scaled, from->scaled, sizeof(double) * n * wide);
    memcpy(p->norms, from->norms, sizeof(double) * n);
    memcpy(p->factored, from->factored, sizeof(double) * n * n);
    memcpy(p->alpha, from->alpha, sizeof(double) * n * samples);
}

err_code_t posterior_fantasise(posterior_t *p, const posterior_fantasy_t *w,
                               double best[POSTERIOR_SAMPLES], err_t *err) {
    if (w->pending == 0 && !w->noisy) {
        best[0] = w->least;
        copy(p, w->given);
        return ERR_OK;
    }
    double *kernel = prepare(p, w->data, w->theta, w->pending, w->x, POSTERIOR_SAMPLES);
    err_code_t code = w->noisy ? fantasise_noisy(p, w, kernel, best, err)
                               : fantasise_pending(p, w, kernel, best, err);
    free(kernel);
    if (code)
        posterior_release(p);
    return code;
}

// ---- predictions ----

static double at_least(const posterior_t *p, double variance) {
    return variance > 1e-12 * p->s2 ? variance : 1e-12 * p->s2;
}

static double *cross(const posterior_t *p, int count, const double *z, double *mean) {
    double *k = doubles((size_t)p->n, (size_t)count);
    matern_cross(p->frame->wide, p->s2, p->n, p->scaled, p->norms, count, z, k);
    linalg_multiply((linalg_shape_t){true, false, p->samples, count, p->n, 1, 0}, p->alpha, p->n, k,
                    p->n, mean, p->samples);
    return k;
}

void posterior_predict(const posterior_t *p, int count, const double *z, double *mean,
                       double *variance) {
    double *k = cross(p, count, z, mean);
    if (variance) {
        linalg_solve_lower(p->factored, p->n, p->n, k, count, p->n);
        for (int j = 0; j < count; j++) {
            const double *v = k + (size_t)j * (size_t)p->n;
            variance[j] = at_least(p, p->s2 - linalg_dot(p->n, v, v));
        }
    }
    free(k);
}

void posterior_bound(const posterior_t *p, int count, const double *z, double *mean,
                     double *variance) {
    double *k = cross(p, count, z, mean);
    for (int j = 0; j < count; j++) {
        double most = 0;
        for (int i = 0; i < p->n; i++) {
            double v = k[(size_t)j * (size_t)p->n + (size_t)i];
            most = v > most ? v : most;
        }
        variance[j] = at_least(p, p->s2 - most * most / (p->s2 + p->sigma2));
    }
    free(k);
}

void posterior_point(const posterior_t *p, const double *z, double *work,
                     posterior_point_t *point) {
    double *k = work;
    point->slope = work + p->n;
    point->weights = work + 2 * (size_t)p->n;
    matern_point(p->frame->wide, p->s2, p->n, p->scaled, z, k, point->slope);
    for (int s = 0; s < p->samples; s++)
        point->mean[s] = linalg_dot(p->n, p->alpha + (size_t)s * (size_t)p->n, k);
    memcpy(point->weights, k, sizeof *k * (size_t)p->n);
    linalg_solve_lower(p->factored, p->n, p->n, point->weights, 1, p->n);
    point->variance = at_least(p, p->s2 - linalg_dot(p->n, point->weights, point->weights));
    linalg_solve_upper(p->factored, p->n, p->n, point->weights, 1, p->n);
}

// ∇k(z, xᵢ) = −slopeᵢ·(z − xᵢ), ∇variance = −2 Σ weightsᵢ ∇kᵢ.
void posterior_gradient(const posterior_t *p, const double *z, const posterior_point_t *point,
                        const double *by_mean, double by_variance, double *gradient) {
    size_t wide = (size_t)p->frame->wide, n = (size_t)p->n;
    for (size_t i = 0; i < n; i++) {
        double coefficient = -2 * by_variance * point->weights[i];
        for (int s = 0; s < p->samples; s++)
            coefficient += by_mean[s] * p->alpha[(size_t)s * n + i];
        coefficient *= -point->slope[i];
        const double *x = p->scaled + i * wide;
        for (size_t c = 0; c < wide; c++)
            gradient[c] += coefficient * (z[c] - x[c]);
    }
}
