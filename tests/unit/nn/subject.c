#include "subject.h"

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// fp32: rounding is 6e-8, direct convolutions and sums lose some 1e-6, Winograd F(4×4, 3×3) up to
// 1e-5: `smooth` 1e-4. A ReLU or pooling window whose inputs are equal within the rounding may go
// the other way and changes single elements altogether: `kinked` 1e-2 in a shallow net. Behind
// eight such layers with batch-norm between: `deep` 5e-2.
// bf16: 8 bits of mantissa, 4e-3 a rounding: `smooth` 3e-2, `kinked` 0.15; the deep net's
// gradients at the first layers keep little more than their direction: `deep` 0.7.
static const tolerance_t tolerances[] = {
    {"fp32", 1e-5, 1e-5, 1e-5, 1e-4, 1e-2, 5e-2},
    {"bf16", 3e-2, 2e-2, 1e-2, 3e-2, 0.15, 0.7},
};

// Precisions that a backend has not, here or at all, are refused by nn_new; only that is a reason
// to pass over one.
static bool has_precision(const char *backend, const char *precision) {
    nn_spec_t spec = support_spec("input 2x2x1 classes 2\nflatten\ndense 1 bias\nsigmoid\n");
    nn_options_t options = support_options(backend, precision, 1);
    nn_t *nn = NULL;
    err_t error = {0};
    err_code_t code = nn_new(&spec, &options, &nn, &error);
    if (code && code != ERR_UNSUPPORTED) {
        print_error("%s %s: %s\n", backend, precision, error.message);
        abort();
    }
    if (nn) {
        print_message("%s\n", nn_choices(nn));
    } else {
        print_message("backend=%s precision=%s: not here: %s\n", backend, precision, error.message);
    }
    nn_destroy(&nn);
    return !code;
}

static int run_on(const subject_test_t *tests, size_t test_count, const char *backend,
                  const tolerance_t *tolerance) {
    subject_t subject = {backend, tolerance};
    struct CMUnitTest *group = mem_zero(test_count, sizeof *group);
    size_t count = 0;
    for (size_t i = 0; i < test_count; i++) {
        if (!tests[i].compares || strcmp(backend, "ref") != 0) {
            group[count++] = (struct CMUnitTest){
                .name = tests[i].name, .test_func = tests[i].run, .initial_state = &subject};
        }
    }
    char name[64];
    snprintf(name, sizeof name, "%s %s", backend, tolerance->precision);
    int failed = count ? _cmocka_run_group_tests(name, group, count, NULL, NULL) : 0;
    free(group);
    return failed;
}

// The one backend to test, where a build is for one.
#ifndef NN_SUBJECT
#define NN_SUBJECT NULL
#endif

static bool is_subject(const char *backend) {
    const char *only = NN_SUBJECT;
    return !only || strcmp(only, backend) == 0;
}

int subject_run(const subject_test_t *tests, size_t count) {
    int failed = 0, tested = 0;
    for (int i = 0; nn_backend_name(i); i++) {
        if (!is_subject(nn_backend_name(i))) {
            continue;
        }
        tested++;
        for (size_t j = 0; j < sizeof tolerances / sizeof tolerances[0]; j++) {
            if (has_precision(nn_backend_name(i), tolerances[j].precision)) {
                failed += run_on(tests, count, nn_backend_name(i), &tolerances[j]);
            }
        }
    }
    if (!tested) {
        print_error("there is no backend to test\n");
    }
    return tested ? failed : 1;
}
