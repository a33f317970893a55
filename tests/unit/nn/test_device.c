// Does `auto` mean the device that nn_device was told, and is a device that is not there refused?
#include "support.h"

#include <stdlib.h>
#include <string.h>

#define VISIBLE "CUDA_VISIBLE_DEVICES"

static void words_that_are_none(void **state) {
    (void)state;
    static const char *const words[] = {
        "", "gpu", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:12345", "cuda:1 ", "cudas"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        err_t err = {0};
        assert_int_equal(nn_device(words[i], &err), ERR_USAGE);
        assert_non_null(strstr(err.message, words[i]));
        assert_non_null(strstr(err.remedy, "cuda:N"));
    }
}

static nn_t *make_auto(err_t *err) {
    nn_spec_t spec = support_spec("input 2x2x1 classes 2\nflatten\ndense 1 bias\nsigmoid\n");
    nn_options_t options = support_options("auto", "auto", 1);
    options.choices = "backend=cuda"; // does not go before what is forced
    nn_t *nn = NULL;
    (void)nn_new(&spec, &options, &nn, err);
    return nn;
}

static void cpu_is_no_gpu(void **state) {
    (void)state;
    err_t err = {0};
    assert_int_equal(nn_device("cpu", &err), ERR_OK);
    nn_t *nn = make_auto(&err);
    assert_non_null(nn);
    assert_null(strstr(nn_choices(nn), "backend=cuda"));
    nn_destroy(&nn);
    assert_int_equal(nn_device("auto", &err), ERR_OK);
}

// The library counts within what the process may see.
static void index_within_what_is_visible(void **state) {
    (void)state;
    err_t err = {0};
    setenv(VISIBLE, "4,GPU-a7,6", 1);
    assert_int_equal(nn_device("cuda:3", &err), ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "4,GPU-a7,6"));
    assert_string_equal(getenv(VISIBLE), "4,GPU-a7,6");
    (void)nn_device("cuda:1", &err); // there may be no such device
    assert_string_equal(getenv(VISIBLE), "GPU-a7");
    setenv(VISIBLE, "", 1); // none at all
    assert_int_equal(nn_device("cuda:0", &err), ERR_UNSUPPORTED);
    unsetenv(VISIBLE);
    (void)nn_device("cuda:5", &err);
    assert_string_equal(getenv(VISIBLE), "5");
}

// What was forced and is not there is no reason to take something else.
static void gpu_or_nothing(void **state) {
    (void)state;
    err_t err = {0};
    setenv(VISIBLE, "", 1); // so that there is none, here and elsewhere
    err_code_t code = nn_device("cuda", &err);
    if (!code) {
        print_message("SKIP: CUDA was asked before: it has its devices\n");
        return;
    }
    assert_int_equal(code, ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "device cuda"));
    err = (err_t){0};
    nn_t *nn = make_auto(&err);
    assert_null(nn);
    assert_int_equal(err.code, ERR_UNSUPPORTED);
    assert_true(err.remedy[0]);
    assert_int_equal(nn_device("auto", &err), ERR_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_that_are_none),
        cmocka_unit_test(gpu_or_nothing),
        cmocka_unit_test(cpu_is_no_gpu),
        cmocka_unit_test(index_within_what_is_visible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
