// Messages over ZeroMQ: [header][body][attachment …], the shapes of proto/messages.def.
//
// A socket belongs to one loop and its thread. A router serves many peers and answers by peer; a
// dealer talks to one endpoint at a time. Frames that break the protocol never reach the handler: a
// router answers them with an error message, a dealer drops them; both log it, rarely. Queues are
// bounded: a send that would block returns ERR_FULL and sends nothing.
#ifndef INKLING_BUS_BUS_H
#define INKLING_BUS_BUS_H

#include "bus/loop.h"
#include "proto/codec.h"

#define BUS_ATTACHMENTS_MAX 4096
#define BUS_FRAME_MAX       (64u << 20) // bytes of one attachment

// Whom a router answers: ZeroMQ's routing id. Copy freely; valid while the peer is connected.
typedef struct {
    unsigned char size;
    unsigned char id[255];
} bus_peer_t;

typedef struct {
    bus_peer_t peer; // routers only
    proto_type_t type;
    uint64_t id;          // correlation id, to be repeated in the answer
    uint64_t deadline_ms; // time left when it was sent, 0: none
    int64_t received_ms;  // clock_mono_ms() of its arrival
    proto_bytes_t body;
    const proto_bytes_t *attachments; // valid during the handler
    size_t attachment_count;
} bus_message_t;

typedef struct bus_socket bus_socket_t;
typedef void (*bus_message_fn)(void *arg, bus_socket_t *socket, const bus_message_t *message);

// Keys (sec/sec.h) of this process, for all of its tcp sockets made afterwards; ipc needs none, the
// folder's mode guards it. A process may have the stack's keys, to serve: then whoever comes over
// tcp has to show a key that the folder lets in, and the loop's thread checks it. And it may have a
// client's key, to connect: then it talks to that key's stack alone. Without keys tcp is plain, and
// bound on loopback only. Call each at most once, bus_keys_end() after the last socket; then it may
// begin anew.
err_code_t bus_keys_serve(bus_loop_t *loop, const char *folder, err_t *err);
err_code_t bus_keys_connect(const char *file, err_t *err);
void bus_keys_end(void);

// endpoint: "ipc://…" or "tcp://ADDRESS:PORT". Binding tcp to anything but loopback without keys is
// ERR_DENIED. An ipc path too long for the system, or a socket that another process serves, is an
// error naming it.
err_code_t bus_router_new(bus_loop_t *loop, const char *endpoint, bus_message_fn fn, void *arg,
                          bus_socket_t **socket, err_t *err);
// The same with queues of at most so many messages for each peer: for a service whose messages are
// large and whose clients may be careless. What comes beyond `in` waits with the peer; an answer
// beyond `out` is lost, so `out` is at least the answers that may be given at once.
typedef struct {
    int in, out;
} bus_queues_t;
err_code_t bus_router_new_bounded(bus_loop_t *loop, const char *endpoint,
                                  const bus_queues_t *queues, bus_message_fn fn, void *arg,
                                  bus_socket_t **socket, err_t *err);
// Serves one more endpoint with the same socket.
err_code_t bus_router_bind(bus_socket_t *router, const char *endpoint, err_t *err);
// Connects in the background and again after a loss; the endpoint need not exist yet. With a loop
// of NULL the socket is read by bus_receive().
err_code_t bus_dealer_new(bus_loop_t *loop, const char *endpoint, bus_message_fn fn, void *arg,
                          bus_socket_t **socket, err_t *err);
// A dealer for much data, to be read by bus_receive(): a peer that is silent for half a minute is
// given up, whatever the kernel hopes for, and every connection that breaks is counted, for what
// was on its way then is lost.
err_code_t bus_dealer_new_bulk(const char *endpoint, bus_socket_t **socket, err_t *err);
unsigned bus_dealer_breaks(const bus_socket_t *socket);
bool bus_dealer_up(const bus_socket_t *socket); // there is a connection, as far as is known
void bus_socket_destroy(bus_socket_t **socket);

// The next of a list "endpoint, endpoint, …", which is cut up: a part of *list without the blanks
// around it, but with those inside; empty ones are skipped. NULL at the end.
char *bus_next_endpoint(char **list);

// Encodes and sends. peer: NULL for dealers. message: struct of that type.
err_code_t bus_send(bus_socket_t *socket, const bus_peer_t *peer, uint64_t id, uint64_t deadline_ms,
                    proto_type_t type, const void *message, const proto_bytes_t *attachments,
                    size_t attachment_count, err_t *err);
// Answers a message of a router; errors are logged.
void bus_reply(bus_socket_t *socket, const bus_message_t *to, proto_type_t type,
               const void *message);
void bus_reply_error(bus_socket_t *socket, const bus_message_t *to, const err_t *err);
// The same for an answer that comes later: peer and id were copied from the message.
void bus_reply_error_to(bus_socket_t *socket, const bus_peer_t *peer, uint64_t id,
                        const err_t *err);

// For sockets without a loop: waits for the next message and calls fn with it; ERR_TIMEOUT if there
// is none, ERR_DENIED when the other side refuses the connection for good, ERR_UNSUPPORTED when it
// speaks another version of the protocol.
err_code_t bus_receive(bus_socket_t *socket, int64_t timeout_ms, bus_message_fn fn, void *arg,
                       err_t *err);

// err_t to the wire and back; texts of the message point into err.
void bus_error_message(const err_t *err, proto_error_t *message);
void bus_error_read(const bus_message_t *message, err_t *err);

#endif
