#include "cmocka.h"

jmp_buf cmocka_failed;

void _fail(const char *file, int line) {
    fprintf(stderr, "%s:%d: failed\n", file, line);
    longjmp(cmocka_failed, 1);
}

static bool run_one(const struct CMUnitTest *test) {
    void *state = test->initial_state;
    if (setjmp(cmocka_failed)) {
        return false;
    }
    test->test_func(&state);
    return true;
}

int _cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t count,
                            CMFixtureFunction setup, CMFixtureFunction teardown) {
    int failed = 0;
    if (setup || teardown) { // no test of the engine has them
        abort();
    }
    for (size_t i = 0; i < count; i++) {
        bool held = run_one(&tests[i]);
        failed += !held;
        printf("%s: %s: %s\n", group, tests[i].name, held ? "ok" : "FAILED");
        fflush(stdout);
    }
    return failed;
}
