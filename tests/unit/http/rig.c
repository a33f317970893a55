#include "rig.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LATER_MS 1

typedef struct held {
    struct held *next;
    http_request_t *request;
} held_t;

// --- The handler
// ----------------------------------------------------------------------------------

static void answer(http_request_t *request, int status, char *text) {
    const char *const fields[] = {"X-Rig: yes", NULL};
    http_answer(request, status, "application/json", text, strlen(text), fields);
}

static void echo(http_request_t *request) {
    size_t size;
    if (*http_user(request)) { // nothing else is known of it any more
        answer(request, 200, mem_dup("for nobody"));
        return;
    }
    const char *body = http_body(request, &size);
    answer(request, 200,
           mem_format("%s %s \"%.*s\"", http_method(request), http_path(request), (int)size, body));
}

static bool on_head(void *arg, http_request_t *request) {
    rig_t *rig = arg;
    rig->heads++;
    if (strcmp(http_path(request), "/refused") != 0) {
        rig->passed++;
        return true;
    }
    answer(request, 403, mem_dup("refused"));
    return false;
}

static bool on_room(void *arg, http_request_t *request, size_t more) {
    (void)arg;
    size_t size;
    http_body(request, &size);
    ERR_ASSERT(http_length(request) < 0 || (int64_t)(size + more) <= http_length(request));
    if (strcmp(http_path(request), "/full") != 0)
        return true;
    answer(request, 503, mem_dup("full"));
    return false;
}

static void on_later(void *arg) {
    echo(arg);
}

static void hold(rig_t *rig, http_request_t *request) {
    held_t *held = mem_zero(1, sizeof *held);
    held->request = request;
    held_t **last = (held_t **)&rig->held;
    while (*last)
        last = &(*last)->next;
    *last = held;
}

static void on_ready(void *arg, http_request_t *request) {
    rig_t *rig = arg;
    const char *path = http_path(request);
    rig->readies++;
    if (strcmp(path, "/later") == 0) {
        bus_loop_timer(rig->loop, LATER_MS, 0, on_later, request);
    } else if (strcmp(path, "/held") == 0) {
        hold(rig, request);
    } else if (strcmp(path, "/big") == 0) {
        char *body = mem_alloc(RIG_BIG);
        memset(body, 'b', RIG_BIG);
        http_answer(request, 200, "text/plain", body, RIG_BIG, NULL);
    } else {
        rig->echoes += strcmp(path, "/echo") == 0;
        echo(request);
    }
}

static void on_gone(void *arg, http_request_t *request) {
    *http_user(request) = arg;
    ((rig_t *)arg)->gones++;
}

static void on_end(void *arg, http_request_t *request) {
    (void)request;
    ((rig_t *)arg)->ends++;
}

static const http_ops_t ops = {
    .head = on_head, .room = on_room, .ready = on_ready, .gone = on_gone, .end = on_end};

// --- Its thread
// -----------------------------------------------------------------------------------

static void release(rig_t *rig) {
    while (rig->held) {
        held_t *held = rig->held;
        rig->held = held->next;
        echo(held->request);
        free(held);
    }
}

static void on_order(void *arg, int events) {
    rig_t *rig = arg;
    char order;
    (void)events;
    if (read(rig->order[0], &order, 1) != 1)
        return;
    if (order == 'r')
        release(rig);
    else if (order == 'd')
        http_server_drain(rig->server), rig->drained = 1;
    else if (order == 'x')
        bus_loop_stop(rig->loop);
}

static void on_count(void *arg) {
    rig_t *rig = arg;
    rig->connections = http_server_connections(rig->server);
}

static void *serve(void *arg) {
    rig_t *rig = arg;
    bus_loop_run(rig->loop);
    release(rig);
    http_server_destroy(&rig->server);
    bus_loop_watch(rig->loop, rig->order[0], 0, on_order, rig);
    bus_loop_destroy(&rig->loop);
    return NULL;
}

rig_t *rig_open_limited(const http_limits_t *limits) {
    rig_t *rig = mem_zero(1, sizeof *rig);
    err_t err;
    rig->limits = *limits;
    rig->loop = bus_loop_new();
    assert_int_equal(pipe(rig->order), 0);
    if (http_server_new(rig->loop, "127.0.0.1:0", limits, &ops, rig, &rig->server, &err) != ERR_OK)
        fail_msg("%s", err.message);
    snprintf(rig->url, sizeof rig->url, "%s", http_server_url(rig->server));
    bus_loop_watch(rig->loop, rig->order[0], BUS_READ, on_order, rig);
    bus_loop_timer(rig->loop, 10, 10, on_count, rig);
    assert_int_equal(pthread_create(&rig->thread, NULL, serve, rig), 0);
    return rig;
}

rig_t *rig_open(void) {
    return rig_open_limited(&(http_limits_t){.connections_max = 200,
                                             .head_ms = 10 * RIG_PATIENCE_MS,
                                             .idle_ms = 10 * RIG_PATIENCE_MS,
                                             .body_rate = 1});
}

static void order(const rig_t *rig, char what) {
    assert_int_equal(write(rig->order[1], &what, 1), 1);
}

void rig_release(rig_t *rig) {
    order(rig, 'r');
}

void rig_drain(rig_t *rig) {
    order(rig, 'd');
    rig_await(&rig->drained, 1);
}

void rig_close(rig_t *rig) {
    order(rig, 'x');
    pthread_join(rig->thread, NULL);
    close(rig->order[0]);
    close(rig->order[1]);
    assert_int_equal(rig->ends, rig->passed);
    assert_true(rig->readies <= rig->passed && rig->gones <= rig->readies);
    free(rig);
}

void rig_await(const atomic_int *counter, int value) {
    int64_t end = clock_mono_ms() + RIG_PATIENCE_MS;
    while (*counter < value && clock_mono_ms() < end)
        clock_sleep_ms(2);
    assert_int_equal(*counter, value);
}

void rig_await_connections(rig_t *rig, size_t count) {
    int64_t end = clock_mono_ms() + RIG_PATIENCE_MS;
    while (rig->connections != count && clock_mono_ms() < end)
        clock_sleep_ms(2);
    assert_int_equal(rig->connections, count);
}

// --- Clients
// --------------------------------------------------------------------------------------

peer_t peer_open(const rig_t *rig) {
    peer_t peer = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)atoi(strrchr(rig->url, ':') + 1))};
    struct timeval patience = {.tv_sec = RIG_PATIENCE_MS / 1000};
    int yes = 1;
    assert_int_equal(connect(peer.fd, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(peer.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(peer.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return peer;
}

void peer_close(peer_t *peer) {
    close(peer->fd);
    free(peer->bytes);
    *peer = (peer_t){.fd = -1};
}

void peer_reset(peer_t *peer) {
    setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
               sizeof(struct linger));
    peer_close(peer);
}

bool peer_send(peer_t *peer, const void *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        ssize_t sent = send(peer->fd, (const char *)bytes + at, size - at, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        at += (size_t)sent;
    }
    return true;
}

void peer_put(peer_t *peer, const char *text) {
    assert_true(peer_send(peer, text, strlen(text)));
}

void peer_half_close(peer_t *peer) {
    assert_int_equal(shutdown(peer->fd, SHUT_WR), 0);
}

// More bytes. False: there are none.
static bool receive(peer_t *peer) {
    if (peer->over)
        return false;
    if (peer->size + 1 >= peer->room) {
        peer->room = peer->room ? 2 * peer->room : 65536;
        peer->bytes = mem_grow(peer->bytes, peer->room);
    }
    ssize_t got = recv(peer->fd, peer->bytes + peer->size, peer->room - peer->size - 1, 0);
    if (got < 0 && errno == EAGAIN)
        fail_msg("nothing came within %d ms; before: %.*s", RIG_PATIENCE_MS, (int)peer->size,
                 peer->bytes);
    peer->over = got <= 0;
    peer->size += got > 0 ? (size_t)got : 0;
    peer->bytes[peer->size] = 0;
    return !peer->over;
}

static void drop(peer_t *peer, size_t count) {
    peer->size -= count;
    memmove(peer->bytes, peer->bytes + count, peer->size + 1); // with the NUL behind
}

// The size of an answer's head. 0: the connection ended.
static size_t head_size(peer_t *peer) {
    for (;;) {
        const char *end = peer->size ? memmem(peer->bytes, peer->size, "\r\n\r\n", 4) : NULL;
        if (end)
            return (size_t)(end - peer->bytes) + 4;
        if (!receive(peer)) {
            if (peer->size)
                fail_msg("the connection ended in an answer: %.*s", (int)peer->size, peer->bytes);
            return 0;
        }
    }
}

reply_t peer_reply(peer_t *peer, bool head) {
    reply_t reply = {0};
    size_t size;
    for (;; reply.interims++, drop(peer, size)) {
        size = head_size(peer);
        if (size == 0)
            return reply;
        assert_true(size < sizeof reply.head);
        assert_int_equal(sscanf(peer->bytes, "HTTP/1.%*1[01] %d ", &reply.status), 1);
        if (reply.status != 100)
            break;
    }
    memcpy(reply.head, peer->bytes, size);
    drop(peer, size);
    const char *length = strcasestr(reply.head, "\r\ncontent-length:");
    if (!length)
        fail_msg("an answer without Content-Length: %s", reply.head);
    reply.size = head ? 0 : (size_t)strtoull(length + 17, NULL, 10);
    while (peer->size < reply.size)
        if (!receive(peer))
            fail_msg("the connection ended in the body of an answer: %s", reply.head);
    reply.body = mem_alloc(reply.size + 1);
    if (reply.size)
        memcpy(reply.body, peer->bytes, reply.size);
    reply.body[reply.size] = 0;
    if (reply.size)
        drop(peer, reply.size);
    return reply;
}

void peer_expect(peer_t *peer, int status, const char *text) {
    reply_t reply = peer_reply(peer, false);
    if (reply.status != status || (text && strcmp(reply.body, text) != 0))
        fail_msg("%d %s instead of %d %s", reply.status, reply.body ? reply.body : "", status,
                 text ? text : "");
    free(reply.body);
}

const char *peer_rest(peer_t *peer) {
    while (receive(peer))
        continue;
    return peer->bytes ? peer->bytes : "";
}

void peer_expect_end(peer_t *peer) {
    const char *rest = peer_rest(peer);
    if (peer->size)
        fail_msg("more came: %s", rest);
}
