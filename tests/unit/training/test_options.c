// Is what a train job asks for understood, and what cannot be meant refused by name?
#include "training/options.h"

#include "proto/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static proto_train_t body(void) {
    proto_train_t train;
    proto_defaults(PROTO_train, &train);
    train.dataset = "toy";
    return train;
}

static void test_defaults(void **state) {
    (void)state;
    proto_train_t train = body();
    options_t options;
    assert_int_equal(options_read(&train, &options, NULL), ERR_OK);
    assert_true(options.epochs == 12 && options.batch == 32 && options.lr == 1e-3);
    assert_true(options.estimate_bn && !options.weigh_classes && options.augment == 0);
    assert_true(options.patience == 0 && options.schedule == SCHEDULE_CONSTANT);
    assert_true(options.checkpoint_ms == 30000 && options.seed == 0);
}

static void test_words(void **state) {
    (void)state;
    proto_train_t train = body();
    options_t options;
    train.schedule = "cosine";
    train.augment = "shift,flip";
    train.class_weights = "auto";
    train.bn_stats = "moving";
    train.precision = "bf16";
    train.backend = "ref";
    train.patience = 3;
    train.seed = 1ull << 52;
    assert_int_equal(options_read(&train, &options, NULL), ERR_OK);
    assert_true(!options.estimate_bn && options.weigh_classes && options.patience == 3);
    assert_true(options.augment == (AUGMENT_FLIP | AUGMENT_SHIFT));
    assert_true(options.schedule == SCHEDULE_COSINE && options.seed == 1ull << 52);
}

static void expect_refusal(const proto_train_t *train, const char *field, const char *known) {
    options_t options;
    err_t err;
    assert_int_equal(options_read(train, &options, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, field));
    assert_non_null(strstr(err.remedy, known));
    assert_false(err_retryable(err.code));
}

static void test_refusals(void **state) {
    (void)state;
    static const double rates[] = {0, -1e-3, NAN, INFINITY};
    static const char *const augments[] = {"", "flip,", ",flip", "Flip", "flip shift", "none,flip"};
    proto_train_t train;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        train = body();
        train.lr = rates[i];
        expect_refusal(&train, "lr", "");
    }
    for (size_t i = 0; i < sizeof augments / sizeof *augments; i++) {
        train = body();
        train.augment = augments[i];
        expect_refusal(&train, "augment", "flip,shift");
    }
    train = body();
    train.schedule = "linear";
    expect_refusal(&train, "schedule", "cosine");
    train = body();
    train.class_weights = "";
    expect_refusal(&train, "class_weights", "auto");
    train = body();
    train.bn_stats = "estimated";
    expect_refusal(&train, "bn_stats", "estimate");
    train = body();
    train.precision = "fp64";
    expect_refusal(&train, "precision", "bf16");
    train = body();
    train.backend = "cuda";
    expect_refusal(&train, "backend", "auto, cpu or ref");
}

// The ranges of the declaration hold here as well: a job may come from anybody.
static void test_ranges(void **state) {
    (void)state;
    static const char *const bad[] = {
        "{\"dataset\": \"a\", \"lr\": 0}",        "{\"dataset\": \"a\", \"lr\": -1}",
        "{\"dataset\": \"a\", \"dropout\": 1}",   "{\"dataset\": \"a\", \"dropout\": -0.1}",
        "{\"dataset\": \"a\", \"batch\": 0}",     "{\"dataset\": \"a\", \"epochs\": 0}",
        "{\"dataset\": \"a\", \"width\": 0}",     "{\"dataset\": \"a\", \"depth\": 9}",
        "{\"dataset\": \"a\", \"lr\": \"fast\"}", "{\"epochs\": 3}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *json = json_loads(bad[i], 0, NULL);
        proto_arena_t *arena = proto_arena_new();
        proto_bytes_t packed;
        proto_train_t train;
        err_t err;
        assert_int_equal(proto_map_from_json(json, arena, &packed, NULL), ERR_OK);
        err_code_t code = proto_decode(PROTO_train, packed.data, packed.size, arena, &train, &err);
        assert_int_not_equal(code, ERR_OK);
        assert_false(err_retryable(code));
        proto_arena_destroy(&arena);
        json_decref(json);
    }
    // msgpack can say what JSON cannot: NaN for the rates
    static const char nan_lr[] = "\x82\xa7"
                                 "dataset"
                                 "\xa1"
                                 "a"
                                 "\xa2"
                                 "lr"
                                 "\xcb\x7f\xf8\0\0\0\0\0\0";
    proto_arena_t *arena = proto_arena_new();
    proto_train_t train;
    assert_int_not_equal(proto_decode(PROTO_train, nan_lr, sizeof nan_lr - 1, arena, &train, NULL),
                         ERR_OK);
    proto_arena_destroy(&arena);
}

static void test_reference(void **state) {
    (void)state;
    static const char *const bad[] = {"",    "@",    "@3",    "a@",   "a@0",
                                      "a@x", "a@-1", "a@1.5", "a@03", "a@12345678901234567890",
                                      "a@b@"};
    char name[PROTO_NAME_MAX + 1], longest[PROTO_NAME_MAX + 4];
    uint64_t version;
    err_t err;
    assert_int_equal(options_reference("faces", name, &version, NULL), ERR_OK);
    assert_string_equal(name, "faces");
    assert_int_equal(version, 0);
    assert_int_equal(options_reference("faces@12", name, &version, NULL), ERR_OK);
    assert_string_equal(name, "faces");
    assert_int_equal(version, 12);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(options_reference(bad[i], name, &version, &err), ERR_INVALID);
    memset(longest, 'n', sizeof longest);
    strcpy(longest + PROTO_NAME_MAX, "@1");
    assert_int_equal(options_reference(longest, name, &version, NULL), ERR_OK);
    strcpy(longest + PROTO_NAME_MAX, "n");
    assert_int_equal(options_reference(longest, name, &version, &err), ERR_INVALID);
}

static void test_class_weights(void **state) {
    (void)state;
    static const int64_t images[] = {10, 30, 0, 60};
    float weights[4];
    double sum = 0;
    options_class_weights(images, 4, weights);
    for (int i = 0; i < 4; i++)
        sum += (double)weights[i] * (double)images[i];
    assert_true(fabs(sum - 75) < 1e-4); // three classes of four have the same say of 25 each
    assert_true(fabs((double)weights[0] - 2.5) < 1e-6 && weights[2] == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),  cmocka_unit_test(test_words),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_reference), cmocka_unit_test(test_class_weights),
    };
    return cmocka_run_group_tests_name("trainer options", tests, NULL, NULL);
}
