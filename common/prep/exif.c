#include "exif_impl.h"

#include <stdbool.h>
#include <string.h>

#define TAG_ORIENTATION 0x0112
#define TYPE_SHORT      3
#define ENTRY_BYTES     12

static uint32_t get(const uint8_t *p, int bytes, bool little) {
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | p[little ? bytes - 1 - i : i];
    return value;
}

int exif_orientation(const uint8_t *app1, size_t size) {
    if (size < 14 || memcmp(app1, "Exif\0\0", 6) != 0)
        return 1;
    const uint8_t *tiff = app1 + 6;
    size -= 6;
    bool little = tiff[0] == 'I';
    uint32_t ifd = get(tiff + 4, 4, little);
    if (ifd > size - 2)
        return 1;
    uint32_t entries = get(tiff + ifd, 2, little);
    for (size_t i = 0, at = ifd + 2; i < entries && at + ENTRY_BYTES <= size;
         i++, at += ENTRY_BYTES) {
        if (get(tiff + at, 2, little) != TAG_ORIENTATION)
            continue;
        uint32_t value = get(tiff + at + 8, 2, little);
        bool good = get(tiff + at + 2, 2, little) == TYPE_SHORT && value >= 1 && value <= 8;
        return good ? (int)value : 1;
    }
    return 1;
}
