#include "proto/json.h"

#include "codec_impl.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

// --- msgpack to JSON
// ------------------------------------------------------------------------------

static json_t *text_json(const char *text, size_t size) {
    json_t *value = json_stringn(text, size); // NULL for text that is no UTF-8
    if (value)
        return value;
    buf_t escaped;
    buf_init(&escaped, 8 * size + 16);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x80)
            buf_append(&escaped, text + i, 1);
        else
            buf_printf(&escaped, "\\x%02x", (unsigned char)text[i]);
    value = json_stringn(escaped.data, escaped.size);
    buf_release(&escaped);
    return value;
}

static json_t *hex_json(const char *bytes, size_t size) {
    buf_t hex;
    buf_init(&hex, 2 * size + 1);
    for (size_t i = 0; i < size; i++)
        buf_printf(&hex, "%02x", (unsigned char)bytes[i]);
    json_t *text = json_stringn(size ? hex.data : "", hex.size);
    buf_release(&hex);
    return text;
}

static json_t *object_json(const msgpack_object *object) {
    switch (object->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        return json_boolean(object->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        if (object->via.u64 > INT64_MAX)
            return json_real((double)object->via.u64);
        return json_integer((json_int_t)object->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return json_integer(object->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64: {
        json_t *real = json_real(object->via.f64); // NULL for NaN and infinities
        return real ? real : json_null();
    }
    case MSGPACK_OBJECT_STR:
        return text_json(object->via.str.ptr, object->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return hex_json(object->via.bin.ptr, object->via.bin.size);
    case MSGPACK_OBJECT_ARRAY: {
        json_t *list = json_array();
        for (size_t i = 0; i < object->via.array.size; i++)
            json_array_append_new(list, object_json(&object->via.array.ptr[i]));
        return list;
    }
    case MSGPACK_OBJECT_MAP: {
        json_t *map = json_object();
        for (size_t i = 0; i < object->via.map.size; i++) {
            const msgpack_object_kv *pair = &object->via.map.ptr[i];
            json_t *key = object_json(&pair->key);
            char *name = json_is_string(key) ? mem_dup(json_string_value(key))
                                             : json_dumps(key, JSON_ENCODE_ANY | JSON_COMPACT);
            json_object_set_new(map, name ? name : "?", object_json(&pair->val));
            free(name);
            json_decref(key);
        }
        return map;
    }
    case MSGPACK_OBJECT_EXT:
    case MSGPACK_OBJECT_NIL:
        break;
    }
    return json_null();
}

json_t *proto_map_json(proto_bytes_t map) {
    if (map.size == 0 || proto_check(map.data, map.size, NULL) != ERR_OK)
        return NULL;
    msgpack_zone zone;
    ERR_ASSERT(msgpack_zone_init(&zone, 2048));
    msgpack_object root;
    size_t offset = 0;
    json_t *value = NULL;
    if (msgpack_unpack(map.data, map.size, &offset, &zone, &root) == MSGPACK_UNPACK_SUCCESS)
        value = object_json(&root);
    msgpack_zone_destroy(&zone);
    return value;
}

static json_t *field_json(const proto_field_t *field, const void *at) {
    switch (field->kind) {
    case PROTO_STR: {
        const char *text = *(const char *const *)at;
        return text ? text_json(text, strlen(text)) : json_null();
    }
    case PROTO_U64:
        return json_integer((json_int_t) * (const uint64_t *)at);
    case PROTO_F64: // above its range: a default that says that there is none
        return *(const double *)at > field->max ? json_null() : json_real(*(const double *)at);
    case PROTO_BOOL:
        return json_boolean(*(const bool *)at);
    case PROTO_BIN:
        return hex_json(((const proto_bytes_t *)at)->data, ((const proto_bytes_t *)at)->size);
    case PROTO_MAP: {
        json_t *map = proto_map_json(*(const proto_bytes_t *)at);
        return map ? map : json_null();
    }
    case PROTO_STRS:
    case PROTO_LIST: {
        const list_t *list = at;
        const char *items = list->items;
        json_t *array = json_array();
        for (size_t i = 0; i < list->count; i++)
            json_array_append_new(
                array,
                field->kind == PROTO_STRS
                    ? json_string(((const char *const *)list->items)[i])
                    : proto_to_json(field->nested, items + i * proto_message(field->nested)->size));
        return array;
    }
    case PROTO_NESTED: {
        const void *nested = *(const void *const *)at;
        return nested ? proto_to_json(field->nested, nested) : json_null();
    }
    }
    return json_null();
}

json_t *proto_to_json(proto_type_t type, const void *message) {
    const proto_message_t *about = proto_message(type);
    json_t *object = json_object();
    for (size_t i = 0; i < about->field_count; i++) {
        const proto_field_t *field = &about->fields[i];
        json_object_set_new(object, field->name,
                            field_json(field, (const char *)message + field->offset));
    }
    return object;
}

// --- JSON to msgpack
// ------------------------------------------------------------------------------

static void pack_value(const json_t *value, msgpack_packer *packer) {
    switch (json_typeof(value)) {
    case JSON_OBJECT: {
        json_t *object = (json_t *)(uintptr_t)value; // jansson iterates over non-const objects only
        const char *key;
        json_t *item;
        msgpack_pack_map(packer, json_object_size(value));
        json_object_foreach(object, key, item) {
            msgpack_pack_str_with_body(packer, key, strlen(key));
            pack_value(item, packer);
        }
        return;
    }
    case JSON_ARRAY:
        msgpack_pack_array(packer, json_array_size(value));
        for (size_t i = 0; i < json_array_size(value); i++)
            pack_value(json_array_get(value, i), packer);
        return;
    case JSON_STRING:
        msgpack_pack_str_with_body(packer, json_string_value(value), json_string_length(value));
        return;
    case JSON_INTEGER:
        msgpack_pack_int64(packer, json_integer_value(value));
        return;
    case JSON_REAL:
        msgpack_pack_double(packer, json_real_value(value));
        return;
    case JSON_TRUE:
        msgpack_pack_true(packer);
        return;
    case JSON_FALSE:
        msgpack_pack_false(packer);
        return;
    case JSON_NULL:
        msgpack_pack_nil(packer);
        return;
    }
}

err_code_t proto_pack_json(const json_t *value, buf_t *out, err_t *err) {
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, write_buf);
    pack_value(value, &packer);
    if (out->failed)
        return err_set(err, ERR_TOO_LARGE, "the value is larger than %zu bytes", out->ceiling);
    return ERR_OK;
}

err_code_t proto_map_from_json(const json_t *value, proto_arena_t *arena, proto_bytes_t *map,
                               err_t *err) {
    buf_t packed;
    buf_init(&packed, PROTO_MESSAGE_MAX);
    err_code_t code = proto_pack_json(value, &packed, err);
    if (code == ERR_OK) {
        void *copy = proto_arena_alloc(arena, packed.size);
        memcpy(copy, packed.data, packed.size);
        *map = (proto_bytes_t){copy, packed.size};
    }
    buf_release(&packed);
    return code;
}

static int nibble(char digit) {
    const char *digits = "0123456789abcdef", *found = digit ? strchr(digits, digit) : NULL;
    return found ? (int)(found - digits) : -1;
}

// Text that is no hex stays text: the decoder says what is wrong with it.
static void pack_hex(const json_t *value, msgpack_packer *packer) {
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);
    bool good = size % 2 == 0;
    for (size_t i = 0; i < size && good; i++)
        good = nibble(text[i]) >= 0;
    if (!good) {
        pack_value(value, packer);
        return;
    }
    msgpack_pack_bin(packer, size / 2);
    for (size_t i = 0; i < size; i += 2) {
        char byte = (char)(nibble(text[i]) * 16 + nibble(text[i + 1]));
        msgpack_pack_bin_body(packer, &byte, 1);
    }
}

static void pack_message(proto_type_t type, const json_t *value, msgpack_packer *packer);

static void pack_field(const proto_field_t *field, const json_t *value, msgpack_packer *packer) {
    if (field && field->kind == PROTO_BIN && json_is_string(value)) {
        pack_hex(value, packer);
    } else if (field && field->kind == PROTO_NESTED) {
        pack_message(field->nested, value, packer);
    } else if (field && field->kind == PROTO_LIST && json_is_array(value)) {
        msgpack_pack_array(packer, json_array_size(value));
        for (size_t i = 0; i < json_array_size(value); i++)
            pack_message(field->nested, json_array_get(value, i), packer);
    } else {
        pack_value(value, packer);
    }
}

// As pack_value, but for binary fields: JSON has them as hex.
static void pack_message(proto_type_t type, const json_t *value, msgpack_packer *packer) {
    const proto_message_t *about = proto_message(type);
    json_t *object = (json_t *)(uintptr_t)value;
    const char *key;
    json_t *item;
    if (!json_is_object(value)) {
        pack_value(value, packer);
        return;
    }
    msgpack_pack_map(packer, json_object_size(value));
    json_object_foreach(object, key, item) {
        const proto_field_t *field = NULL;
        for (size_t i = 0; i < about->field_count && !field; i++)
            if (strcmp(about->fields[i].name, key) == 0)
                field = &about->fields[i];
        msgpack_pack_str_with_body(packer, key, strlen(key));
        pack_field(field, item, packer);
    }
}

err_code_t proto_from_json(proto_type_t type, const json_t *value, proto_arena_t *arena,
                           void *message, err_t *err) {
    buf_t packed;
    buf_init(&packed, PROTO_MESSAGE_MAX);
    msgpack_packer packer;
    msgpack_packer_init(&packer, &packed, write_buf);
    pack_message(type, value, &packer);
    err_code_t code =
        packed.failed
            ? err_set(err, ERR_TOO_LARGE, "the value is larger than %zu bytes", packed.ceiling)
            : proto_decode(type, packed.data, packed.size, arena, message, err);
    buf_release(&packed);
    return code;
}
