#include "base/clock.h"
#include "bus_impl.h"

#include <czmq.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int id;
    uint64_t number; // in the order of their making
    int64_t due_ms, repeat_ms;
    bus_fn fn;
    void *arg;
} timer_entry_t;

typedef struct {
    void *socket; // or NULL
    bool *used;   // of the socket
    int fd, events;
    bus_fn socket_fn;
    bus_fd_fn fd_fn;
    void *arg;
} watch_t;

typedef struct {
    bus_fn fn;
    void *arg;
} deferred_t;

struct bus_loop {
    timer_entry_t *timers;
    watch_t *watches;
    struct pollfd *items; // parallel to watches, rebuilt when they change
    deferred_t *deferred, *running;
    size_t timer_count, timer_room, watch_count, watch_room, deferred_count, deferred_room,
        running_count, running_room;
    int next_id;
    uint64_t timers_made;
    bool changed, stopped;
};

bus_loop_t *bus_loop_new(void) {
    return mem_zero(1, sizeof(bus_loop_t));
}

void bus_loop_destroy(bus_loop_t **self) {
    bus_loop_t *loop = *self;
    if (!loop)
        return;
    free(loop->timers);
    free(loop->watches);
    free(loop->items);
    free(loop->deferred);
    free(loop->running);
    free(loop);
    *self = NULL;
}

static void *room_for(void *list, size_t count, size_t *room, size_t size) {
    if (count < *room)
        return list;
    *room = *room ? 2 * *room : 8;
    return mem_grow(list, *room * size);
}

int bus_loop_timer(bus_loop_t *loop, int64_t delay_ms, int64_t repeat_ms, bus_fn fn, void *arg) {
    loop->timers =
        room_for(loop->timers, loop->timer_count, &loop->timer_room, sizeof *loop->timers);
    loop->next_id = loop->next_id == INT32_MAX ? 1 : loop->next_id + 1;
    loop->timers[loop->timer_count++] =
        (timer_entry_t){loop->next_id,
                        ++loop->timers_made,
                        clock_mono_ms() + (delay_ms > 0 ? delay_ms : 0),
                        repeat_ms,
                        fn,
                        arg};
    return loop->next_id;
}

void bus_loop_timer_cancel(bus_loop_t *loop, int id) {
    for (size_t i = 0; i < loop->timer_count; i++)
        if (loop->timers[i].id == id) {
            loop->timers[i] = loop->timers[--loop->timer_count];
            return;
        }
}

static void add_watch(bus_loop_t *loop, watch_t watch) {
    loop->watches =
        room_for(loop->watches, loop->watch_count, &loop->watch_room, sizeof *loop->watches);
    loop->watches[loop->watch_count++] = watch;
    loop->changed = true;
}

static void drop_watch(bus_loop_t *loop, size_t index) {
    loop->watches[index] = loop->watches[--loop->watch_count];
    loop->changed = true;
}

void bus_loop_watch(bus_loop_t *loop, int fd, int events, bus_fd_fn fn, void *arg) {
    watch_t watch = {.fd = fd, .events = events, .fd_fn = fn, .arg = arg};
    for (size_t i = 0; i < loop->watch_count; i++) {
        if (loop->watches[i].socket || loop->watches[i].fd != fd)
            continue;
        if (events == 0)
            drop_watch(loop, i);
        else
            loop->watches[i] = watch;
        loop->changed = true;
        return;
    }
    if (events)
        add_watch(loop, watch);
}

void bus_loop_socket(bus_loop_t *loop, void *zmq_socket, bool *used, bus_fn fn, void *arg) {
    watch_t watch = {
        .socket = zmq_socket, .used = used, .events = BUS_READ, .socket_fn = fn, .arg = arg};
    size_t size = sizeof watch.fd;
    ERR_ASSERT(zmq_getsockopt(zmq_socket, ZMQ_FD, &watch.fd, &size) == 0);
    *used = true;
    add_watch(loop, watch);
}

void bus_loop_forget(bus_loop_t *loop, void *zmq_socket) {
    for (size_t i = 0; i < loop->watch_count; i++)
        if (loop->watches[i].socket == zmq_socket) {
            drop_watch(loop, i);
            return;
        }
}

void bus_loop_defer(bus_loop_t *loop, bus_fn fn, void *arg) {
    for (size_t i = 0; i < loop->deferred_count; i++)
        if (loop->deferred[i].fn == fn && loop->deferred[i].arg == arg)
            return;
    loop->deferred =
        room_for(loop->deferred, loop->deferred_count, &loop->deferred_room, sizeof(deferred_t));
    loop->deferred[loop->deferred_count++] = (deferred_t){fn, arg};
}

static void forget(deferred_t *list, size_t count, bus_fn fn, const void *arg) {
    for (size_t i = 0; i < count; i++)
        if (list[i].fn == fn && list[i].arg == arg)
            list[i].fn = NULL;
}

void bus_loop_undefer(bus_loop_t *loop, bus_fn fn, void *arg) {
    forget(loop->deferred, loop->deferred_count, fn, arg);
    forget(loop->running, loop->running_count, fn, arg);
}

static int wait_time(const bus_loop_t *loop) {
    if (loop->deferred_count)
        return 0;
    int64_t now = clock_mono_ms(), wait = 60000;
    for (size_t i = 0; i < loop->timer_count; i++)
        if (loop->timers[i].due_ms - now < wait)
            wait = loop->timers[i].due_ms - now;
    return (int)(wait > 0 ? wait : 0);
}

// Runs what was due when the round began, earliest first; a timer that callbacks add waits for the
// next round.
static void run_timers(bus_loop_t *loop) {
    int64_t now = clock_mono_ms();
    uint64_t newest = loop->timers_made;
    for (;;) {
        timer_entry_t *due = NULL;
        for (size_t i = 0; i < loop->timer_count; i++) {
            timer_entry_t *timer = &loop->timers[i];
            if (timer->due_ms <= now && timer->number <= newest &&
                (!due || timer->due_ms < due->due_ms))
                due = timer;
        }
        if (!due || loop->stopped)
            return;
        bus_fn fn = due->fn;
        void *arg = due->arg;
        if (due->repeat_ms > 0) // keeps the phase, but makes up for no lost ticks
            due->due_ms = due->due_ms + due->repeat_ms > now ? due->due_ms + due->repeat_ms
                                                             : now + due->repeat_ms;
        else
            *due = loop->timers[--loop->timer_count];
        fn(arg);
    }
}

static void rebuild_items(bus_loop_t *loop) {
    loop->items = mem_grow(loop->items, (loop->watch_count + 1) * sizeof *loop->items);
    for (size_t i = 0; i < loop->watch_count; i++) {
        const watch_t *watch = &loop->watches[i];
        loop->items[i] =
            (struct pollfd){.fd = watch->fd,
                            .events = (short)((watch->events & BUS_READ ? POLLIN : 0) |
                                              (watch->events & BUS_WRITE ? POLLOUT : 0))};
    }
    loop->changed = false;
}

// The descriptor of a ZeroMQ socket tells of each change once, and whatever is done with the socket
// may take that: one that was used is asked before the wait. Asking costs system calls, so that one
// that was not is left alone. True if a socket has messages.
static bool ask_used(const bus_loop_t *loop) {
    bool any = false;
    for (size_t i = 0; i < loop->watch_count; i++) {
        const watch_t *watch = &loop->watches[i];
        if (!watch->socket || !*watch->used)
            continue;
        int events = 0;
        size_t size = sizeof events;
        // A signal may end the asking: then it is asked again.
        *watch->used =
            zmq_getsockopt(watch->socket, ZMQ_EVENTS, &events, &size) != 0 || events & ZMQ_POLLIN;
        any |= *watch->used;
    }
    return any;
}

static void wait_for_something(bus_loop_t *loop) {
    int wait_ms = ask_used(loop) ? 0 : wait_time(loop);
    if (poll(loop->items, loop->watch_count, wait_ms) < 0) // a signal came
        for (size_t i = 0; i < loop->watch_count; i++)
            loop->items[i].revents = 0;
}

static bool is_ready(const bus_loop_t *loop, size_t index) {
    const watch_t *watch = &loop->watches[index];
    return loop->items[index].revents || (watch->socket && *watch->used);
}

// A callback may change the watches: then the rest waits for the next round (readiness is
// level-triggered, or a socket is marked as used).
static void run_watches(bus_loop_t *loop) {
    size_t count = loop->watch_count;
    for (size_t i = 0; i < count && !loop->changed && !loop->stopped; i++) {
        short events = loop->items[i].revents;
        watch_t watch = loop->watches[i];
        if (!is_ready(loop, i))
            continue;
        if (watch.socket)
            watch.socket_fn(watch.arg);
        else
            watch.fd_fn(watch.arg,
                        (events & ~POLLOUT ? BUS_READ : 0) | (events & POLLOUT ? BUS_WRITE : 0));
    }
}

static void run_deferred(bus_loop_t *loop) {
    size_t count = loop->deferred_count;
    if (count == 0)
        return;
    deferred_t *list = loop->deferred;
    size_t room = loop->deferred_room;
    loop->deferred = loop->running;
    loop->deferred_room = loop->running_room;
    loop->deferred_count = 0;
    loop->running = list;
    loop->running_room = room;
    loop->running_count = count;
    for (size_t i = 0; i < count; i++)
        if (list[i].fn)
            list[i].fn(list[i].arg);
    loop->running_count = 0;
}

void bus_loop_run(bus_loop_t *loop) {
    loop->stopped = false;
    loop->changed = true;
    while (!loop->stopped) {
        if (loop->changed)
            rebuild_items(loop);
        wait_for_something(loop);
        run_timers(loop);
        if (!loop->changed)
            run_watches(loop);
        run_deferred(loop);
    }
}

void bus_loop_stop(bus_loop_t *loop) {
    loop->stopped = true;
}
