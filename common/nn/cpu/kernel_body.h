// The kernels of one instruction set and element type. The including file defines LANES (floats in
// a vector), KERNEL_TABLE (the table's name) and KERNEL_BF16 (1: activations are bfloat16).
#include "nn/cpu/kernels.h"

#include <math.h>
#include <string.h>

#if defined __x86_64__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
typedef uint32_t vu __attribute__((vector_size(LANES * 4)));
typedef uint64_t vu64 __attribute__((vector_size(LANES * 4)));
typedef int8_t vb __attribute__((vector_size(LANES)));
typedef double vd __attribute__((vector_size(LANES * 8)));

// --- Vectors

INLINE vf load(const float *at) {
    vf v;
    memcpy(&v, at, sizeof v);
    return v;
}

INLINE void store(float *at, vf v) {
    memcpy(at, &v, sizeof v);
}

INLINE vf spread(float value) {
    return value - (vf){0};
}

INLINE vf choose(vi mask, vf yes, vf no) {
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

INLINE vf only(vi mask, vf v) {
    return (vf)(mask & (vi)v);
}

// Bytes to integers, sign extended: 0xff becomes −1.
INLINE vi load_bytes(const uint8_t *at) {
    vb v;
    memcpy(&v, at, sizeof v);
    return __builtin_convertvector(v, vi);
}

INLINE void store_bytes(uint8_t *at, vi v) {
    vb bytes = __builtin_convertvector(v, vb);
    memcpy(at, &bytes, sizeof bytes);
}

#if KERNEL_BF16
typedef uint16_t real_t;
typedef uint16_t vh __attribute__((vector_size(LANES * 2)));

INLINE vf load_real(const real_t *at) {
    vh v;
    memcpy(&v, at, sizeof v);
    return (vf)(__builtin_convertvector(v, vu) << 16);
}

// Rounds to nearest even; NaN stays one.
INLINE void store_real(real_t *at, vf v) {
    vu bits = (vu)v, rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    vu nan = (vu)(v != v);
    vh half = __builtin_convertvector((nan & (bits >> 16 | 0x40)) | (~nan & rounded), vh);
    memcpy(at, &half, sizeof half);
}
#else
typedef float real_t;

INLINE vf load_real(const real_t *at) {
    return load(at);
}

INLINE void store_real(real_t *at, vf v) {
    store(at, v);
}
#endif

// --- Where things lie

typedef struct {
    int64_t pixel, row, block, sample; // elements between neighbours
} strides_t;

INLINE strides_t strides_of(const chain_t *chain, int height, int width) {
    int64_t pixel = chain->blocked ? LANES : chain->padded;
    int64_t block = chain->blocked ? (int64_t)height * width * LANES : LANES;
    return (strides_t){pixel, width * pixel, block, (int64_t)height * width * chain->padded};
}

// --- Dropout's random numbers

// The products' low and high words of 32-bit lanes with a constant.
INLINE void multiply_wide(vu a, uint32_t factor, vu *low, vu *high) {
#if defined __AVX512F__ && LANES == 16
    __m512i f = _mm512_set1_epi64(factor);
    vu64 even = (vu64)_mm512_mul_epu32((__m512i)a, f);
    vu64 odd = (vu64)_mm512_mul_epu32((__m512i)((vu64)a >> 32), f);
#elif defined __AVX2__ && LANES == 8
    __m256i f = _mm256_set1_epi64x(factor);
    vu64 even = (vu64)_mm256_mul_epu32((__m256i)a, f);
    vu64 odd = (vu64)_mm256_mul_epu32((__m256i)((vu64)a >> 32), f);
#else
    vu64 even = ((vu64)a & 0xffffffffu) * factor, odd = ((vu64)a >> 32) * factor;
#endif
    *low = (vu)((even & 0xffffffffu) | odd << 32);
    *high = (vu)(even >> 32 | (odd & 0xffffffff00000000u));
}

// A lane is a counter and gives four elements; little-endian stores of the four mask bytes put them
// in order.
static const uint8_t *keep(const chain_t *chain, int sample, int64_t first, int64_t count,
                           uint8_t *bytes) {
    vu lane;
    for (int i = 0; i < LANES; i++) {
        lane[i] = (uint32_t)i;
    }
    int64_t groups = (first + count + 3) / 4;
    uint8_t *to = bytes;
    for (int64_t group = first / 4; group < groups; group += LANES, to += 4 * sizeof(vu) / 4) {
        vu c0 = lane + (uint32_t)group, c1 = (vu){0} + (chain->position + (uint32_t)sample);
        vu c2 = (vu){0} + chain->step, c3 = (vu){0} + chain->layer;
        uint32_t k0 = (uint32_t)chain->seed, k1 = (uint32_t)(chain->seed >> 32);
        for (int round = 0; round < 10; round++) {
            vu low0, high0, low1, high1;
            multiply_wide(c0, 0xD2511F53u, &low0, &high0);
            multiply_wide(c2, 0xCD9E8D57u, &low1, &high1);
            c0 = high1 ^ c1 ^ k0;
            c1 = low1;
            c2 = high0 ^ c3 ^ k1;
            c3 = low0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        uint32_t least = chain->threshold;
        vu mask = ((vu)(c0 >= least) & 0xff) | ((vu)(c1 >= least) & 0xff00) |
                  ((vu)(c2 >= least) & 0xff0000) | ((vu)(c3 >= least) & 0xff000000);
        memcpy(to, &mask, sizeof mask);
    }
    return bytes + first % 4;
}

// --- Forward

typedef struct {
    vf scale, shift, floor, keep_scale;
} affine_t;

// One vector of y and its code from `windows` (1 or 4) vectors of x.
INLINE void forward_vector(const affine_t *f, const real_t *x, const int64_t *offsets, bool pool,
                           const uint8_t *kept, real_t *y, uint8_t *code) {
    vf best = load_real(x) * f->scale + f->shift;
    vi at = {0};
    for (int i = 1; i < (pool ? 4 : 1); i++) {
        vf z = load_real(x + offsets[i]) * f->scale + f->shift;
        vi larger = (z > best) | (z != z); // the first of equals stays, NaN wins
        best = choose(larger, z, best);
        at = (larger & i) | (~larger & at);
    }
    vi passes = ~(best <= f->floor);
    best = choose(best < f->floor, f->floor, best);
    if (kept) {
        vi mask = load_bytes(kept);
        best = only(mask, best * f->keep_scale);
        passes &= mask;
    }
    store_real(y, best);
    if (code) {
        store_bytes(code, at | ~passes);
    }
}

INLINE void forward_part(const chain_t *chain, part_t part, const uint8_t *kept, bool pool,
                         bool drop, bool coded) {
    strides_t in = strides_of(chain, chain->height, chain->width);
    strides_t out = strides_of(chain, chain->out_height, chain->out_width);
    const int64_t offsets[4] = {0, in.pixel, in.row, in.row + in.pixel};
    int zoom = pool ? 2 : 1;
    for (int row = part.row_from; row < part.row_to; row++) {
        for (int block = part.block_from; block < part.block_to; block++) {
            int64_t at = part.sample * out.sample + block * out.block + row * out.row;
            const real_t *x = (const real_t *)chain->x + part.sample * in.sample +
                              block * in.block + zoom * row * in.row;
            real_t *y = (real_t *)chain->y + at;
            affine_t f = {load(chain->scale + block * LANES), load(chain->shift + block * LANES),
                          spread(chain->floor), spread(chain->keep_scale)};
            for (int64_t i = 0; i < chain->out_width; i++) {
                int64_t element =
                    ((row - part.row_from) * (int64_t)chain->out_width + i) * chain->channels +
                    block * LANES;
                forward_vector(&f, x + zoom * i * in.pixel, offsets, pool,
                               drop ? kept + element : NULL, y + i * out.pixel,
                               coded ? chain->code + at + i * out.pixel : NULL);
            }
        }
    }
}

static void forward(const chain_t *chain, part_t part, const uint8_t *kept) {
    bool coded = chain->code;
    if (chain->pool) {
        if (kept) {
            forward_part(chain, part, kept, true, true, true);
        } else if (coded) {
            forward_part(chain, part, NULL, true, false, true);
        } else {
            forward_part(chain, part, NULL, true, false, false);
        }
    } else if (kept) {
        forward_part(chain, part, kept, false, true, true);
    } else if (coded) {
        forward_part(chain, part, NULL, false, false, true);
    } else {
        forward_part(chain, part, NULL, false, false, false);
    }
}

// --- Backward

typedef struct {
    vf factor, mean, beta_mean, gamma_mean;
} slope_t;

INLINE void backward_vector(const slope_t *s, real_t *x, vf g) {
    vf off = load_real(x) - s->mean;
    store_real(x, s->factor * (g - s->beta_mean - off * s->gamma_mean));
}

// The gradient behind the ReLU of element i of a window; without a code the ReLU's mask is found
// again from x.
INLINE vf gradient_of(const affine_t *f, const real_t *y, const uint8_t *code, const real_t *x,
                      int i) {
    vf g = load_real(y) * f->keep_scale;
    vi passes = code ? load_bytes(code) == i : ~(load_real(x) * f->scale + f->shift <= f->floor);
    return only(passes, g);
}

INLINE affine_t affine_of(const chain_t *chain, int block) {
    return (affine_t){load(chain->scale + block * LANES), load(chain->shift + block * LANES),
                      spread(chain->floor), spread(chain->drop ? chain->keep_scale : 1)};
}

// Pixels of x that pooling dropped: a row's end, or whole rows.
INLINE void backward_rest(const chain_t *chain, const slope_t *s, real_t *x, int64_t from,
                          int64_t pixel) {
    for (int64_t i = from; i < chain->width; i++) {
        backward_vector(s, x + i * pixel, (vf){0});
    }
}

INLINE void backward_part(const chain_t *chain, part_t part, bool pool, bool coded) {
    strides_t in = strides_of(chain, chain->height, chain->width);
    strides_t out = strides_of(chain, chain->out_height, chain->out_width);
    const int64_t offsets[4] = {0, in.pixel, in.row, in.row + in.pixel};
    int zoom = pool ? 2 : 1;
    for (int row = part.row_from; row < part.row_to; row++) {
        for (int block = part.block_from; block < part.block_to; block++) {
            int64_t at = part.sample * out.sample + block * out.block + row * out.row;
            const real_t *y = (const real_t *)chain->y + at;
            const uint8_t *code = coded ? chain->code + at : NULL;
            real_t *x = (real_t *)chain->x + part.sample * in.sample + block * in.block +
                        zoom * row * in.row;
            affine_t f = affine_of(chain, block);
            slope_t s = {load(chain->factor + block * LANES), load(chain->mean + block * LANES),
                         load(chain->beta_mean + block * LANES),
                         load(chain->gamma_mean + block * LANES)};
            for (int64_t i = 0; i < chain->out_width; i++) {
                for (int j = 0; j < zoom * zoom; j++) {
                    real_t *to = x + zoom * i * in.pixel + offsets[j];
                    vf g = gradient_of(&f, y + i * out.pixel, code ? code + i * out.pixel : NULL,
                                       to, j);
                    backward_vector(&s, to, g);
                }
            }
            if (pool) {
                backward_rest(chain, &s, x, 2 * chain->out_width, in.pixel);
                backward_rest(chain, &s, x + in.row, 2 * chain->out_width, in.pixel);
                if (row == chain->out_height - 1 && chain->height % 2) {
                    backward_rest(chain, &s, x + 2 * in.row, 0, in.pixel);
                }
            }
        }
    }
}

static void backward(const chain_t *chain, part_t part) {
    if (chain->pool) {
        backward_part(chain, part, true, true);
    } else if (chain->code) {
        backward_part(chain, part, false, true);
    } else {
        backward_part(chain, part, false, false);
    }
}

// --- Sums over a sample: rows in float, rows together in double

INLINE void add_to(double *sum, vf v) {
    for (int i = 0; i < LANES; i++) {
        sum[i] += (double)v[i];
    }
}

static void moments(const chain_t *chain, part_t part, const float *pivot, double *sum,
                    double *square) {
    strides_t in = strides_of(chain, chain->height, chain->width);
    int64_t first = (int64_t)part.block_from * LANES;
    size_t size = (size_t)(part.block_to - part.block_from) * LANES * sizeof(double);
    memset(sum + first, 0, size);
    memset(square + first, 0, size);
    for (int row = part.row_from; row < part.row_to; row++) {
        for (int block = part.block_from; block < part.block_to; block++) {
            const real_t *x = (const real_t *)chain->x + part.sample * in.sample +
                              block * in.block + row * in.row;
            vf base = load(pivot + block * LANES), s0 = {0}, s1 = {0}, q0 = {0}, q1 = {0};
            int64_t i = 0;
            for (; i + 2 <= chain->width; i += 2) {
                vf a = load_real(x + i * in.pixel) - base;
                vf b = load_real(x + (i + 1) * in.pixel) - base;
                s0 += a;
                s1 += b;
                q0 += a * a;
                q1 += b * b;
            }
            if (i < chain->width) {
                vf a = load_real(x + i * in.pixel) - base;
                s0 += a;
                q0 += a * a;
            }
            add_to(sum + block * LANES, s0 + s1);
            add_to(square + block * LANES, q0 + q1);
        }
    }
}

INLINE void sums_part(const chain_t *chain, part_t part, bool pool, bool coded, double *beta,
                      double *gamma) {
    strides_t in = strides_of(chain, chain->height, chain->width);
    strides_t out = strides_of(chain, chain->out_height, chain->out_width);
    const int64_t offsets[4] = {0, in.pixel, in.row, in.row + in.pixel};
    int zoom = pool ? 2 : 1;
    int64_t first = (int64_t)part.block_from * LANES;
    size_t size = (size_t)(part.block_to - part.block_from) * LANES * sizeof(double);
    memset(beta + first, 0, size);
    memset(gamma + first, 0, size);
    for (int row = part.row_from; row < part.row_to; row++) {
        for (int block = part.block_from; block < part.block_to; block++) {
            int64_t at = part.sample * out.sample + block * out.block + row * out.row;
            const real_t *y = (const real_t *)chain->y + at;
            const uint8_t *code = coded ? chain->code + at : NULL;
            const real_t *x = (const real_t *)chain->x + part.sample * in.sample +
                              block * in.block + zoom * row * in.row;
            affine_t f = affine_of(chain, block);
            vf mean = load(chain->mean + block * LANES), b[4] = {{0}}, c[4] = {{0}};
            for (int64_t i = 0; i < chain->out_width; i++) {
                for (int j = 0; j < zoom * zoom; j++) {
                    const real_t *from = x + zoom * i * in.pixel + offsets[j];
                    vf g = gradient_of(&f, y + i * out.pixel, code ? code + i * out.pixel : NULL,
                                       from, j);
                    b[j] += g;
                    c[j] += g * (load_real(from) - mean);
                }
            }
            add_to(beta + block * LANES, (b[0] + b[1]) + (b[2] + b[3]));
            add_to(gamma + block * LANES, (c[0] + c[1]) + (c[2] + c[3]));
        }
    }
}

static void sums(const chain_t *chain, part_t part, double *beta, double *gamma) {
    if (chain->pool) {
        sums_part(chain, part, true, true, beta, gamma);
    } else if (chain->code) {
        sums_part(chain, part, false, true, beta, gamma);
    } else {
        sums_part(chain, part, false, false, beta, gamma);
    }
}

static void widen(const void *from, float *to, int64_t count) {
    for (int64_t i = 0; i < count; i += LANES) {
        store(to + i, load_real((const real_t *)from + i));
    }
}

static void narrow(const float *from, void *to, int64_t count) {
    for (int64_t i = 0; i < count; i += LANES) {
        store_real((real_t *)to + i, load(from + i));
    }
}

// --- Dense layers

// Lanes added in pairs, always in the same order.
INLINE float add_lanes(vf v) {
    float part[LANES];
    memcpy(part, &v, sizeof part);
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            part[i] += part[i + half];
        }
    }
    return part[0];
}

enum { TILE = 4 };

// Every output has an accumulator of its own, whatever the tile: same bits alone and in a batch.
INLINE void dense_tile(const float *x, const float *w, const float *bias, float *y, int64_t depth,
                       int rows, int outputs, int64_t y_row) {
    vf sum[TILE][TILE] = {{{0}}};
    for (int64_t k = 0; k < depth; k += LANES) {
        for (int i = 0; i < rows; i++) {
            vf a = load(x + i * depth + k);
            for (int o = 0; o < outputs; o++) {
                sum[i][o] += a * load(w + o * depth + k);
            }
        }
    }
    for (int i = 0; i < rows; i++) {
        for (int o = 0; o < outputs; o++) {
            y[i * y_row + o] = add_lanes(sum[i][o]) + (bias ? bias[o] : 0);
        }
    }
}

static void dense(const float *x, const float *w, const float *bias, float *y, int64_t depth,
                  int rows, int from, int to, int64_t y_row) {
    for (int o = from; o < to;) {
        int outputs = to - o >= TILE ? TILE : 1;
        const float *weights = w + o * depth, *offset = bias ? bias + o : NULL;
        int i = 0;
        for (; i + TILE <= rows; i += TILE) {
            if (outputs == TILE) {
                dense_tile(x + i * depth, weights, offset, y + i * y_row + o, depth, TILE, TILE,
                           y_row);
            } else {
                dense_tile(x + i * depth, weights, offset, y + i * y_row + o, depth, TILE, 1,
                           y_row);
            }
        }
        for (; i < rows; i++) {
            if (outputs == TILE) {
                dense_tile(x + i * depth, weights, offset, y + i * y_row + o, depth, 1, TILE,
                           y_row);
            } else {
                dense_tile(x + i * depth, weights, offset, y + i * y_row + o, depth, 1, 1, y_row);
            }
        }
        o += outputs;
    }
}

INLINE void product_tile(const product_t *p, int row, int64_t column, int rows, int vectors) {
    vf sum[TILE][TILE] = {{{0}}};
    for (int j = 0; j < p->depth; j++) {
        for (int v = 0; v < vectors; v++) {
            vf b = load(p->b + j * p->b_row + column + v * LANES);
            for (int i = 0; i < rows; i++) {
                sum[i][v] += p->a[(row + i) * p->a_row + j * p->a_step] * b;
            }
        }
    }
    for (int i = 0; i < rows; i++) {
        for (int v = 0; v < vectors; v++) {
            store(p->c + (row + i) * p->c_row + column + v * LANES, sum[i][v]);
        }
    }
}

static void product(const product_t *p) {
    for (int64_t column = 0; column < p->columns;) {
        bool wide = p->columns - column >= TILE * LANES;
        int row = 0;
        for (; row + TILE <= p->rows; row += TILE) {
            if (wide) {
                product_tile(p, row, column, TILE, TILE);
            } else {
                product_tile(p, row, column, TILE, 1);
            }
        }
        for (; row < p->rows; row++) {
            if (wide) {
                product_tile(p, row, column, 1, TILE);
            } else {
                product_tile(p, row, column, 1, 1);
            }
        }
        column += wide ? TILE * LANES : LANES;
    }
}

// --- Adam

// Moments of weights that get no more gradient decay into denormal numbers, which are slow: they
// are flushed to zero here.
#if defined __x86_64__
enum { FLUSH_DENORMALS = 0x8040 };
#endif

static void adam(const adam_rates_t *rates, float *restrict param, float *restrict m,
                 float *restrict v, const float *restrict gradient, int64_t count) {
#if defined __x86_64__
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | FLUSH_DENORMALS);
#endif
    adam_rates_t r = *rates;
    for (int64_t i = 0; i < count; i++) {
        float g = gradient[i];
        float m_new = r.beta1 * m[i] + r.rest1 * g, v_new = r.beta2 * v[i] + r.rest2 * g * g;
        m[i] = m_new;
        v[i] = v_new;
        param[i] -= r.rate * m_new / (sqrtf(v_new) + r.epsilon);
    }
#if defined __x86_64__
    _mm_setcsr(mode);
#endif
}

#if !KERNEL_BF16
#include "nn/cpu/wino_body.h"
#endif

const kernels_t KERNEL_TABLE = {
    .lanes = LANES,
    .keep = keep,
    .forward = forward,
    .backward = backward,
    .moments = moments,
    .sums = sums,
    .widen = widen,
    .narrow = narrow,
    .dense = dense,
    .product = product,
    .adam = adam,
#if !KERNEL_BF16
    .wino_in = wino_in,
    .wino_gradient_in = wino_gradient_in,
    .wino_out = wino_out,
    .wino_multiply = wino_multiply,
    .wino_accumulate = wino_accumulate,
    .wino_weights = wino_weights,
    .wino_weights_back = wino_weights_back,
    .wino_gradient_out = wino_gradient_out,
#endif
};
