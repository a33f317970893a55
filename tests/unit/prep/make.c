#include "make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

pixels_t pixels_new(int width, int height, int bands) {
    size_t size = (size_t)width * (size_t)height * (size_t)bands;
    return (pixels_t){width, height, bands, calloc(size, 1)};
}

pixels_t pixels_solid(int width, int height, int bands, const uint8_t *values) {
    pixels_t p = pixels_new(width, height, bands);
    for (int i = 0; i < width * height; i++)
        memcpy(p.data + i * bands, values, (size_t)bands);
    return p;
}

pixels_t pixels_scene(int width, int height, int bands) {
    pixels_t p = pixels_new(width, height, bands);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int across = x * 7 / width, down = y * 5 / height;
            uint8_t *to = p.data + (y * width + x) * bands;
            const uint8_t values[4] = {(uint8_t)(across * 36), (uint8_t)(down * 60),
                                       (uint8_t)(255 - across * 20 - down * 25), 255};
            memcpy(to, values, (size_t)bands);
            if (bands == 2)
                to[1] = 255;
        }
    return p;
}

// EXIF 2.32, table of orientations: which stored pixel is seen at (x, y) of the upright w × h
// image.
pixels_t pixels_stored(pixels_t up, int orientation) {
    int w = up.width, h = up.height;
    pixels_t out = orientation < 5 ? pixels_new(w, h, up.bands) : pixels_new(h, w, up.bands);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            int at[9][2] = {{0, 0},         {x, y}, {w - 1 - x, y}, {w - 1 - x, h - 1 - y},
                            {x, h - 1 - y}, {y, x}, {y, w - 1 - x}, {h - 1 - y, w - 1 - x},
                            {h - 1 - y, x}};
            int to = at[orientation][1] * out.width + at[orientation][0];
            memcpy(out.data + to * up.bands, up.data + (y * w + x) * up.bands, (size_t)up.bands);
        }
    return out;
}

pixels_t pixels_crop(pixels_t from, int left, int top, int width, int height) {
    pixels_t out = pixels_new(width, height, from.bands);
    for (int y = 0; y < height; y++)
        memcpy(out.data + y * width * from.bands,
               from.data + ((y + top) * from.width + left) * from.bands,
               (size_t)(width * from.bands));
    return out;
}

void pixels_free(pixels_t *pixels) {
    free(pixels->data);
    pixels->data = NULL;
}

static VipsImage *image_of(pixels_t p, const make_t *how) {
    size_t size = (size_t)p.width * (size_t)p.height * (size_t)p.bands;
    VipsImage *memory = vips_image_new_from_memory_copy(p.data, size, p.width, p.height, p.bands,
                                                        VIPS_FORMAT_UCHAR);
    VipsImage *image = NULL;
    bool deep = how->depth == MAKE_16_BITS;
    int type = how->cmyk     ? VIPS_INTERPRETATION_CMYK
               : p.bands < 3 ? (deep ? VIPS_INTERPRETATION_GREY16 : VIPS_INTERPRETATION_B_W)
               : deep        ? VIPS_INTERPRETATION_RGB16
                             : VIPS_INTERPRETATION_sRGB;
    if (deep) {
        VipsImage *wide = NULL, *shorts = NULL;
        assert_int_equal(vips_linear1(memory, &wide, 257, 0, NULL), 0);
        assert_int_equal(vips_cast(wide, &shorts, VIPS_FORMAT_USHORT, NULL), 0);
        g_object_unref(memory);
        g_object_unref(wide);
        memory = shorts;
    }
    assert_int_equal(vips_copy(memory, &image, "interpretation", type, NULL), 0);
    g_object_unref(memory);
    return image;
}

static void attach_profile(VipsImage *image, const make_t *how) {
    const void *bytes = how->profile_bytes;
    size_t size = how->profile_size;
    VipsBlob *blob = NULL;
    if (how->profile) {
        assert_int_equal(vips_profile_load(how->profile, &blob, NULL), 0);
        bytes = vips_blob_get(blob, &size);
    }
    if (bytes)
        vips_image_set_blob_copy(image, VIPS_META_ICC_NAME, bytes, size);
    if (blob)
        vips_area_unref(VIPS_AREA(blob));
}

static void put_big32(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t crc32_of(const uint8_t *bytes, size_t size) {
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

void file_insert(file_t *file, size_t at, const void *bytes, size_t size) {
    file->bytes = realloc(file->bytes, file->size + size);
    memmove(file->bytes + at + size, file->bytes + at, file->size - at);
    memcpy(file->bytes + at, bytes, size);
    file->size += size;
}

void png_resize_header(file_t file, uint32_t width, uint32_t height) {
    put_big32(file.bytes + 16, width);
    put_big32(file.bytes + 20, height);
    put_big32(file.bytes + 29, crc32_of(file.bytes + 12, 17));
}

// libvips reads a PNG's eXIf chunk and does not write one.
static void png_orient(file_t *file, int orientation) {
    uint8_t chunk[38] = "\0\0\0\x1a"
                        "eXIf"
                        "MM\0*\0\0\0\x08"
                        "\0\1"
                        "\1\x12\0\3\0\0\0\1";
    chunk[27] = (uint8_t)orientation;
    put_big32(chunk + 34, crc32_of(chunk + 4, 30));
    file_insert(file, 33, chunk, sizeof chunk);
}

// GIF by hand: libvips' writer chooses other colours. 9-bit codes, table cleared before it grows.
typedef struct {
    uint8_t *bytes;
    size_t size, block; // block: where the running sub-block's length stands
    uint32_t bits, held;
} gif_t;

static void gif_code(gif_t *gif, uint32_t code) {
    gif->bits |= code << gif->held;
    for (gif->held += 9; gif->held >= 8; gif->held -= 8, gif->bits >>= 8) {
        if (gif->bytes[gif->block] == 255) {
            gif->block = gif->size++;
            gif->bytes[gif->block] = 0;
        }
        gif->bytes[gif->size++] = (uint8_t)gif->bits;
        gif->bytes[gif->block]++;
    }
}

// Index of a colour among those seen so far; entry 0 is transparent.
static uint32_t gif_color(uint8_t palette[256][3], int *colors, const uint8_t *pixel, int bands) {
    uint8_t rgb[3] = {pixel[0], pixel[bands < 3 ? 0 : 1], pixel[bands < 3 ? 0 : 2]};
    if (bands % 2 == 0 && pixel[bands - 1] == 0)
        return 0;
    for (int i = 1; i < *colors; i++)
        if (memcmp(palette[i], rgb, 3) == 0)
            return (uint32_t)i;
    assert_true(*colors < 256);
    memcpy(palette[*colors], rgb, 3);
    return (uint32_t)(*colors)++;
}

static file_t make_gif(pixels_t p) {
    int count = p.width * p.height, colors = 1;
    uint8_t palette[256][3] = {{0}};
    uint8_t low_w = (uint8_t)p.width, high_w = (uint8_t)(p.width >> 8);
    uint8_t low_h = (uint8_t)p.height, high_h = (uint8_t)(p.height >> 8);
    uint8_t screen[13] = {'G', 'I', 'F', '8', '9', 'a', low_w, high_w, low_h, high_h, 0xf7, 0, 0};
    uint8_t image[19] = {0x21, 0xf9, 4, 1,     0,      0,     0,      0, 0x2c, 0,
                         0,    0,    0, low_w, high_w, low_h, high_h, 0, 8};
    gif_t gif = {malloc(900 + (size_t)count * 2), 13 + 768, 0, 0, 0};
    memcpy(gif.bytes, screen, sizeof screen);
    memcpy(gif.bytes + gif.size, image, sizeof image);
    gif.size += sizeof image;
    gif.block = gif.size++;
    gif.bytes[gif.block] = 0;
    for (int i = 0; i < count; i++) {
        if (i % 250 == 0)
            gif_code(&gif, 256);
        gif_code(&gif, gif_color(palette, &colors, p.data + i * p.bands, p.bands));
    }
    gif_code(&gif, 257);
    gif_code(&gif, 0); // flushes the last bits
    memcpy(gif.bytes + 13, palette, sizeof palette);
    gif.bytes[gif.size++] = 0;
    gif.bytes[gif.size++] = 0x3b;
    return (file_t){gif.bytes, gif.size};
}

file_t make_file(pixels_t pixels, const make_t *how) {
    if (strcmp(how->suffix, ".gif") == 0)
        return make_gif(pixels);
    VipsImage *image = image_of(pixels, how);
    if (how->orientation)
        vips_image_set_int(image, VIPS_META_ORIENTATION, how->orientation);
    attach_profile(image, how);
    void *buffer = NULL;
    file_t file = {0};
    if (vips_image_write_to_buffer(image, how->suffix, &buffer, &file.size, NULL))
        fail_msg("%s: %s", how->suffix, vips_error_buffer());
    g_object_unref(image);
    file.bytes = malloc(file.size); // exactly as long as the file: a sanitizer sees any overrun
    memcpy(file.bytes, buffer, file.size);
    g_free(buffer);
    if (how->orientation && strncmp(how->suffix, ".png", 4) == 0)
        png_orient(&file, how->orientation);
    return file;
}

file_t make_simple(pixels_t pixels, const char *suffix) {
    return make_file(pixels, &(make_t){.suffix = suffix});
}

void file_free(file_t *file) {
    free(file->bytes);
    file->bytes = NULL;
}

uint8_t *prep_ok(file_t file, const prep_recipe_t *recipe) {
    err_t err;
    uint8_t *out = malloc(prep_recipe_bytes(recipe));
    if (prep_image(file.bytes, file.size, recipe, NULL, out, &err))
        fail_msg("%s: %s", err_name(err.code), err.message);
    return out;
}

void prep_refused(file_t file, err_code_t code, const char *part) {
    err_t err = {0};
    uint8_t out[96 * 96];
    err_code_t got = prep_image(file.bytes, file.size, &PREP_RECIPE_DEFAULT, NULL, out, &err);
    if (got != code || !strstr(err.message, part))
        fail_msg("wanted %s '%s', got %s '%s'", err_name(code), part, err_name(got), err.message);
}

int largest_difference(const uint8_t *a, const uint8_t *b, size_t size) {
    int most = 0;
    for (size_t i = 0; i < size; i++)
        most = abs(a[i] - b[i]) > most ? abs(a[i] - b[i]) : most;
    return most;
}

int setup_prep(void **state) {
    err_t err;
    (void)state;
    if (prep_init(&err))
        fail_msg("%s", err.message);
    return 0;
}

int teardown_prep(void **state) {
    (void)state;
    prep_shutdown();
    return 0;
}
