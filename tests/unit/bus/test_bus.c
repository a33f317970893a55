// Do the loop, the sockets and the blocking client do what their headers say, hostile frames
// included?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/bus.h"
#include "client/client.h"

#include <czmq.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

// --- The loop
// -------------------------------------------------------------------------------------

typedef struct {
    bus_loop_t *loop;
    char trace[64];
    int pipe[2], timer;
} trace_t;

static void note(trace_t *trace, char what) {
    size_t size = strlen(trace->trace);
    assert_true(size + 1 < sizeof trace->trace);
    trace->trace[size] = what;
}

static void on_deferred(void *arg) {
    note(arg, 'd');
}

static void on_fd(void *arg, int events) {
    trace_t *trace = arg;
    char byte;
    assert_int_equal(events, BUS_READ);
    assert_int_equal(read(trace->pipe[0], &byte, 1), 1);
    note(trace, byte);
    bus_loop_defer(trace->loop, on_deferred, trace);
    bus_loop_defer(trace->loop, on_deferred, trace); // kept once
}

static void on_tick(void *arg) {
    note(arg, 't');
}

static void on_late(void *arg) {
    trace_t *trace = arg;
    bus_loop_timer_cancel(trace->loop, trace->timer);
    bus_loop_watch(trace->loop, trace->pipe[0], 0, NULL, NULL);
    bus_loop_stop(trace->loop);
}

static void loop_runs_timers_descriptors_and_deferred(void **state) {
    (void)state;
    trace_t trace = {.loop = bus_loop_new()};
    assert_int_equal(pipe(trace.pipe), 0);
    assert_int_equal(write(trace.pipe[1], "xy", 2), 2);
    bus_loop_watch(trace.loop, trace.pipe[0], BUS_READ, on_fd, &trace);
    bus_loop_timer_cancel(trace.loop, bus_loop_timer(trace.loop, 1, 1, on_tick, &trace));
    trace.timer = bus_loop_timer(trace.loop, 40, 40, on_tick, &trace);
    bus_loop_timer(trace.loop, 100, 0, on_late, &trace);
    bus_loop_run(trace.loop);
    assert_string_equal(trace.trace, "xdydtt");
    close(trace.pipe[0]);
    close(trace.pipe[1]);
    bus_loop_destroy(&trace.loop);
    assert_null(trace.loop);
}

static void on_first_deferred(void *arg) {
    trace_t *trace = arg;
    note(trace, 'f');
    bus_loop_undefer(trace->loop, on_deferred, trace); // of the same round, and not run yet
    bus_loop_stop(trace->loop);
}

static void deferred_calls_are_forgotten(void **state) {
    (void)state;
    trace_t trace = {.loop = bus_loop_new()};
    bus_loop_defer(trace.loop, on_deferred, &trace);
    bus_loop_undefer(trace.loop, on_deferred, &trace);
    bus_loop_defer(trace.loop, on_first_deferred, &trace);
    bus_loop_defer(trace.loop, on_deferred, &trace);
    bus_loop_run(trace.loop);
    assert_string_equal(trace.trace, "f");
    bus_loop_destroy(&trace.loop);
}

// --- A server on a thread of its own
// --------------------------------------------------------------

typedef struct {
    char endpoint[80];
    const char *leader; // answers NOT_LEADER naming it, when set
    bus_loop_t *loop;
    int served, silent; // the first `silent` requests get no answer
    char key[64];       // of the last job.submit
    pthread_t thread;
    bus_socket_t *router;
} server_t;

static void stop_server(void *arg) {
    bus_loop_stop(((server_t *)arg)->loop);
}

static void serve(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    server_t *server = arg;
    if (message->type == PROTO_service_drain) {
        bus_reply(socket, message, PROTO_ok, &(proto_ok_t){0});
        bus_loop_timer(server->loop, 50, 0, stop_server, server);
        return;
    }
    if (server->silent > 0) {
        server->silent--;
        return;
    }
    server->served++;
    if (server->leader) {
        proto_error_t error = {
            .code = "NOT_LEADER", .message = "not here", .remedy = "", .leader = server->leader};
        bus_reply(socket, message, PROTO_error, &error);
    } else if (message->type == PROTO_job_submit) {
        proto_arena_t *arena = proto_arena_new();
        proto_job_submit_t submit;
        assert_int_equal(proto_decode(PROTO_job_submit, message->body.data, message->body.size,
                                      arena, &submit, NULL),
                         ERR_OK);
        snprintf(server->key, sizeof server->key, "%s", submit.key);
        bus_reply(socket, message, PROTO_job_submitted, &(proto_job_submitted_t){.job = "1"});
        proto_arena_destroy(&arena);
    } else if (message->type == PROTO_ping) {
        char text[64];
        snprintf(text, sizeof text, "frames-%zu-%zu", message->attachment_count,
                 message->attachment_count ? message->attachments[0].size : 0);
        bus_reply(socket, message, PROTO_pong, &(proto_pong_t){.service = text});
    } else {
        err_t err;
        err_set(&err, ERR_NOT_FOUND, "no job 'x'");
        err_remedy(&err, "inkling jobs lists them");
        bus_reply_error(socket, message, &err);
    }
}

static void *run_server(void *arg) {
    bus_loop_run(((server_t *)arg)->loop);
    return NULL;
}

static void start_server(server_t *server, const char *name) {
    snprintf(server->endpoint, sizeof server->endpoint, "ipc:///tmp/inkling-bus-%d-%s", getpid(),
             name);
    server->loop = bus_loop_new();
    err_t err;
    assert_int_equal(
        bus_router_new(server->loop, server->endpoint, serve, server, &server->router, &err),
        ERR_OK);
    assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
}

static void end_server(server_t *server) {
    client_t *client;
    assert_int_equal(client_new(server->endpoint, "the server", &client, NULL), ERR_OK);
    proto_arena_t *arena = proto_arena_new();
    proto_ok_t ok;
    assert_int_equal(client_request(client, PROTO_service_drain, &(proto_service_drain_t){0}, NULL,
                                    0, PROTO_ok, &ok, arena, 5000, NULL, NULL),
                     ERR_OK);
    pthread_join(server->thread, NULL);
    bus_socket_destroy(&server->router);
    bus_loop_destroy(&server->loop);
    client_destroy(&client);
    proto_arena_destroy(&arena);
}

static err_code_t ping(const char *endpoints, const proto_bytes_t *frames, size_t count,
                       char *service, int64_t timeout_ms, err_t *err) {
    client_t *client;
    err_code_t code = client_new(endpoints, "the server", &client, err);
    if (code)
        return code;
    proto_arena_t *arena = proto_arena_new();
    proto_pong_t pong;
    code = client_request(client, PROTO_ping, &(proto_ping_t){0}, frames, count, PROTO_pong, &pong,
                          arena, timeout_ms, NULL, err);
    if (code == ERR_OK)
        strcpy(service, pong.service);
    proto_arena_destroy(&arena);
    client_destroy(&client);
    return code;
}

static void requests_answers_and_errors(void **state) {
    (void)state;
    server_t server = {0};
    start_server(&server, "a");
    char service[64];
    err_t err;
    proto_bytes_t frames[] = {{"12345", 5}, {"", 0}};
    assert_int_equal(ping(server.endpoint, frames, 2, service, 5000, &err), ERR_OK);
    assert_string_equal(service, "frames-2-5");
    client_t *client;
    assert_int_equal(client_new(server.endpoint, "the server", &client, &err), ERR_OK);
    proto_arena_t *arena = proto_arena_new();
    proto_job_t job;
    assert_int_equal(client_request(client, PROTO_job_show, &(proto_job_show_t){.job = "x"}, NULL,
                                    0, PROTO_job, &job, arena, 5000, NULL, &err),
                     ERR_NOT_FOUND);
    assert_string_equal(err.message, "no job 'x'");
    assert_string_equal(err.remedy, "inkling jobs lists them");
    assert_int_equal(client_request(client, PROTO_job_show, &(proto_job_show_t){0}, NULL, 0,
                                    PROTO_job, &job, arena, 5000, NULL, &err),
                     ERR_INVALID); // refused before it is sent
    proto_job_submitted_t submitted;
    proto_job_submit_t submit = {.kind = "x", .max_attempts = 1};
    assert_int_equal(client_request(client, PROTO_job_submit, &submit, NULL, 0, PROTO_job_submitted,
                                    &submitted, arena, 5000, NULL, &err),
                     ERR_OK);
    proto_arena_destroy(&arena);
    client_destroy(&client);
    end_server(&server);
    assert_int_equal(strlen(server.key), 32); // a random idempotency key
}

// --- Answers all at once

enum { BURST = 2000 };

typedef struct {
    bus_loop_t *loop;
    bus_message_t to[BURST];
    int count, answers;
} burst_t;

static void on_burst(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    burst_t *burst = arg;
    burst->to[burst->count++] =
        (bus_message_t){.peer = message->peer, .type = message->type, .id = message->id};
    if (burst->count < BURST)
        return;
    for (int i = 0; i < BURST; i++)
        bus_reply(socket, &burst->to[i], PROTO_ok, &(proto_ok_t){0});
    bus_loop_stop(burst->loop);
}

static void on_burst_answer(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    burst_t *burst = arg;
    (void)socket;
    assert_int_equal(message->type, PROTO_ok);
    burst->answers++;
}

// A queue of answers that has room for all requests loses none when they are answered at once.
static void a_burst_of_answers_arrives(void **state) {
    (void)state;
    static burst_t burst;
    char endpoint[64];
    bus_socket_t *router, *dealer;
    err_t err;
    burst.loop = bus_loop_new();
    snprintf(endpoint, sizeof endpoint, "ipc:///tmp/bus-burst-%d", (int)getpid());
    assert_int_equal(bus_router_new_bounded(burst.loop, endpoint, &(bus_queues_t){16, BURST},
                                            on_burst, &burst, &router, &err),
                     ERR_OK);
    assert_int_equal(bus_dealer_new(NULL, endpoint, NULL, NULL, &dealer, &err), ERR_OK);
    for (uint64_t i = 1; i <= BURST; i++)
        assert_int_equal(
            bus_send(dealer, NULL, i, 0, PROTO_ping, &(proto_ping_t){0}, NULL, 0, &err), ERR_OK);
    bus_loop_run(burst.loop);
    while (burst.answers < BURST)
        if (bus_receive(dealer, 60000, on_burst_answer, &burst, &err) != ERR_OK)
            fail_msg("%d answers: %s", burst.answers, err.message);
    bus_socket_destroy(&dealer);
    bus_socket_destroy(&router);
    bus_loop_destroy(&burst.loop);
}

static void clients_follow_the_leader(void **state) {
    (void)state;
    server_t leader = {0}, standby = {0};
    start_server(&leader, "leader");
    standby.leader = leader.endpoint;
    start_server(&standby, "standby");
    char service[64];
    err_t err;
    assert_int_equal(ping(standby.endpoint, NULL, 0, service, 5000, &err), ERR_OK);
    end_server(&standby);
    assert_int_equal(standby.served, 1);
    // A list whose first entry is away.
    char list[256];
    snprintf(list, sizeof list, "%s, %s", standby.endpoint, leader.endpoint);
    assert_int_equal(ping(list, NULL, 0, service, 10000, &err), ERR_OK);
    end_server(&leader);
    assert_int_equal(leader.served, 2);
}

static void nobody_there(void **state) {
    (void)state;
    char service[64];
    err_t err;
    int64_t start = clock_mono_ms();
    assert_int_equal(ping("ipc:///tmp/inkling-bus-nobody", NULL, 0, service, 300, &err),
                     ERR_UNAVAILABLE);
    assert_in_range(clock_mono_ms() - start, 250, 3000);
    assert_non_null(strstr(err.message, "the server"));
    assert_int_equal(ping("tcp:/wrong", NULL, 0, service, 300, &err), ERR_INVALID);
    assert_int_equal(ping(" , ", NULL, 0, service, 300, &err), ERR_USAGE);
}

static void endpoints_that_are_refused(void **state) {
    (void)state;
    server_t server = {0};
    start_server(&server, "taken");
    bus_loop_t *loop = bus_loop_new();
    bus_socket_t *socket;
    err_t err;
    assert_int_equal(bus_router_new(loop, server.endpoint, serve, NULL, &socket, &err),
                     ERR_CONFLICT);
    assert_non_null(strstr(err.message, server.endpoint));
    assert_int_equal(bus_router_new(loop, "tcp://0.0.0.0:5999", serve, NULL, &socket, &err),
                     ERR_DENIED);
    char deep[300] = "ipc:///";
    memset(deep + 7, 'd', 200);
    assert_int_equal(bus_router_new(loop, deep, serve, NULL, &socket, &err), ERR_INVALID);
    bus_loop_destroy(&loop);
    end_server(&server);
}

// Raw frames of a stranger: each gets an error answer or silence, and the server serves on.
static void lists_of_endpoints_are_cut_at_commas_alone(void **state) {
    (void)state;
    char text[] = " ipc:///a b/x.sock ,, tcp://h:1,\t,tcp://h:2 ", *rest = text;
    assert_string_equal(bus_next_endpoint(&rest), "ipc:///a b/x.sock");
    assert_string_equal(bus_next_endpoint(&rest), "tcp://h:1");
    assert_string_equal(bus_next_endpoint(&rest), "tcp://h:2");
    assert_null(bus_next_endpoint(&rest));
    assert_null(bus_next_endpoint(&rest));
}

static void hostile_frames(void **state) {
    (void)state;
    server_t server = {0};
    start_server(&server, "hostile");
    zsock_t *raw = zsock_new_dealer(NULL);
    assert_int_equal(zsock_connect(raw, "%s", server.endpoint), 0);
    static const struct {
        const char *bytes;
        size_t size;
    } headers[] = {
        {"", 0},
        {"\xdd\x01\x00\x00\x00", 5},              // 16 M entries in 5 bytes
        {"\xc1", 1},                              // never used
        {"\x81\xa1v\x01", 4},                     // no type
        {"\x82\xa1v\x01\xa4type\xa7no.such", 17}, // unknown type
        {"\x82\xa1v\x63\xa4type\xa4ping", 14},    // version 99
        {"\x82\xa1v\x01\xa4type\xa4pin", 13},     // cut off
        {"\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\xc0", 20},
    };
    zsock_set_rcvtimeo(raw, 5000);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        zframe_t *frame = zframe_new(headers[i].bytes, headers[i].size);
        assert_int_equal(zframe_send(&frame, raw, 0), 0);
        zmsg_t *answer = zmsg_recv(raw);
        assert_non_null(answer);
        zframe_t *head = zmsg_first(answer);
        proto_arena_t *arena = proto_arena_new();
        proto_header_t header;
        assert_int_equal(
            proto_decode(PROTO_header, zframe_data(head), zframe_size(head), arena, &header, NULL),
            ERR_OK);
        assert_string_equal(header.type, "error");
        proto_arena_destroy(&arena);
        zmsg_destroy(&answer);
    }
    zsock_destroy(&raw);
    char service[64];
    assert_int_equal(ping(server.endpoint, NULL, 0, service, 5000, NULL), ERR_OK);
    end_server(&server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loop_runs_timers_descriptors_and_deferred),
        cmocka_unit_test(deferred_calls_are_forgotten),
        cmocka_unit_test(requests_answers_and_errors),
        cmocka_unit_test(a_burst_of_answers_arrives),
        cmocka_unit_test(clients_follow_the_leader),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(endpoints_that_are_refused),
        cmocka_unit_test(lists_of_endpoints_are_cut_at_commas_alone),
        cmocka_unit_test(hostile_frames),
    };
    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
