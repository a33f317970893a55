// Is what people and programs read safe, aligned and whole, whatever the names hold?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "capture.h"
#include "cli/result_impl.h"
#include "cli/say_impl.h"
#include "cli/table_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void expect_text(const char *from, const char *to) {
    buf_t out;
    buf_init(&out, 1000);
    say_text(&out, from);
    assert_string_equal(out.data ? out.data : "", to);
    buf_release(&out);
}

static void control_characters_are_shown(void **state) {
    (void)state;
    expect_text("plain", "plain");
    expect_text("", "");
    expect_text("a\nb\tc", "a\\x0ab\\x09c");
    expect_text("\033[2Jgone\x7f", "\\x1b[2Jgone\\x7f");
    expect_text("Köln 漫画 🖼", "Köln 漫画 🖼");
    expect_text("\xc2\x9b"
                "1m",
                "\\xc2\\x9b1m");                    // CSI in one character
    expect_text("a\xff\xc3(", "a\\xff\\xc3(");      // no UTF-8
    expect_text("\xed\xa0\x80", "\\xed\\xa0\\x80"); // a surrogate
    expect_text("\xc3", "\\xc3");                   // cut
}

static void json_texts_are_whole(void **state) {
    (void)state;
    json_t *plain = say_json_text("a\nb 漫"), *odd = say_json_text("a\xff\nb");
    assert_string_equal(json_string_value(plain), "a\nb 漫");
    assert_string_equal(json_string_value(odd), "a\\xff\nb");
    json_decref(plain);
    json_decref(odd);
}

static void json_numbers_are_short(void **state) {
    (void)state;
    json_t *list = json_loads(
        "[0.1, 100.0, 1e22, -2.5e-7, 3, \"0.10000000000000001 \\\" 1.0e5\", 0.30000000000000004]",
        0, NULL);
    char *text = say_dump(list, JSON_COMPACT);
    assert_string_equal(
        text,
        "[0.1,100.0,1e+22,-2.5e-07,3,\"0.10000000000000001 \\\" 1.0e5\",0.30000000000000004]");
    json_t *again = json_loads(text, 0, NULL);
    assert_true(json_equal(list, again));
    free(text);
    json_decref(list);
    json_decref(again);
}

static void json_numbers_are_exact(void **state) {
    (void)state;
    static const double numbers[] = {0.0014963647948132387, 1.0 / 3, 1e-300, 123456789.123456789};
    json_t *list = json_array();
    char out[1000];
    capture_t capture;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        json_array_append_new(list, json_real(numbers[i]));
    capture_begin(&capture, STDOUT_FILENO);
    say_json(list);
    capture_end(&capture, out, sizeof out);
    json_t *read = json_loads(out, 0, NULL);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_true(json_real_value(json_array_get(read, i)) == numbers[i]);
    json_decref(read);
}

static void figures_are_short(void **state) {
    (void)state;
    static const struct {
        double ms;
        const char *text;
    } durations[] = {{0, "0 ms"},           {999, "999 ms"},         {1500, "1.5 s"},
                     {61000, "1 min 01 s"}, {3600000, "1 h 00 min"}, {90000000, "1 d 01 h"}};
    char text[32];
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        say_duration(durations[i].ms, text);
        assert_string_equal(text, durations[i].text);
    }
    say_number(12, text);
    assert_string_equal(text, "12");
    say_number(0.98765432, text);
    assert_string_equal(text, "0.9877");
    say_when(0, text);
    assert_string_equal(text, "-");
}

// The contract: 0 done, 1 failed, 2 usage, 3 not found, 4 away or full.
static void exit_codes_follow_the_contract(void **state) {
    (void)state;
    assert_int_equal(say_exit_code(ERR_OK), 0);
    assert_int_equal(say_exit_code(ERR_USAGE), 2);
    assert_int_equal(say_exit_code(ERR_INVALID), 2);
    assert_int_equal(say_exit_code(ERR_NOT_FOUND), 3);
    assert_int_equal(say_exit_code(ERR_UNAVAILABLE), 4);
    assert_int_equal(say_exit_code(ERR_NOT_LEADER), 4);
    assert_int_equal(say_exit_code(ERR_TIMEOUT), 4);
    assert_int_equal(say_exit_code(ERR_FULL), 4);
    assert_int_equal(say_exit_code(ERR_CONFLICT), 1);
    assert_int_equal(say_exit_code(ERR_IO), 1);
    assert_int_equal(say_exit_code(ERR_INTERNAL), 1);
}

static void errors_are_one_document(void **state) {
    (void)state;
    char out[2000], told[2000];
    capture_t stdout_, stderr_;
    err_t err;
    err_set(&err, ERR_NOT_FOUND, "there is no job 7\n");
    err_remedy(&err, "look");
    say_setup(true);
    capture_begin(&stdout_, STDOUT_FILENO);
    capture_begin(&stderr_, STDERR_FILENO);
    json_t *more = json_pack("{s:s}", "job", "7");
    int code = say_error(&err, more);
    capture_end(&stderr_, told, sizeof told);
    capture_end(&stdout_, out, sizeof out);
    say_setup(false);
    json_decref(more);
    assert_int_equal(code, 3);
    assert_string_equal(told, "inkling: there is no job 7\\x0a\n  look\n");
    json_t *document = json_loads(out, 0, NULL);
    const json_t *error = json_object_get(document, "error");
    assert_string_equal(json_string_value(json_object_get(error, "code")), "NOT_FOUND");
    assert_string_equal(json_string_value(json_object_get(error, "message")),
                        "there is no job 7\n");
    assert_string_equal(json_string_value(json_object_get(error, "remedy")), "look");
    assert_string_equal(json_string_value(json_object_get(document, "job")), "7");
    json_decref(document);
}

static void tables_are_aligned_by_what_is_seen(void **state) {
    (void)state;
    char out[4000];
    capture_t capture;
    char wide[3001];
    memset(wide, 'w', sizeof wide - 1);
    wide[sizeof wide - 1] = 0;
    capture_begin(&capture, STDOUT_FILENO);
    table_t *table = table_new("name|>count|note");
    table_cell(table, SAY_PLAIN, "漫画");
    table_cell(table, SAY_BOLD, "%d", 5);
    table_cell(table, SAY_PLAIN, "a\nb");
    table_cell(table, SAY_PLAIN, "abcdef");
    table_cell(table, SAY_PLAIN, "%d", 12345678);
    table_cell(table, SAY_PLAIN, "%s", "");
    table_print(&table, NULL);
    assert_null(table);
    table = table_new("");
    table_pair(table, "key", "%s", wide);
    table_print(&table, NULL);
    capture_end(&capture, out, sizeof out);
    const char *expected = "name       count  note\n"
                           "漫画           5  a\\x0ab\n"
                           "abcdef  12345678  \n"
                           "key  ";
    assert_memory_equal(out, expected, strlen(expected));
    assert_int_equal(strlen(out), strlen(expected) + strlen(wide) + 1); // nothing is cut
}

static void empty_tables_say_so(void **state) {
    (void)state;
    char out[100], told[100];
    capture_t stdout_, stderr_;
    capture_begin(&stdout_, STDOUT_FILENO);
    capture_begin(&stderr_, STDERR_FILENO);
    table_t *table = table_new("a|b");
    table_print(&table, "There is nothing.");
    capture_end(&stderr_, told, sizeof told);
    capture_end(&stdout_, out, sizeof out);
    assert_string_equal(out, "");
    assert_string_equal(told, "There is nothing.\n");
}

static void results_show_the_confusion(void **state) {
    (void)state;
    char out[4000];
    capture_t capture;
    json_t *document =
        json_pack("{s:s, s:s, s:s, s:b, s:{s:f, s:[[i,i],[i,i]]}, s:[s,s], s:[{s:i}]}", "job", "3",
                  "state", "succeeded", "model", "faces", "exact", 1, "test", "accuracy", 0.875,
                  "confusion", 7, 1, 0, 8, "classes", "a|b", "photos", "history", "epoch", 1);
    capture_begin(&capture, STDOUT_FILENO);
    result_print(document);
    capture_end(&capture, out, sizeof out);
    assert_string_equal(out, "job 3 succeeded\n"
                             "model    faces\n"
                             "exact    yes\n"
                             "test     accuracy 0.875\n"
                             "classes  a|b, photos\n"
                             "\n"
                             "is / was taken for  a/b  photos\n"
                             "a|b                   7       1\n"
                             "photos                0       8\n");
    json_decref(document);
}

int main(void) {
    unsetenv("TERM");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_characters_are_shown),
        cmocka_unit_test(json_texts_are_whole),
        cmocka_unit_test(json_numbers_are_short),
        cmocka_unit_test(json_numbers_are_exact),
        cmocka_unit_test(figures_are_short),
        cmocka_unit_test(exit_codes_follow_the_contract),
        cmocka_unit_test(errors_are_one_document),
        cmocka_unit_test(tables_are_aligned_by_what_is_seen),
        cmocka_unit_test(empty_tables_say_so),
        cmocka_unit_test(results_show_the_confusion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
