// What do people see of a running job: a bar on a terminal, lines elsewhere, nothing with --json?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "capture.h"
#include "cli/progress_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void feed_at(progress_t *progress, uint64_t at_ms, const char *type, json_t *data) {
    proto_arena_t *arena = proto_arena_new();
    proto_event_t event = {.n = 1, .at_ms = at_ms, .type = type};
    assert_int_equal(proto_map_from_json(data, arena, &event.data, NULL), ERR_OK);
    progress_event(progress, &event);
    proto_arena_destroy(&arena);
    json_decref(data);
}

static void feed(progress_t *progress, const char *type, json_t *data) {
    feed_at(progress, (uint64_t)clock_mono_ms(), type, data);
}

static void advance(progress_t *progress, double done, double total, const char *text) {
    feed(progress, "progress",
         json_pack("{s:f, s:f, s:s}", "done", done, "total", total, "text", text));
}

static void lines_come_each_tenth(void **state) {
    (void)state;
    char out[8000];
    capture_t capture;
    progress_t progress;
    capture_begin(&capture, STDERR_FILENO);
    progress_init(&progress);
    for (int i = 1; i <= 1000; i++)
        advance(&progress, i, 1000, "epoch 1");
    progress_end(&progress);
    capture_end(&capture, out, sizeof out);
    int lines = 0;
    for (const char *c = out; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 11); // the first at once
    assert_null(strchr(out, '\r'));
    assert_null(strchr(out, '\033'));
    assert_non_null(strstr(out, "100 %  1000 of 1000"));
}

static void a_terminal_has_a_bar_with_rate_and_time_left(void **state) {
    (void)state;
    char out[16000];
    capture_t capture;
    progress_t progress;
    capture_begin_terminal(&capture, STDERR_FILENO, 100);
    progress_init(&progress);
    advance(&progress, 10, 100, "epoch 1");
    clock_sleep_ms(120);
    advance(&progress, 20, 100,
            "漫画 with a text that is much too long for the line so that it is cut "
            "漫画漫画漫画漫画漫画漫画漫画漫画漫画漫画漫画漫画漫画漫画漫画漫画漫画");
    feed(&progress, "metric", json_pack("{s:i, s:f}", "epoch", 1, "loss", 0.5));
    progress_end(&progress);
    capture_end(&capture, out, sizeof out);
    assert_non_null(strstr(out, " 10 %  10 of 100"));
    assert_non_null(strstr(out, "/s  "));
    assert_non_null(strstr(out, " left"));
    assert_non_null(strstr(out, "\r\033[Kepoch 1  loss 0.5\n")); // the bar gives way to a line
    assert_null(strstr(out, "cut 漫画漫画"));                    // it would wrap
}

static void history_that_comes_at_once_has_the_rate_it_had(void **state) {
    (void)state;
    char out[4000];
    capture_t capture;
    progress_t progress;
    capture_begin(&capture, STDERR_FILENO);
    progress_init(&progress);
    for (int i = 1; i <= 5; i++)
        feed_at(&progress, 1000 * (uint64_t)i, "progress",
                json_pack("{s:f, s:f}", "done", 100.0 * i, "total", 1000.0));
    progress_end(&progress);
    capture_end(&capture, out, sizeof out);
    assert_non_null(strstr(out, " 50 %  500 of 1000  100/s  5.0 s left"));
}

static void a_new_attempt_starts_the_rate_again(void **state) {
    (void)state;
    char out[4000];
    capture_t capture;
    progress_t progress;
    capture_begin(&capture, STDERR_FILENO);
    progress_init(&progress);
    advance(&progress, 90, 100, "");
    clock_sleep_ms(5);
    advance(&progress, 95, 100, "");
    clock_sleep_ms(5);
    advance(&progress, 10, 100, "");
    progress_end(&progress);
    capture_end(&capture, out, sizeof out);
    assert_non_null(strstr(out, " 10 %  10 of 100\n")); // no rate: it was 80 backwards
}

static void odd_events_break_nothing(void **state) {
    (void)state;
    char out[8000];
    capture_t capture;
    progress_t progress;
    capture_begin(&capture, STDERR_FILENO);
    progress_init(&progress);
    feed(&progress, "progress", json_object());
    feed(&progress, "progress", json_pack("{s:s, s:f}", "done", "x", "total", 0.0));
    advance(&progress, 500, 100, "beyond");
    feed(&progress, "log", json_object());
    feed(&progress, "log", json_pack("{s:s, s:s}", "level", "error", "text", "\033[31m\nbad"));
    feed(&progress, "state", json_pack("{s:i}", "state", 3));
    feed(&progress, "own.type", json_pack("{s:[i,i], s:n, s:{}}", "list", 1, 2, "none", "empty"));
    progress_event(&progress, &(proto_event_t){.n = 1, .type = "metric", .data = {"\xc1", 1}});
    progress_end(&progress);
    capture_end(&capture, out, sizeof out);
    assert_non_null(strstr(out, "100 %  100 of 100  beyond\n"));
    assert_non_null(strstr(out, "\\x1b[31m\\x0abad\n"));
    assert_non_null(strstr(out, "own.type  list 1, 2"));
    assert_null(strchr(out, '\033'));
}

static void with_json_nothing_is_shown(void **state) {
    (void)state;
    char out[1000];
    capture_t capture;
    progress_t progress;
    say_setup(true);
    capture_begin_terminal(&capture, STDERR_FILENO, 80);
    progress_init(&progress);
    advance(&progress, 50, 100, "");
    feed(&progress, "log", json_pack("{s:s}", "text", "hello"));
    progress_note(&progress, SAY_WARN, "waiting");
    progress_end(&progress);
    capture_end(&capture, out, sizeof out);
    say_setup(false);
    assert_string_equal(out, "");
}

int main(void) {
    setenv("TERM", "xterm", 1);
    setenv("NO_COLOR", "1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_each_tenth),
        cmocka_unit_test(a_terminal_has_a_bar_with_rate_and_time_left),
        cmocka_unit_test(history_that_comes_at_once_has_the_rate_it_had),
        cmocka_unit_test(a_new_attempt_starts_the_rate_again),
        cmocka_unit_test(odd_events_break_nothing),
        cmocka_unit_test(with_json_nothing_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
