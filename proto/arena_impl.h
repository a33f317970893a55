// For what unpacks into the arena.
#ifndef INKLING_PROTO_ARENA_IMPL_H
#define INKLING_PROTO_ARENA_IMPL_H

#include "proto/codec.h"

#include <msgpack.h>

struct proto_arena {
    msgpack_zone zone;
};

#endif
