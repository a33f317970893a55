// Between the parts of the module.
#ifndef INKLING_BUS_IMPL_H
#define INKLING_BUS_IMPL_H

#include "bus/loop.h"

#include <stdbool.h>

typedef struct _zsock_t zsock_t;

// CZMQ's own signal handling would end our run loops: services install theirs.
void bus_quiet_czmq(void);

// --- loop.c
// Watches a ZeroMQ socket (void * of libzmq) for messages; fn(arg) once a round while there may be
// any. Whatever is done with the socket sets *used, but for receiving that found nothing, which may
// clear it: only then the socket's descriptor tells of the next message.
void bus_loop_socket(bus_loop_t *loop, void *zmq_socket, bool *used, bus_fn fn, void *arg);
void bus_loop_forget(bus_loop_t *loop, void *zmq_socket);

// --- bus.c
typedef struct bus_socket bus_socket_t;
void *bus_raw_to_send(bus_socket_t *socket); // libzmq's

// --- keys.c
bool keys_serve(void);         // this process has the stack's keys
const char *keys_client(void); // name of the client whose key it has, or NULL
// Options for the binds that follow: CURVE for tcp, where there are keys.
void keys_bind(zsock_t *zsock, bool tcp);
// Options for connects, when keys_client().
void keys_open(zsock_t *zsock);

// --- trouble.c
// Watches the handshakes of a socket and explains those that fail: with a loop in the log, else to
// trouble_read().
typedef struct trouble trouble_t;
trouble_t *trouble_new(bus_loop_t *loop, void *zmq_socket, const char *endpoint, bool serving);
// Before the socket is closed.
void trouble_destroy(trouble_t **trouble);
void *trouble_socket(trouble_t *trouble); // readable when there is something to read
// ERR_DENIED: the last handshake failed, and trying again will not help.
err_code_t trouble_read(trouble_t *trouble, err_t *err);
unsigned trouble_breaks(const trouble_t *trouble); // connections that have ended so far
bool trouble_up(const trouble_t *trouble);         // there is one

#endif
