#include "icc_impl.h"

#include <string.h>

#define HEADER_BYTES 128
#define TAG_BYTES    12
#define TAGS_MAX     100

static uint32_t big32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool contains(const uint8_t *bytes, size_t size, const char *what, size_t what_size) {
    for (size_t i = 0; i + what_size <= size; i++)
        if (memcmp(bytes + i, what, what_size) == 0)
            return true;
    return false;
}

// The description ('desc' tag) is ASCII in version 2 profiles, UTF-16 in version 4.
static bool calls_itself_srgb(const uint8_t *profile, size_t size) {
    uint32_t tags = big32(profile + HEADER_BYTES);
    for (uint32_t i = 0; i < tags && i < TAGS_MAX; i++) {
        size_t at = HEADER_BYTES + 4 + (size_t)i * TAG_BYTES;
        if (at + TAG_BYTES > size)
            return false;
        if (memcmp(profile + at, "desc", 4) != 0)
            continue;
        uint32_t offset = big32(profile + at + 4), length = big32(profile + at + 8);
        if (offset > size || length > size - offset)
            return false;
        return contains(profile + offset, length, "sRGB", 4) ||
               contains(profile + offset, length, "s\0R\0G\0B", 7);
    }
    return false;
}

bool icc_matters(const uint8_t *profile, size_t size, int components) {
    const char *space = components == 1 ? "GRAY" : components == 3 ? "RGB " : "CMYK";
    if (size < HEADER_BYTES + 4 || memcmp(profile + 36, "acsp", 4) != 0 ||
        memcmp(profile + 16, space, 4) != 0)
        return false;
    return !calls_itself_srgb(profile, size);
}
