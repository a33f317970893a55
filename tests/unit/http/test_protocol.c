// What is a request, where it ends, and what it is answered with.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define HOST "Host: x\r\n"

static void whole_requests_are_answered(void **state) {
    (void)state;
    static const struct {
        const char *request, *answer;
    } cases[] = {
        {"GET /echo HTTP/1.1\r\n" HOST "\r\n", "GET /echo \"\""},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", "POST /echo \"abc\""},
        {"POST /echo HTTP/1.1\r\n" HOST "content-LENGTH:  \t3\r\n\r\nabc", "POST /echo \"abc\""},
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0003\r\n\r\nabc", "POST /echo \"abc\""},
        {"GET /echo HTTP/1.1\r\n" HOST "X~!#: \xff\x01\r\n\r\n", "GET /echo \"\""},
        {"\r\nGET /echo HTTP/1.1\r\n" HOST "\r\n", "GET /echo \"\""},
        {"GET /a%20b%2fc%C3%A9 HTTP/1.1\r\n" HOST "\r\n", "GET /a b/c\xc3\xa9 \"\""},
        {"GET /echo?a=%2F&b HTTP/1.1\r\n" HOST "\r\n", "GET /echo \"\""},
        {"GET /%zz%4 HTTP/1.1\r\n" HOST "\r\n", "GET /%zz%4 \"\""},
        {"GET /a%00b HTTP/1.1\r\n" HOST "\r\n", "GET /a%00b \"\""},
        {"GET /%2e%2e/echo HTTP/1.1\r\n" HOST "\r\n", "GET /../echo \"\""},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
         "POST /echo \"abcde\""},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
         "00000A\r\n0123456789\r\n0\r\nX-Trailer: 1\r\nContent-Length: 7\r\n\r\n",
         "POST /echo \"0123456789\""},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "POST /echo \"\""},
    };
    rig_t *rig = rig_open();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer_t peer = peer_open(rig);
        peer_put(&peer, cases[i].request);
        peer_expect(&peer, 200, cases[i].answer);
        // The connection is where it should be: the next one is understood.
        peer_put(&peer, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nnext");
        peer_expect(&peer, 200, "POST /echo \"next\"");
        peer_close(&peer);
    }
    rig_close(rig);
}

// Whatever stands behind a request whose end is not clear is not taken for another one.
static void unclear_requests_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *request;
        int least, most; // of the status; 0: the connection may just end
    } cases[] = {
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", 400,
         400},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 0\r\n\r\nabcde", 400,
         400},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\nabcde", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST
         "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         400, 400},
        {"POST /x HTTP/1.1\r\n" HOST
         "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
         400, 400},
        {"POST /x HTTP/1.1\r\n" HOST
         "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\nabcde", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\nabcde", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nabcde", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n\r\nabcde", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 5a\r\n\r\nabcde", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\nabcde", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: five\r\n\r\nabcde", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\nabcde", 413, 413},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\nabcde", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775807\r\n\r\nabcde", 400, 400},
        {"GET /x HTTP/1.1\r\n\r\n", 400, 400}, // no Host
        {"GET /x HTTP/1.1\r\n" HOST HOST "\r\n", 400, 400},
        {"GET /x HTTP/1.1\r\n" HOST "no colon\r\n\r\n", 400, 400},
        {"GET /x HTTP/1.1\r\n" HOST "a b: c\r\n\r\n", 400, 400},
        {"GET /x HTTP/2.0\r\n" HOST "\r\n", 400, 505},
        {"GET /x HTTP/0.9\r\n" HOST "\r\n", 400, 505},
        {"GET /x FTP/1.1\r\n" HOST "\r\n", 400, 505},
        {"GET /x\r\n" HOST "\r\n", 0, 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 505},
        {"\x16\x03\x01\x02\x01\x01\xfc\x03\x03\r\n\r\n", 0, 505}, // TLS
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n;a=b\r\nabc\r\n", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n", 400, 400},
        {"POST /x HTTP/1.1\r\n" HOST
         "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n",
         413, 413},
    };
    static const char behind[] = "GET /echo HTTP/1.1\r\n" HOST "\r\n";
    rig_t *rig = rig_open();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer_t peer = peer_open(rig);
        peer_put(&peer, cases[i].request);
        peer_send(&peer, behind, sizeof behind - 1); // it may have ended already
        peer_half_close(&peer);
        reply_t reply = peer_reply(&peer, false);
        if (reply.status < cases[i].least || reply.status > cases[i].most)
            fail_msg("case %zu: %d %s\n%s", i, reply.status, reply.body, cases[i].request);
        free(reply.body);
        // libmicrohttpd 0.9.75 sends the head twice if it dislikes Content-Length itself.
        if (strstr(peer_rest(&peer), "HTTP/1.1 200"))
            fail_msg("case %zu: what is behind it was answered", i);
        if (rig->echoes)
            fail_msg("case %zu: what is behind it was taken for a request", i);
        peer_close(&peer);
    }
    rig_await_connections(rig, 0);
    assert_int_equal(rig->echoes, 0);
    rig_close(rig);
}

static void requests_without_a_body_that_could_have_one_are_the_last(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", "POST /echo \"\""},
        {"POST /echo HTTP/1.1\r\n" HOST "\r\n", "POST /echo \"\""},
        {"OPTIONS /echo HTTP/1.1\r\n" HOST "\r\n", "OPTIONS /echo \"\""},
        {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * \"\""},
        {"WHATEVER /echo HTTP/1.1\r\n" HOST "\r\n", "WHATEVER /echo \"\""},
    };
    rig_t *rig = rig_open();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peer_t peer = peer_open(rig);
        peer_put(&peer, cases[i][0]);
        peer_expect(&peer, 200, cases[i][1]);
        peer_expect_end(&peer);
        peer_close(&peer);
    }
    rig_close(rig);
}

// A proxy may have joined the lines, and have sent the body as it is.
static void a_length_on_a_continuation_line_makes_no_request_of_the_body(void **state) {
    (void)state;
    static const char *const fields[] = {
        "Content-Length:\r\n 35\r\n",
        "Content-Length: 0\r\n 35\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
    };
    static const char behind[] = "GET /echo HTTP/1.1\r\n" HOST "\r\n";
    rig_t *rig = rig_open();
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        peer_t peer = peer_open(rig);
        char text[256];
        snprintf(text, sizeof text, "POST /refused HTTP/1.1\r\n" HOST "%s\r\n%s", fields[i],
                 behind);
        peer_put(&peer, text);
        peer_half_close(&peer);
        peer_rest(&peer);
        assert_int_equal(rig->echoes, 0);
        peer_close(&peer);
    }
    rig_close(rig);
}

static void expect_status_of(const rig_t *rig, const char *request, size_t size, int status) {
    peer_t peer = peer_open(rig);
    peer_send(&peer, request, size); // whole, whatever comes meanwhile
    reply_t reply = peer_reply(&peer, false);
    if (reply.status != status)
        fail_msg("%d instead of %d to %.40s…", reply.status, status, request);
    free(reply.body);
    peer_close(&peer);
}

static void floods_of_fields_are_refused(void **state) {
    (void)state;
    enum { SIZE = 1 << 20 };
    buf_t text;
    rig_t *rig = rig_open();
    buf_init(&text, 2 * SIZE);
    buf_puts(&text, "GET /echo HTTP/1.1\r\n" HOST);
    for (int i = 0; text.size < SIZE; i++)
        buf_printf(&text, "X-%d: 1\r\n", i);
    expect_status_of(rig, text.data, text.size, 431);
    buf_clear(&text);
    buf_puts(&text, "GET /echo HTTP/1.1\r\n" HOST "X: ");
    for (int i = 0; i < SIZE; i++)
        buf_puts(&text, "x");
    expect_status_of(rig, text.data, text.size, 431);
    buf_clear(&text);
    buf_puts(&text, "GET /echo HTTP/1.1\r\n" HOST "X: 1\r\n");
    while (text.size < SIZE)
        buf_puts(&text, " folded again and again\r\n");
    expect_status_of(rig, text.data, text.size, 431);
    buf_clear(&text);
    buf_puts(&text, "GET /");
    for (int i = 0; i < SIZE; i++)
        buf_puts(&text, "x");
    expect_status_of(rig, text.data, text.size, 414);
    buf_clear(&text);
    for (int i = 0; i < SIZE; i++)
        buf_puts(&text, "G");
    peer_t peer = peer_open(rig);
    peer_send(&peer, text.data, text.size);
    reply_t reply = peer_reply(&peer, false);
    assert_true(reply.status == 0 || (reply.status >= 400 && reply.status < 500));
    free(reply.body);
    peer_close(&peer);
    rig_await_connections(rig, 0);
    assert_int_equal(rig->heads, 0);
    buf_release(&text);
    rig_close(rig);
}

// It ends the field, which then is what it seems to be up to there.
static void a_nul_in_a_field(void **state) {
    (void)state;
    static const char value[] =
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\0, 0\r\n\r\nabcde",
                      name[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length\0x: 5\r\n\r\nabcde";
    rig_t *rig = rig_open();
    peer_t peer = peer_open(rig);
    assert_true(peer_send(&peer, value, sizeof value - 1));
    peer_expect(&peer, 200, "POST /echo \"abcde\"");
    peer_close(&peer);
    expect_status_of(rig, name, sizeof name - 1, 400);
    rig_close(rig);
}

static void head_has_no_body(void **state) {
    (void)state;
    rig_t *rig = rig_open();
    peer_t peer = peer_open(rig);
    peer_put(&peer, "HEAD /echo HTTP/1.1\r\n" HOST "\r\nGET /echo HTTP/1.1\r\n" HOST "\r\n");
    reply_t reply = peer_reply(&peer, true);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.head, "Content-Length: 13")); // of HEAD /echo ""
    free(reply.body);
    peer_expect(&peer, 200, "GET /echo \"\"");
    peer_close(&peer);
    rig_close(rig);
}

static void older_clients_are_served(void **state) {
    (void)state;
    rig_t *rig = rig_open();
    peer_t peer = peer_open(rig);
    peer_put(&peer, "POST /echo HTTP/1.0\r\nContent-Length: 1\r\n\r\na");
    peer_expect(&peer, 200, "POST /echo \"a\"");
    peer_expect_end(&peer); // without being asked to keep it
    peer_close(&peer);
    peer = peer_open(rig);
    for (int i = 0; i < 3; i++) {
        peer_put(&peer, "GET /later HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        peer_expect(&peer, 200, "GET /later \"\"");
    }
    peer_half_close(&peer); // no interim answer is for them
    peer_expect_end(&peer);
    peer_close(&peer);
    peer = peer_open(rig);
    peer_put(&peer, "GET /later HTTP/1.0\r\n\r\n");
    peer_half_close(&peer);
    reply_t reply = peer_reply(&peer, false);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.interims, 0);
    free(reply.body);
    peer_close(&peer);
    peer = peer_open(rig);
    peer_put(&peer, "GET /echo HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    peer_expect(&peer, 200, "GET /echo \"\"");
    peer_expect_end(&peer);
    peer_close(&peer);
    rig_close(rig);
}

static void bodies_come_when_they_are_expected(void **state) {
    (void)state;
    rig_t *rig = rig_open();
    peer_t peer = peer_open(rig);
    peer_put(&peer,
             "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    char interim[26] = "";
    for (size_t size = 0; size < 25; size++) // before any byte of the body
        assert_int_equal(recv(peer.fd, interim + size, 1, 0), 1);
    assert_string_equal(interim, "HTTP/1.1 100 Continue\r\n\r\n");
    peer_put(&peer, "abc");
    peer_expect(&peer, 200, "POST /echo \"abc\"");
    // One that is refused, and too long to be thrown away, is not called for.
    peer_put(&peer, "POST /refused HTTP/1.1\r\n" HOST
                    "Expect: 100-continue\r\nContent-Length: 10000000\r\n\r\n");
    reply_t reply = peer_reply(&peer, false);
    assert_int_equal(reply.status, 403);
    assert_int_equal(reply.interims, 0);
    free(reply.body);
    peer_close(&peer);
    rig_close(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_requests_are_answered),
        cmocka_unit_test(unclear_requests_are_refused),
        cmocka_unit_test(requests_without_a_body_that_could_have_one_are_the_last),
        cmocka_unit_test(a_length_on_a_continuation_line_makes_no_request_of_the_body),
        cmocka_unit_test(floods_of_fields_are_refused),
        cmocka_unit_test(a_nul_in_a_field),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(older_clients_are_served),
        cmocka_unit_test(bodies_come_when_they_are_expected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
