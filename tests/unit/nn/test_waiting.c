// Does a program that cannot be executed again go on as it was, and say so?
#include "nn/nn.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static int executed;
static char policy[16]; // when it was executed

int __wrap_execv(const char *path, char *const argv[]);
int __wrap_execv(const char *path, char *const argv[]) {
    const char *value = getenv("OMP_WAIT_POLICY");
    assert_int_equal(path[0], '/');
    assert_string_equal(argv[0], "program");
    snprintf(policy, sizeof policy, "%s", value ? value : "");
    executed++;
    errno = ETXTBSY;
    return -1;
}

// What it writes to stderr goes to text.
static void wait_passively(char text[1024]) {
    char *argv[] = {(char[]){"program"}, NULL};
    int kept = dup(2), file = memfd_create("stderr", MFD_CLOEXEC);
    assert_true(kept >= 0 && file >= 0 && dup2(file, 2) == 2);
    executed = 0;
    nn_wait_passively(argv);
    assert_int_equal(dup2(kept, 2), 2);
    ssize_t size = pread(file, text, 1023, 0);
    assert_true(size >= 0);
    text[size] = 0;
    close(file);
    close(kept);
}

static void a_failed_execution_is_told(void **state) {
    (void)state;
    char text[1024];
    unsetenv("OMP_WAIT_POLICY");
    unsetenv("GOMP_SPINCOUNT");
    wait_passively(text);
    assert_int_equal(executed, 1);
    assert_string_equal(policy, "passive");
    assert_null(getenv("OMP_WAIT_POLICY")); // it would be without effect here
    assert_non_null(strstr(text, "warn"));
    assert_non_null(strstr(text, strerror(ETXTBSY)));
}

static void a_policy_of_the_user_stays(void **state) {
    (void)state;
    static const char *const names[] = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"};
    for (int i = 0; i < 2; i++) {
        char text[1024];
        unsetenv("OMP_WAIT_POLICY");
        setenv(names[i], "7", 1);
        wait_passively(text);
        assert_int_equal(executed, 0);
        assert_string_equal(getenv(names[i]), "7");
        assert_string_equal(text, "");
        unsetenv(names[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_execution_is_told),
        cmocka_unit_test(a_policy_of_the_user_stays),
    };
    return cmocka_run_group_tests_name("waiting", tests, NULL, NULL);
}
