// What the engine's tests use of cmocka, for machines that have none: a test ends at the first
// assertion that does not hold, the others go on.
#ifndef GPU_CHECK_CMOCKA_H
#define GPU_CHECK_CMOCKA_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*CMUnitTestFunction)(void **state);
typedef int (*CMFixtureFunction)(void **state);

struct CMUnitTest {
    const char *name;
    CMUnitTestFunction test_func;
    CMFixtureFunction setup_func, teardown_func;
    void *initial_state;
};

extern jmp_buf cmocka_failed;

#define print_error(...)   ((void)fprintf(stderr, __VA_ARGS__))
#define print_message(...) ((void)printf(__VA_ARGS__))

_Noreturn void _fail(const char *file, int line);
#define fail() _fail(__FILE__, __LINE__)
#define fail_msg(...)                                                                              \
    do {                                                                                           \
        print_error(__VA_ARGS__);                                                                  \
        print_error("\n");                                                                         \
        fail();                                                                                    \
    } while (0)

#define cmocka_check(condition, text)                                                              \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("%s:%d: does not hold: %s\n", __FILE__, __LINE__, text);                   \
            _fail(__FILE__, __LINE__);                                                             \
        }                                                                                          \
    } while (0)

#define assert_true(c)                   cmocka_check(c, #c)
#define assert_false(c)                  cmocka_check(!(c), "not " #c)
#define assert_null(p)                   cmocka_check((p) == NULL, #p " is NULL")
#define assert_non_null(p)               cmocka_check((p) != NULL, #p " is not NULL")
#define assert_int_equal(a, b)           cmocka_check((intmax_t)(a) == (intmax_t)(b), #a " == " #b)
#define assert_int_not_equal(a, b)       cmocka_check((intmax_t)(a) != (intmax_t)(b), #a " != " #b)
#define assert_string_equal(a, b)        cmocka_check(strcmp(a, b) == 0, #a " is " #b)
#define assert_memory_equal(a, b, n)     cmocka_check(memcmp(a, b, n) == 0, #a " is " #b)
#define assert_memory_not_equal(a, b, n) cmocka_check(memcmp(a, b, n) != 0, #a " is not " #b)

// The number of tests that failed.
int _cmocka_run_group_tests(const char *group, const struct CMUnitTest *tests, size_t count,
                            CMFixtureFunction setup, CMFixtureFunction teardown);

#endif
