// Do requests leave when rate, arrivals and seed say, and at no other time?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "load/schedule.h"

#include <math.h>

static void equal_gaps_do_not_drift(void **state) {
    (void)state;
    schedule_t schedule;
    schedule_init(&schedule, 3, false, 0);
    for (int64_t i = 0; i < 300000; i++) {
        int64_t at = schedule_next(&schedule), third = i % 3 * 1000000000 / 3;
        int64_t off = at - (i / 3 * 1000000000 + third);
        assert_true(off >= 0 && off <= 1);
    }
    schedule_init(&schedule, SCHEDULE_RATE_MAX, false, 0);
    for (int64_t i = 0; i < 100000; i++)
        assert_true(schedule_next(&schedule) == i * 1000);
}

// Gaps are exponential: mean and standard deviation of 1/rate, a share of 1/e above the mean, and
// no two next to each other alike. 200,000 gaps: five standard errors are about 1.1 %.
static void poisson_gaps_are_exponential(void **state) {
    (void)state;
    enum { COUNT = 200000 };
    const double mean = 1e9 / 2000;
    schedule_t schedule;
    double sum = 0, squares = 0, products = 0, before = 0;
    int above = 0;
    int64_t last = 0;
    schedule_init(&schedule, 2000, true, 11);
    for (int i = 0; i < COUNT; i++) {
        int64_t at = schedule_next(&schedule);
        double gap = (double)(at - last) / mean;
        assert_true(at >= last);
        sum += gap;
        squares += gap * gap;
        products += (gap - 1) * (before - 1);
        above += gap > 1;
        before = gap;
        last = at;
    }
    assert_true(fabs(sum / COUNT - 1) < 0.012);
    assert_true(fabs(squares / COUNT - 2) < 0.05); // its own standard error is √20/√COUNT
    assert_true(fabs((double)above / COUNT - exp(-1)) < 0.006);
    assert_true(fabs(products / COUNT) < 0.012);
}

static void a_seed_gives_the_same_times(void **state) {
    (void)state;
    schedule_t one, same, another;
    int alike = 0;
    schedule_init(&one, 100, true, 5);
    schedule_init(&same, 100, true, 5);
    schedule_init(&another, 100, true, 6);
    for (int i = 0; i < 1000; i++) {
        int64_t at = schedule_next(&one);
        assert_true(at == schedule_next(&same));
        alike += at == schedule_next(&another);
    }
    assert_true(alike < 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_gaps_do_not_drift),
        cmocka_unit_test(poisson_gaps_are_exponential),
        cmocka_unit_test(a_seed_gives_the_same_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
