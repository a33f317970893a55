#include "server_impl.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX       32768   // bytes of a connection: head, and what is read at once of a body
#define DISCARD_MAX    1048576 // a longer body of a refused request is not waited for
#define BODY_START     65536   // bytes that are taken for a body whose length is not told
#define PARTS_BUFFER   4096
#define TICK_MS        1000
#define SEND_AT_END_MS 2000
#define EVENTS_AT_ONCE 64

typedef enum { HEAD, BODY, WORK, SEND } phase_t;

typedef struct connection {
    struct connection *next, *previous;
    http_server_t *server;
    int fd;
    phase_t phase;
    int64_t deadline_ms; // 0: the handler's turn
    bool kept;           // it has had a request
    bool half_closed;    // nothing more will come from there
    http_request_t *request;
} connection_t;

struct http_request {
    connection_t *connection;
    struct MHD_Connection *mhd;
    struct MHD_Response *response; // to be sent
    int status;
    const char *path, *method;
    char *body;
    size_t size, room;
    int64_t length, begun_ms; // of the body; −1: not told
    bool passed, handed, waiting, gone;
    bool knows_interim; // HTTP/1.1
    void *user;
};

struct http_server {
    bus_loop_t *loop;
    http_limits_t limits;
    const http_ops_t *ops;
    void *arg;
    struct MHD_Daemon *daemon;
    int listener, mhd_fd, watch_fd;
    char url[HTTP_URL_SIZE];
    connection_t *connections;
    size_t count;
    int tick;
    bool draining;
};

// --- Rounds of the library
// ------------------------------------------------------------------------

static void run(void *arg) {
    http_server_t *server = arg;
    MHD_UNSIGNED_LONG_LONG wait_ms;
    MHD_run(server->daemon);
    if (MHD_get_timeout(server->daemon, &wait_ms) == MHD_YES && wait_ms == 0)
        bus_loop_defer(server->loop, run, server);
}

static void on_readable(void *arg, int events) {
    (void)events;
    run(arg);
}

// --- Connections
// ----------------------------------------------------------------------------------

static void enter(connection_t *connection, phase_t phase) {
    const http_limits_t *limits = &connection->server->limits;
    int64_t now = clock_mono_ms();
    connection->phase = phase;
    connection->deadline_ms = phase == WORK                       ? 0
                              : phase == SEND                     ? now + limits->idle_ms
                              : phase == HEAD && connection->kept ? now + limits->idle_ms
                                                                  : now + limits->head_ms;
}

// Sends it if the connection takes it at once. False: the connection is broken.
__attribute__((format(printf, 2, 3))) static bool send_now(int fd, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ERR_ASSERT(size > 0 && size < (int)sizeof text);
    return send(fd, text, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno == EAGAIN;
}

static void time_out(connection_t *connection) {
    static const char body[] = "{\"error\":\"the request did not come in time\"}\n";
    // Nothing is being sent on this connection, so these bytes cannot get into an answer.
    if (connection->phase == BODY || (connection->phase == HEAD && !connection->kept))
        send_now(connection->fd,
                 "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
                 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                 sizeof body - 1, body);
    shutdown(connection->fd, SHUT_RDWR); // which the library notices
    connection->deadline_ms = 0;
}

static void on_tick(void *arg) {
    http_server_t *server = arg;
    int64_t now = clock_mono_ms();
    for (connection_t *c = server->connections; c; c = c->next)
        if (c->deadline_ms && now >= c->deadline_ms)
            time_out(c);
}

static void opened(http_server_t *server, struct MHD_Connection *mhd, void **context) {
    connection_t *connection = mem_zero(1, sizeof *connection);
    connection->server = server;
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
    enter(connection, HEAD);
    *context = connection;
}

static void closed(http_server_t *server, void **context) {
    connection_t *connection = *context;
    *context = NULL;
    epoll_ctl(server->watch_fd, EPOLL_CTL_DEL, connection->fd, NULL);
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

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        opened(arg, mhd, context);
    else if (*context)
        closed(arg, context);
}

static enum MHD_Result may_connect(void *arg, const struct sockaddr *address, socklen_t size) {
    const http_server_t *server = arg;
    (void)address;
    (void)size;
    return server->count < (size_t)server->limits.connections_max ? MHD_YES : MHD_NO;
}

// --- Is anybody still waiting?
// --------------------------------------------------------------------

static void lost(http_request_t *request) {
    if (request->gone || !request->waiting)
        return;
    request->gone = true;
    const http_server_t *server = request->connection->server;
    server->ops->gone(server->arg, request);
}

// The other side sends no more. Has it closed the connection, or does it wait for the answer?
static void ask_if_there(const connection_t *connection) {
    http_request_t *request = connection->request;
    if (!request || !request->waiting || !request->knows_interim)
        return;
    if (!send_now(connection->fd, "HTTP/1.1 100 Continue\r\n\r\n"))
        lost(request);
}

static void on_watch(void *arg, int readiness) {
    http_server_t *server = arg;
    struct epoll_event events[EVENTS_AT_ONCE];
    (void)readiness;
    int count = epoll_wait(server->watch_fd, events, EVENTS_AT_ONCE, 0);
    for (int i = 0; i < count; i++) {
        connection_t *connection = events[i].data.ptr;
        connection->half_closed = true;
        if (!(events[i].events & (EPOLLERR | EPOLLHUP)))
            ask_if_there(connection);
        else if (connection->request)
            lost(connection->request);
    }
}

// --- Requests
// -------------------------------------------------------------------------------------

static enum MHD_Result count_lengths(void *arg, enum MHD_ValueKind kind, const char *name,
                                     const char *value) {
    int *counts = arg;
    (void)kind;
    (void)value;
    counts[0] += strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0;
    counts[1] += strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0;
    return MHD_YES;
}

static void answer_text(http_request_t *request, int status, const char *error) {
    char *body = mem_format("{\"error\":\"%s\"}\n", error);
    http_answer(request, status, "application/json", body, strlen(body), NULL);
}

// False: where the body ends is not clear, and what follows might be taken for another request.
static bool read_length(http_request_t *request) {
    int counts[2] = {0, 0};
    MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, count_lengths, counts);
    const char *text = http_field(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    request->length = counts[1] ? -1 : 0;
    if (counts[0] > 1 || counts[1] > 1 || (counts[0] && counts[1]))
        return false;
    if (!text)
        return true;
    char *end;
    request->length = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == 0 && request->length < INT64_MAX;
}

static http_request_t *request_new(struct MHD_Connection *mhd, connection_t *connection,
                                   const char *method, const char *path) {
    http_request_t *request = mem_zero(1, sizeof *request);
    request->mhd = mhd;
    request->connection = connection;
    request->method = method;
    request->path = path;
    request->begun_ms = clock_mono_ms();
    connection->request = request;
    connection->kept = true;
    return request;
}

static enum MHD_Result send_response(http_request_t *request) {
    enter(request->connection, SEND);
    enum MHD_Result result =
        MHD_queue_response(request->mhd, (unsigned)request->status, request->response);
    MHD_destroy_response(request->response);
    request->response = NULL;
    return result;
}

static enum MHD_Result take_head(http_server_t *server, http_request_t *request) {
    bool clear = read_length(request);
    if (clear)
        request->passed = server->ops->head(server->arg, request);
    else
        answer_text(request, 400, "Content-Length and Transfer-Encoding: give one of them, once");
    if (request->passed) {
        enter(request->connection, BODY);
        return MHD_YES;
    }
    // A refused one on a connection that can go on: the rest of the request is read and dropped.
    enter(request->connection, BODY);
    bool goes_on = clear && request->length >= 0 && request->length <= DISCARD_MAX;
    return goes_on ? MHD_YES : send_response(request);
}

// Room for size bytes behind those that are there. False: it has been answered.
static bool grow(http_server_t *server, http_request_t *request, size_t size) {
    size_t needed = request->size + size, room = request->room;
    if (needed <= room)
        return true;
    room = room ? 2 * room : BODY_START;
    room = room < needed ? needed : room;
    if (request->length >= 0 && room > (size_t)request->length)
        room = (size_t)request->length > needed ? (size_t)request->length : needed;
    if (!server->ops->room(server->arg, request, room - request->room))
        return false;
    char *body = realloc(request->body, room);
    if (!body) {
        answer_text(request, 503, "no memory for the body");
        return false;
    }
    request->body = body;
    request->room = room;
    return true;
}

static void take_body(http_server_t *server, http_request_t *request, const char *data,
                      size_t size) {
    connection_t *connection = request->connection;
    if (request->passed && !request->response && grow(server, request, size)) {
        memcpy(request->body + request->size, data, size);
        request->size += size;
    } else if (request->body) { // refused: its memory is of use to others
        free(request->body);
        request->body = NULL;
    }
    connection->deadline_ms += (int64_t)size * 1000 / server->limits.body_rate;
}

static enum MHD_Result hand_over(http_server_t *server, http_request_t *request) {
    request->handed = true;
    enter(request->connection, WORK);
    server->ops->ready(server->arg, request);
    if (request->response)
        return send_response(request);
    request->waiting = true;
    MHD_suspend_connection(request->mhd);
    if (request->connection->half_closed)
        ask_if_there(request->connection);
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context) {
    http_server_t *server = arg;
    http_request_t *request = *context;
    if (!request) {
        connection_t *connection =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        *context = request = request_new(mhd, connection, method, path);
        request->knows_interim = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
        return take_head(server, request);
    }
    if (*size) {
        take_body(server, request, data, *size);
        *size = 0;
        return MHD_YES;
    }
    if (request->response)
        return send_response(request);
    return request->handed ? MHD_NO : hand_over(server, request);
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode how) {
    http_server_t *server = arg;
    http_request_t *request = *context;
    (void)mhd;
    (void)how;
    if (!request)
        return;
    *context = NULL;
    request->connection->request = NULL;
    enter(request->connection, HEAD);
    if (request->passed)
        server->ops->end(server->arg, request);
    if (request->response)
        MHD_destroy_response(request->response);
    free(request->body);
    free(request);
}

// --- For handlers
// ---------------------------------------------------------------------------------

const char *http_method(const http_request_t *request) {
    return request->method;
}

const char *http_path(const http_request_t *request) {
    return request->path;
}

const char *http_field(const http_request_t *request, const char *name) {
    return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

const char *http_query(const http_request_t *request, const char *name) {
    const char *value = NULL;
    size_t size;
    if (MHD_lookup_connection_value_n(request->mhd, MHD_GET_ARGUMENT_KIND, name, strlen(name),
                                      &value, &size) != MHD_YES)
        return NULL;
    return value ? value : "";
}

int64_t http_length(const http_request_t *request) {
    return request->length;
}

const void *http_body(const http_request_t *request, size_t *size) {
    *size = request->size;
    return request->body ? request->body : "";
}

void http_forget_body(http_request_t *request) {
    free(request->body);
    request->body = NULL;
    request->size = request->room = 0;
}

void **http_user(http_request_t *request) {
    return &request->user;
}

static void add_field(struct MHD_Response *response, const char *field) {
    const char *colon = strchr(field, ':');
    ERR_ASSERT(colon && colon[1] == ' ');
    char *name = mem_format("%.*s", (int)(colon - field), field);
    ERR_ASSERT(MHD_add_response_header(response, name, colon + 2) == MHD_YES);
    free(name);
}

void http_answer(http_request_t *request, int status, const char *type, char *body, size_t size,
                 const char *const *fields) {
    ERR_ASSERT(!request->response);
    http_server_t *server = request->connection->server;
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback(size, body, free);
    ERR_ASSERT(response != NULL);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    for (; fields && *fields; fields++)
        add_field(response, *fields);
    if (server->draining)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    request->response = response;
    request->status = status;
    if (request->waiting) {
        request->waiting = false;
        MHD_resume_connection(request->mhd);
        bus_loop_defer(server->loop, run, server);
    }
}

// --- Parts of a body
// ------------------------------------------------------------------------------

typedef struct {
    http_part_fn fn;
    void *arg;
    err_t *err;
    err_code_t code;
} parts_t;

static enum MHD_Result on_part(void *arg, enum MHD_ValueKind kind, const char *name,
                               const char *file, const char *type, const char *encoding,
                               const char *data, uint64_t offset, size_t size) {
    parts_t *parts = arg;
    (void)kind;
    (void)type;
    (void)encoding;
    parts->code = parts->fn(parts->arg, name, file, data, (size_t)offset, size, parts->err);
    return parts->code ? MHD_NO : MHD_YES;
}

err_code_t http_parts(http_request_t *request, http_part_fn fn, void *arg, err_t *err) {
    parts_t parts = {.fn = fn, .arg = arg, .err = err};
    struct MHD_PostProcessor *processor =
        MHD_create_post_processor(request->mhd, PARTS_BUFFER, on_part, &parts);
    if (!processor) {
        err_set(err, ERR_INVALID, "the body is no multipart/form-data with a boundary");
        return err_remedy(err, "Content-Type: multipart/form-data; boundary=…");
    }
    bool read = MHD_post_process(processor, request->body, request->size) == MHD_YES;
    bool whole = MHD_destroy_post_processor(processor) == MHD_YES;
    if (parts.code)
        return parts.code;
    if (!read || !whole) {
        err_set(err, ERR_INVALID, "the multipart body is malformed or cut off");
        return err_remedy(err, "each part begins with --boundary, the last ends with --boundary--");
    }
    return ERR_OK;
}

// --- Life
// -----------------------------------------------------------------------------------------

// %00 would end the path early: such a path stays as it was sent, and is found nowhere.
static size_t unescape(void *arg, struct MHD_Connection *mhd, char *text) {
    (void)arg;
    (void)mhd;
    return strstr(text, "%00") ? strlen(text) : MHD_http_unescape(text);
}

static err_code_t start_daemon(http_server_t *server, err_t *err) {
    const unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
    server->daemon = MHD_start_daemon(
        flags, 0, may_connect, server, on_request, server, MHD_OPTION_LISTEN_SOCKET,
        server->listener, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_UNESCAPE_CALLBACK, unescape,
        server, MHD_OPTION_CONNECTION_LIMIT, (unsigned)server->limits.connections_max + 1,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_END);
    if (!server->daemon)
        return err_set_errno(err, "cannot start an HTTP server on %s", server->url);
    server->mhd_fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    bus_loop_watch(server->loop, server->mhd_fd, BUS_READ, on_readable, server);
    bus_loop_watch(server->loop, server->watch_fd, BUS_READ, on_watch, server);
    return ERR_OK;
}

err_code_t http_server_new(bus_loop_t *loop, const char *address, const http_limits_t *limits,
                           const http_ops_t *ops, void *arg, http_server_t **out, err_t *err) {
    http_server_t *server = mem_zero(1, sizeof *server);
    *server = (http_server_t){.loop = loop, .limits = *limits, .ops = ops, .arg = arg};
    server->listener = server->mhd_fd = -1;
    server->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    err_code_t code = server->watch_fd < 0
                          ? err_set_errno(err, "no descriptor for an HTTP server")
                          : http_listen(address, &server->listener, server->url, err);
    if (code == ERR_OK)
        code = start_daemon(server, err);
    if (code)
        http_server_destroy(&server);
    *out = server;
    return code;
}

const char *http_server_url(const http_server_t *server) {
    return server->url;
}

size_t http_server_connections(const http_server_t *server) {
    return server->count;
}

void http_server_drain(http_server_t *server) {
    if (server->draining)
        return;
    server->draining = true;
    MHD_socket listener = MHD_quiesce_daemon(server->daemon);
    if (listener >= 0)
        close(listener);
    server->listener = -1;
}

static bool has_answers(const http_server_t *server) {
    for (const connection_t *c = server->connections; c; c = c->next)
        if (c->request && (c->phase == SEND || c->request->response))
            return true;
    return false;
}

static void send_the_rest(http_server_t *server) {
    int64_t end = clock_mono_ms() + SEND_AT_END_MS;
    MHD_run(server->daemon);
    while (has_answers(server) && clock_mono_ms() < end) {
        struct pollfd item = {.fd = server->mhd_fd, .events = POLLIN};
        poll(&item, 1, 10);
        MHD_run(server->daemon);
    }
}

void http_server_destroy(http_server_t **self) {
    http_server_t *server = *self;
    if (!server)
        return;
    if (server->daemon) {
        bus_loop_watch(server->loop, server->mhd_fd, 0, on_readable, server);
        bus_loop_watch(server->loop, server->watch_fd, 0, on_watch, server);
        http_server_drain(server);
        send_the_rest(server);
        MHD_stop_daemon(server->daemon);
        bus_loop_undefer(server->loop, run, server);
    } else if (server->listener >= 0) {
        close(server->listener);
    }
    if (server->watch_fd >= 0)
        close(server->watch_fd);
    free(server);
    *self = NULL;
}
