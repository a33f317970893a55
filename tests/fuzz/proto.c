// The codec: the first byte says which type of message the rest is taken for.
#include "fuzz.h"
#include "make.h"
#include "proto/json.h"

#include <string.h>

static proto_arena_t *arena;

static void encode(proto_type_t type, const void *message, buf_t *out) {
    err_t err;
    buf_init(out, PROTO_MESSAGE_MAX);
    if (proto_encode(type, message, out, &err) != ERR_OK)
        err_abort(__FILE__, __LINE__, err.message);
}

// What was decoded can be sent on, and means the same then.
static void send_on(proto_type_t type, const void *message) {
    buf_t bytes, again;
    err_t err;
    encode(type, message, &bytes);
    void *copy = proto_arena_alloc(arena, proto_message(type)->size);
    if (proto_decode(type, bytes.data, bytes.size, arena, copy, &err) != ERR_OK)
        err_abort(__FILE__, __LINE__, err.message);
    encode(type, copy, &again);
    ERR_ASSERT(bytes.size == again.size && memcmp(bytes.data, again.data, bytes.size) == 0);
    buf_release(&bytes);
    buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    proto_type_t type = (proto_type_t)(data[0] % PROTO_TYPE_COUNT);
    proto_arena_reset(arena);
    void *message = proto_arena_alloc(arena, proto_message(type)->size);
    err_t err;
    if (proto_decode(type, data + 1, size - 1, arena, message, &err) == ERR_OK) {
        send_on(type, message);
        json_decref(proto_to_json(type, message));
    } else {
        ERR_ASSERT(err.code != ERR_OK && err.message[0]);
    }
    json_decref(proto_map_json((proto_bytes_t){data + 1, size - 1}));
    return 0;
}

void fuzz_seeds(void) {
    arena = proto_arena_new();
    uint64_t random = 5;
    for (unsigned type = 0; type < PROTO_TYPE_COUNT; type++)
        for (unsigned how = MAKE_LEAST; how <= MAKE_RANDOM; how++) {
            buf_t bytes, input;
            encode(type, make_message(type, (make_t)how, &random, arena), &bytes);
            buf_init(&input, PROTO_MESSAGE_MAX);
            buf_append(&input, &(char){(char)type}, 1);
            buf_append(&input, bytes.data, bytes.size);
            fuzz_seed(input.data, input.size);
            buf_release(&input);
            buf_release(&bytes);
        }
}

void fuzz_end(void) {
    proto_arena_destroy(&arena);
}
