// Between the loop and its sockets.
#ifndef INKLING_BUS_IMPL_H
#define INKLING_BUS_IMPL_H

#include "bus/loop.h"

// Watches a ZeroMQ socket (void * of libzmq) for messages; fn(arg) once a round while there are
// any.
void bus_loop_socket(bus_loop_t *loop, void *zmq_socket, bus_fn fn, void *arg);
void bus_loop_forget(bus_loop_t *loop, void *zmq_socket);

#endif
