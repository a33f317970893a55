// Does a space that changes keep what it knows of: are definitions merged by name, is what cannot
// be carried over refused by name, and do earlier points keep their values and get a place?
#include "space/space.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))

static const char *const before[] = {"lr=log:1e-5..1e-1=0.001", "batch=int:8..64",
                                     "optimizer={sgd,adam,lion}",
                                     "momentum=0.5..0.99 if optimizer=sgd"};
enum { LR, BATCH, OPTIMIZER, MOMENTUM, NEW };

static tune_space_t parse(const char *const *texts, size_t count) {
    tune_space_t space;
    err_t err;
    if (tune_space_parse(texts, count, &space, &err) != ERR_OK)
        fail_msg("%s", err.message);
    return space;
}

static tune_space_t merge(const tune_space_t *from, const char *const *texts, size_t count) {
    tune_space_t to;
    err_t err;
    if (tune_space_merge(from, texts, count, &to, &err) != ERR_OK)
        fail_msg("%s", err.message);
    return to;
}

static void definitions_are_replaced_by_name(void **state) {
    (void)state;
    static const char *const texts[] = {" batch =logint:16..256", "decay=log:1e-6..1e-2=1e-4"};
    static const char *const after[] = {
        "lr=log:1e-05..0.1=0.001", "batch=logint:16..256", "optimizer={sgd,adam,lion}",
        "momentum=0.5..0.99 if optimizer=sgd", "decay=log:1e-06..0.01=0.0001"};
    tune_space_t from = parse(before, COUNT(before)), to = merge(&from, texts, COUNT(texts));
    tune_space_t wanted = parse(after, COUNT(after));
    assert_true(tune_space_equal(&to, &wanted));
    assert_false(tune_space_equal(&to, &from));
    tune_space_t same = merge(&to, texts, COUNT(texts));
    assert_true(tune_space_equal(&to, &same));
}

static void points_keep_their_values(void **state) {
    (void)state;
    static const char *const texts[] = {"lr=log:1e-3..1e-2", "optimizer={lion,rmsprop,sgd}",
                                        "decay=0..1=0.25", "batch=16..32"};
    tune_space_t from = parse(before, COUNT(before)), to = merge(&from, texts, COUNT(texts));
    double adam[TUNE_PARAMETERS_MAX] = {1e-5, 64, 1, 0},
           sgd[TUNE_PARAMETERS_MAX] = {2e-3, 20, 0, 0.9};
    tune_space_canonical(&from, adam);
    tune_space_carry(&from, &to, adam);
    tune_space_carry(&from, &to, sgd);
    assert_true(adam[LR] == 1e-5 && adam[BATCH] == 64 && adam[NEW] == 0.25);
    assert_string_equal(to.parameters[OPTIMIZER].choices[(int)adam[OPTIMIZER]], "adam");
    assert_int_equal(to.parameters[OPTIMIZER].retired, 1);
    assert_true(adam[OPTIMIZER] >= to.parameters[OPTIMIZER].choice_count);
    assert_int_equal(tune_space_contains(&to, adam, NULL), ERR_INVALID);
    assert_true(sgd[OPTIMIZER] == 2 && sgd[MOMENTUM] == 0.9);
    assert_int_equal(tune_space_contains(&to, sgd, NULL), ERR_OK);
    // The word comes back, and the point is inside again.
    static const char *const again[] = {"optimizer={adam,sgd}", "lr=log:1e-5..1e-2",
                                        "batch=int:8..64"};
    tune_space_t third = merge(&to, again, COUNT(again));
    tune_space_carry(&to, &third, adam);
    assert_true(adam[OPTIMIZER] == 0);
    assert_int_equal(third.parameters[OPTIMIZER].retired, 2);
    assert_int_equal(tune_space_contains(&third, adam, NULL), ERR_OK);
}

static void what_begins_to_apply_has_its_default(void **state) {
    (void)state;
    static const char *const texts[] = {"momentum=0.5..0.99=0.8"};
    tune_space_t from = parse(before, COUNT(before)), to = merge(&from, texts, 1);
    double adam[TUNE_PARAMETERS_MAX] = {1e-3, 8, 1, 0},
           sgd[TUNE_PARAMETERS_MAX] = {1e-3, 8, 0, 0.9};
    tune_space_canonical(&from, adam);
    tune_space_carry(&from, &to, adam);
    tune_space_carry(&from, &to, sgd);
    assert_true(adam[MOMENTUM] == 0.8 && sgd[MOMENTUM] == 0.9);
    // And what ceases to apply rests.
    static const char *const less[] = {"momentum=0.5..0.99=0.7 if optimizer=lion"};
    tune_space_t none = merge(&from, less, 1);
    double other[TUNE_PARAMETERS_MAX] = {1e-3, 8, 0, 0.9};
    tune_space_carry(&from, &none, other);
    assert_true(other[MOMENTUM] == 0.7);
}

static void what_cannot_be_carried_over_is_refused(void **state) {
    static const struct {
        const char *texts[2], *message;
    } bad[] = {{{"decay=0..1"}, "parameter decay is new, and has no default"},
               {{"lr={a,b}"}, "parameter lr: a number cannot become words"},
               {{"optimizer=0..1", "momentum=0..1=0"},
                "parameter optimizer: words cannot become a number"},
               {{"lr=1..0"}, "parameter lr: the range 1..0 is empty"},
               {{"lr=0.1..0.1"}, "parameter lr: its range has one value only"},
               {{"lr=log:0..1"}, "parameter lr: a log scale has no place for 0"},
               {{"lr=0..1", " lr = 0..2"}, "parameter lr is there twice"},
               {{"lr"}, "does not say what to tune"},
               {{"momentum=0..1"}, "parameter momentum applies elsewhere than before"},
               {{"momentum=0..1 if optimizer=adam"}, "parameter momentum applies elsewhere"},
               {{"optimizer={adam,lion}"}, "momentum depends on optimizer=sgd"},
               {{"optimizer={b,c,d,e,f,g,h,i,j,k,l,m,n,o}=b", "momentum=0..1=0"}, "more than 16"}};
    (void)state;
    tune_space_t from = parse(before, COUNT(before)), to;
    for (size_t i = 0; i < COUNT(bad); i++) {
        err_t err;
        size_t count = bad[i].texts[1] ? 2 : 1;
        if (tune_space_merge(&from, bad[i].texts, count, &to, &err) != ERR_USAGE)
            fail_msg("%s is taken", bad[i].texts[0]);
        if (!strstr(err.message, bad[i].message) || !err.remedy[0])
            fail_msg("%s: %s; %s", bad[i].texts[0], err.message, err.remedy);
        assert_int_equal(tune_space_merge(&from, bad[i].texts, count, &to, NULL), ERR_USAGE);
    }
    tune_space_t less = parse(before, 2);
    err_t err;
    assert_int_equal(tune_space_follow(&from, &less, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "optimizer is gone"));
}

static void places_are_true_near_and_finite_far(void **state) {
    (void)state;
    static const char *const texts[] = {"a=log:1e-3..1e-1", "b=0..2", "c=int:1..4"};
    tune_space_t space = parse(texts, COUNT(texts));
    const tune_parameter_t *a = &space.parameters[0], *b = &space.parameters[1];
    for (double unit = 0; unit <= 1; unit += 0.125) {
        double value = tune_parameter_decode(a, unit);
        assert_true(tune_parameter_place(a, value) == tune_parameter_encode(a, value));
    }
    assert_true(fabs(tune_parameter_place(a, 1) - 1.5) < 1e-12);
    assert_true(fabs(tune_parameter_place(a, 1e-5) + 1) < 1e-12);
    assert_true(fabs(tune_parameter_place(b, -3) + 1.5) < 1e-12);
    assert_true(fabs(tune_parameter_place(&space.parameters[2], 9) - 8.5 / 4) < 1e-12);
    double last = 0;
    for (double value = 2; value < 1e300; value *= 1.5) { // no two ever at one place
        double place = tune_parameter_place(b, value);
        assert_true(value > 1e11 || place > last);
        assert_true(isfinite(place) && place < 500);
        last = place;
    }
    assert_true(fabs(tune_parameter_place(b, 34) - 17) < 1e-12);
    assert_true(isfinite(tune_parameter_place(a, 0)) && tune_parameter_place(a, 0) < -16);
    assert_true(tune_parameter_place(a, -5) == tune_parameter_place(a, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(definitions_are_replaced_by_name),
        cmocka_unit_test(points_keep_their_values),
        cmocka_unit_test(what_begins_to_apply_has_its_default),
        cmocka_unit_test(what_cannot_be_carried_over_is_refused),
        cmocka_unit_test(places_are_true_near_and_finite_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
