#include "tune/forecast.h"

#include "tune/linalg_impl.h"
#include "tune/study_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SPREAD_LEAST 1e-9 // of what does not differ, as a share of the values' size

// Features of a course: 1, its value at the epoch (standardised), the point's coordinates.
struct tune_forecast {
    const frame_t *frame;
    int n, width;
    double *features; // n × width, course by course
    double value_centre, value_spread, way_centre, way_spread;
    double weights2, noise2; // variances, of standardised ways
    double *factor;          // L of weights2·FFᵀ + noise2, n×n
    double *alpha;           // (LLᵀ)⁻¹·ways
};

static void standardise(int n, const double *x, double size, double *centre, double *spread) {
    double mean = 0, squares = 0;
    for (int i = 0; i < n; i++)
        mean += x[i] / n;
    for (int i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean) / n;
    *centre = mean;
    *spread = fmax(sqrt(squares), fmax(SPREAD_LEAST * size, 1e-150));
}

static void set_features(const tune_forecast_t *f, const double *point, double value,
                         double *features) {
    features[0] = 1;
    features[1] = (value - f->value_centre) / f->value_spread;
    frame_widen(f->frame, point, features + 2);
    for (int i = 2; i < f->width; i++)
        features[i] = 2 * features[i] - 1;
}

// ln of the evidence for these scales, up to a constant; leaves factor and alpha behind.
static double evidence(tune_forecast_t *f, const double *gram, const double *ways, double weights2,
                       double noise2) {
    size_t n = (size_t)f->n;
    for (size_t i = 0; i < n * n; i++)
        f->factor[i] = weights2 * gram[i];
    for (size_t i = 0; i < n; i++)
        f->factor[i * n + i] += noise2;
    if (!linalg_cholesky(f->factor, f->n, f->n))
        return -INFINITY;
    memcpy(f->alpha, ways, sizeof *ways * n);
    linalg_solve_lower(f->factor, f->n, f->n, f->alpha, 1, f->n);
    double value = -0.5 * linalg_dot(f->n, f->alpha, f->alpha);
    for (size_t i = 0; i < n; i++)
        value -= log(f->factor[i * n + i]);
    linalg_solve_upper(f->factor, f->n, f->n, f->alpha, 1, f->n);
    f->weights2 = weights2;
    f->noise2 = noise2;
    return value;
}

static void choose_scales(tune_forecast_t *f, const double *gram, const double *ways) {
    static const double weights[] = {0.01, 0.1, 1}, noises[] = {0.003, 0.01, 0.03, 0.1, 0.3, 1};
    double most = -INFINITY, weights2 = 1, noise2 = 1;
    for (size_t w = 0; w < sizeof weights / sizeof *weights; w++)
        for (size_t s = 0; s < sizeof noises / sizeof *noises; s++) {
            double value = evidence(f, gram, ways, weights[w], noises[s]);
            if (value > most) {
                most = value;
                weights2 = weights[w];
                noise2 = noises[s];
            }
        }
    evidence(f, gram, ways, weights2, noise2);
}

tune_forecast_t *tune_forecast_new(const tune_t *tune, const tune_course_t *courses, size_t count) {
    if (count < TUNE_FORECAST_LEAST)
        return NULL;
    linalg_single_thread();
    int n = (int)(count < TUNE_FORECAST_MOST ? count : TUNE_FORECAST_MOST);
    size_t cells = (size_t)n * (size_t)n;
    tune_forecast_t *f = mem_zero(1, sizeof *f);
    *f = (tune_forecast_t){.frame = &tune->frame, .n = n, .width = tune->frame.wide + 2};
    f->features = mem_alloc(sizeof *f->features * (size_t)n * (size_t)f->width);
    f->factor = mem_alloc(sizeof *f->factor * cells);
    f->alpha = mem_alloc(sizeof *f->alpha * (size_t)n);
    double *gram = mem_alloc(sizeof *gram * cells);
    double values[TUNE_FORECAST_MOST], ways[TUNE_FORECAST_MOST], size = 0;
    for (int i = 0; i < n; i++) {
        values[i] = courses[i].value;
        ways[i] = courses[i].last - courses[i].value;
        size = fmax(size, fmax(fabs(values[i]), fabs(courses[i].last)));
    }
    standardise(n, values, size, &f->value_centre, &f->value_spread);
    standardise(n, ways, size, &f->way_centre, &f->way_spread);
    for (int i = 0; i < n; i++) {
        double *row = f->features + (size_t)i * (size_t)f->width;
        set_features(f, courses[i].point, values[i], row);
        ways[i] = (ways[i] - f->way_centre) / f->way_spread;
        for (int j = 0; j <= i; j++)
            gram[(size_t)i * (size_t)n + (size_t)j] = gram[(size_t)j * (size_t)n + (size_t)i] =
                linalg_dot(f->width, row, f->features + (size_t)j * (size_t)f->width);
    }
    choose_scales(f, gram, ways);
    free(gram);
    return f;
}

void tune_forecast_free(tune_forecast_t **self) {
    tune_forecast_t *f = *self;
    if (!f)
        return;
    free(f->features);
    free(f->factor);
    free(f->alpha);
    free(f);
    *self = NULL;
}

void tune_forecast_at(const tune_forecast_t *f, const double *point, double value, double *mean,
                      double *variance) {
    double features[FRAME_WIDE_MAX + 2], k[TUNE_FORECAST_MOST];
    linalg_single_thread();
    set_features(f, point, value, features);
    for (int i = 0; i < f->n; i++)
        k[i] = f->weights2 *
               linalg_dot(f->width, features, f->features + (size_t)i * (size_t)f->width);
    double way = linalg_dot(f->n, k, f->alpha);
    double prior = f->weights2 * linalg_dot(f->width, features, features);
    linalg_solve_lower(f->factor, f->n, f->n, k, 1, f->n);
    double known = linalg_dot(f->n, k, k);
    *mean = value + f->way_centre + f->way_spread * way;
    *variance = f->way_spread * f->way_spread * (f->noise2 + fmax(prior - known, 0));
}
