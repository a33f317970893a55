// Is a suggestion a function of seed, number and record alone; is no point asked for twice, none
// outside the space, and does every kind of parameter and ending lead to the good ones?
#include "base/clock.h"
#include "base/philox.h"
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

static const char *const mixed[] = {"lr=log:1e-5..1e-1=0.001",
                                    "dropout=0..0.5",
                                    "batch=logint:8..256",
                                    "optimizer={sgd,adam,lion}",
                                    "momentum=0.5..0.99 if optimizer=sgd|lion",
                                    "epochs=12"};
enum { LR, DROPOUT, BATCH, OPTIMIZER, MOMENTUM, EPOCHS };

static tune_t *new_study(const char *const *texts, size_t count, tune_config_t config) {
    tune_space_t space;
    err_t err;
    if (tune_space_parse(texts, count, &space, &err) != ERR_OK)
        fail_msg("%s", err.message);
    return tune_new(&space, &config);
}

static void ok(err_code_t code, const err_t *err) {
    if (code)
        fail_msg("%s", err->message);
}

static double error_of(const double *x) {
    double z = log10(x[LR]) + (x[OPTIMIZER] == 0 ? 1 : 3), error = 0.05 * z * z;
    error += pow(x[DROPOUT] - 0.2, 2) + 0.02 * pow(log2(x[BATCH]) - 5, 2);
    return error + (x[OPTIMIZER] == 1 ? 0 : 0.05 + pow(x[MOMENTUM] - 0.9, 2));
}

static bool diverges(const double *x) {
    return log10(x[LR]) > (x[OPTIMIZER] == 0 ? -1 : -2.2);
}

static void end_trial(tune_t *tune, uint64_t trial, const double *point) {
    err_t err;
    if (diverges(point))
        ok(tune_fail(tune, trial, &err), &err);
    else
        ok(tune_tell(tune, trial, error_of(point), 0, &err), &err);
}

// ---- replay ----

typedef struct {
    double point[TUNE_PARAMETERS_MAX];
    tune_why_t why;
} asked_t;

enum { TRIALS = 40, WORKERS = 4 };

// Four at a time, ended out of order; those before `from` are put in as known.
static void run_mixed(asked_t *asked, int from, tune_t *tune) {
    int flying[WORKERS], count = 0;
    err_t err;
    for (int i = 0; i < TRIALS; i++) {
        if (i < from)
            ok(tune_asked(tune, (uint64_t)i, asked[i].point, &asked[i].why, &err), &err);
        else
            ok(tune_ask(tune, (uint64_t)i, asked[i].point, &asked[i].why, &err), &err);
        flying[count++] = i;
        if (count < WORKERS)
            continue;
        int which = (int)philox_below(philox(5, (uint32_t)i, 0, 0, 0).v[0], WORKERS);
        if (i == 20)
            ok(tune_forget(tune, (uint64_t)flying[which], &err), &err);
        else
            end_trial(tune, (uint64_t)flying[which], asked[flying[which]].point);
        flying[which] = flying[--count];
    }
}

static void a_replay_goes_on_bit_by_bit(void **state) {
    (void)state;
    static asked_t first[TRIALS], again[TRIALS];
    for (int from = 0; from <= TRIALS; from += TRIALS / 2 + 3) {
        memcpy(again, first, sizeof again);
        tune_t *tune = new_study(mixed, COUNT(mixed), (tune_config_t){.seed = 3});
        run_mixed(from ? again : first, from, tune);
        tune_free(&tune);
        for (int i = 0; from && i < TRIALS; i++) {
            assert_memory_equal(again[i].point, first[i].point, sizeof(double) * COUNT(mixed));
            assert_memory_equal(&again[i].why.mean, &first[i].why.mean, sizeof(double));
            assert_int_equal(again[i].why.kind, first[i].why.kind);
        }
    }
    tune_t *other = new_study(mixed, COUNT(mixed), (tune_config_t){.seed = 4});
    run_mixed(again, 0, other);
    tune_free(&other);
    assert_memory_equal(again[0].point, first[0].point, sizeof(double) * COUNT(mixed)); // defaults
    assert_memory_not_equal(again[1].point, first[1].point, sizeof(double) * COUNT(mixed));
}

// ---- mixed spaces, failures, pending trials ----

static void check_point(const asked_t *asked, int i) {
    tune_space_t space;
    double canonical[TUNE_PARAMETERS_MAX];
    assert_int_equal(tune_space_parse(mixed, COUNT(mixed), &space, NULL), ERR_OK);
    memcpy(canonical, asked[i].point, sizeof canonical);
    assert_int_equal(tune_space_contains(&space, canonical, NULL), ERR_OK);
    tune_space_canonical(&space, canonical);
    assert_memory_equal(canonical, asked[i].point, sizeof(double) * COUNT(mixed));
    assert_true(asked[i].point[EPOCHS] == 12);
    for (int j = 0; j < i; j++)
        if (asked[i].why.kind != TUNE_REPLICATE)
            assert_memory_not_equal(asked[j].point, asked[i].point, sizeof(double) * COUNT(mixed));
}

static void points_are_canonical_and_new(void **state) {
    (void)state;
    static asked_t asked[TRIALS];
    int diverged = 0, modelled = 0;
    tune_t *tune = new_study(mixed, COUNT(mixed), (tune_config_t){.seed = 9});
    run_mixed(asked, 0, tune);
    for (int i = 0; i < TRIALS; i++) {
        check_point(asked, i);
        diverged += diverges(asked[i].point);
        bool by_model = asked[i].why.kind == TUNE_MODELLED;
        modelled += by_model;
        if (by_model)
            assert_true(isfinite(asked[i].why.mean) && asked[i].why.sd >= 0 &&
                        asked[i].why.gain >= 0 && asked[i].why.left >= 0);
        else if (asked[i].why.kind != TUNE_REPLICATE)
            assert_true(isnan(asked[i].why.mean));
    }
    assert_int_equal(asked[0].why.kind, TUNE_DEFAULT);
    assert_true(asked[0].point[LR] == 0.001);
    assert_int_equal(asked[1].why.kind, TUNE_START);
    assert_true(modelled >= TRIALS - 10);
    assert_true(diverged <= 10); // a fifth of the space and more diverges
    uint64_t trial;
    double point[TUNE_PARAMETERS_MAX], mean, sd;
    assert_int_equal(tune_best(tune, &trial, point, &mean, &sd, NULL), ERR_OK);
    assert_true(error_of(point) < 0.02 && point[OPTIMIZER] == 1);
    assert_memory_equal(point, asked[trial].point, sizeof(double) * COUNT(mixed));
    tune_free(&tune);
}

static double bowl(const double *x) {
    return pow(x[0] - 0.3, 2) + 2 * pow(x[1] + 0.7, 2);
}

static const char *const square[] = {"a=-1..1", "b=-1..1"};

static double best_of(tune_config_t config, int trials, double sign) {
    tune_t *tune = new_study(square, 2, config);
    double point[TUNE_PARAMETERS_MAX];
    tune_why_t why;
    err_t err;
    for (int i = 0; i < trials; i++) {
        ok(tune_ask(tune, (uint64_t)i, point, &why, &err), &err);
        ok(tune_tell(tune, (uint64_t)i, sign * bowl(point), 0, &err), &err);
    }
    ok(tune_best(tune, NULL, point, NULL, NULL, &err), &err);
    tune_free(&tune);
    return bowl(point);
}

static void strategies_and_goals(void **state) {
    (void)state;
    double least = best_of((tune_config_t){.seed = 1}, 20, 1);
    double most = best_of((tune_config_t){.seed = 1, .maximise = true}, 20, -1);
    assert_true(least < 1e-4 && least == most);
    double sobol = best_of((tune_config_t){.strategy = TUNE_SOBOL, .seed = 1}, 200, 1);
    double random = best_of((tune_config_t){.strategy = TUNE_RANDOM, .seed = 1}, 200, 1);
    assert_true(sobol < 0.03 && random < 0.1 && least < sobol && least < random);
}

static void pending_trials_are_kept_away_from(void **state) {
    (void)state;
    tune_t *tune = new_study(square, 2, (tune_config_t){.seed = 2, .noiseless = true});
    double points[40][TUNE_PARAMETERS_MAX];
    tune_why_t why;
    err_t err;
    for (uint64_t i = 0; i < 24; i++) { // eight ended, then sixteen at once
        ok(tune_ask(tune, i, points[i], &why, &err), &err);
        for (uint64_t j = 0; j < i; j++)
            assert_true(hypot(points[i][0] - points[j][0], points[i][1] - points[j][1]) > 1e-6);
        if (i < 8)
            ok(tune_tell(tune, i, bowl(points[i]), 0, &err), &err);
    }
    tune_free(&tune);
}

// ---- finite spaces ----

static void finite_spaces_end_with_a_word(void **state) {
    (void)state;
    static const char *const texts[] = {"a={x,y,z}", "b=int:1..4 if a=x|y", "c=int:1..3"};
    for (int strategy = 0; strategy < 3; strategy++) {
        tune_t *tune = new_study(
            texts, 3, (tune_config_t){.strategy = (tune_strategy_t)strategy, .noiseless = true});
        double seen[28][3], point[TUNE_PARAMETERS_MAX];
        tune_why_t why;
        err_t err;
        for (uint64_t i = 0; i < 27; i++) {
            ok(tune_ask(tune, i, point, &why, &err), &err);
            assert_true(why.kind != TUNE_EXHAUSTED);
            memcpy(seen[i], point, sizeof seen[i]);
            for (uint64_t j = 0; j < i; j++)
                assert_memory_not_equal(seen[i], seen[j], sizeof seen[i]);
            ok(tune_tell(tune, i, point[0] + point[1] * point[2], 0, &err), &err);
        }
        for (uint64_t i = 27; i < 30; i++) {
            ok(tune_ask(tune, i, point, &why, &err), &err);
            assert_int_equal(why.kind, TUNE_EXHAUSTED);
            assert_string_equal(tune_kind_text(why.kind), "exhausted");
        }
        assert_int_equal(tune_tell(tune, 27, 1, 0, &err), ERR_CONFLICT); // nothing was asked
        tune_free(&tune);
    }
}

static void a_forgotten_point_comes_again(void **state) {
    (void)state;
    static const char *const texts[] = {"a=int:1..2"};
    tune_t *tune = new_study(texts, 1, (tune_config_t){0});
    double first[TUNE_PARAMETERS_MAX], second[TUNE_PARAMETERS_MAX], third[TUNE_PARAMETERS_MAX];
    tune_why_t why;
    err_t err;
    ok(tune_ask(tune, 0, first, &why, &err), &err);
    ok(tune_ask(tune, 1, second, &why, &err), &err);
    ok(tune_forget(tune, 0, &err), &err);
    assert_int_equal(tune_forget(tune, 0, &err), ERR_CONFLICT);
    ok(tune_ask(tune, 2, third, &why, &err), &err);
    assert_true(why.kind != TUNE_EXHAUSTED && third[0] == first[0] && third[0] != second[0]);
    tune_free(&tune);
}

// ---- noise ----

static void noise_makes_replicates_but_few(void **state) {
    (void)state;
    tune_t *tune = new_study(square, 2, (tune_config_t){.seed = 6});
    double points[40][TUNE_PARAMETERS_MAX];
    int replicates = 0;
    tune_why_t why;
    err_t err;
    for (uint64_t i = 0; i < 40; i++) {
        int same = 0;
        ok(tune_ask(tune, i, points[i], &why, &err), &err);
        for (uint64_t j = 0; j <= i; j++)
            same += memcmp(points[i], points[j], sizeof(double) * 2) == 0;
        assert_true(same <= 4 && (same == 1) == (why.kind != TUNE_REPLICATE));
        replicates += why.kind == TUNE_REPLICATE;
        double noise = philox(8, (uint32_t)i, 0, 0, 0).v[0] * 0x1p-32 - 0.5;
        ok(tune_tell(tune, i, bowl(points[i]) + noise, 0, &err), &err);
    }
    assert_true(replicates > 0 && replicates < 20);
    assert_true(tune_noise(tune) > 0.1 && tune_noise(tune) < 0.6);
    tune_free(&tune);
}

// What looks like noise but comes again to the digit is none: one repetition shows that.
static void ripples_are_no_noise(void **state) {
    (void)state;
    tune_t *tune = new_study(square, 2, (tune_config_t){.seed = 6});
    double point[TUNE_PARAMETERS_MAX];
    int replicates = 0;
    tune_why_t why;
    err_t err;
    for (uint64_t i = 0; i < 40; i++) {
        ok(tune_ask(tune, i, point, &why, &err), &err);
        replicates += why.kind == TUNE_REPLICATE;
        double ripples = 0.3 * sin(173 * point[0]) * sin(191 * point[1]);
        ok(tune_tell(tune, i, bowl(point) + ripples, 0, &err), &err);
    }
    assert_true(replicates <= 1);
    tune_free(&tune);
}

static void extrapolated_values_weigh_less(void **state) {
    (void)state;
    for (int certain = 0; certain < 2; certain++) {
        tune_t *tune = new_study(square, 2, (tune_config_t){.seed = 6});
        double point[TUNE_PARAMETERS_MAX], mean[9], sd[9], at[9];
        tune_why_t why;
        size_t count;
        err_t err;
        for (uint64_t i = 0; i < 12; i++) {
            ok(tune_ask(tune, i, point, &why, &err), &err);
            ok(tune_tell(tune, i, bowl(point), 0, &err), &err);
        }
        const double odd[] = {0.3, -0.7};
        ok(tune_asked(tune, 12, odd, NULL, &err), &err);
        ok(tune_tell(tune, 12, 4, certain ? 0 : 100, &err), &err); // the least is 0 there
        ok(tune_slice(tune, 0, 9, at, mean, sd, &count, &err), &err);
        double least = INFINITY;
        for (int i = 0; i < 9; i++)
            least = fmin(least, mean[i]);
        assert_true(certain || least < 0.3);
        tune_free(&tune);
    }
}

// A guess that gets better, in a study that is asked all the time and in one that is only told.
static void values_told_again(void **state) {
    (void)state;
    tune_t *asked = new_study(square, 2, (tune_config_t){.seed = 8});
    tune_t *told = new_study(square, 2, (tune_config_t){.seed = 8});
    tune_t *never = new_study(square, 2, (tune_config_t){.seed = 8});
    double point[TUNE_PARAMETERS_MAX], other[TUNE_PARAMETERS_MAX], guessed[40];
    tune_why_t why;
    err_t err;
    for (uint64_t i = 0; i < 40; i++) {
        ok(tune_ask(asked, i, point, &why, &err), &err);
        ok(tune_asked(told, i, point, &why, &err), &err);
        ok(tune_asked(never, i, point, &why, &err), &err);
        guessed[i] = bowl(point);
        double doubt = i % 3 == 2 ? 0.3 : 0;
        ok(tune_tell(asked, i, guessed[i] + doubt, doubt, &err), &err);
        ok(tune_tell(told, i, guessed[i] + doubt, doubt, &err), &err);
        ok(tune_tell(never, i, guessed[i] + doubt, doubt, &err), &err);
        for (uint64_t k = 2; k <= i; k += 3) {
            double better = 0.3 / (double)(i - k + 1);
            ok(tune_retell(asked, k, guessed[k] + better, better, &err), &err);
            ok(tune_retell(told, k, guessed[k] + better, better, &err), &err);
        }
    }
    ok(tune_ask(asked, 40, point, &why, &err), &err);
    ok(tune_ask(told, 40, other, &why, &err), &err);
    assert_memory_equal(point, other, 2 * sizeof *point);
    ok(tune_ask(never, 40, other, &why, &err), &err);
    assert_memory_not_equal(point, other, 2 * sizeof *point);
    assert_int_equal(tune_retell(told, 1, 0.5, 0.1, &err), ERR_CONFLICT); // no guess
    assert_int_equal(tune_retell(told, 40, 0.5, 0.1, &err), ERR_CONFLICT);
    assert_int_equal(tune_retell(told, 41, 0.5, 0.1, &err), ERR_CONFLICT);
    assert_int_equal(tune_retell(told, 2, 0.5, 0, &err), ERR_INVALID);
    assert_int_equal(tune_retell(told, 2, NAN, 0.1, &err), ERR_INVALID);
    tune_free(&asked);
    tune_free(&told);
    tune_free(&never);
}

// ---- what is refused ----

static void wrong_calls_are_refused(void **state) {
    (void)state;
    tune_t *tune = new_study(square, 2, (tune_config_t){0});
    double point[TUNE_PARAMETERS_MAX];
    const double outside[] = {2, 0}, nan[] = {NAN, 0};
    tune_why_t why;
    err_t err;
    assert_int_equal(tune_best(tune, NULL, NULL, NULL, NULL, &err), ERR_NOT_FOUND);
    assert_int_equal(tune_importance(tune, point, point, &err), ERR_NOT_FOUND);
    ok(tune_ask(tune, 7, point, &why, &err), &err);
    assert_int_equal(tune_ask(tune, 7, point, &why, &err), ERR_CONFLICT);
    assert_int_equal(tune_asked(tune, 8, outside, NULL, &err), ERR_INVALID);
    assert_int_equal(tune_asked(tune, 8, nan, NULL, &err), ERR_INVALID);
    assert_int_equal(tune_tell(tune, 8, 1, 0, &err), ERR_CONFLICT);
    assert_int_equal(tune_tell(tune, 7, 1, -1, &err), ERR_INVALID);
    assert_int_equal(tune_tell(tune, 7, 1, NAN, &err), ERR_INVALID);
    ok(tune_tell(tune, 7, INFINITY, 0, &err), &err); // a failure
    assert_int_equal(tune_tell(tune, 7, 1, 0, &err), ERR_CONFLICT);
    assert_int_equal(tune_best(tune, NULL, NULL, NULL, NULL, &err), ERR_NOT_FOUND);
    tune_free(&tune);
    tune_free(&tune);
}

// Whatever values come, points stay in the space: all failed, all equal, huge, tiny, one far off.
static void odd_values_do_no_harm(void **state) {
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        tune_t *tune = new_study(mixed, COUNT(mixed), (tune_config_t){.seed = 1});
        asked_t asked[30];
        err_t err;
        for (uint64_t i = 0; i < 30; i++) {
            ok(tune_ask(tune, i, asked[i].point, &asked[i].why, &err), &err);
            check_point(asked, (int)i);
            double e = error_of(asked[i].point);
            const double values[] = {
                NAN, 4, 1e300 * e, 1e-300 * e, i == 5 ? 1e12 : e, i % 2 ? -INFINITY : e};
            ok(tune_tell(tune, i, values[kind], 0, &err), &err);
        }
        tune_free(&tune);
    }
}

// ---- what was learnt ----

static void importance_slices_and_the_end(void **state) {
    (void)state;
    static const char *const texts[] = {"a=-1..1", "b=-1..1", "c=-1..1", "d={x,y}", "e=3"};
    tune_config_t config = {.seed = 5, .tolerance = 1e-3};
    tune_t *tune = new_study(texts, 5, config);
    double point[TUNE_PARAMETERS_MAX], shares[5], total[5], at[5], mean[5], sd[5];
    tune_why_t why;
    size_t count;
    err_t err;
    int stopped = 0;
    for (int i = 0; i < 60; i++) {
        ok(tune_ask(tune, (uint64_t)i, point, &why, &err), &err);
        double value = 3 * point[0] * point[0] + point[1] + (point[3] == 1 ? 0.7 : 0);
        ok(tune_tell(tune, (uint64_t)i, value, 0, &err), &err);
        if (!stopped && tune_should_stop(tune))
            stopped = i;
    }
    assert_true(stopped > 10);
    ok(tune_importance(tune, shares, total, &err), &err);
    assert_true(shares[0] > shares[1] && shares[1] > shares[3] && shares[3] > shares[2]);
    assert_true(total[2] < 0.05 && total[4] == 0);
    for (int i = 0; i < 4; i++)
        assert_true(total[i] > shares[i] - 0.05 && total[i] <= 1.05);
    ok(tune_slice(tune, 0, 5, at, mean, sd, &count, &err), &err);
    assert_int_equal(count, 5);
    assert_true(at[0] == -1 && at[4] == 1 && mean[0] > mean[2] + 1 && mean[4] > mean[2] + 1);
    ok(tune_slice(tune, 3, 5, at, mean, sd, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_true(fabs(mean[1] - mean[0] - 0.7) < 0.1);
    ok(tune_slice(tune, 4, 5, at, mean, sd, &count, &err), &err);
    assert_int_equal(count, 1);
    assert_int_equal(tune_rests_on(tune), 60);
    double all[3][5 * 5];
    size_t counts[TUNE_PARAMETERS_MAX];
    uint64_t best, trial;
    ok(tune_slices(tune, 5, all[0], all[1], all[2], counts, &trial, &err), &err);
    ok(tune_best(tune, &best, NULL, NULL, NULL, &err), &err);
    assert_int_equal(trial, best);
    for (int i = 0; i < 5; i++) {
        ok(tune_slice(tune, i, 5, at, mean, sd, &count, &err), &err);
        assert_int_equal(counts[i], count);
        assert_memory_equal(all[0] + 5 * i, at, count * sizeof *at);
        assert_memory_equal(all[1] + 5 * i, mean, count * sizeof *mean);
        assert_memory_equal(all[2] + 5 * i, sd, count * sizeof *sd);
    }
    for (uint64_t i = 60; i < 62; i++)
        ok(tune_ask(tune, i, point, &why, &err), &err);
    ok(tune_fail(tune, 60, &err), &err);
    ok(tune_forget(tune, 61, &err), &err);
    assert_int_equal(tune_rests_on(tune), 61); // a failure tells something
    tune_free(&tune);
}

// A parameter that does not apply in the best trial is shown where it does.
static void slices_of_what_does_not_apply(void **state) {
    (void)state;
    static const char *const texts[] = {"m=0..1 if o=y", "o={x,y,z}", "n=0..1 if p=w",
                                        "p={v,w} if o=y|z"};
    tune_t *tune = new_study(texts, 4, (tune_config_t){.seed = 2});
    double point[TUNE_PARAMETERS_MAX], at[5], mean[5], sd[5];
    tune_why_t why;
    size_t count;
    err_t err;
    for (uint64_t i = 0; i < 40; i++) {
        ok(tune_ask(tune, i, point, &why, &err), &err);
        double value = point[1] == 0 ? 0 : 1 + point[1];
        if (point[1] == 1)
            value += 2 * point[0];
        if (point[1] > 0 && point[3] == 1)
            value -= 0.5 * point[2];
        ok(tune_tell(tune, i, value, 0, &err), &err);
    }
    ok(tune_best(tune, NULL, point, NULL, NULL, &err), &err);
    assert_true(point[1] == 0);
    ok(tune_slice(tune, 0, 5, at, mean, sd, &count, &err), &err);
    assert_true(mean[4] > mean[0] + 1);
    ok(tune_slice(tune, 2, 5, at, mean, sd, &count, &err), &err); // by way of two parents
    assert_true(mean[0] > mean[4] + 0.1);
    tune_free(&tune);
}

// ---- size ----

// Beyond the active set, and within a time that only a mistake in the order of growth can exceed.
static void a_thousand_trials_and_more(void **state) {
    (void)state;
    static const char *const texts[] = {"a=0..1", "b=0..1", "c=0..1", "d=0..1", "e=0..1",
                                        "f=0..1", "g=0..1", "h=0..1", "i=0..1", "j=0..1"};
    tune_t *tune = new_study(texts, 10, (tune_config_t){.seed = 1});
    double point[TUNE_PARAMETERS_MAX];
    tune_why_t why;
    err_t err;
    for (uint32_t i = 0; i < 1020; i++) {
        double sum = 0;
        for (uint32_t d = 0; d < 10; d++) {
            point[d] = (philox(3, i, d, 0, 0).v[0] + 0.5) * 0x1p-32;
            sum += pow(point[d] - 0.4, 2);
        }
        ok(tune_asked(tune, i, point, NULL, &err), &err);
        ok(tune_tell(tune, i, sum, 0, &err), &err);
    }
    double value = 0;
    int64_t start = clock_mono_ms(); // the first fit is of all 1,020 at once
    for (uint32_t i = 1020; i < 1023; i++) {
        ok(tune_ask(tune, i, point, &why, &err), &err);
        assert_int_equal(why.kind, TUNE_MODELLED);
        value = 0;
        for (int d = 0; d < 10; d++)
            value += pow(point[d] - 0.4, 2);
        ok(tune_tell(tune, i, value, 0, &err), &err);
    }
    assert_true(value < 0.1);
    assert_int_equal(tune_rests_on(tune), TUNE_ACTIVE_MAX);
    assert_true(clock_mono_ms() - start < 240000);
    tune_free(&tune);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replay_goes_on_bit_by_bit),
        cmocka_unit_test(points_are_canonical_and_new),
        cmocka_unit_test(strategies_and_goals),
        cmocka_unit_test(pending_trials_are_kept_away_from),
        cmocka_unit_test(finite_spaces_end_with_a_word),
        cmocka_unit_test(a_forgotten_point_comes_again),
        cmocka_unit_test(noise_makes_replicates_but_few),
        cmocka_unit_test(ripples_are_no_noise),
        cmocka_unit_test(extrapolated_values_weigh_less),
        cmocka_unit_test(values_told_again),
        cmocka_unit_test(wrong_calls_are_refused),
        cmocka_unit_test(odd_values_do_no_harm),
        cmocka_unit_test(importance_slices_and_the_end),
        cmocka_unit_test(slices_of_what_does_not_apply),
        cmocka_unit_test(a_thousand_trials_and_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
