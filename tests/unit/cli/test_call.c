// What do command lines mean, and which are refused with what advice?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/call_impl.h"
#include "proto/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 24

// Splits at single blanks; the words live until the next call.
static err_code_t parse(const char *line, call_t *call, err_t *err) {
    static char text[1024];
    static char *argv[WORDS_MAX + 1];
    int argc = 0;
    snprintf(text, sizeof text, "%s", line);
    char *rest = text, *word;
    while ((word = strsep(&rest, " ")) != NULL && argc < WORDS_MAX)
        argv[argc++] = word;
    argv[argc] = NULL;
    return call_parse(argc, argv, call, err);
}

static void expect_refused(const char *line, const char *message, const char *remedy) {
    call_t call;
    err_t err = {0};
    if (parse(line, &call, &err) != ERR_USAGE)
        fail_msg("'%s' is taken", line);
    if (!strstr(err.message, message) || !strstr(err.remedy, remedy))
        fail_msg("'%s': %s / %s", line, err.message, err.remedy);
    call_release(&call);
}

static void values_become_the_message(void **state) {
    (void)state;
    call_t call;
    err_t err;
    assert_int_equal(parse("inkling train faces --lr 1e-4 --dropout=0.1 --epochs 3 --seed "
                           "9007199254740992 --augment flip,shift --detach",
                           &call, &err),
                     ERR_OK);
    assert_string_equal(call.verb->words, "train");
    assert_int_equal(call.count, 1);
    assert_string_equal(call.arguments[0], "faces");
    assert_true(call_flag(&call, "detach"));
    json_object_set_new(call.message, "dataset", json_string("faces"));
    proto_arena_t *arena = proto_arena_new();
    proto_train_t train;
    assert_int_equal(proto_from_json(PROTO_train, call.message, arena, &train, &err), ERR_OK);
    assert_true(train.lr == 1e-4);
    assert_true(train.dropout == 0.1);
    assert_int_equal(train.epochs, 3);
    assert_int_equal(train.batch, 32); // not given
    assert_true(train.seed == 9007199254740992);
    assert_string_equal(train.augment, "flip,shift");
    proto_arena_destroy(&arena);
    call_release(&call);
}

static void flags_can_be_denied_and_lists_added_to(void **state) {
    (void)state;
    call_t call;
    err_t err;
    assert_int_equal(parse("inkling ingest d --name n --color --strict=false --no-rehash "
                           "--classes a,b --classes c",
                           &call, &err),
                     ERR_OK);
    assert_true(json_is_true(json_object_get(call.message, "color")));
    assert_true(json_is_false(json_object_get(call.message, "strict")));
    assert_true(json_is_false(json_object_get(call.message, "rehash")));
    const json_t *classes = json_object_get(call.message, "classes");
    assert_int_equal(json_array_size(classes), 3);
    assert_string_equal(json_string_value(json_array_get(classes, 2)), "c");
    call_release(&call);
}

static void general_options_may_stand_anywhere(void **state) {
    (void)state;
    static const char *const lines[] = {
        "inkling --home /h --json job show 7", "inkling job --home=/h show --json 7",
        "inkling job show 7 --json --home /h", "inkling job show --json --home /h -- 7"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        call_t call;
        err_t err;
        if (parse(lines[i], &call, &err) != ERR_OK)
            fail_msg("'%s': %s", lines[i], err.message);
        assert_string_equal(call.verb->words, "job show");
        assert_int_equal(call.count, 1);
        assert_string_equal(call.arguments[0], "7");
        assert_string_equal(call.settings[0], "--home=/h");
        assert_null(call.settings[1]);
        call_release(&call);
    }
}

static void behind_two_dashes_all_are_arguments(void **state) {
    (void)state;
    call_t call;
    err_t err;
    assert_int_equal(parse("inkling classify --model m -- --json -x", &call, &err), ERR_OK);
    assert_int_equal(call.count, 2);
    assert_string_equal(call.arguments[0], "--json");
    assert_string_equal(call.arguments[1], "-x");
    call_release(&call);
}

static void without_a_command_it_helps(void **state) {
    (void)state;
    static const char *const lines[] = {"inkling", "inkling --help", "inkling -h",
                                        "inkling --json"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        call_t call;
        err_t err;
        assert_int_equal(parse(lines[i], &call, &err), ERR_OK);
        assert_string_equal(call.verb->words, "help");
        call_release(&call);
    }
}

static void a_group_alone_is_explained(void **state) {
    (void)state;
    static const char *const lines[] = {"inkling job", "inkling job --help", "inkling --json job",
                                        "inkling dataset -h", "inkling --home /h model"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        call_t call;
        err_t err;
        if (parse(lines[i], &call, &err) != ERR_OK)
            fail_msg("'%s': %s", lines[i], err.message);
        assert_string_equal(call.verb->words, "help");
        assert_int_equal(call.count, 1);
        call_release(&call);
    }
}

static void the_version_may_be_asked_for_as_an_option(void **state) {
    (void)state;
    static const char *const lines[] = {"inkling --version", "inkling --json --version",
                                        "inkling version", "inkling version --version"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        call_t call;
        err_t err;
        if (parse(lines[i], &call, &err) != ERR_OK)
            fail_msg("'%s': %s", lines[i], err.message);
        assert_string_equal(call.verb->words, "version");
        call_release(&call);
    }
    expect_refused("inkling jobs --version", "no option --version", "help jobs");
}

static void numbers_out_of_range_are_refused(void **state) {
    (void)state;
    expect_refused("inkling train d --lr 0", "option --lr: 0 is out of range", "1e-12 to 10");
    expect_refused("inkling train d --lr -1e-3", "out of range", "--lr takes");
    expect_refused("inkling train d --lr nan", "out of range", "--lr takes");
    expect_refused("inkling train d --lr=inf", "out of range", "--lr takes");
    expect_refused("inkling train d --lr 1e-3x", "'1e-3x' is no number", "--lr takes");
    expect_refused("inkling train d --lr=", "'' is no number", "--lr takes");
    expect_refused("inkling train d --dropout 1", "--dropout: 1 is out of range", "0 to 0.99");
    expect_refused("inkling train d --dropout -0.1", "out of range", "0 to 0.99");
    expect_refused("inkling train d --batch 0", "--batch: 0 is out of range", "1 to 4096");
    expect_refused("inkling train d --epochs 0", "--epochs: 0 is out of range", "1 to 100000");
    expect_refused("inkling train d --epochs -1", "out of range", "1 to 100000");
    expect_refused("inkling train d --epochs 1.5", "'1.5' is no whole number", "1 to 100000");
    expect_refused("inkling train d --seed 99999999999999999999", "out of range",
                   "0 to 9007199254740992");
    expect_refused("inkling train d --seed 9007199254740993", "out of range", "--seed takes");
    expect_refused("inkling ingest d --name n --size 7", "out of range", "8 to 1024");
    expect_refused("inkling demo-data d --count 1", "out of range", "2 to 1000000");
}

static void words_and_flags_are_checked(void **state) {
    (void)state;
    expect_refused("inkling ingest d --name n --fit squeeze", "'squeeze' is none of its words",
                   "stretch crop pad");
    expect_refused("inkling train d --precision fp16", "none of its words", "auto fp32 bf16");
    expect_refused("inkling jobs --state done", "none of its words", "queued running");
    expect_refused("inkling export m --format csv", "'csv' is none of its words", "one of: onnx");
    expect_refused("inkling study export s --format onnx", "none of its words", "one of: csv json");
    expect_refused("inkling ingest d --name n --color=maybe", "neither true nor false",
                   "--color=false");
    expect_refused("inkling ingest d --name \xff", "no UTF-8", "another name");
}

static void what_is_missing_or_too_much_is_named(void **state) {
    (void)state;
    expect_refused("inkling train", "needs DATASET", "usage: inkling train DATASET[@V]");
    expect_refused("inkling train a b", "one argument too many: 'b'", "usage:");
    expect_refused("inkling ingest d", "needs the option --name", "name of the data set");
    expect_refused("inkling predict d", "needs the option --model", "MODEL@VERSION");
    expect_refused("inkling train d --lr", "its value is missing", "learning rate");
    expect_refused("inkling job show", "needs ID", "usage:");
}

static void slips_are_guessed(void **state) {
    (void)state;
    expect_refused("inkling trian d", "no command 'trian'", "`inkling train`");
    expect_refused("inkling frobnicate", "no command 'frobnicate'", "`inkling help`");
    expect_refused("inkling job sohw 1", "no command 'job sohw'", "`inkling job show`");
    expect_refused("inkling train d --epoch 3", "no option --epoch", "--epochs");
    expect_refused("inkling train d -e", "no option -e", "help train");
    expect_refused("inkling status --lease-ms 3", "no option --lease-ms", "help status");
}

// The most and least that each option says it takes is taken; one more or less is not.
static void option_edges(const verb_t *verb, const option_t *option) {
    const proto_field_t *field = option->field;
    bool whole = field->kind == PROTO_U64;
    const double edges[] = {field->min, field->max, field->min - 1,
                            whole ? field->max + 2 : field->max * 1.01};
    char name[64], line[256];
    call_option_name(field->name, name);
    for (int i = 0; i < 4; i++) {
        call_t call;
        err_t err = {0};
        snprintf(line, sizeof line, "inkling %s %s %.*f --help", verb->words, name, whole ? 0 : 14,
                 edges[i]);
        err_code_t code = parse(line, &call, &err);
        if (code != (i < 2 ? ERR_OK : ERR_USAGE))
            fail_msg("'%s': %s", line, code ? err.message : "taken");
        call_release(&call);
    }
}

static void every_option_keeps_its_range(void **state) {
    (void)state;
    size_t numbers = 0;
    for (size_t i = 0; i < verb_count; i++) {
        option_t option;
        for (size_t j = 0; verb_option(&verbs[i], j, &option); j++)
            if (option.field->kind == PROTO_U64 || option.field->kind == PROTO_F64) {
                option_edges(&verbs[i], &option);
                numbers++;
            }
    }
    assert_true(numbers > 30);
}

// No option stands twice, every word of a choice is taken, and every default is one of them.
static void options_are_of_one_piece(void **state) {
    (void)state;
    for (size_t i = 0; i < verb_count; i++) {
        option_t option, other;
        for (size_t j = 0; verb_option(&verbs[i], j, &option); j++) {
            for (size_t k = j + 1; verb_option(&verbs[i], k, &other); k++)
                if (strcmp(option.field->name, other.field->name) == 0)
                    fail_msg("%s has --%s twice", verbs[i].words, option.field->name);
            const char *choices = verb_choices(&verbs[i], &option);
            if (choices && option.field->text[0])
                assert_true(verb_in_list(choices, option.field->text));
            if (!option.field->doc[0])
                fail_msg("%s --%s is not explained", verbs[i].words, option.field->name);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_become_the_message),
        cmocka_unit_test(flags_can_be_denied_and_lists_added_to),
        cmocka_unit_test(general_options_may_stand_anywhere),
        cmocka_unit_test(behind_two_dashes_all_are_arguments),
        cmocka_unit_test(without_a_command_it_helps),
        cmocka_unit_test(a_group_alone_is_explained),
        cmocka_unit_test(the_version_may_be_asked_for_as_an_option),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(words_and_flags_are_checked),
        cmocka_unit_test(what_is_missing_or_too_much_is_named),
        cmocka_unit_test(slips_are_guessed),
        cmocka_unit_test(every_option_keeps_its_range),
        cmocka_unit_test(options_are_of_one_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
