// Does the text form of a recipe bring back exactly the recipe, and nothing else?
#include "make.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void assert_round_trip(prep_recipe_t recipe) {
    char text[PREP_RECIPE_TEXT_MAX], again[PREP_RECIPE_TEXT_MAX];
    prep_recipe_t back;
    err_t err;
    prep_recipe_write(&recipe, text);
    if (prep_recipe_parse(text, &back, &err))
        fail_msg("%s: %s", text, err.message);
    prep_recipe_write(&back, again);
    assert_string_equal(text, again);
    assert_int_equal(back.size, recipe.size);
    assert_int_equal(back.channels, recipe.channels);
    assert_int_equal(back.fit, recipe.fit);
    assert_int_equal(back.mean_subtract, recipe.mean_subtract);
    assert_memory_equal(back.mean, recipe.mean, sizeof back.mean);
}

static void round_trips(void **state) {
    (void)state;
    assert_round_trip(PREP_RECIPE_DEFAULT);
    for (int fit = 0; fit < PREP_FIT_COUNT; fit++) {
        assert_round_trip((prep_recipe_t){.size = 32, .channels = 3, .fit = (prep_fit_t)fit});
        assert_round_trip((prep_recipe_t){.size = 8,
                                          .channels = 1,
                                          .fit = (prep_fit_t)fit,
                                          .mean_subtract = true,
                                          .mean = {127.1234567f}});
    }
    assert_round_trip((prep_recipe_t){
        .size = 1024, .channels = 3, .mean_subtract = true, .mean = {0.1f, 255, 1e-7f}});
}

static void text_is_fixed(void **state) {
    (void)state;
    char text[PREP_RECIPE_TEXT_MAX], hash[DIGEST_HEX_SIZE], other[DIGEST_HEX_SIZE];
    prep_recipe_t recipe = PREP_RECIPE_DEFAULT;
    prep_recipe_write(&recipe, text);
    assert_string_equal(text, "prep 1\nsize 96\nchannels 1\nfit stretch\nmean none\n");
    prep_recipe_hash(&recipe, hash);
    recipe.mean_subtract = true;
    recipe.mean[0] = 127.5f;
    prep_recipe_write(&recipe, text);
    assert_string_equal(text, "prep 1\nsize 96\nchannels 1\nfit stretch\nmean 127.5\n");
    prep_recipe_hash(&recipe, other);
    assert_string_not_equal(hash, other);
    assert_true(prep_recipe_same_pixels(&recipe, &PREP_RECIPE_DEFAULT));
}

static void damage_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        err_code_t code;
    } cases[] = {
        {"", ERR_CORRUPT},
        {"hello", ERR_CORRUPT},
        {"prep 2\nsize 96\nwhatever", ERR_UNSUPPORTED},
        {"prep 1\nsize 96\nchannels 1\nfit stretch\n", ERR_CORRUPT},
        {"prep 1\nsize 96\nchannels 1\nfit stretch\nmean none", ERR_CORRUPT},
        {"prep 1\nsize 96\nchannels 1\nfit stretch\nmean none\n\n", ERR_CORRUPT},
        {"prep 1\nsize  96\nchannels 1\nfit stretch\nmean none\n", ERR_CORRUPT},
        {"prep 1\nsize 7\nchannels 1\nfit stretch\nmean none\n", ERR_INVALID},
        {"prep 1\nsize 1025\nchannels 1\nfit stretch\nmean none\n", ERR_INVALID},
        {"prep 1\nsize 96\nchannels 2\nfit stretch\nmean none\n", ERR_CORRUPT},
        {"prep 1\nsize 96\nchannels 1\nfit squeeze\nmean none\n", ERR_CORRUPT},
        {"prep 1\nsize 96\nchannels 1\nfit stretch\nmean nan\n", ERR_INVALID},
        {"prep 1\nsize 96\nchannels 1\nfit stretch\nmean 256\n", ERR_INVALID},
        {"prep 1\nsize 96\nchannels 1\nfit stretch\nmean 1 2\n", ERR_CORRUPT},
        {"prep 1\nsize 96\nchannels 3\nfit stretch\nmean 1 2\n", ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        prep_recipe_t recipe;
        err_t err;
        if (prep_recipe_parse(cases[i].text, &recipe, &err) != cases[i].code)
            fail_msg("'%s' gave %s", cases[i].text, err_name(err.code));
    }
}

static void fits_have_names(void **state) {
    (void)state;
    prep_fit_t fit;
    err_t err;
    assert_int_equal(prep_fit_parse("pad", &fit, &err), ERR_OK);
    assert_int_equal(fit, PREP_PAD);
    assert_int_equal(prep_fit_parse("PAD", &fit, &err), ERR_INVALID);
    assert_non_null(strstr(err.remedy, "crop"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trips),
        cmocka_unit_test(text_is_fixed),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(fits_have_names),
    };
    return cmocka_run_group_tests_name("prep recipe", tests, NULL, NULL);
}
