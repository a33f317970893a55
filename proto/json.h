// Messages and msgpack maps as JSON: for --json, logs and stored manifests.
#ifndef INKLING_PROTO_JSON_H
#define INKLING_PROTO_JSON_H

#include "proto/codec.h"

#include <jansson.h>

// All fields of the message, absent ones too (as null, or their default); MAP fields as objects,
// BIN fields as hex. New reference.
json_t *proto_to_json(proto_type_t type, const void *message);

// A msgpack value as JSON. Binary becomes hex; NULL if the bytes are no msgpack or size is 0.
json_t *proto_map_json(proto_bytes_t map);

// Appends a JSON value as msgpack (integers, reals, strings, arrays, objects, true, false, null).
err_code_t proto_pack_json(const json_t *value, buf_t *out, err_t *err);

// As proto_pack_json, into the arena.
err_code_t proto_map_from_json(const json_t *value, proto_arena_t *arena, proto_bytes_t *map,
                               err_t *err);

// Fills a message from a JSON object, by way of its wire form, with all checks of proto_decode.
err_code_t proto_from_json(proto_type_t type, const json_t *value, proto_arena_t *arena,
                           void *message, err_t *err);

#endif
