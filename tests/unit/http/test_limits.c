// Time and connections run out, and servers go down.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "rig.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "Host: x\r\n"

// Everything here is too slow for that, except what comes at once.
static const http_limits_t short_limits = {
    .connections_max = 100, .head_ms = 300, .idle_ms = 300, .body_rate = 1 << 20};

static void expect_408(peer_t *peer) {
    reply_t reply = peer_reply(peer, false);
    assert_int_equal(reply.status, 408);
    assert_non_null(strstr(reply.head, "Connection: close"));
    assert_non_null(strstr(reply.body, "in time"));
    free(reply.body);
    peer_expect_end(peer);
    peer_close(peer);
}

static void slow_clients_are_told_and_left(void **state) {
    (void)state;
    enum { MANY = 1 << 20 };
    char *body = mem_zero(1, MANY);
    rig_t *rig = rig_open_limited(&short_limits);
    peer_t silent = peer_open(rig), head = peer_open(rig), slow = peer_open(rig),
           stalled = peer_open(rig), chunked = peer_open(rig);
    peer_put(&head, "GET /echo HTTP/1.1\r\nHo");
    peer_put(&slow, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na");
    // What it has sent quickly does not give it time for the rest.
    peer_put(&stalled, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 100000000\r\n\r\n");
    for (int i = 0; i < 50; i++)
        peer_send(&stalled, body, MANY);
    peer_put(&chunked, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nab");
    expect_408(&silent);
    expect_408(&head);
    expect_408(&slow);
    expect_408(&stalled);
    expect_408(&chunked);
    rig_await_connections(rig, 0);
    assert_int_equal(rig->readies, 0);
    free(body);
    rig_close(rig);
}

static void slow_clients_that_were_refused_read_why(void **state) {
    (void)state;
    static const char request[] = "POST /refused HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na";
    reply_t reply = {.status = 408};
    rig_t *rig = rig_open_limited(&short_limits);
    for (int i = 0; i < 20 && reply.status == 408; i++) { // the head itself may have been too slow
        peer_t peer = peer_open(rig);
        peer_send(&peer, request, sizeof request - 1);
        free(reply.body);
        reply = peer_reply(&peer, false);
        peer_expect_end(&peer);
        peer_close(&peer);
    }
    assert_int_equal(reply.status, 403);
    assert_string_equal(reply.body, "refused");
    free(reply.body);
    rig_close(rig);
}

// Byte by byte, always in time for one more: only the whole head counts.
static void slowloris_is_left(void **state) {
    (void)state;
    rig_t *rig = rig_open_limited(&short_limits);
    peer_t peer = peer_open(rig);
    int64_t end = clock_mono_ms() + RIG_PATIENCE_MS;
    peer_put(&peer, "GET /echo HTTP/1.1\r\nX: ");
    while (peer_send(&peer, "x", 1) && clock_mono_ms() < end)
        clock_sleep_ms(10);
    assert_true(clock_mono_ms() < end);
    peer_close(&peer);
    rig_await_connections(rig, 0);
    rig_close(rig);
}

static void idle_connections_end_without_a_word(void **state) {
    (void)state;
    rig_t *rig = rig_open_limited(&(http_limits_t){
        .connections_max = 10, .head_ms = 10 * RIG_PATIENCE_MS, .idle_ms = 300, .body_rate = 1});
    peer_t peer = peer_open(rig), held = peer_open(rig), big = peer_open(rig);
    peer_put(&held, "GET /held HTTP/1.1\r\n" HOST "\r\n");
    peer_put(&peer, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
    peer_expect(&peer, 200, "GET /echo \"\"");
    peer_put(&big, "GET /big HTTP/1.1\r\n" HOST "\r\n"); // and does not fetch it
    peer_expect_end(&peer);
    peer_close(&peer);
    rig_await_connections(rig, 1);
    peer_close(&big);
    rig_release(rig); // the handler's time is not the client's
    peer_expect(&held, 200, "GET /held \"\"");
    peer_close(&held);
    rig_close(rig);
}

static void connections_beyond_the_limit_are_closed(void **state) {
    (void)state;
    enum { MAX = 10, MORE = 30 };
    peer_t peers[MAX];
    rig_t *rig = rig_open_limited(&(http_limits_t){.connections_max = MAX,
                                                   .head_ms = 10 * RIG_PATIENCE_MS,
                                                   .idle_ms = 10 * RIG_PATIENCE_MS,
                                                   .body_rate = 1});
    for (int i = 0; i < MAX; i++)
        peers[i] = peer_open(rig);
    rig_await_connections(rig, MAX);
    for (int i = 0; i < MORE; i++) {
        peer_t peer = peer_open(rig);
        peer_expect_end(&peer);
        peer_close(&peer);
    }
    for (int i = 0; i < MAX; i++) { // those that were there are served
        peer_put(&peers[i], "GET /echo HTTP/1.1\r\n" HOST "\r\n");
        peer_expect(&peers[i], 200, "GET /echo \"\"");
    }
    peer_close(&peers[0]);
    rig_await_connections(rig, MAX - 1);
    peers[0] = peer_open(rig);
    peer_put(&peers[0], "GET /echo HTTP/1.1\r\n" HOST "\r\n");
    peer_expect(&peers[0], 200, "GET /echo \"\"");
    for (int i = 0; i < MAX; i++)
        peer_close(&peers[i]);
    rig_close(rig);
}

static void draining_ends_connections_behind_their_answers(void **state) {
    (void)state;
    rig_t *rig = rig_open();
    peer_t held = peer_open(rig), idle = peer_open(rig), body = peer_open(rig);
    peer_put(&held, "GET /held HTTP/1.1\r\n" HOST "\r\n");
    peer_put(&body, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na");
    peer_put(&idle, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
    peer_expect(&idle, 200, "GET /echo \"\"");
    rig_await(&rig->heads, 3);
    rig_drain(rig);
    rig_release(rig);
    peer_t *peers[] = {&held, &body, &idle};
    peer_put(&body, "bc");
    peer_put(&idle, "GET /later HTTP/1.1\r\n" HOST "\r\n"); // it may still come
    for (int i = 0; i < 3; i++) {
        reply_t reply = peer_reply(peers[i], false);
        assert_int_equal(reply.status, 200);
        assert_non_null(strcasestr(reply.head, "Connection: close"));
        free(reply.body);
        peer_expect_end(peers[i]);
        peer_close(peers[i]);
    }
    rig_await_connections(rig, 0);
    rig_close(rig);
}

static void nobody_is_let_in_while_draining(void **state) {
    (void)state;
    rig_t *rig = rig_open();
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    peer_t held = peer_open(rig);
    peer_put(&held, "GET /held HTTP/1.1\r\n" HOST "\r\n");
    rig_await(&rig->readies, 1);
    assert_int_equal(getpeername(held.fd, (struct sockaddr *)&address, &size), 0);
    rig_drain(rig);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_not_equal(connect(fd, (struct sockaddr *)&address, size), 0);
    close(fd);
    rig_release(rig);
    peer_expect(&held, 200, "GET /held \"\"");
    peer_close(&held);
    rig_close(rig);
}

// In every state at once: what is answered is sent, what is not whole ends, and nothing is left.
static void destroyed_with_connections(void **state) {
    (void)state;
    enum { KINDS = 7, EACH = 5 };
    static const char *const texts[KINDS] = {
        "",
        "GET /echo HTT",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        "POST /refused HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na",
        "POST /refused HTTP/1.1\r\n" HOST "Content-Length: 10000000\r\n\r\na",
        "GET /held HTTP/1.1\r\n" HOST "\r\n",
    };
    peer_t peers[KINDS * EACH];
    rig_t *rig = rig_open();
    for (int i = 0; i < KINDS * EACH; i++) {
        peers[i] = peer_open(rig);
        peer_put(&peers[i], texts[i % KINDS]);
    }
    rig_await(&rig->heads, EACH * (KINDS - 2));
    rig_await(&rig->readies, EACH);
    rig_close(rig);
    for (int i = 0; i < KINDS * EACH; i++) {
        if (i % KINDS == KINDS - 1)
            peer_expect(&peers[i], 200, "GET /held \"\"");
        else if (i % KINDS == KINDS - 2)
            peer_expect(&peers[i], 403, "refused");
        peer_close(&peers[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_clients_are_told_and_left),
        cmocka_unit_test(slow_clients_that_were_refused_read_why),
        cmocka_unit_test(slowloris_is_left),
        cmocka_unit_test(idle_connections_end_without_a_word),
        cmocka_unit_test(connections_beyond_the_limit_are_closed),
        cmocka_unit_test(draining_ends_connections_behind_their_answers),
        cmocka_unit_test(nobody_is_let_in_while_draining),
        cmocka_unit_test(destroyed_with_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
