// A space that changes while a study runs: is everything from then on within the new one, is what
// was tried not tried again, does the model go on knowing what it knew, and is a replay the same?
#include "tune/optimiser.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))

typedef struct {
    double point[TUNE_PARAMETERS_MAX], value;
    tune_why_t why;
} trial_t;

typedef struct {
    tune_space_t space;
    tune_t *tune;
    uint64_t count;
    trial_t trials[128];
} study_t;

static err_t err;

static void ok(err_code_t code) {
    if (code)
        fail_msg("%s", err.message);
}

static study_t begin(const char *const *texts, size_t count, tune_config_t config) {
    study_t study = {.count = 0};
    ok(tune_space_parse(texts, count, &study.space, &err));
    study.tune = tune_new(&study.space, &config);
    return study;
}

static void change(study_t *study, const char *const *texts, size_t count) {
    tune_space_t to;
    ok(tune_space_merge(&study->space, texts, count, &to, &err));
    study->space = to;
    tune_change(study->tune, &to);
}

static trial_t *ask(study_t *study) {
    trial_t *trial = &study->trials[study->count];
    ok(tune_ask(study->tune, study->count, trial->point, &trial->why, &err));
    study->count += trial->why.kind != TUNE_EXHAUSTED;
    if (trial->why.kind != TUNE_EXHAUSTED)
        ok(tune_space_contains(&study->space, trial->point, &err));
    return trial;
}

typedef double (*function_t)(const double *point);

static double run(study_t *study, int trials, function_t f) {
    double best = INFINITY;
    for (int i = 0; i < trials; i++) {
        trial_t *trial = ask(study);
        trial->value = f(trial->point);
        ok(tune_tell(study->tune, study->count - 1, trial->value, 0, &err));
        best = fmin(best, trial->value);
    }
    return best;
}

// ---- what is known stays known ----

static double valley(const double *x) { // at 10^-2.5, 0.3
    return pow(log10(x[0]) + 2.5, 2) + 4 * pow(x[1] - 0.3, 2);
}

static const char *const wide[] = {"lr=log:1e-6..1", "dropout=0..1"};
static const char *const narrow[] = {"lr=log:1e-3..1e-2", "dropout=0.2..0.5"};

static void a_narrowed_study_knows_more_than_a_new_one(void **state) {
    (void)state;
    double changed = 0, cold = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        tune_config_t config = {.seed = seed};
        study_t study = begin(wide, COUNT(wide), config), other;
        run(&study, 12, valley);
        change(&study, narrow, COUNT(narrow));
        changed += run(&study, 3, valley);
        for (uint64_t i = 12; i < 15; i++)
            assert_int_equal(study.trials[i].why.kind, TUNE_MODELLED);
        other = begin(narrow, COUNT(narrow), config);
        cold += run(&other, 8, valley);
        tune_free(&study.tune);
        tune_free(&other.tune);
    }
    if (changed > cold)
        fail_msg("3 trials after a change end at %g, 8 of a new study at %g", changed, cold);
}

static void a_widened_study_finds_what_was_outside(void **state) {
    (void)state;
    static const char *const corner[] = {"lr=log:1e-6..1e-4", "dropout=0.5..1"};
    study_t study = begin(corner, COUNT(corner), (tune_config_t){.seed = 2});
    run(&study, 10, valley);
    change(&study, wide, COUNT(wide));
    assert_true(run(&study, 15, valley) < 0.01);
    tune_free(&study.tune);
}

// The best is told apart from what is best inside.
static void the_best_is_of_the_space(void **state) {
    (void)state;
    static const char *const away[] = {"lr=log:1e-6..1e-5"};
    study_t study = begin(wide, COUNT(wide), (tune_config_t){.seed = 3});
    double point[TUNE_PARAMETERS_MAX];
    run(&study, 20, valley);
    change(&study, away, COUNT(away));
    uint64_t trial;
    ok(tune_best(study.tune, &trial, point, NULL, NULL, &err));
    run(&study, 12, valley);
    ok(tune_best(study.tune, &trial, point, NULL, NULL, &err));
    ok(tune_space_contains(&study.space, point, &err));
    assert_true(fabs(log10(point[0]) + 5) < 0.02 && fabs(point[1] - 0.3) < 0.1);
    tune_free(&study.tune);
}

// ---- every kind of change ----

static double three(const double *x) { // momentum at 0.6, behind the others
    return valley(x) + pow(x[2] - 0.6, 2);
}

static double default_momentum(const double *x) {
    return valley(x) + pow(0.1 - 0.6, 2);
}

static void a_new_parameter_is_tuned(void **state) {
    (void)state;
    static const char *const more[] = {"momentum=0..0.99=0.1"};
    study_t study = begin(wide, COUNT(wide), (tune_config_t){.seed = 4});
    run(&study, 12, default_momentum);
    change(&study, more, COUNT(more));
    assert_true(run(&study, 20, three) < 0.01);
    // What came of earlier trials is known: there is no second look at the default.
    double point[TUNE_PARAMETERS_MAX];
    memcpy(point, study.trials[3].point, sizeof point);
    point[2] = 0.1;
    for (uint64_t i = 12; i < study.count; i++)
        assert_memory_not_equal(study.trials[i].point, point, 3 * sizeof *point);
    // It becomes a constant, and the model still knows which trials had another value.
    static const char *const fixed[] = {"momentum=0.9", "lr=log:1e-4..1e-1"};
    change(&study, fixed, COUNT(fixed));
    assert_true(run(&study, 6, three) < 0.1);
    for (uint64_t i = study.count - 6; i < study.count; i++)
        assert_true(study.trials[i].point[2] == 0.9);
    static const char *const back[] = {"momentum=0.3..0.9"};
    change(&study, back, COUNT(back));
    assert_true(run(&study, 8, three) < 0.003);
    tune_free(&study.tune);
}

static double words(const double *x) { // a, b, c as of `with_words`
    static const double height[] = {0.5, 0, 1, 0.05};
    return valley(x) + height[(int)x[2]];
}

static double later_words(const double *x) { // a, d, c: b is gone
    double at[3] = {x[0], x[1], x[2] == 1 ? 3 : x[2]};
    return words(at);
}

static void words_come_and_go(void **state) {
    (void)state;
    static const char *const with_words[] = {"lr=log:1e-6..1", "dropout=0..1", "kind={a,b,c}"};
    static const char *const changed[] = {"kind={a,d,c}"};
    study_t study = begin(with_words, COUNT(with_words), (tune_config_t){.seed = 5});
    run(&study, 16, words);
    change(&study, changed, COUNT(changed));
    assert_true(run(&study, 14, later_words) < 0.06);
    tune_free(&study.tune);
}

static double plain(const double *x) {
    return pow(x[0] - 0.02, 2) + 1e-3 * fabs(x[1] - 3);
}

static void scales_change(void **state) {
    (void)state;
    static const char *const linear[] = {"x=0..1=0", "n=1..8"};
    static const char *const logarithmic[] = {"x=log:1e-4..1", "n=logint:1..1000000000"};
    static const char *const far[] = {"x=log:1e-12..1e-11", "n=int:1..2"};
    study_t study = begin(linear, COUNT(linear), (tune_config_t){.seed = 6});
    run(&study, 9, plain); // the first at 0, which has no logarithm
    assert_true(study.trials[0].point[0] == 0);
    change(&study, logarithmic, COUNT(logarithmic));
    run(&study, 9, plain);
    for (uint64_t i = 9; i < study.count; i++)
        assert_int_equal(study.trials[i].why.kind, TUNE_MODELLED);
    change(&study, far, COUNT(far)); // all others are a hundred widths away, and more
    run(&study, 6, plain);
    change(&study, linear, COUNT(linear));
    assert_true(run(&study, 6, plain) < 0.001);
    tune_free(&study.tune);
}

// ---- counting ----

static double index_of(const double *x) {
    return x[0];
}

static double below_zero(const double *x) {
    return pow(x[1] + 0.6, 2) + 0.3 * fabs(log10(x[0]) + 2);
}

// Nothing that was tried has a logarithm.
static void from_below_zero_to_a_log_scale(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        study_t study =
            begin((const char *const[]){"lr=log:1e-4..1", "z=-1..0.05", "o={sgd,adam,rms}"}, 3,
                  (tune_config_t){.seed = seed});
        run(&study, 20, below_zero);
        change(&study, (const char *const[]){"z=log:0.1..1"}, 1);
        run(&study, 4, below_zero); // each within the space, or it fails
        tune_free(&study.tune);
    }
}

static void finite_spaces_are_counted_anew(void **state) {
    (void)state;
    static const char *const four[] = {"n=int:1..4"}, *const six[] = {"n=int:2..6"},
                             *const three_left[] = {"n=int:1..3"};
    study_t study = begin(four, 1, (tune_config_t){.seed = 1, .noiseless = true});
    run(&study, 4, index_of);
    assert_int_equal(ask(&study)->why.kind, TUNE_EXHAUSTED);
    change(&study, three_left, 1);
    assert_int_equal(ask(&study)->why.kind, TUNE_EXHAUSTED);
    change(&study, six, 1);
    run(&study, 2, index_of);
    assert_true(study.trials[4].point[0] + study.trials[5].point[0] == 11);
    assert_int_equal(ask(&study)->why.kind, TUNE_EXHAUSTED);
    tune_free(&study.tune);
}

static void pending_trials_go_on(void **state) {
    (void)state;
    study_t study = begin(wide, COUNT(wide), (tune_config_t){.seed = 7});
    run(&study, 8, valley);
    trial_t *gone = ask(&study), *kept = ask(&study);
    change(&study, narrow, COUNT(narrow));
    trial_t *next = ask(&study); // both are outside, or known
    assert_memory_not_equal(next->point, kept->point, 2 * sizeof(double));
    ok(tune_tell(study.tune, 9, valley(kept->point), 0, &err));
    ok(tune_forget(study.tune, 8, &err));
    ok(tune_fail(study.tune, 10, &err));
    (void)gone;
    run(&study, 8, valley);
    tune_free(&study.tune);
}

// Before a change nothing was left to gain; that says nothing of the new space.
static void a_change_is_no_time_to_stop(void **state) {
    (void)state;
    study_t study = begin(narrow, COUNT(narrow), (tune_config_t){.seed = 8, .tolerance = 0.05});
    run(&study, 25, valley);
    assert_true(tune_should_stop(study.tune));
    change(&study, wide, COUNT(wide));
    assert_false(tune_should_stop(study.tune));
    tune_free(&study.tune);
}

// Noisy values are repeated where that helps, but none that is outside.
static double noisy(const double *x) {
    double wobble = sin(1e5 * x[0] + 3e4 * x[1]);
    return valley(x) + 0.3 * wobble;
}

static void nothing_outside_is_repeated(void **state) {
    (void)state;
    static const char *const away[] = {"lr=log:1e-6..1e-5"};
    study_t study = begin(wide, COUNT(wide), (tune_config_t){.seed = 9});
    run(&study, 20, noisy);
    change(&study, away, COUNT(away));
    run(&study, 15, noisy); // ask() looks at every one
    tune_free(&study.tune);
}

static double first_of_many(const double *x) {
    return fabs(x[0] - 0.5);
}

static void the_largest_space_is_one(void **state) {
    (void)state;
    char texts[TUNE_PARAMETERS_MAX][32];
    const char *all[TUNE_PARAMETERS_MAX];
    for (int i = 0; i < TUNE_PARAMETERS_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "p%d=0..1=0.5", i);
        all[i] = texts[i];
    }
    study_t study = begin(all, 2, (tune_config_t){.seed = 1});
    run(&study, 6, first_of_many);
    change(&study, all + 2, TUNE_PARAMETERS_MAX - 2);
    run(&study, 2, first_of_many);
    tune_free(&study.tune);
}

// ---- replay ----

static void step(study_t *study, int i) {
    static const char *const more[] = {"momentum=0..0.99=0.1", "lr=log:1e-5..1"};
    if (i == 9)
        change(study, narrow, COUNT(narrow));
    if (i == 17)
        change(study, more, COUNT(more));
    if (i == 26)
        change(study, wide, COUNT(wide));
}

// One study decides; another, told the same, goes on from `from` by itself. The model is asked
// between, or not: that must not matter either.
static void a_replay_goes_on_bit_by_bit(void **state) {
    (void)state;
    study_t first = begin(wide, COUNT(wide), (tune_config_t){.seed = 11});
    for (int i = 0; i < 35; i++) {
        step(&first, i);
        run(&first, 1, valley);
        tune_noise(first.tune);
    }
    for (int from = 8; from < 35; from += 6) {
        study_t again = begin(wide, COUNT(wide), (tune_config_t){.seed = 11});
        for (int i = 0; i < 35; i++) {
            const trial_t *trial = &first.trials[i];
            step(&again, i);
            if (i < from) {
                ok(tune_asked(again.tune, (uint64_t)i, trial->point, &trial->why, &err));
                ok(tune_tell(again.tune, (uint64_t)i, trial->value, 0, &err));
                again.count++;
                continue;
            }
            run(&again, 1, valley);
            size_t bytes = sizeof(double) * (size_t)again.space.count;
            assert_memory_equal(again.trials[i].point, trial->point, bytes);
            assert_memory_equal(&again.trials[i].why.mean, &trial->why.mean, sizeof(double));
        }
        tune_free(&again.tune);
    }
    tune_free(&first.tune);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_narrowed_study_knows_more_than_a_new_one),
        cmocka_unit_test(a_widened_study_finds_what_was_outside),
        cmocka_unit_test(the_best_is_of_the_space),
        cmocka_unit_test(a_new_parameter_is_tuned),
        cmocka_unit_test(words_come_and_go),
        cmocka_unit_test(scales_change),
        cmocka_unit_test(from_below_zero_to_a_log_scale),
        cmocka_unit_test(finite_spaces_are_counted_anew),
        cmocka_unit_test(pending_trials_go_on),
        cmocka_unit_test(a_change_is_no_time_to_stop),
        cmocka_unit_test(nothing_outside_is_repeated),
        cmocka_unit_test(the_largest_space_is_one),
        cmocka_unit_test(a_replay_goes_on_bit_by_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
