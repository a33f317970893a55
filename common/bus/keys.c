// CURVE on tcp sockets, and ZAP (ZeroMQ's RFC 27): whose key is let in.
#include "base/clock.h"
#include "base/log.h"
#include "bus/bus.h"
#include "bus_impl.h"
#include "sec/sec.h"

#include <czmq.h>
#include <string.h>

#define ZAP_ENDPOINT  "inproc://zeromq.zap.01"
#define ZAP_DOMAIN    "inkling"
#define ZAP_PER_ROUND 64

// One set for the process, as ZeroMQ has one ZAP handler for a context.
static struct {
    bool serving, connecting;
    bool used; // zap, for the loop
    sec_pair_t server;
    sec_client_t client;
    sec_guests_t *guests;
    bus_loop_t *loop;
    zsock_t *zap;
    int64_t told_ms;
    unsigned untold;
} keys;

// --- ZAP
// ------------------------------------------------------------------------------------------

static void tell_refusal(const char *address, const char *why) {
    int64_t now = clock_mono_ms();
    if (keys.told_ms && now - keys.told_ms < 1000) {
        keys.untold++;
        return;
    }
    log_warn("refused a connection from %s: %s%s", address, why,
             keys.untold ? " (and more before it)" : "");
    keys.told_ms = now;
    keys.untold = 0;
}

// version, request id, domain, address, routing id, mechanism, public key
static const char *judge(char *const part[7], const zframe_t *credentials, const char **why) {
    char text[SEC_KEY_SIZE];
    zframe_t *key = (zframe_t *)credentials;
    if (strcmp(part[5], "CURVE") != 0 || zframe_size(key) != 32) {
        *why = "it has no key";
        return NULL;
    }
    zmq_z85_encode(text, zframe_data(key), 32);
    const char *name = sec_guests_find(keys.guests, text);
    *why = "its key is none of those that may connect";
    return name;
}

static void answer(zmsg_t *request) {
    char *part[7] = {0};
    const char *why = "the request is broken", *name = NULL;
    zframe_t *frame = zmsg_first(request), *last = NULL;
    for (size_t i = 0; i < 7 && frame; i++, frame = zmsg_next(request)) {
        part[i] = zframe_strdup(frame);
        last = frame;
    }
    if (part[6])
        name = judge(part, last, &why);
    if (!name)
        tell_refusal(part[3] ? part[3] : "?", why);
    zstr_sendx(keys.zap, "1.0", part[1] ? part[1] : "", name ? "200" : "400", name ? "OK" : why,
               name ? name : "", "", NULL);
    for (size_t i = 0; i < 7; i++)
        zstr_free(&part[i]);
}

static bool is_asked(void) {
    keys.used = zsock_events(keys.zap) & ZMQ_POLLIN;
    return keys.used;
}

static void on_zap(void *arg) {
    (void)arg;
    for (int i = 0; is_asked() && i < ZAP_PER_ROUND; i++) {
        zmsg_t *request = zmsg_recv(keys.zap);
        if (!request)
            return;
        answer(request);
        zmsg_destroy(&request);
    }
}

// --- Having keys
// ----------------------------------------------------------------------------------

err_code_t bus_keys_serve(bus_loop_t *loop, const char *folder, err_t *err) {
    ERR_ASSERT(!keys.serving);
    err_code_t code = sec_server(folder, &keys.server, err);
    if (code)
        return code;
    bus_quiet_czmq();
    keys.zap = zsock_new(ZMQ_REP);
    if (!keys.zap || zsock_bind(keys.zap, "%s", ZAP_ENDPOINT) < 0) {
        code = err_set_errno(err, "cannot check keys");
        zsock_destroy(&keys.zap);
        return code;
    }
    keys.guests = sec_guests_new(folder);
    keys.loop = loop;
    keys.serving = true;
    bus_loop_socket(loop, zsock_resolve(keys.zap), &keys.used, on_zap, NULL);
    return ERR_OK;
}

err_code_t bus_keys_connect(const char *file, err_t *err) {
    err_code_t code = sec_client(file, &keys.client, err);
    keys.connecting = code == ERR_OK;
    return code;
}

void bus_keys_end(void) {
    if (keys.zap) {
        bus_loop_forget(keys.loop, zsock_resolve(keys.zap));
        zsock_destroy(&keys.zap);
    }
    sec_guests_destroy(&keys.guests);
    explicit_bzero(&keys, sizeof keys);
}

// --- On sockets
// -----------------------------------------------------------------------------------

bool keys_serve(void) {
    return keys.serving;
}

const char *keys_client(void) {
    return keys.connecting ? keys.client.name : NULL;
}

// A listener keeps the options that its socket has while it is bound, so one socket may serve ipc
// without keys and tcp with them.
void keys_bind(zsock_t *zsock, bool tcp) {
    if (!keys.serving)
        return;
    if (tcp) {
        zsock_set_zap_domain(zsock, ZAP_DOMAIN); // so that nobody gets in while nobody checks
        zsock_set_curve_publickey(zsock, keys.server.public_key);
        zsock_set_curve_secretkey(zsock, keys.server.secret_key);
        zsock_set_curve_server(zsock, 1);
    } else {
        zmq_setsockopt(zsock_resolve(zsock), ZMQ_ZAP_DOMAIN, NULL, 0);
        zsock_set_curve_server(zsock, 0);
    }
}

void keys_open(zsock_t *zsock) {
    zsock_set_curve_serverkey(zsock, keys.client.server);
    zsock_set_curve_publickey(zsock, keys.client.own.public_key);
    zsock_set_curve_secretkey(zsock, keys.client.own.secret_key);
}
