// What a stranger may send to a service's socket: the router outlives it, and what it lets through
// to the handler is what the declaration allows.
//
//   0  type of message    1  how    2  size    3 …  bytes
//   how % 4  0: the header is the first `size` of the bytes; 1: there is no header; else a good one
//   how / 4 % 8  attachments, of `size` bytes each as far as there are; the rest is the body
//   how / 32 % 8  0: there is no body either
#include "bus/bus.h"
#include "base/log.h"
#include "fuzz.h"
#include "make.h"

#include <czmq.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 10000
#define PING_ID     UINT32_MAX

static struct {
    bus_socket_t *router;
    zsock_t *stranger;
    char *endpoint;
    bool pinged;
    proto_arena_t *arena;
} rig;

// What is decoded can be encoded, and that be decoded again.
static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    (void)arg;
    ERR_ASSERT(message->type < PROTO_TYPE_COUNT && message->body.size <= PROTO_MESSAGE_MAX);
    if (message->type == PROTO_ping && message->id == PING_ID) {
        rig.pinged = true;
        return;
    }
    size_t size = proto_message(message->type)->size;
    proto_arena_reset(rig.arena);
    void *first = proto_arena_alloc(rig.arena, size), *second = proto_arena_alloc(rig.arena, size);
    err_t err;
    if (proto_decode(message->type, message->body.data, message->body.size, rig.arena, first,
                     &err) != ERR_OK) {
        bus_reply_error(socket, message, &err);
        return;
    }
    buf_t out;
    buf_init(&out, PROTO_MESSAGE_MAX);
    if (proto_encode(message->type, first, &out, &err) != ERR_OK ||
        proto_decode(message->type, out.data, out.size, rig.arena, second, &err) != ERR_OK)
        err_abort(__FILE__, __LINE__, err.message);
    buf_release(&out);
}

static void add_header(zmsg_t *frames, proto_type_t type, uint64_t id) {
    buf_t out;
    buf_init(&out, PROTO_HEADER_MAX);
    proto_header_t header = {.v = PROTO_VERSION, .type = proto_message(type)->wire, .id = id};
    ERR_ASSERT(proto_encode(PROTO_header, &header, &out, NULL) == ERR_OK);
    zmsg_addmem(frames, out.data, out.size);
    buf_release(&out);
}

static zmsg_t *make_message_of(const uint8_t *data, size_t size) {
    zmsg_t *frames = zmsg_new();
    unsigned how = data[1], attachments = how / 4 % 8, piece = data[2];
    const uint8_t *bytes = data + 3, *end = data + size;
    size_t left = (size_t)(end - bytes), head = piece < left ? piece : left;
    if (how % 4 == 0) {
        zmsg_addmem(frames, bytes, head);
        bytes += head;
    } else if (how % 4 > 1) {
        add_header(frames, (proto_type_t)(data[0] % PROTO_TYPE_COUNT), data[2]);
    }
    left = (size_t)(end - bytes);
    size_t behind = (size_t)attachments * piece;
    size_t body = behind < left ? left - behind : left;
    if (how / 32)
        zmsg_addmem(frames, bytes, body);
    for (unsigned i = 0; i < attachments && behind < left; i++)
        zmsg_addmem(frames, bytes + body + (size_t)i * piece, piece);
    if (zmsg_size(frames) == 0)
        zmsg_addmem(frames, "", 0);
    return frames;
}

// The router has handled all before this ping, and lives. What it answered is thrown away.
static void expect_alive(void) {
    zmsg_t *frames = zmsg_new();
    err_t err;
    add_header(frames, PROTO_ping, PING_ID);
    ERR_ASSERT(zmsg_send(&frames, rig.stranger) == 0);
    rig.pinged = false;
    while (!rig.pinged)
        if (bus_receive(rig.router, PATIENCE_MS, on_message, NULL, &err) != ERR_OK)
            err_abort(__FILE__, __LINE__, err.message);
    while (zsock_events(rig.stranger) & ZMQ_POLLIN) {
        frames = zmsg_recv(rig.stranger);
        zmsg_destroy(&frames);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3)
        return 0;
    zmsg_t *frames = make_message_of(data, size);
    ERR_ASSERT(zmsg_send(&frames, rig.stranger) == 0);
    expect_alive();
    return 0;
}

static void seed(proto_type_t type, const void *message, uint8_t how, uint8_t piece) {
    buf_t bytes, input;
    err_t err;
    buf_init(&bytes, PROTO_MESSAGE_MAX);
    buf_init(&input, PROTO_MESSAGE_MAX);
    if (proto_encode(type, message, &bytes, &err) != ERR_OK)
        err_abort(__FILE__, __LINE__, err.message);
    buf_append(&input, (const uint8_t[]){(uint8_t)type, how, piece}, 3);
    buf_append(&input, bytes.data, bytes.size);
    fuzz_seed(input.data, input.size);
    buf_release(&input);
    buf_release(&bytes);
}

static void open_rig(void) {
    err_t err;
    log_setup("fuzz", LOG_ERROR, false);
    rig.arena = proto_arena_new();
    rig.endpoint = mem_format("ipc://%s/bus", fuzz_folder());
    if (bus_router_new(NULL, rig.endpoint, on_message, NULL, &rig.router, &err) != ERR_OK)
        err_abort(__FILE__, __LINE__, err.message);
    rig.stranger = zsock_new_dealer(rig.endpoint);
    ERR_ASSERT(rig.stranger);
}

void fuzz_seeds(void) {
    uint64_t random = 7;
    open_rig();
    for (unsigned type = 0; type < PROTO_TYPE_COUNT; type++) {
        seed(type, make_message(type, MAKE_LEAST, &random, rig.arena), 32 + 2, 0);
        seed(type, make_message(type, MAKE_RANDOM, &random, rig.arena), 32 + 2 + 4 * 3, 10);
    }
    // A header that the mutations can reach.
    proto_header_t header = {.v = PROTO_VERSION, .type = "ping", .id = 5, .deadline_ms = 100};
    seed(PROTO_header, &header, 32, 255);
}

void fuzz_end(void) {
    zsock_destroy(&rig.stranger);
    bus_socket_destroy(&rig.router);
    proto_arena_destroy(&rig.arena);
    free(rig.endpoint);
    fuzz_remove_folder();
}
