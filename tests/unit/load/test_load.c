// Does every request end exactly once, with the right end and a time that counts from when it was
// due, over a wire that does as it is told, over ZeroMQ, and over HTTP with servers good and bad?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "bus/parcel.h"
#include "load/load.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static load_result_t result; // large for a stack

static void judge(void *arg, const load_answer_t *answer, load_verdict_t *verdict) {
    (void)answer;
    *verdict =
        (load_verdict_t){.kind = arg, .message = arg ? "as told" : NULL, .images = arg ? 0 : 1};
}

static load_t *generator(const load_plan_t *plan, const char *kind) {
    load_t *load = NULL;
    err_t err;
    if (load_new(plan, judge, (void *)(uintptr_t)kind, &load, &err) != ERR_OK)
        fail_msg("%s", err.message);
    return load;
}

static uint64_t count_of(const char *kind) {
    for (size_t i = 0; i < result.kind_count; i++)
        if (strcmp(result.kinds[i].name, kind) == 0)
            return result.kinds[i].count;
    return 0;
}

// --- A wire that does as it is told

typedef struct {
    load_wire_t base;
    load_t *load;
    uint64_t tickets[4096]; // sent and not answered
    size_t count, most, sent, forgotten;
    bool closed, silent, late;  // takes nothing; answers nothing, or only what is given up
    int64_t stall_ms, opens_ms; // from the first request on it does nothing for so long: until then
} fake_t;

static bool fake_send(load_wire_t *self, size_t request, uint64_t ticket) {
    fake_t *fake = (fake_t *)self;
    (void)request;
    if (fake->opens_ms == 0)
        fake->opens_ms = clock_mono_ms() + fake->stall_ms;
    if (fake->closed || fake->count == sizeof fake->tickets / sizeof *fake->tickets)
        return false;
    fake->tickets[fake->count++] = ticket;
    fake->most = fake->count > fake->most ? fake->count : fake->most;
    fake->sent++;
    return true;
}

static void fake_forget(load_wire_t *self, uint64_t ticket) {
    fake_t *fake = (fake_t *)self;
    fake->forgotten++;
    if (fake->late)
        load_answered(fake->load, ticket, &(load_answer_t){0});
}

static void fake_destroy(load_wire_t *self) {
    (void)self;
}

static void fake_tick(void *arg) {
    fake_t *fake = arg;
    if (fake->opens_ms == 0 || clock_mono_ms() < fake->opens_ms)
        return;
    if (fake->closed && !fake->silent) {
        fake->closed = false;
        load_room(fake->load);
    }
    for (size_t i = 0; i < fake->count && !fake->silent; i++)
        load_answered(fake->load, fake->tickets[i], &(load_answer_t){0});
    if (!fake->silent)
        fake->count = 0;
}

static void run_fake(const load_plan_t *plan, fake_t *fake, const char *kind) {
    static const load_wire_class_t class = {fake_send, fake_forget, fake_destroy};
    fake->base.class = &class;
    fake->load = generator(plan, kind);
    int tick = bus_loop_timer(load_loop(fake->load), 1, 1, fake_tick, fake);
    load_run(fake->load, &fake->base, &result);
    bus_loop_timer_cancel(load_loop(fake->load), tick);
    load_destroy(&fake->load);
}

// A service that stands still for the first half: who sends nothing meanwhile sees one slow
// request; who counts from when they were due sees half of all of them wait, a quarter for more
// than a quarter of the time.
static void a_stall_is_seen_by_all_requests_that_were_due(void **state) {
    (void)state;
    static const bool closed[] = {false, true}; // it does not answer, or takes nothing
    for (int i = 0; i < 2; i++) {
        load_plan_t plan = {.rate = 1000,
                            .length_ms = 1000,
                            .timeout_ms = 60000,
                            .requests = 3,
                            .deadline_ms = 100};
        fake_t fake = {.stall_ms = 500, .closed = closed[i]};
        run_fake(&plan, &fake, NULL);
        assert_int_equal(result.offered, 1000);
        assert_int_equal(result.answered, 1000);
        assert_int_equal(result.latency.count, 1000);
        assert_true(hist_quantile(&result.latency, 0.75) >= 240 * 1000000);
        assert_true(hist_quantile(&result.latency, 1) >= 490 * 1000000);
        assert_true(result.in_time <= 600);
        assert_int_equal(result.kind_count, 0);
        if (closed[i])
            assert_true(hist_quantile(&result.departure, 1) >= 490 * 1000000);
    }
}

static void a_closed_loop_keeps_its_number(void **state) {
    (void)state;
    load_plan_t plan = {.concurrency = 7, .length_ms = 200, .timeout_ms = 60000, .requests = 1};
    fake_t fake = {.closed = false};
    run_fake(&plan, &fake, NULL);
    assert_int_equal(fake.most, 7);
    assert_true(result.offered >= 7 && result.answered == result.offered);
    assert_true(result.images <= result.answered);
}

static void warm_up_is_not_counted(void **state) {
    (void)state;
    load_plan_t plan = {
        .rate = 500, .warmup_ms = 200, .length_ms = 200, .timeout_ms = 60000, .requests = 1};
    fake_t fake = {.closed = false};
    run_fake(&plan, &fake, NULL);
    assert_int_equal(fake.sent, 200);
    assert_int_equal(result.offered, 100);
    assert_int_equal(result.answered, 100);
    run_fake(&plan, &fake, "FULL"); // errors of that time are, apart
    assert_int_equal(result.failed, 100);
    assert_int_equal(result.warmup_failed, 100);
    assert_int_equal(count_of("FULL"), 200);
    assert_string_equal(result.kinds[0].message, "as told");
    assert_int_equal(result.latency.count, 0);
    assert_int_equal(result.images, 0);
}

static void what_has_no_answer_is_given_up(void **state) {
    (void)state;
    load_plan_t plan = {.rate = 1000, .length_ms = 100, .timeout_ms = 50, .requests = 1};
    fake_t fake = {.silent = true};
    run_fake(&plan, &fake, NULL);
    uint64_t unsent = count_of(LOAD_NOT_SENT); // where this process stood still
    assert_int_equal(result.failed, 100);
    assert_int_equal(count_of(LOAD_NO_ANSWER) + unsent, 100);
    assert_true(unsent < 100);
    assert_int_equal(fake.forgotten, 100 - unsent);
    fake = (fake_t){.closed = true, .silent = true};
    run_fake(&plan, &fake, NULL);
    assert_int_equal(count_of(LOAD_NOT_SENT), 100);
    assert_int_equal(result.failed, 100);
    assert_int_equal(fake.forgotten, 0);
}

static void late_answers_are_nobodys(void **state) {
    (void)state;
    load_plan_t plan = {.rate = 1000, .length_ms = 100, .timeout_ms = 50, .requests = 1};
    fake_t fake = {.silent = true, .late = true};
    run_fake(&plan, &fake, NULL);
    assert_int_equal(result.answered, 0);
    assert_int_equal(result.failed, 100);
    assert_true(result.late > 0);
    assert_int_equal(result.late, fake.forgotten);
}

static void a_stop_ends_it(void **state) {
    (void)state;
    static const volatile bool stop = true;
    load_plan_t plan = {
        .rate = 1000, .length_ms = 3600000, .timeout_ms = 60000, .requests = 1, .stop = &stop};
    fake_t fake = {.silent = true};
    run_fake(&plan, &fake, NULL);
    assert_true(result.seconds < 3000);
    assert_int_equal(result.offered, result.open);
}

// --- ZeroMQ

typedef struct {
    int received;
    bool right;
} served_t;

static void on_classify(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    served_t *served = arg;
    const char *wanted = message->attachments[0].size == 3 ? "one" : "second";
    served->received++;
    served->right = served->right && message->type == PROTO_classify &&
                    message->deadline_ms == 77 && message->attachment_count == 1 &&
                    memcmp(message->attachments[0].data, wanted, strlen(wanted)) == 0;
    bus_reply(socket, message, PROTO_ok, &(proto_ok_t){0});
}

static void requests_go_over_zeromq(void **state) {
    (void)state;
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "ipc:///tmp/load-test-%d", (int)getpid());
    load_plan_t plan = {.concurrency = 5, .length_ms = 500, .timeout_ms = 60000, .requests = 2};
    load_t *load = generator(&plan, NULL);
    served_t served = {.right = true};
    bus_socket_t *router = NULL;
    bus_parcel_t *parcels[2] = {NULL, NULL};
    load_wire_t *wire = NULL;
    err_t err;
    proto_classify_t message;
    proto_defaults(PROTO_classify, &message);
    static const proto_bytes_t files[] = {{"one", 3}, {"second", 6}};
    assert_int_equal(bus_router_new(load_loop(load), endpoint, on_classify, &served, &router, &err),
                     ERR_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            bus_parcel_new(PROTO_classify, &message, 77, &files[i], 1, &parcels[i], &err), ERR_OK);
    assert_int_equal(load_wire_zmq(load, endpoint, 3, parcels, &wire, &err), ERR_OK);
    load_run(load, wire, &result);
    assert_true(served.right);
    assert_true(result.answered > 0 && result.answered == result.offered);
    assert_int_equal(served.received, (int)result.answered);
    assert_int_equal(result.kind_count, 0);
    load_wire_destroy(&wire);
    bus_socket_destroy(&router);
    for (int i = 0; i < 2; i++)
        bus_parcel_destroy(&parcels[i]);
    load_destroy(&load);
}

// --- HTTP: a server in the generator's own loop

#define GOOD "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

typedef struct {
    bus_loop_t *loop;
    int listener, fds[16];
    size_t count, answers;
    const char *script; // what each answer is
    size_t cut;         // bytes of it to send at first, the rest a little later; 0: all
    bool closes;        // after the answer
} server_t;

typedef struct {
    server_t *server;
    int fd;
} guest_t;

static guest_t guests[256];
static size_t guest_count;

static void leave(guest_t *guest) {
    bus_loop_watch(guest->server->loop, guest->fd, 0, NULL, NULL);
    close(guest->fd);
    guest->fd = -1;
}

static void send_rest(void *arg) {
    guest_t *guest = arg;
    const char *rest = guest->server->script + guest->server->cut;
    if (guest->fd >= 0)
        send(guest->fd, rest, strlen(rest), MSG_NOSIGNAL);
}

static void on_guest(void *arg, int events) {
    guest_t *guest = arg;
    const server_t *server = guest->server;
    char bytes[256];
    (void)events;
    ssize_t got = recv(guest->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got <= 0) {
        leave(guest);
        return;
    }
    assert_int_equal(got, 8);
    assert_memory_equal(bytes, "question", 8);
    guest->server->answers++;
    size_t size = server->cut ? server->cut : strlen(server->script);
    send(guest->fd, server->script, size, MSG_NOSIGNAL);
    if (server->cut)
        bus_loop_timer(server->loop, 1, 0, send_rest, guest);
    if (server->closes)
        leave(guest);
}

static void on_listener(void *arg, int events) {
    server_t *server = arg;
    (void)events;
    int fd = accept(server->listener, NULL, NULL);
    assert_true(fd >= 0);
    if (guest_count == sizeof guests / sizeof *guests) {
        close(fd);
        return;
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    guest_t *guest = &guests[guest_count++];
    *guest = (guest_t){server, fd};
    bus_loop_watch(server->loop, fd, BUS_READ, on_guest, guest);
}

static void serve(server_t *server, char url[64]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server->listener, 64), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(url, 64, "http://127.0.0.1:%d", ntohs(address.sin_port));
    bus_loop_watch(server->loop, server->listener, BUS_READ, on_listener, server);
}

static void run_http(const load_plan_t *plan, server_t *server, size_t connections) {
    static const proto_bytes_t question = {"question", 8};
    char url[64];
    load_t *load = generator(plan, NULL);
    load_wire_t *wire = NULL;
    err_t err;
    server->loop = load_loop(load);
    guest_count = 0;
    serve(server, url);
    if (load_wire_http(load, url, connections, &question, &wire, &err) != ERR_OK)
        fail_msg("%s", err.message);
    load_run(load, wire, &result);
    load_wire_destroy(&wire);
    for (size_t i = 0; i < guest_count; i++)
        if (guests[i].fd >= 0)
            leave(&guests[i]);
    bus_loop_watch(server->loop, server->listener, 0, NULL, NULL);
    close(server->listener);
    load_destroy(&load);
}

static void requests_go_over_http(void **state) {
    (void)state;
    load_plan_t plan = {.concurrency = 4, .length_ms = 500, .timeout_ms = 60000, .requests = 1};
    server_t server = {.script = GOOD};
    run_http(&plan, &server, 4);
    assert_true(result.answered > 0 && result.answered == result.offered);
    assert_int_equal(result.answered, server.answers);
    assert_int_equal(result.kind_count, 0);
    assert_int_equal(result.reconnects, 0);
    server = (server_t){.script = GOOD, .cut = 20}; // in the head
    run_http(&plan, &server, 4);
    assert_true(result.answered > 0 && result.answered == server.answers);
    server = (server_t){.script = GOOD, .cut = strlen(GOOD) - 1}; // in the body
    run_http(&plan, &server, 4);
    assert_true(result.answered > 0 && result.answered == server.answers);
    assert_int_equal(result.kind_count, 0);
}

static void more_connections_than_descriptors_are_usual(void **state) {
    (void)state;
    static const proto_bytes_t question = {"question", 8};
    struct rlimit limit, small;
    load_plan_t plan = {.concurrency = 300, .length_ms = 100, .timeout_ms = 100, .requests = 1};
    load_t *load = generator(&plan, NULL);
    server_t server = {.loop = load_loop(load), .script = GOOD};
    load_wire_t *wire = NULL;
    char url[64];
    err_t err;
    serve(&server, url);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    small = limit;
    small.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    if (load_wire_http(load, url, 300, &question, &wire, &err) != ERR_OK)
        fail_msg("%s", err.message);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &small), 0);
    assert_true(small.rlim_cur >= 300);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    load_wire_destroy(&wire);
    bus_loop_watch(server.loop, server.listener, 0, NULL, NULL);
    close(server.listener);
    load_destroy(&load);
}

static void more_due_than_connections_waits(void **state) {
    (void)state;
    load_plan_t plan = {.rate = 2000, .length_ms = 200, .timeout_ms = 60000, .requests = 1};
    server_t server = {.script = GOOD, .cut = 20};
    run_http(&plan, &server, 1); // 1 ms each at least, one at a time
    assert_int_equal(result.answered, 400);
    assert_true(hist_quantile(&result.departure, 1) >= 150 * 1000000);
}

static void bad_servers_are_told_apart(void **state) {
    (void)state;
    static const struct {
        const char *script, *kind;
        bool closes;
    } servers[] = {
        {"", LOAD_LOST, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", LOAD_LOST, true},
        {"SSH-2.0\r\n", LOAD_BAD_ANSWER, false},
        {GOOD "HTTP/1.1", LOAD_BAD_ANSWER, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", LOAD_BAD_ANSWER, false},
    };
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        load_plan_t plan = {.rate = 100, .length_ms = 200, .timeout_ms = 60000, .requests = 1};
        server_t server = {.script = servers[i].script, .closes = servers[i].closes};
        run_http(&plan, &server, 2);
        assert_int_equal(result.failed, 20);
        assert_int_equal(count_of(servers[i].kind), 20);
        assert_true(result.reconnects >= 18);
    }
    load_plan_t plan = {.rate = 100, .length_ms = 200, .timeout_ms = 100, .requests = 1};
    server_t server = {.script = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"}; // never ends
    run_http(&plan, &server, 4);
    assert_int_equal(result.failed, 20);
    assert_int_equal(count_of(LOAD_NO_ANSWER) + count_of(LOAD_NOT_SENT), 20);
    assert_true(count_of(LOAD_NO_ANSWER) > 0);
}

static void a_server_that_closes_behind_each_answer_is_fine(void **state) {
    (void)state;
    load_plan_t plan = {.rate = 100, .length_ms = 300, .timeout_ms = 60000, .requests = 1};
    server_t server = {.script =
                           "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                       .closes = true};
    run_http(&plan, &server, 2);
    assert_int_equal(result.answered, 30);
    assert_true(result.reconnects >= 28);
    assert_int_equal(result.kind_count, 0);
}

static void addresses_are_read(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "",           "127.0.0.1:80", "https://a:1", "http://:80",      "http://a",    "http://a:",
        "http://a:x", "http://a:1x",  "http://[a",   "http://a:123456", "http://a:1//"};
    char host[256], port[8];
    err_t err;
    assert_int_equal(load_url("http://127.0.0.1:8080/", host, port, &err), ERR_OK);
    assert_string_equal(host, "127.0.0.1");
    assert_string_equal(port, "8080");
    assert_int_equal(load_url("http://[::1]:80", host, port, &err), ERR_OK);
    assert_string_equal(host, "::1");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(load_url(wrong[i], host, port, &err), ERR_USAGE);
}

static void nobody_there_is_said_at_once(void **state) {
    (void)state;
    load_plan_t plan = {.concurrency = 1, .length_ms = 100, .timeout_ms = 100, .requests = 1};
    load_t *load = generator(&plan, NULL);
    static const proto_bytes_t question = {"question", 8};
    load_wire_t *wire = NULL;
    err_t err;
    assert_int_equal(load_wire_http(load, "http://127.0.0.1:1", 1, &question, &wire, &err),
                     ERR_UNAVAILABLE);
    load_destroy(&load);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stall_is_seen_by_all_requests_that_were_due),
        cmocka_unit_test(a_closed_loop_keeps_its_number),
        cmocka_unit_test(warm_up_is_not_counted),
        cmocka_unit_test(what_has_no_answer_is_given_up),
        cmocka_unit_test(late_answers_are_nobodys),
        cmocka_unit_test(a_stop_ends_it),
        cmocka_unit_test(requests_go_over_zeromq),
        cmocka_unit_test(requests_go_over_http),
        cmocka_unit_test(more_connections_than_descriptors_are_usual),
        cmocka_unit_test(more_due_than_connections_waits),
        cmocka_unit_test(bad_servers_are_told_apart),
        cmocka_unit_test(a_server_that_closes_behind_each_answer_is_fine),
        cmocka_unit_test(addresses_are_read),
        cmocka_unit_test(nobody_there_is_said_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
