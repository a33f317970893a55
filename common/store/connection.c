#include "store_impl.h"

#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define TICK_MS    500
#define IDLE_MS    1000 // an idle connection is asked for a sign of life
#define READ_BYTES 16384
#define READS_MAX  16 // in a round of the loop
#define PARTS_MAX  256

// --- Losing --------------------------------------------------------------------------------------

static void watch(store_t *store, int events);

void connection_close(store_t *store) {
    if (store->fd >= 0) {
        watch(store, 0);
        close(store->fd);
    }
    store->fd = -1;
    store->life++;
    store->state = STORE_AWAY;
    if (store->reader)
        redisReaderFree(store->reader);
    store->reader = NULL;
    bus_loop_undefer(store->loop, connection_flush, store);
}

static void on_retry(void *arg) {
    store_t *store = arg;
    store->retry = 0;
    connection_start(store);
}

// Between half of the wait and all of it, so that the clients of a restarted Redis spread out.
static int64_t with_jitter(int64_t wait_ms) {
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = (uint32_t)clock_mono_us();
    return wait_ms / 2 + (int64_t)(random % (uint32_t)(wait_ms / 2 + 1));
}

static void retry_later(store_t *store, const err_t *why) {
    bool refused = why->code == ERR_INVALID || why->code == ERR_UNSUPPORTED;
    int64_t wait_ms = refused ? STORE_RECONNECT_MAX_MS : with_jitter(store->wait_ms);
    store->wait_ms =
        store->wait_ms * 2 < STORE_RECONNECT_MAX_MS ? store->wait_ms * 2 : STORE_RECONNECT_MAX_MS;
    bus_loop_timer_cancel(store->loop, store->retry);
    store->retry = bus_loop_timer(store->loop, wait_ms, 0, on_retry, store);
}

void connection_lost(store_t *store, const err_t *why) {
    bool was_up = store->state == STORE_UP;
    err_t err = *why;
    connection_close(store);
    if (err.code != ERR_UNAVAILABLE) {
        err_t unknown = err; // whatever broke it: a call's outcome is unknown
        unknown.code = ERR_UNAVAILABLE;
        calls_fail(store, &unknown);
    } else {
        calls_fail(store, &err);
    }
    retry_later(store, &err);
    if (!was_up && strcmp(store->told, err.message) == 0)
        return;
    memcpy(store->told, err.message, sizeof store->told);
    if (store->events.down)
        store->events.down(store->arg, &err);
}

static void lost(store_t *store, err_code_t code, const char *what) {
    err_t err;
    err_set(&err, code, "Redis at %s %s", store->address, what);
    connection_lost(store, &err);
}

static void lost_errno(store_t *store, const char *what) {
    char text[256];
    snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    lost(store, ERR_UNAVAILABLE, text);
}

// --- Writing -------------------------------------------------------------------------------------

// Gathers what is unsent; returns the number of parts.
static size_t gather(const store_t *store, struct iovec *parts) {
    size_t count = 0, skip = store->sent;
    for (call_t *call = store->unsent; call && count < PARTS_MAX; call = call->next) {
        parts[count++] = (struct iovec){call->bytes + skip, call->size - skip};
        skip = 0;
    }
    return count;
}

static void count_sent(store_t *store, size_t size) {
    store->stats.bytes_out += size;
    size += store->sent;
    while (store->unsent && size >= store->unsent->size) {
        size -= store->unsent->size;
        store->unsent = store->unsent->next;
    }
    store->sent = size;
}

// Writes until everything is sent or the socket takes no more; then the socket is watched.
void connection_flush(void *arg) {
    store_t *store = arg;
    if (store->state < STORE_CHECKING)
        return;
    while (store->unsent) {
        struct iovec parts[PARTS_MAX];
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = gather(store, parts)};
        ssize_t size = sendmsg(store->fd, &message, MSG_NOSIGNAL);
        if (size >= 0) {
            count_sent(store, (size_t)size);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            watch(store, BUS_READ | BUS_WRITE);
            return;
        } else if (errno != EINTR) {
            lost_errno(store, "is lost");
            return;
        }
    }
    watch(store, BUS_READ);
}

// --- Reading -------------------------------------------------------------------------------------

// False: the connection is lost.
static bool take_replies(store_t *store) {
    uint64_t life = store->life;
    void *reply = NULL;
    for (;;) {
        if (redisReaderGetReply(store->reader, &reply) != REDIS_OK) {
            bool limit = store->reader->err == REDIS_ERR_OOM;
            char what[256];
            snprintf(what, sizeof what, "breaks the protocol: %s",
                     limit ? "its reply is over the limit" : store->reader->errstr);
            lost(store, ERR_PROTOCOL, what);
            return false;
        }
        if (!reply)
            break;
        call_answered(store, reply);
        freeReplyObject(reply);
        if (store->life != life)
            return false;
    }
    if (store->reader->len - store->reader->pos <= STORE_REPLY_MAX)
        return true;
    lost(store, ERR_PROTOCOL, "breaks the protocol: its reply is over the limit");
    return false;
}

static void read_some(store_t *store) {
    char bytes[READ_BYTES];
    for (int turn = 0; turn < READS_MAX; turn++) {
        ssize_t size = recv(store->fd, bytes, sizeof bytes, 0);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (size < 0)
            return lost_errno(store, "is lost");
        if (size == 0)
            return lost(store, ERR_UNAVAILABLE, "closed the connection");
        store->heard_ms = clock_mono_ms();
        store->stats.bytes_in += (uint64_t)size;
        if (redisReaderFeed(store->reader, bytes, (size_t)size) != REDIS_OK)
            return lost(store, ERR_NO_MEMORY, "sends more than memory holds");
        if (!take_replies(store) || (size_t)size < sizeof bytes)
            return;
    }
}

// --- Connecting ----------------------------------------------------------------------------------

static void connected(store_t *store) {
    int problem = 0;
    socklen_t size = sizeof problem;
    if (getsockopt(store->fd, SOL_SOCKET, SO_ERROR, &problem, &size) != 0 || problem) {
        errno = problem ? problem : errno;
        lost_errno(store, "cannot be reached");
        return;
    }
    store->reader = redisReaderCreate();
    if (!store->reader) {
        lost(store, ERR_NO_MEMORY, "cannot be read: out of memory");
        return;
    }
    reply_limits(store);
    store->heard_ms = clock_mono_ms();
    handshake_start(store);
    connection_flush(store);
}

static void on_socket(void *arg, int events) {
    store_t *store = arg;
    if (store->state == STORE_CONNECTING) {
        connected(store);
        return;
    }
    uint64_t life = store->life;
    if (events & BUS_WRITE)
        connection_flush(store);
    if (store->life == life && (events & BUS_READ))
        read_some(store);
}

static void watch(store_t *store, int events) {
    if (events == store->watched)
        return;
    store->watched = events;
    bus_loop_watch(store->loop, store->fd, events, on_socket, store);
}

// Whether the connecting began; if not, errno says why.
static bool begin(store_t *store, const struct sockaddr *address, socklen_t size) {
    store->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (store->fd < 0)
        return false;
    int on = 1;
    if (address->sa_family != AF_UNIX)
        setsockopt(store->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return connect(store->fd, address, size) == 0 || errno == EINPROGRESS;
}

static bool begin_unix(store_t *store) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, store->address, strlen(store->address)); // store_new() checked it
    return begin(store, (struct sockaddr *)&address, sizeof address);
}

// "host:port" or "[host]:port". Every attempt takes the name's next address.
static bool begin_tcp(store_t *store, const char **problem) {
    char host[256];
    const char *colon = strrchr(store->address, ':');
    snprintf(host, sizeof host, "%.*s", (int)(colon - store->address), store->address);
    char *name = host;
    if (host[0] == '[' && host[strlen(host) - 1] == ']') {
        host[strlen(host) - 1] = 0;
        name++;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int code = getaddrinfo(name, colon + 1, &hints, &list);
    if (code) {
        *problem = gai_strerror(code);
        return false;
    }
    size_t count = 1;
    for (struct addrinfo *info = list->ai_next; info; info = info->ai_next)
        count++;
    struct addrinfo *pick = list;
    for (uint64_t i = store->life % count; i > 0; i--)
        pick = pick->ai_next;
    bool begun = begin(store, pick->ai_addr, pick->ai_addrlen);
    freeaddrinfo(list);
    return begun;
}

void connection_start(store_t *store) {
    const char *problem = NULL;
    store->watched = 0;
    store->state = STORE_CONNECTING;
    store->heard_ms = clock_mono_ms();
    bool begun = strchr(store->address, '/') ? begin_unix(store) : begin_tcp(store, &problem);
    if (begun) {
        watch(store, BUS_WRITE);
        return;
    }
    char what[256];
    snprintf(what, sizeof what, "cannot be reached: %s", problem ? problem : strerror(errno));
    lost(store, ERR_UNAVAILABLE, what);
}

// --- Signs of life -------------------------------------------------------------------------------

static void on_pong(store_t *store, call_t *call, redisReply *reply) {
    err_t err;
    call->script = NO_SCRIPT;
    if (reply->type == REDIS_REPLY_ERROR && reply_error(store, call, reply, &err))
        connection_lost(store, &err);
}

static void on_tick(void *arg) {
    store_t *store = arg;
    int64_t now = clock_mono_ms(), late = now - store->tick_ms - TICK_MS;
    store->tick_ms = now;
    if (store->state == STORE_AWAY)
        return;
    if (late > STORE_SILENCE_MS / 4) // it was we who slept: what came meanwhile is unread yet
        store->heard_ms = now;
    int64_t silence = now - store->heard_ms;
    if ((store->first || store->state == STORE_CONNECTING) && silence > STORE_SILENCE_MS)
        lost(store, ERR_UNAVAILABLE, "does not answer");
    else if (store->state == STORE_UP && !store->first && silence > IDLE_MS)
        call_own(store, on_pong, NO_SCRIPT, (const char *[]){"PING", NULL});
}

// --- Making and ending ---------------------------------------------------------------------------

static err_code_t check_address(const char *address, err_t *err) {
    size_t size = strlen(address), most = sizeof((struct sockaddr_un *)0)->sun_path;
    const char *colon = strrchr(address, ':');
    if (strchr(address, '/')) {
        if (size < most)
            return ERR_OK;
        err_set(err, ERR_USAGE, "the socket path %s is longer than %zu bytes", address, most - 1);
        return err_remedy(err, "use a shorter folder"), ERR_USAGE;
    }
    if (colon && colon != address && colon[1] && size < 256 &&
        strspn(colon + 1, "0123456789") == strlen(colon + 1) && atol(colon + 1) >= 1 &&
        atol(colon + 1) <= 65535)
        return ERR_OK;
    err_set(err, ERR_USAGE, "'%s' is no address of Redis", address);
    return err_remedy(err, "give the path of its socket, or host:port"), ERR_USAGE;
}

err_code_t store_new(bus_loop_t *loop, const char *address, const store_script_t *scripts,
                     size_t script_count, const store_events_t *events, void *arg, store_t **out,
                     err_t *err) {
    err_code_t code = check_address(address, err);
    if (code)
        return code;
    store_t *store = mem_zero(1, sizeof *store);
    store->loop = loop;
    store->address = mem_dup(address);
    store->scripts = scripts;
    store->script_count = script_count;
    store->digests = mem_zero(script_count, sizeof *store->digests);
    store->events = *events;
    store->arg = arg;
    store->fd = -1;
    store->end = &store->first;
    store->wait_ms = STORE_RECONNECT_MIN_MS;
    store->tick_ms = clock_mono_ms();
    store->tick = bus_loop_timer(loop, TICK_MS, TICK_MS, on_tick, store);
    store->retry = bus_loop_timer(loop, 0, 0, on_retry, store);
    *out = store;
    return ERR_OK;
}

void store_login(store_t *store, const char *user, const char *password) {
    ERR_ASSERT(!store->password);
    store->user = mem_dup(user);
    store->password = mem_dup(password);
}

void store_destroy(store_t **self) {
    store_t *store = *self;
    if (!store)
        return;
    ERR_ASSERT(!store->calling);
    err_t err;
    err_set(&err, ERR_CANCELLED, "the connection to Redis is closed");
    connection_close(store);
    calls_fail(store, &err);
    bus_loop_timer_cancel(store->loop, store->tick);
    bus_loop_timer_cancel(store->loop, store->retry);
    if (store->password)
        explicit_bzero(store->password, strlen(store->password));
    free(store->password);
    free(store->user);
    free(store->digests);
    free(store->address);
    free(store);
    *self = NULL;
}
