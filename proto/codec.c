#include "proto/codec.h"

#include "base/utf8.h"

#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

// --- Descriptors, from messages.def
// ---------------------------------------------------------------

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

// --- Arena: a msgpack zone
// ------------------------------------------------------------------------

struct proto_arena {
    msgpack_zone zone;
};

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

// --- Fields of a struct
// ---------------------------------------------------------------------------

typedef struct {
    const void *items;
    size_t count;
} list_t;

static void *field_of(void *message, const proto_field_t *field) {
    return (char *)message + field->offset;
}

static const void *value_of(const void *message, const proto_field_t *field) {
    return (const char *)message + field->offset;
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

static err_code_t bad(err_t *err, const proto_message_t *about, const proto_field_t *field,
                      const char *what) {
    return err_set(err, ERR_INVALID, "%s: %s %s", about->wire, field->name, what);
}

// Range checks that both directions share.
static err_code_t check_text(const proto_message_t *about, const proto_field_t *field,
                             const char *text, size_t size, double min, double max, err_t *err) {
    if (!utf8_valid(text, size))
        return bad(err, about, field, "is no UTF-8 text (or holds a NUL)");
    if ((double)size < min)
        return bad(err, about, field, "is empty");
    if ((double)size > max)
        return err_set(err, ERR_INVALID, "%s: %s has %zu bytes; the limit is %.0f", about->wire,
                       field->name, size, max);
    return ERR_OK;
}

static err_code_t check_number(const proto_message_t *about, const proto_field_t *field,
                               double value, err_t *err) {
    if (value >= field->min && value <= field->max)
        return ERR_OK;
    return err_set(err, ERR_INVALID, "%s: %s is %.10g; it must be between %.10g and %.16g",
                   about->wire, field->name, value, field->min, field->max);
}

// Whole numbers are compared as such: 2^53 + 1 is 2^53 as a double.
static err_code_t check_whole(const proto_message_t *about, const proto_field_t *field,
                              uint64_t value, err_t *err) {
    if (value >= (uint64_t)field->min && value <= (uint64_t)field->max)
        return ERR_OK;
    return err_set(err, ERR_INVALID, "%s: %s is %llu; it must be between %.0f and %.0f",
                   about->wire, field->name, (unsigned long long)value, field->min, field->max);
}

static err_code_t check_count(const proto_message_t *about, const proto_field_t *field,
                              size_t count, err_t *err) {
    double min = field->kind == PROTO_STRS ? field->min : 0;
    if ((double)count >= min && (double)count <= field->max)
        return ERR_OK;
    return err_set(err, ERR_INVALID, "%s: %s has %zu entries; it must have %.0f to %.0f",
                   about->wire, field->name, count, min, field->max);
}

// --- Encoder
// --------------------------------------------------------------------------------------

static int write_buf(void *data, const char *bytes, size_t size) {
    buf_append(data, bytes, size);
    return ((buf_t *)data)->failed ? -1 : 0;
}

static bool is_default(const proto_field_t *field, const void *at) {
    switch (field->kind) {
    case PROTO_STR: {
        const char *text = *(const char *const *)at;
        return !text || (field->text && strcmp(text, field->text) == 0);
    }
    case PROTO_U64:
        return *(const uint64_t *)at == (uint64_t)field->number;
    case PROTO_F64:
        return *(const double *)at == field->number;
    case PROTO_BOOL:
        return *(const bool *)at == (field->number != 0);
    case PROTO_BIN:
    case PROTO_MAP:
        return ((const proto_bytes_t *)at)->size == 0;
    case PROTO_NESTED:
        return !*(const void *const *)at;
    case PROTO_STRS:
    case PROTO_LIST:
        return ((const list_t *)at)->count == 0;
    }
    return false;
}

static err_code_t pack_message(proto_type_t type, const void *message, msgpack_packer *packer,
                               err_t *err);

static err_code_t pack_text(const proto_message_t *about, const proto_field_t *field,
                            const char *text, double min, double max, msgpack_packer *packer,
                            err_t *err) {
    if (!text)
        return bad(err, about, field, "is missing");
    size_t size = strlen(text);
    err_code_t code = check_text(about, field, text, size, min, max, err);
    if (code == ERR_OK)
        msgpack_pack_str_with_body(packer, text, size);
    return code;
}

static err_code_t pack_bytes(const proto_message_t *about, const proto_field_t *field,
                             const proto_bytes_t *bytes, msgpack_packer *packer, err_t *err) {
    if ((double)bytes->size > field->max)
        return err_set(err, ERR_INVALID, "%s: %s has %zu bytes; the limit is %.0f", about->wire,
                       field->name, bytes->size, field->max);
    if (field->kind == PROTO_BIN) {
        msgpack_pack_bin_with_body(packer, bytes->data, bytes->size);
        return ERR_OK;
    }
    if (bytes->size == 0) {
        msgpack_pack_map(packer, 0);
        return ERR_OK;
    }
    unsigned tag = *(const unsigned char *)bytes->data;
    if ((tag & 0xf0) != 0x80 && tag != 0xde && tag != 0xdf)
        return bad(err, about, field, "must be a map");
    err_code_t code = proto_check(bytes->data, bytes->size, err);
    if (code) {
        err_context(err, "%s: %s", about->wire, field->name);
        return code;
    }
    packer->callback(packer->data, bytes->data, bytes->size);
    return ERR_OK;
}

static err_code_t pack_list(const proto_message_t *about, const proto_field_t *field,
                            const list_t *list, msgpack_packer *packer, err_t *err) {
    err_code_t code = check_count(about, field, list->count, err);
    if (code)
        return code;
    msgpack_pack_array(packer, list->count);
    for (size_t i = 0; i < list->count && code == ERR_OK; i++)
        if (field->kind == PROTO_STRS)
            code = pack_text(about, field, ((const char *const *)list->items)[i], 0, PROTO_PATH_MAX,
                             packer, err);
        else
            code = pack_message(field->nested,
                                (const char *)list->items + i * proto_message(field->nested)->size,
                                packer, err);
    return code;
}

static err_code_t pack_field(const proto_message_t *about, const proto_field_t *field,
                             const void *at, msgpack_packer *packer, err_t *err) {
    err_code_t code = ERR_OK;
    switch (field->kind) {
    case PROTO_STR:
        return pack_text(about, field, *(const char *const *)at, field->min, field->max, packer,
                         err);
    case PROTO_U64:
        code = check_whole(about, field, *(const uint64_t *)at, err);
        msgpack_pack_uint64(packer, *(const uint64_t *)at);
        return code;
    case PROTO_F64:
        code = check_number(about, field, *(const double *)at, err);
        msgpack_pack_double(packer, *(const double *)at);
        return code;
    case PROTO_BOOL:
        if (*(const bool *)at)
            msgpack_pack_true(packer);
        else
            msgpack_pack_false(packer);
        return ERR_OK;
    case PROTO_BIN:
    case PROTO_MAP:
        return pack_bytes(about, field, at, packer, err);
    case PROTO_STRS:
    case PROTO_LIST:
        return pack_list(about, field, at, packer, err);
    case PROTO_NESTED:
        if (!*(const void *const *)at)
            return bad(err, about, field, "is missing");
        return pack_message(field->nested, *(const void *const *)at, packer, err);
    }
    return code;
}

static err_code_t pack_message(proto_type_t type, const void *message, msgpack_packer *packer,
                               err_t *err) {
    const proto_message_t *about = proto_message(type);
    size_t count = 0;
    for (size_t i = 0; i < about->field_count; i++) {
        const proto_field_t *field = &about->fields[i];
        count += field->required || !is_default(field, value_of(message, field));
    }
    msgpack_pack_map(packer, count);
    for (size_t i = 0; i < about->field_count; i++) {
        const proto_field_t *field = &about->fields[i];
        const void *at = value_of(message, field);
        if (!field->required && is_default(field, at))
            continue;
        msgpack_pack_str_with_body(packer, field->name, strlen(field->name));
        err_code_t code = pack_field(about, field, at, packer, err);
        if (code)
            return code;
    }
    return ERR_OK;
}

err_code_t proto_encode(proto_type_t type, const void *message, buf_t *out, err_t *err) {
    msgpack_packer packer;
    size_t start = out->size;
    msgpack_packer_init(&packer, out, write_buf);
    err_code_t code = pack_message(type, message, &packer, err);
    if (code == ERR_OK && out->failed)
        return err_set(err, ERR_TOO_LARGE, "%s: the message is larger than %zu bytes",
                       proto_message(type)->wire, out->ceiling);
    // Depth and number of values are those of the whole, with the maps inside.
    if (code == ERR_OK && (code = proto_check(out->data + start, out->size - start, err)) != ERR_OK)
        err_context(err, "%s", proto_message(type)->wire);
    if (code && !out->failed)
        out->data[out->size = start] = 0;
    return code;
}

// --- Decoder
// --------------------------------------------------------------------------------------

static err_code_t read_message(proto_type_t type, const msgpack_object *map, proto_arena_t *arena,
                               void *message, err_t *err);

static err_code_t read_text(const proto_message_t *about, const proto_field_t *field,
                            const msgpack_object *value, double min, double max,
                            proto_arena_t *arena, const char **out, err_t *err) {
    if (value->type != MSGPACK_OBJECT_STR)
        return bad(err, about, field, "must be text");
    const char *text = value->via.str.ptr;
    size_t size = value->via.str.size;
    err_code_t code = check_text(about, field, text, size, min, max, err);
    if (code)
        return code;
    char *copy = proto_arena_alloc(arena, size + 1);
    if (size)
        memcpy(copy, text, size);
    *out = copy;
    return ERR_OK;
}

static err_code_t read_u64(const proto_message_t *about, const proto_field_t *field,
                           const msgpack_object *value, uint64_t *out, err_t *err) {
    if (value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return check_number(about, field, (double)value->via.i64, err);
    if (value->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return bad(err, about, field, "must be a whole number");
    *out = value->via.u64;
    return check_whole(about, field, value->via.u64, err);
}

static err_code_t read_f64(const proto_message_t *about, const proto_field_t *field,
                           const msgpack_object *value, double *out, err_t *err) {
    if (value->type == MSGPACK_OBJECT_FLOAT64 || value->type == MSGPACK_OBJECT_FLOAT32)
        *out = value->via.f64;
    else if (value->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        *out = (double)value->via.u64;
    else if (value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *out = (double)value->via.i64;
    else
        return bad(err, about, field, "must be a number");
    return check_number(about, field, *out, err); // false for NaN, too
}

static err_code_t read_bytes(const proto_message_t *about, const proto_field_t *field,
                             const msgpack_object *value, proto_arena_t *arena, proto_bytes_t *out,
                             err_t *err) {
    buf_t packed;
    buf_init(&packed, (size_t)field->max);
    if (field->kind == PROTO_BIN && value->type == MSGPACK_OBJECT_BIN) {
        buf_append(&packed, value->via.bin.ptr, value->via.bin.size);
    } else if (field->kind == PROTO_MAP && value->type == MSGPACK_OBJECT_MAP) {
        msgpack_packer packer;
        msgpack_packer_init(&packer, &packed, write_buf);
        msgpack_pack_object(&packer, *value);
    } else {
        return bad(err, about, field,
                   field->kind == PROTO_BIN ? "must be binary" : "must be a map");
    }
    err_code_t code = ERR_OK;
    if (packed.failed) {
        code = err_set(err, ERR_INVALID, "%s: %s is larger than %.0f bytes", about->wire,
                       field->name, field->max);
    } else {
        void *copy = proto_arena_alloc(arena, packed.size);
        memcpy(copy, packed.data, packed.size);
        *out = (proto_bytes_t){copy, packed.size};
    }
    buf_release(&packed);
    return code;
}

// The way to a wrong field: "worker.renew: leases: lease: token is missing".
static err_code_t inside(const proto_message_t *about, const proto_field_t *field, err_code_t code,
                         err_t *err) {
    err_context(err, "%s: %s", about->wire, field->name);
    return code;
}

// Before memory is taken for a whole list: empty maps are one byte each, structs are not.
static err_code_t check_item(proto_type_t type, const msgpack_object *map, err_t *err);

static err_code_t read_list(const proto_message_t *about, const proto_field_t *field,
                            const msgpack_object *value, proto_arena_t *arena, list_t *out,
                            err_t *err) {
    if (value->type != MSGPACK_OBJECT_ARRAY)
        return bad(err, about, field, "must be a list");
    size_t count = value->via.array.size;
    err_code_t code = check_count(about, field, count, err);
    if (code || count == 0)
        return code;
    bool texts = field->kind == PROTO_STRS;
    for (size_t i = 0; i < count && !texts; i++)
        if ((code = check_item(field->nested, &value->via.array.ptr[i], err)) != ERR_OK)
            return inside(about, field, code, err);
    size_t size = texts ? sizeof(char *) : proto_message(field->nested)->size;
    char *items = proto_arena_alloc(arena, count * size);
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        const msgpack_object *item = &value->via.array.ptr[i];
        code = texts ? read_text(about, field, item, 0, PROTO_PATH_MAX, arena,
                                 (const char **)(void *)(items + i * size), err)
                     : read_message(field->nested, item, arena, items + i * size, err);
    }
    *out = (list_t){items, count};
    return code && !texts ? inside(about, field, code, err) : code;
}

static err_code_t read_field(const proto_message_t *about, const proto_field_t *field,
                             const msgpack_object *value, proto_arena_t *arena, void *at,
                             err_t *err) {
    switch (field->kind) {
    case PROTO_STR:
        return read_text(about, field, value, field->min, field->max, arena, at, err);
    case PROTO_U64:
        return read_u64(about, field, value, at, err);
    case PROTO_F64:
        return read_f64(about, field, value, at, err);
    case PROTO_BOOL:
        if (value->type != MSGPACK_OBJECT_BOOLEAN)
            return bad(err, about, field, "must be true or false");
        *(bool *)at = value->via.boolean;
        return ERR_OK;
    case PROTO_BIN:
    case PROTO_MAP:
        return read_bytes(about, field, value, arena, at, err);
    case PROTO_STRS:
    case PROTO_LIST:
        return read_list(about, field, value, arena, at, err);
    case PROTO_NESTED: {
        void *nested = proto_arena_alloc(arena, proto_message(field->nested)->size);
        *(void **)at = nested;
        err_code_t code = read_message(field->nested, value, arena, nested, err);
        return code ? inside(about, field, code, err) : ERR_OK;
    }
    }
    return ERR_OK;
}

static const proto_field_t *find_field(const proto_message_t *about, const msgpack_object *key) {
    if (key->type != MSGPACK_OBJECT_STR)
        return NULL;
    for (size_t i = 0; i < about->field_count; i++) {
        const char *name = about->fields[i].name;
        if (strlen(name) == key->via.str.size &&
            memcmp(name, key->via.str.ptr, key->via.str.size) == 0)
            return &about->fields[i];
    }
    return NULL;
}

// seen: one bit per field.
static err_code_t check_required(const proto_message_t *about, uint64_t seen, err_t *err) {
    for (size_t i = 0; i < about->field_count; i++)
        if (about->fields[i].required && !(seen >> i & 1))
            return bad(err, about, &about->fields[i], "is missing");
    return ERR_OK;
}

static err_code_t check_item(proto_type_t type, const msgpack_object *map, err_t *err) {
    const proto_message_t *about = proto_message(type);
    uint64_t seen = 0;
    if (map->type != MSGPACK_OBJECT_MAP)
        return err_set(err, ERR_PROTOCOL, "%s must be a map", about->wire);
    for (size_t i = 0; i < map->via.map.size; i++) {
        const proto_field_t *field = find_field(about, &map->via.map.ptr[i].key);
        seen |= field ? 1ull << (field - about->fields) : 0;
    }
    return check_required(about, seen, err);
}

static err_code_t read_message(proto_type_t type, const msgpack_object *map, proto_arena_t *arena,
                               void *message, err_t *err) {
    const proto_message_t *about = proto_message(type);
    if (map->type != MSGPACK_OBJECT_MAP)
        return err_set(err, ERR_PROTOCOL, "%s must be a map", about->wire);
    proto_defaults(type, message);
    uint64_t seen = 0;
    ERR_ASSERT(about->field_count <= 64);
    for (size_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *pair = &map->via.map.ptr[i];
        const proto_field_t *field = find_field(about, &pair->key);
        if (!field || (pair->val.type == MSGPACK_OBJECT_NIL && !field->required))
            continue;
        uint64_t bit = 1ull << (field - about->fields);
        if (seen & bit)
            return bad(err, about, field, "is given twice");
        seen |= bit;
        err_code_t code =
            read_field(about, field, &pair->val, arena, field_of(message, field), err);
        if (code)
            return code;
    }
    return check_required(about, seen, err);
}

err_code_t proto_decode(proto_type_t type, const void *bytes, size_t size, proto_arena_t *arena,
                        void *message, err_t *err) {
    static const char empty_map[] = {(char)0x80};
    if (size == 0) {
        bytes = empty_map;
        size = 1;
    }
    if (size > PROTO_MESSAGE_MAX)
        return err_set(err, ERR_TOO_LARGE, "%s: the body has %zu bytes; the limit is %u",
                       proto_message(type)->wire, size, PROTO_MESSAGE_MAX);
    err_code_t code = proto_check(bytes, size, err);
    if (code) {
        err_context(err, "%s", proto_message(type)->wire);
        return code;
    }
    msgpack_object root;
    size_t offset = 0;
    if (msgpack_unpack(bytes, size, &offset, &arena->zone, &root) != MSGPACK_UNPACK_SUCCESS)
        return err_set(err, ERR_PROTOCOL, "%s: not msgpack", proto_message(type)->wire);
    return read_message(type, &root, arena, message, err);
}
