// Every format but JPEG, and colours that need a profile: libvips, which is loaded, with the
// hundred libraries that it brings along, when the first image needs it. Any thread.
#ifndef INKLING_PREP_RASTER_IMPL_H
#define INKLING_PREP_RASTER_IMPL_H

#include "canvas_impl.h"
#include "sniff_impl.h"

// A whole file of any format but JPEG.
err_code_t raster_image(const void *bytes, size_t size, sniff_format_t format,
                        const prep_recipe_t *recipe, const guard_t *guard, uint8_t *pixels,
                        err_t *err);
err_code_t raster_probe(const void *bytes, size_t size, sniff_format_t format, int *width,
                        int *height, err_t *err);

// Decoded pixels (columns × rows × bands: 1 gray, 3 RGB, 4 CMYK with 255 = full ink) through an ICC
// profile (profile_size 0: CMYK without one) into pixels. width, height: see canvas_new.
typedef struct {
    const uint8_t *data;
    int columns, rows, bands;
    double width, height;
    const uint8_t *profile;
    size_t profile_size;
    int orientation;
} raster_pixels_t;

err_code_t raster_through_profile(const raster_pixels_t *raster, const prep_recipe_t *recipe,
                                  const guard_t *guard, uint8_t *pixels, err_t *err);

// Pixels to be written as a file; layout as in prep.h.
typedef struct {
    const uint8_t *pixels;
    int width, height, channels;
} raster_drawing_t;

// A JPEG of that quality, or with 0 a PNG, in *bytes, which raster_release frees.
err_code_t raster_encode(const raster_drawing_t *drawing, int quality, void **bytes, size_t *size,
                         err_t *err);
void raster_release(void *bytes);

// What inkling-vips.so gives under the name raster_ops.
typedef struct {
    err_code_t (*start)(err_t *err);
    void (*end)(void);
    err_code_t (*image)(const void *bytes, size_t size, sniff_format_t format,
                        const prep_recipe_t *recipe, const guard_t *guard, uint8_t *pixels,
                        err_t *err);
    err_code_t (*probe)(const void *bytes, size_t size, sniff_format_t format, int *width,
                        int *height, err_t *err);
    err_code_t (*through_profile)(const raster_pixels_t *raster, const prep_recipe_t *recipe,
                                  const guard_t *guard, uint8_t *pixels, err_t *err);
    err_code_t (*encode)(const raster_drawing_t *drawing, int quality, void **bytes, size_t *size,
                         err_t *err);
    void (*release)(void *bytes);
} raster_ops_t;
__attribute__((visibility("default"))) extern const raster_ops_t raster_ops;

#endif
