// The space as the model sees it. A dimension is a parameter that varies. A point is laid out as
// `wide` coordinates, those of a dimension side by side: a number has one, in [0, 1]; a category
// has one per choice, 1/√2 for that chosen and 0 for the others, so that two different choices are
// at squared distance 1. What does not apply rests where its canonical value is. Points of a space
// that was another one before may lie outside of [0, 1], and have words that are not to choose any
// more. A parameter that has become a constant goes on being a dimension, for these points' sake.
#ifndef INKLING_TUNE_FRAME_IMPL_H
#define INKLING_TUNE_FRAME_IMPL_H

#include "space/space.h"

#define FRAME_WIDE_MAX (TUNE_PARAMETERS_MAX * TUNE_CHOICES_MAX)

typedef struct {
    const tune_space_t *space; // the owner's
    const tune_space_t *scale; // the owner's: as space, but constants as they were as ranges
    int dims, wide;
    int parameter[TUNE_PARAMETERS_MAX];
    int first[TUNE_PARAMETERS_MAX]; // coordinate of each dimension
    int width[TUNE_PARAMETERS_MAX];
    int group[FRAME_WIDE_MAX]; // dimension of each coordinate
} frame_t;

void frame_init(frame_t *frame, const tune_space_t *space, const tune_space_t *scale);
// May this dimension's coordinate be chosen?
bool frame_varies(const frame_t *frame, int dim);
// The coordinates of a point that is canonical or was carried over.
void frame_widen(const frame_t *frame, const double *point, double *wide);
// The canonical point at unit[dims], each within [0, 1].
void frame_decode(const frame_t *frame, const double *unit, double *point);
// Replaces the numbers of a canonical point that apply by those of the coordinates; canonical
// again. Its categories stay.
void frame_numbers(const frame_t *frame, const double *wide, double *point);

#endif
