#include "make.h"

#include <stdio.h>
#include <string.h>

#define EDGE_TEXT 300 // longer than one length byte tells

uint64_t make_next(uint64_t *random) {
    uint64_t z = (*random += 0x9e3779b97f4a7c15u); // splitmix64
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(uint64_t *random, size_t n) {
    return (size_t)(make_next(random) % n);
}

// --- Texts
// ---------------------------------------------------------------------------------------

// size bytes of UTF-8, of characters of one to four bytes.
static const char *any_text(size_t size, uint64_t *random, proto_arena_t *arena) {
    static const char *const letters[] = {"a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    char *text = proto_arena_alloc(arena, size + 1);
    for (size_t at = 0; at < size;) {
        size_t room = size - at, length = 1 + below(random, room < 4 ? room : 4);
        memcpy(text + at, letters[length - 1], length);
        at += length;
    }
    return text;
}

static const char *make_text(const proto_field_t *field, double min, double max, make_t how,
                             uint64_t *random, proto_arena_t *arena) {
    char text[160];
    size_t least = (size_t)min, most = (size_t)max;
    if (how == MAKE_RANDOM) {
        size_t room = (most < 40 ? most : 40) - (least < 40 ? least : 40);
        return any_text(least + below(random, room + 1), random, arena);
    }
    if (how == MAKE_LEAST) {
        memset(text, 'x', sizeof text);
        text[least] = 0;
        return proto_arena_text(arena, text);
    }
    if (how == MAKE_EDGE) {
        size_t size = most < EDGE_TEXT ? most : EDGE_TEXT;
        char *long_text = proto_arena_alloc(arena, size + 1);
        memset(long_text, '~', size);
        return long_text;
    }
    snprintf(text, sizeof text, "%s-\xc3\xa4", field->name);
    size_t size = strlen(text);
    while (size < least)
        text[size++] = '0';
    text[size] = 0;
    if (size > most) // short fields: without the letter of two bytes
        text[most < size - 3 ? most : size - 3] = 0;
    return proto_arena_text(arena, text);
}

// --- Maps: a map of the usual kinds of values
// ----------------------------------------------------

static proto_bytes_t make_map(make_t how, uint64_t *random, proto_arena_t *arena) {
    static const char empty[] = {(char)0x80};
    // {"n": [0, -1, 2^53], "t": "ä", "f": 0.5, "b": true, "z": nil, "m": {}}
    static const char typical[] = "\x86\xa1n\x93\x00\xff\xcf\x00\x20\x00\x00\x00\x00\x00\x00"
                                  "\xa1t\xa2\xc3\xa4\xa1"
                                  "f\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00\xa1"
                                  "b\xc3\xa1z\xc0\xa1m\x80";
    // {"d": [[[[[{}]]]]], "i": -2^63}
    static const char edge[] = "\x82\xa1"
                               "d\x91\x91\x91\x91\x91\x80\xa1i\xd3\x80\x00\x00\x00\x00\x00\x00\x00";
    if (how == MAKE_RANDOM)
        how = (make_t)below(random, 3);
    const char *bytes = how == MAKE_TYPICAL ? typical : how == MAKE_EDGE ? edge : empty;
    size_t size = how == MAKE_TYPICAL ? sizeof typical - 1
                  : how == MAKE_EDGE  ? sizeof edge - 1
                                      : sizeof empty;
    void *copy = proto_arena_alloc(arena, size);
    memcpy(copy, bytes, size);
    return (proto_bytes_t){copy, size};
}

// --- Fields
// --------------------------------------------------------------------------------------

static uint64_t make_whole(const proto_field_t *field, make_t how, uint64_t *random) {
    uint64_t min = (uint64_t)field->min, max = (uint64_t)field->max;
    if (how == MAKE_LEAST)
        return min;
    if (how == MAKE_EDGE)
        return max;
    if (how == MAKE_RANDOM) // any number of bits
        return min + (make_next(random) >> below(random, 64)) % (max - min + 1);
    uint64_t value = min + (max - min) / 3;
    return value == (uint64_t)field->number ? value + 1 : value;
}

static double make_number(const proto_field_t *field, make_t how, uint64_t *random) {
    if (how == MAKE_LEAST)
        return field->min;
    if (how == MAKE_EDGE)
        return field->max;
    double share = how == MAKE_RANDOM ? (double)(make_next(random) >> 11) * 0x1p-53 : 0.375;
    return field->min + share * (field->max - field->min);
}

static size_t make_count(const proto_field_t *field, make_t how, uint64_t *random) {
    size_t min = field->kind == PROTO_STRS ? (size_t)field->min : 0, max = (size_t)field->max;
    switch (how) {
    case MAKE_LEAST:
        return min;
    case MAKE_TYPICAL:
        return max < 2 ? max : 2;
    case MAKE_EDGE: // more than a short list's 15, where they are small
        return field->kind == PROTO_STRS && max > 16 ? 16 : 1;
    default:
        return min + below(random, (max < 20 ? max : 20) - min + 1);
    }
}

static void make_list(const proto_field_t *field, make_t how, uint64_t *random,
                      proto_arena_t *arena, void *at) {
    size_t count = make_count(field, how, random);
    if (field->kind == PROTO_STRS) {
        const char **items = proto_arena_alloc(arena, (count + 1) * sizeof *items);
        for (size_t i = 0; i < count; i++)
            items[i] = make_text(field, 0, 32, how, random, arena);
        *(proto_strs_t *)at = (proto_strs_t){items, count};
        return;
    }
    size_t size = proto_message(field->nested)->size;
    char *items = proto_arena_alloc(arena, (count + 1) * size);
    for (size_t i = 0; i < count; i++)
        memcpy(items + i * size, make_message(field->nested, how, random, arena), size);
    *(proto_bytes_t *)at = (proto_bytes_t){items, count}; // the same shape as a list
}

static void make_field(const proto_field_t *field, make_t how, uint64_t *random,
                       proto_arena_t *arena, void *at) {
    switch (field->kind) {
    case PROTO_STR:
        *(const char **)at = make_text(field, field->min, field->max, how, random, arena);
        break;
    case PROTO_U64:
        *(uint64_t *)at = make_whole(field, how, random);
        break;
    case PROTO_F64:
        *(double *)at = make_number(field, how, random);
        break;
    case PROTO_BOOL:
        *(bool *)at = how == MAKE_RANDOM ? below(random, 2) : field->number == 0;
        break;
    case PROTO_BIN:
    case PROTO_MAP:
        *(proto_bytes_t *)at = make_map(how, random, arena);
        break;
    case PROTO_NESTED:
        *(void **)at = make_message(field->nested, how, random, arena);
        break;
    case PROTO_STRS:
    case PROTO_LIST:
        make_list(field, how, random, arena, at);
        break;
    }
}

void *make_message(proto_type_t type, make_t how, uint64_t *random, proto_arena_t *arena) {
    const proto_message_t *about = proto_message(type);
    char *message = proto_arena_alloc(arena, about->size);
    proto_defaults(type, message);
    for (size_t i = 0; i < about->field_count; i++) {
        const proto_field_t *field = &about->fields[i];
        bool given = field->required || how == MAKE_TYPICAL || how == MAKE_EDGE ||
                     (how == MAKE_RANDOM && below(random, 2));
        if (given)
            make_field(field, how, random, arena, message + field->offset);
    }
    return message;
}
