// Connections: how long a client may take, whether it is still there, how it is left.
#include "server_impl.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS        1000
#define EVENTS_AT_ONCE 64

// --- Time
// -----------------------------------------------------------------------------------------

void http_enter(http_connection_t *connection, http_phase_t phase) {
    const http_limits_t *limits = &connection->server->limits;
    bool idle = phase == HTTP_SEND || (phase == HTTP_HEAD && connection->kept);
    connection->phase = phase;
    connection->deadline_us =
        phase == HTTP_WORK ? 0
                           : clock_mono_us() + 1000 * (idle ? limits->idle_ms : limits->head_ms);
}

// size bytes of a body have come. A client cannot get further ahead than the grace: who sends fast
// and then stalls holds memory as long as one who is slow from the start.
void http_progress(http_connection_t *connection, size_t size) {
    const http_limits_t *limits = &connection->server->limits;
    int64_t most = clock_mono_us() + 1000 * limits->head_ms;
    connection->deadline_us += (int64_t)size * 1000000 / limits->body_rate;
    if (connection->deadline_us > most)
        connection->deadline_us = most;
}

// Sends it if the connection takes it at once, and whole. False: the connection is broken.
static bool send_now(int fd, const char *text, size_t size) {
    ssize_t sent = send(fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent == (ssize_t)size || (sent < 0 && errno == EAGAIN);
}

// Answers past the library, which is reading; nothing may follow on this connection.
static void answer_now(const http_connection_t *connection, int status, const char *text,
                       size_t size) {
    char *answer =
        mem_format("HTTP/1.1 %d %s\r\nConnection: close\r\n"
                   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%.*s",
                   status, MHD_get_reason_phrase_for((unsigned)status), size, (int)size, text);
    send_now(connection->fd, answer, strlen(answer));
    free(answer);
}

void http_answer_refused(const http_request_t *request) {
    answer_now(request->connection, request->status, request->text, request->text_size);
}

static void forget(http_connection_t *connection) {
    http_server_t *server = connection->server;
    if (connection->previous)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    if (--server->count == 0)
        bus_loop_timer_cancel(server->loop, server->tick);
    free(connection);
}

static void on_rest(void *arg, int events);

void http_end_linger(http_connection_t *connection) {
    bus_loop_watch(connection->server->loop, connection->fd, 0, on_rest, connection);
    close(connection->fd);
    forget(connection);
}

static void on_rest(void *arg, int events) {
    http_connection_t *connection = arg;
    char bytes[16384];
    (void)events;
    ssize_t got = recv(connection->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        http_end_linger(connection);
}

// Does, or may, something come that nobody reads?
static bool is_unread(const http_connection_t *connection) {
    char byte;
    ssize_t got = recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got > 0 || (got < 0 && errno == EAGAIN && connection->unread);
}

// The library is about to close its descriptor. False: there is none for another one.
static bool linger(http_connection_t *connection) {
    int fd = fcntl(connection->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return false;
    connection->fd = fd;
    http_enter(connection, HTTP_LINGER);
    bus_loop_watch(connection->server->loop, fd, BUS_READ, on_rest, connection);
    return true;
}

static void time_out(http_connection_t *connection) {
    static const char body[] = "{\"error\":\"the request did not come in time\"}\n";
    if (connection->phase == HTTP_LINGER) {
        http_end_linger(connection);
        return;
    }
    // Nothing is being sent on this connection, so these bytes cannot get into an answer.
    if (connection->phase == HTTP_BODY && connection->request->response)
        http_answer_refused(connection->request);
    else if (connection->phase == HTTP_BODY ||
             (connection->phase == HTTP_HEAD && !connection->kept))
        answer_now(connection, MHD_HTTP_REQUEST_TIMEOUT, body, sizeof body - 1);
    shutdown(connection->fd, SHUT_RDWR); // which the library notices
    connection->deadline_us = 0;
}

static void on_tick(void *arg) {
    http_server_t *server = arg;
    int64_t now = clock_mono_us();
    for (http_connection_t *c = server->connections, *next; c; c = next) {
        next = c->next;
        if (c->deadline_us && now >= c->deadline_us)
            time_out(c);
        else if (c->half_closed && (c->phase == HTTP_HEAD || c->phase == HTTP_BODY))
            http_nudge(c); // the one before may have come before the library read
    }
}

void http_opened(http_server_t *server, struct MHD_Connection *mhd, void **context) {
    http_connection_t *connection = mem_zero(1, sizeof *connection);
    connection->server = server;
    connection->unread = true;
    connection->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    connection->next = server->connections;
    if (server->connections)
        server->connections->previous = connection;
    server->connections = connection;
    if (server->count++ == 0)
        server->tick = bus_loop_timer(server->loop, TICK_MS, TICK_MS, on_tick, server);
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(server->watch_fd, EPOLL_CTL_ADD, connection->fd, &event) != 0)
        log_debug("a connection cannot be watched"); // its end is noticed when it is written to
    http_enter(connection, HTTP_HEAD);
    *context = connection;
}

void http_closed(http_server_t *server, void **context) {
    http_connection_t *connection = *context;
    *context = NULL;
    epoll_ctl(server->watch_fd, EPOLL_CTL_DEL, connection->fd, NULL);
    if (server->ending || !is_unread(connection) || !linger(connection))
        forget(connection);
}

// --- Is anybody still waiting?
// --------------------------------------------------------------------

void http_lost(http_request_t *request) {
    if (request->gone || !request->waiting)
        return;
    request->gone = true;
    request->server->ops->gone(request->server->arg, request);
}

// The other side sends no more. Has it closed the connection, or does it wait for the answer?
void http_ask_if_there(const http_connection_t *connection) {
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    http_request_t *request = connection->request;
    if (!request || !request->waiting || !request->knows_interim)
        return;
    if (send_now(connection->fd, interim, sizeof interim - 1))
        return;
    shutdown(connection->fd, SHUT_RDWR); // a piece of it may be sent: nothing may follow
    http_lost(request);
}

// The library has read what there was, perhaps without the end behind it, and waits for a change:
// this is one. What has come stays readable.
void http_nudge(const http_connection_t *connection) {
    shutdown(connection->fd, SHUT_RD);
}

static void on_half_close(http_connection_t *connection) {
    if (connection->half_closed)
        return; // by a nudge
    connection->half_closed = true;
    if (connection->request && connection->request->waiting)
        http_ask_if_there(connection);
    else
        http_nudge(connection);
}

void http_on_watch(void *arg, int readiness) {
    http_server_t *server = arg;
    struct epoll_event events[EVENTS_AT_ONCE];
    (void)readiness;
    int count = epoll_wait(server->watch_fd, events, EVENTS_AT_ONCE, 0);
    for (int i = 0; i < count; i++) {
        http_connection_t *connection = events[i].data.ptr;
        if (!(events[i].events & (EPOLLERR | EPOLLHUP)))
            on_half_close(connection);
        else if (connection->request)
            http_lost(connection->request);
    }
}
