// The event loop of a service: ZeroMQ sockets, file descriptors and timers, on one thread.
//
// One round: wait, then due timers, then ready descriptors and sockets (each socket gives up to 256
// messages a round, so none starves the others), then the deferred calls. Work that gains from
// batches is gathered in the handlers and flushed by a deferred call. Callbacks may add and remove
// anything.
#ifndef INKLING_BUS_LOOP_H
#define INKLING_BUS_LOOP_H

#include "base/err.h"

#include <stdint.h>

typedef struct bus_loop bus_loop_t;

enum { BUS_READ = 1, BUS_WRITE = 2 };

typedef void (*bus_fn)(void *arg);
typedef void (*bus_fd_fn)(void *arg, int events);

bus_loop_t *bus_loop_new(void);
// Everything added must have been removed, except timers.
void bus_loop_destroy(bus_loop_t **loop);

// Runs until bus_loop_stop(), which may be called from a callback.
void bus_loop_run(bus_loop_t *loop);
void bus_loop_stop(bus_loop_t *loop);

// Calls fn after delay_ms, and then every repeat_ms unless that is 0. Returns an id > 0.
int bus_loop_timer(bus_loop_t *loop, int64_t delay_ms, int64_t repeat_ms, bus_fn fn, void *arg);
void bus_loop_timer_cancel(bus_loop_t *loop, int id); // unknown ids are ignored

// Watches fd for events (BUS_READ | BUS_WRITE); the same fd again changes the watch; 0 ends it.
void bus_loop_watch(bus_loop_t *loop, int fd, int events, bus_fd_fn fn, void *arg);

// Calls fn once at the end of this round (or of the next, when called from a deferred call). The
// same pair of fn and arg is kept once.
void bus_loop_defer(bus_loop_t *loop, bus_fn fn, void *arg);
// Forgets that pair: for one whose arg is about to be freed. An unknown pair is ignored.
void bus_loop_undefer(bus_loop_t *loop, bus_fn fn, void *arg);

#endif
