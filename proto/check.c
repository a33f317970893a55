// A walk over msgpack bytes (github.com/msgpack/msgpack/blob/master/spec.md) that allocates
// nothing. It keeps, per open container, how many values are still due, and refuses a count larger
// than the bytes left.
#include "proto/codec.h"

typedef struct {
    const unsigned char *at, *end;
} walk_t;

static bool take(walk_t *walk, size_t width, uint64_t *value) {
    if ((size_t)(walk->end - walk->at) < width)
        return false;
    *value = 0;
    for (size_t i = 0; i < width; i++)
        *value = *value << 8 | *walk->at++;
    return true;
}

static bool skip(walk_t *walk, uint64_t size) {
    if ((uint64_t)(walk->end - walk->at) < size)
        return false;
    walk->at += size;
    return true;
}

// Reads one tag with its payload; *children is how many values follow inside it.
static bool step(walk_t *walk, uint64_t *children) {
    // Bytes of payload behind the tags 0xca … 0xd8 (numbers and fixext with its type byte).
    static const unsigned char plain[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17};
    uint64_t tag, size;
    *children = 0;
    if (!take(walk, 1, &tag))
        return false;
    if (tag <= 0x7f || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3)
        return true;
    if (tag <= 0x8f) {
        *children = 2 * (tag & 15);
        return true;
    }
    if (tag <= 0x9f) {
        *children = tag & 15;
        return true;
    }
    if (tag <= 0xbf)
        return skip(walk, tag & 31);
    if (tag >= 0xc4 && tag <= 0xc6)
        return take(walk, 1u << (tag - 0xc4), &size) && skip(walk, size);
    if (tag >= 0xc7 && tag <= 0xc9)
        return take(walk, 1u << (tag - 0xc7), &size) && skip(walk, size + 1);
    if (tag >= 0xca && tag <= 0xd8)
        return skip(walk, plain[tag - 0xca]);
    if (tag >= 0xd9 && tag <= 0xdb)
        return take(walk, 1u << (tag - 0xd9), &size) && skip(walk, size);
    if (tag >= 0xdc && take(walk, tag & 1 ? 4 : 2, &size)) {
        *children = tag >= 0xde ? 2 * size : size;
        return true;
    }
    return false; // 0xc1, or cut off
}

err_code_t proto_check(const void *bytes, size_t size, err_t *err) {
    const unsigned char *start = bytes;
    if (size == 0)
        return err_set(err, ERR_PROTOCOL, "empty frame where a msgpack value is due");
    walk_t walk = {start, start + size};
    uint64_t due[PROTO_DEPTH_MAX + 1] = {1};
    int depth = 0;
    size_t values = 0;
    while (depth >= 0) {
        if (due[depth] == 0) {
            depth--;
            continue;
        }
        due[depth]--;
        if (++values > PROTO_VALUES_MAX)
            return err_set(err, ERR_TOO_LARGE, "msgpack of more than %u values", PROTO_VALUES_MAX);
        uint64_t children;
        if (!step(&walk, &children))
            return err_set(err, ERR_PROTOCOL, "msgpack is cut off or damaged at byte %zu of %zu",
                           (size_t)(walk.at - start), size);
        if (children > (uint64_t)(walk.end - walk.at))
            return err_set(err, ERR_PROTOCOL,
                           "msgpack promises %llu values at byte %zu, but only %zu bytes follow",
                           (unsigned long long)children, (size_t)(walk.at - start),
                           (size_t)(walk.end - walk.at));
        if (children && depth == PROTO_DEPTH_MAX)
            return err_set(err, ERR_PROTOCOL, "msgpack is nested deeper than %d levels",
                           PROTO_DEPTH_MAX);
        if (children)
            due[++depth] = children;
    }
    if (walk.at != walk.end)
        return err_set(err, ERR_PROTOCOL, "%zu bytes behind the msgpack value",
                       (size_t)(walk.end - walk.at));
    return ERR_OK;
}
