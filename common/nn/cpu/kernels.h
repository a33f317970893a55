// The backend's own loops, compiled once for each instruction set and element type; the rest of the
// backend calls them through a table. Rules that keep results independent of threads and batch:
// a kernel works on one sample, and what it sums it sums in an order fixed by the shape.
//
// Layouts of an activation, padded = channels rounded up to `lanes`, padding always zero:
//   blocked        [sample][padded / lanes][y][x][lanes]
//   channels last  [sample][y][x][padded]
#ifndef INKLING_NN_CPU_KERNELS_H
#define INKLING_NN_CPU_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

// Room that kernels may read or write behind the dropout mask.
enum { KEEP_SLACK = 256 };

// The position byte of a pooled or dropped-out element through which no gradient goes.
enum { CODE_BLOCKED = 255 };

// Between two convolutions or dense layers, fused: y = dropout(pool(relu(x·scale + shift))).
// Without a batch-norm scale is 1, shift 0; without a ReLU the floor is −∞.
typedef struct {
    int height, width;         // of x
    int out_height, out_width; // of y
    int channels, padded;
    bool blocked, pool, drop;
    void *x, *y;   // backward: y holds ∂loss/∂y, and x is replaced by ∂loss/∂x
    uint8_t *code; // as y: which of the 2×2 inputs the gradient goes to, or CODE_BLOCKED; may be
                   // NULL forward, and without pooling and dropout
    const float *scale, *shift;
    float floor;
    // Backward through batch-norm: ∂x = factor·(∂z − beta_mean − (x − mean)·gamma_mean).
    const float *mean, *factor, *beta_mean, *gamma_mean;
    // Dropout, as nn.h defines it.
    float keep_scale;
    uint32_t threshold, position, step, layer;
    uint64_t seed;
} chain_t;

// A part of one sample: rows of y (of x for kernels that know no y) and blocks of channels.
typedef struct {
    int sample, row_from, row_to, block_from, block_to;
} part_t;

// C[rows][columns] = Σ_j A(row, j)·B[j][column]; columns a multiple of lanes.
typedef struct {
    const float *a, *b;
    float *c;
    int64_t a_row, a_step, b_row, c_row; // strides: A(i, j) = a[i·a_row + j·a_step]
    int rows, depth;
    int64_t columns;
} product_t;

// Winograd's convolution, see wino_body.h. The 36 planes of patches or tiles: [plane][block of
// channels][tile][lanes]; those of weights: [plane][block of produced channels][read
// channel][lanes].
typedef struct {
    int height, width, tile_rows, tile_columns; // of one image
    int blocks;                                 // of the image's channels
    int pitch;                                  // tiles that a plane has room for
    int64_t plane;                              // floats from one plane to the next
} wino_image_t;

// Of one plane. multiply: m[produced][tile] = Σ u·v, or goes on with the sum in m. accumulate: the
// gradient of u from v and the gradients u[produced][tile], into m.
typedef struct {
    const float *v, *u;
    float *m;
    int tiles, pitch, in_blocks;
    bool add; // to what is there
} wino_product_t;

// w: [block of out][block of in][3][3][in][out].
typedef struct {
    const float *w, *scale; // scale of the produced channels, or NULL
    int in_blocks, out_blocks;
    int in_from, in_to; // wino_weights: blocks of read channels, to u's beginning
    int64_t plane;
} wino_weights_t;

typedef struct {
    float rate, beta1, beta2, rest1, rest2, epsilon; // rest = 1 − beta
} adam_rates_t;

typedef struct {
    int lanes;
    // keep[i] = 0xff or 0 for elements first + i, i < count, of a sample in the order y, x,
    // channel. Writes whole groups: up to KEEP_SLACK bytes more. Returns where element `first` lies
    // in keep.
    const uint8_t *(*keep)(const chain_t *chain, int sample, int64_t first, int64_t count,
                           uint8_t *keep);
    // keep: as above, from the first element of the part's first row; NULL without dropout.
    void (*forward)(const chain_t *chain, part_t part, const uint8_t *keep);
    // Writes ∂loss/∂x over x; rows of y, the last part's includes rows of x that pooling drops.
    void (*backward)(const chain_t *chain, part_t part);
    // sum[c] = Σ (x − pivot[c]), square[c] = Σ (x − pivot[c])² over the sample, c of the blocks.
    void (*moments)(const chain_t *chain, part_t part, const float *pivot, double *sum,
                    double *square);
    // beta[c] = Σ ∂z, gamma[c] = Σ ∂z·(x − mean[c]) over the sample, c of the blocks.
    void (*sums)(const chain_t *chain, part_t part, double *beta, double *gamma);
    void (*widen)(const void *from, float *to, int64_t count);
    void (*narrow)(const float *from, void *to, int64_t count);
    // y[i][o] = bias[o] + Σ_k x[i·depth + k]·w[o·depth + k] for o in [from, to); depth a multiple
    // of lanes; y's rows are y_row apart. bias may be NULL.
    void (*dense)(const float *x, const float *w, const float *bias, float *y, int64_t depth,
                  int rows, int from, int to, int64_t y_row);
    void (*product)(const product_t *product);
    void (*adam)(const adam_rates_t *rates, float *param, float *m, float *v, const float *gradient,
                 int64_t count);
    // Tiles [first, first + tiles) of all samples' tiles, one block of channels. NULL for bfloat16.
    void (*wino_in)(const wino_image_t *image, const float *x, int64_t first, int tiles, int block,
                    float *v);
    void (*wino_gradient_in)(const wino_image_t *image, const float *y, int64_t first, int tiles,
                             int block, float *z);
    // m: of the block.
    void (*wino_out)(const wino_image_t *image, const float *m, int64_t first, int tiles, int block,
                     const float *bias, float floor, float *y);
    // Blocks [from, to) of what is produced.
    void (*wino_multiply)(const wino_product_t *product, int from, int to);
    void (*wino_accumulate)(const wino_product_t *product, int from, int to);
    // One block of what is produced. u of wino_weights: of the block.
    void (*wino_weights)(const wino_weights_t *weights, float *u, int block);
    void (*wino_weights_back)(const wino_weights_t *weights, float *u, int block);
    void (*wino_gradient_out)(const wino_weights_t *weights, const float *d, float *w, int block);
} kernels_t;

extern const kernels_t kernels_generic, kernels_avx2, kernels_avx512, kernels_avx512_bf16;

#endif
