// JSON read in place: does it take what RFC 8259 takes, and mean the same by it as another reader?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/philox.h"
#include "scan_impl.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void expect_same(span_t span, const json_t *json);

static void expect_same_members(span_t span, const json_t *json) {
    span_t key, value;
    size_t count = 0;
    while (scan_member(&span, &key, &value)) {
        char name[256];
        assert_true(scan_text(key, name, sizeof name));
        expect_same(value, json_object_get(json, name));
        count++;
    }
    assert_int_equal(count, json_object_size(json));
}

static void expect_same_elements(span_t span, const json_t *json) {
    span_t value;
    size_t count = 0;
    while (scan_element(&span, &value))
        expect_same(value, json_array_get(json, count++));
    assert_int_equal(count, json_array_size(json));
}

static void expect_same(span_t span, const json_t *json) {
    char text[256];
    int64_t number;
    bool truth;
    assert_non_null(json);
    assert_int_equal(scan_bool(span, &truth), json_is_boolean(json));
    assert_int_equal(scan_text(span, text, sizeof text), json_is_string(json));
    if (json_is_boolean(json))
        assert_int_equal(truth, json_is_true(json));
    else if (json_is_string(json))
        assert_string_equal(text, json_string_value(json));
    else if (json_is_integer(json) && scan_int(span, &number))
        assert_int_equal(number, json_integer_value(json));
    else if (json_is_real(json))
        assert_false(scan_int(span, &number));
    else if (json_is_null(json))
        assert_int_equal(scan_kind(span), 'n');
    else if (json_is_object(json))
        expect_same_members(span, json);
    else if (json_is_array(json))
        expect_same_elements(span, json);
}

static const char *const good[] = {
    "0",
    "-0",
    "12",
    "-1.5e+10",
    "1E5",
    "0.0",
    "true",
    "false",
    "null",
    "\"\"",
    " \t\r\n[ ] ",
    "{}",
    "{ }",
    "[[],[[]],{}]",
    "{\"a\":{\"b\":[1,2,{\"c\":null}]},\"d\":\"e\"}",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"",
    "[1,-2,3.5,\"x\",true,false,null,{\"k\":[]}]",
    "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
    "9223372036854775807",
    "[-9223372036854775807]",
    "\"\x7f\"",
};

static const char *const bad[] = {
    "",
    " ",
    "nul",
    "tru",
    "truee",
    "True",
    "+1",
    "01",
    "-",
    "-01",
    "1.",
    ".1",
    "1e",
    "1e+",
    "0x1",
    "NaN",
    "Infinity",
    "-Infinity",
    "'a'",
    "\"",
    "\"\\",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u123g\"",
    "\"\n\"",
    "\"\t\"",
    "[",
    "]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1 2]",
    "{",
    "}",
    "{1:2}",
    "{a:1}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1]",
    "[1}",
    "1 2",
    "[]]",
    "/**/1",
    "[1//\n]",
    "\xef\xbb\xbf[]",
    "{\"a\":1,,\"b\":2}",
    "\x00",
    "[\"a\",\x01]",
};

static void documents(void **state) {
    (void)state;
    span_t span;
    err_t err;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        json_t *json = json_loads(good[i], JSON_DECODE_ANY, NULL);
        if (scan_document(good[i], strlen(good[i]), &span, &err) != ERR_OK)
            fail_msg("%s: %s", good[i], err.message);
        expect_same(span, json);
        json_decref(json);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (scan_document(bad[i], strlen(bad[i]), &span, &err) != ERR_INVALID)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(scan_document("1\0", 2, &span, &err), ERR_INVALID);
    assert_int_equal(scan_document("\"a\0b\"", 5, &span, &err), ERR_INVALID);
}

static void depth(void **state) {
    (void)state;
    char text[2 * SCAN_DEPTH_MAX + 3];
    span_t span;
    err_t err;
    for (size_t depth = SCAN_DEPTH_MAX - 1; depth <= SCAN_DEPTH_MAX + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        assert_int_equal(scan_document(text, 2 * depth, &span, &err),
                         depth <= SCAN_DEPTH_MAX ? ERR_OK : ERR_INVALID);
    }
}

// Random bytes from the alphabet of JSON: both readers take the same texts. (The other one knows
// UTF-8, lone surrogates and depth otherwise, so none of these occurs.)
static void random_texts(void **state) {
    (void)state;
    enum { ROUNDS = 300000 };
    static const char *const pieces[] = {"{",     "}",      "[", "]",   ",",      ":", "\"",
                                         "\"a\"", "\"a\":", "1", "-",   "0",      ".", "e",
                                         "true",  "null",   " ", "\\n", "\\u0041"};
    enum { PIECES = sizeof pieces / sizeof *pieces };
    int taken = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        char text[128] = "";
        philox_t dice = philox(9, round, 0, 0, 0);
        uint32_t count = 1 + dice.v[0] % 10;
        for (uint32_t i = 0; i < count; i++)
            strcat(text, pieces[philox(9, round, 1 + i, 0, 0).v[0] % PIECES]);
        span_t span;
        err_t err;
        json_error_t wrong;
        json_t *json = json_loads(text, JSON_DECODE_ANY, &wrong);
        bool known = json || json_error_code(&wrong) != json_error_numeric_overflow;
        err_code_t code = scan_document(text, strlen(text), &span, &err);
        if (known && (json != NULL) != (code == ERR_OK))
            fail_msg("%s: %s", code ? "refused" : "taken", text);
        if (json && !strstr(text, "\"a\":")) // of a name that occurs twice the other one keeps one
            expect_same(span, json);
        taken += json != NULL;
        json_decref(json);
    }
    assert_true(taken > ROUNDS / 100);
}

static void texts_and_numbers(void **state) {
    (void)state;
    span_t span;
    char out[8];
    int64_t number;
    assert_int_equal(scan_document("\"1234567\"", 9, &span, NULL), ERR_OK);
    assert_true(scan_text(span, out, 8));
    assert_false(scan_text(span, out, 7));
    assert_int_equal(scan_document("\"\\ud83d\\u0041\"", 14, &span, NULL), ERR_OK);
    assert_true(scan_text(span, out, sizeof out));
    assert_string_equal(out, "\xef\xbf\xbd"
                             "A");
    assert_int_equal(scan_document("\"\\udc00\\ud800\"", 14, &span, NULL), ERR_OK);
    assert_true(scan_text(span, out, sizeof out));
    assert_string_equal(out, "\xef\xbf\xbd\xef\xbf\xbd");
    assert_int_equal(scan_document("9223372036854775808", 19, &span, NULL), ERR_OK);
    assert_false(scan_int(span, &number));
    assert_int_equal(scan_document("99999999999999999999999", 23, &span, NULL), ERR_OK);
    assert_false(scan_int(span, &number));
    assert_false(scan_int((span_t){NULL, NULL}, &number));
    assert_false(scan_text((span_t){NULL, NULL}, out, sizeof out));
    assert_int_equal(scan_kind((span_t){NULL, NULL}), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(depth),
        cmocka_unit_test(random_texts),
        cmocka_unit_test(texts_and_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
