// Descriptors of all messages, made from messages.def.
#include "codec_impl.h"

#include <string.h>

#define NEED_REQUIRED       true
#define NEED_OPTIONAL       false
#define DEFAULT_STR(value)  .text = (value),
#define DEFAULT_U64(value)  .number = (double)(value),
#define DEFAULT_F64(value)  .number = (value),
#define DEFAULT_BOOL(value) .number = (value),
#define DEFAULT_BIN(value)
#define DEFAULT_MAP(value)
#define DEFAULT_STRS(value)

// One function per message, so that OWNER can name its struct inside the field macros.
#define F(type_, field_, need_, def_, min_, max_, doc_)                                            \
    {.name = #field_,                                                                              \
     .kind = PROTO_##type_,                                                                        \
     .required = NEED_##need_,                                                                     \
     .offset = offsetof(OWNER, field_),                                                            \
     DEFAULT_##type_(def_).min = (double)(min_),                                                   \
     .max = (double)(max_),                                                                        \
     .doc = (doc_)},
#define N(message_, field_, need_, doc_)                                                           \
    {.name = #field_,                                                                              \
     .kind = PROTO_NESTED,                                                                         \
     .required = NEED_##need_,                                                                     \
     .offset = offsetof(OWNER, field_),                                                            \
     .nested = PROTO_##message_,                                                                   \
     .doc = (doc_)},
#define L(message_, field_, need_, max_, doc_)                                                     \
    {.name = #field_,                                                                              \
     .kind = PROTO_LIST,                                                                           \
     .required = NEED_##need_,                                                                     \
     .offset = offsetof(OWNER, field_),                                                            \
     .max = (max_),                                                                                \
     .nested = PROTO_##message_,                                                                   \
     .doc = (doc_)},
#define M(name_, wire_, sender_, reply_, doc_)                                                     \
    static const proto_message_t *describe_##name_(void) {                                         \
        typedef proto_##name_##_t OWNER;                                                           \
        static const proto_field_t fields[] = {                                                    \
            PROTO_FIELDS_##name_(F, N, L){.offset = offsetof(OWNER, empty_)}};                     \
        static const proto_message_t message = {.wire = (wire_),                                   \
                                                .sender = PROTO_BY_##sender_,                      \
                                                .reply = (reply_),                                 \
                                                .doc = (doc_),                                     \
                                                .size = sizeof(OWNER),                             \
                                                .fields = fields,                                  \
                                                .field_count =                                     \
                                                    sizeof fields / sizeof *fields - 1};           \
        return &message;                                                                           \
    }
PROTO_MESSAGES(M)
#undef M
#undef F
#undef N
#undef L

const proto_message_t *proto_message(proto_type_t type) {
    static const proto_message_t *(*const describe[])(void) = {
#define M(name, wire, sender, reply, doc) describe_##name,
        PROTO_MESSAGES(M)
#undef M
    };
    ERR_ASSERT(type < PROTO_TYPE_COUNT);
    return describe[type]();
}

bool proto_type_find(const char *wire, proto_type_t *type) {
    for (unsigned i = 0; i < PROTO_TYPE_COUNT; i++)
        if (strcmp(proto_message((proto_type_t)i)->wire, wire) == 0) {
            *type = (proto_type_t)i;
            return true;
        }
    return false;
}

static void set_default(void *message, const proto_field_t *field) {
    void *at = field_of(message, field);
    switch (field->kind) {
    case PROTO_STR:
        *(const char **)at = field->required || !field->text ? NULL : field->text;
        break;
    case PROTO_U64:
        *(uint64_t *)at = (uint64_t)field->number;
        break;
    case PROTO_F64:
        *(double *)at = field->number;
        break;
    case PROTO_BOOL:
        *(bool *)at = field->number != 0;
        break;
    case PROTO_NESTED:
        *(void **)at = NULL;
        break;
    case PROTO_BIN:
    case PROTO_MAP:
    case PROTO_STRS:
    case PROTO_LIST:
        memset(at, 0, sizeof(list_t));
        break;
    }
}

void proto_defaults(proto_type_t type, void *message) {
    const proto_message_t *about = proto_message(type);
    memset(message, 0, about->size);
    for (size_t i = 0; i < about->field_count; i++)
        set_default(message, &about->fields[i]);
}
