#include "tune/matern_impl.h"

#include "base/err.h"
#include "tune/linalg_impl.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// e^x for x <= 0, to one unit in the last place or two; without branches, so that compilers make
// vectors of it. x = n·ln 2 + r, |r| <= ln 2 / 2, and e^r is Taylor's polynomial of degree 12.
static inline __attribute__((always_inline)) double exp_negative(double x) {
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

// The loops are compiled twice, for any x86-64 and with AVX2, which doubles their speed; not with
// fused multiply-add, so that both give the same bits.
#define INLINE static inline __attribute__((always_inline))

INLINE void values(int count, double s2, const double *restrict r2, double *restrict k,
                   double *restrict slope) {
    for (int i = 0; i < count; i++) {
        double square = r2[i] > 0 ? r2[i] : 0, r = sqrt(square);
        double e = s2 * exp_negative(-r);
        slope[i] = e * (1 + r) * (1.0 / 3);
        k[i] = e * (1 + r + square * (1.0 / 3));
    }
}

// From inner products in place: r² = k + norms + norm.
INLINE void only(int count, double s2, const double *restrict norms, double norm,
                 double *restrict k) {
    for (int i = 0; i < count; i++) {
        double square = k[i] + norms[i] + norm;
        square = square > 0 ? square : 0;
        double r = sqrt(square);
        k[i] = s2 * exp_negative(-r) * (1 + r + square * (1.0 / 3));
    }
}

#ifdef __x86_64__
#define AVX2 __attribute__((target("avx2")))
AVX2 static void values_avx2(int count, double s2, const double *restrict r2, double *restrict k,
                             double *restrict slope) {
    values(count, s2, r2, k, slope);
}
AVX2 static void only_avx2(int count, double s2, const double *restrict norms, double norm,
                           double *restrict k) {
    only(count, s2, norms, norm, k);
}
#define HAS_AVX2 __builtin_cpu_supports("avx2")
#else
#define values_avx2 values
#define only_avx2   only
#define HAS_AVX2    0
#endif

void matern_values(int count, double s2, const double *restrict r2, double *restrict k,
                   double *restrict slope) {
    if (HAS_AVX2)
        values_avx2(count, s2, r2, k, slope);
    else
        values(count, s2, r2, k, slope);
}

void matern_cross(int wide, double s2, int n, const double *x, const double *norms, int count,
                  const double *z, double *k) {
    linalg_multiply((linalg_shape_t){true, false, n, count, wide, -2, 0}, x, wide, z, wide, k, n);
    for (size_t j = 0; j < (size_t)count; j++) {
        const double *at = z + j * (size_t)wide;
        double *column = k + j * (size_t)n, norm = linalg_dot(wide, at, at);
        if (HAS_AVX2)
            only_avx2(n, s2, norms, norm, column);
        else
            only(n, s2, norms, norm, column);
    }
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
