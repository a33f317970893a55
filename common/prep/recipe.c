#include "prep/prep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fit_names[PREP_FIT_COUNT] = {
#define X(kind, word) word,
    PREP_FITS(X)
#undef X
};

const char *prep_fit_name(prep_fit_t fit) {
    ERR_ASSERT((unsigned)fit < PREP_FIT_COUNT);
    return fit_names[fit];
}

err_code_t prep_fit_parse(const char *word, prep_fit_t *fit, err_t *err) {
    for (int i = 0; i < PREP_FIT_COUNT; i++)
        if (strcmp(word, fit_names[i]) == 0) {
            *fit = (prep_fit_t)i;
            return ERR_OK;
        }
    err_set(err, ERR_INVALID, "fit is '%.32s'", word);
    return err_remedy(err, "use stretch, crop or pad");
}

err_code_t prep_recipe_check(const prep_recipe_t *recipe, err_t *err) {
    if (recipe->size < PREP_SIZE_MIN || recipe->size > PREP_SIZE_MAX) {
        err_set(err, ERR_INVALID, "image size is %d", recipe->size);
        return err_remedy(err, "use %d to %d", PREP_SIZE_MIN, PREP_SIZE_MAX);
    }
    if (recipe->channels != 1 && recipe->channels != 3) {
        err_set(err, ERR_INVALID, "image channels are %d", recipe->channels);
        return err_remedy(err, "use 1 (gray) or 3 (color)");
    }
    if ((unsigned)recipe->fit >= PREP_FIT_COUNT)
        return err_set(err, ERR_INVALID, "fit has the unknown number %d", (int)recipe->fit);
    for (int c = 0; c < 4; c++) {
        float mean = recipe->mean[c];
        bool used = recipe->mean_subtract && c < recipe->channels;
        if (!(mean >= 0 && mean <= 255) || (!used && mean != 0))
            return err_set(err, ERR_INVALID, "mean of channel %d is %g", c, (double)mean);
    }
    return ERR_OK;
}

void prep_recipe_write(const prep_recipe_t *recipe, char text[PREP_RECIPE_TEXT_MAX]) {
    int at =
        snprintf(text, PREP_RECIPE_TEXT_MAX, "prep %d\nsize %d\nchannels %d\nfit %s\nmean",
                 PREP_RECIPE_VERSION, recipe->size, recipe->channels, prep_fit_name(recipe->fit));
    for (int c = 0; recipe->mean_subtract && c < recipe->channels; c++)
        at += snprintf(text + at, PREP_RECIPE_TEXT_MAX - (size_t)at, " %.9g",
                       (double)recipe->mean[c]);
    snprintf(text + at, PREP_RECIPE_TEXT_MAX - (size_t)at,
             recipe->mean_subtract ? "\n" : " none\n");
}

// " 127.5 127.5 127.5" or " none"; whether it is canonical is checked by writing it again.
static bool parse_mean(const char *text, prep_recipe_t *recipe) {
    if (strcmp(text, " none\n") == 0)
        return true;
    recipe->mean_subtract = true;
    for (int c = 0; c < recipe->channels; c++) {
        char *end;
        recipe->mean[c] = strtof(text, &end);
        if (end == text)
            return false;
        text = end;
    }
    return true;
}

static bool parse_fields(const char *text, prep_recipe_t *recipe) {
    char fit[16];
    int version, mean_at = -1;
    if (sscanf(text, "prep %d size %d channels %d fit %15s mean%n", &version, &recipe->size,
               &recipe->channels, fit, &mean_at) != 4 ||
        mean_at < 0)
        return false;
    if (prep_fit_parse(fit, &recipe->fit, NULL) || (recipe->channels != 1 && recipe->channels != 3))
        return false;
    return parse_mean(text + mean_at, recipe);
}

err_code_t prep_recipe_parse(const char *text, prep_recipe_t *out, err_t *err) {
    prep_recipe_t recipe = {0};
    char again[PREP_RECIPE_TEXT_MAX];
    int version;
    if (strnlen(text, PREP_RECIPE_TEXT_MAX) == PREP_RECIPE_TEXT_MAX ||
        sscanf(text, "prep %d", &version) != 1)
        return err_set(err, ERR_CORRUPT, "this is no preprocessing recipe: '%.40s'", text);
    if (version > PREP_RECIPE_VERSION) {
        err_set(err, ERR_UNSUPPORTED,
                "the preprocessing recipe has version %d; this Inkling knows up to %d", version,
                PREP_RECIPE_VERSION);
        return err_remedy(err, "use an Inkling at least as new as the one that wrote it");
    }
    if (!parse_fields(text, &recipe))
        return err_set(err, ERR_CORRUPT, "damaged preprocessing recipe: '%.80s'", text);
    err_code_t code = prep_recipe_check(&recipe, err);
    if (code)
        return code;
    prep_recipe_write(&recipe, again);
    if (strcmp(again, text) != 0)
        return err_set(err, ERR_CORRUPT, "damaged preprocessing recipe: '%.80s'", text);
    *out = recipe;
    return ERR_OK;
}

void prep_recipe_hash(const prep_recipe_t *recipe, char hex[DIGEST_HEX_SIZE]) {
    char text[PREP_RECIPE_TEXT_MAX];
    prep_recipe_write(recipe, text);
    digest_bytes(text, strlen(text), hex);
}

bool prep_recipe_same_pixels(const prep_recipe_t *a, const prep_recipe_t *b) {
    return a->size == b->size && a->channels == b->channels && a->fit == b->fit;
}

size_t prep_recipe_bytes(const prep_recipe_t *recipe) {
    return (size_t)recipe->size * (size_t)recipe->size * (size_t)recipe->channels;
}
