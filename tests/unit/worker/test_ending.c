// Does a dead child's message name the cause and its last lines, whatever it wrote?
#include "worker/ending_impl.h"

#include "proto/codec.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static ending_tail_t tail;

static int set_up(void **state) {
    (void)state;
    memset(&tail, 0, sizeof tail);
    return 0;
}

static void add(const char *text) {
    ending_tail_add(&tail, text, strlen(text));
}

// message and remedy of a wait status; both fit a message.
static void describe(int status, char message[PROTO_TEXT_MAX + 1],
                     char remedy[PROTO_TEXT_MAX + 1]) {
    buf_t text, advice;
    buf_init(&text, PROTO_TEXT_MAX);
    buf_init(&advice, PROTO_TEXT_MAX);
    ending_describe("engine", status, &text, &advice);
    ending_quote(&tail, &text);
    assert_false(text.failed || advice.failed);
    assert_true(advice.size > 0);
    strcpy(message, text.data);
    strcpy(remedy, advice.data);
    proto_failure_t failure = {.code = "INTERNAL", .message = message, .remedy = remedy};
    buf_t packed;
    err_t err;
    buf_init(&packed, 1 << 16);
    if (proto_encode(PROTO_failure, &failure, &packed, &err) != ERR_OK)
        fail_msg("%s", err.message);
    buf_release(&packed);
    buf_release(&text);
    buf_release(&advice);
}

static void test_causes(void **state) {
    (void)state;
    char message[PROTO_TEXT_MAX + 1], remedy[PROTO_TEXT_MAX + 1];
    describe(SIGSEGV, message, remedy);
    assert_string_equal(message, "engine crashed with signal 11 (Segmentation fault)");
    describe(SIGKILL, message, remedy);
    assert_non_null(strstr(message, "memory"));
    assert_non_null(strstr(remedy, "dmesg"));
    describe(7 << 8, message, remedy);
    assert_non_null(strstr(message, "exit status 7"));
}

static void test_last_lines(void **state) {
    (void)state;
    char message[PROTO_TEXT_MAX + 1], remedy[PROTO_TEXT_MAX + 1];
    add("first\nsecond");
    add(" line\n\n");
    describe(SIGABRT, message, remedy);
    assert_non_null(strstr(message, "; its last lines:\nfirst\nsecond line"));
    assert_int_equal(message[strlen(message) - 1], 'e');
}

static void test_long_output_keeps_the_newest_whole_lines(void **state) {
    (void)state;
    char message[PROTO_TEXT_MAX + 1], remedy[PROTO_TEXT_MAX + 1], line[64];
    for (int i = 0; i < 10000; i++) {
        snprintf(line, sizeof line, "line %d of many\n", i);
        add(line);
    }
    describe(SIGABRT, message, remedy);
    assert_non_null(strstr(message, "line 9999 of many"));
    assert_non_null(strstr(message, "line 9900 of many"));
    assert_null(strstr(message, "line 9000 of many"));
    assert_non_null(strstr(message, "last lines:\nline "));
}

static void test_one_huge_piece(void **state) {
    (void)state;
    char message[PROTO_TEXT_MAX + 1], remedy[PROTO_TEXT_MAX + 1];
    size_t size = 100001;
    char *bytes = malloc(size);
    memset(bytes, 'x', size);
    memcpy(bytes + size - 4, "\nend", 4);
    ending_tail_add(&tail, bytes, size);
    assert_int_equal(tail.total, size);
    free(bytes);
    describe(SIGABRT, message, remedy);
    assert_non_null(strstr(message, "last lines:\nend"));
}

static void test_binary_output(void **state) {
    (void)state;
    char message[PROTO_TEXT_MAX + 1], remedy[PROTO_TEXT_MAX + 1];
    char bytes[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)(255 - i);
    ending_tail_add(&tail, bytes, sizeof bytes);
    describe(SIGABRT, message, remedy); // checks that it fits a message
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_causes, set_up),
        cmocka_unit_test_setup(test_last_lines, set_up),
        cmocka_unit_test_setup(test_long_output_keeps_the_newest_whole_lines, set_up),
        cmocka_unit_test_setup(test_one_huge_piece, set_up),
        cmocka_unit_test_setup(test_binary_output, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
