// Why there is no connection: what ZeroMQ's monitor of a socket tells of its handshakes.
#include "base/clock.h"
#include "base/log.h"
#include "bus_impl.h"

#include <czmq.h>
#include <stdlib.h>
#include <string.h>

#define TELL_MS       10000 // the same again
#define OTHER_MS      1000  // something else
#define CUT_MAX       3     // a server that is just being stopped cuts a handshake, too
#define PLAIN_CUT_MAX 5     // the same for who has no key

#define ASK_FOR_KEY                                                                                \
    "`inkling keys client NAME` on the stack's host writes one, for `inkling stack add … --key " \
    "FILE` or INKLING_CLIENT_KEY"

struct trouble {
    zsock_t *events;
    void *raw; // the socket that is watched
    bus_loop_t *loop;
    char *endpoint;
    bool serving, hard; // hard: the last one that was read
    int cuts;           // handshakes in a row that were cut without a reason
    bool used;          // for the loop
    bool up;            // the last handshake succeeded, and its connection has not ended
    unsigned breaks;
    int64_t told_ms;
    err_t err, told;
};

// --- From event to words
// --------------------------------------------------------------------------

static void denied(trouble_t *trouble) {
    err_set(&trouble->err, ERR_DENIED, "%s refuses the key of this client, %s", trouble->endpoint,
            keys_client() ? keys_client() : "which has none");
    err_remedy(&trouble->err, "the stack's log tells why; `inkling keys client NAME` on its host "
                              "makes a key that it lets in");
}

static void mismatch(trouble_t *trouble) {
    if (keys_client()) {
        err_set(&trouble->err, ERR_DENIED, "%s uses no keys, and this client insists on them",
                trouble->endpoint);
        err_remedy(&trouble->err, "is that the right address? a stack without keys is reached "
                                  "without INKLING_CLIENT_KEY");
    } else {
        err_set(&trouble->err, ERR_DENIED, "%s wants a key, and this client has none",
                trouble->endpoint);
        err_remedy(&trouble->err, ASK_FOR_KEY);
    }
}

// Both a plain server and another stack's see at the first bytes that this cannot work, and go. A
// server with keys that a client without one has come to often does so before it was heard.
static void cut(trouble_t *trouble) {
    if (!keys_client()) {
        err_set(&trouble->err, ERR_DENIED,
                "it seems that %s wants a key, and this client has none: it breaks off when it is "
                "greeted",
                trouble->endpoint);
        err_remedy(&trouble->err, ASK_FOR_KEY);
        return;
    }
    err_set(&trouble->err, ERR_DENIED, "%s breaks off when it sees the key of this client, %s",
            trouble->endpoint, keys_client());
    err_remedy(&trouble->err, "it is another stack than the one that made the key, or a stack "
                              "without keys");
}

static void no_zmtp(trouble_t *trouble) {
    err_set(&trouble->err, ERR_DENIED, "what answers at %s is no service of Inkling",
            trouble->endpoint);
    err_remedy(&trouble->err, "is that the right address and port?");
}

static void read_client(trouble_t *trouble, unsigned event, unsigned value) {
    if (event == ZMQ_EVENT_DISCONNECTED) { // a handshake that failed has told so itself
        trouble->breaks += trouble->up;
        trouble->up = false;
        return;
    }
    trouble->up = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
    trouble->cuts = event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL ? trouble->cuts + 1 : 0;
    trouble->hard = true;
    if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        denied(trouble);
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL &&
             value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
        mismatch(trouble);
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
        no_zmtp(trouble);
    else if (trouble->cuts >= (keys_client() ? CUT_MAX : PLAIN_CUT_MAX))
        cut(trouble);
    else
        trouble->hard = false;
}

static void read_server(trouble_t *trouble, unsigned event, unsigned value) {
    const char *why = "it broke off";
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED || event == ZMQ_EVENT_DISCONNECTED)
        return;
    if (value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
        why = "it came without a key";
    else if (value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)
        why = "its key was made for another stack";
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
        why = "it does not speak ZMTP as we do";
    trouble->hard = event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;
    err_set(&trouble->err, ERR_DENIED, "refused a connection to %s: %s", trouble->endpoint, why);
}

// --- The monitor
// ----------------------------------------------------------------------------------

static bool next(trouble_t *trouble) {
    struct {
        uint16_t event;
        uint32_t value;
    } __attribute__((packed)) told;
    trouble->used = zsock_events(trouble->events) & ZMQ_POLLIN;
    if (!trouble->used)
        return false;
    zmsg_t *frames = zmsg_recv(trouble->events);
    zframe_t *frame = frames ? zmsg_first(frames) : NULL;
    if (frame && zframe_size(frame) == sizeof told) {
        memcpy(&told, zframe_data(frame), sizeof told);
        (trouble->serving ? read_server : read_client)(trouble, told.event, told.value);
    }
    zmsg_destroy(&frames);
    return true;
}

err_code_t trouble_read(trouble_t *trouble, err_t *err) {
    trouble->hard = false;
    while (next(trouble))
        ;
    if (!trouble->hard)
        return ERR_OK;
    if (err)
        *err = trouble->err;
    return ERR_DENIED;
}

static void on_events(void *arg) {
    trouble_t *trouble = arg;
    int64_t now = clock_mono_ms();
    if (trouble_read(trouble, NULL) == ERR_OK)
        return;
    bool same = strcmp(trouble->told.message, trouble->err.message) == 0;
    if (trouble->told_ms && now - trouble->told_ms < (same ? TELL_MS : OTHER_MS))
        return;
    trouble->told_ms = now;
    trouble->told = trouble->err;
    log_warn("%s%s%s", trouble->err.message, trouble->err.remedy[0] ? "; " : "",
             trouble->err.remedy);
}

unsigned trouble_breaks(const trouble_t *trouble) {
    return trouble->breaks;
}

bool trouble_up(const trouble_t *trouble) {
    return trouble->up;
}

void *trouble_socket(trouble_t *trouble) {
    return zsock_resolve(trouble->events);
}

trouble_t *trouble_new(bus_loop_t *loop, void *raw, const char *endpoint, bool serving) {
    static unsigned number; // sockets are made by more than one thread
    char place[64];
    snprintf(place, sizeof place, "inproc://monitor-%u",
             __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED));
    trouble_t *trouble = mem_zero(1, sizeof *trouble);
    trouble->raw = raw;
    trouble->loop = loop;
    trouble->serving = serving;
    trouble->endpoint = mem_dup(endpoint);
    int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                 ZMQ_EVENT_DISCONNECTED;
    trouble->events = zsock_new(ZMQ_PAIR);
    zsock_set_rcvhwm(trouble->events, 0); // ZeroMQ's own thread must never wait for a reader
    if (zmq_socket_monitor(raw, place, events) != 0 ||
        zsock_connect(trouble->events, "%s", place) < 0)
        log_warn("%s: failed connections will not be explained", endpoint);
    else if (loop)
        bus_loop_socket(loop, zsock_resolve(trouble->events), &trouble->used, on_events, trouble);
    return trouble;
}

void trouble_destroy(trouble_t **self) {
    trouble_t *trouble = *self;
    if (!trouble)
        return;
    if (trouble->loop)
        bus_loop_forget(trouble->loop, zsock_resolve(trouble->events));
    zmq_socket_monitor(trouble->raw, NULL, 0);
    zsock_destroy(&trouble->events);
    free(trouble->endpoint);
    free(trouble);
    *self = NULL;
}
