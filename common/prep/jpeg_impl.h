// JPEG by libjpeg-turbo: decoded at a fraction of its size, and at once to gray where that is all
// that is wanted.
#ifndef INKLING_PREP_JPEG_IMPL_H
#define INKLING_PREP_JPEG_IMPL_H

#include "canvas_impl.h"

err_code_t jpeg_image(const void *bytes, size_t size, const prep_recipe_t *recipe,
                      const guard_t *guard, uint8_t *pixels, err_t *err);
err_code_t jpeg_probe(const void *bytes, size_t size, int *width, int *height, err_t *err);

#endif
