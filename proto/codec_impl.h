// What encoder and decoder share: fields of a struct, and their limits.
#ifndef INKLING_PROTO_CODEC_IMPL_H
#define INKLING_PROTO_CODEC_IMPL_H

#include "proto/codec.h"

// Any list of a message: strings, or structs of the nested type.
typedef struct {
    const void *items;
    size_t count;
} list_t;

static inline void *field_of(void *message, const proto_field_t *field) {
    return (char *)message + field->offset;
}

static inline const void *value_of(const void *message, const proto_field_t *field) {
    return (const char *)message + field->offset;
}

// A msgpack_packer's callback that appends to a buf_t.
static inline int write_buf(void *data, const char *bytes, size_t size) {
    buf_append(data, bytes, size);
    return ((buf_t *)data)->failed ? -1 : 0;
}

// ERR_INVALID: "message: field what".
err_code_t field_bad(err_t *err, const proto_message_t *about, const proto_field_t *field,
                     const char *what);

// ERR_INVALID when the value is not within the limits.
err_code_t field_text(const proto_message_t *about, const proto_field_t *field, const char *text,
                      size_t size, double min, double max, err_t *err);
err_code_t field_number(const proto_message_t *about, const proto_field_t *field, double value,
                        err_t *err);
err_code_t field_whole(const proto_message_t *about, const proto_field_t *field, uint64_t value,
                       err_t *err);
err_code_t field_count(const proto_message_t *about, const proto_field_t *field, size_t count,
                       err_t *err);

#endif
