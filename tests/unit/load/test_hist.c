// Are quantiles those of the sorted values, up to the promised error, over all of uint64_t?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/philox.h"
#include "load/hist.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static hist_t hist, other; // large for a stack

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void buckets_cover_everything_without_gaps(void **state) {
    (void)state;
    assert_int_equal(hist_bucket(0), 0);
    for (size_t i = 0; i + 1 < HIST_BUCKETS; i++) {
        uint64_t upper = hist_upper(i);
        assert_int_equal(hist_bucket(upper), i);
        assert_int_equal(hist_bucket(upper + 1), i + 1);
        uint64_t lower = i ? hist_upper(i - 1) + 1 : 0;
        assert_true((double)(upper - lower) <= (double)lower / HIST_SUBS);
    }
    assert_true(hist_upper(HIST_BUCKETS - 1) == UINT64_MAX);
    assert_int_equal(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
}

// Random values of every magnitude, against their sorted list.
static void quantiles_are_those_of_the_sorted_values(void **state) {
    (void)state;
    enum { COUNT = 20000 };
    static uint64_t values[COUNT];
    static const double quantiles[] = {0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    double sum = 0;
    memset(&hist, 0, sizeof hist);
    for (uint32_t i = 0; i < COUNT; i++) {
        philox_t block = philox(7, i, 0, 0, 0);
        uint64_t bits = (uint64_t)block.v[0] << 32 | block.v[1];
        values[i] = bits >> philox_below(block.v[2], 64);
        hist_add(&hist, values[i]);
        sum += (double)values[i];
    }
    qsort(values, COUNT, sizeof *values, compare);
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        size_t rank = (size_t)ceil(quantiles[i] * COUNT);
        uint64_t wanted = values[rank ? rank - 1 : 0];
        uint64_t got = hist_quantile(&hist, quantiles[i]);
        assert_true(got >= wanted);
        assert_true((double)(got - wanted) <= 0.01 * (double)wanted);
    }
    assert_true(hist_quantile(&hist, 1) == values[COUNT - 1]);
    assert_true(hist.min == values[0] && hist.max == values[COUNT - 1]);
    assert_true(fabs(hist_mean(&hist) - sum / COUNT) <= 1e-9 * sum / COUNT);
}

static void small_values_are_exact(void **state) {
    (void)state;
    memset(&hist, 0, sizeof hist);
    for (uint64_t i = 1; i <= 200; i++)
        hist_add(&hist, i);
    for (uint64_t i = 1; i <= 200; i++)
        assert_true(hist_quantile(&hist, (double)i / 200) == i);
}

static void merging_is_adding_all(void **state) {
    (void)state;
    static hist_t all;
    memset(&hist, 0, sizeof hist);
    memset(&other, 0, sizeof other);
    memset(&all, 0, sizeof all);
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t value = philox(3, i, 0, 0, 0).v[0];
        hist_add(i % 3 ? &hist : &other, value);
        hist_add(&all, value);
    }
    hist_merge(&hist, &other);
    assert_memory_equal(hist.counts, all.counts, sizeof all.counts);
    assert_true(hist.count == all.count && hist.min == all.min && hist.max == all.max);
    memset(&other, 0, sizeof other);
    hist_merge(&hist, &other); // nothing
    assert_true(hist.count == all.count && hist.min == all.min);
    hist_merge(&other, &all); // into nothing
    assert_true(other.min == all.min && other.max == all.max && other.count == all.count);
}

static void none_and_one(void **state) {
    (void)state;
    memset(&hist, 0, sizeof hist);
    assert_true(hist_quantile(&hist, 0.5) == 0 && hist_mean(&hist) == 0);
    hist_add(&hist, 123456789);
    assert_true(hist_quantile(&hist, 0) == 123456789); // never above the maximum
    assert_true(hist_quantile(&hist, 0.5) == 123456789);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_cover_everything_without_gaps),
        cmocka_unit_test(quantiles_are_those_of_the_sorted_values),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(merging_is_adding_all),
        cmocka_unit_test(none_and_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
