// Clients that are slow, in a hurry, half gone or gone: who gets which answer, and what is left.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/philox.h"
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST "Host: x\r\n"

static void one_byte_at_a_time(void **state) {
    (void)state;
    static const char *const requests[] = {
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 8\r\n\r\n01234567",
        "POST /echo HTTP/1.1\r\n" HOST
        "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n01234\r\n3\r\n567\r\n0\r\nX: y\r\n\r\n"};
    rig_t *rig = rig_open();
    peer_t peer = peer_open(rig);
    for (int i = 0; i < 2; i++) {
        for (const char *at = requests[i]; *at; at++) {
            assert_true(peer_send(&peer, at, 1));
            if ((at - requests[i]) % 8 == 0)
                clock_sleep_ms(1);
        }
        peer_expect(&peer, 200, "POST /echo \"01234567\"");
    }
    peer_close(&peer);
    rig_close(rig);
}

// Sent without waiting for any answer, cut anywhere: answers come in order, each its own.
static void pipelined_requests_are_answered_in_order(void **state) {
    (void)state;
    enum { COUNT = 400, CLIENTS = 3 };
    static const char *const kinds[] = {"/echo", "/later", "/refused", "/full", "/echo"};
    static const int statuses[] = {200, 200, 403, 503, 200};
    peer_t peers[CLIENTS];
    buf_t text;
    rig_t *rig = rig_open();
    for (uint32_t c = 0; c < CLIENTS; c++) {
        buf_init(&text, 1 << 20);
        for (uint32_t i = 0; i < COUNT; i++)
            if (i % 7 < 3)
                buf_printf(&text,
                           "POST %s HTTP/1.1\r\n" HOST
                           "Transfer-Encoding: chunked\r\n\r\n1\r\n%u\r\n5\r\n-%04u\r\n0\r\n\r\n",
                           kinds[i % 5 == 2 ? 0 : i % 5], c, i);
            else
                buf_printf(&text, "POST %s HTTP/1.1\r\n" HOST "Content-Length: 6\r\n\r\n%u-%04u",
                           kinds[i % 5], c, i);
        peers[c] = peer_open(rig);
        for (size_t at = 0, size, k = 0; at < text.size; at += size) {
            size = 1 + philox_below(philox(1, (uint32_t)k++, c, 0, 0).v[0], 3000);
            size = size < text.size - at ? size : text.size - at;
            assert_true(peer_send(&peers[c], text.data + at, size));
        }
        buf_release(&text);
    }
    for (uint32_t i = 0; i < COUNT; i++)
        for (uint32_t c = 0; c < CLIENTS; c++) {
            uint32_t kind = i % 7 < 3 && i % 5 == 2 ? 0 : i % 5;
            char expected[64];
            snprintf(expected, sizeof expected, "POST %s \"%u-%04u\"", kinds[kind], c, i);
            peer_expect(&peers[c], statuses[kind], statuses[kind] == 200 ? expected : NULL);
        }
    for (int c = 0; c < CLIENTS; c++)
        peer_close(&peers[c]);
    rig_close(rig);
}

static void half_closed_behind_a_request_gets_its_answer(void **state) {
    (void)state;
    static const char *const paths[] = {"/echo", "/later", "/held"};
    rig_t *rig = rig_open();
    for (int i = 0; i < 60; i++) {
        peer_t peer = peer_open(rig);
        char text[256], expected[64];
        snprintf(text, sizeof text, "POST %s HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
                 paths[i % 3]);
        peer_put(&peer, text);
        if (i % 2)
            clock_sleep_ms(3); // it may be with the handler by now
        peer_half_close(&peer);
        if (i % 3 == 2) {
            rig_await(&rig->readies, i + 1);
            clock_sleep_ms(3);
            rig_release(rig);
        }
        snprintf(expected, sizeof expected, "POST %s \"abc\"", paths[i % 3]);
        peer_expect(&peer, 200, expected);
        peer_expect_end(&peer);
        peer_close(&peer);
    }
    peer_t peer = peer_open(rig); // all that were asked before the end
    for (int i = 0; i < 5; i++)
        peer_put(&peer, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    peer_half_close(&peer);
    for (int i = 0; i < 5; i++)
        peer_expect(&peer, 200, "GET /later \"\"");
    peer_expect_end(&peer);
    peer_close(&peer);
    assert_int_equal(rig->gones, 0);
    rig_close(rig);
}

// Many at once, and the end right behind them: whenever the server sees it, all are answered.
static void half_closed_behind_many_requests(void **state) {
    (void)state;
    enum { ROUNDS = 100, CLIENTS = 4, COUNT = 6 };
    rig_t *rig = rig_open();
    for (int round = 0; round < ROUNDS; round++) {
        peer_t peers[CLIENTS];
        char text[1024] = "", expected[64];
        for (int i = 0; i < COUNT; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text),
                     "POST %s HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n%03d",
                     (round + i) % 3 ? "/later" : "/echo", i);
        for (int c = 0; c < CLIENTS; c++) {
            peers[c] = peer_open(rig);
            peer_put(&peers[c], text);
            if (round % 3)
                clock_sleep_ms(round % 3);
            peer_half_close(&peers[c]);
        }
        for (int c = 0; c < CLIENTS; c++) {
            for (int i = 0; i < COUNT; i++) {
                snprintf(expected, sizeof expected, "POST %s \"%03d\"",
                         (round + i) % 3 ? "/later" : "/echo", i);
                peer_expect(&peers[c], 200, expected);
            }
            peer_expect_end(&peers[c]);
            peer_close(&peers[c]);
        }
    }
    rig_close(rig);
}

static void half_closed_within_a_request_is_closed(void **state) {
    (void)state;
    static const char request[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabcde";
    rig_t *rig = rig_open();
    for (size_t size = 0; size < sizeof request - 1; size += 3) {
        peer_t peer = peer_open(rig);
        peer_send(&peer, request, size);
        peer_half_close(&peer);
        reply_t reply = peer_reply(&peer, false);
        assert_true(reply.status == 0 || reply.status == 400);
        free(reply.body);
        peer_close(&peer);
    }
    rig_await_connections(rig, 0);
    assert_int_equal(rig->readies, 0);
    rig_close(rig);
}

// Closed in the handler's time: it is told, and its answer is dropped.
static void who_is_gone_is_noticed(void **state) {
    (void)state;
    enum { COUNT = 40 };
    peer_t peers[COUNT];
    rig_t *rig = rig_open();
    for (int i = 0; i < COUNT; i++) {
        peers[i] = peer_open(rig);
        peer_put(&peers[i], "POST /held HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc");
        if (i % 4 == 3) // with another one behind it, which nobody reads
            peer_put(&peers[i], "GET /echo HTTP/1.1\r\n" HOST "\r\n");
    }
    rig_await(&rig->readies, COUNT);
    for (int i = 0; i < COUNT; i++)
        if (i % 2)
            peer_reset(&peers[i]);
        else
            peer_close(&peers[i]);
    rig_await(&rig->gones, COUNT);
    assert_int_equal(rig->ends, 0); // not before the handler has answered
    rig_release(rig);
    rig_await(&rig->ends, COUNT);
    rig_await_connections(rig, 0);
    assert_int_equal(rig->echoes, 0);
    rig_close(rig);
}

static void reset_at_any_point(void **state) {
    (void)state;
    enum { ROUNDS = 300 };
    static const char request[] = "POST /later HTTP/1.1\r\n" HOST
                                  "Content-Length: 5\r\n\r\nabcdeGET /big HTTP/1.1\r\n" HOST "\r\n";
    rig_t *rig = rig_open();
    for (uint32_t i = 0; i < ROUNDS; i++) {
        peer_t peer = peer_open(rig);
        peer_send(&peer, request, philox_below(philox(2, i, 0, 0, 0).v[0], sizeof request));
        if (i % 3 == 0)
            clock_sleep_ms(i % 30);
        peer_reset(&peer);
    }
    rig_await_connections(rig, 0);
    peer_t peer = peer_open(rig);
    peer_put(&peer, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
    peer_expect(&peer, 200, "GET /echo \"\"");
    peer_close(&peer);
    rig_close(rig);
}

// Refused at its head or while its body comes: the client can send all of it, and then read why.
static void refused_clients_can_read_why(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 1000, 300000, 1 << 20, (1 << 20) + 1, 16 << 20};
    char *body = mem_zero(1, 16 << 20), head[256];
    rig_t *rig = rig_open();
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i / 2];
        bool full = i % 2 && size;
        peer_t peer = peer_open(rig);
        snprintf(head, sizeof head, "POST %s HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n",
                 full ? "/full" : "/refused", size);
        peer_put(&peer, head);
        if (!peer_send(&peer, body, size))
            fail_msg("case %zu: the connection is gone before the answer is read", i);
        peer_expect(&peer, full ? 503 : 403, full ? "full" : "refused");
        if (size > 0 && size <= 1 << 20) { // and go on
            peer_put(&peer, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
            peer_expect(&peer, 200, "GET /echo \"\"");
        } else {
            peer_half_close(&peer);
            peer_expect_end(&peer);
        }
        peer_close(&peer);
    }
    for (int i = 0; i < 2; i++) { // without end
        peer_t peer = peer_open(rig);
        snprintf(head, sizeof head,
                 "POST %s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
                 i ? "/full" : "/refused");
        peer_put(&peer, head);
        for (int k = 0; k < 64; k++) {
            peer_put(&peer, "10000\r\n");
            if (!peer_send(&peer, body, 65536) || !peer_send(&peer, "\r\n", 2))
                fail_msg("the connection is gone before the answer is read");
        }
        peer_expect(&peer, i ? 503 : 403, i ? "full" : "refused");
        peer_half_close(&peer);
        peer_expect_end(&peer);
        peer_close(&peer);
    }
    rig_await_connections(rig, 0);
    free(body);
    rig_close(rig);
}

static void answers_wait_for_slow_readers(void **state) {
    (void)state;
    enum { COUNT = 10 };
    peer_t peers[COUNT];
    rig_t *rig = rig_open();
    for (int i = 0; i < COUNT; i++) {
        peers[i] = peer_open(rig);
        peer_put(&peers[i], "GET /big HTTP/1.1\r\n" HOST "\r\nGET /echo HTTP/1.1\r\n" HOST "\r\n");
    }
    rig_await(&rig->readies, COUNT); // the second ones are not begun
    peer_t peer = peer_open(rig);
    peer_put(&peer, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
    peer_expect(&peer, 200, "GET /echo \"\"");
    peer_close(&peer);
    for (int i = 0; i < COUNT; i++) {
        if (i % 2 == 0) {
            reply_t reply = peer_reply(&peers[i], false);
            assert_int_equal(reply.size, RIG_BIG);
            assert_int_equal(strspn(reply.body, "b"), RIG_BIG);
            free(reply.body);
            peer_expect(&peers[i], 200, "GET /echo \"\"");
        }
        peer_close(&peers[i]);
    }
    rig_await_connections(rig, 0);
    rig_close(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_byte_at_a_time),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(half_closed_behind_a_request_gets_its_answer),
        cmocka_unit_test(half_closed_behind_many_requests),
        cmocka_unit_test(half_closed_within_a_request_is_closed),
        cmocka_unit_test(who_is_gone_is_noticed),
        cmocka_unit_test(reset_at_any_point),
        cmocka_unit_test(refused_clients_can_read_why),
        cmocka_unit_test(answers_wait_for_slow_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
