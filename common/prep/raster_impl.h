// libvips: every format but JPEG, and colours that need a profile.
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

#endif
