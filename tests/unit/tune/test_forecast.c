// Is a trial's end foretold from where it is: as the others went, by what its parameters tell, and
// with the doubt that it deserves?
#include "tune/forecast.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { COURSES = 40 };

static tune_space_t space;
static tune_t *tune;

static int setup(void **state) {
    static const char *const texts[] = {"lr=log:1e-4..1e-1", "opt={adam,sgd}"};
    (void)state;
    assert_int_equal(tune_space_parse(texts, 2, &space, NULL), ERR_OK);
    tune = tune_new(&space, &(tune_config_t){.seed = 1});
    return 0;
}

static int teardown(void **state) {
    (void)state;
    tune_free(&tune);
    return 0;
}

static double noise(int i) { // in ±1, no two alike
    return fmod(i * 0.618033988749895, 1) * 2 - 1;
}

// Small rates have further to go, sgd too; to that comes noise.
static double way(const double *point, double sd, int i) {
    return -0.1 + 0.1 * (log10(point[0]) + 2.5) - (point[1] == 1 ? 0.05 : 0) + sd * noise(i);
}

static tune_forecast_t *learn(double sd, size_t count) {
    static double points[COURSES][2];
    static tune_course_t courses[COURSES];
    for (int i = 0; i < COURSES; i++) {
        double *p = points[i];
        p[0] = pow(10, -4 + 3 * (i % 10) / 9.0);
        p[1] = i % 2;
        double value = 0.4 + 0.05 * noise(7 * i + 3);
        courses[i] = (tune_course_t){p, value, value + way(p, sd, i)};
    }
    return tune_forecast_new(tune, courses, count);
}

static void by_its_parameters(void **state) {
    (void)state;
    tune_forecast_t *f = learn(0, COURSES);
    assert_non_null(f);
    for (int i = 0; i < 20; i++) {
        double point[] = {pow(10, -3.9 + 0.14 * i), i % 2}, mean, variance;
        tune_forecast_at(f, point, 0.42, &mean, &variance);
        double last = 0.42 + way(point, 0, 0);
        assert_true(variance > 0);
        if (fabs(mean - last) > 0.01 || fabs(mean - last) > 4 * sqrt(variance))
            fail_msg("%g instead of %g, sd %g", mean, last, sqrt(variance));
    }
    tune_forecast_free(&f);
    tune_forecast_free(&f);
}

static void with_the_doubt_it_deserves(void **state) {
    (void)state;
    double point[] = {3e-3, 0}, mean, sure, unsure, few;
    tune_forecast_t *f = learn(0, COURSES);
    tune_forecast_at(f, point, 0.4, &mean, &sure);
    tune_forecast_free(&f);
    f = learn(0.2, COURSES);
    tune_forecast_at(f, point, 0.4, &mean, &unsure);
    tune_forecast_free(&f);
    f = learn(0.2, 4);
    tune_forecast_at(f, point, 0.4, &mean, &few);
    tune_forecast_free(&f);
    double sd = 0.2 / sqrt(3); // of what is even in ±0.2
    if (sure * 25 > unsure || unsure < 0.5 * sd * sd || unsure > 2 * sd * sd)
        fail_msg("variances %g and %g, the noise's %g", sure, unsure, sd * sd);
    assert_true(few > 0 && isfinite(few));
}

static void what_is_known_of_two_is_nothing(void **state) {
    (void)state;
    assert_null(learn(0, 2));
    const double point[] = {1e-3, 0};
    double mean, variance;
    tune_course_t same[3] = {{point, 0.5, 0.5}, {point, 0.5, 0.5}, {point, 0.5, 0.5}};
    tune_forecast_t *f = tune_forecast_new(tune, same, 3);
    assert_non_null(f);
    tune_forecast_at(f, point, 0.5, &mean, &variance);
    assert_true(fabs(mean - 0.5) < 1e-6 && variance > 0 && variance < 1e-6);
    tune_forecast_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_its_parameters),
        cmocka_unit_test(with_the_doubt_it_deserves),
        cmocka_unit_test(what_is_known_of_two_is_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
