#include "nn/cpu/wino.h"

#include "nn/cpu/parallel.h"

#include <math.h>

enum {
    PLANES = 36,
    OUT = 4,
    // Tiles that go through all three steps together. Few: patches and sums stay in the core's
    // cache; many: each weight that is read serves more of them. Measured on Zen 4, 1 MB of L2.
    GROUP_FLOATS = 180000,
    GROUP_LEAST = 24,
    GROUP_MOST = 144,
    GRADIENT_GROUP = 144,
    // Blocks of read and produced channels of which wino_infer transforms weights together, and the
    // tiles that they are for. Few weights are transformed once for all tiles.
    PART_IN = 4,
    PART_OUT = 2,
    PART_TILES = 72,
    FEW_WEIGHTS = 64 * 128,
};

typedef struct {
    const kernels_t *kernels;
    int threads;
    wino_image_t in, out;
    int64_t tiles, group;
    const float *x, *other, *u, *bias;
    float *v, *m, *y;
    float floor;
    int64_t room; // fused: floats of a thread's v and m
    // of the group at hand
    int64_t first;
    int count, parts;
    bool add;
    // wino_infer
    const float *w, *scale;
    int64_t part_plane;
} work_t;

bool wino_pays(const conv_shape_t *shape) {
    bool blocked =
        (shape->in_layout == LAYOUT_BLOCKED_8 || shape->in_layout == LAYOUT_BLOCKED_16) &&
        shape->in_layout == shape->out_layout;
    int64_t tiles = (int64_t)((shape->height + OUT - 1) / OUT) * ((shape->width + OUT - 1) / OUT);
    // A few channels cost more in the transforms than they save in products.
    return shape->kernel == 3 && !shape->bf16 && blocked && shape->in + shape->out > 32 &&
           2 * PLANES * tiles <= (int64_t)9 * shape->height * shape->width;
}

static int64_t weight_plane(const wino_t *wino) {
    return (int64_t)wino->shape.in * wino->shape.out + wino->kernels->lanes;
}

int64_t wino_weight_count(const wino_t *wino) {
    return PLANES * weight_plane(wino);
}

// --- Sizes

// Planes end in a spare line: at a power of two apart they would share the same few cache lines.
static wino_image_t image_of(const wino_t *wino, int channels, int64_t pitch) {
    const conv_shape_t *shape = &wino->shape;
    int lanes = wino->kernels->lanes;
    return (wino_image_t){.height = shape->height,
                          .width = shape->width,
                          .tile_rows = (shape->height + OUT - 1) / OUT,
                          .tile_columns = (shape->width + OUT - 1) / OUT,
                          .blocks = channels / lanes,
                          .pitch = (int)pitch,
                          .plane = pitch * channels + lanes};
}

static int64_t tile_count(const wino_t *wino) {
    wino_image_t image = image_of(wino, wino->shape.in, 1);
    return (int64_t)wino->shape.batch * image.tile_rows * image.tile_columns;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t group_size(const wino_t *wino) {
    int64_t group = GROUP_FLOATS / PLANES / (wino->shape.in + wino->shape.out) / 12 * 12;
    int64_t weights = (int64_t)wino->shape.in * wino->shape.out;
    if (weights > 128 * 256) { // weights come from far: they should serve many
        group = weights > 256 * 256 ? GROUP_MOST : GROUP_MOST / 2;
    }
    return group < GROUP_LEAST ? GROUP_LEAST : group;
}

// Enough groups to keep all threads busy: each goes through all steps with a group of its own.
// Otherwise all share each step.
static bool is_fused(const wino_t *wino) {
    return tile_count(wino) >= 2 * wino->threads * group_size(wino);
}

static int64_t gradient_group(const wino_t *wino) {
    int64_t weights = (int64_t)wino->shape.in * wino->shape.out;
    int64_t group = weights > 256 * 256 ? 3 * GRADIENT_GROUP : GRADIENT_GROUP;
    return least(tile_count(wino), group);
}

static int64_t plane_floats(const wino_t *wino, int64_t tiles) {
    return PLANES * (tiles * (wino->shape.in + wino->shape.out) + 2 * wino->kernels->lanes);
}

int64_t wino_forward_count(const wino_t *wino) {
    int64_t tiles = is_fused(wino) ? wino->threads * group_size(wino) : tile_count(wino);
    return plane_floats(wino, tiles) + (int64_t)wino->threads * PLANES * 32;
}

int64_t wino_scratch_count(const wino_t *wino) {
    int64_t forward = wino_forward_count(wino);
    int64_t gradient = plane_floats(wino, gradient_group(wino)) + wino_weight_count(wino);
    return forward > gradient ? forward : gradient;
}

// --- Weights

typedef struct {
    const kernels_t *kernels;
    wino_weights_t weights;
    bool back;
    float *u;
    const float *d;
    float *w;
} transform_t;

static transform_t transform_of(const wino_t *wino) {
    int lanes = wino->kernels->lanes;
    return (transform_t){.kernels = wino->kernels,
                         .weights = {.in_blocks = wino->shape.in / lanes,
                                     .out_blocks = wino->shape.out / lanes,
                                     .in_to = wino->shape.in / lanes,
                                     .plane = weight_plane(wino)}};
}

static void transform_block(void *arg, int64_t item, int thread) {
    (void)thread;
    const transform_t *t = arg;
    if (t->back) {
        t->kernels->wino_weights_back(&t->weights, t->u, (int)item);
    } else {
        int64_t square = (int64_t)t->kernels->lanes * t->kernels->lanes;
        t->kernels->wino_weights(&t->weights, t->u + item * t->weights.in_blocks * square,
                                 (int)item);
    }
}

void wino_transform(const wino_t *wino, const float *w, const float *scale, bool back, float *u) {
    transform_t transform = transform_of(wino);
    transform.weights.w = w;
    transform.weights.scale = scale;
    transform.back = back;
    transform.u = u;
    int blocks = back ? transform.weights.in_blocks : transform.weights.out_blocks;
    parallel_for(wino->threads, blocks, transform_block, &transform);
}

static void untransform_block(void *arg, int64_t item, int thread) {
    (void)thread;
    const transform_t *t = arg;
    t->kernels->wino_gradient_out(&t->weights, t->d, t->w, (int)item);
}

// --- Forward and data gradient

static void multiply_plane(const work_t *work, int plane, int tiles, const float *v, float *m,
                           int from, int to) {
    int64_t weights =
        (int64_t)work->in.blocks * work->out.blocks * work->kernels->lanes * work->kernels->lanes +
        work->kernels->lanes;
    work->kernels->wino_multiply(&(wino_product_t){.v = v + plane * work->in.plane,
                                                   .u = work->u + plane * weights,
                                                   .m = m + plane * work->out.plane,
                                                   .tiles = tiles,
                                                   .pitch = work->in.pitch,
                                                   .in_blocks = work->in.blocks},
                                 from, to);
}

static const float *block_of(const work_t *work, const float *m, int block) {
    return m + (int64_t)block * work->out.pitch * work->kernels->lanes;
}

static void fused_group(void *arg, int64_t item, int thread) {
    const work_t *work = arg;
    int64_t first = item * work->group;
    int count = (int)least(work->group, work->tiles - first);
    float *v = work->v + thread * work->room, *m = v + PLANES * work->in.plane;
    for (int block = 0; block < work->in.blocks; block++) {
        work->kernels->wino_in(&work->in, work->x, first, count, block, v);
    }
    for (int plane = 0; plane < PLANES; plane++) {
        multiply_plane(work, plane, count, v, m, 0, work->out.blocks);
    }
    for (int block = 0; block < work->out.blocks; block++) {
        work->kernels->wino_out(&work->out, block_of(work, m, block), first, count, block,
                                work->bias, work->floor, work->y);
    }
}

static void in_block(void *arg, int64_t item, int thread) {
    (void)thread;
    const work_t *work = arg;
    work->kernels->wino_in(&work->in, work->x, work->first, work->count, (int)item, work->v);
}

static void multiply_part(void *arg, int64_t item, int thread) {
    (void)thread;
    const work_t *work = arg;
    int64_t part = item % work->parts, blocks = work->out.blocks;
    multiply_plane(work, (int)(item / work->parts), work->count, work->v, work->m,
                   (int)(blocks * part / work->parts), (int)(blocks * (part + 1) / work->parts));
}

static void out_block(void *arg, int64_t item, int thread) {
    (void)thread;
    const work_t *work = arg;
    work->kernels->wino_out(&work->out, block_of(work, work->m, (int)item), work->first,
                            work->count, (int)item, work->bias, work->floor, work->y);
}

static void run(const wino_t *wino, work_t *work, int in, int out, float *scratch) {
    work->kernels = wino->kernels;
    work->threads = wino->threads;
    work->tiles = tile_count(wino);
    bool fused = is_fused(wino);
    work->group = fused ? group_size(wino) : work->tiles;
    work->in = image_of(wino, in, work->group);
    work->out = image_of(wino, out, work->group);
    work->v = scratch;
    work->room = PLANES * (work->in.plane + work->out.plane);
    if (fused) {
        int64_t groups = (work->tiles + work->group - 1) / work->group;
        parallel_for(work->threads, groups, fused_group, work);
        return;
    }
    work->m = scratch + PLANES * work->in.plane;
    work->count = (int)work->tiles;
    work->parts = work->out.blocks > 4 ? work->out.blocks / 4 : 1;
    parallel_for(work->threads, work->in.blocks, in_block, work);
    parallel_for(work->threads, (int64_t)PLANES * work->parts, multiply_part, work);
    parallel_for(work->threads, work->out.blocks, out_block, work);
}

void wino_forward(const wino_t *wino, const float *x, const float *u, const float *bias,
                  float floor, float *y, float *scratch) {
    work_t work = {.x = x, .u = u, .bias = bias, .floor = floor, .y = y};
    run(wino, &work, wino->shape.in, wino->shape.out, scratch);
}

void wino_data(const wino_t *wino, const float *y, const float *u, float *x, float *scratch) {
    work_t work = {.x = y, .u = u, .floor = -INFINITY, .y = x};
    run(wino, &work, wino->shape.out, wino->shape.in, scratch);
}

// --- Prediction

// A thread's room: transformed weights of a part, and the sums of its produced channels.
static int64_t part_plane(const wino_t *wino) {
    int lanes = wino->kernels->lanes;
    return (int64_t)PART_IN * PART_OUT * lanes * lanes + lanes;
}

// All in as few equal parts as can be.
static int64_t part_tiles(const wino_t *wino) {
    int64_t tiles = tile_count(wino), parts = (tiles + PART_TILES - 1) / PART_TILES;
    return (tiles + parts - 1) / parts;
}

static int64_t sum_plane(const wino_t *wino) {
    return (part_tiles(wino) * PART_OUT + 1) * wino->kernels->lanes;
}

static bool transforms_once(const wino_t *wino) {
    return is_fused(wino) && (int64_t)wino->shape.in * wino->shape.out <= FEW_WEIGHTS;
}

int64_t wino_infer_count(const wino_t *wino) {
    if (transforms_once(wino)) {
        return wino_weight_count(wino) + wino_forward_count(wino);
    }
    wino_image_t in = image_of(wino, wino->shape.in, part_tiles(wino));
    return PLANES * (in.plane + wino->threads * (part_plane(wino) + sum_plane(wino)));
}

// Of PART_OUT blocks of produced channels the tiles at hand, from transformed patches to the
// output.
static void infer_part(void *arg, int64_t item, int thread) {
    const work_t *work = arg;
    const kernels_t *kernels = work->kernels;
    int lanes = kernels->lanes, from = (int)item * PART_OUT;
    int to = (int)least(from + PART_OUT, work->out.blocks);
    int64_t square = (int64_t)lanes * lanes, in_blocks = work->in.blocks;
    float *u = work->m + thread * work->room, *m = u + PLANES * work->part_plane;
    for (int in = 0; in < in_blocks; in += PART_IN) {
        int end = (int)least(in + PART_IN, in_blocks);
        wino_weights_t weights = {.w = work->w,
                                  .scale = work->scale,
                                  .in_blocks = (int)in_blocks,
                                  .in_from = in,
                                  .in_to = end,
                                  .plane = work->part_plane};
        for (int block = from; block < to; block++) {
            kernels->wino_weights(&weights, u + (block - from) * (end - in) * square, block);
        }
        for (int plane = 0; plane < PLANES; plane++) {
            const float *v = work->v + plane * work->in.plane;
            kernels->wino_multiply(&(wino_product_t){.v = v + (int64_t)in * work->in.pitch * lanes,
                                                     .u = u + plane * work->part_plane,
                                                     .m = m + plane * work->out.plane,
                                                     .tiles = work->count,
                                                     .pitch = work->in.pitch,
                                                     .in_blocks = end - in,
                                                     .add = in > 0},
                                   0, to - from);
        }
    }
    for (int block = from; block < to; block++) {
        kernels->wino_out(&work->out, block_of(work, m, block - from), work->first, work->count,
                          block, work->bias, work->floor, work->y);
    }
}

void wino_infer(const wino_t *wino, const float *x, const float *w, const float *scale,
                const float *bias, float floor, float *y, float *scratch) {
    if (transforms_once(wino)) {
        wino_transform(wino, w, scale, false, scratch);
        wino_forward(wino, x, scratch, bias, floor, y, scratch + wino_weight_count(wino));
        return;
    }
    work_t work = {.kernels = wino->kernels,
                   .threads = wino->threads,
                   .x = x,
                   .w = w,
                   .scale = scale,
                   .bias = bias,
                   .floor = floor,
                   .y = y,
                   .v = scratch};
    int64_t group = part_tiles(wino);
    work.tiles = tile_count(wino);
    work.in = image_of(wino, wino->shape.in, group);
    work.out = image_of(wino, wino->shape.out, group);
    work.out.plane = sum_plane(wino);
    work.part_plane = part_plane(wino);
    work.room = PLANES * (work.part_plane + work.out.plane);
    work.m = scratch + PLANES * work.in.plane;
    for (; work.first < work.tiles; work.first += group) {
        work.count = (int)least(group, work.tiles - work.first);
        parallel_for(work.threads, work.in.blocks, in_block, &work);
        parallel_for(work.threads, (work.out.blocks + PART_OUT - 1) / PART_OUT, infer_part, &work);
    }
}

// --- Weight gradient

static void gradient_in(void *arg, int64_t item, int thread) {
    (void)thread;
    const work_t *work = arg;
    if (item < work->in.blocks) {
        work->kernels->wino_in(&work->in, work->x, work->first, work->count, (int)item, work->v);
    } else {
        work->kernels->wino_gradient_in(&work->out, work->other, work->first, work->count,
                                        (int)item - work->in.blocks, work->m);
    }
}

static void accumulate_part(void *arg, int64_t item, int thread) {
    (void)thread;
    const work_t *work = arg;
    int64_t plane = item / work->parts, part = item % work->parts, blocks = work->out.blocks;
    work->kernels->wino_accumulate(&(wino_product_t){.v = work->v + plane * work->in.plane,
                                                     .u = work->m + plane * work->out.plane,
                                                     .m = work->y + plane * work->room,
                                                     .tiles = work->count,
                                                     .pitch = work->in.pitch,
                                                     .in_blocks = work->in.blocks,
                                                     .add = work->add},
                                   (int)(blocks * part / work->parts),
                                   (int)(blocks * (part + 1) / work->parts));
}

void wino_gradient(const wino_t *wino, const float *x, const float *y, float *w, float *scratch) {
    int64_t group = gradient_group(wino);
    work_t work = {.kernels = wino->kernels, .threads = wino->threads, .x = x, .other = y};
    work.tiles = tile_count(wino);
    work.in = image_of(wino, wino->shape.in, group);
    work.out = image_of(wino, wino->shape.out, group);
    work.room = weight_plane(wino);
    work.y = scratch; // the sums
    work.v = scratch + wino_weight_count(wino);
    work.m = work.v + PLANES * work.in.plane;
    work.parts = work.out.blocks > 8 ? work.out.blocks / 8 : 1;
    for (; work.first < work.tiles; work.first += group) {
        work.count = (int)least(group, work.tiles - work.first);
        work.add = work.first > 0;
        parallel_for(work.threads, work.in.blocks + work.out.blocks, gradient_in, &work);
        parallel_for(work.threads, (int64_t)PLANES * work.parts, accumulate_part, &work);
    }
    transform_t transform = transform_of(wino);
    transform.d = scratch;
    transform.w = w;
    parallel_for(wino->threads, transform.weights.out_blocks, untransform_block, &transform);
}
