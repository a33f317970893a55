// Messages of every type, filled by rule from the declaration.
#ifndef INKLING_TESTS_PROTO_MAKE_H
#define INKLING_TESTS_PROTO_MAKE_H

#include "proto/codec.h"

typedef enum {
    MAKE_LEAST,   // required fields only, each with the least that is allowed
    MAKE_TYPICAL, // every field, none with its default
    MAKE_EDGE,    // every field at its upper limit (texts, lists and maps up to what fits a golden)
    MAKE_RANDOM   // anything that is allowed
} make_t;

// A struct of that type, wholly in the arena. *random: state for MAKE_RANDOM.
void *make_message(proto_type_t type, make_t how, uint64_t *random, proto_arena_t *arena);

uint64_t make_next(uint64_t *random);

#endif
