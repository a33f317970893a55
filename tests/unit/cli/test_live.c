// Is the table of a search what its events say, does it fit any terminal, and is the time left
// about what is left?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "capture.h"
#include "cli/progress_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void tell(live_t *live, int trial, const char *state, double value, int64_t at_ms) {
    char job[16];
    snprintf(job, sizeof job, "%d", 100 + trial);
    json_t *data = json_pack("{s:i, s:s, s:f, s:s, s:s, s:s}", "trial", trial, "state", state, "lr",
                             0.001 * trial, "augment", "flip", "why", "model", "job", job);
    if (isfinite(value))
        json_object_set_new(data, "val_loss", json_real(value));
    if (strcmp(state, "failed") == 0)
        json_object_set_new(data, "reason", json_string("漫画 \033[31mdiverged\n"));
    live_event(live, data, at_ms);
    json_decref(data);
}

static void measure(live_t *live, size_t index, int epoch, double loss) {
    json_t *data =
        json_pack("{s:i, s:f, s:f}", "epoch", epoch, "val_loss", loss, "val_accuracy", 1 - loss);
    live_metric(live, &live->trials[index], data);
    json_decref(data);
}

// Four of ten trials have ended, in 40 s; two run, one of them half done.
static live_t *a_search(void) {
    live_t *live = live_new();
    for (int i = 1; i <= 6; i++)
        tell(live, i, "running", NAN, 1000000 + 1000 * i);
    tell(live, 1, "done", 0.5, 1020000);
    tell(live, 3, "done", 0.25, 1025000);
    tell(live, 2, "pruned", 0.125, 1030000);
    tell(live, 4, "failed", NAN, 1035000);
    snprintf(live->objective, sizeof live->objective, "val_loss");
    live->epochs = 12;
    measure(live, 4, 6, 0.3);
    measure(live, 4, 5, 0.9); // an attempt that is repeated
    live->trials[4].share = 0.5;
    snprintf(live->trials[5].state, sizeof live->trials[5].state, "queued");
    live_progress(live, 4, 10, 1041000);
    return live;
}

static void the_table_says_what_is(void **state) {
    (void)state;
    live_line_t lines[LIVE_LINES_MAX];
    live_t *live = a_search();
    size_t count = live_lines(live, 140, 40, lines);
    assert_int_equal(count, 3 + 2 + 4);
    assert_string_equal(lines[0].text, "best val_loss 0.25, trial 3:  lr 0.003  augment flip");
    const char *rest = strstr(lines[1].text, "█░"); // the ninth of 24 cells
    assert_true(rest == lines[1].text + 8 * strlen("█"));
    assert_non_null(strstr(lines[1].text, "░ 4 of 10 trials, about 48.9 s left, 1 running, "
                                          "1 waiting for a trainer, 1 stopped early, 1 failed"));
    assert_string_equal(lines[3].text,
                        "    5  running      6 of 12           0.3  lr 0.005  augment flip");
    assert_non_null(strstr(lines[4].text, "    6  queued "));
    assert_non_null(strstr(lines[5].text, "    4  failed ")); // the last one to end first
    assert_non_null(strstr(lines[5].text, "reason 漫画 \\x1b[31mdiverged\\x0a"));
    assert_non_null(strstr(lines[6].text, "    2  stopped "));
    assert_non_null(strstr(lines[6].text, "0.125  lr 0.002"));
    assert_non_null(strstr(lines[8].text, "    1  done "));
    tell(live, 1, "running", NAN, 1050000); // said again by another attempt
    assert_string_equal(live->trials[0].state, "done");
    assert_int_equal(live->ended, 4);
    live_free(&live);
    live_free(&live);
}

static void time_left_is_by_what_was_done(void **state) {
    (void)state;
    live_t *live = a_search();
    assert_true(fabs(live_left_ms(live) - 40000 * (10 - 4.5) / 4.5) < 1);
    live->budget_ms = 45000; // five more seconds of beginning, then two side by side
    assert_true(fabs(live_left_ms(live) - (5000 + 40000 * 2 / 4.5)) < 1);
    live->budget_ms = 3600000;
    assert_true(fabs(live_left_ms(live) - 40000 * (10 - 4.5) / 4.5) < 1);
    live_progress(live, 10, 10, 1090000);
    assert_true(live_left_ms(live) == 0);
    live_free(&live);
    live = live_new();
    tell(live, 1, "running", NAN, 1000000);
    live_progress(live, 0, 10, 1060000);
    assert_true(live_left_ms(live) == 0); // nothing is known yet
    live_free(&live);
}

static void how_many_there_will_be_is_told_when_it_is_known(void **state) {
    (void)state;
    live_line_t lines[LIVE_LINES_MAX];
    live_t *live = live_new();
    tell(live, 1, "running", NAN, 1000000);
    tell(live, 2, "queued", NAN, 1000000);
    live_lines(live, 140, 40, lines);
    assert_null(strstr(lines[1].text, "trials"));
    assert_non_null(strstr(lines[1].text, "░ 1 running, 1 waiting for a trainer"));
    live_progress(live, 0, 10, 1001000);
    live_lines(live, 140, 40, lines);
    assert_non_null(strstr(lines[1].text, "░ 0 of 10 trials, 1 running, 1 waiting"));
    live_free(&live);
}

static void accuracy_is_the_better_the_larger(void **state) {
    (void)state;
    live_line_t lines[LIVE_LINES_MAX];
    live_t *live = live_new();
    snprintf(live->objective, sizeof live->objective, "val_accuracy");
    for (int i = 1; i <= 3; i++) {
        json_t *data = json_pack("{s:i, s:s, s:f}", "trial", i, "state", i == 3 ? "pruned" : "done",
                                 "val_accuracy", 0.25 * i);
        live_event(live, data, 1);
        json_decref(data);
    }
    live_lines(live, 80, 24, lines);
    assert_string_equal(lines[0].text, "best val_accuracy 0.5, trial 2:  ");
    live_free(&live);
}

static void it_fits_every_terminal(void **state) {
    (void)state;
    live_line_t *lines = mem_alloc(LIVE_LINES_MAX * sizeof *lines);
    live_t *live = live_new();
    for (int i = 1; i <= 200; i++) {
        tell(live, i, "running", NAN, 1000 * i);
        if (i < 150)
            tell(live, i, i % 7 ? "done" : "failed", 1.0 / i, 1000 * i + 500);
    }
    for (size_t width = 1; width < 200; width += 7)
        for (size_t height = 0; height < 100; height += 3) {
            size_t count = live_lines(live, width, height, lines);
            assert_true(count <= height && count <= LIVE_LINES_MAX);
            for (size_t i = 0; i < count; i++) {
                size_t columns = 0;
                for (const char *c = lines[i].text; *c; c++)
                    columns += ((unsigned char)*c & 0xc0) != 0x80;
                assert_true(columns < (width > 2 ? width : 2));
            }
        }
    live_free(&live);
    free(lines);
}

static void feed(progress_t *progress, const char *type, json_t *data, uint64_t at_ms) {
    proto_arena_t *arena = proto_arena_new();
    proto_event_t event = {.n = 1, .at_ms = at_ms, .type = type};
    assert_int_equal(proto_map_from_json(data, arena, &event.data, NULL), ERR_OK);
    progress_event(progress, &event);
    proto_arena_destroy(&arena);
    json_decref(data);
}

static json_t *begun(int trial) {
    return json_pack("{s:i, s:s, s:f, s:s}", "trial", trial, "state", "running", "lr", 0.1, "job",
                     "7");
}

static void it_is_drawn_in_place_and_gives_way_to_lines(void **state) {
    (void)state;
    char out[16000];
    capture_t capture;
    progress_t progress;
    capture_begin_terminal(&capture, STDERR_FILENO, 100);
    progress_init(&progress);
    progress.live = live_new();
    feed(&progress, "progress", json_pack("{s:f, s:f}", "done", 0.0, "total", 4.0), 1000);
    progress.drawn_ms = 0;
    feed(&progress, "trial", begun(1), 2000);
    progress.drawn_ms = 0;
    feed(&progress, "trial", begun(2), 3000);
    feed(&progress, "log", json_pack("{s:s}", "text", "a word"), 3000);
    progress.drawn_ms = 0;
    progress_table(&progress);
    progress_end(&progress);
    progress_end(&progress);
    live_free(&progress.live);
    capture_end(&capture, out, sizeof out);
    assert_null(strstr(out, "trial  trial 1")); // no line for what the table has
    const char *second = strstr(out, "\033[3A\rno trial has ended well yet"); // 4 lines before
    assert_non_null(second);
    const char *word = strstr(second, "\033[4A\r\033[Ja word\n");
    assert_non_null(word);
    assert_string_equal(out + strlen(out) - strlen("\033[4A\r\033[J"), "\033[4A\r\033[J");
}

static void a_terminal_that_becomes_narrower_is_cleaned(void **state) {
    (void)state;
    char out[16000];
    capture_t capture;
    progress_t progress;
    struct winsize size = {.ws_col = 100, .ws_row = 30};
    capture_begin_terminal(&capture, STDERR_FILENO, 100);
    progress_init(&progress);
    progress.live = live_new();
    feed(&progress, "trial", begun(1), 2000);
    size.ws_col = 30; // lines of 27, 44, 52 and 50 columns: they have become 1 + 2 + 2 + 2
    assert_int_equal(ioctl(STDERR_FILENO, TIOCSWINSZ, &size), 0);
    for (size_t i = 0, wide[] = {27, 44, 52, 50}; i < 4; i++)
        progress.columns[i] = wide[i];
    progress_end(&progress);
    live_free(&progress.live);
    capture_end(&capture, out, sizeof out);
    assert_string_equal(out + strlen(out) - strlen("\033[6A\r\033[J"), "\033[6A\r\033[J");
}

static void without_a_terminal_trials_are_lines(void **state) {
    (void)state;
    char out[4000];
    capture_t capture;
    progress_t progress;
    capture_begin(&capture, STDERR_FILENO);
    progress_init(&progress);
    progress.live = live_new();
    feed(&progress, "trial", begun(1), 2000);
    progress_table(&progress);
    progress_end(&progress);
    live_free(&progress.live);
    capture_end(&capture, out, sizeof out);
    assert_string_equal(out, "trial  trial 1  state running  lr 0.1  job 7\n");
}

int main(void) {
    setenv("TERM", "xterm", 1);
    setenv("NO_COLOR", "1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_says_what_is),
        cmocka_unit_test(time_left_is_by_what_was_done),
        cmocka_unit_test(how_many_there_will_be_is_told_when_it_is_known),
        cmocka_unit_test(accuracy_is_the_better_the_larger),
        cmocka_unit_test(it_fits_every_terminal),
        cmocka_unit_test(it_is_drawn_in_place_and_gives_way_to_lines),
        cmocka_unit_test(a_terminal_that_becomes_narrower_is_cleaned),
        cmocka_unit_test(without_a_terminal_trials_are_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
