#include "server_impl.h"

#include "base/clock.h"

#include <ctype.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX       32768   // bytes of a connection: head, and what is read at once of a body
#define DISCARD_MAX    1048576 // no more than that of a refused request's body is waited for
#define BODY_START     65536   // bytes that are taken for a body whose length is not told
#define SEND_AT_END_MS 2000

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

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        http_opened(arg, mhd, context);
    else if (*context)
        http_closed(arg, context);
}

static enum MHD_Result may_connect(void *arg, const struct sockaddr *address, socklen_t size) {
    const http_server_t *server = arg;
    (void)address;
    (void)size;
    return server->count < (size_t)server->limits.connections_max ? MHD_YES : MHD_NO;
}

// --- Requests
// -------------------------------------------------------------------------------------

typedef struct {
    int hosts, lengths, encodings;
    bool tokens;  // are all names
    bool chunked; // is every transfer encoding
} framing_t;

// A name is a token (RFC 9110): "Content-Length " is another field here, and perhaps not elsewhere.
static bool is_token(const char *name, size_t size) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)name[i]) && (name[i] == 0 || !strchr(others, name[i])))
            return false;
    return size > 0;
}

static enum MHD_Result see_field(void *arg, enum MHD_ValueKind kind, const char *name,
                                 size_t name_size, const char *value, size_t value_size) {
    framing_t *framing = arg;
    (void)kind;
    (void)value_size; // values have no NUL
    bool encoding = strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0;
    framing->hosts += strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0;
    framing->lengths += strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0;
    framing->encodings += encoding;
    if (!is_token(name, name_size))
        framing->tokens = false;
    if (encoding && (!value || strcasecmp(value, "chunked") != 0))
        framing->chunked = false;
    return MHD_YES;
}

static void answer_text(http_request_t *request, int status, const char *error) {
    char *body = mem_format("{\"error\":\"%s\"}\n", error);
    http_answer(request, status, "application/json", body, strlen(body), NULL);
}

// Where the body ends. If that is not clear, what follows might be taken for another request: why.
static const char *read_length(http_request_t *request) {
    framing_t framing = {.tokens = true, .chunked = true};
    MHD_get_connection_values_n(request->mhd, MHD_HEADER_KIND, see_field, &framing);
    const char *text = http_field(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    char *end = NULL;
    request->length = framing.encodings ? -1 : 0;
    if (!framing.tokens)
        return "a field's name is no token; write Name: value";
    if (!framing.chunked)
        return "Transfer-Encoding is not just chunked; send the body as it is";
    if (framing.lengths + framing.encodings > 1)
        return "more than one Content-Length or Transfer-Encoding; give one of them, once";
    if (framing.lengths == 1) {
        request->length = strtoll(text ? text : "", &end, 10);
        if (!text || *text < '0' || *text > '9' || *end || request->length == INT64_MAX)
            return "Content-Length is no number of bytes; give one";
    }
    if (framing.hosts != 1 && request->knows_interim)
        return "HTTP/1.1 needs the field Host, once";
    return NULL;
}

static http_request_t *request_new(struct MHD_Connection *mhd, http_connection_t *connection,
                                   const char *method, const char *path) {
    http_request_t *request = mem_zero(1, sizeof *request);
    request->mhd = mhd;
    request->server = connection->server;
    request->connection = connection;
    request->method = method;
    request->path = path;
    connection->request = request;
    connection->kept = connection->unread = true;
    return request;
}

static enum MHD_Result send_response(http_request_t *request) {
    http_enter(request->connection, HTTP_SEND);
    enum MHD_Result result =
        MHD_queue_response(request->mhd, (unsigned)request->status, request->response);
    MHD_destroy_response(request->response);
    request->response = NULL;
    return result;
}

static enum MHD_Result take_head(http_server_t *server, http_request_t *request) {
    const char *unclear = read_length(request);
    if (unclear)
        answer_text(request, 400, unclear);
    else if (server->ending)
        answer_text(request, 503, "the server is going down; send it again in a moment");
    else
        request->passed = server->ops->head(server->arg, request);
    http_enter(request->connection, HTTP_BODY);
    // On a connection that can go on the rest of a refused request is read and dropped.
    bool goes_on = !unclear && request->length >= 0 && request->length <= DISCARD_MAX;
    if (request->passed || goes_on)
        return MHD_YES;
    return send_response(request);
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

// False: too much has come behind a refusal.
static bool take_body(http_server_t *server, http_request_t *request, const char *data,
                      size_t size) {
    if (!request->response && grow(server, request, size)) {
        memcpy(request->body + request->size, data, size);
        request->size += size;
        http_progress(request->connection, size);
        return true;
    }
    http_forget_body(request); // its memory is of use to others
    request->discarded += size;
    if (request->discarded <= DISCARD_MAX)
        return true;
    http_answer_refused(request);
    return false;
}

static enum MHD_Result hand_over(http_server_t *server, http_request_t *request) {
    request->handed = true;
    request->connection->unread = false;
    http_enter(request->connection, HTTP_WORK);
    if (server->ending)
        answer_text(request, 503, "the server is going down; send it again in a moment");
    else
        server->ops->ready(server->arg, request);
    if (request->response)
        return send_response(request);
    request->waiting = true;
    if (request->connection->half_closed)
        http_ask_if_there(request->connection);
    return MHD_YES;
}

// Only in a round behind the one that has read the request: in that one the library would still
// remember to read when it resumes, and take a half-closed connection for one that is gone.
static enum MHD_Result let_wait(http_request_t *request) {
    request->suspended = true;
    MHD_suspend_connection(request->mhd);
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *path,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **context) {
    http_server_t *server = arg;
    http_request_t *request = *context;
    if (!request) {
        http_connection_t *connection =
            MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        *context = request = request_new(mhd, connection, method, path);
        request->knows_interim = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
        return take_head(server, request);
    }
    if (*size) {
        bool goes_on = take_body(server, request, data, *size);
        *size = 0;
        return goes_on ? MHD_YES : MHD_NO;
    }
    if (request->response)
        return send_response(request);
    return request->handed ? let_wait(request) : hand_over(server, request);
}

static void end_request(http_request_t *request) {
    const http_server_t *server = request->server;
    if (request->passed)
        server->ops->end(server->arg, request);
    if (request->response)
        MHD_destroy_response(request->response);
    free(request->body);
    free(request);
}

static void end_left(void *arg) {
    http_request_t *request = arg, **at = &request->server->left;
    while (*at != request)
        at = &(*at)->next;
    *at = request->next;
    end_request(request);
}

// The connection goes while the handler has its request, which waits for the handler's answer.
static void leave(http_request_t *request) {
    request->connection = NULL;
    request->mhd = NULL;
    request->next = request->server->left;
    request->server->left = request;
    http_lost(request);
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode how) {
    http_request_t *request = *context;
    (void)arg;
    (void)mhd;
    (void)how;
    if (!request)
        return;
    *context = NULL;
    request->connection->request = NULL;
    http_enter(request->connection, HTTP_HEAD);
    if (request->connection->half_closed)
        http_nudge(request->connection);
    if (request->waiting)
        leave(request);
    else
        end_request(request);
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

// A field on a continuation line is lost by the library. Where it said how long the body is, what
// follows a request that should have one and seems to have none may be that body.
static bool is_last(const http_request_t *request) {
    return request->server->draining ||
           (request->length == 0 && strcmp(request->method, MHD_HTTP_METHOD_GET) != 0 &&
            strcmp(request->method, MHD_HTTP_METHOD_HEAD) != 0);
}

void http_answer(http_request_t *request, int status, const char *type, char *body, size_t size,
                 const char *const *fields) {
    http_server_t *server = request->server;
    ERR_ASSERT(!request->response && (request->connection || request->waiting));
    if (!request->connection) {
        request->waiting = false;
        free(body);
        bus_loop_defer(server->loop, end_left, request);
        return;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback(size, body, free);
    ERR_ASSERT(response != NULL);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    for (; fields && *fields; fields++)
        add_field(response, *fields);
    if (is_last(request))
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    request->response = response;
    request->status = status;
    request->text = body;
    request->text_size = size;
    if (!request->waiting)
        return;
    request->waiting = false;
    if (request->suspended)
        MHD_resume_connection(request->mhd);
    bus_loop_defer(server->loop, run, server);
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
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 0,
        MHD_OPTION_END);
    if (!server->daemon) {
        server->listener = -1; // closed
        return err_set_errno(err, "cannot start an HTTP server on %s", server->url);
    }
    server->mhd_fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    bus_loop_watch(server->loop, server->mhd_fd, BUS_READ, on_readable, server);
    bus_loop_watch(server->loop, server->watch_fd, BUS_READ, http_on_watch, server);
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
    for (const http_connection_t *c = server->connections; c; c = c->next)
        if (c->request && (c->phase == HTTP_SEND || c->request->response))
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
        bus_loop_watch(server->loop, server->watch_fd, 0, http_on_watch, server);
        http_server_drain(server);
        server->ending = true;
        send_the_rest(server);
        MHD_stop_daemon(server->daemon);
        while (server->connections) // those that linger
            http_end_linger(server->connections);
        bus_loop_undefer(server->loop, run, server);
        for (http_request_t *request; (request = server->left) != NULL;) {
            bus_loop_undefer(server->loop, end_left, request);
            server->left = request->next;
            end_request(request);
        }
    } else if (server->listener >= 0) {
        close(server->listener);
    }
    if (server->watch_fd >= 0)
        close(server->watch_fd);
    free(server);
    *self = NULL;
}
