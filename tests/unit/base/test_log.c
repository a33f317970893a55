// Do log lines keep level, form and escapes, also beside <syslog.h>, which CZMQ's header brings?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <syslog.h> // after log.h, as in common/bus: LOG_DEBUG and LOG_INFO are its own from here on
#include <unistd.h>

// What the calls wrote on stderr since capture_begin().
typedef struct {
    int saved;
    FILE *file;
    char text[4096];
} capture_t;

static void capture_begin(capture_t *capture) {
    capture->file = tmpfile();
    assert_non_null(capture->file);
    capture->saved = dup(STDERR_FILENO);
    dup2(fileno(capture->file), STDERR_FILENO);
}

static const char *capture_end(capture_t *capture) {
    dup2(capture->saved, STDERR_FILENO);
    close(capture->saved);
    rewind(capture->file);
    size_t size = fread(capture->text, 1, sizeof capture->text - 1, capture->file);
    capture->text[size] = 0;
    fclose(capture->file);
    return capture->text;
}

static void set(const char *lowest, bool json) {
    log_level_t level;
    assert_true(log_level_parse(lowest, &level));
    log_setup("test", level, json);
}

static void write_one_of_each(void) {
    log_debug("a %d", 1);
    log_info("b");
    log_warn("c");
    log_error("d");
}

static void levels_are_kept_beside_syslog(void **state) {
    (void)state;
    static const char *const lowest[] = {"debug", "info", "warn", "error"};
    static const char *const lines[] = {" debug test: a 1\n", " info  test: b\n",
                                        " warn  test: c\n", " error test: d\n"};
    for (size_t level = 0; level < 4; level++) {
        capture_t capture;
        set(lowest[level], false);
        capture_begin(&capture);
        write_one_of_each();
        const char *text = capture_end(&capture);
        for (size_t i = 0; i < 4; i++)
            assert_true((strstr(text, lines[i]) != NULL) == (i >= level));
    }
}

static void a_line_stays_one_line(void **state) {
    (void)state;
    capture_t capture;
    set("info", false);
    capture_begin(&capture);
    log_write((log_level_t)1, (const char *[]){"job", "1\n2", "none", NULL, NULL}, "x\ny");
    const char *text = capture_end(&capture);
    assert_non_null(strstr(text, " info  test: x\\x0ay  job=1\\x0a2  none=\n"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void json_lines_are_objects(void **state) {
    (void)state;
    capture_t capture;
    set("info", true);
    capture_begin(&capture);
    log_write((log_level_t)3, (const char *[]){"job", "7", NULL}, "a \"b\"");
    const char *text = capture_end(&capture);
    assert_true(strncmp(text, "{\"time\":\"", 9) == 0);
    assert_non_null(strstr(text, "\"level\":\"error\",\"service\":\"test\",\"message\":\"a "
                                 "\\\"b\\\"\",\"job\":\"7\"}\n"));
}

static void unknown_levels_are_refused(void **state) {
    (void)state;
    log_level_t level;
    assert_false(log_level_parse("loud", &level));
    assert_false(log_level_parse("", &level));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_kept_beside_syslog), cmocka_unit_test(a_line_stays_one_line),
        cmocka_unit_test(json_lines_are_objects), cmocka_unit_test(unknown_levels_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
