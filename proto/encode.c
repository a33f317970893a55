// Structs to msgpack.
#include "codec_impl.h"

#include <msgpack.h>
#include <string.h>

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
        return field_bad(err, about, field, "is missing");
    size_t size = strlen(text);
    err_code_t code = field_text(about, field, text, size, min, max, err);
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
        return field_bad(err, about, field, "must be a map");
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
    err_code_t code = field_count(about, field, list->count, err);
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
        code = field_whole(about, field, *(const uint64_t *)at, err);
        msgpack_pack_uint64(packer, *(const uint64_t *)at);
        return code;
    case PROTO_F64:
        code = field_number(about, field, *(const double *)at, err);
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
            return field_bad(err, about, field, "is missing");
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
