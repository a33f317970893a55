// Do frames arrive whole however they are cut, and are bytes that are none refused?
#include "link/link.h"

#include "base/philox.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    int fd[2];
    link_reader_t reader;
    buf_t out;
} pair_t;

static void pair_open(pair_t *pair) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair->fd), 0);
    assert_int_equal(fcntl(pair->fd[0], F_SETFL, O_NONBLOCK), 0);
    link_reader_init(&pair->reader);
    buf_init(&pair->out, 1 << 26);
}

static void pair_close(pair_t *pair) {
    close(pair->fd[0]);
    close(pair->fd[1]);
    link_reader_release(&pair->reader);
    buf_release(&pair->out);
}

// Takes what has arrived; frame i has id i and a body of i * 37 % 5000 bytes of value i.
static uint64_t take_frames(pair_t *pair, uint64_t next) {
    link_frame_t frame;
    bool whole;
    while (link_fill(&pair->reader, pair->fd[0]) == LINK_MORE)
        for (;;) {
            assert_int_equal(link_next(&pair->reader, &frame, &whole, NULL), ERR_OK);
            if (!whole)
                break;
            assert_int_equal(frame.id, next);
            assert_int_equal(frame.type, PROTO_report);
            assert_int_equal(frame.body.size, next * 37 % 5000);
            for (size_t i = 0; i < frame.body.size; i++)
                assert_int_equal(((const unsigned char *)frame.body.data)[i], next & 255);
            next++;
        }
    return next;
}

static void test_frames_in_pieces(void **state) {
    (void)state;
    pair_t pair;
    pair_open(&pair);
    char body[5000];
    for (uint64_t id = 0; id < 500; id++) {
        memset(body, (int)(id & 255), sizeof body);
        proto_bytes_t bytes = {body, id * 37 % 5000};
        assert_int_equal(link_append(&pair.out, PROTO_report, id, bytes, NULL), ERR_OK);
    }
    uint64_t got = 0;
    size_t at = 0;
    for (uint32_t draw = 0; at < pair.out.size; draw++) {
        size_t piece = 1 + philox_below(philox(1, draw, 0, 0, 0).v[0], 9000);
        piece = piece < pair.out.size - at ? piece : pair.out.size - at;
        assert_int_equal(write(pair.fd[1], pair.out.data + at, piece), piece);
        at += piece;
        got = take_frames(&pair, got);
    }
    assert_int_equal(got, 500);
    assert_int_equal(link_fill(&pair.reader, pair.fd[0]), LINK_BLOCKED);
    close(pair.fd[1]);
    assert_int_equal(link_fill(&pair.reader, pair.fd[0]), LINK_ENDED);
    pair_close(&pair);
}

static err_code_t read_bytes(const void *bytes, size_t size, err_t *err) {
    pair_t pair;
    link_frame_t frame;
    bool whole;
    pair_open(&pair);
    assert_int_equal(write(pair.fd[1], bytes, size), size);
    assert_int_equal(link_fill(&pair.reader, pair.fd[0]), LINK_MORE);
    err_code_t code = link_next(&pair.reader, &frame, &whole, err);
    if (code)
        assert_false(whole);
    pair_close(&pair);
    return code;
}

static void test_no_frames(void **state) {
    (void)state;
    err_t err;
    struct {
        uint32_t size;
        uint16_t type, zero;
        uint64_t id;
    } head = {0, PROTO_ok, 0, 0};
    assert_int_equal(read_bytes(&head, sizeof head, &err), ERR_OK);
    head.size = PROTO_MESSAGE_MAX + 1;
    assert_int_equal(read_bytes(&head, sizeof head, &err), ERR_PROTOCOL);
    head.size = 0;
    head.type = PROTO_TYPE_COUNT;
    assert_int_equal(read_bytes(&head, sizeof head, &err), ERR_PROTOCOL);
    head.type = PROTO_ok;
    head.zero = 1;
    assert_int_equal(read_bytes(&head, sizeof head, &err), ERR_PROTOCOL);
    assert_int_equal(read_bytes("plain text, no frame", 20, &err), ERR_PROTOCOL);
}

static void test_what_cannot_be_packed_leaves_nothing(void **state) {
    (void)state;
    buf_t out;
    err_t err;
    proto_lease_t lease = {.job = "", .token = 1}; // a job needs an id
    buf_init(&out, 1000);
    assert_int_not_equal(link_encode(&out, PROTO_lease, 0, &lease, &err), ERR_OK);
    assert_int_equal(out.size, 0);
    assert_false(out.failed);
    lease.job = "j";
    assert_int_equal(link_encode(&out, PROTO_lease, 9, &lease, &err), ERR_OK);
    assert_true(out.size > LINK_HEADER_BYTES);
    buf_release(&out);
}

static void expect_clean(const char *text, size_t max, const char *wanted) {
    char copy[64];
    strcpy(copy, text);
    link_clean_text(copy, max);
    assert_string_equal(copy, wanted);
}

static void test_clean_text(void **state) {
    (void)state;
    expect_clean("gr\xc3\xbc\xc3\x9f", 60, "gr\xc3\xbc\xc3\x9f");
    expect_clean("a\xff\xc3", 60, "a??");
    expect_clean("abcdef", 3, "abc");
    expect_clean("ab\xc3\xbc", 3, "ab"); // no half a letter
    expect_clean("", 3, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_in_pieces),
        cmocka_unit_test(test_no_frames),
        cmocka_unit_test(test_what_cannot_be_packed_leaves_nothing),
        cmocka_unit_test(test_clean_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
