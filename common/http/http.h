// An HTTP/1.1 server on a service's loop. libmicrohttpd reads and writes the protocol (parsing,
// keep-alive, pipelining, chunked bodies, Expect); this module adds what a public door needs and
// keeps that library's types to itself.
//
//   head   the request line and the fields are there: let the body come, or answer at once
//   room   before memory for more of the body is taken; never more than Content-Length says
//   ready  the body is whole: answer now or later, exactly once
//   gone   nobody waits for the answer any more; it must be given all the same, and is dropped;
//          from now on nothing is known of the request but its user pointer and its body
//   end    the last word about a request that passed head: sent, lost or never whole
//
// All calls are on the loop's thread. One connection has one request at a time, so answers cannot
// be mixed up. A client that half-closes its connection gets its answer; one that has closed it is
// told apart by an interim answer (100 Continue, which every client skips) that the dead
// connection resets.
//
// Slow clients: a connection must bring the head of its (next) request within idle_ms (a new one
// within head_ms), and a body at body_rate bytes a second, of which it may never be more than
// head_ms behind; else it gets 408 and is closed. Answers that are not fetched within idle_ms close
// it as well.
//
// Refused before the handler: heads above 30 KB (431, 414), malformed ones (400), and those that do
// not say clearly where the body ends: more than one length, a length and Transfer-Encoding,
// another encoding than chunked, names that are no tokens (400); more connections than
// connections_max (closed at once). A request that is neither GET nor HEAD and has no body is the
// last on its connection: the library loses fields on continuation lines, which said perhaps that
// there is one. What is not noticed: a length so hidden of a GET or HEAD, and a Transfer-Encoding
// so hidden beside a Content-Length. So a proxy in front must not pass on such lines (RFC
// 9112, 5.2).
//
// Who is refused can read why: up to 1 MiB of what is left of the body is read and dropped, and the
// connection goes on; behind that it is answered at once, and ended when the client has ended it,
// or after head_ms.
#ifndef INKLING_HTTP_HTTP_H
#define INKLING_HTTP_HTTP_H

#include "bus/loop.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct http_server http_server_t;
typedef struct http_request http_request_t;

typedef struct {
    bool (*head)(void *arg, http_request_t *request); // false: answered, the body is thrown away
    // more: bytes that are about to be taken in addition. false: answered.
    bool (*room)(void *arg, http_request_t *request, size_t more);
    void (*ready)(void *arg, http_request_t *request);
    void (*gone)(void *arg, http_request_t *request);
    void (*end)(void *arg, http_request_t *request);
} http_ops_t;

typedef struct {
    int connections_max;
    int64_t head_ms, idle_ms;
    int64_t body_rate; // bytes a second
} http_limits_t;

// address: ADDRESS:PORT with a numeric address, IPv6 in brackets; port 0: a free one. ERR_CONFLICT:
// it is taken. ERR_USAGE: it is no address of this host.
err_code_t http_server_new(bus_loop_t *loop, const char *address, const http_limits_t *limits,
                           const http_ops_t *ops, void *arg, http_server_t **server, err_t *err);
// True if an address of that form can be reached from other hosts. ERR_USAGE: it has another form.
err_code_t http_is_exposed(const char *address, bool *exposed, err_t *err);
const char *http_server_url(const http_server_t *server); // "http://127.0.0.1:8420"
// No new connections; those that are there end with their present request.
void http_server_drain(http_server_t *server);
// Every request has been answered. Sends what is left to send, for two seconds at most.
void http_server_destroy(http_server_t **server);

size_t http_server_connections(const http_server_t *server);

// --- A request
const char *http_method(const http_request_t *request);
const char *http_path(const http_request_t *request); // percent-decoded, without the query
const char *http_field(const http_request_t *request, const char *name); // of the head, or NULL
const char *http_query(const http_request_t *request,
                       const char *name);                           // "" without value, or NULL
int64_t http_length(const http_request_t *request);                 // of the body, −1: not told
const void *http_body(const http_request_t *request, size_t *size); // whole from ready on
// The body is not needed any more: its memory goes now instead of with the request.
void http_forget_body(http_request_t *request);
void **http_user(http_request_t *request); // the handler's own pointer, NULL at first
// Answers. body: malloc'ed, given away; fields: more fields of the head, "Name: value", ended by
// NULL, or NULL.
void http_answer(http_request_t *request, int status, const char *type, char *body, size_t size,
                 const char *const *fields);

// --- Bodies of multipart/form-data
typedef struct {
    char name[256], file[256]; // cut off if they are longer; "": none
    bool has_file;
    const char *data; // in the body
    size_t size;
} http_part_t;

// Calls fn for each part, in order, until it fails; the body is read in place. type: the field
// Content-Type, or NULL. ERR_INVALID: it tells no boundary, or the body is malformed or cut off.
typedef err_code_t (*http_part_fn)(void *arg, const http_part_t *part, err_t *err);
err_code_t http_parts(const char *type, const char *body, size_t size, http_part_fn fn, void *arg,
                      err_t *err);

#endif
