// Can any bytes on its sockets bring the dispatcher down, or keep it from serving others?
#include "scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

typedef struct {
    const void *data;
    size_t size;
} frame_t;

static void send_frames(void *dealer, const frame_t *frames, size_t count) {
    for (size_t i = 0; i < count; i++)
        zmq_send(dealer, frames[i].data, frames[i].size, i + 1 < count ? ZMQ_SNDMORE : 0);
}

// Frames of every wrong sort, each from a fresh peer: cut short at each byte, of random bytes,
// with a count that the bytes do not bear out, empty, too many, too large.
static void attack(const char *endpoint) {
    static const char header[] = "\x83\xa1v\x01\xa4type\xaajob.submit\xa2id\x05";
    static const char body[] = "\x81\xa4kind\xa4play";
    size_t header_size = sizeof header - 1, body_size = sizeof body - 1;
    void *context = zmq_ctx_new(), *dealer = zmq_socket(context, ZMQ_DEALER);
    int linger_ms = 2000;
    zmq_setsockopt(dealer, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    assert_int_equal(zmq_connect(dealer, endpoint), 0);
    for (size_t cut = 0; cut < header_size; cut++)
        send_frames(dealer, (frame_t[]){{header, cut}, {body, body_size}}, 2);
    for (size_t cut = 1; cut < body_size; cut++)
        send_frames(dealer, (frame_t[]){{header, header_size}, {body, cut}}, 2);
    send_frames(dealer, (frame_t[]){{header, header_size}, {"\xdd\x01\x00\x00\x00", 5}}, 2);
    send_frames(dealer, (frame_t[]){{"\xdd\x01\x00\x00\x00", 5}}, 1);
    send_frames(dealer, (frame_t[]){{"", 0}, {"", 0}, {"", 0}}, 3);
    unsigned char noise[512];
    uint64_t random = 42;
    for (int round = 0; round < 500; round++) {
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (unsigned char)((random = random * 6364136223846793005u + 1) >> 56);
        size_t size = noise[0] + noise[1];
        send_frames(
            dealer,
            (frame_t[]){{round % 2 ? (const void *)noise : header, round % 2 ? size : header_size},
                        {noise + 2, size}},
            2);
    }
    size_t large = 17u << 20;
    char *bytes = calloc(1, large);
    assert_non_null(bytes);
    send_frames(dealer, (frame_t[]){{header, header_size}, {bytes, large}}, 2);
    send_frames(dealer, (frame_t[]){{bytes, large}}, 1);
    free(bytes);
    zmq_close(dealer);
    zmq_ctx_term(context);
}

// Bytes that are not even ZeroMQ's.
static void babble(const char *endpoint) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(strncmp(endpoint, "ipc://", 6) == 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", endpoint + 6);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL);
    close(fd);
}

static void test_nothing_brings_it_down(void **state) {
    (void)state;
    scene_open(NULL, NULL);
    char *control = mem_format("ipc://%s/run/dispatcher.ctl", scene.home);
    attack(scene.endpoint);
    attack(control);
    babble(scene.endpoint);
    babble(control);
    free(control);
    static hand_t ann;
    hand_open(&ann, "ann", "play", 1);
    hand_hello(&ann, NULL, 0);
    const char *job = scene_submit("play", NULL);
    const proto_worker_assign_t *assign = hand_take(&ann);
    assert_string_equal(assign->job, job);
    hand_finish(&ann, assign, "succeeded", "succeeded");
    assert_int_equal(scene_redis_number("GET ids"), 1);
    int status;
    assert_int_equal(proc_await_end(&scene.dispatcher, 0, &status, NULL), ERR_TIMEOUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_nothing_brings_it_down, scene_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
