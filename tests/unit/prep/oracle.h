// prep.h's definition of fit and resize over again: two-dimensional, in double precision, from the
// whole image. Gray or RGB in, no alpha.
#ifndef TEST_PREP_ORACLE_H
#define TEST_PREP_ORACLE_H

#include "make.h"

// size × size × channels, free() it.
uint8_t *oracle_prep(pixels_t source, const prep_recipe_t *recipe);

#endif
