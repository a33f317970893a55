// What does `inkling up` say when a service cannot start, and does it leave anything behind?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fs.h"
#include "run.h"
#include "support/proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const siblings[] = {
    "inkling-dispatcher", "inkling-blobs",          "inkling-studies",
    "inkling-tuner",      "inkling-gateway",        "inkling-ingest",
    "inkling-trainer",    "inkling-ingest-decoder", "inkling-trainer-engine"};

static char home[RUN_HOME_SIZE], bin[RUN_HOME_SIZE];

static void put_script(const char *name, const char *script) {
    char *path = fs_join(bin, name);
    unlink(path);
    assert_int_equal(fs_write(path, script, strlen(script), NULL), ERR_OK);
    assert_int_equal(chmod(path, 0755), 0);
    free(path);
}

// A folder with the build's programs, of which a test replaces some.
static int make_programs(void **state) {
    (void)state;
    char folder[PROC_HOME_SIZE];
    run_make_home(home);
    assert_int_equal(proc_make_home(folder, NULL), ERR_OK);
    snprintf(bin, sizeof bin, "%s", folder);
    for (size_t i = 0; i < sizeof siblings / sizeof *siblings; i++) {
        char *from = proc_program(siblings[i]), *to = fs_join(bin, siblings[i]);
        assert_int_equal(symlink(from, to), 0);
        free(from);
        free(to);
    }
    // A program looks for the others where its file really is: a copy.
    char *from = proc_program("inkling"), *to = fs_join(bin, "inkling");
    void *bytes;
    size_t size;
    assert_int_equal(fs_read(from, 1 << 28, &bytes, &size, NULL), ERR_OK);
    assert_int_equal(fs_write(to, bytes, size, NULL), ERR_OK);
    assert_int_equal(chmod(to, 0755), 0);
    free(bytes);
    free(from);
    free(to);
    run_use_programs(bin);
    return 0;
}

static int remove_programs(void **state) {
    (void)state;
    run_use_programs(NULL);
    run_end_homes();
    return fs_remove_all(bin, NULL) == ERR_OK ? 0 : -1;
}

static void expect_nothing_left(void) {
    const run_t *status = expect(4, home, "status", "--json");
    assert_true(json_is_null(run_at(status->json, "supervisor/pid")));
    assert_true(json_is_null(run_at(status->json, "redis/pid")));
    for (int i = 0; i < 7; i++) {
        char path[64];
        snprintf(path, sizeof path, "services/%d/pid", i);
        assert_true(json_is_null(run_at(status->json, path)));
    }
}

static void a_service_that_ends_at_once_is_shown_with_its_log(void **state) {
    (void)state;
    put_script("inkling-trainer", "#!/bin/sh\necho 'the moon is in the wrong house' >&2\nexit 1\n");
    const run_t *up = expect(4, home, "up", "--detach");
    assert_non_null(strstr(up->err, "trainer-0 does not become ready"));
    assert_non_null(strstr(up->err, "exit code 1"));
    assert_non_null(strstr(up->err, "the moon is in the wrong house"));
    expect_nothing_left();
    up = expect(4, home, "up", "--detach", "--json");
    assert_string_equal(run_text_at(up->json, "error/code"), "UNAVAILABLE");
    assert_non_null(strstr(run_text_at(up->json, "log"), "the moon is in the wrong house"));
    assert_non_null(strstr(run_text_at(up->json, "error/remedy"), "trainer-0.log"));
    up = expect(4, home, "up"); // in the foreground the same
    assert_non_null(strstr(up->err, "the moon is in the wrong house"));
    expect_nothing_left();
}

static void one_that_never_becomes_ready_is_not_waited_for_forever(void **state) {
    (void)state;
    put_script("inkling-gateway", "#!/bin/sh\necho 'thinking' >&2\nexec sleep 1000\n");
    const run_t *up = expect(4, home, "up", "--detach", "--wait-ms", "3000");
    assert_non_null(strstr(up->err, "gateway-0 does not become ready"));
    assert_non_null(strstr(up->err, "thinking"));
    expect_nothing_left();
}

static void a_program_that_is_not_there_is_named(void **state) {
    (void)state;
    char *path = fs_join(bin, "inkling-ingest");
    unlink(path);
    const run_t *up = expect(3, home, "up", "--detach", "--json");
    assert_string_equal(run_text_at(up->json, "error/code"), "NOT_FOUND");
    assert_non_null(strstr(run_text_at(up->json, "error/message"), path));
    expect_nothing_left();
    free(path);
}

static void wrong_settings_are_wrong_usage(void **state) {
    (void)state;
    const run_t *up = expect(2, home, "up", "--detach", "--lease-ms", "1", "--json");
    assert_non_null(strstr(run_text_at(up->json, "error/message"), "--lease-ms"));
    up = expect(2, home, "up", "--detach", "--redis", "somewhere:6379", "--json");
    assert_non_null(strstr(run_text_at(up->json, "error/message"), "somewhere:6379"));
    char *file = fs_join(home, "file"), *below = fs_join(file, "home");
    assert_int_equal(fs_write(file, "", 0, NULL), ERR_OK);
    up = expect(1, below, "up", "--detach", "--json");
    assert_non_null(strstr(run_text_at(up->json, "error/message"), file));
    free(below);
    free(file);
    expect_nothing_left();
}

// What is mended in time is no failure: the second start of this one is the real program.
static void a_service_may_need_a_second_try(void **state) {
    (void)state;
    char *real = proc_program("inkling-trainer"), script[1024];
    snprintf(script, sizeof script,
             "#!/bin/sh\n[ -e '%s/tried' ] && exec '%s' \"$@\"\n: > '%s/tried'\nexit 1\n", home,
             real, home);
    put_script("inkling-trainer", script);
    const run_t *up = expect(0, home, "up", "--detach", "--json");
    assert_int_equal(run_number_at(up->json, "services/4/restarts"), 1);
    free(real);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, make_programs, remove_programs)
    const struct CMUnitTest tests[] = {
        TEST(a_service_that_ends_at_once_is_shown_with_its_log),
        TEST(one_that_never_becomes_ready_is_not_waited_for_forever),
        TEST(a_program_that_is_not_there_is_named),
        TEST(wrong_settings_are_wrong_usage),
        TEST(a_service_may_need_a_second_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
