// Is a file of definitions read as --param would read them, goes --param before it, and do errors
// name the file and the line?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fs.h"
#include "cli/space_file_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static void write_file(const char *text, size_t size) {
    err_t err;
    if (fs_write(path, text, size, &err) != ERR_OK)
        fail_msg("%s", err.message);
}

static err_code_t read_call(int argc, char **argv, char **params, err_t *err) {
    cli_t cli = {.has_key = false};
    err_code_t code = call_parse(argc, argv, &cli.call, err);
    if (code == ERR_OK)
        code = space_file_body(&cli, cli.call.message, err);
    if (code == ERR_OK)
        *params = json_dumps(json_object_get(cli.call.message, "param"), 0);
    call_release(&cli.call);
    return code;
}

// A command line of `inkling tune demo --space FILE` and then these words, in twos.
static err_code_t read_space(const char *const *words, char **params, err_t *err) {
    char *argv[16] = {"inkling", "tune", "demo", "--space", path};
    int argc = 5;
    for (; words && *words; words++)
        argv[argc++] = (char *)(uintptr_t)*words;
    return read_call(argc, argv, params, err);
}

static void expect(const char *text, const char *const *words, const char *wanted) {
    err_t err;
    char *params = NULL;
    write_file(text, strlen(text));
    if (read_space(words, &params, &err) != ERR_OK)
        fail_msg("%s: %s", text, err.message);
    assert_string_equal(params, wanted);
    free(params);
}

static void lines_are_definitions(void **state) {
    (void)state;
    expect("# all\n\nlr=log:1e-5..1e-2   # a comment\n  \tkind = {a, b}\t\r\n\r\n#x=0..1\nm=0..1 "
           "if kind=b",
           NULL, "[\"lr=log:1e-5..1e-2\", \"kind = {a, b}\", \"m=0..1 if kind=b\"]");
}

static void options_go_before_lines(void **state) {
    (void)state;
    static const char *const words[] = {"--param", "lr =0..1", "--param", "more=int:1..3", NULL};
    expect("lr=log:1e-5..1e-2\ndropout=0..0.5\n", words,
           "[\"lr =0..1\", \"dropout=0..0.5\", \"more=int:1..3\"]");
}

static void expect_refused(const char *text, const char *const *words, const char *message) {
    err_t err;
    char *params = NULL, where[128];
    write_file(text, strlen(text));
    if (read_space(words, &params, &err) != ERR_USAGE)
        fail_msg("%s is taken", text);
    snprintf(where, sizeof where, message, path);
    if (strncmp(err.message, where, strlen(where)) != 0 || !err.remedy[0])
        fail_msg("%s: %s; %s", text, err.message, err.remedy);
}

static void errors_name_file_and_line(void **state) {
    static const char *const bad_option[] = {"--param", "lr=2..1", NULL},
                             *const twice[] = {"--param", "x=0..1", "--param", "x=0..2", NULL},
                             *const orphan[] = {"--param", "kind={c,d}", NULL};
    (void)state;
    expect_refused("lr=0..1\n# no\nlr", NULL, "%s, line 3: parameter lr is in line 1, too");
    expect_refused("\nnothing\n", NULL, "%s, line 2: \"nothing\" does not say what to tune");
    expect_refused("a=0..1\nlr=log:0..1\n", NULL, "%s, line 2: parameter lr: a log scale");
    expect_refused("a=0..1\n\n\na =0..2", NULL, "%s, line 4: parameter a is in line 1, too");
    expect_refused("m=0..1 if kind=z\nkind={a,b}", NULL, "%s, line 1: parameter m depends on");
    expect_refused("kind={a,b}\nm=0..1 if kind=a", orphan, "%s, line 2: parameter m depends on");
    expect_refused("# nothing\n", NULL, "%s has no definition");
    expect_refused("a=1\nb=2", NULL, "%s: no parameter can vary");
    expect_refused("lr=0..1", bad_option, "option --param: parameter lr: the range 2..1 is empty");
    expect_refused("lr=0..1", twice, "option --param: parameter x is there twice");
    char many[1024] = "";
    for (int i = 0; i < 33; i++)
        snprintf(many + strlen(many), 24, "p%d=0..1\n", i);
    expect_refused(many, NULL, "%s: more than the 32 parameters");
}

static void options_alone_are_a_space(void **state) {
    (void)state;
    static const struct {
        const char *words[5], *message;
    } refused[] = {
        {{"--param", "lr=2..1"}, "option --param: parameter lr: the range 2..1 is empty"},
        {{"--param", "m=0..1 if kind=a"}, "option --param: parameter m depends on"},
        {{"--param", "x=0..1", "--param", "x=0..2"}, "option --param: parameter x is there twice"},
        {{"--param", "a=1"}, "option --param: no parameter can vary"},
        {{"--param", ""}, "option --param: its value is empty"},
        {{"--param", "x=0..1", "--param", ","}, "option --param: its value is empty"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char *argv[16] = {"inkling", "tune", "demo"}, *params = NULL;
        int argc = 3;
        err_t err;
        for (; refused[i].words[argc - 3]; argc++)
            argv[argc] = (char *)(uintptr_t)refused[i].words[argc - 3];
        assert_int_equal(read_call(argc, argv, &params, &err), ERR_USAGE);
        if (strncmp(err.message, refused[i].message, strlen(refused[i].message)) != 0 ||
            !err.remedy[0])
            fail_msg("%s; %s", err.message, err.remedy);
    }
}

static void what_is_no_text_is_refused(void **state) {
    (void)state;
    err_t err;
    char *params;
    write_file("lr=0..1\0x=0..1", 14);
    assert_int_equal(read_space(NULL, &params, &err), ERR_USAGE);
    write_file("lr=0..1\xff", 8);
    assert_int_equal(read_space(NULL, &params, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "is no text"));
    unlink(path);
    assert_int_equal(read_space(NULL, &params, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, path));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_definitions),      cmocka_unit_test(options_go_before_lines),
        cmocka_unit_test(errors_name_file_and_line),  cmocka_unit_test(options_alone_are_a_space),
        cmocka_unit_test(what_is_no_text_is_refused),
    };
    snprintf(path, sizeof path, "/tmp/inkling-space-%d", (int)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
