#include "bus/bus.h"

#include "base/clock.h"
#include "base/log.h"
#include "bus_impl.h"

#include <czmq.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MESSAGES_PER_ROUND 256
#define TCP_IDLE_S         20 // of a silent connection, then it is probed
#define TCP_PROBE_S        5
#define TCP_PROBES         4
#define TCP_CONNECT_MS     5000 // then anew: TCP itself asks less and less often
#define BULK_BEAT_MS       5000
#define BULK_SILENCE_MS    30000

static const bus_queues_t usual_queues = {20000, 20000};

struct bus_socket {
    zsock_t *zsock;
    void *raw; // libzmq's socket behind zsock
    bool router;
    bool used; // for the loop
    bus_loop_t *loop;
    bus_message_fn fn;
    void *arg;
    proto_arena_t *arena; // for headers
    int64_t complained_ms;
    trouble_t *trouble; // of tcp: why a connection does not come about
    bool destroyed;     // by its own handler: the loop's call ends it
    bool busy;
};

// --- Making and ending
// ----------------------------------------------------------------------------

static void socket_ready(void *arg);

// Before the first socket: of several threads that make theirs at once each would begin czmq, and
// it aborts.
static void begin_czmq(void) {
    zsys_handler_set(NULL);
    zsys_init();
}

void bus_quiet_czmq(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, begin_czmq);
}

static err_code_t socket_new(bus_loop_t *loop, int type, const bus_queues_t *queues,
                             bus_message_fn fn, void *arg, bus_socket_t **out, err_t *err) {
    bus_quiet_czmq();
    bus_socket_t *socket = mem_zero(1, sizeof *socket);
    socket->zsock = zsock_new(type);
    if (!socket->zsock) {
        free(socket);
        return err_set_errno(err, "cannot make a ZeroMQ socket");
    }
    socket->raw = zsock_resolve(socket->zsock);
    socket->router = type == ZMQ_ROUTER;
    socket->loop = loop;
    socket->fn = fn;
    socket->arg = arg;
    socket->arena = proto_arena_new();
    zsock_set_linger(socket->zsock, 1000);
    zsock_set_sndhwm(socket->zsock, queues->out);
    zsock_set_rcvhwm(socket->zsock, queues->in);
    zsock_set_maxmsgsize(socket->zsock, BUS_FRAME_MAX);
    zsock_set_sndtimeo(socket->zsock, 0);
    zsock_set_rcvtimeo(socket->zsock, 0);
    *out = socket;
    return ERR_OK;
}

static bool is_tcp(const char *endpoint) {
    return strncmp(endpoint, "tcp://", 6) == 0;
}

// A host that vanished without a word must not be waited for, nor its connection be kept, for ever.
static void notice_loss(zsock_t *zsock) {
    zsock_set_tcp_keepalive(zsock, 1);
    zsock_set_tcp_keepalive_idle(zsock, TCP_IDLE_S);
    zsock_set_tcp_keepalive_intvl(zsock, TCP_PROBE_S);
    zsock_set_tcp_keepalive_cnt(zsock, TCP_PROBES);
    zsock_set_tcp_maxrt(zsock, 1000 * (TCP_IDLE_S + TCP_PROBE_S * TCP_PROBES));
}

static bool is_loopback(const char *endpoint) {
    return strncmp(endpoint, "tcp://127.", 10) == 0 || strncmp(endpoint, "tcp://[::1]", 11) == 0 ||
           strncmp(endpoint, "tcp://localhost:", 16) == 0;
}

// True when a process answers at that ipc path: ZeroMQ would silently take the path over.
static bool ipc_served(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool served = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        close(fd);
    return served;
}

static err_code_t check_endpoint(const char *endpoint, bool binding, err_t *err) {
    if (strncmp(endpoint, "inproc://", 9) == 0)
        return ERR_OK;
    if (strncmp(endpoint, "ipc://", 6) == 0) {
        size_t limit = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
        if (strlen(endpoint + 6) > limit) {
            err_set(err, ERR_INVALID, "the socket path %s is longer than %zu bytes", endpoint + 6,
                    limit);
            return err_remedy(err, "use a shorter folder for sockets"), ERR_INVALID;
        }
        if (binding && ipc_served(endpoint + 6)) {
            err_set(err, ERR_CONFLICT, "another process already serves %s", endpoint);
            return err_remedy(err, "stop it first, or use another home"), ERR_CONFLICT;
        }
        return ERR_OK;
    }
    if (!is_tcp(endpoint)) {
        err_set(err, ERR_INVALID, "'%s' is no endpoint", endpoint);
        return err_remedy(err, "write ipc:///path/to/socket or tcp://127.0.0.1:PORT"), ERR_INVALID;
    }
    if (binding && !is_loopback(endpoint) && !keys_serve()) {
        err_set(err, ERR_DENIED,
                "refused to bind %s: it can be reached from other hosts, and the stack has no keys "
                "to tell friends from strangers",
                endpoint);
        return err_remedy(err, "`inkling keys init` makes keys; or bind tcp://127.0.0.1:PORT"),
               ERR_DENIED;
    }
    return ERR_OK;
}

static err_code_t bind_now(bus_socket_t *socket, const char *endpoint, err_t *err) {
    bool tcp = is_tcp(endpoint);
    keys_bind(socket->zsock, tcp);
    if (tcp)
        notice_loss(socket->zsock);
    if (tcp && !socket->trouble)
        socket->trouble = trouble_new(socket->loop, socket->raw, endpoint, true);
    if (zsock_bind(socket->zsock, "%s", endpoint) >= 0)
        return ERR_OK;
    err_code_t code = err_set_errno(err, "cannot bind %s", endpoint);
    if (errno == EADDRINUSE)
        err_remedy(err, "another program has that port: choose a free one");
    return code;
}

err_code_t bus_router_new(bus_loop_t *loop, const char *endpoint, bus_message_fn fn, void *arg,
                          bus_socket_t **out, err_t *err) {
    return bus_router_new_bounded(loop, endpoint, &usual_queues, fn, arg, out, err);
}

err_code_t bus_router_new_bounded(bus_loop_t *loop, const char *endpoint,
                                  const bus_queues_t *queues, bus_message_fn fn, void *arg,
                                  bus_socket_t **out, err_t *err) {
    err_code_t code = check_endpoint(endpoint, true, err);
    bus_socket_t *socket = NULL;
    if (code == ERR_OK)
        code = socket_new(loop, ZMQ_ROUTER, queues, fn, arg, &socket, err);
    if (code)
        return code;
    zsock_set_router_mandatory(socket->zsock, 1);
    code = bind_now(socket, endpoint, err);
    if (code) {
        bus_socket_destroy(&socket);
        return code;
    }
    if (loop)
        bus_loop_socket(loop, socket->raw, &socket->used, socket_ready, socket);
    *out = socket;
    return ERR_OK;
}

err_code_t bus_router_bind(bus_socket_t *socket, const char *endpoint, err_t *err) {
    err_code_t code = check_endpoint(endpoint, true, err);
    return code ? code : bind_now(socket, endpoint, err);
}

static err_code_t dealer_new(bus_loop_t *loop, const char *endpoint, bool bulk, bus_message_fn fn,
                             void *arg, bus_socket_t **out, err_t *err) {
    err_code_t code = check_endpoint(endpoint, false, err);
    bus_socket_t *socket = NULL;
    if (code == ERR_OK)
        code = socket_new(loop, ZMQ_DEALER, &usual_queues, fn, arg, &socket, err);
    if (code)
        return code;
    zsock_set_reconnect_ivl(socket->zsock, 50);
    zsock_set_reconnect_ivl_max(socket->zsock, 1000);
    if (bulk) {
        zsock_set_heartbeat_ivl(socket->zsock, BULK_BEAT_MS);
        zsock_set_heartbeat_timeout(socket->zsock, BULK_SILENCE_MS);
    }
    if (is_tcp(endpoint)) {
        notice_loss(socket->zsock);
        zsock_set_connect_timeout(socket->zsock, TCP_CONNECT_MS);
    }
    if (is_tcp(endpoint) && keys_client())
        keys_open(socket->zsock);
    if (is_tcp(endpoint) || bulk)
        socket->trouble = trouble_new(loop, socket->raw, endpoint, false);
    if (zsock_connect(socket->zsock, "%s", endpoint) < 0) {
        code = err_set_errno(err, "cannot connect to %s", endpoint);
        bus_socket_destroy(&socket);
        return code;
    }
    if (loop)
        bus_loop_socket(loop, socket->raw, &socket->used, socket_ready, socket);
    *out = socket;
    return ERR_OK;
}

err_code_t bus_dealer_new(bus_loop_t *loop, const char *endpoint, bus_message_fn fn, void *arg,
                          bus_socket_t **socket, err_t *err) {
    return dealer_new(loop, endpoint, false, fn, arg, socket, err);
}

err_code_t bus_dealer_new_bulk(const char *endpoint, bus_socket_t **socket, err_t *err) {
    return dealer_new(NULL, endpoint, true, NULL, NULL, socket, err);
}

unsigned bus_dealer_breaks(const bus_socket_t *socket) {
    return trouble_breaks(socket->trouble);
}

bool bus_dealer_up(const bus_socket_t *socket) {
    return trouble_up(socket->trouble);
}

void *bus_raw_to_send(bus_socket_t *socket) {
    socket->used = true;
    return socket->raw;
}

static void socket_free(bus_socket_t *socket) {
    trouble_destroy(&socket->trouble);
    zsock_destroy(&socket->zsock);
    proto_arena_destroy(&socket->arena);
    free(socket);
}

char *bus_next_endpoint(char **list) {
    for (char *part; (part = strsep(list, ",")) != NULL;) {
        part += strspn(part, " \t");
        size_t size = strlen(part);
        while (size > 0 && (part[size - 1] == ' ' || part[size - 1] == '\t'))
            size--;
        part[size] = 0;
        if (size > 0)
            return part;
    }
    return NULL;
}

void bus_socket_destroy(bus_socket_t **self) {
    bus_socket_t *socket = *self;
    if (!socket)
        return;
    *self = NULL;
    if (socket->loop)
        bus_loop_forget(socket->loop, socket->raw);
    if (socket->busy)
        socket->destroyed = true;
    else
        socket_free(socket);
}

// --- Receiving
// ------------------------------------------------------------------------------------

static bool may_complain(bus_socket_t *socket) {
    int64_t now = clock_mono_ms();
    if (socket->complained_ms && now - socket->complained_ms < 1000)
        return false;
    socket->complained_ms = now;
    return true;
}

static err_code_t read_header(bus_socket_t *socket, zframe_t *frame, bus_message_t *message,
                              err_t *err) {
    proto_header_t header;
    if (zframe_size(frame) > PROTO_HEADER_MAX)
        return err_set(err, ERR_TOO_LARGE, "header: %zu bytes; the limit is %u", zframe_size(frame),
                       PROTO_HEADER_MAX);
    err_code_t code = proto_decode(PROTO_header, zframe_data(frame), zframe_size(frame),
                                   socket->arena, &header, err);
    if (code)
        return code;
    message->id = header.id;
    message->deadline_ms = header.deadline_ms;
    if (header.v != PROTO_VERSION) {
        err_set(err, ERR_UNSUPPORTED,
                "header of %.64s: protocol version %llu; this build speaks %d", header.type,
                (unsigned long long)header.v, PROTO_VERSION);
        return err_remedy(err, "use the same release on both sides"), ERR_UNSUPPORTED;
    }
    if (!proto_type_find(header.type, &message->type))
        return err_set(err, ERR_PROTOCOL, "header: unknown message type '%s'", header.type);
    return ERR_OK;
}

static void complain(bus_socket_t *socket, const bus_message_t *message, const err_t *err) {
    if (may_complain(socket))
        log_warn("dropped a message that breaks the protocol: %s%s%s", err->message,
                 err->remedy[0] ? "; " : "", err->remedy);
    if (socket->router)
        bus_reply_error(socket, message, err);
}

// frames: identity of a router first, then header, body, attachments. What cannot be read is
// complained of; the error is returned where another release answers, which it will not cease to.
static err_code_t handle(bus_socket_t *socket, zmsg_t *frames, err_t *failure) {
    bus_message_t message = {.received_ms = clock_mono_ms()};
    err_t err;
    zframe_t *frame = zmsg_first(frames);
    if (socket->router && frame) {
        if (zframe_size(frame) > sizeof message.peer.id)
            return ERR_OK;
        message.peer.size = (unsigned char)zframe_size(frame);
        memcpy(message.peer.id, zframe_data(frame), zframe_size(frame));
        frame = zmsg_next(frames);
    }
    proto_arena_reset(socket->arena);
    if (!frame) {
        err_set(&err, ERR_PROTOCOL, "a message without a header");
        complain(socket, &message, &err);
        return ERR_OK;
    }
    if (read_header(socket, frame, &message, &err) != ERR_OK) {
        bool told = !socket->router && failure && err.code == ERR_UNSUPPORTED;
        if (told)
            *failure = err;
        else
            complain(socket, &message, &err);
        return told ? ERR_UNSUPPORTED : ERR_OK;
    }
    frame = zmsg_next(frames);
    if (frame)
        message.body = (proto_bytes_t){zframe_data(frame), zframe_size(frame)};
    size_t count = zmsg_size(frames), head = socket->router ? 3 : 2;
    count = count > head ? count - head : 0;
    if (count > BUS_ATTACHMENTS_MAX || message.body.size > PROTO_MESSAGE_MAX) {
        err_set(&err, ERR_TOO_LARGE,
                "%zu attachments and a body of %zu bytes; the limits are %d and %u", count,
                message.body.size, BUS_ATTACHMENTS_MAX, PROTO_MESSAGE_MAX);
        complain(socket, &message, &err);
        return ERR_OK;
    }
    proto_bytes_t *attachments =
        proto_arena_alloc(socket->arena, (count + 1) * sizeof *attachments);
    for (size_t i = 0; i < count && (frame = zmsg_next(frames)) != NULL; i++)
        attachments[i] = (proto_bytes_t){zframe_data(frame), zframe_size(frame)};
    message.attachments = attachments;
    message.attachment_count = count;
    socket->fn(socket->arg, socket, &message);
    return ERR_OK;
}

static zmsg_t *receive_now(bus_socket_t *socket) {
    zmsg_t *frames = zmsg_recv(socket->zsock);
    socket->used = frames || errno == EINTR;
    return frames;
}

static void socket_ready(void *arg) {
    bus_socket_t *socket = arg;
    socket->busy = true;
    for (int i = 0; i < MESSAGES_PER_ROUND && !socket->destroyed; i++) {
        zmsg_t *frames = receive_now(socket);
        if (!frames)
            break;
        handle(socket, frames, NULL);
        zmsg_destroy(&frames);
    }
    socket->busy = false;
    if (socket->destroyed)
        socket_free(socket);
}

err_code_t bus_receive(bus_socket_t *socket, int64_t timeout_ms, bus_message_fn fn, void *arg,
                       err_t *err) {
    int64_t end = clock_mono_ms() + timeout_ms;
    for (;;) {
        zmsg_t *frames = receive_now(socket);
        if (frames) {
            socket->fn = fn;
            socket->arg = arg;
            err_code_t code = handle(socket, frames, err);
            zmsg_destroy(&frames);
            return code;
        }
        int64_t left = end - clock_mono_ms();
        if (left <= 0)
            return err_set(err, ERR_TIMEOUT, "no answer within %lld ms", (long long)timeout_ms);
        zmq_pollitem_t items[] = {{.socket = socket->raw, .events = ZMQ_POLLIN},
                                  {.events = ZMQ_POLLIN}};
        if (socket->trouble)
            items[1].socket = trouble_socket(socket->trouble);
        if (zmq_poll(items, socket->trouble ? 2 : 1, (long)left) < 0 && errno == EINTR)
            return err_set(err, ERR_CANCELLED, "interrupted");
        if (items[1].revents && trouble_read(socket->trouble, err) != ERR_OK)
            return ERR_DENIED;
    }
}

// --- Sending
// --------------------------------------------------------------------------------------

static err_code_t send_frame(bus_socket_t *socket, const void *bytes, size_t size, bool more) {
    return zmq_send(socket->raw, bytes, size, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) < 0 ? ERR_IO
                                                                                           : ERR_OK;
}

// Once the first frame is taken ZeroMQ takes the rest of the message, too.
static err_code_t send_frames(bus_socket_t *socket, const bus_peer_t *peer, const buf_t *header,
                              const buf_t *body, const proto_bytes_t *attachments, size_t count,
                              err_t *err) {
    err_code_t code = ERR_OK;
    socket->used = true;
    if (socket->router)
        code = send_frame(socket, peer->id, peer->size, true);
    if (code == ERR_OK)
        code = send_frame(socket, header->data, header->size, true);
    if (code == ERR_OK)
        code = send_frame(socket, body->data, body->size, count > 0);
    for (size_t i = 0; i < count && code == ERR_OK; i++)
        code = send_frame(socket, attachments[i].data, attachments[i].size, i + 1 < count);
    if (code == ERR_OK)
        return ERR_OK;
    if (errno == EHOSTUNREACH)
        return err_set(err, ERR_UNAVAILABLE, "the peer has gone");
    if (errno == EAGAIN)
        return err_set(err, ERR_FULL, "the peer does not take messages: its queue is full");
    return err_set_errno(err, "cannot send");
}

err_code_t bus_send(bus_socket_t *socket, const bus_peer_t *peer, uint64_t id, uint64_t deadline_ms,
                    proto_type_t type, const void *message, const proto_bytes_t *attachments,
                    size_t attachment_count, err_t *err) {
    ERR_ASSERT(!socket->router || peer);
    buf_t header, body;
    buf_init(&header, PROTO_HEADER_MAX);
    buf_init(&body, PROTO_MESSAGE_MAX);
    proto_header_t head = {.v = PROTO_VERSION,
                           .type = proto_message(type)->wire,
                           .id = id,
                           .deadline_ms = deadline_ms};
    err_code_t code = proto_encode(PROTO_header, &head, &header, err);
    if (code == ERR_OK)
        code = proto_encode(type, message, &body, err);
    if (code == ERR_OK)
        code = send_frames(socket, peer, &header, &body, attachments, attachment_count, err);
    buf_release(&header);
    buf_release(&body);
    return code;
}

void bus_reply(bus_socket_t *socket, const bus_message_t *to, proto_type_t type,
               const void *message) {
    err_t err;
    if (bus_send(socket, &to->peer, to->id, 0, type, message, NULL, 0, &err) == ERR_OK)
        return;
    if (err.code == ERR_UNAVAILABLE || err.code == ERR_FULL) {
        log_debug("no answer to %s: %s", proto_message(to->type)->wire, err.message);
        return;
    }
    log_error("no answer to %s: %s", proto_message(to->type)->wire, err.message);
    bus_reply_error(socket, to, &err);
}

void bus_error_message(const err_t *err, proto_error_t *message) {
    proto_defaults(PROTO_error, message);
    message->code = err_name(err->code);
    message->message = err->message;
    message->remedy = err->remedy;
    message->retryable = err_retryable(err->code);
}

void bus_reply_error_to(bus_socket_t *socket, const bus_peer_t *peer, uint64_t id,
                        const err_t *err) {
    proto_error_t message;
    bus_error_message(err, &message);
    err_t failed;
    if (bus_send(socket, peer, id, 0, PROTO_error, &message, NULL, 0, &failed) != ERR_OK)
        log_debug("no error answer: %s", failed.message);
}

void bus_reply_error(bus_socket_t *socket, const bus_message_t *to, const err_t *err) {
    bus_reply_error_to(socket, &to->peer, to->id, err);
}

void bus_error_read(const bus_message_t *message, err_t *err) {
    proto_arena_t *arena = proto_arena_new();
    proto_error_t error;
    if (proto_decode(PROTO_error, message->body.data, message->body.size, arena, &error, err) ==
        ERR_OK) {
        err_set(err, err_from_name(error.code), "%s", error.message);
        if (error.remedy && error.remedy[0])
            err_remedy(err, "%s", error.remedy);
    }
    proto_arena_destroy(&arena);
}
