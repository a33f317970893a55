// A study that begins with what an earlier one has seen: is it ahead where that one was like it,
// whatever the size of its values, does it come to the best where it was nothing like it, and does
// nobody see what is hidden in the space?
#include "tune/optimiser.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))
#define EARLIER     30

static const char *const texts[] = {"lr=log:1e-6..1", "dropout=0..1", "kind={a,b,c}"};

typedef struct {
    double points[EARLIER * 3], values[EARLIER];
} seen_t;

static err_t err;

static void ok(err_code_t code) {
    if (code)
        fail_msg("%s", err.message);
}

static tune_space_t space_of(void) {
    tune_space_t space;
    ok(tune_space_parse(texts, COUNT(texts), &space, &err));
    return space;
}

static double valley(const double *x, double shift) { // at 10^-2.5, 0.3, b
    static const double height[] = {0.4, 0, 0.2};
    return pow(log10(x[0]) + 2.5 - shift, 2) + 4 * pow(x[1] - 0.3 + shift / 4, 2) +
           height[(int)x[2]];
}

// Asks and tells; what the last of it leads to is left in *next. Returns the best value.
static double run(tune_t *tune, int trials, double shift, double size, double offset, seen_t *seen,
                  double next[3]) {
    double best = INFINITY;
    for (int i = 0; i < trials; i++) {
        double point[3]; // as many as the caller knows of
        tune_why_t why;
        ok(tune_ask(tune, (uint64_t)i, point, &why, &err));
        double value = size * valley(point, shift) + offset;
        ok(tune_tell(tune, (uint64_t)i, value, 0, &err));
        best = fmin(best, value);
        if (seen) {
            memcpy(seen->points + 3 * (size_t)i, point, sizeof point);
            seen->values[i] = value;
        }
        if (next)
            memcpy(next, point, sizeof point);
    }
    return best;
}

static void look_before(uint64_t seed, double shift, double size, double offset, seen_t *seen) {
    tune_space_t space = space_of();
    tune_t *tune = tune_new(&space, &(tune_config_t){.seed = seed + 100});
    run(tune, EARLIER, shift, size, offset, seen, NULL);
    tune_free(&tune);
}

static tune_t *begin(uint64_t seed, const seen_t *seen) {
    tune_space_t space = space_of();
    tune_t *tune = tune_new(&space, &(tune_config_t){.seed = seed});
    if (seen)
        ok(tune_earlier(tune, &space, EARLIER, seen->points, seen->values, &err));
    return tune;
}

static double mean_best(bool warm, int trials, double shift, double size, double offset) {
    double sum = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        seen_t seen;
        if (warm)
            look_before(seed, shift, size, offset, &seen);
        tune_t *tune = begin(seed, warm ? &seen : NULL);
        sum += run(tune, trials, 0, 1, 0, NULL, NULL) / 8;
        tune_free(&tune);
    }
    return sum;
}

static void kin_put_it_ahead(void **state) {
    (void)state;
    double cold = mean_best(false, 7, 0, 1, 0), same = mean_best(true, 7, 0, 1, 0);
    double other = mean_best(true, 7, 0.4, 1000, -7), small = mean_best(true, 7, 0.4, 1e-6, 2);
    if (!(same < cold / 20) || !(other < cold / 3) || !(small < cold / 3))
        fail_msg("cold %g, after the same %g, after others %g and %g", cold, same, other, small);
}

static void what_was_nothing_like_it_is_left_behind(void **state) {
    (void)state;
    double turned = mean_best(true, 35, -3, -1, 0);
    if (!(turned < 0.01))
        fail_msg("35 trials end at %g", turned);
}

// Failed, equal, or none at all.
static void odd_values_are_no_harm(void **state) {
    (void)state;
    seen_t seen;
    look_before(1, 0, 1, 0, &seen);
    for (int how = 0; how < 4; how++) {
        for (int i = 0; i < EARLIER; i++)
            seen.values[i] = how == 0 || (how == 1 && i > 1) ? NAN : how == 2 ? 3 : 1e300 * i;
        tune_t *tune = begin(2, &seen);
        assert_true(run(tune, 25, 0, 1, 0, NULL, NULL) < 0.3);
        tune_free(&tune);
    }
}

static void failures_are_known(void **state) {
    (void)state;
    seen_t seen;
    int near = 0;
    look_before(1, 0, 1, 0, &seen);
    for (int i = 0; i < EARLIER; i++)
        if (seen.points[3 * i] > 1e-3)
            seen.values[i] = NAN;
    tune_t *tune = begin(2, &seen);
    for (int i = 0; i < 12; i++) {
        double point[3];
        tune_why_t why;
        ok(tune_ask(tune, (uint64_t)i, point, &why, &err));
        near += point[0] > 1e-2;
        ok(point[0] > 1e-3 ? tune_fail(tune, (uint64_t)i, &err)
                           : tune_tell(tune, (uint64_t)i, valley(point, 0), 0, &err));
    }
    tune_free(&tune);
    assert_true(near <= 1);
}

static void what_is_hidden_stays_hidden(void **state) {
    (void)state;
    seen_t seen;
    look_before(1, 0, 1, 0, &seen);
    tune_t *tune = begin(2, &seen);
    uint64_t trial;
    double *point = malloc(3 * sizeof *point), *shares = malloc(6 * sizeof *shares), mean, sd;
    double value[5], means[5], sds[5];
    size_t written;
    assert_int_equal(tune_best(tune, &trial, point, NULL, NULL, &err), ERR_NOT_FOUND);
    run(tune, 10, 0, 1, 0, NULL, NULL);
    ok(tune_best(tune, &trial, point, &mean, &sd, &err));
    assert_true(trial < 10);
    ok(tune_importance(tune, shares, shares + 3, &err));
    assert_true(shares[3] > 0.1 && shares[4] >= 0);
    ok(tune_slice(tune, 1, 5, value, means, sds, &written, &err));
    assert_int_equal(written, 5);
    assert_false(tune_should_stop(tune));
    assert_int_equal(tune_asked(tune, UINT64_MAX, point, NULL, &err), ERR_CONFLICT);
    ok(tune_asked(tune, 99, point, NULL, &err));
    free(point);
    free(shares);
    tune_free(&tune);
}

// Told again what it was told, asked between for this and that or not, and with another space from
// some trial on.
static void a_replay_goes_on_bit_by_bit(void **state) {
    (void)state;
    static const char *const narrow[] = {"lr=log:1e-4..1e-1", "kind={c,b}", "more=0..1=0.5"};
    seen_t seen, first;
    tune_space_t was = space_of(), space;
    look_before(1, 0.2, 5, 1, &seen);
    for (int changes = 0; changes < 2; changes++) {
        double asked[2][4] = {{0}};
        for (int again = 0; again < 2; again++) {
            tune_t *tune = begin(3, &seen);
            if (!again)
                run(tune, 9, 0, 1, 0, &first, NULL);
            for (int i = 0; again && i < 9; i++) {
                ok(tune_asked(tune, (uint64_t)i, first.points + 3 * i, NULL, &err));
                ok(tune_tell(tune, (uint64_t)i, first.values[i], 0, &err));
            }
            if (changes) {
                ok(tune_space_merge(&was, narrow, COUNT(narrow), &space, &err));
                tune_change(tune, &space);
            }
            if (again)
                tune_noise(tune);
            tune_why_t why;
            ok(tune_ask(tune, 9, asked[again], &why, &err));
            ok(tune_space_contains(changes ? &space : &was, asked[again], &err));
            tune_free(&tune);
        }
        assert_memory_equal(asked[0], asked[1], sizeof asked[0]);
    }
}

static void the_largest_space_has_no_place_for_it(void **state) {
    (void)state;
    char names[TUNE_PARAMETERS_MAX][32];
    const char *all[TUNE_PARAMETERS_MAX];
    double points[TUNE_PARAMETERS_MAX] = {0}, values[] = {1};
    tune_space_t space;
    for (int i = 0; i < TUNE_PARAMETERS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "p%d=0..1", i);
        all[i] = names[i];
    }
    ok(tune_space_parse(all, TUNE_PARAMETERS_MAX, &space, &err));
    tune_t *tune = tune_new(&space, &(tune_config_t){.seed = 1});
    assert_int_equal(tune_earlier(tune, &space, 1, points, values, &err), ERR_USAGE);
    tune_free(&tune);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kin_put_it_ahead),
        cmocka_unit_test(what_was_nothing_like_it_is_left_behind),
        cmocka_unit_test(odd_values_are_no_harm),
        cmocka_unit_test(failures_are_known),
        cmocka_unit_test(what_is_hidden_stays_hidden),
        cmocka_unit_test(a_replay_goes_on_bit_by_bit),
        cmocka_unit_test(the_largest_space_has_no_place_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
