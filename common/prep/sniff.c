#include "sniff_impl.h"

#include <string.h>

typedef struct {
    const char *name;
    int offset, size;
    const char *magic;
} signature_t;

// In the order of sniff_format_t, each with one or more signatures.
static const struct {
    sniff_format_t format;
    signature_t signature;
} known[] = {
    {SNIFF_JPEG, {"JPEG", 0, 3, "\xff\xd8\xff"}}, {SNIFF_PNG, {"PNG", 0, 8, "\x89PNG\r\n\x1a\n"}},
    {SNIFF_WEBP, {"WebP", 8, 4, "WEBP"}},         {SNIFF_GIF, {"GIF", 0, 6, "GIF87a"}},
    {SNIFF_GIF, {"GIF", 0, 6, "GIF89a"}},         {SNIFF_TIFF, {"TIFF", 0, 4, "II*\0"}},
    {SNIFF_TIFF, {"TIFF", 0, 4, "MM\0*"}},        {SNIFF_TIFF, {"TIFF", 0, 4, "II+\0"}},
    {SNIFF_TIFF, {"TIFF", 0, 4, "MM\0+"}},
};

static const signature_t foreign[] = {
    {"a PDF document", 0, 5, "%PDF-"},
    {"a BMP image", 0, 2, "BM"},
    {"an AVIF image", 4, 8, "ftypavif"},
    {"a HEIC image", 4, 8, "ftypheic"},
    {"a HEIC image", 4, 8, "ftypheix"},
    {"a HEIF image", 4, 8, "ftypmif1"},
    {"an MP4 or similar video", 4, 4, "ftyp"},
    {"a JPEG XL image", 0, 2, "\xff\x0a"},
    {"a JPEG XL image", 0, 8, "\0\0\0\x0cJXL "},
    {"a JPEG 2000 image", 0, 8, "\0\0\0\x0cjP  "},
    {"a Photoshop document", 0, 4, "8BPS"},
    {"a Windows icon", 0, 4, "\0\0\1\0"},
    {"an OpenEXR image", 0, 4, "\x76\x2f\x31\x01"},
    {"a Radiance image", 0, 2, "#?"},
    {"an AVI or WAV file", 0, 4, "RIFF"},
    {"a Matroska or WebM video", 0, 4, "\x1a\x45\xdf\xa3"},
    {"a ZIP archive", 0, 4, "PK\3\4"},
    {"a gzip archive", 0, 2, "\x1f\x8b"},
    {"an xz archive", 0, 6,
     "\xfd"
     "7zXZ\0"},
    {"a NumPy array", 0, 6, "\x93NUMPY"},
    {"an ELF program", 0, 4,
     "\x7f"
     "ELF"},
    {"a Git LFS pointer, not the image itself", 0, 23, "version https://git-lfs"},
    {"an SVG drawing", 0, 4, "<svg"},
    {"an HTML page", 0, 9, "<!DOCTYPE"},
    {"an HTML page", 0, 9, "<!doctype"},
    {"an HTML page", 0, 5, "<html"},
    {"an XML or SVG document", 0, 5, "<?xml"},
};

static bool matches(const signature_t *signature, const uint8_t *bytes, size_t size) {
    size_t end = (size_t)signature->offset + (size_t)signature->size;
    return size >= end &&
           memcmp(bytes + signature->offset, signature->magic, (size_t)signature->size) == 0;
}

const char *sniff_name(sniff_format_t format) {
    size_t i = 0;
    while (known[i].format != format)
        i++;
    return known[i].signature.name;
}

static bool looks_like_text(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size && i < 512; i++)
        if (bytes[i] < 9 || (bytes[i] > 13 && bytes[i] < 32 && bytes[i] != 27))
            return false;
    return true;
}

err_code_t sniff_format(const uint8_t *bytes, size_t size, sniff_format_t *format, err_t *err) {
    if (size == 0)
        return err_set(err, ERR_INVALID, "the file is empty");
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (matches(&known[i].signature, bytes, size) &&
            (known[i].format != SNIFF_WEBP || memcmp(bytes, "RIFF", 4) == 0)) {
            *format = known[i].format;
            return ERR_OK;
        }
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (matches(&foreign[i], bytes, size)) {
            err_set(err, ERR_UNSUPPORTED, "this is %s", foreign[i].name);
            return err_remedy(err, "JPEG, PNG, WebP, GIF and TIFF are read: convert it");
        }
    return err_set(err, ERR_INVALID, "not an image: %s",
                   looks_like_text(bytes, size) ? "this is text"
                                                : "the content is of no known format");
}

static uint32_t big32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t little32(const uint8_t *p) {
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

// Chunks (size 4, name 4, data, CRC 4) up to IEND.
static bool png_complete(const uint8_t *bytes, size_t size) {
    for (size_t at = 8; at + 12 <= size;) {
        uint64_t next = (uint64_t)at + 12 + big32(bytes + at);
        if (next > size)
            return false;
        if (memcmp(bytes + at + 4, "IEND", 4) == 0)
            return true;
        at = (size_t)next;
    }
    return false;
}

// Skips sub-blocks (size byte, data) and their terminator of size 0; 0 if the file ends before.
static size_t gif_sub_blocks(const uint8_t *bytes, size_t size, size_t at) {
    while (at < size && bytes[at])
        at += 1u + bytes[at];
    return at < size ? at + 1 : 0;
}

static size_t gif_color_table(uint8_t flags) {
    return flags & 0x80 ? 3u << ((flags & 7) + 1) : 0;
}

// Screen descriptor, colour table, then extensions and images up to the trailer. Bytes between
// blocks that begin none end the walk as complete: the decoder judges what came before.
static bool gif_complete(const uint8_t *bytes, size_t size) {
    if (size < 13)
        return false;
    size_t at = 13 + gif_color_table(bytes[10]);
    while (at < size) {
        uint8_t kind = bytes[at];
        if (kind == 0x21)
            at += 2;
        else if (kind == 0x2c && at + 10 <= size)
            at += 10 + gif_color_table(bytes[at + 9]) + 1;
        else
            return kind != 0x2c;
        at = gif_sub_blocks(bytes, size, at);
        if (!at)
            return false;
    }
    return false;
}

err_code_t sniff_complete(const uint8_t *bytes, size_t size, sniff_format_t format, err_t *err) {
    bool complete = true;
    if (format == SNIFF_PNG)
        complete = png_complete(bytes, size);
    else if (format == SNIFF_GIF)
        complete = gif_complete(bytes, size);
    else if (format == SNIFF_WEBP)
        complete = (uint64_t)little32(bytes + 4) + 8 <= size;
    return complete ? ERR_OK
                    : err_set(err, ERR_CORRUPT, "truncated %s: the file ends before the image",
                              sniff_name(format));
}
