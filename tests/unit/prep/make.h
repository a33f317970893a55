// Image files in memory for tests, made with libvips, and whole-file helpers around prep_image.
#ifndef TEST_PREP_MAKE_H
#define TEST_PREP_MAKE_H

#include "prep/prep.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

typedef struct {
    uint8_t *bytes;
    size_t size;
} file_t;

typedef struct {
    int width, height, bands; // 1 gray, 2 gray + alpha, 3 RGB, 4 RGB + alpha, or 4 CMYK
    uint8_t *data;
} pixels_t;

typedef enum { MAKE_8_BITS, MAKE_16_BITS } make_depth_t;

typedef struct {
    const char *suffix;        // ".png", ".jpg[Q=90]", as libvips has it
    int orientation;           // 0: no tag
    const char *profile;       // one of libvips' built-in ones, or NULL
    const void *profile_bytes; // or these
    size_t profile_size;
    bool cmyk;
    make_depth_t depth; // 16: values times 257
} make_t;

pixels_t pixels_new(int width, int height, int bands);
pixels_t pixels_solid(int width, int height, int bands, const uint8_t *values);
// Smooth, different in all four corners, few enough colours for a GIF.
pixels_t pixels_scene(int width, int height, int bands);
// As the rows and columns of a reader who applies no orientation: upright seen through orientation.
pixels_t pixels_stored(pixels_t upright, int orientation);
pixels_t pixels_crop(pixels_t from, int left, int top, int width, int height);
void pixels_free(pixels_t *pixels);

file_t make_file(pixels_t pixels, const make_t *how);
file_t make_simple(pixels_t pixels, const char *suffix);
void file_free(file_t *file);
void file_insert(file_t *file, size_t at, const void *bytes, size_t size);
// Writes other dimensions into a PNG's header, with the right checksum.
void png_resize_header(file_t file, uint32_t width, uint32_t height);

// Result of prep_image, which must succeed; free() it.
uint8_t *prep_ok(file_t file, const prep_recipe_t *recipe);
// prep_image must fail with code and a message that has part in it.
void prep_refused(file_t file, err_code_t code, const char *part);
int largest_difference(const uint8_t *a, const uint8_t *b, size_t size);

int setup_prep(void **state);
int teardown_prep(void **state);

#endif
