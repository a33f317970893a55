// Are HTTP answers read as they are sent, in any pieces, and are all others refused?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "load/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK "HTTP/1.1 200 OK\r\n"

// In memory of exactly that size, so that a sanitizer sees a read beyond it.
static err_code_t read_some(const char *text, size_t size, reply_t *reply, bool *whole,
                            err_t *err) {
    char *copy = malloc(size ? size : 1);
    memcpy(copy, text, size);
    err_code_t code = reply_read(copy, size, reply, whole, err);
    free(copy);
    return code;
}

static reply_t expect(const char *text) {
    reply_t reply;
    bool whole = false;
    err_t err;
    size_t size = strlen(text);
    if (read_some(text, size, &reply, &whole, &err) != ERR_OK)
        fail_msg("%s: %s", text, err.message);
    assert_true(whole);
    return reply;
}

static void refuse_bytes(const char *text, size_t size, err_code_t wanted) {
    reply_t reply;
    bool whole;
    err_t err;
    err_code_t code = read_some(text, size, &reply, &whole, &err);
    if (code != wanted)
        fail_msg("%s: %s instead of %s", text, err_name(code), err_name(wanted));
    assert_true(err.message[0]);
}

static void refuse(const char *text, err_code_t wanted) {
    refuse_bytes(text, strlen(text), wanted);
}

static void an_answer_is_read(void **state) {
    (void)state;
    const char *text = OK "Content-Type: application/json\r\nContent-Length: 12\r\n"
                          "Date: now\r\n\r\n{\"a\": \"b\"}..";
    reply_t reply = expect(text);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_bytes, 12);
    assert_string_equal(text + reply.head_bytes, "{\"a\": \"b\"}..");
    assert_true(reply.keeps);
    assert_true(reply.json_bytes == SIZE_MAX);
}

static void names_have_any_case_and_values_any_blanks(void **state) {
    (void)state;
    reply_t reply = expect(OK "cONTENT-length:\t 7 \r\nInference-header-content-LENGTH:5\r\n\r\n");
    assert_int_equal(reply.body_bytes, 7);
    assert_int_equal(reply.json_bytes, 5);
}

static void reasons_may_be_empty(void **state) {
    (void)state;
    assert_int_equal(expect("HTTP/1.1 429 \r\nContent-Length: 0\r\n\r\n").status, 429);
    assert_int_equal(expect("HTTP/1.1 204 No Content\r\n\r\n").body_bytes, 0);
    assert_int_equal(expect("HTTP/1.1 304 \r\nContent-Length: 99\r\n\r\n").body_bytes, 0);
}

static void connections_are_kept_or_not(void **state) {
    (void)state;
    assert_false(expect(OK "Content-Length: 0\r\nConnection: close\r\n\r\n").keeps);
    assert_false(expect(OK "Connection: foo , CLOSE\r\nContent-Length: 0\r\n\r\n").keeps);
    assert_true(expect(OK "Connection: closed\r\nContent-Length: 0\r\n\r\n").keeps);
    assert_false(expect("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keeps);
    assert_true(
        expect("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n").keeps);
}

static void pieces_of_it_are_no_answer_yet(void **state) {
    (void)state;
    const char *text = OK "Content-Length: 3\r\nX: y\r\n\r\nabc";
    size_t head = strlen(text) - 3;
    for (size_t size = 0; size <= head + 3; size++) {
        reply_t reply;
        bool whole;
        err_t err;
        assert_int_equal(read_some(text, size, &reply, &whole, &err), ERR_OK);
        assert_int_equal(whole, size >= head);
    }
}

static void lengths_that_lie_are_refused(void **state) {
    (void)state;
    refuse(OK "\r\n", ERR_UNSUPPORTED); // none
    refuse(OK "Content-Length: \r\n\r\n", ERR_PROTOCOL);
    refuse(OK "Content-Length: -1\r\n\r\n", ERR_PROTOCOL);
    refuse(OK "Content-Length: +1\r\n\r\n", ERR_PROTOCOL);
    refuse(OK "Content-Length: 0x10\r\n\r\n", ERR_PROTOCOL);
    refuse(OK "Content-Length: 1 2\r\n\r\n", ERR_PROTOCOL);
    refuse(OK "Content-Length: 3, 3\r\n\r\n", ERR_PROTOCOL);
    refuse(OK "Content-Length: 18446744073709551617\r\n\r\n", ERR_PROTOCOL);
    refuse(OK "Content-Length: 999999999999999\r\n\r\n", ERR_TOO_LARGE);
    refuse(OK "Content-Length: 3\r\nContent-Length: 3\r\n\r\n", ERR_PROTOCOL);
    refuse(OK "Content-Length: 3\r\nInference-Header-Content-Length: 4\r\n\r\n", ERR_PROTOCOL);
    refuse(OK "Content-Length: 3\r\nInference-Header-Content-Length: x\r\n\r\n", ERR_PROTOCOL);
    refuse(OK "Inference-Header-Content-Length: 1\r\nInference-Header-Content-Length: 1\r\n"
              "Content-Length: 3\r\n\r\n",
           ERR_PROTOCOL);
    refuse(OK "Transfer-Encoding: chunked\r\n\r\n", ERR_UNSUPPORTED);
    refuse(OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", ERR_UNSUPPORTED);
}

static void what_is_no_http_is_refused(void **state) {
    (void)state;
    refuse("\r\n", ERR_PROTOCOL);
    refuse("hello\r\n", ERR_PROTOCOL);
    refuse("HTTP/2 200 OK\r\n", ERR_PROTOCOL);
    refuse("HTTP/1.1 200\r\n", ERR_PROTOCOL);
    refuse("HTTP/1.1  200 OK\r\n", ERR_PROTOCOL);
    refuse("HTTP/1.1 20 OK OK\r\n", ERR_PROTOCOL);
    refuse("HTTP/1.1 2000 OK\r\n", ERR_PROTOCOL);
    refuse("HTTP/1.1 099 OK\r\n", ERR_PROTOCOL);
    refuse("HTTP/1.1 600 OK\r\n", ERR_PROTOCOL);
    refuse("HTTP/1.1 100 Continue\r\n\r\n", ERR_UNSUPPORTED);
    refuse("HTTP/1.1 200 OK\n", ERR_PROTOCOL);
    refuse(OK "Content-Length: 0\n\r\n", ERR_PROTOCOL);
    refuse(OK "Content-Length: 0\r\n\n", ERR_PROTOCOL);
    refuse(OK "Content-Length 0\r\n", ERR_PROTOCOL);
    refuse(OK "Content-Length : 0\r\n", ERR_PROTOCOL);
    refuse(OK " folded: 0\r\n", ERR_PROTOCOL);
    refuse(OK ": nameless\r\n", ERR_PROTOCOL);
    refuse(OK "a\rb: c\r\n", ERR_PROTOCOL);
    refuse(OK "a: b\rc\r\n", ERR_PROTOCOL);
    refuse(OK "a: b\x7f\r\n", ERR_PROTOCOL);
    static const char zero[] = OK "a: b\0c\r\nContent-Length: 0\r\n\r\n";
    refuse_bytes(zero, sizeof zero - 1, ERR_PROTOCOL);
}

static void heads_have_a_limit(void **state) {
    (void)state;
    static char text[REPLY_HEAD_MAX + 100];
    size_t size = (size_t)snprintf(text, sizeof text, OK "Content-Length: 0\r\nX: ");
    memset(text + size, 'x', sizeof text - size);
    refuse_bytes(text, sizeof text, ERR_TOO_LARGE);
    reply_t reply;
    bool whole;
    err_t err;
    assert_int_equal(read_some(text, REPLY_HEAD_MAX - 1, &reply, &whole, &err), ERR_OK);
    assert_false(whole);
    memcpy(text + REPLY_HEAD_MAX - 4, "\r\n\r\n", 4); // the longest that is allowed
    assert_int_equal(read_some(text, sizeof text, &reply, &whole, &err), ERR_OK);
    assert_true(whole && reply.head_bytes == REPLY_HEAD_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_read),
        cmocka_unit_test(names_have_any_case_and_values_any_blanks),
        cmocka_unit_test(reasons_may_be_empty),
        cmocka_unit_test(connections_are_kept_or_not),
        cmocka_unit_test(pieces_of_it_are_no_answer_yet),
        cmocka_unit_test(lengths_that_lie_are_refused),
        cmocka_unit_test(what_is_no_http_is_refused),
        cmocka_unit_test(heads_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
