// Made-up images: heads in two styles, drawn from numbers. For demonstrations, tests and benchmarks
// that need images to learn from but have no data at hand.
//
// An identity is a person: shape of the face, skin, hair, eyes, beard, clothes. Each identity can
// be drawn as a photo (soft shading, texture, blur) and as a comic (flat fills, ink outlines,
// hatching or half-tone). Pose, light, background, exposure, blur, noise and tint are drawn anew
// for each image, from the same distributions in both styles, and brightness, contrast and
// saturation are brought to targets that do not depend on the style: the styles differ in edges and
// texture, not in what the mean or any single pixel tells.
//
// Everything is a pure function of (seed, identity, style) and the size; random numbers come from
// base/philox.h. The same build on the same machine gives the same bytes, with any number of
// threads.
#ifndef INKLING_SYNTH_SYNTH_H
#define INKLING_SYNTH_SYNTH_H

#include "base/err.h"

#include <stdint.h>

#define SYNTH_SIDE_MIN  32
#define SYNTH_SIDE_MAX  1024
#define SYNTH_COUNT_MAX 1000000u

typedef enum { SYNTH_PHOTO, SYNTH_COMIC } synth_style_t;

// Fills rgb, height × width × 3 bytes, [row][column][red, green, blue]. Any thread.
void synth_draw(uint64_t seed, uint32_t identity, synth_style_t style, int width, int height,
                uint8_t *rgb);

// Called from the drawing threads, one at a time, with the number of images written so far. False
// ends the work.
typedef bool (*synth_progress_fn)(void *arg, uint32_t done, uint32_t count);

// Writes count images (2 … SYNTH_COUNT_MAX): dir/photos/N.jpg and dir/comics/N.jpg, N from 0, with
// the same head under the same number; an odd count has one photo more. Sides 224 … 352 pixels and
// JPEG quality vary, alike in both styles. Folders are made, files of an earlier set replaced; a
// folder that holds anything this set would not write is refused (ERR_CONFLICT), since its images
// would be taken for the set's. threads 0: one per core. progress may be NULL; when it answers
// false the result is ERR_CANCELLED. prep_init() must have been called.
err_code_t synth_write_set(const char *dir, uint32_t count, uint64_t seed, int threads,
                           synth_progress_fn progress, void *arg, err_t *err);

#endif
