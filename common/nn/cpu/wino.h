// Convolutions 3×3 in float by Winograd's algorithm, for every instruction set and size of a batch
// the same: see wino_body.h. The caller gives scratch memory.
#ifndef INKLING_NN_CPU_WINO_H
#define INKLING_NN_CPU_WINO_H

#include "nn/cpu/conv.h"
#include "nn/cpu/kernels.h"

typedef struct {
    const kernels_t *kernels;
    int threads;
    conv_shape_t shape; // of the forward convolution
} wino_t;

// Whether it can and pays: 3×3, blocked float on both sides, images of more than a few pixels.
bool wino_pays(const conv_shape_t *shape);
// Floats of transformed weights, and of scratch memory for anything below.
int64_t wino_weight_count(const wino_t *wino);
int64_t wino_scratch_count(const wino_t *wino);
// Of scratch memory for wino_forward alone.
int64_t wino_forward_count(const wino_t *wino);

// w: [block of out][block of in][3][3][in][out], u: wino_weight_count floats. scale: of the
// outputs, or NULL. back: for wino_data.
void wino_transform(const wino_t *wino, const float *w, const float *scale, bool back, float *u);

// Prediction, from weights w as in wino_transform: transformed as they are needed, a part at a time
// that stays in the core's cache, which costs less than to read them, four times as large, from
// memory. Gives the bits of wino_transform and wino_forward.
int64_t wino_infer_count(const wino_t *wino); // floats of scratch memory
void wino_infer(const wino_t *wino, const float *x, const float *w, const float *scale,
                const float *bias, float floor, float *y, float *scratch);

// y = max(x ∗ u + bias, floor).
void wino_forward(const wino_t *wino, const float *x, const float *u, const float *bias,
                  float floor, float *y, float *scratch);
// ∂x from ∂y.
void wino_data(const wino_t *wino, const float *y, const float *u, float *x, float *scratch);
// ∂w from x and ∂y.
void wino_gradient(const wino_t *wino, const float *x, const float *y, float *w, float *scratch);

#endif
