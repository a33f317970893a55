// Does the engine's front refuse every wrong argument by its name, start weights as nn.h says, and
// honour stored choices?
#include "support.h"

#include "nn/backend_impl.h"
#include "nn/cores_impl.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT                                                                                       \
    "input 4x4x2 classes 3\nconv 4 kernel 3\nbatch-norm momentum 0.9 epsilon 0.001\nrelu\n"        \
    "flatten\ndense 3 bias\nsoftmax\n"

static void assert_says(err_code_t expected, err_code_t code, const err_t *error,
                        const char *culprit) {
    if (code != expected || !strstr(error->message, culprit)) {
        print_error("%s \"%s\", not %s about %s\n", err_name(code), error->message,
                    err_name(expected), culprit);
        fail();
    }
}

#define REFUSED(call, culprit)                                                                     \
    do {                                                                                           \
        err_t err = {0};                                                                           \
        err_code_t code = (call);                                                                  \
        assert_says(ERR_INVALID, code, &err, culprit);                                             \
    } while (0)

static nn_t *make(int max_batch, bool training) {
    nn_spec_t spec = support_spec(TEXT);
    nn_options_t options = support_options("ref", "fp32", max_batch);
    options.training = training;
    return support_new(&spec, &options);
}

static void refuse_options(nn_options_t options, err_code_t expected, const char *culprit) {
    nn_spec_t spec = support_spec(TEXT);
    nn_t *nn = NULL;
    err_t error = {0};
    err_code_t code = nn_new(&spec, &options, &nn, &error);
    assert_null(nn);
    assert_says(expected, code, &error, culprit);
    assert_true(nn_memory_estimate(&spec, &options) == 0);
}

static void wrong_options(void **state) {
    (void)state;
    const nn_options_t good = support_options("ref", "fp32", 4);
    nn_options_t options = good;
    options.max_batch = 0;
    refuse_options(options, ERR_INVALID, "max_batch is 0");
    options.max_batch = NN_BATCH_MAX + 1;
    refuse_options(options, ERR_INVALID, "max_batch is 4097");
    options = good;
    options.threads = -1;
    refuse_options(options, ERR_INVALID, "threads is -1");
    options = good;
    options.precision = "fp64";
    refuse_options(options, ERR_INVALID, "precision is \"fp64\"");
    options.precision = NULL;
    refuse_options(options, ERR_INVALID, "precision");
    options.precision = "bf16";
    refuse_options(options, ERR_UNSUPPORTED, "bf16");
    options = good;
    options.backend = "abacus";
    refuse_options(options, ERR_UNSUPPORTED, "\"abacus\"");
    options.backend = NULL;
    refuse_options(options, ERR_UNSUPPORTED, "backend");
    options = good;
    options.mean[3] = INFINITY;
    refuse_options(options, ERR_INVALID, "mean[3]");
    options = good;
    char *choices = mem_zero(1, NN_CHOICES_SIZE + 1);
    memset(choices, 'x', NN_CHOICES_SIZE);
    options.choices = choices;
    refuse_options(options, ERR_INVALID, "choices");
    free(choices);
    nn_spec_t spec = support_spec(TEXT);
    spec.layers[0].kernel = 2;
    nn_t *nn = NULL;
    REFUSED(nn_new(&spec, &good, &nn, &err), "layer 0 (conv)");
    spec.layers[0].kind = (nn_kind_t)99;
    REFUSED(nn_new(&spec, &good, &nn, &err), "layer 0: unknown kind 99");
}

static void wrong_state(void **state) {
    (void)state;
    nn_t *nn = make(2, true);
    float data[256] = {0};
    REFUSED(nn_get(nn, NN_PARAM, -1, data, &err), "index is -1");
    REFUSED(nn_get(nn, NN_PARAM, nn_tensor_count(nn), data, &err), "index is 7");
    REFUSED(nn_get(nn, NN_PARAM, 0, NULL, &err), "data");
    REFUSED(nn_get(nn, (nn_part_t)9, 0, data, &err), "part is 9");
    REFUSED(nn_get(nn, NN_ADAM_M, 3, data, &err), "1.running_mean");
    REFUSED(nn_get(nn, NN_ESTIMATE, 1, data, &err), "1.weight");
    REFUSED(nn_get(nn, NN_ESTIMATE, 3, data, &err), "nn_bn_estimate");
    REFUSED(nn_set(nn, NN_GRADIENT, 0, data, &err), "gradient is read only");
    REFUSED(nn_set(nn, NN_ESTIMATE, 3, data, &err), "estimate is read only");
    data[2] = NAN;
    REFUSED(nn_set(nn, NN_PARAM, 0, data, &err), "0.weight (parameter): element 2");
    data[2] = -1;
    OK(nn_set(nn, NN_PARAM, 0, data, &err));
    REFUSED(nn_set(nn, NN_ADAM_V, 0, data, &err), "0.weight (second moment): element 2");
    REFUSED(nn_set(nn, NN_PARAM, 4, data, &err), "1.running_var (parameter): element 2");
    nn_destroy(&nn);
    nn = make(2, false);
    REFUSED(nn_get(nn, NN_ADAM_V, 0, data, &err), "not made for training");
    REFUSED(nn_get(nn, NN_GRADIENT, 0, data, &err), "not made for training");
    nn_destroy(&nn);
    nn_destroy(&nn); // of NULL
}

static void wrong_steps(void **state) {
    (void)state;
    nn_t *nn = make(2, true);
    OK(nn_init(nn, 1, &err));
    uint8_t pixels[64] = {0};
    int32_t labels[2] = {0, 2};
    float weights[2] = {1, 1};
    nn_result_t result;
    const nn_batch_t good = {pixels, labels, weights, 2, 3, 5};
    nn_batch_t batch = good;
#define STEP(batch, adam) nn_step(nn, (batch), 0, (adam), NULL, &result, &err)
    OK(STEP(&good, &support_adam));
    REFUSED(STEP(NULL, &support_adam), "batch");
    batch.pixels = NULL;
    REFUSED(STEP(&batch, &support_adam), "batch.pixels");
    batch = good;
    batch.labels = NULL;
    REFUSED(STEP(&batch, &support_adam), "batch.labels");
    batch = good;
    batch.count = 3;
    REFUSED(STEP(&batch, &support_adam), "count is 3");
    batch.count = 0;
    REFUSED(STEP(&batch, &support_adam), "count is 0");
    batch = good;
    batch.batch_total = 4;
    REFUSED(STEP(&batch, &support_adam), "batch_total 4");
    batch.position = UINT32_MAX;
    REFUSED(STEP(&batch, &support_adam), "position 4294967295");
    labels[1] = 3;
    REFUSED(STEP(&good, &support_adam), "labels[1] is 3");
    labels[1] = -1;
    REFUSED(STEP(&good, &support_adam), "labels[1] is -1");
    labels[1] = 1;
    weights[0] = -1;
    REFUSED(STEP(&good, &support_adam), "weights[0]");
    weights[0] = NAN;
    REFUSED(STEP(&good, &support_adam), "weights[0]");
    weights[0] = 1;
    REFUSED(STEP(&good, NULL), "adam");
    nn_adam_t adam = support_adam;
    adam.lr = -1;
    REFUSED(STEP(&good, &adam), "lr is -1");
    adam.lr = NAN;
    REFUSED(STEP(&good, &adam), "lr is nan");
    adam = support_adam;
    adam.beta1 = 1;
    REFUSED(STEP(&good, &adam), "beta1 1");
    adam = support_adam;
    adam.epsilon = 0;
    REFUSED(STEP(&good, &adam), "epsilon is 0");
    REFUSED(nn_step(nn, &good, 0, &support_adam, NULL, NULL, &err), "result");
    const nn_replicas_t wrong[] = {{.rank = 2, .world = 2}, {.rank = 0, .world = 0}, {.world = 2}};
    REFUSED(nn_step(nn, &good, 0, &support_adam, &wrong[0], &result, &err), "rank 2 of 2");
    REFUSED(nn_step(nn, &good, 0, &support_adam, &wrong[1], &result, &err), "rank 0 of 0");
    REFUSED(nn_step(nn, &good, 0, &support_adam, &wrong[2], &result, &err), "replicas.sums");
    REFUSED(nn_bn_estimate(nn, pixels, 1, &wrong[0], &err), "rank 2 of 2");
    const nn_replicas_t one = {.world = 1}; // is none: it must have samples, and needs no callbacks
    nn_batch_t empty = good;
    empty.count = 0;
    REFUSED(nn_step(nn, &empty, 0, &support_adam, &one, &result, &err), "count is 0");
    OK(nn_step(nn, &good, 0, &support_adam, &one, &result, &err));
    nn_destroy(&nn);
    nn = make(2, false);
    REFUSED(STEP(&good, &support_adam), "not made for training");
    nn_destroy(&nn);
}

static void wrong_evaluation(void **state) {
    (void)state;
    nn_t *nn = make(2, true);
    uint8_t pixels[64] = {0};
    float probabilities[6];
    REFUSED(nn_bn_estimate(nn, NULL, 2, NULL, &err), "pixels");
    REFUSED(nn_bn_estimate(nn, pixels, 0, NULL, &err), "count is 0");
    REFUSED(nn_predict(nn, NULL, 2, probabilities, &err), "pixels");
    REFUSED(nn_predict(nn, pixels, 2, NULL, &err), "probabilities");
    REFUSED(nn_predict(nn, pixels, 3, probabilities, &err), "count is 3");
    nn_destroy(&nn);
    nn = make(2, false);
    REFUSED(nn_bn_estimate(nn, pixels, 2, NULL, &err), "not made for training");
    nn_destroy(&nn);
}

// Weights so large that float ends: an error, not NaN as a result.
static void overflow_is_an_error(void **state) {
    (void)state;
    nn_t *nn = make(1, true);
    OK(nn_init(nn, 1, &err));
    for (int t = 0; t < nn_tensor_count(nn); t++) {
        const nn_tensor_t *tensor = &nn_tensors(nn)[t];
        float data[256];
        for (int i = 0; i < 256; i++) {
            data[i] = 3e38f;
        }
        if (tensor->role == NN_WEIGHT) {
            assert_true(tensor->count <= 256);
            OK(nn_set(nn, NN_PARAM, t, data, &err));
        }
    }
    uint8_t pixels[32];
    memset(pixels, 200, sizeof pixels);
    float probabilities[3];
    REFUSED(nn_predict(nn, pixels, 1, probabilities, &err), "overflow");
    const int32_t label = 0;
    nn_result_t result = {0};
    REFUSED(nn_step(nn, &(nn_batch_t){pixels, &label, NULL, 1, 0, 1}, 17, &support_adam, NULL,
                    &result, &err),
            "the loss of step 17");
    assert_false(isfinite(result.loss));
    nn_destroy(&nn);
}

// Computed by an independent implementation of Philox and of the formula in nn.h.
static void initial_weights(void **state) {
    (void)state;
    static const struct {
        int tensor;
        const char *name;
        int64_t element;
        float value;
    } golden[] = {
        {0, "0.weight", 0, -0x1.624268p-9f},        {0, "0.weight", 3, 0x1.7d6420p-5f},
        {0, "0.weight", 575, 0x1.d0324ep-5f},       {5, "3.weight", 0, -0x1.235f04p-4f},
        {5, "3.weight", 7, -0x1.a7de74p-7f},        {5, "3.weight", 36863, -0x1.1a5582p-4f},
        {40, "33.weight", 0, -0x1.e90aacp-8f},      {40, "33.weight", 18431, 0x1.a9d3f6p-8f},
        {40, "33.weight", 4718591, 0x1.56de90p-9f},
    };
    nn_spec_t spec;
    OK(nn_spec_vgg(&(nn_vgg_t){96, 96, 1, 2, 64, 4, 256, 0.2f}, &spec, &err));
    nn_options_t options = support_options("ref", "fp32", 1);
    options.training = false;
    nn_t *nn = support_new(&spec, &options);
    OK(nn_init(nn, 0xdeadbeefcafe, &err));
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        assert_string_equal(nn_tensors(nn)[golden[i].tensor].name, golden[i].name);
        float *data = support_get(nn, NN_PARAM, golden[i].tensor);
        assert_true(data[golden[i].element] == golden[i].value);
        free(data);
    }
    static const float others[] = {
        [NN_BIAS] = 0, [NN_GAMMA] = 1, [NN_BETA] = 0, [NN_MEAN] = 0, [NN_VARIANCE] = 1};
    for (int t = 0; t < nn_tensor_count(nn); t++) {
        const nn_tensor_t *tensor = &nn_tensors(nn)[t];
        float *data = support_get(nn, NN_PARAM, t);
        double limit = sqrt(6.0 / (tensor->fan_in + tensor->fan_out)), sum = 0;
        for (int64_t i = 0; i < tensor->count; i++) {
            assert_true(tensor->role == NN_WEIGHT ? fabs((double)data[i]) <= limit * (1 + 1e-6)
                                                  : data[i] == others[tensor->role]);
            sum += (double)data[i];
        }
        if (tensor->role == NN_WEIGHT) { // five deviations of the mean of a uniform number
            assert_true(fabs(sum) < 5 * limit * sqrt((double)tensor->count / 3));
        }
        free(data);
    }
    nn_destroy(&nn);
}

static void init_clears_moments(void **state) {
    (void)state;
    nn_t *nn = make(1, true), *fresh = make(1, true);
    const int32_t label = 1;
    uint8_t pixels[32] = {9, 1, 7};
    nn_result_t result;
    OK(nn_init(nn, 5, &err));
    OK(nn_step(nn, &(nn_batch_t){pixels, &label, NULL, 1, 0, 1}, 0, &support_adam, NULL, &result,
               &err));
    OK(nn_init(nn, 6, &err));
    OK(nn_init(fresh, 6, &err));
    int64_t count;
    float *one = support_state(nn, &count), *two = support_state(fresh, &count);
    assert_memory_equal(one, two, (size_t)count * sizeof *one);
    free(one);
    free(two);
    nn_destroy(&nn);
    nn_destroy(&fresh);
}

static void choices_are_kept(void **state) {
    (void)state;
    nn_spec_t spec = support_spec(TEXT);
    nn_options_t options = support_options("ref", "fp32", 40);
    nn_t *nn = support_new(&spec, &options);
    assert_string_equal(nn_choices(nn),
                        "backend=ref isa=generic precision=fp32 threads=1 chunk=32");
    assert_true(nn_exact(nn));
    nn_options_t again = support_options("auto", "auto", 40);
    again.choices = nn_choices(nn);
    nn_t *other = support_new(&spec, &again);
    assert_string_equal(nn_choices(other), nn_choices(nn));
    assert_true(nn_exact(other));
    nn_destroy(&other);
    again.max_batch = 8; // other chunks of an estimate
    other = support_new(&spec, &again);
    assert_false(nn_exact(other));
    nn_destroy(&other);
    static const char *const others[] = {
        "",
        "nonsense",
        "backend=abacus isa=amx precision=bf16 threads=2 chunk=32",
        "backend=ref isa=generic precision=fp32 threads=-9999999999999999999 chunk=32",
        "backend=ref isa=generic precision=bf16 threads=1 chunk=32",
        "backend= isa= precision= threads= chunk=",
        "backend=ref backend=ref ===",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        again = options;
        again.choices = others[i];
        other = support_new(&spec, &again);
        assert_false(nn_exact(other));
        assert_string_equal(nn_choices(other), nn_choices(nn));
        nn_destroy(&other);
    }
    nn_destroy(&nn);
}

static void choices_are_parsed(void **state) {
    (void)state;
    char value[8] = "before";
    assert_false(nn_choice(NULL, "a", value, sizeof value));
    assert_false(nn_choice("", "a", value, sizeof value));
    assert_false(nn_choice("aa=1 ba=2", "a", value, sizeof value));
    assert_string_equal(value, "before");
    assert_true(nn_choice("aa=1 a=2 a=3", "a", value, sizeof value));
    assert_string_equal(value, "2");
    assert_true(nn_choice("b=1  a=1234567", "a", value, sizeof value));
    assert_string_equal(value, "1234567");
    assert_false(nn_choice("a=12345678", "a", value, sizeof value));
    assert_true(nn_choice("a=", "a", value, sizeof value));
    assert_string_equal(value, "");
}

static void host(void **state) {
    (void)state;
    nn_isa_t best, isa;
    unsetenv("INKLING_ISA");
    assert_true(nn_isa_parse(nn_isa(), &best));
    static const char *const words[] = {"generic", "avx2", "avx512", "amx"};
    for (int i = 0; i < 4; i++) {
        setenv("INKLING_ISA", words[i], 1);
        assert_true(nn_isa_parse(nn_isa(), &isa));
        assert_int_equal(isa, i < (int)best ? i : (int)best);
    }
    setenv("INKLING_ISA", "mmx", 1);
    refuse_options(support_options("ref", "fp32", 1), ERR_USAGE, "INKLING_ISA is \"mmx\"");
    unsetenv("INKLING_ISA");
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    int cores = cores_usable();
    assert_true(cores >= 1 && cores <= CPU_COUNT(&all));
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++) {
        if (CPU_ISSET(cpu, &all)) {
            CPU_SET(cpu, &one);
        }
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(cores_usable(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

static void backends(void **state) {
    (void)state;
    int count = 0;
    while (nn_backend_name(count)) {
        assert_string_equal(nn_backend_find(nn_backend_name(count))->name, nn_backend_name(count));
        count++;
    }
    assert_true(count >= 1);
    assert_string_equal(nn_backend_name(count - 1), "ref");
    assert_ptr_equal(nn_backend_find("auto"), nn_backend_find(nn_backend_name(0)));
    assert_null(nn_backend_find("abacus"));
    assert_null(nn_backend_name(-1));
}

// The linker puts these before the C library's (see CMakeLists.txt).
void *__real_calloc(size_t count, size_t size);
void *__real_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);

static int allocations_left = -1; // −1: no limit

static bool allocation_fails(void) {
    return allocations_left >= 0 && allocations_left-- == 0;
}

void *__wrap_calloc(size_t count, size_t size) {
    return allocation_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_malloc(size_t size) {
    return allocation_fails() ? NULL : __real_malloc(size);
}

// Each allocation of a handle's making fails in turn; what was half built goes (the leak checker
// of the sanitizer build looks).
static void memory_runs_out(void **state) {
    (void)state;
    nn_spec_t spec = support_spec(TEXT);
    nn_options_t options = support_options("ref", "fp32", 2);
    nn_t *nn = NULL;
    int failures = 0;
    for (bool made = false; !made; failures++) {
        err_t error = {0};
        allocations_left = failures;
        err_code_t code = nn_new(&spec, &options, &nn, &error);
        allocations_left = -1;
        made = !code;
        if (!made) {
            assert_says(ERR_NO_MEMORY, code, &error, "no memory for");
            assert_null(nn);
        }
        assert_true(failures < 100);
    }
    assert_true(failures > 10);
    allocations_left = 0;
    err_t error = {0};
    err_code_t code = nn_init(nn, 1, &error);
    allocations_left = -1;
    assert_says(ERR_NO_MEMORY, code, &error, "initial weights");
    nn_destroy(&nn);
}

// Every backend's estimate is within reason of what the paper's model needs.
static void memory_estimate(void **state) {
    (void)state;
    nn_spec_t spec;
    OK(nn_spec_vgg(&(nn_vgg_t){96, 96, 1, 2, 64, 4, 256, 0.2f}, &spec, &err));
    for (int i = 0; nn_backend_name(i); i++) {
        nn_options_t options = support_options(nn_backend_name(i), "auto", 32);
        uint64_t training = nn_memory_estimate(&spec, &options);
        options.training = false;
        options.max_batch = 1;
        uint64_t serving = nn_memory_estimate(&spec, &options);
        assert_true(training > 300ull << 20 && training < 4ull << 30);
        assert_true(serving > 10ull << 20 && serving < 300ull << 20);
    }
}

int main(void) {
    const struct CMUnitTest group[] = {
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(wrong_state),
        cmocka_unit_test(wrong_steps),
        cmocka_unit_test(wrong_evaluation),
        cmocka_unit_test(overflow_is_an_error),
        cmocka_unit_test(initial_weights),
        cmocka_unit_test(init_clears_moments),
        cmocka_unit_test(choices_are_kept),
        cmocka_unit_test(choices_are_parsed),
        cmocka_unit_test(host),
        cmocka_unit_test(backends),
        cmocka_unit_test(memory_estimate),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(group, NULL, NULL);
}
