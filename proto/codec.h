// Encoder, decoder and validator of all messages.
//
// Decoding is safe against hostile bytes: proto_check() walks them first, so that nothing is
// allocated for a count that the bytes do not bear out; depth, size and the number of values are
// capped; memory is at most 64 times the bytes and 256 KiB. Unknown keys are ignored,
// but ERR_INVALID in the body of a built-in kind, where they are mistyped parameters; a missing
// required field, a wrong type, a value out of range, a key twice, or a text that is no UTF-8 is
// ERR_PROTOCOL or ERR_INVALID naming the field.
#ifndef INKLING_PROTO_CODEC_H
#define INKLING_PROTO_CODEC_H

#include "base/buf.h"
#include "base/err.h"
#include "proto/messages.h"

// Memory of decoded messages; reusable after proto_arena_reset.
typedef struct proto_arena proto_arena_t;
proto_arena_t *proto_arena_new(void);
void proto_arena_destroy(proto_arena_t **arena);
void proto_arena_reset(proto_arena_t *arena);
// size bytes from the arena, zeroed; aborts when out of memory (sizes are bounded by the caller).
void *proto_arena_alloc(proto_arena_t *arena, size_t size);
char *proto_arena_text(proto_arena_t *arena, const char *text);

// Exactly one complete msgpack value in bytes, nothing behind it, of at most PROTO_DEPTH_MAX levels
// and PROTO_VALUES_MAX values.
err_code_t proto_check(const void *bytes, size_t size, err_t *err);

// Fills the struct with defaults: required fields with zeros.
void proto_defaults(proto_type_t type, void *message);

// Appends the message's map to out. Optional fields that equal their default are left out; what the
// declaration does not allow is refused as it would be by the receiver, and nothing is appended.
err_code_t proto_encode(proto_type_t type, const void *message, buf_t *out, err_t *err);

// message: struct of the type, filled wholly on success. size 0 reads as an empty map.
err_code_t proto_decode(proto_type_t type, const void *bytes, size_t size, proto_arena_t *arena,
                        void *message, err_t *err);

#endif
