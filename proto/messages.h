// The structs of all messages, made from messages.def, and what is known about each of them.
//
// Ownership: a decoded struct points into the arena it was decoded with. A struct to be encoded
// points to whatever its maker likes. Strings are UTF-8, NUL-terminated; NULL means absent. MAP
// fields hold one msgpack map as bytes; {NULL, 0} means absent.
#ifndef INKLING_PROTO_MESSAGES_H
#define INKLING_PROTO_MESSAGES_H

#include "proto/messages.def"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_VERSION     1
#define PROTO_MESSAGE_MAX (16u << 20) // bytes of one body
#define PROTO_HEADER_MAX  4096u       // bytes of one header
#define PROTO_DEPTH_MAX   16          // nesting inside one frame
#define PROTO_VALUES_MAX  (1u << 20)  // values inside one frame, keys counted

typedef struct {
    const void *data;
    size_t size;
} proto_bytes_t;

typedef struct {
    const char *const *items;
    size_t count;
} proto_strs_t;

#define PROTO_C_STR  const char *
#define PROTO_C_U64  uint64_t
#define PROTO_C_F64  double
#define PROTO_C_BOOL bool
#define PROTO_C_BIN  proto_bytes_t
#define PROTO_C_MAP  proto_bytes_t
#define PROTO_C_STRS proto_strs_t

// proto_job_submit_t and so on.
#define M(name, wire, sender, reply, doc) typedef struct proto_##name proto_##name##_t;
PROTO_MESSAGES(M)
#undef M

#define F(type, field, need, def, min, max, doc) PROTO_C_##type field;
#define N(message, field, need, doc)             const proto_##message##_t *field;
#define L(message, field, need, max, doc)                                                          \
    struct {                                                                                       \
        const proto_##message##_t *items;                                                          \
        size_t count;                                                                              \
    } field;
#define M(name, wire, sender, reply, doc)                                                          \
    struct proto_##name {                                                                          \
        PROTO_FIELDS_##name(F, N, L) char empty_; /* C has no empty structs */                     \
    };
PROTO_MESSAGES(M)
#undef M
#undef F
#undef N
#undef L

// PROTO_job_submit and so on.
typedef enum {
#define M(name, wire, sender, reply, doc) PROTO_##name,
    PROTO_MESSAGES(M)
#undef M
        PROTO_TYPE_COUNT
} proto_type_t;

typedef enum {
    PROTO_STR,
    PROTO_U64,
    PROTO_F64,
    PROTO_BOOL,
    PROTO_BIN,
    PROTO_MAP,
    PROTO_STRS,
    PROTO_NESTED,
    PROTO_LIST
} proto_kind_t;

typedef enum {
    PROTO_BY_CLIENT,
    PROTO_BY_WORKER,
    PROTO_BY_DISPATCHER,
    PROTO_BY_GATEWAY_CLIENT,
    PROTO_BY_GATEWAY,
    PROTO_BY_BLOB_CLIENT,
    PROTO_BY_BLOBS,
    PROTO_BY_STUDY_CLIENT,
    PROTO_BY_STUDIES,
    PROTO_BY_ADMIN,
    PROTO_BY_ANY,
    PROTO_BY_PART,
    PROTO_BY_BODY
} proto_sender_t;

typedef struct {
    const char *name;
    proto_kind_t kind;
    bool required;
    size_t offset;       // in the struct
    const char *text;    // default of STR
    double number;       // default of U64, F64, BOOL
    double min, max;     // bytes of STR, BIN, MAP; value of U64, F64; entries of STRS, LIST
    proto_type_t nested; // of NESTED, LIST
    const char *doc;
} proto_field_t;

typedef struct {
    const char *wire; // "job.submit"
    proto_sender_t sender;
    const char *reply; // type of the answer, or ""
    const char *doc;
    size_t size; // of the struct
    const proto_field_t *fields;
    size_t field_count;
} proto_message_t;

const proto_message_t *proto_message(proto_type_t type);
// By wire name; false if there is none.
bool proto_type_find(const char *wire, proto_type_t *type);

#endif
