// A look into ICC profiles: only whether one has to be applied.
#ifndef INKLING_PREP_ICC_IMPL_H
#define INKLING_PREP_ICC_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// True for a profile of as many colour components as the image (1, 3 or 4) that does not describe
// itself as sRGB.
bool icc_matters(const uint8_t *profile, size_t size, int components);

#endif
