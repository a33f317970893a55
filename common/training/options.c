#include "training/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const schedule_words[SCHEDULE_COUNT] = {
#define X(schedule, word) word,
    OPTIONS_SCHEDULES(X)
#undef X
};

static err_code_t unknown(const char *field, const char *value, const char *known, err_t *err) {
    err_set(err, ERR_INVALID, "%s is '%.64s'", field, value);
    return err_remedy(err, "use %s", known);
}

static err_code_t read_schedule(const char *word, schedule_t *schedule, err_t *err) {
    for (int i = 0; i < SCHEDULE_COUNT; i++)
        if (strcmp(word, schedule_words[i]) == 0) {
            *schedule = (schedule_t)i;
            return ERR_OK;
        }
    return unknown("schedule", word, "constant, cosine or step", err);
}

// The engine reads these words itself, and a build may lack a backend: here they are only looked
// at.
static err_code_t check_word(const char *field, const char *value, const char *const *words,
                             const char *known, err_t *err) {
    for (; *words; words++)
        if (strcmp(value, *words) == 0)
            return ERR_OK;
    return unknown(field, value, known, err);
}

static err_code_t check_engine(const proto_train_t *body, err_t *err) {
    static const char *const precisions[] = {"auto", "fp32", "bf16", NULL};
    static const char *const backends[] = {"auto", "cpu", "ref", NULL};
    err_code_t code =
        check_word("precision", body->precision, precisions, "auto, fp32 or bf16", err);
    return code ? code : check_word("backend", body->backend, backends, "auto, cpu or ref", err);
}

// One of two words.
static err_code_t read_choice(const char *field, const char *value, const char *no, const char *yes,
                              bool *chosen, err_t *err) {
    char known[64];
    *chosen = strcmp(value, yes) == 0;
    if (*chosen || strcmp(value, no) == 0)
        return ERR_OK;
    snprintf(known, sizeof known, "%s or %s", no, yes);
    return unknown(field, value, known, err);
}

err_code_t options_augment(const char *text, unsigned *augment, err_t *err) {
    static const struct {
        const char *word;
        unsigned bit;
    } words[] = {{"flip", AUGMENT_FLIP}, {"shift", AUGMENT_SHIFT}};
    *augment = 0;
    if (strcmp(text, "none") == 0)
        return ERR_OK;
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        unsigned bit = 0;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (strlen(words[i].word) == length && strncmp(at, words[i].word, length) == 0)
                bit = words[i].bit;
        if (!bit)
            return unknown("augment", text, "none, flip, shift or flip,shift", err);
        *augment |= bit;
        at += length;
        if (!*at)
            return ERR_OK;
    }
}

err_code_t options_reference(const char *text, char *name, uint64_t *version, err_t *err) {
    const char *at = strrchr(text, '@');
    size_t length = at ? (size_t)(at - text) : strlen(text);
    char *end = NULL;
    *version = 0;
    if (at && at[1] >= '1' && at[1] <= '9' && strlen(at + 1) <= 15)
        *version = strtoull(at + 1, &end, 10);
    if (length < 1 || length > PROTO_NAME_MAX || (at && (!end || *end))) {
        err_set(err, ERR_INVALID, "'%.96s' names no model", text);
        return err_remedy(err, "write NAME or NAME@VERSION, for instance faces@3");
    }
    memcpy(name, text, length);
    name[length] = 0;
    return ERR_OK;
}

void options_class_weights(const int64_t *class_images, int classes, float *weights) {
    int64_t all = 0;
    for (int i = 0; i < classes; i++)
        all += class_images[i];
    for (int i = 0; i < classes; i++)
        weights[i] = class_images[i] > 0
                         ? (float)((double)all / ((double)classes * (double)class_images[i]))
                         : 1.0f;
}

err_code_t options_read(const proto_train_t *body, options_t *options, err_t *err) {
    *options = (options_t){.epochs = (int)body->epochs,
                           .batch = (int)body->batch,
                           .patience = (int)body->patience,
                           .lr = body->lr,
                           .seed = body->seed,
                           .checkpoint_ms = (int64_t)body->checkpoint_s * 1000};
    err_code_t code = isfinite(body->lr) && body->lr > 0
                          ? ERR_OK
                          : err_set(err, ERR_INVALID, "lr is %g, not above 0", body->lr);
    if (code == ERR_OK)
        code = read_schedule(body->schedule, &options->schedule, err);
    if (code == ERR_OK)
        code = options_augment(body->augment, &options->augment, err);
    if (code == ERR_OK)
        code = read_choice("class_weights", body->class_weights, "none", "auto",
                           &options->weigh_classes, err);
    if (code == ERR_OK)
        code = read_choice("bn_stats", body->bn_stats, "moving", "estimate", &options->estimate_bn,
                           err);
    if (code == ERR_OK)
        code = check_engine(body, err);
    return code;
}
