// What a stranger may send to the HTTP server: it outlives it, tells the handler of whole requests
// only, ends each that it began, and leaves the connection when the stranger has ended it.
//
//   0  bytes of a piece (0: all at once)    1 …  the bytes
#include "http/http.h"
#include "base/log.h"
#include "fuzz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define INPUT_MAX   65536 // what a connection takes without being read
#define PIECES_MAX  20

static struct {
    bus_loop_t *loop;
    http_server_t *server;
    struct sockaddr_in address;
    http_request_t *held;
    int passed, ended;
    bool gone; // nobody waits for the one held
    bool over; // the server has left the connection
} rig;

static void answer(http_request_t *request) {
    size_t size;
    const char *body = http_body(request, &size);
    ERR_ASSERT(http_length(request) < 0 || (size_t)http_length(request) == size);
    ERR_ASSERT(strlen(http_path(request)) + strlen(http_method(request)) > 0);
    char *copy = mem_alloc(size + 1);
    memcpy(copy, body, size);
    const char *query = http_query(request, "a");
    char *field = mem_format("X-Query: %zu", query ? strlen(query) : 0);
    http_answer(request, 200, "text/plain", copy, size, (const char *const[]){field, NULL});
    free(field);
}

static bool on_head(void *arg, http_request_t *request) {
    (void)arg;
    if (http_path(request)[1] == 'r') {
        http_answer(request, 403, "text/plain", mem_dup("no"), 2, NULL);
        return false;
    }
    rig.passed++;
    return true;
}

static bool on_room(void *arg, http_request_t *request, size_t more) {
    (void)arg;
    if (http_path(request)[1] != 'f' && more <= INPUT_MAX)
        return true;
    http_answer(request, 413, "text/plain", mem_dup("no"), 2, NULL);
    return false;
}

static void on_later(void *arg) {
    (void)arg;
    http_request_t *request = rig.held;
    rig.held = NULL;
    if (rig.gone)
        http_answer(request, 200, "text/plain", mem_dup(""), 0, NULL);
    else
        answer(request);
}

static void on_ready(void *arg, http_request_t *request) {
    (void)arg;
    ERR_ASSERT(!rig.held);
    if (http_path(request)[1] != 'l') {
        answer(request);
        return;
    }
    rig.held = request;
    rig.gone = false;
    bus_loop_timer(rig.loop, 0, 0, on_later, NULL);
}

static void on_gone(void *arg, http_request_t *request) {
    (void)arg;
    ERR_ASSERT(request == rig.held && !rig.gone);
    rig.gone = true;
}

static void on_end(void *arg, http_request_t *request) {
    (void)arg;
    ERR_ASSERT(request != rig.held);
    rig.ended++;
}

static const http_ops_t ops = {
    .head = on_head, .room = on_room, .ready = on_ready, .gone = on_gone, .end = on_end};

static void on_stop(void *arg) {
    bus_loop_stop(arg);
}

static void on_late(void *arg) {
    (void)arg;
    err_abort(__FILE__, __LINE__, "the server did not leave a connection that had ended");
}

static void on_answer(void *arg, int events) {
    const int *fd = arg;
    char bytes[4096];
    ssize_t got;
    (void)events;
    while ((got = recv(*fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        continue;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    rig.over = true;
    bus_loop_stop(rig.loop);
}

static void send_pieces(int fd, const uint8_t *data, size_t size, size_t piece) {
    int pieces = 0;
    while (size > 0) {
        size_t now = piece && piece < size && ++pieces < PIECES_MAX ? piece : size;
        if (send(fd, data, now, MSG_NOSIGNAL) < 0)
            return; // the server has ended it
        data += now;
        size -= now;
        if (size > 0 && !rig.over) { // the server reads this piece by itself
            bus_loop_timer(rig.loop, 0, 0, on_stop, rig.loop);
            bus_loop_run(rig.loop);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 || size > INPUT_MAX)
        return 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ERR_ASSERT(connect(fd, (struct sockaddr *)&rig.address, sizeof rig.address) == 0);
    rig.over = false;
    bus_loop_watch(rig.loop, fd, BUS_READ, on_answer, &fd);
    send_pieces(fd, data + 1, size - 1, data[0]);
    shutdown(fd, SHUT_WR);
    int late = bus_loop_timer(rig.loop, PATIENCE_MS, 0, on_late, NULL);
    while (!rig.over)
        bus_loop_run(rig.loop);
    bus_loop_watch(rig.loop, fd, 0, on_answer, &fd);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(fd); // and its port is free again
    while (http_server_connections(rig.server) > 0 || rig.passed != rig.ended) {
        bus_loop_timer(rig.loop, 0, 0, on_stop, rig.loop);
        bus_loop_run(rig.loop);
    }
    bus_loop_timer_cancel(rig.loop, late);
    ERR_ASSERT(rig.passed == rig.ended);
    return 0;
}

static void seed(char piece, const char *text) {
    char *input = mem_format("_%s", text);
    input[0] = piece;
    fuzz_seed(input, strlen(text) + 1);
    free(input);
}

void fuzz_seeds(void) {
    const http_limits_t limits = {
        .connections_max = 10, .head_ms = 60000, .idle_ms = 60000, .body_rate = 1};
    err_t err;
    log_setup("fuzz", LOG_ERROR, false);
    rig.loop = bus_loop_new();
    if (http_server_new(rig.loop, "127.0.0.1:0", &limits, &ops, NULL, &rig.server, &err) != ERR_OK)
        err_abort(__FILE__, __LINE__, err.message);
    int port = atoi(strrchr(http_server_url(rig.server), ':') + 1);
    rig.address = (struct sockaddr_in){.sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                       .sin_port = htons((uint16_t)port)};
    seed(0, "GET /e?a=b%20c HTTP/1.1\r\nHost: x\r\n\r\nGET /l HTTP/1.1\r\nHost: x\r\n\r\n");
    seed(7, "POST /l HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /e HTTP/1.0\r\n\r\n");
    seed(20, "POST /e HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n"
             "2\r\nde\r\n0\r\nX: y\r\n\r\nHEAD /e HTTP/1.1\r\nHost: x\r\nX:\r\n folded\r\n\r\n");
    seed(0, "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
            "abcdePOST /full HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na");
    seed(50,
         "POST /full HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
         "GET /e HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: a=b; c=\"d\"\r\n\r\n");
    seed(0, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\nGET http://x/l%00 HTTP/1.1\r\nHost: x\r\n\r\n");
}

void fuzz_end(void) {
    http_server_destroy(&rig.server);
    bus_loop_destroy(&rig.loop);
}
