// msgpack to structs.
#include "arena_impl.h"
#include "codec_impl.h"

#include "base/nearest.h"
#include "base/utf8.h"

#include <string.h>

static err_code_t read_message(proto_type_t type, const msgpack_object *map, proto_arena_t *arena,
                               void *message, err_t *err);

static err_code_t read_text(const proto_message_t *about, const proto_field_t *field,
                            const msgpack_object *value, double min, double max,
                            proto_arena_t *arena, const char **out, err_t *err) {
    if (value->type != MSGPACK_OBJECT_STR)
        return field_bad(err, about, field, "must be text");
    const char *text = value->via.str.ptr;
    size_t size = value->via.str.size;
    err_code_t code = field_text(about, field, text, size, min, max, err);
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
        return field_number(about, field, (double)value->via.i64, err);
    if (value->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return field_bad(err, about, field, "must be a whole number");
    *out = value->via.u64;
    return field_whole(about, field, value->via.u64, err);
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
        return field_bad(err, about, field, "must be a number");
    return field_number(about, field, *out, err); // false for NaN, too
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
        return field_bad(err, about, field,
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
        return field_bad(err, about, field, "must be a list");
    size_t count = value->via.array.size;
    err_code_t code = field_count(about, field, count, err);
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
            return field_bad(err, about, field, "must be true or false");
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

static const char *field_name(void *arg, size_t index) {
    const proto_message_t *about = arg;
    return index < about->field_count ? about->fields[index].name : NULL;
}

// Messages may gain fields, so that their unknown keys pass. Nothing of a job may be overlooked.
static err_code_t check_unknown(const proto_message_t *about, const msgpack_object *key,
                                err_t *err) {
    char word[65] = "", meant[64];
    if (about->sender != PROTO_BY_BODY)
        return ERR_OK;
    if (key->type != MSGPACK_OBJECT_STR || !utf8_valid(key->via.str.ptr, key->via.str.size))
        return err_set(err, ERR_INVALID, "%s: a key is no UTF-8 text", about->wire);
    if (key->via.str.size < sizeof word)
        memcpy(word, key->via.str.ptr, key->via.str.size);
    err_set(err, ERR_INVALID, "the kind %s has no parameter '%s'", about->wire,
            key->via.str.size < sizeof word ? word : "(of more than 64 bytes)");
    if (nearest(word, field_name, (void *)about, meant))
        err_remedy(err, "did you mean %s?", meant);
    return ERR_INVALID;
}

// seen: one bit per field.
static err_code_t check_required(const proto_message_t *about, uint64_t seen, err_t *err) {
    for (size_t i = 0; i < about->field_count; i++)
        if (about->fields[i].required && !(seen >> i & 1))
            return field_bad(err, about, &about->fields[i], "is missing");
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
        err_code_t code = field ? ERR_OK : check_unknown(about, &pair->key, err);
        if (code)
            return code;
        if (!field || (pair->val.type == MSGPACK_OBJECT_NIL && !field->required))
            continue;
        uint64_t bit = 1ull << (field - about->fields);
        if (seen & bit)
            return field_bad(err, about, field, "is given twice");
        seen |= bit;
        code = read_field(about, field, &pair->val, arena, field_of(message, field), err);
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
