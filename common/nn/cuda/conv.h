// cuDNN, behind this header: convolutions with "same" padding and stride 1, channel-last, as plans
// for one shape each. No other source knows cuDNN's types.
//
// A plan is chosen by cuDNN's heuristics, the first configuration that can be made, never by
// timing: the same device and library give the same one. Configurations that are not deterministic
// are passed over, and in float those that round to TF32.
#ifndef INKLING_NN_CUDA_CONV_H
#define INKLING_NN_CUDA_CONV_H

#include "base/err.h"

#include <driver_types.h>

typedef struct conv_library conv_library_t;
typedef struct conv_plan conv_plan_t;

typedef enum { CONV_FORWARD, CONV_DATA, CONV_FILTER, CONV_KINDS } conv_kind_t;

typedef struct {
    int count, height, width; // of images
    int ins, outs, kernel;    // channels in memory: multiples of 8
    bool bf16;                // else float
} conv_shape_t;

// For work on the stream.
err_code_t conv_library_open(cudaStream_t stream, conv_library_t **library, err_t *err);
// For a device that is described, not there (cuDNN's JSON of its properties): makes plans, runs
// none.
err_code_t conv_library_describe(const char *device, conv_library_t **library, err_t *err);
void conv_library_close(conv_library_t **library); // allows NULL

err_code_t conv_plan_make(const conv_library_t *library, const conv_shape_t *shape,
                          conv_kind_t kind, conv_plan_t **plan, err_t *err);
void conv_plan_destroy(conv_plan_t **plan);          // allows NULL
size_t conv_plan_workspace(const conv_plan_t *plan); // bytes

// x, w and y: aligned to 16 bytes; the one that the kind makes is written: y, x or w. They stay
// the plan's.
err_code_t conv_plan_bind(conv_plan_t *plan, void *x, void *w, void *y, void *workspace,
                          err_t *err);
// Queues a bound plan.
err_code_t conv_plan_run(const conv_library_t *library, const conv_plan_t *plan, err_t *err);

#endif
