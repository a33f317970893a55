// Messages from JSON text; the first byte says which type.
#include "proto/json.h"
#include "fuzz.h"
#include "make.h"

#include <stdlib.h>
#include <string.h>

static proto_arena_t *arena;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    proto_type_t type = (proto_type_t)(data[0] % PROTO_TYPE_COUNT);
    json_t *json = json_loadb((const char *)data + 1, size - 1, JSON_DECODE_ANY, NULL);
    if (!json)
        return 0;
    proto_arena_reset(arena);
    void *message = proto_arena_alloc(arena, proto_message(type)->size);
    err_t err;
    if (proto_from_json(type, json, arena, message, &err) == ERR_OK) {
        json_t *again = proto_to_json(type, message);
        void *copy = proto_arena_alloc(arena, proto_message(type)->size);
        if (proto_from_json(type, again, arena, copy, &err) != ERR_OK)
            err_abort(__FILE__, __LINE__, err.message);
        json_decref(again);
    }
    json_decref(json);
    return 0;
}

void fuzz_seeds(void) {
    arena = proto_arena_new();
    uint64_t random = 5;
    for (unsigned type = 0; type < PROTO_TYPE_COUNT; type++)
        for (unsigned how = MAKE_LEAST; how <= MAKE_RANDOM; how++) {
            json_t *json = proto_to_json(type, make_message(type, (make_t)how, &random, arena));
            char *text = json_dumps(json, JSON_COMPACT);
            buf_t input;
            buf_init(&input, 1 << 20);
            buf_append(&input, &(char){(char)type}, 1);
            buf_puts(&input, text);
            fuzz_seed(input.data, input.size);
            buf_release(&input);
            free(text);
            json_decref(json);
        }
}

void fuzz_end(void) {
    proto_arena_destroy(&arena);
}
