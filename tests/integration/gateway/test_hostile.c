// Does the gateway stay up, bounded and fair with clients that break the protocol, send too much,
// never read, or are in a hurry?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/philox.h"
#include "prep/prep.h"
#include "proto/codec.h"
#include "scene.h"

#include <czmq.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

// A gateway that serves model a@1.
static void open_serving(scene_t *scene, const char *const *args) {
    scene_open(scene);
    scene_model(scene, "a", 1, 8, 1, 2);
    registry_promote(scene->registry, "a", 1);
    scene_listen(scene);
    scene_gateway(scene, args);
    scene_await_ready(scene);
}

static void check_serves(scene_t *scene) {
    proto_bytes_t image = scene_image(scene, 5);
    expected_t expected = scene_expected(scene, "a", 1, image);
    proto_classified_t answer;
    err_t err;
    if (scene_classify(scene, "a", 10000, &image, 1, &answer, &err))
        fail_msg("%s", err.message);
    scene_check(&expected, "a", 1, &answer.results.items[0]);
    scene_free_images(&image, 1);
}

// --- Clients without the library

static zsock_t *raw_client(const scene_t *scene) {
    zsock_t *raw = zsock_new(ZMQ_DEALER);
    assert_non_null(raw);
    zsock_set_linger(raw, 0);
    zsock_set_sndhwm(raw, 0);
    zsock_set_rcvtimeo(raw, PATIENCE_MS);
    assert_int_equal(zsock_connect(raw, "%s", scene->gateway), 0);
    return raw;
}

static void encode(proto_type_t type, const void *message, buf_t *out) {
    buf_init(out, 65536);
    assert_int_equal(proto_encode(type, message, out, NULL), ERR_OK);
}

static void send_classify(zsock_t *raw, uint64_t id, uint64_t deadline_ms, const char *model,
                          const proto_bytes_t *images, size_t count) {
    buf_t header, body;
    zmsg_t *frames = zmsg_new();
    encode(PROTO_header,
           &(proto_header_t){.v = 1, .type = "classify", .id = id, .deadline_ms = deadline_ms},
           &header);
    encode(PROTO_classify, &(proto_classify_t){.model = model, .wait_ms = 20000}, &body);
    zmsg_addmem(frames, header.data, header.size);
    zmsg_addmem(frames, body.data, body.size);
    for (size_t i = 0; i < count; i++)
        zmsg_addmem(frames, images[i].data, images[i].size);
    assert_int_equal(zmsg_send(&frames, raw), 0);
    buf_release(&header);
    buf_release(&body);
}

typedef struct {
    uint64_t id;
    char type[65], code[33], message[512];
} answer_t;

static answer_t receive(zsock_t *raw) {
    answer_t answer = {0};
    proto_arena_t *arena = proto_arena_new();
    proto_header_t header;
    zmsg_t *frames = zmsg_recv(raw);
    assert_non_null(frames);
    zframe_t *frame = zmsg_first(frames);
    assert_int_equal(
        proto_decode(PROTO_header, zframe_data(frame), zframe_size(frame), arena, &header, NULL),
        ERR_OK);
    answer.id = header.id;
    snprintf(answer.type, sizeof answer.type, "%s", header.type);
    frame = zmsg_next(frames);
    if (strcmp(header.type, "error") == 0) {
        proto_error_t error;
        assert_int_equal(
            proto_decode(PROTO_error, zframe_data(frame), zframe_size(frame), arena, &error, NULL),
            ERR_OK);
        snprintf(answer.code, sizeof answer.code, "%s", error.code);
        snprintf(answer.message, sizeof answer.message, "%s", error.message);
    }
    zmsg_destroy(&frames);
    proto_arena_destroy(&arena);
    return answer;
}

static void expect_error(zsock_t *raw, const char *code) {
    answer_t answer = receive(raw);
    assert_string_equal(answer.code, code);
    assert_true(answer.message[0] != 0);
}

static void send_frames(zsock_t *raw, const proto_bytes_t *parts, size_t count) {
    zmsg_t *frames = zmsg_new();
    for (size_t i = 0; i < count; i++)
        zmsg_addmem(frames, parts[i].data, parts[i].size);
    assert_int_equal(zmsg_send(&frames, raw), 0);
}

static void broken_messages_are_answered(void **state) {
    (void)state;
    scene_t scene;
    buf_t header, list, future;
    open_serving(&scene, NULL);
    zsock_t *raw = raw_client(&scene);
    encode(PROTO_header, &(proto_header_t){.v = 1, .type = "classify", .id = 9}, &header);
    encode(PROTO_header, &(proto_header_t){.v = 1, .type = "job.submit", .id = 9}, &list);
    encode(PROTO_header, &(proto_header_t){.v = 9, .type = "classify", .id = 9}, &future);
    const proto_bytes_t good = {header.data, header.size}, image = {"x", 1};
    static const char bomb[] = "\xdd\x7f\xff\xff\xff", deep[] = "\x91\x91\x91\x91\x91\x91\x91\x91"
                                                                "\x91\x91\x91\x91\x91\x91\x91\x91"
                                                                "\x91\x91\x91\x91\xc0";
    char *big = mem_zero(1, 17u << 20), long_model[200] = "\x81\xa5model\xd9\x64";
    memset(long_model + 9, 'n', 100);
    const struct {
        proto_bytes_t parts[3];
        size_t count;
        const char *code;
    } cases[] = {
        {{{"", 0}}, 1, "INVALID"},
        {{{"\xc1", 1}}, 1, "PROTOCOL"},
        {{{bomb, 5}}, 1, "PROTOCOL"},
        {{{big, 5000}}, 1, "TOO_LARGE"},
        {{{header.data, header.size - 1}}, 1, "PROTOCOL"},
        {{{future.data, future.size}, {"\x80", 1}}, 2, "UNSUPPORTED"},
        {{{list.data, list.size}, {"\x80", 1}}, 2, "UNSUPPORTED"},
        {{good}, 1, "INVALID"},              // no image
        {{good, {"\x80", 1}}, 2, "INVALID"}, // no image
        {{good, {bomb, 5}, image}, 3, "PROTOCOL"},
        {{good, {deep, sizeof deep - 1}, image}, 3, "PROTOCOL"},
        {{good, {"\x81\xa5model\x01", 8}, image}, 3, "INVALID"},
        {{good, {"\x81\xa5model\xa1\xff", 9}, image}, 3, "INVALID"},
        {{good, {"\x81\xa7wait_ms\xce\xff\xff\xff\xff", 14}, image}, 3, "INVALID"},
        {{good, {long_model, 109}, image}, 3, "INVALID"},
        {{good, {big, 17u << 20}, image}, 3, "TOO_LARGE"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        send_frames(raw, cases[i].parts, cases[i].count);
        answer_t answer = receive(raw);
        if (strcmp(answer.code, cases[i].code) != 0)
            fail_msg("case %zu: %s (%s) instead of %s", i, answer.code, answer.message,
                     cases[i].code);
    }
    zmsg_t *many = zmsg_new(); // more attachments than a message may have
    zmsg_addmem(many, header.data, header.size);
    zmsg_addmem(many, "\x80", 1);
    for (int i = 0; i < 5000; i++)
        zmsg_addmem(many, "x", 1);
    zmsg_send(&many, raw);
    expect_error(raw, "TOO_LARGE");
    zsock_destroy(&raw);
    check_serves(&scene);
    free(big);
    buf_release(&header);
    buf_release(&list);
    buf_release(&future);
    scene_close(&scene);
}

static void random_bytes_are_harmless(void **state) {
    (void)state;
    scene_t scene;
    open_serving(&scene, NULL);
    zsock_t *raw = raw_client(&scene);
    proto_bytes_t image = scene_image(&scene, 2);
    buf_t header;
    encode(PROTO_header, &(proto_header_t){.v = 1, .type = "classify", .id = 9}, &header);
    enum { ROUNDS = 600, WINDOW = 200 }; // a client may leave 256 answers unread, see bus.h
    for (uint32_t round = 0; round < ROUNDS; round++) {
        philox_t random = philox(3, round, 0, 0, 0);
        uint8_t head[256], noise[512], *file = mem_alloc(image.size);
        size_t size = header.size;
        memcpy(head, header.data, size);
        memcpy(file, image.data, image.size);
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)philox(4, round, (uint32_t)i, 0, 0).v[0];
        if (round % 3 == 0)
            head[random.v[0] % size] ^= (uint8_t)(1u << random.v[1] % 8);
        else
            for (uint32_t i = 0; i < 1 + random.v[0] % 8; i++)
                file[philox(6, round, i, 0, 0).v[0] % image.size] ^= 0x55;
        const proto_bytes_t parts[3] = {
            {head, size}, {noise, round % 3 == 1 ? random.v[2] % 500 : 0}, {file, image.size}};
        send_frames(raw, parts, 3);
        free(file);
        for (int i = 0; i < WINDOW && round % WINDOW == WINDOW - 1; i++)
            receive(raw); // each one gets some answer
    }
    zsock_destroy(&raw);
    check_serves(&scene);
    buf_release(&header);
    scene_free_images(&image, 1);
    scene_close(&scene);
}

// --- Not even ZeroMQ

static int raw_stream(const scene_t *scene) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", scene->gateway + strlen("ipc://"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void put(int fd, const void *bytes, size_t size) {
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

// ZMTP 3.0: greeting and READY of a DEALER without security.
static void handshake(int fd) {
    uint8_t greeting[64] = {0xff, [9] = 0x7f, [10] = 3, [12] = 'N', 'U', 'L', 'L'};
    static const char ready[] = "\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06"
                                "DEALER\x08Identity\0\0\0";
    put(fd, greeting, sizeof greeting);
    put(fd, ready, sizeof ready); // with the string's end as the last byte of a length
    char answer[512];
    size_t size = 0;
    while (size < 70 || !memmem(answer, size, "READY", 5)) { // its greeting, its READY
        ssize_t got = recv(fd, answer + size, sizeof answer - size, 0);
        assert_true(got > 0);
        size += (size_t)got;
    }
}

// True when the other side closes the connection, whatever it says before.
static bool is_closed(int fd) {
    char bytes[256];
    ssize_t got;
    while ((got = recv(fd, bytes, sizeof bytes, 0)) > 0)
        continue;
    return got == 0 || errno == ECONNRESET;
}

static void broken_streams_are_cut(void **state) {
    (void)state;
    enum { HALF = 40 };
    scene_t scene;
    int half[HALF];
    open_serving(&scene, NULL);
    for (int i = 0; i < HALF; i++) { // stop somewhere in the handshake, and stay
        uint8_t greeting[64] = {0xff, [9] = 0x7f, [10] = 3, [12] = 'N', 'U', 'L', 'L'};
        half[i] = raw_stream(&scene);
        put(half[i], greeting, (size_t)i);
    }
    for (uint32_t i = 0; i < 100; i++) { // noise instead of it
        uint8_t noise[200];
        for (uint32_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)philox(11, i, k, 0, 0).v[0];
        int fd = raw_stream(&scene);
        put(fd, noise, sizeof noise);
        close(fd);
    }
    int64_t before = scene_rss(&scene);
    int fd = raw_stream(&scene); // a frame that says it has 2^60 bytes
    handshake(fd);
    put(fd, "\x02\x10\0\0\0\0\0\0\0", 9);
    assert_true(is_closed(fd));
    close(fd);
    fd = raw_stream(&scene); // a message that ends in the middle of a frame
    handshake(fd);
    put(fd,
        "\x01\x05"
        "abcde\x00\x50"
        "abc",
        12);
    close(fd);
    check_serves(&scene);
    int64_t growth = scene_rss(&scene) - before;
    print_message("broken streams: grown by %.1f MiB\n", (double)growth / 1048576);
#ifndef GATEWAY_SANITIZED // whose own memory grows as well
    assert_true(growth < 64 << 20);
#endif
    for (int i = 0; i < HALF; i++)
        close(half[i]);
    scene_close(&scene);
}

// Whoever goes before the answer comes costs nothing, and ends nothing.
static void clients_that_leave_are_forgotten(void **state) {
    (void)state;
    enum { COUNT = 200 };
    scene_t scene;
    open_serving(&scene, NULL);
    proto_bytes_t image = scene_image(&scene, 4);
    for (uint64_t i = 0; i < COUNT; i++) {
        zsock_t *raw = raw_client(&scene);
        zsock_set_linger(raw, 1000);
        send_classify(raw, i, 0, i % 3 == 0 ? "nobody" : "a", &image, 1);
        zsock_destroy(&raw);
    }
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while ((proc_metric(&scene.proc, "inkling_gateway_requests_total") < COUNT ||
            proc_metric(&scene.proc, "inkling_gateway_open_requests") > 0) &&
           clock_mono_ms() < end)
        clock_sleep_ms(20);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_open_requests") == 0);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_open_bytes") == 0);
    check_serves(&scene);
    scene_free_images(&image, 1);
    scene_close(&scene);
}

// --- Too much

static void too_much_at_once_is_refused(void **state) {
    (void)state;
    enum { PARTS = 4 };
    scene_t scene;
    const char *args[] = {"--gateway-queue-mb", "1", NULL};
    open_serving(&scene, args);
    char *blob = mem_zero(1, 400000);
    proto_bytes_t images[PARTS];
    for (int i = 0; i < PARTS; i++)
        images[i] = (proto_bytes_t){blob, 400000};
    zsock_t *raw = raw_client(&scene);
    send_classify(raw, 1, 0, "a", images, PARTS);
    expect_error(raw, "TOO_LARGE"); // it could never be taken
    // Requests that wait hold what they brought: for a version that the dispatcher does not tell
    // of.
    registry_silence(scene.registry, true);
    send_classify(raw, 2, 0, "b@1", images, 1);
    send_classify(raw, 3, 0, "b@1", images, 1);
    send_classify(raw, 4, 0, "b@1", images, 1);
    answer_t answer = receive(raw);
    assert_int_equal(answer.id, 4);
    assert_string_equal(answer.code, "FULL");
    check_serves(&scene); // others go on
    registry_silence(scene.registry, false);
    for (int i = 0; i < 2; i++)
        expect_error(raw, "NOT_FOUND");
    send_classify(raw, 5, 0, "a", images, 2); // and what was held is free again
    assert_string_equal(receive(raw).type, "classified");
    zsock_destroy(&raw);
    free(blob);
    scene_close(&scene);
}

// A PNG that takes a while to decode: SLOW_SIDE² pixels of noise. Malloc'ed.
#define SLOW_SIDE 1500
static proto_bytes_t slow_image(const scene_t *scene) {
    enum { PIXELS = SLOW_SIDE * SLOW_SIDE };
    uint8_t *pixels = mem_alloc(PIXELS);
    for (uint32_t i = 0; i < PIXELS; i++)
        pixels[i] = (uint8_t)(i * 2654435761u >> 24);
    char *path = mem_format("%s/slow.png", scene->home);
    assert_int_equal(prep_write_png(path, pixels, SLOW_SIDE, SLOW_SIDE, 1, NULL), ERR_OK);
    void *bytes = NULL;
    size_t size = 0;
    assert_int_equal(fs_read(path, 64u << 20, &bytes, &size, NULL), ERR_OK);
    free(path);
    free(pixels);
    return (proto_bytes_t){bytes, size};
}

static void a_deadline_ends_the_work(void **state) {
    (void)state;
    enum { COUNT_MAX = 200 };
    scene_t scene;
    open_serving(&scene, NULL);
    proto_bytes_t image = slow_image(&scene), images[COUNT_MAX];
    for (int i = 0; i < COUNT_MAX; i++)
        images[i] = image;
    size_t count = (200u << 20) / image.size < COUNT_MAX ? (200u << 20) / image.size : COUNT_MAX;
    zsock_t *raw = raw_client(&scene);
    send_classify(raw, 1, 1, "a", images, 1); // decoding one alone takes longer than that
    expect_error(raw, "TIMEOUT");
    int64_t begun = clock_mono_ms();
    send_classify(raw, 2, 50, "a", images, count);
    expect_error(raw, "TIMEOUT");
    int64_t took = clock_mono_ms() - begun;
    double done = proc_metric(&scene.proc, "inkling_gateway_images_total");
    print_message("%.0f of %zu images within 50 ms, answered after %lld ms\n", done, count,
                  (long long)took);
    assert_true(done < (double)count); // the rest was not computed
    check_serves(&scene);
    zsock_destroy(&raw);
    scene_free_images(&image, 1);
    scene_close(&scene);
}

static void ten_thousand_requests_leave_nothing(void **state) {
    (void)state;
    enum { COUNT = 10000, WARM = 2000, WINDOW = 32, KINDS = 8 };
    scene_t scene;
    open_serving(&scene, NULL);
    zsock_t *raw = raw_client(&scene);
    proto_bytes_t images[KINDS];
    for (uint32_t i = 0; i < KINDS; i++)
        images[i] = scene_image(&scene, i);
    int64_t before = 0;
    int sent = 0, errors = 0;
    for (int got = 0; got < COUNT; got++) {
        for (; sent < COUNT && sent - got < WINDOW; sent++) {
            const char *model = sent % 10 == 9 ? "nobody" : sent % 2 ? "a" : "";
            send_classify(raw, (uint64_t)sent, 0, model, &images[sent % KINDS],
                          sent % KINDS == 0 ? 1 : 1 + (size_t)(sent % (KINDS - sent % KINDS)));
        }
        errors += strcmp(receive(raw).type, "classified") != 0;
        if (got == WARM)
            before = scene_rss(&scene);
    }
    int64_t growth = scene_rss(&scene) - before;
    print_message("%d requests: %.1f MiB, grown by %.2f MiB since request %d\n", COUNT,
                  (double)scene_rss(&scene) / 1048576, (double)growth / 1048576, WARM);
    assert_int_equal(errors, COUNT / 10);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_open_requests") == 0);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_open_bytes") == 0);
#ifndef GATEWAY_SANITIZED
    assert_true(growth < 8 << 20);
#endif
    zsock_destroy(&raw);
    scene_free_images(images, KINDS);
    scene_close(&scene);
}

// Sends without end and never reads: answers that it does not take are dropped, not kept.
static void a_client_that_never_reads_costs_little(void **state) {
    (void)state;
    enum { COUNT = 3000, RESULTS = 500 };
    scene_t scene;
    open_serving(&scene, NULL);
    zsock_t *raw = zsock_new(ZMQ_DEALER);
    zsock_set_linger(raw, 0);
    zsock_set_rcvhwm(raw, 1);
    assert_int_equal(zsock_connect(raw, "%s", scene.gateway), 0);
    static proto_bytes_t images[RESULTS]; // empty files: an error each, so long answers
    for (int i = 0; i < RESULTS; i++)
        images[i] = (proto_bytes_t){"", 0};
    for (int i = 0; i < COUNT; i++)
        send_classify(raw, (uint64_t)i, 0, "a", images, RESULTS);
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (proc_metric(&scene.proc, "inkling_gateway_requests_total") < COUNT &&
           clock_mono_ms() < end)
        clock_sleep_ms(20);
    check_serves(&scene);
    print_message("%d answers of %d errors unread: %.1f MiB\n", COUNT, RESULTS,
                  (double)scene_rss(&scene) / 1048576);
#ifndef GATEWAY_SANITIZED
    assert_true(scene_rss(&scene) < 200 << 20);
#endif
    zsock_destroy(&raw);
    scene_close(&scene);
}

// --- The end

static void what_was_taken_is_answered_before_the_end(void **state) {
    (void)state;
    enum { COUNT = 300 };
    scene_t scene;
    err_t err;
    int status = -1;
    open_serving(&scene, NULL);
    proto_bytes_t images[COUNT];
    for (uint32_t i = 0; i < COUNT; i++)
        images[i] = scene_image(&scene, i);
    zsock_t *raw = raw_client(&scene);
    for (uint64_t i = 0; i < 10; i++)
        send_classify(raw, i, 0, "a", images, COUNT);
    answer_t answer = receive(raw); // so all have arrived, or nearly
    assert_string_equal(answer.type, "classified");
    proc_signal(&scene.proc, SIGTERM);
    int classified = 1;
    for (int i = 1; i < 10; i++) {
        answer = receive(raw);
        classified += strcmp(answer.type, "classified") == 0;
        if (strcmp(answer.type, "error") == 0) // came when the gateway was going down
            assert_string_equal(answer.code, "UNAVAILABLE");
    }
    if (proc_await_end(&scene.proc, PATIENCE_MS, &status, &err))
        fail_msg("%s", err.message);
    assert_int_equal(status, 0);
    print_message("%d of 10 requests were classified\n", classified);
    zsock_destroy(&raw);
    scene_free_images(images, COUNT);
    scene_close(&scene);
}

// A second signal ends it at once, whatever is going on.
static void two_signals_end_it_at_once(void **state) {
    (void)state;
    scene_t scene;
    err_t err;
    int status = -1;
    open_serving(&scene, NULL);
    proto_bytes_t image = scene_image(&scene, 1);
    zsock_t *raw = raw_client(&scene);
    registry_silence(scene.registry, true);
    send_classify(raw, 1, 0, "b@1", &image, 1); // would wait for 20 s
    check_serves(&scene);
    proc_signal(&scene.proc, SIGTERM);
    clock_sleep_ms(100);
    proc_signal(&scene.proc, SIGTERM);
    int64_t begun = clock_mono_ms();
    if (proc_await_end(&scene.proc, PATIENCE_MS, &status, &err))
        fail_msg("%s", err.message);
    assert_int_equal(status, 0);
    assert_true(clock_mono_ms() - begun < 10000);
    expect_error(raw, "UNAVAILABLE");
    zsock_destroy(&raw);
    scene_free_images(&image, 1);
    scene_close(&scene);
}

int main(void) {
    if (prep_init(NULL) != ERR_OK)
        return 1;
    zsys_handler_set(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_messages_are_answered),
        cmocka_unit_test(random_bytes_are_harmless),
        cmocka_unit_test(broken_streams_are_cut),
        cmocka_unit_test(clients_that_leave_are_forgotten),
        cmocka_unit_test(too_much_at_once_is_refused),
        cmocka_unit_test(a_deadline_ends_the_work),
        cmocka_unit_test(ten_thousand_requests_leave_nothing),
        cmocka_unit_test(a_client_that_never_reads_costs_little),
        cmocka_unit_test(what_was_taken_is_answered_before_the_end),
        cmocka_unit_test(two_signals_end_it_at_once),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    prep_shutdown();
    return failed;
}
