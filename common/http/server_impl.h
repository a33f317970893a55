#ifndef INKLING_HTTP_SERVER_IMPL_H
#define INKLING_HTTP_SERVER_IMPL_H

#include "http/http.h"

#include <microhttpd.h>

#define HTTP_URL_SIZE 80

// A socket that listens, non-blocking, and how clients reach it.
err_code_t http_listen(const char *address, int *fd, char url[HTTP_URL_SIZE], err_t *err);

// LINGER: answered and ended on this side; what still comes is thrown away until the client has
// ended as well, else the system would reset the connection, and the answer might be lost.
typedef enum { HTTP_HEAD, HTTP_BODY, HTTP_WORK, HTTP_SEND, HTTP_LINGER } http_phase_t;

typedef struct http_connection {
    struct http_connection *next, *previous;
    http_server_t *server;
    int fd;
    http_phase_t phase;
    int64_t deadline_us; // 0: the handler's turn
    bool kept;           // it has had a request
    bool half_closed;    // nothing more will come from there
    bool unread;         // its last request has not come as a whole
    http_request_t *request;
} http_connection_t;

struct http_request {
    http_server_t *server;
    http_connection_t *connection; // NULL: it has gone, and only the handler still has the request
    http_request_t *next;          // among those
    struct MHD_Connection *mhd;
    struct MHD_Response *response; // to be sent
    int status;
    const char *text; // of the response, which owns it
    size_t text_size;
    const char *path, *method;
    char *body;
    size_t size, room, discarded;
    int64_t length; // of the body; −1: not told
    bool passed, handed, waiting, suspended, gone;
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
    http_connection_t *connections;
    http_request_t *left; // without a connection
    size_t count;
    int tick;
    bool draining, ending;
};

// --- connection.c: how long clients may take, whether they are still there, how they are left
void http_opened(http_server_t *server, struct MHD_Connection *mhd, void **context);
void http_closed(http_server_t *server, void **context);
void http_enter(http_connection_t *connection, http_phase_t phase);
// size bytes of a body have come.
void http_progress(http_connection_t *connection, size_t size);
// Sends the answer of a refused request past the library; nothing may follow on its connection.
void http_answer_refused(const http_request_t *request);
// The other side sends no more. Has it closed the connection, or does it wait for the answer?
void http_ask_if_there(const http_connection_t *connection);
// Has the library see the end of a half-closed connection.
void http_nudge(const http_connection_t *connection);
// Nobody waits for the answer any more.
void http_lost(http_request_t *request);
void http_on_watch(void *server, int readiness); // of watch_fd
void http_end_linger(http_connection_t *connection);

#endif
