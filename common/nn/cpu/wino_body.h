// Winograd's convolution F(4×4, 3×3) (Lavin, Gray 2016): a 4×4 tile of the output from a 6×6 patch
// of the input with 36 multiplications a pair of channels instead of 144.
//
//   output tile     Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A
//   weight gradient     Gᵀ[(Bᵀ d B) ⊙ (A ∂Y Aᵀ)]G
//
// The 36 numbers of a patch, a kernel or a tile lie in 36 planes; between transforms each plane is
// a matrix product. What an output is the sum of, and in which order, depends on the channels
// alone: not on its tile's neighbours, the batch, or who computes it.

enum {
    POINTS = 6, // a side of a patch
    OUT = 4,    // a side of a tile
    TAPS = 3,
    ROWS = LANES == 16 ? 12 : 6, // tiles of a product's register block, two blocks of channels wide
};

// --- One-dimensional transforms; step: vectors between the numbers

INLINE void transform_in(const vf *d, int step, vf *v) {
    vf d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step],
       d5 = d[5 * step];
    vf a = d4 - 4 * d2, b = d3 - 4 * d1, c = d4 - d2, e = 2 * (d3 - d1);
    v[0] = 4 * d0 - 5 * d2 + d4;
    v[step] = a + b;
    v[2 * step] = a - b;
    v[3 * step] = c + e;
    v[4 * step] = c - e;
    v[5 * step] = 4 * d1 - 5 * d3 + d5;
}

INLINE void transform_out(const vf *m, int step, vf *y) {
    vf a = m[step] + m[2 * step], b = m[step] - m[2 * step];
    vf c = m[3 * step] + m[4 * step], e = m[3 * step] - m[4 * step];
    vf last = m[5 * step];
    y[0] = m[0] + a + c;
    y[step] = b + 2 * e;
    y[2 * step] = a + 4 * c;
    y[3 * step] = b + 8 * e + last;
}

INLINE void transform_gradient(const vf *y, int step, vf *z) {
    vf y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
    vf a = y0 + y2, b = y1 + y3, c = y0 + 4 * y2, e = 2 * y1 + 8 * y3;
    z[0] = y0;
    z[step] = a + b;
    z[2 * step] = a - b;
    z[3 * step] = c + e;
    z[4 * step] = c - e;
    z[5 * step] = y3;
}

INLINE void transform_weights(const vf *g, int step, vf *u) {
    vf g0 = g[0], g1 = g[step], g2 = g[2 * step];
    vf a = (g0 + g2) * (-1.0f / 6), b = g1 * (1.0f / 6);
    vf c = g0 * (1.0f / 24) + g2 * (1.0f / 6), e = g1 * (1.0f / 12);
    u[0] = g0 * 0.25f;
    u[step] = a - b;
    u[2 * step] = a + b;
    u[3 * step] = c + e;
    u[4 * step] = c - e;
    u[5 * step] = g2;
}

INLINE void transform_sums(const vf *d, int step, vf *g) {
    vf a = d[step] + d[2 * step], b = d[2 * step] - d[step];
    vf c = d[3 * step] + d[4 * step], e = d[3 * step] - d[4 * step];
    vf first = d[0], last = d[5 * step];
    g[0] = first * 0.25f - a * (1.0f / 6) + c * (1.0f / 24);
    g[step] = b * (1.0f / 6) + e * (1.0f / 12);
    g[2 * step] = (c - a) * (1.0f / 6) + last;
}

// --- Tiles

typedef struct {
    int sample, y, x; // the tile's first pixel
} tile_t;

INLINE tile_t tile_at(const wino_image_t *image, int64_t index) {
    int64_t row = index / image->tile_columns;
    return (tile_t){(int)(row / image->tile_rows), (int)(row % image->tile_rows) * OUT,
                    (int)(index % image->tile_columns) * OUT};
}

INLINE void tile_next(const wino_image_t *image, tile_t *tile) {
    tile->x += OUT;
    if (tile->x >= image->width) {
        tile->x = 0;
        tile->y += OUT;
        if (tile->y >= image->height) {
            tile->y = 0;
            tile->sample++;
        }
    }
}

INLINE float *pixel_at(const wino_image_t *image, float *data, tile_t tile, int block) {
    int64_t plane = (int64_t)tile.sample * image->blocks + block;
    return data + ((plane * image->height + tile.y) * image->width + tile.x) * LANES;
}

// A square of side × side pixels that begins at y, x of the tile's block; outside is zero.
INLINE void load_square(const wino_image_t *image, const float *data, tile_t tile, int block,
                        int side, vf *square) {
    const float *from = pixel_at(image, (float *)data, tile, block);
    if (tile.y >= 0 && tile.x >= 0 && tile.y + side <= image->height &&
        tile.x + side <= image->width) {
        for (int i = 0; i < side; i++) {
            for (int j = 0; j < side; j++) {
                square[i * side + j] = load(from + ((int64_t)i * image->width + j) * LANES);
            }
        }
        return;
    }
    for (int i = 0; i < side; i++) {
        for (int j = 0; j < side; j++) {
            bool inside = tile.y + i >= 0 && tile.y + i < image->height && tile.x + j >= 0 &&
                          tile.x + j < image->width;
            square[i * side + j] =
                inside ? load(from + ((int64_t)i * image->width + j) * LANES) : (vf){0};
        }
    }
}

static void wino_in(const wino_image_t *image, const float *x, int64_t first, int tiles, int block,
                    float *v) {
    tile_t tile = tile_at(image, first);
    float *to = v + (int64_t)block * image->pitch * LANES;
    for (int t = 0; t < tiles; t++, to += LANES, tile_next(image, &tile)) {
        vf d[POINTS * POINTS], w[POINTS];
        load_square(image, x, (tile_t){tile.sample, tile.y - 1, tile.x - 1}, block, POINTS, d);
        for (int i = 0; i < POINTS; i++) {
            transform_in(d + i * POINTS, 1, d + i * POINTS);
        }
        for (int j = 0; j < POINTS; j++) {
            for (int i = 0; i < POINTS; i++) {
                w[i] = d[i * POINTS + j];
            }
            transform_in(w, 1, w);
            for (int i = 0; i < POINTS; i++) {
                store(to + (i * POINTS + j) * image->plane, w[i]);
            }
        }
    }
}

static void wino_gradient_in(const wino_image_t *image, const float *y, int64_t first, int tiles,
                             int block, float *z) {
    tile_t tile = tile_at(image, first);
    float *to = z + (int64_t)block * image->pitch * LANES;
    for (int t = 0; t < tiles; t++, to += LANES, tile_next(image, &tile)) {
        vf d[OUT * OUT], rows[POINTS * OUT], w[POINTS];
        load_square(image, y, tile, block, OUT, d);
        for (int j = 0; j < OUT; j++) {
            transform_gradient(d + j, OUT, rows + j);
        }
        for (int i = 0; i < POINTS; i++) {
            transform_gradient(rows + i * OUT, 1, w);
            for (int j = 0; j < POINTS; j++) {
                store(to + (i * POINTS + j) * image->plane, w[j]);
            }
        }
    }
}

static void wino_out(const wino_image_t *image, const float *m, int64_t first, int tiles, int block,
                     const float *bias, float floor, float *y) {
    tile_t tile = tile_at(image, first);
    const float *from = m;
    vf offset = bias ? load(bias + (int64_t)block * LANES) : (vf){0}, least = spread(floor);
    for (int t = 0; t < tiles; t++, from += LANES, tile_next(image, &tile)) {
        vf rows[OUT * POINTS], w[POINTS], out[OUT];
        for (int j = 0; j < POINTS; j++) {
            for (int i = 0; i < POINTS; i++) {
                w[i] = load(from + (i * POINTS + j) * image->plane);
            }
            transform_out(w, 1, out);
            for (int i = 0; i < OUT; i++) {
                rows[i * POINTS + j] = out[i];
            }
        }
        float *to = pixel_at(image, y, tile, block);
        int width = image->width - tile.x < OUT ? image->width - tile.x : OUT;
        for (int i = 0; i < OUT && tile.y + i < image->height; i++) {
            transform_out(rows + i * POINTS, 1, out);
            for (int j = 0; j < width; j++) {
                vf value = out[j] + offset;
                store(to + ((int64_t)i * image->width + j) * LANES,
                      choose(value < least, least, value));
            }
        }
    }
}

// --- Products

INLINE void multiply_block(const wino_product_t *p, int tile, int block, int rows, int vectors) {
    const float *u0 = p->u + (int64_t)block * p->in_blocks * LANES * LANES;
    const float *u1 = u0 + (int64_t)(vectors - 1) * p->in_blocks * LANES * LANES;
    float *m = p->m + ((int64_t)block * p->pitch + tile) * LANES;
    float *next = m + (int64_t)p->pitch * LANES;
    vf sum[ROWS][2] = {{{0}}};
    for (int r = 0; p->add && r < rows; r++) {
        sum[r][0] = load(m + r * LANES);
        if (vectors == 2) {
            sum[r][1] = load(next + r * LANES);
        }
    }
    for (int b = 0; b < p->in_blocks; b++) {
        const float *v = p->v + ((int64_t)b * p->pitch + tile) * LANES;
        for (int k = 0; k < LANES; k++, u0 += LANES, u1 += LANES) {
            vf w0 = load(u0), w1 = load(u1);
            for (int r = 0; r < rows; r++) {
                vf a = spread(v[r * LANES + k]);
                sum[r][0] += a * w0;
                if (vectors == 2) {
                    sum[r][1] += a * w1;
                }
            }
        }
    }
    for (int r = 0; r < rows; r++) {
        store(m + r * LANES, sum[r][0]);
        if (vectors == 2) {
            store(next + r * LANES, sum[r][1]);
        }
    }
}

// What is left of the tiles goes together: each time weights are read, they may come from far. The
// number must be known when this is compiled, for the sums to stay in registers.
#define REST(rows)                                                                                 \
    if (p->tiles - tile == (rows)) {                                                               \
        multiply_block(p, tile, block, rows, vectors);                                             \
    }
INLINE void multiply_rest(const wino_product_t *p, int tile, int block, int vectors) {
    REST(1)
    REST(2)
    REST(3)
    REST(4)
    REST(5)
#if LANES == 16
    REST(6)
    REST(7)
    REST(8)
    REST(9)
    REST(10)
    REST(11)
#endif
}
#undef REST

INLINE void multiply_blocks(const wino_product_t *p, int block, int vectors) {
    int tile = 0;
    for (; tile + ROWS <= p->tiles; tile += ROWS) {
        multiply_block(p, tile, block, ROWS, vectors);
    }
    multiply_rest(p, tile, block, vectors);
}

static void wino_multiply(const wino_product_t *p, int from, int to) {
    int block = from;
    for (; block + 2 <= to; block += 2) {
        multiply_blocks(p, block, 2);
    }
    if (block < to) {
        multiply_blocks(p, block, 1);
    }
}

INLINE void add_products(const wino_product_t *p, int in_block, int row, int block, int vectors) {
    enum { HALF = LANES / 2 };
    const float *v = p->v + (int64_t)in_block * p->pitch * LANES + row;
    const float *z0 = p->u + (int64_t)block * p->pitch * LANES;
    const float *z1 = z0 + (int64_t)(vectors - 1) * p->pitch * LANES;
    vf sum[HALF][2] = {{{0}}};
    for (int t = 0; t < p->tiles; t++, v += LANES, z0 += LANES, z1 += LANES) {
        vf w0 = load(z0), w1 = load(z1);
        for (int r = 0; r < HALF; r++) {
            vf a = spread(v[r]);
            sum[r][0] += a * w0;
            if (vectors == 2) {
                sum[r][1] += a * w1;
            }
        }
    }
    for (int i = 0; i < vectors; i++) {
        float *d = p->m + (((int64_t)(block + i) * p->in_blocks + in_block) * LANES + row) * LANES;
        for (int r = 0; r < HALF; r++) {
            store(d + r * LANES, p->add ? load(d + r * LANES) + sum[r][i] : sum[r][i]);
        }
    }
}

static void wino_accumulate(const wino_product_t *p, int from, int to) {
    for (int block = from; block < to; block += 2) {
        for (int in_block = 0; in_block < p->in_blocks; in_block++) {
            for (int row = 0; row < LANES; row += LANES / 2) {
                if (block + 1 < to) {
                    add_products(p, in_block, row, block, 2);
                } else {
                    add_products(p, in_block, row, block, 1);
                }
            }
        }
    }
}

// --- Weights

INLINE void spread_weights(const vf *g, float *u, int64_t plane) {
    vf rows[POINTS * TAPS], w[POINTS];
    for (int j = 0; j < TAPS; j++) {
        transform_weights(g + j, TAPS, rows + j);
    }
    for (int i = 0; i < POINTS; i++) {
        transform_weights(rows + i * TAPS, 1, w);
        for (int j = 0; j < POINTS; j++) {
            store(u + (i * POINTS + j) * plane, w[j]);
        }
    }
}

static void wino_weights(const wino_weights_t *p, float *u, int block) {
    enum { AREA = TAPS * TAPS, SQUARE = LANES * LANES };
    vf scale = p->scale ? load(p->scale + (int64_t)block * LANES) : spread(1);
    for (int in_block = p->in_from; in_block < p->in_to; in_block++) {
        const float *w = p->w + ((int64_t)block * p->in_blocks + in_block) * AREA * SQUARE;
        float *to = u + (int64_t)(in_block - p->in_from) * SQUARE;
        for (int i = 0; i < LANES; i++, to += LANES) {
            vf g[AREA];
            for (int k = 0; k < AREA; k++) {
                g[k] = load(w + k * SQUARE + i * LANES) * scale;
            }
            spread_weights(g, to, p->plane);
        }
    }
}

// Of the transposed convolution: taps turned around, channels exchanged; block of in.
static void wino_weights_back(const wino_weights_t *p, float *u, int block) {
    enum { AREA = TAPS * TAPS, SQUARE = LANES * LANES };
    for (int out_block = 0; out_block < p->out_blocks; out_block++) {
        const float *w = p->w + ((int64_t)out_block * p->in_blocks + block) * AREA * SQUARE;
        float *to = u + ((int64_t)block * p->out_blocks + out_block) * SQUARE;
        float turned[AREA][LANES][LANES];
        for (int k = 0; k < AREA; k++) {
            for (int i = 0; i < LANES; i++) {
                for (int o = 0; o < LANES; o++) {
                    turned[AREA - 1 - k][o][i] = w[k * SQUARE + i * LANES + o];
                }
            }
        }
        for (int o = 0; o < LANES; o++, to += LANES) {
            vf g[AREA];
            for (int k = 0; k < AREA; k++) {
                g[k] = load(turned[k][o]);
            }
            spread_weights(g, to, p->plane);
        }
    }
}

static void wino_gradient_out(const wino_weights_t *p, const float *d, float *w, int block) {
    enum { AREA = TAPS * TAPS, SQUARE = LANES * LANES };
    for (int in_block = 0; in_block < p->in_blocks; in_block++) {
        float *to = w + ((int64_t)block * p->in_blocks + in_block) * AREA * SQUARE;
        const float *from = d + ((int64_t)block * p->in_blocks + in_block) * SQUARE;
        for (int i = 0; i < LANES; i++, from += LANES) {
            vf rows[TAPS * POINTS], column[POINTS], g[TAPS];
            for (int j = 0; j < POINTS; j++) {
                for (int k = 0; k < POINTS; k++) {
                    column[k] = load(from + (k * POINTS + j) * p->plane);
                }
                transform_sums(column, 1, g);
                for (int k = 0; k < TAPS; k++) {
                    rows[k * POINTS + j] = g[k];
                }
            }
            for (int k = 0; k < TAPS; k++) {
                transform_sums(rows + k * POINTS, 1, g);
                for (int j = 0; j < TAPS; j++) {
                    store(to + (k * TAPS + j) * SQUARE + i * LANES, g[j]);
                }
            }
        }
    }
}
