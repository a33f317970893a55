// cublasLt, behind this header: the three products of a dense layer, in float. No other source
// knows its types.
#ifndef INKLING_NN_CUDA_DENSE_H
#define INKLING_NN_CUDA_DENSE_H

#include "base/err.h"

#include <driver_types.h>

typedef struct dense_library dense_library_t;
typedef struct dense_plan dense_plan_t;

typedef enum { DENSE_FORWARD, DENSE_DATA, DENSE_FILTER, DENSE_KINDS } dense_kind_t;

// x: [count][x_stored], of which `ins` matter; y: [count][y_stored], `outs`; w: [outs][ins].
typedef struct {
    int count, ins, x_stored, outs, y_stored;
    bool exact; // float throughout; else inputs are rounded to TF32
} dense_shape_t;

err_code_t dense_library_open(cudaStream_t stream, dense_library_t **library, err_t *err);
void dense_library_close(dense_library_t **library); // allows NULL

// forward: y = x·wᵀ + bias (bias may be NULL); data: x = y·w; filter: w = yᵀ·x. The one on the
// left is written. Pointers stay the plan's.
err_code_t dense_plan_make(const dense_library_t *library, const dense_shape_t *shape,
                           dense_kind_t kind, float *x, float *w, float *y, const float *bias,
                           dense_plan_t **plan, err_t *err);
void dense_plan_destroy(dense_plan_t **plan); // allows NULL
err_code_t dense_plan_run(const dense_library_t *library, const dense_plan_t *plan, err_t *err);

#endif
