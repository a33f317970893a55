// Is a space's text read as it was meant and written so that it is read again, is every
// contradiction refused by name and with a remedy, and do points of different looks but one meaning
// have one form?
#include "space/space.h"

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

static tune_space_t parse(const char *const *texts, size_t count) {
    tune_space_t space;
    err_t err;
    if (tune_space_parse(texts, count, &space, &err) != ERR_OK)
        fail_msg("%s", err.message);
    return space;
}

static char *print(const tune_space_t *space, int i) {
    buf_t out;
    buf_init(&out, 65536);
    tune_space_print(space, i, &out);
    return buf_take(&out);
}

// ---- text ----

static void there_and_back(void **state) {
    (void)state;
    static const char *const texts[] = {"lr=log:1e-05..0.01",
                                        "dropout=0..0.5=0.2",
                                        "momentum=0.5..0.99 if optimizer=sgd|lion",
                                        "batch=int:8..64",
                                        "filters=logint:16..256=32",
                                        "optimizer={sgd,adam,lion}=adam",
                                        "epochs=12",
                                        "third=0.3333333333333333..1",
                                        "shift=-5..-1.5=-2",
                                        "nesterov={no,yes} if optimizer=sgd"};
    tune_space_t space = parse(texts, COUNT(texts));
    for (size_t i = 0; i < COUNT(texts); i++) {
        char *text = print(&space, (int)i);
        assert_string_equal(text, texts[i]);
        free(text);
    }
    const tune_parameter_t *momentum = &space.parameters[2];
    assert_true(momentum->conditional);
    assert_int_equal(momentum->parent, 5);
    assert_int_equal(momentum->parent_choices, 5);
    assert_int_equal(space.parameters[6].type, TUNE_CONSTANT);
    assert_true(space.parameters[1].fallback == 0.2);
    assert_true(space.parameters[7].lo == 0.3333333333333333);
}

static void blanks_and_short_numbers(void **state) {
    (void)state;
    static const char *const texts[] = {" lr = log: 1e-5 .. 1e-2 = .001 ", "a = { x , y } = y",
                                        "b=0...5"};
    tune_space_t space = parse(texts, COUNT(texts));
    assert_string_equal(space.parameters[0].name, "lr");
    assert_true(space.parameters[0].fallback == 0.001);
    assert_true(space.parameters[1].fallback == 1);
    assert_true(space.parameters[2].hi == 0.5);
}

typedef struct {
    const char *texts[3];
    const char *message, *remedy;
} refused_t;

static void contradictions_are_refused(void **state) {
    (void)state;
    static const refused_t refused[] = {
        {{"lr=1..0"}, "parameter lr: the range 1..0 is empty", "0..1"},
        {{"lr=1..1"}, "parameter lr: its range has one value only", "lr=1"},
        {{"lr=log:0..1"}, "parameter lr: a log scale has no place for 0", "above zero"},
        {{"lr=log:-1..1"}, "no place for -1", "above zero"},
        {{"n=logint:0..8"}, "no place for 0", "above zero"},
        {{"n=int:1..2.5"}, "parameter n: not a range of whole numbers", "whole ends"},
        {{"n=int:1..1e12"}, "parameter n: not a range of whole numbers", "at most"},
        {{"lr=nan..1"}, "\"nan..1\" is not a range of two finite numbers", "lr=0..1"},
        {{"lr=0..inf"}, "\"0..inf\" is not", "lr=0..1"},
        {{"lr=0..1e999"}, "\"0..1e999\" is not", "lr=0..1"},
        {{"lr=0x1..2"}, "is not a range", "lr=0..1"},
        {{"lr=0.."}, "is not a range", "lr=0..1"},
        {{"lr=.."}, "is not a range", "lr=0..1"},
        {{"lr=log:5"}, "is not a range", "lr=0..1"},
        {{"lr="}, "\"\" is not a range or a number", "lr=0..1"},
        {{"lr"}, "\"lr\" does not say what to tune", "lr=log:"},
        {{"=0..1"}, "does not say what to tune", "lr=log:"},
        {{"1a=0..1"}, "parameter 1 has no proper name", "letter"},
        {{"lr=0..1", "lr=0..2"}, "parameter lr is there twice", "leave one"},
        {{"a={x}"}, "parameter a: 1 choices", "a={a,b}"},
        {{"a={}"}, "\"\" is not a word", "{a,b}"},
        {{"a={x,,y}"}, "\"\" is not a word", "{a,b}"},
        {{"a={x,x}"}, "parameter a: x is there twice", "once"},
        {{"a={x,y"}, "is not a list that ends in }", "{a,b}"},
        {{"a={x,y}z"}, "\"z\" is not a default", "=default"},
        {{"a={x,y}=z"}, "\"z\" is not one of its choices", "=default"},
        {{"a={x,y}="}, "\"\" is not one of its choices", "=default"},
        {{"a={x y,z}"}, "choice 1 is not a word", "letters"},
        {{"lr=0..1=2"}, "parameter lr: its default is not one of its values", "from the range"},
        {{"n=int:0..5=1.5"}, "its default is not one of its values", "from the range"},
        {{"lr=0..1=x"}, "\"x\" is not a default", "=default"},
        {{"m=0..1 if opt=sgd"}, "parameter m depends on \"opt\", which is no parameter", "opt"},
        {{"m=0..1 if opt"}, "parameter m depends on \"opt\", which is no parameter", "opt"},
        {{"opt={a,b}", "m=0..1 if opt=c"}, "depends on opt=c, which is not to choose", "of opt"},
        {{"k=0..1", "m=0..1 if k=1"}, "depends on k=1, which is not to choose", "of k"},
        {{"p={a,b} if q=x", "q={x,y} if p=a"}, "parameter p depends on itself", "\"if\""},
        {{"p={a,b} if p=a"}, "parameter p depends on itself", "\"if\""},
        {{"epochs=12"}, "no parameter can vary", "range"},
    };
    for (size_t i = 0; i < COUNT(refused); i++) {
        tune_space_t space;
        err_t err;
        size_t count = 0;
        while (count < 3 && refused[i].texts[count])
            count++;
        if (tune_space_parse(refused[i].texts, count, &space, &err) != ERR_USAGE)
            fail_msg("%s: not refused", refused[i].texts[0]);
        if (!strstr(err.message, refused[i].message) || !strstr(err.remedy, refused[i].remedy))
            fail_msg("%s: %s; %s", refused[i].texts[0], err.message, err.remedy);
    }
    assert_int_equal(tune_space_parse(NULL, 0, &(tune_space_t){0}, NULL), ERR_USAGE);
}

static void too_many_are_refused(void **state) {
    (void)state;
    char names[TUNE_PARAMETERS_MAX + 1][24], choices[256] = "a={";
    const char *texts[TUNE_PARAMETERS_MAX + 1], *one = choices;
    tune_space_t space;
    err_t err;
    for (int i = 0; i <= TUNE_PARAMETERS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "p%d=0..1", i);
        texts[i] = names[i];
    }
    assert_int_equal(tune_space_parse(texts, TUNE_PARAMETERS_MAX, &space, &err), ERR_OK);
    assert_int_equal(tune_space_parse(texts, TUNE_PARAMETERS_MAX + 1, &space, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "33 parameters"));
    for (int i = 0; i <= TUNE_CHOICES_MAX; i++)
        snprintf(choices + strlen(choices), sizeof choices - strlen(choices), "%sc%d", i ? "," : "",
                 i);
    strcat(choices, "}");
    assert_int_equal(tune_space_parse(&one, 1, &space, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "more than 16 choices"));
}

static void made_otherwise_is_checked_too(void **state) {
    (void)state;
    err_t err;
    tune_space_t space = {.count = 1, .parameters[0] = {.name = "x", .lo = NAN, .hi = 1}};
    assert_int_equal(tune_space_check(&space, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "not a finite number"));
    space.parameters[0].lo = -INFINITY;
    assert_int_equal(tune_space_check(&space, &err), ERR_USAGE);
    space.parameters[0].lo = -1.7e308;
    space.parameters[0].hi = 1.7e308;
    assert_int_equal(tune_space_check(&space, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "too wide"));
    space.parameters[0] =
        (tune_parameter_t){.name = "x", .hi = 1, .conditional = true, .parent = 7};
    assert_int_equal(tune_space_check(&space, &err), ERR_USAGE);
    space.count = TUNE_PARAMETERS_MAX + 1;
    assert_int_equal(tune_space_check(&space, &err), ERR_USAGE);
}

// ---- points ----

static const char *const nested[] = {
    "opt={sgd,adam}",  "nesterov={no,yes} if opt=sgd", "momentum=0.5..0.9 if nesterov=yes",
    "batch=int:8..11", "lr=log:1e-4..1=0.01",          "epochs=3"};

static void what_does_not_apply_rests(void **state) {
    (void)state;
    tune_space_t space = parse(nested, COUNT(nested));
    double point[] = {1, 1, 0.8, 9.6, 0.1, 99};
    assert_false(tune_space_active(&space, point, 1));
    assert_false(tune_space_active(&space, point, 2)); // its parent does not apply
    tune_space_canonical(&space, point);
    const double wanted[] = {1, tune_parameter_decode(&space.parameters[1], 0.5), 0.7, 10, 0.1, 3};
    assert_memory_equal(point, wanted, sizeof wanted);
    double applies[] = {0, 1, 0.8, 9, 0.1, 3}, same[6];
    memcpy(same, applies, sizeof same);
    tune_space_canonical(&space, applies);
    assert_memory_equal(applies, same, sizeof same);
    assert_true(tune_space_active(&space, applies, 2));
    double outside[] = {-0.2, 0, 0.7, 900, 0, 3};
    tune_space_canonical(&space, outside);
    assert_false(signbit(outside[0]));
    assert_true(outside[3] == 11 && outside[4] == 1e-4);
    tune_space_defaults(&space, point);
    assert_true(point[4] == 0.01 && point[5] == 3);
}

static void points_outside_are_told(void **state) {
    (void)state;
    tune_space_t space = parse(nested, COUNT(nested));
    const double good[] = {1, 0, 77, 9, 0.1, 3}; // momentum does not apply: 77 does no harm
    assert_int_equal(tune_space_contains(&space, good, NULL), ERR_OK);
    const double bad[][6] = {{2, 0, 0.7, 9, 0.1, 3},   {0.5, 0, 0.7, 9, 0.1, 3},
                             {0, 1, 77, 9, 0.1, 3},    {1, 0, NAN, 9, 0.1, 3},
                             {1, 0, 0.7, 8.5, 0.1, 3}, {1, 0, 0.7, 9, 2, 3},
                             {1, 0, 0.7, 9, 0.1, 4},   {1, 0, 0.7, 9, INFINITY, 3}};
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(tune_space_contains(&space, bad[i], NULL), ERR_INVALID);
}

static uint64_t size_of(const char *const *texts, size_t count) {
    tune_space_t space = parse(texts, count);
    return tune_space_size(&space);
}

static void sizes(void **state) {
    (void)state;
    assert_true(size_of(nested, COUNT(nested)) == TUNE_POINTS_ENDLESS);
    static const char *const finite[] = {"a={x,y,z}", "b=int:1..4 if a=x|y", "c={p,q} if a=y",
                                         "d=logint:1..10", "e=5"};
    assert_true(size_of(finite, COUNT(finite)) == (4 + 4 * 2 + 1) * 10);
    static const char *const huge[] = {"a=int:0..999999999", "b=int:0..999999999",
                                       "c=int:0..999999999"};
    assert_true(size_of(huge, 3) == TUNE_POINTS_ENDLESS);
    assert_true(size_of(huge, 2) == 1000000000000000000u);
}

// Each hangs on all words of the one before: every parameter is counted once, or this never ends.
static void sizes_of_deep_spaces(void **state) {
    (void)state;
    char texts[TUNE_PARAMETERS_MAX][96];
    const char *list[TUNE_PARAMETERS_MAX];
    for (int i = 0; i < TUNE_PARAMETERS_MAX; i++) {
        int size = snprintf(texts[i], sizeof texts[i], "p%d={a,b}", i);
        if (i > 0)
            snprintf(texts[i] + size, sizeof texts[i] - (size_t)size, " if p%d=a|b", i - 1);
        list[i] = texts[i];
    }
    assert_true(size_of(list, TUNE_PARAMETERS_MAX) == 1ull << TUNE_PARAMETERS_MAX);
    for (int i = 0; i < TUNE_PARAMETERS_MAX; i++) {
        const char *words = "a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p";
        int size = snprintf(texts[i], sizeof texts[i], "p%d={a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p}", i);
        if (i > 0)
            snprintf(texts[i] + size, sizeof texts[i] - (size_t)size, " if p%d=%s", i - 1, words);
    }
    assert_true(size_of(list, 9) == 1ull << 36);
    assert_true(size_of(list, TUNE_PARAMETERS_MAX) == TUNE_POINTS_ENDLESS);
}

static void the_cube_and_back(void **state) {
    (void)state;
    static const char *const texts[] = {"a=-5..10", "b=log:1e-5..1e-2", "c=int:8..11",
                                        "d=logint:1..100", "e={x,y,z}"};
    tune_space_t space = parse(texts, COUNT(texts));
    for (int i = 0; i < space.count; i++) {
        const tune_parameter_t *p = &space.parameters[i];
        double before = -INFINITY;
        for (int k = 0; k <= 1000; k++) {
            double value = tune_parameter_decode(p, k / 1000.0);
            double again = tune_parameter_decode(p, tune_parameter_encode(p, value));
            assert_true(value >= before && fabs(again - value) <= 1e-14 * fabs(value));
            before = value;
        }
        assert_true(tune_parameter_decode(p, 0) == (p->type == TUNE_CATEGORY ? 0 : p->lo));
        assert_true(tune_parameter_decode(p, 1) == (p->type == TUNE_CATEGORY ? 2 : p->hi));
    }
    int counts[4] = {0}; // equal shares
    for (int k = 0; k < 4000; k++)
        counts[(int)tune_parameter_decode(&space.parameters[2], (k + 0.5) / 4000) - 8]++;
    for (int k = 0; k < 4; k++)
        assert_int_equal(counts[k], 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(blanks_and_short_numbers),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(too_many_are_refused),
        cmocka_unit_test(made_otherwise_is_checked_too),
        cmocka_unit_test(what_does_not_apply_rests),
        cmocka_unit_test(points_outside_are_told),
        cmocka_unit_test(sizes),
        cmocka_unit_test(sizes_of_deep_spaces),
        cmocka_unit_test(the_cube_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
