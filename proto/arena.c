// An arena is a zone of msgpack.
#include "arena_impl.h"

#include <stdlib.h>
#include <string.h>

proto_arena_t *proto_arena_new(void) {
    proto_arena_t *arena = mem_zero(1, sizeof *arena);
    ERR_ASSERT(msgpack_zone_init(&arena->zone, 2048));
    return arena;
}

void proto_arena_destroy(proto_arena_t **self) {
    if (!*self)
        return;
    msgpack_zone_destroy(&(*self)->zone);
    free(*self);
    *self = NULL;
}

void proto_arena_reset(proto_arena_t *arena) {
    msgpack_zone_clear(&arena->zone);
}

void *proto_arena_alloc(proto_arena_t *arena, size_t size) {
    void *memory = msgpack_zone_malloc(&arena->zone, size ? size : 1);
    ERR_ASSERT(memory);
    return memset(memory, 0, size);
}

char *proto_arena_text(proto_arena_t *arena, const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(proto_arena_alloc(arena, size), text, size);
}
