#include "file_impl.h"

#include <string.h>

static const char magic[8] = {'I', 'N', 'K', 'S', 'H', 'A', 'R', 'D'};

static uint64_t image_bytes(int height, int width, int channels) {
    return (uint64_t)height * (uint64_t)width * (uint64_t)channels;
}

file_layout_t file_layout(int64_t images, int height, int width, int channels) {
    file_layout_t layout = {.images = images, .height = height, .width = width};
    layout.channels = channels;
    layout.pixels_at = FILE_HEADER_BYTES;
    uint64_t end = layout.pixels_at + (uint64_t)images * image_bytes(height, width, channels);
    layout.labels_at = (end + 7) / 8 * 8;
    layout.digests_at = layout.labels_at + (uint64_t)images * sizeof(uint32_t);
    layout.size = layout.digests_at + (uint64_t)images * SHARD_DIGEST_BYTES;
    return layout;
}

int64_t file_images_max(int height, int width, int channels) {
    uint64_t images = FILE_BYTES_TARGET / image_bytes(height, width, channels);
    if (images == 0)
        return 1;
    return images < FILE_IMAGES_MAX ? (int64_t)images : FILE_IMAGES_MAX;
}

static void put(uint8_t *to, int bytes, uint64_t value) {
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

void file_header_write(const file_layout_t *layout, uint8_t header[FILE_HEADER_BYTES]) {
    memset(header, 0, FILE_HEADER_BYTES);
    memcpy(header, magic, sizeof magic);
    put(header + 8, 4, FILE_VERSION);
    put(header + 12, 4, FILE_HEADER_BYTES);
    put(header + 16, 8, (uint64_t)layout->images);
    put(header + 24, 4, (uint64_t)layout->height);
    put(header + 28, 4, (uint64_t)layout->width);
    put(header + 32, 4, (uint64_t)layout->channels);
    put(header + 40, 8, layout->pixels_at);
    put(header + 48, 8, layout->labels_at);
    put(header + 56, 8, layout->digests_at);
    put(header + 64, 8, layout->size);
}

bool file_header_matches(const file_layout_t *layout, const uint8_t header[FILE_HEADER_BYTES],
                         uint32_t *version) {
    uint8_t expected[FILE_HEADER_BYTES];
    bool mine = memcmp(header, magic, sizeof magic) == 0;
    *version = mine ? header[8] | (uint32_t)header[9] << 8 | (uint32_t)header[10] << 16 |
                          (uint32_t)header[11] << 24
                    : 0;
    file_header_write(layout, expected);
    return memcmp(expected, header, FILE_HEADER_BYTES) == 0;
}
