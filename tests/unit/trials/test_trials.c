// Is what no training takes refused before a search begins, and is it what is at fault that is
// named?
#include "trials/trials.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define TEXTS_MAX 4

typedef struct {
    const char *train;
    const char *texts[TEXTS_MAX];
    const char *says; // NULL: nothing is wrong
} row_t;

static err_code_t check(const row_t *row, err_t *err) {
    tune_space_t space;
    size_t count = 0;
    while (count < TEXTS_MAX && row->texts[count])
        count++;
    assert_int_equal(tune_space_parse(row->texts, count, &space, err), ERR_OK);
    json_t *train = json_loads(row->train, 0, NULL);
    json_t *about = json_pack("{s:s, s:i, s:s, s:o}", "dataset", "toy", "dataset_version", 1,
                              "model", "toy", "train", train);
    err_code_t code = trials_check_space(about, &space, err);
    json_decref(about);
    return code;
}

static void look(const row_t *row) {
    err_t err = {.code = ERR_OK};
    err_code_t code = check(row, &err);
    if (!row->says) {
        if (code)
            fail_msg("%s: %s", row->texts[0], err.message);
        return;
    }
    assert_int_equal(code, ERR_INVALID);
    if (strncmp(err.message, row->says, strlen(row->says)) != 0 || !err.remedy[0])
        fail_msg("%s: %s; %s", row->texts[0], err.message, err.remedy);
}

static void the_culprit_is_named(void **state) {
    static const row_t rows[] = {
        {"{}", {"lr=log:1e-5..1e-2", "dropout=0..0.5"}, NULL},
        {"{\"epochs\":4}", {"augment={none,flip}", "batch=int:8..16 if augment=flip"}, NULL},
        {"{}",
         {"lr=log:1e-5..1e-2", "new=0..1=0.2"},
         "tune: parameter new: the kind train has no parameter 'new'"},
        {"{\"foo\":0.1}", {"lr=log:1e-5..1e-2"}, "tune: the kind train has no parameter 'foo'"},
        {"{\"epochs\":0}", {"lr=log:1e-5..1e-2"}, "tune: train: epochs is 0"},
        {"{}",
         {"lr=log:1e-5..1e-2", "dropout=0..2"},
         "tune: parameter dropout: train: dropout is 2"},
        {"{}",
         {"augment={none,flip}", "twist=0..1 if augment=flip"},
         "tune: parameter twist: the kind train has no parameter 'twist'"},
        {"{}",
         {"lr=1e-3..1e-2", "augment={none,banana}"},
         "tune: parameter augment: augment is 'banana'"},
        {"{}",
         {"lr=1e-3..1e-2", "schedule={cosine,linear}"},
         "tune: parameter schedule: schedule is 'linear'"},
        {"{}",
         {"lr=1e-3..1e-2", "precision={fp32,fp64}"},
         "tune: parameter precision: precision is 'fp64'"},
        {"{}",
         {"lr=1e-3..1e-2", "backend={auto,cuda}"},
         "tune: parameter backend: backend is 'cuda'"},
        {"{}",
         {"lr=1e-3..1e-2", "class_weights={auto,some}"},
         "tune: parameter class_weights: class_weights is 'some'"},
        {"{}",
         {"lr=1e-3..1e-2", "bn_stats={moving,still}"},
         "tune: parameter bn_stats: bn_stats is 'still'"},
        {"{\"augment\":\"flip,banana\"}", {"lr=1e-3..1e-2"}, "tune: augment is 'flip,banana'"},
        {"{\"augment\":\"flip,shift\"}",
         {"schedule={constant,cosine,step}", "precision={auto,fp32,bf16}",
          "class_weights={none,auto}", "bn_stats={estimate,moving}"},
         NULL},
        {"{}", {"lr=1e-3..1e-2", "model={a,b}"}, "tune: a training's model"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        look(&rows[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_culprit_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
