// Requests over HTTP/1.1: connections that are kept, one request at a time on each. A connection
// that is lost is made anew.
#include "address_impl.h"
#include "base/clock.h"
#include "load/load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS            64
#define READ_LEAST        16384
#define RETRY_MS          50 // between attempts to connect
#define CONNECT_MS        5000
#define SPARE_DESCRIPTORS 64

typedef enum { CONN_CLOSED, CONN_CONNECTING, CONN_IDLE, CONN_BUSY } conn_state_t;

typedef struct {
    int fd;
    conn_state_t state;
    bool queued, used, writes; // in the ring of idle ones; had an answer; waits for room to write
    uint32_t request;
    uint64_t ticket;
    size_t sent;
    buf_t in;
    reply_t reply;
    bool headed;      // reply is filled
    int64_t since_ms; // of the attempt to connect, or of the loss
} conn_t;

typedef struct {
    load_wire_t base;
    load_t *load;
    const proto_bytes_t *requests;
    address_t address;
    conn_t *conns;
    uint32_t *idle; // a ring
    size_t count, idle_first, idle_count;
    int epoll, tick;
} wire_http_t;

// --- Connections

static void watch(wire_http_t *wire, conn_t *conn, int how) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (conn->writes ? EPOLLOUT : 0),
                                .data.ptr = conn};
    epoll_ctl(wire->epoll, how, conn->fd, &event);
}

static void set_writes(wire_http_t *wire, conn_t *conn, bool writes) {
    if (conn->writes == writes)
        return;
    conn->writes = writes;
    watch(wire, conn, EPOLL_CTL_MOD);
}

static void shut(conn_t *conn) {
    if (conn->fd >= 0)
        close(conn->fd); // epoll forgets it
    conn->fd = -1;
    conn->state = CONN_CLOSED;
    conn->since_ms = clock_mono_ms();
}

static void become_idle(wire_http_t *wire, conn_t *conn) {
    conn->state = CONN_IDLE;
    if (conn->queued)
        return;
    conn->queued = true;
    wire->idle[(wire->idle_first + wire->idle_count++) % wire->count] =
        (uint32_t)(conn - wire->conns);
}

static void no_connection(wire_http_t *wire, conn_t *conn, int number) {
    char text[128];
    snprintf(text, sizeof text, "%s", strerror(number));
    shut(conn);
    load_trouble(wire->load, LOAD_NO_CONNECT, text);
}

static void begin_connect(wire_http_t *wire, conn_t *conn) {
    int one = 1;
    conn->in.size = 0;
    conn->headed = conn->used = false;
    conn->fd = socket(wire->address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    conn->since_ms = clock_mono_ms();
    if (conn->fd < 0) {
        no_connection(wire, conn, errno);
        return;
    }
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(conn->fd, (struct sockaddr *)&wire->address.bytes, wire->address.size) != 0 &&
        errno != EINPROGRESS) {
        no_connection(wire, conn, errno);
        return;
    }
    conn->state = CONN_CONNECTING;
    conn->writes = true;
    watch(wire, conn, EPOLL_CTL_ADD);
}

static void end_connect(wire_http_t *wire, conn_t *conn) {
    int number = 0;
    socklen_t size = sizeof number;
    if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0)
        number = errno;
    if (number) {
        no_connection(wire, conn, number);
        return;
    }
    set_writes(wire, conn, false);
    become_idle(wire, conn);
    load_room(wire->load);
}

// An idle one that the server closes is nobody's loss.
static void lose(wire_http_t *wire, conn_t *conn, const char *kind, const char *message) {
    bool busy = conn->state == CONN_BUSY;
    shut(conn);
    if (busy)
        load_lost(wire->load, conn->ticket, kind, message);
    load_reconnected(wire->load);
    begin_connect(wire, conn);
}

// --- A request

static void write_on(wire_http_t *wire, conn_t *conn) {
    const proto_bytes_t *bytes = &wire->requests[conn->request];
    while (conn->sent < bytes->size) {
        ssize_t put = send(conn->fd, (const char *)bytes->data + conn->sent,
                           bytes->size - conn->sent, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno != EAGAIN)
            return; // what the other side says, or its end, is read next
        if (put < 0)
            break;
        conn->sent += (size_t)put;
    }
    set_writes(wire, conn, conn->sent < bytes->size);
}

static bool send_request(load_wire_t *self, size_t request, uint64_t ticket) {
    wire_http_t *wire = (wire_http_t *)self;
    while (wire->idle_count > 0) {
        conn_t *conn = &wire->conns[wire->idle[wire->idle_first]];
        wire->idle_first = (wire->idle_first + 1) % wire->count;
        wire->idle_count--;
        conn->queued = false;
        if (conn->state != CONN_IDLE)
            continue;
        conn->state = CONN_BUSY;
        conn->request = (uint32_t)request;
        conn->ticket = ticket;
        conn->sent = 0;
        write_on(wire, conn);
        return true;
    }
    return false;
}

// Its answer would be taken for another's.
static void forget(load_wire_t *self, uint64_t ticket) {
    wire_http_t *wire = (wire_http_t *)self;
    for (size_t i = 0; i < wire->count; i++) {
        conn_t *conn = &wire->conns[i];
        if (conn->state == CONN_BUSY && conn->ticket == ticket) {
            shut(conn);
            load_reconnected(wire->load);
            begin_connect(wire, conn);
            return;
        }
    }
}

// --- An answer

static void take_answer(wire_http_t *wire, conn_t *conn) {
    const reply_t *reply = &conn->reply;
    load_answer_t answer = {.reply = reply,
                            .body = {conn->in.data + reply->head_bytes, reply->body_bytes}};
    bool keeps = reply->keeps && conn->sent == wire->requests[conn->request].size;
    load_answered(wire->load, conn->ticket, &answer);
    conn->in.size = 0;
    conn->headed = false;
    conn->used = true;
    if (keeps) {
        become_idle(wire, conn);
    } else {
        conn->state = CONN_IDLE; // its request has its answer
        lose(wire, conn, LOAD_LOST, NULL);
    }
}

// False: the connection is closed, or has no more for now.
static bool look(wire_http_t *wire, conn_t *conn) {
    err_t err = {.code = ERR_OK};
    bool whole = conn->headed;
    if (conn->in.size == 0)
        return true;
    if (conn->state == CONN_IDLE) {
        err_set(&err, ERR_PROTOCOL, "%zu bytes that answer no request", conn->in.size);
        load_trouble(wire->load, LOAD_BAD_ANSWER, err.message);
        lose(wire, conn, LOAD_BAD_ANSWER, NULL);
        return false;
    }
    if (!whole && reply_read(conn->in.data, conn->in.size, &conn->reply, &whole, &err) != ERR_OK) {
        lose(wire, conn, LOAD_BAD_ANSWER, err.message);
        return false;
    }
    conn->headed = whole;
    if (!whole)
        return true;
    size_t size = conn->reply.head_bytes + conn->reply.body_bytes;
    if (conn->in.size > size) {
        lose(wire, conn, LOAD_BAD_ANSWER, "more bytes than its Content-Length says");
        return false;
    }
    if (conn->in.size < size)
        return true;
    take_answer(wire, conn);
    return false;
}

static size_t wanted(const conn_t *conn) {
    size_t size = conn->headed ? conn->reply.head_bytes + conn->reply.body_bytes : 0;
    return size > conn->in.size + READ_LEAST ? size - conn->in.size : READ_LEAST;
}

static void read_on(wire_http_t *wire, conn_t *conn) {
    for (;;) {
        size_t room = wanted(conn);
        char *to = buf_reserve(&conn->in, room);
        if (!to) {
            lose(wire, conn, LOAD_BAD_ANSWER, "no memory for it");
            return;
        }
        ssize_t got = recv(conn->fd, to, room, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            lose(wire, conn, LOAD_LOST, got < 0 ? strerror(errno) : "the other side closed it");
            return;
        }
        conn->in.size += (size_t)got;
        if (!look(wire, conn) || (size_t)got < room)
            return;
    }
}

static void on_event(wire_http_t *wire, conn_t *conn, uint32_t events) {
    if (conn->state == CONN_CONNECTING) {
        end_connect(wire, conn);
        return;
    }
    if ((events & EPOLLOUT) && conn->state == CONN_BUSY)
        write_on(wire, conn);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        read_on(wire, conn);
}

static void on_events(void *arg, int ready) {
    wire_http_t *wire = arg;
    struct epoll_event events[EVENTS];
    (void)ready;
    int count = epoll_wait(wire->epoll, events, EVENTS, 0);
    for (int i = 0; i < count; i++) {
        conn_t *conn = events[i].data.ptr;
        if (conn->fd >= 0)
            on_event(wire, conn, events[i].events);
    }
}

// --- Making and ending

static void on_tick(void *arg) {
    wire_http_t *wire = arg;
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < wire->count; i++) {
        conn_t *conn = &wire->conns[i];
        if (conn->state == CONN_CONNECTING && now - conn->since_ms >= CONNECT_MS)
            no_connection(wire, conn, ETIMEDOUT);
        else if (conn->state == CONN_CLOSED && now - conn->since_ms >= RETRY_MS)
            begin_connect(wire, conn);
    }
}

static void destroy(load_wire_t *self) {
    wire_http_t *wire = (wire_http_t *)self;
    bus_loop_watch(load_loop(wire->load), wire->epoll, 0, NULL, NULL);
    bus_loop_timer_cancel(load_loop(wire->load), wire->tick);
    for (size_t i = 0; i < wire->count; i++) {
        shut(&wire->conns[i]);
        buf_release(&wire->conns[i].in);
    }
    close(wire->epoll);
    free(wire->conns);
    free(wire->idle);
    free(wire);
}

static const load_wire_class_t http_class = {send_request, forget, destroy};

// Each connection is a descriptor, and the usual limit of a process is 1024.
static err_code_t allow_descriptors(size_t connections, err_t *err) {
    struct rlimit limit;
    rlim_t wanted = connections + SPARE_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return ERR_OK;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (limit.rlim_cur == wanted && setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return ERR_OK;
    err_set(err, ERR_USAGE, "%zu connections are more than this process may have", connections);
    return err_remedy(err, "raise the limit: ulimit -n %zu; or use fewer connections",
                      (size_t)wanted);
}

err_code_t load_wire_http(load_t *load, const char *url, size_t connections,
                          const proto_bytes_t *requests, load_wire_t **out, err_t *err) {
    ERR_ASSERT(connections > 0 && connections <= LOAD_CONNECTIONS_MAX);
    wire_http_t *wire = mem_zero(1, sizeof *wire);
    *wire = (wire_http_t){.base = {&http_class}, .load = load, .requests = requests};
    wire->epoll = epoll_create1(EPOLL_CLOEXEC);
    err_code_t code = wire->epoll < 0 ? err_set_errno(err, "cannot make an epoll") : ERR_OK;
    if (code == ERR_OK)
        code = allow_descriptors(connections, err);
    if (code == ERR_OK)
        code = address_find(url, &wire->address, err);
    int fd = -1;
    if (code == ERR_OK)
        code = address_connect(&wire->address, url, &fd, err); // is anybody there at all?
    if (fd >= 0)
        close(fd);
    if (code) {
        if (wire->epoll >= 0)
            close(wire->epoll);
        free(wire);
        return code;
    }
    wire->count = connections;
    wire->conns = mem_zero(connections, sizeof *wire->conns);
    wire->idle = mem_zero(connections, sizeof *wire->idle);
    for (size_t i = 0; i < connections; i++) {
        buf_init(&wire->conns[i].in, REPLY_HEAD_MAX + (size_t)REPLY_BODY_MAX + READ_LEAST);
        begin_connect(wire, &wire->conns[i]);
    }
    bus_loop_watch(load_loop(load), wire->epoll, BUS_READ, on_events, wire);
    wire->tick = bus_loop_timer(load_loop(load), RETRY_MS, RETRY_MS, on_tick, wire);
    *out = &wire->base;
    return ERR_OK;
}
