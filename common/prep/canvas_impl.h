// From decoded rows to the result: alpha over white, gray, resize, orientation, pad. Decoders push
// rows; what they push may be shrunk already.
#ifndef INKLING_PREP_CANVAS_IMPL_H
#define INKLING_PREP_CANVAS_IMPL_H

#include "base/clock.h"
#include "prep/prep.h"

typedef struct canvas canvas_t;

// width, height: what the pushed rows show, in units of their pixels: a JPEG of 1001 columns
// decoded at 1/8 has 126 columns that show 125.125. bands: 1 gray, 2 gray + alpha, 3 RGB, 4 RGB +
// alpha.
err_code_t canvas_new(const prep_recipe_t *recipe, double width, double height, int bands,
                      canvas_t **canvas, err_t *err);
void canvas_destroy(canvas_t **canvas);
// The next row from the top: ceil(width) × bands.
void canvas_row(canvas_t *canvas, const uint8_t *row);
// After the last row. orientation: EXIF's 1 … 8.
void canvas_result(canvas_t *canvas, int orientation, uint8_t *pixels);

// Limits, checked against a header and against the clock.
typedef struct {
    const prep_limits_t *limits;
    int64_t end_ms; // clock_mono_ms
} guard_t;

guard_t guard_start(const prep_limits_t *limits);
err_code_t guard_bytes(const guard_t *guard, size_t size, err_t *err);
err_code_t guard_size(const guard_t *guard, int width, int height, err_t *err);
bool guard_late(const guard_t *guard);
err_code_t guard_timeout(const guard_t *guard, err_t *err); // the error for it

#endif
