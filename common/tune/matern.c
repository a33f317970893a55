#include "tune/matern_impl.h"

#include "base/err.h"
#include "tune/linalg_impl.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// e^x for x <= 0, to one unit in the last place or two; without branches, so that compilers make
// vectors of it. x = n·ln 2 + r, |r| <= ln 2 / 2, and e^r is Taylor's polynomial of degree 12.
static inline double exp_negative(double x) {
    const double magic = 0x1.8p52, ln2_hi = 0x1.62e42fefa3800p-1, ln2_lo = 0x1.ef35793c76730p-45;
    x = x < -700 ? -700 : x;
    double shifted = x * M_LOG2E + magic, n = shifted - magic;
    double r = (x - n * ln2_hi) - n * ln2_lo;
    double p = 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1;
    p = p * r + 1;
    uint64_t bits;
    double power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52; // magic's own low bits are zero
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

void matern_values(int count, double s2, const double *restrict r2, double *restrict k,
                   double *restrict slope) {
    for (int i = 0; i < count; i++) {
        double square = r2[i] > 0 ? r2[i] : 0, r = sqrt(square);
        double e = s2 * exp_negative(-r);
        slope[i] = e * (1 + r) * (1.0 / 3);
        k[i] = e * (1 + r + square * (1.0 / 3));
    }
}

static void matern_only(int count, double s2, const double *restrict r2, double *restrict k) {
    for (int i = 0; i < count; i++) {
        double square = r2[i] > 0 ? r2[i] : 0, r = sqrt(square);
        k[i] = s2 * exp_negative(-r) * (1 + r + square * (1.0 / 3));
    }
}

void matern_cross(int wide, double s2, int n, const double *x, const double *norms, int count,
                  const double *z, double *k) {
    double *r2 = mem_alloc(sizeof *r2 * (size_t)(n ? n : 1));
    linalg_multiply((linalg_shape_t){true, false, n, count, wide, -2, 0}, x, wide, z, wide, k, n);
    for (int j = 0; j < count; j++) {
        double *column = k + (size_t)j * (size_t)n, norm = 0;
        for (int c = 0; c < wide; c++)
            norm +=
                z[(size_t)j * (size_t)wide + (size_t)c] * z[(size_t)j * (size_t)wide + (size_t)c];
        for (int i = 0; i < n; i++)
            r2[i] = column[i] + norms[i] + norm;
        matern_only(n, s2, r2, column);
    }
    free(r2);
}

static double distance2(int wide, const double *a, const double *b) {
    double sum = 0;
    for (int c = 0; c < wide; c++)
        sum += (a[c] - b[c]) * (a[c] - b[c]);
    return sum;
}

void matern_point(int wide, double s2, int n, const double *x, const double *z, double *k,
                  double *slope) {
    double r2[256];
    for (int done = 0; done < n; done += 256) {
        int part = n - done < 256 ? n - done : 256;
        for (int i = 0; i < part; i++)
            r2[i] = distance2(wide, x + (size_t)(done + i) * (size_t)wide, z);
        matern_values(part, s2, r2, k + done, slope + done);
    }
}

void matern_square(int wide, double s2, int n, const double *x, double *k, double *slope) {
    double *r2 = mem_alloc(sizeof *r2 * (size_t)(n ? n : 1));
    for (int j = 0; j < n; j++) {
        size_t at = (size_t)j * (size_t)n + (size_t)j;
        const double *z = x + (size_t)j * (size_t)wide;
        for (int i = j; i < n; i++)
            r2[i - j] = distance2(wide, x + (size_t)i * (size_t)wide, z);
        matern_values(n - j, s2, r2, k + at, slope + at);
    }
    free(r2);
}
