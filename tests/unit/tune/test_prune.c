// Are the right trials stopped, and the same whenever they report again?
#include "tune/prune.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static tune_prune_t *new_rule(tune_prune_config_t config) {
    tune_prune_t *prune;
    assert_int_equal(tune_prune_new(&config, &prune, NULL), ERR_OK);
    return prune;
}

static bool report(tune_prune_t *prune, uint64_t trial, int epoch, double value) {
    bool stop;
    assert_int_equal(tune_prune_report(prune, trial, epoch, value, &stop, NULL), ERR_OK);
    return stop;
}

static void rungs(void **state) {
    (void)state;
    tune_prune_t *asha = new_rule((tune_prune_config_t){.first = 2, .last = 18});
    for (int epoch = 1; epoch <= 18; epoch++)
        assert_int_equal(tune_prune_looks(asha, epoch), epoch == 2 || epoch == 6);
    tune_prune_free(&asha);
    tune_prune_t *median = new_rule((tune_prune_config_t){.rule = TUNE_PRUNE_MEDIAN, .last = 4});
    assert_true(tune_prune_looks(median, 1) && tune_prune_looks(median, 3));
    assert_false(tune_prune_looks(median, 4));
    tune_prune_free(&median);
    tune_prune_free(&median);
}

static void the_best_third_goes_on(void **state) {
    (void)state;
    tune_prune_t *prune = new_rule((tune_prune_config_t){.last = 9});
    for (uint64_t i = 0; i < 5; i++) // fewer than 2η: whatever they have
        assert_false(report(prune, i, 1, 0.9 - 0.1 * (double)i));
    assert_true(report(prune, 5, 1, 0.7));   // third of six
    assert_false(report(prune, 6, 1, 0.45)); // first
    assert_false(report(prune, 7, 1, 0.47)); // second of eight
    assert_true(report(prune, 8, 1, 0.6));   // fifth of nine
    assert_false(report(prune, 0, 3, 5));    // alone at its epoch
    tune_prune_free(&prune);
}

static void standing(const tune_prune_t *prune, uint64_t trial, int epoch, int rank, int of) {
    int is_rank = 0, is_of = 0;
    assert_true(tune_prune_standing(prune, trial, epoch, &is_rank, &is_of));
    assert_int_equal(is_rank, rank);
    assert_int_equal(is_of, of);
}

static void where_a_trial_stood_then(void **state) {
    (void)state;
    int rank, of;
    tune_prune_t *prune = new_rule((tune_prune_config_t){.last = 9, .maximise = true});
    for (uint64_t i = 0; i < 5; i++)
        report(prune, i, 1, (double)i);
    assert_true(report(prune, 5, 1, 2.5));
    report(prune, 6, 1, 9); // who comes later changes nothing
    standing(prune, 5, 1, 3, 6);
    standing(prune, 0, 1, 1, 1);
    standing(prune, 6, 1, 1, 7);
    assert_false(tune_prune_standing(prune, 6, 0, &rank, &of)); // a final value is at no epoch
    assert_false(tune_prune_standing(prune, 6, 3, &rank, &of));
    tune_prune_free(&prune);
    prune = new_rule((tune_prune_config_t){.rule = TUNE_PRUNE_MEDIAN, .last = 9});
    for (uint64_t i = 0; i < 6; i++)
        for (int epoch = 1; epoch <= 2; epoch++)
            report(prune, i, epoch, (double)i + epoch);
    report(prune, 7, 1, 2.5);
    report(prune, 7, 2, 8);      // its best so far counts
    standing(prune, 7, 2, 2, 6); // the sixth was stopped at the first epoch
    tune_prune_free(&prune);
}

static void reports_are_idempotent(void **state) {
    (void)state;
    tune_prune_t *prune = new_rule((tune_prune_config_t){.last = 9});
    for (uint64_t i = 0; i < 6; i++)
        report(prune, i, 1, (double)i);
    assert_true(report(prune, 9, 1, 7));
    for (uint64_t i = 10; i < 30; i++)
        report(prune, i, 1, 100); // worse ones come: a new report of 9 would be good enough now
    assert_true(report(prune, 9, 1, 7));
    assert_true(report(prune, 9, 1, 0)); // the first report counts
    assert_true(report(prune, 9, 2, 0)); // and what is stopped is stopped
    assert_false(report(prune, 0, 1, 1000));
    assert_false(report(prune, 0, 2, 1000)); // no rung
    tune_prune_free(&prune);
}

static void the_best_are_safe(void **state) {
    (void)state;
    tune_prune_t *prune = new_rule((tune_prune_config_t){.last = 9, .keep = 4, .maximise = true});
    for (uint64_t i = 0; i < 6; i++)
        report(prune, i, 1, (double)i);
    assert_false(report(prune, 6, 1, 2.5)); // fourth best
    assert_true(report(prune, 7, 1, 2.4));
    assert_true(report(prune, 8, 1, NAN));
    tune_prune_free(&prune);
}

static void median_rule(void **state) {
    (void)state;
    tune_prune_t *prune = new_rule((tune_prune_config_t){.rule = TUNE_PRUNE_MEDIAN, .last = 9});
    for (uint64_t i = 0; i < 8; i++) { // each the best so far
        assert_false(report(prune, i, 1, 7 - (double)i));
        assert_false(report(prune, i, 2, 7 - (double)i));
    }
    assert_false(report(prune, 8, 1, 3.4));
    assert_false(report(prune, 8, 2, 6)); // its best so far is still good
    assert_true(report(prune, 9, 1, 4.5));
    assert_false(report(prune, 10, 3, 100)); // alone there
    tune_prune_free(&prune);
}

static void a_spared_trial_is_looked_at_again(void **state) {
    (void)state;
    tune_prune_t *prune = new_rule((tune_prune_config_t){.last = 9});
    for (uint64_t i = 0; i < 6; i++)
        for (int epoch = 1; epoch <= 3; epoch += 2)
            report(prune, i, epoch, 0.1 * (double)i);
    assert_true(report(prune, 6, 1, 0.9));
    tune_prune_overrule(prune, 6, 1, false);
    assert_false(report(prune, 6, 1, 0.9)); // and stays spared
    assert_false(report(prune, 6, 2, 0.9));
    assert_true(report(prune, 6, 3, 0.9));
    tune_prune_free(&prune);
}

static void wrong_calls_are_refused(void **state) {
    (void)state;
    const tune_prune_config_t wrong[] = {{.last = 0},
                                         {.last = 9, .eta = 1},
                                         {.last = 9, .eta = 17},
                                         {.last = 9, .first = -1},
                                         {.last = 9, .keep = -1}};
    tune_prune_t *prune;
    bool stop;
    for (int i = 0; i < 5; i++)
        assert_int_equal(tune_prune_new(&wrong[i], &prune, NULL), ERR_USAGE);
    prune = new_rule((tune_prune_config_t){.last = 9});
    assert_int_equal(tune_prune_report(prune, 1, 0, 1, &stop, NULL), ERR_INVALID);
    assert_int_equal(tune_prune_report(prune, 1, 10, 1, &stop, NULL), ERR_INVALID);
    tune_prune_free(&prune);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rungs),
        cmocka_unit_test(the_best_third_goes_on),
        cmocka_unit_test(where_a_trial_stood_then),
        cmocka_unit_test(reports_are_idempotent),
        cmocka_unit_test(the_best_are_safe),
        cmocka_unit_test(median_rule),
        cmocka_unit_test(a_spared_trial_is_looked_at_again),
        cmocka_unit_test(wrong_calls_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
