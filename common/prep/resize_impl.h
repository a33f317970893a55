// Streaming resize with a triangle filter: rows of the source come in from the top, the result
// stands when the last is in. Integer arithmetic: weights of 14 bits that add up to exactly 1, 8
// more bits kept between the passes over columns and rows.
#ifndef INKLING_PREP_RESIZE_IMPL_H
#define INKLING_PREP_RESIZE_IMPL_H

#include "base/err.h"

#include <stdint.h>

// One axis: the source interval [begin, end) in pixels, real-valued, becomes count pixels. Pixels
// outside [floor(begin), ceil(end)) have no weight.
typedef struct {
    double begin, end;
    int count;
} resize_axis_t;

typedef struct resize resize_t;

// ERR_NO_MEMORY. The source has rows of at least ceil(x.end) pixels, and ceil(y.end) rows.
err_code_t resize_new(resize_axis_t x, resize_axis_t y, int channels, resize_t **resize,
                      err_t *err);
void resize_destroy(resize_t **resize);
// False if the next row is not needed: resize_row may then be called with NULL.
bool resize_wants(const resize_t *resize);
void resize_row(resize_t *resize, const uint8_t *row);
// out: y.count × x.count × channels.
void resize_result(const resize_t *resize, uint8_t *out);

#endif
