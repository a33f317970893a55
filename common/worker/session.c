#include "session_impl.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PULSE_MS       100  // due requests and delayed connections are looked after this often
#define RESEND_MS      5000 // without an answer
#define RETRY_MS       500  // after a retryable error
#define SILENCE_MIN_MS 500  // however short the heartbeat
#define HOST_SIZE      256

struct session {
    bus_loop_t *loop;
    session_setup_t setup;
    char **endpoints;
    size_t endpoint_count, current;
    char *endpoint; // connected or about to be: one of them, or the leader somebody named
    bus_socket_t *dealer;
    int64_t heartbeat_ms, connected_ms, connect_due_ms, heard_ms, hello_due_ms;
    int beat, pulse; // timers
    uint64_t next_id, hello_id, renew_id, reconnects;
    call_t *calls;
    proto_arena_t *arena;
    char host[HOST_SIZE];
    bool welcome, draining, complained;
};

// --- Connecting
// ---------------------------------------------------------------------------------

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message);
static void send_hello(session_t *session);

static void connect_now(session_t *session) {
    int64_t now = clock_mono_ms();
    err_t err;
    session->connect_due_ms = 0;
    session->connected_ms = session->heard_ms = now;
    if (bus_dealer_new(session->loop, session->endpoint, on_message, session, &session->dealer,
                       &err) != ERR_OK) {
        log_error("cannot connect to the dispatcher: %s", err.message);
        return; // silence will turn to the next endpoint
    }
    send_hello(session);
}

// Two dispatchers that name each other, or none that leads, must not make this spin.
static void turn_to(session_t *session, const char *endpoint) {
    char *copy = mem_dup(endpoint);
    int64_t now = clock_mono_ms();
    free(session->endpoint);
    session->endpoint = copy;
    bus_socket_destroy(&session->dealer);
    session->welcome = false;
    session->hello_id = session->renew_id = 0;
    session->hello_due_ms = 0;
    session->heard_ms = now;
    session->reconnects++;
    int64_t rest_ms = session->heartbeat_ms / 2 > PULSE_MS ? session->heartbeat_ms / 2 : PULSE_MS;
    if (now - session->connected_ms < rest_ms)
        session->connect_due_ms = now + rest_ms;
    else
        connect_now(session);
}

static void turn_to_next(session_t *session) {
    session->current = (session->current + 1) % session->endpoint_count;
    turn_to(session, session->endpoints[session->current]);
}

static void turn_to_leader(session_t *session, const char *leader) {
    if (!leader || !leader[0] || strcmp(leader, session->endpoint) == 0) {
        turn_to_next(session);
        return;
    }
    for (size_t i = 0; i < session->endpoint_count; i++)
        if (strcmp(session->endpoints[i], leader) == 0)
            session->current = i;
    log_info("the dispatcher at %s does not lead, %s does", session->endpoint, leader);
    turn_to(session, leader);
}

// --- Hello and heartbeats
// -----------------------------------------------------------------------

static err_code_t send_message(session_t *session, uint64_t id, proto_type_t type,
                               const void *message, err_t *err) {
    if (!session->dealer)
        return err_set(err, ERR_UNAVAILABLE, "not connected to a dispatcher");
    return bus_send(session->dealer, NULL, id, 0, type, message, NULL, 0, err);
}

static void send_hello(session_t *session) {
    proto_lease_t leases[PROTO_LEASES_MAX];
    proto_hold_t holds[PROTO_LEASES_MAX];
    const session_setup_t *setup = &session->setup;
    size_t count = setup->leases(setup->arg, leases, PROTO_LEASES_MAX), kinds = 0;
    for (size_t i = 0; i < count; i++)
        holds[i] = (proto_hold_t){.job = leases[i].job, .token = leases[i].token};
    while (setup->kinds[kinds])
        kinds++;
    proto_worker_hello_t hello = {.worker = setup->name,
                                  .boot = setup->boot,
                                  .kinds = {setup->kinds, kinds},
                                  .slots = setup->slots,
                                  .host = session->host,
                                  .pid = (uint64_t)getpid(),
                                  .version = INKLING_VERSION,
                                  .holds = {holds, count}};
    err_t err;
    session->hello_due_ms = 0;
    session->welcome = false;
    session->hello_id = ++session->next_id;
    if (send_message(session, session->hello_id, PROTO_worker_hello, &hello, &err) != ERR_OK) {
        log_warn("cannot say hello to the dispatcher: %s", err.message);
        session->hello_due_ms = clock_mono_ms() + session->heartbeat_ms;
    }
}

static void send_renew(session_t *session) {
    proto_lease_t leases[PROTO_LEASES_MAX];
    const session_setup_t *setup = &session->setup;
    size_t count = setup->leases(setup->arg, leases, PROTO_LEASES_MAX);
    proto_worker_renew_t renew = {.worker = setup->name,
                                  .boot = setup->boot,
                                  .draining = session->draining,
                                  .leases = {leases, count}};
    err_t err;
    session->renew_id = ++session->next_id;
    if (send_message(session, session->renew_id, PROTO_worker_renew, &renew, &err) != ERR_OK)
        log_warn("cannot renew the leases: %s", err.message);
}

static int64_t silence_limit_ms(const session_t *session) {
    int64_t limit_ms = 3 * session->heartbeat_ms;
    return limit_ms > SILENCE_MIN_MS ? limit_ms : SILENCE_MIN_MS;
}

static void on_beat(void *arg) {
    session_t *session = arg;
    if (session->connect_due_ms)
        return;
    if (session_silence_ms(session) > silence_limit_ms(session)) {
        if (!session->complained)
            log_warn("the dispatcher at %s does not answer; work goes on", session->endpoint);
        session->complained = true;
        turn_to_next(session);
    } else if (session->welcome) {
        send_renew(session);
    }
}

static void set_heartbeat(session_t *session, int64_t heartbeat_ms) {
    if (session->beat && session->heartbeat_ms == heartbeat_ms)
        return;
    bus_loop_timer_cancel(session->loop, session->beat);
    session->heartbeat_ms = heartbeat_ms;
    session->beat = bus_loop_timer(session->loop, heartbeat_ms, heartbeat_ms, on_beat, session);
}

// --- Calls
// --------------------------------------------------------------------------------------

static void unlink_call(session_t *session, call_t *call) {
    for (call_t **at = &session->calls; *at; at = &(*at)->next)
        if (*at == call) {
            *at = call->next;
            break;
        }
    call->id = 0;
    call->next = NULL;
}

static void refuse(session_t *session, call_t *call, const err_t *err) {
    unlink_call(session, call);
    call->answered(call, NULL, err);
}

static void send_call(session_t *session, call_t *call, int64_t now) {
    err_t err;
    call->due_ms = now + RESEND_MS;
    if (call->send(call, &err) == ERR_OK)
        return;
    if (err_retryable(err.code))
        call->due_ms = now + RETRY_MS;
    else
        refuse(session, call, &err);
}

// Callbacks change the list: after each call it is looked through from the start.
static void flush(void *arg) {
    session_t *session = arg;
    int64_t now = clock_mono_ms();
    call_t *call = session->calls;
    while (session->welcome && call) {
        if (call->due_ms > now) {
            call = call->next;
            continue;
        }
        send_call(session, call, now);
        call = session->calls;
    }
}

void session_call(session_t *session, call_t *call) {
    ERR_ASSERT(call->id == 0);
    call_t **end = &session->calls;
    while (*end)
        end = &(*end)->next;
    *end = call;
    call->next = NULL;
    call->id = ++session->next_id;
    call->due_ms = 0;
    bus_loop_defer(session->loop, flush, session);
}

void session_drop(session_t *session, call_t *call) {
    if (call->id)
        unlink_call(session, call);
}

err_code_t session_send(session_t *session, const call_t *call, proto_type_t type,
                        const void *message, err_t *err) {
    return send_message(session, call->id, type, message, err);
}

static void on_pulse(void *arg) {
    session_t *session = arg;
    int64_t now = clock_mono_ms();
    if (session->connect_due_ms && now >= session->connect_due_ms)
        connect_now(session);
    else if (session->hello_due_ms && now >= session->hello_due_ms)
        send_hello(session);
    flush(session);
}

// --- What the dispatcher says
// -------------------------------------------------------------------

static void on_welcome(session_t *session, const proto_worker_welcome_t *welcome) {
    if (session->complained || session->reconnects)
        log_info("the dispatcher at %s answers", session->endpoint);
    else
        log_info("welcomed by the dispatcher at %s", session->endpoint);
    session->welcome = true;
    session->complained = false;
    set_heartbeat(session, (int64_t)welcome->heartbeat_ms);
    for (size_t i = 0; i < welcome->refused.count; i++)
        session->setup.lost(session->setup.arg, welcome->refused.items[i].job,
                            welcome->refused.items[i].token);
    for (call_t *call = session->calls; call; call = call->next)
        call->due_ms = 0;
    if (session->draining)
        send_renew(session);
    bus_loop_defer(session->loop, flush, session);
}

static void on_renewed(session_t *session, const proto_worker_renewed_t *renewed) {
    const session_setup_t *setup = &session->setup;
    session->complained = false;
    for (size_t i = 0; i < renewed->lost.count; i++)
        setup->lost(setup->arg, renewed->lost.items[i].job, renewed->lost.items[i].token);
    for (size_t i = 0; i < renewed->cancel.count; i++)
        setup->cancel(setup->arg, renewed->cancel.items[i].job, renewed->cancel.items[i].token);
    for (size_t i = 0; i < renewed->release.count; i++)
        setup->release(setup->arg, renewed->release.items[i].job, renewed->release.items[i].token);
    if (renewed->hello)
        send_hello(session);
}

// An error that is about the dispatcher, or about the worker itself.
static void on_session_error(session_t *session, bool to_hello, const err_t *err) {
    if (!session->complained)
        log_warn("the dispatcher at %s refuses: %s%s%s", session->endpoint, err->message,
                 err->remedy[0] ? "; " : "", err->remedy);
    session->complained = true;
    if (to_hello)
        session->hello_due_ms = clock_mono_ms() + session->heartbeat_ms;
}

static void on_answer(session_t *session, call_t *call, const bus_message_t *message) {
    if (message->type != PROTO_error) {
        unlink_call(session, call);
        call->answered(call, message, NULL);
        return;
    }
    err_t err;
    bus_error_read(message, &err);
    if (err_retryable(err.code))
        call->due_ms = clock_mono_ms() + RETRY_MS;
    else
        refuse(session, call, &err);
}

static call_t *find_call(session_t *session, uint64_t id) {
    call_t *call = session->calls;
    while (call && call->id != id)
        call = call->next;
    return id ? call : NULL;
}

// False: it was no NOT_LEADER.
static bool read_not_leader(session_t *session, const bus_message_t *message) {
    proto_error_t error;
    if (message->type != PROTO_error ||
        proto_decode(PROTO_error, message->body.data, message->body.size, session->arena, &error,
                     NULL) != ERR_OK ||
        err_from_name(error.code) != ERR_NOT_LEADER)
        return false;
    turn_to_leader(session, error.leader);
    return true;
}

static void on_own_answer(session_t *session, const bus_message_t *message) {
    proto_worker_welcome_t welcome;
    proto_worker_renewed_t renewed;
    bool to_hello = message->id == session->hello_id;
    proto_type_t wanted = to_hello ? PROTO_worker_welcome : PROTO_worker_renewed;
    err_t err;
    if (message->type == PROTO_error)
        bus_error_read(message, &err);
    else if (message->type != wanted)
        err_set(&err, ERR_PROTOCOL, "%s for an answer, not %s", proto_message(message->type)->wire,
                proto_message(wanted)->wire);
    else if (proto_decode(wanted, message->body.data, message->body.size, session->arena,
                          to_hello ? (void *)&welcome : (void *)&renewed, &err) == ERR_OK) {
        if (to_hello)
            on_welcome(session, &welcome);
        else
            on_renewed(session, &renewed);
        return;
    }
    on_session_error(session, to_hello, &err);
}

static bool is_order(proto_type_t type) {
    return type == PROTO_worker_assign || type == PROTO_worker_cancel ||
           type == PROTO_worker_release || type == PROTO_worker_lost;
}

static void on_order(session_t *session, const bus_message_t *message) {
    const session_setup_t *setup = &session->setup;
    union {
        proto_worker_assign_t assign;
        proto_worker_cancel_t cancel;
        proto_worker_release_t release;
        proto_worker_lost_t lost;
    } order;
    err_t err;
    if (proto_decode(message->type, message->body.data, message->body.size, session->arena, &order,
                     &err) != ERR_OK)
        log_warn("an order of the dispatcher cannot be read: %s", err.message);
    else if (message->type == PROTO_worker_assign)
        setup->assign(setup->arg, &order.assign);
    else if (message->type == PROTO_worker_cancel)
        setup->cancel(setup->arg, order.cancel.job, order.cancel.token);
    else if (message->type == PROTO_worker_release)
        setup->release(setup->arg, order.release.job, order.release.token);
    else
        setup->lost(setup->arg, order.lost.job, order.lost.token);
}

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    session_t *session = arg;
    (void)socket;
    session->heard_ms = clock_mono_ms();
    proto_arena_reset(session->arena);
    call_t *call = find_call(session, message->id);
    if (is_order(message->type))
        on_order(session, message);
    else if (read_not_leader(session, message))
        return;
    else if (message->id && (message->id == session->hello_id || message->id == session->renew_id))
        on_own_answer(session, message);
    else if (call)
        on_answer(session, call, message);
}

// --- Life
// ---------------------------------------------------------------------------------------

static void split_endpoints(session_t *session, const char *list) {
    char *copy = mem_dup(list), *rest = copy;
    for (char *part; (part = bus_next_endpoint(&rest)) != NULL;) {
        session->endpoints =
            mem_grow(session->endpoints, (session->endpoint_count + 1) * sizeof(char *));
        session->endpoints[session->endpoint_count++] = mem_dup(part);
    }
    free(copy);
}

err_code_t session_new(bus_loop_t *loop, const session_setup_t *setup, session_t **out,
                       err_t *err) {
    session_t *session = mem_zero(1, sizeof *session);
    session->loop = loop;
    session->setup = *setup;
    session->arena = proto_arena_new();
    gethostname(session->host, sizeof session->host - 1);
    split_endpoints(session, setup->endpoints);
    if (session->endpoint_count == 0) {
        session_destroy(&session);
        err_set(err, ERR_USAGE, "no endpoint of a dispatcher is given");
        return err_remedy(err, "set INKLING_DISPATCHER, e.g. to tcp://127.0.0.1:5555");
    }
    session->endpoint = mem_dup(session->endpoints[0]);
    session->connected_ms = session->heard_ms = clock_mono_ms();
    err_code_t code =
        bus_dealer_new(loop, session->endpoint, on_message, session, &session->dealer, err);
    if (code) {
        session_destroy(&session);
        return code;
    }
    set_heartbeat(session, setup->heartbeat_ms);
    session->pulse = bus_loop_timer(loop, PULSE_MS, PULSE_MS, on_pulse, session);
    send_hello(session);
    *out = session;
    return ERR_OK;
}

void session_destroy(session_t **self) {
    session_t *session = *self;
    if (!session)
        return;
    *self = NULL;
    bus_loop_timer_cancel(session->loop, session->beat);
    bus_loop_timer_cancel(session->loop, session->pulse);
    bus_socket_destroy(&session->dealer);
    proto_arena_destroy(&session->arena);
    for (size_t i = 0; i < session->endpoint_count; i++)
        free(session->endpoints[i]);
    free(session->endpoints);
    free(session->endpoint);
    free(session);
}

void session_drain(session_t *session) {
    session->draining = true;
    if (session->welcome)
        send_renew(session);
}

bool session_welcome(const session_t *session) {
    return session->welcome && session_silence_ms(session) <= silence_limit_ms(session);
}

const char *session_endpoint(const session_t *session) {
    return session->endpoint;
}

int64_t session_silence_ms(const session_t *session) {
    return clock_mono_ms() - session->heard_ms;
}

uint64_t session_reconnects(const session_t *session) {
    return session->reconnects;
}
