// One shard file; the layout is in shard.h.
#ifndef INKLING_SHARD_FILE_IMPL_H
#define INKLING_SHARD_FILE_IMPL_H

#include "shard/shard.h"

#include <stdio.h>

#define FILE_VERSION      1
#define FILE_HEADER_BYTES 4096
#define FILE_IMAGES_MAX   65536
#define FILE_BYTES_TARGET (256u << 20) // of pixels; at least one image

typedef struct {
    int64_t images;
    int height, width, channels;
    uint64_t pixels_at, labels_at, digests_at, size;
} file_layout_t;

// Sizes and offsets for so many images.
file_layout_t file_layout(int64_t images, int height, int width, int channels);
int64_t file_images_max(int height, int width, int channels);
void file_header_write(const file_layout_t *layout, uint8_t header[FILE_HEADER_BYTES]);
// False unless the header is exactly that of the layout; *version is what it says, 0 without magic.
bool file_header_matches(const file_layout_t *layout, const uint8_t header[FILE_HEADER_BYTES],
                         uint32_t *version);

#endif
