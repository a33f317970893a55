// Sobol' points with the direction numbers of Joe and Kuo ("Constructing Sobol sequences with
// better two-dimensional projections", SIAM J. Sci. Comput. 30, 2008; set D6), in Gray code order,
// with a random digital shift (which keeps them a net). A point is a pure function of its index.
#ifndef INKLING_TUNE_SOBOL_IMPL_H
#define INKLING_TUNE_SOBOL_IMPL_H

#include "base/philox.h"

#include <stdint.h>

#define SOBOL_DIMS_MAX 64

typedef struct {
    int dims;
    uint32_t shift[SOBOL_DIMS_MAX];
    uint32_t v[SOBOL_DIMS_MAX][32];
} sobol_t;

void sobol_init(sobol_t *sobol, int dims); // unshifted
void sobol_shift(sobol_t *sobol, uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2);
// Within (0, 1), in steps of 2^-32, from the middle of the first.
void sobol_point(const sobol_t *sobol, uint32_t index, double *point);

#endif
