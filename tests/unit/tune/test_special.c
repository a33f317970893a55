// Are the special functions right to the last digits in every branch, the Sobol' points those of
// the published table, and warps inverted by their inverse?
#include "tune/sobol_impl.h"
#include "tune/special_impl.h"
#include "tune/warp_impl.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void near(double value, double wanted, double relative, const char *what, double at) {
    if (!(fabs(value - wanted) <= relative * fmax(1e-300, fabs(wanted))))
        fail_msg("%s(%g) is %.17g, not %.17g", what, at, value, wanted);
}

// h(u) = ∫₀^∞ t·φ(t − u) dt. With the largest factor taken out, exp(ln φ(u)), what is left to
// integrate is t·exp(−t²/2 + tu), which is harmless for u <= 0; by Simpson's rule.
static double log_improvement_by_quadrature(double u) {
    long double limit = u > -1 ? 14.0L + (long double)u : 60.0L / -(long double)u, sum = 0;
    limit = limit > 16 && u <= -1 ? 16 : limit;
    int steps = 40000;
    for (int i = 0; i <= steps; i++) {
        long double t = limit * i / steps;
        long double f = t * expl(-t * t / 2 + t * (long double)u);
        sum += f * (i == 0 || i == steps ? 1 : i % 2 ? 4 : 2);
    }
    long double integral = sum * limit / steps / 3;
    return (double)(logl(integral) - (long double)u * (long double)u / 2 -
                    logl(sqrtl(2 * acosl(-1))));
}

static void log_improvement_in_all_branches(void **state) {
    (void)state;
    const double us[] = {-3e5, -20000, -10001, -9999, -3000,  -200, -40,  -12, -7.3, -5.67, -5.65,
                         -3,   -2,     -1.01,  -1,    -0.999, -0.5, -0.1, 0,   0.3,  1,     2.5};
    for (size_t i = 0; i < sizeof us / sizeof *us; i++)
        near(log_improvement(us[i]), log_improvement_by_quadrature(us[i]), 1e-11, "log_improvement",
             us[i]);
    near(log_improvement(40), log(40), 1e-15, "log_improvement", 40);
    assert_true(isfinite(log_improvement(-1e150)));
    for (double u = -30; u < 10; u += 0.001) // grows, without steps where branches meet
        assert_true(log_improvement(u + 0.001) > log_improvement(u));
}

static void normal_functions(void **state) {
    (void)state;
    near(normal_cdf(-1.959963984540054), 0.025, 1e-14, "normal_cdf", -1.96);
    near(normal_log_cdf(-40), -804.6084420137539, 1e-14, "normal_log_cdf", -40);
    near(normal_log_cdf(-1), log(0.15865525393145705), 1e-14, "normal_log_cdf", -1);
    near(normal_log_cdf(9), -1.1285884059538324e-19, 1e-12, "normal_log_cdf", 9);
    near(erfcx_pos(0), 1, 1e-16, "erfcx", 0);
    near(erfcx_pos(3.999999), 0.13699949000857495, 1e-14, "erfcx", 3.999999);
    near(erfcx_pos(4), 0.1369994576250614, 1e-14, "erfcx", 4);
    near(erfcx_pos(100), 0.0056416137829894329, 1e-15, "erfcx", 100);
    for (double p = 1e-300; p < 1; p *= 1.7) {
        near(normal_cdf(normal_quantile(p)), p, 1e-12, "quantile", p);
        assert_true(normal_quantile(1 - p) == -normal_quantile(1 - (1 - p)) || p < 0.5);
    }
    assert_true(normal_quantile(0.5) == 0);
}

// The first points of new-joe-kuo-6, and some of the 1000th (by SciPy's qmc.Sobol).
static void sobol_points(void **state) {
    (void)state;
    static const double wanted[][5] = {{0, 0, 0, 0, 0},
                                       {0.5, 0.5, 0.5, 0.5, 0.5},
                                       {0.75, 0.25, 0.25, 0.25, 0.75},
                                       {0.25, 0.75, 0.75, 0.75, 0.25},
                                       {0.375, 0.375, 0.625, 0.875, 0.375},
                                       {0.875, 0.875, 0.125, 0.375, 0.875},
                                       {0.625, 0.125, 0.875, 0.625, 0.625},
                                       {0.125, 0.625, 0.375, 0.125, 0.125}};
    sobol_t sobol;
    double point[SOBOL_DIMS_MAX];
    sobol_init(&sobol, SOBOL_DIMS_MAX);
    for (uint32_t i = 0; i < 8; i++) {
        sobol_point(&sobol, i, point);
        for (int d = 0; d < 5; d++)
            assert_true(fabs(point[d] - wanted[i][d]) < 0x1p-31);
    }
    sobol_point(&sobol, 1000, point);
    static const int dims[] = {9, 20, 39, 63};
    static const double far[] = {0.0693359375, 0.5224609375, 0.4794921875, 0.4462890625};
    for (int k = 0; k < 4; k++)
        assert_true(fabs(point[dims[k]] - far[k]) < 0x1p-31);
}

// Every dimension of a shifted net has one point in each of 2^k equal parts.
static void sobol_nets(void **state) {
    (void)state;
    sobol_t sobol;
    double point[SOBOL_DIMS_MAX];
    sobol_init(&sobol, SOBOL_DIMS_MAX);
    sobol_shift(&sobol, 42, 1, 2, 3);
    uint64_t seen[SOBOL_DIMS_MAX] = {0};
    for (uint32_t i = 0; i < 64; i++) {
        sobol_point(&sobol, i, point);
        for (int d = 0; d < SOBOL_DIMS_MAX; d++)
            seen[d] |= 1ull << (int)(point[d] * 64);
    }
    for (int d = 0; d < SOBOL_DIMS_MAX; d++)
        assert_true(seen[d] == UINT64_MAX);
}

static void warps(void **state) {
    (void)state;
    static const double y[] = {-3, 0.5, 1, 1e3, 7, -0.25, 12, 2, 2};
    static const double lambdas[] = {1, 0.5, 0, -0.5, -1, -1.5, -2};
    for (int l = 0; l < 7; l++) {
        warp_t warp;
        double sum = 0, squares = 0;
        warp_init(&warp, lambdas[l], 9, y);
        for (int i = 0; i < 9; i++) {
            double bent = warp_apply(&warp, y[i]), h = 1e-4 * (1 + fabs(y[i]));
            double slope = (warp_apply(&warp, y[i] + h) - warp_apply(&warp, y[i] - h)) / (2 * h);
            near(warp_slope(&warp, y[i]), slope, 1e-5, "warp_slope", y[i]);
            assert_true(fabs(warp_invert(&warp, bent) - y[i]) < 1e-8 * (1 + fabs(y[i])));
            sum += bent;
            squares += bent * bent;
        }
        assert_true(fabs(sum) < 1e-12 && fabs(squares - 9) < 1e-11);
        assert_true(isfinite(warp_invert(&warp, 1e6)) && isfinite(warp_invert(&warp, -1e6)));
        assert_true(warp_invert(&warp, 1e6) >= warp_invert(&warp, 3));
    }
    warp_t flat;
    const double same[] = {4, 4, 4};
    warp_init(&flat, -1, 3, same);
    assert_true(warp_apply(&flat, 4) == 0 && isfinite(warp_apply(&flat, 5)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_improvement_in_all_branches),
        cmocka_unit_test(normal_functions),
        cmocka_unit_test(sobol_points),
        cmocka_unit_test(sobol_nets),
        cmocka_unit_test(warps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
