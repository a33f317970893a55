// Is what can be done in time told from what cannot?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/pace.h"

static void steady_work_is_expected_as_it_is(void **state) {
    (void)state;
    pace_t pace = {0};
    assert_int_equal(pace_need_us(&pace), 0);
    pace_note(&pace, 8000, 4);
    assert_true(pace_need_us(&pace) >= 8000); // of one alone not much is known
    for (int i = 0; i < 200; i++)
        pace_note(&pace, 8000, 4);
    assert_in_range(pace_need_us(&pace), 8000, 8010);
    assert_in_range((int64_t)pace.each_us, 1999, 2001);
}

static void what_varies_needs_room(void **state) {
    (void)state;
    pace_t pace = {0};
    for (int i = 0; i < 400; i++)
        pace_note(&pace, i % 2 ? 5000 : 15000, 1);
    assert_true(pace_need_us(&pace) >= 15000);
    assert_true(pace_need_us(&pace) <= 40000);
}

static void it_follows(void **state) {
    (void)state;
    pace_t pace = {0};
    pace_note(&pace, 2000000, 1); // a machine that stood still
    for (int i = 0; i < 100; i++)
        pace_note(&pace, 1000, 1);
    assert_true(pace_need_us(&pace) < 2000);
}

static void only_what_goes_first_is_waited_for(void **state) {
    (void)state;
    backlog_t backlog = {{0}};
    backlog_add(&backlog, 1, 1000);
    backlog_add(&backlog, 0, 20000); // 0 is 2
    backlog_add(&backlog, 3, 300000);
    assert_int_equal(backlog_wait_us(&backlog, 1, 1), 1000);
    assert_int_equal(backlog_wait_us(&backlog, 2, 1), 21000);
    assert_int_equal(backlog_wait_us(&backlog, 0, 1), 21000);
    assert_int_equal(backlog_wait_us(&backlog, 3, 1), 321000);
    assert_int_equal(backlog_wait_us(&backlog, 3, 4), 321000 / 4);
    backlog_add(&backlog, 2, -20000);
    assert_int_equal(backlog_wait_us(&backlog, 2, 2), 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steady_work_is_expected_as_it_is),
        cmocka_unit_test(what_varies_needs_room),
        cmocka_unit_test(it_follows),
        cmocka_unit_test(only_what_goes_first_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
