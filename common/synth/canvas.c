#include "canvas_impl.h"

#include "base/err.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void canvas_open(canvas_t *canvas, int width, int height) {
    size_t pixels = (size_t)width * (size_t)height;
    *canvas = (canvas_t){.width = width,
                         .height = height,
                         .pixels = mem_zero(pixels, sizeof *canvas->pixels),
                         .mask = mem_zero(pixels, sizeof *canvas->mask),
                         .sums = mem_zero(pixels + 2 * (size_t)height, sizeof *canvas->sums)};
}

void canvas_close(canvas_t *canvas) {
    free(canvas->pixels);
    free(canvas->mask);
    free(canvas->sums);
}

color_t color_hsv(float hue, float saturation, float value) {
    float h = (hue - floorf(hue)) * 6, c = value * saturation;
    float x = c * (1 - fabsf(fmodf(h, 2) - 1)), m = value - c;
    static const char order[6][3] = {{2, 1, 0}, {1, 2, 0}, {0, 2, 1},
                                     {0, 1, 2}, {1, 0, 2}, {2, 0, 1}};
    const float levels[3] = {m, m + x, m + c};
    const char *o = order[(int)h % 6];
    return (color_t){levels[(int)o[0]], levels[(int)o[1]], levels[(int)o[2]]};
}

// --- Paths
// ---------------------------------------------------------------------------------------

static float spline(float a, float b, float c, float d, float t) {
    return 0.5f *
           (2 * b + t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))));
}

void path_smooth(path_t *path, const point_t *points, int count, bool closed, int steps) {
    int pieces = closed ? count : count - 1;
    ERR_ASSERT(count >= 2 && pieces * steps + 1 <= PATH_MAX_POINTS);
    path->closed = closed;
    path->count = 0;
    for (int i = 0; i < pieces; i++) {
        const point_t *p[4];
        for (int k = 0; k < 4; k++) {
            int at = i + k - 1;
            at = closed ? (at + count) % count : at < 0 ? 0 : at >= count ? count - 1 : at;
            p[k] = &points[at];
        }
        for (int s = 0; s < steps; s++) {
            float t = (float)s / (float)steps;
            path->at[path->count++] = (point_t){spline(p[0]->x, p[1]->x, p[2]->x, p[3]->x, t),
                                                spline(p[0]->y, p[1]->y, p[2]->y, p[3]->y, t)};
        }
    }
    if (!closed)
        path->at[path->count++] = points[count - 1];
}

// --- Masks
// ---------------------------------------------------------------------------------------

static void set_box(canvas_t *canvas, float x0, float y0, float x1, float y1) {
    // Compared as floats first: a shape far outside must not overflow an int.
    float w = (float)canvas->width, h = (float)canvas->height;
    canvas->x0 = (int)floorf(x0 < 0 ? 0 : x0 > w ? w : x0);
    canvas->y0 = (int)floorf(y0 < 0 ? 0 : y0 > h ? h : y0);
    canvas->x1 = (int)ceilf(x1 < 0 ? 0 : x1 > w ? w : x1);
    canvas->y1 = (int)ceilf(y1 < 0 ? 0 : y1 > h ? h : y1);
}

static void set_box_of(canvas_t *canvas, const path_t *path, float margin) {
    float x0 = 1e9f, y0 = 1e9f, x1 = -1e9f, y1 = -1e9f;
    for (int i = 0; i < path->count; i++) {
        x0 = fminf(x0, path->at[i].x);
        y0 = fminf(y0, path->at[i].y);
        x1 = fmaxf(x1, path->at[i].x);
        y1 = fmaxf(y1, path->at[i].y);
    }
    set_box(canvas, x0 - margin, y0 - margin, x1 + margin, y1 + margin);
}

// The part of an edge inside one row, from xa to xb, dy high (signed): adds to each column the
// change of coverage, so that a running sum along the row gives the area to the right of the edge.
static void add_span(float *row, int width, float xa, float xb, float dy) {
    float w = (float)width, left = fminf(xa, xb), right = fmaxf(xa, xb);
    left = fminf(fmaxf(left, 0), w);
    right = fminf(fmaxf(right, 0), w);
    float slope = right > left ? dy / (right - left) : 0;
    for (int x = (int)left; x <= (int)right; x++) {
        float from = fmaxf(left, (float)x), to = fminf(right, (float)(x + 1));
        float part = right > left ? slope * (to - from) : dy;
        float covered = (float)(x + 1) - 0.5f * (from + to); // of this column, to the right
        row[x] += part * covered;
        row[x + 1] += part * (1 - covered);
    }
}

static void add_edge(canvas_t *canvas, point_t a, point_t b) {
    float sign = 1;
    if (a.y > b.y) {
        point_t t = a;
        a = b;
        b = t;
        sign = -1;
    }
    float top = fmaxf(a.y, 0), bottom = fminf(b.y, (float)canvas->height);
    if (top >= bottom)
        return;
    float slope = (b.x - a.x) / (b.y - a.y);
    for (int y = (int)top; y < canvas->height && (float)y < bottom; y++) {
        float from = fmaxf(top, (float)y), to = fminf(bottom, (float)(y + 1));
        add_span(canvas->sums + (size_t)y * (size_t)(canvas->width + 2), canvas->width,
                 a.x + (from - a.y) * slope, a.x + (to - a.y) * slope, sign * (to - from));
    }
}

void mask_fill(canvas_t *canvas, const path_t *path) {
    set_box_of(canvas, path, 1);
    for (int i = 0; i < path->count; i++)
        add_edge(canvas, path->at[i], path->at[(i + 1) % path->count]);
    for (int y = canvas->y0; y < canvas->y1; y++) {
        float *sums = canvas->sums + (size_t)y * (size_t)(canvas->width + 2), sum = 0;
        float *mask = canvas->mask + (size_t)y * (size_t)canvas->width;
        for (int x = canvas->x0; x < canvas->x1; x++) {
            sum += sums[x];
            mask[x] = fminf(fabsf(sum), 1);
        }
        memset(sums, 0, (size_t)(canvas->width + 2) * sizeof *sums);
    }
}

// Coverage of a piece of line that has radius ra at a and rb at b.
static void add_piece(canvas_t *canvas, point_t a, point_t b, float ra, float rb) {
    canvas_t box = *canvas;
    float r = fmaxf(ra, rb) + 1;
    set_box(&box, fminf(a.x, b.x) - r, fminf(a.y, b.y) - r, fmaxf(a.x, b.x) + r,
            fmaxf(a.y, b.y) + r);
    float dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy + 1e-9f;
    for (int y = box.y0; y < box.y1; y++)
        for (int x = box.x0; x < box.x1; x++) {
            float px = (float)x + 0.5f - a.x, py = (float)y + 0.5f - a.y;
            float t = clamp01((px * dx + py * dy) / length2);
            float ex = px - t * dx, ey = py - t * dy, radius = mix(ra, rb, t);
            float cover = fminf(radius - sqrtf(ex * ex + ey * ey) + 0.5f, 2 * radius);
            float *at = &canvas->mask[(size_t)y * (size_t)canvas->width + (size_t)x];
            if (cover > *at)
                *at = fminf(cover, 1);
        }
}

void mask_stroke(canvas_t *canvas, const path_t *path, float from_px, float middle_px,
                 float to_px) {
    set_box_of(canvas, path, fmaxf(fmaxf(from_px, middle_px), to_px) + 2);
    for (int y = canvas->y0; y < canvas->y1; y++)
        if (canvas->x1 > canvas->x0)
            memset(canvas->mask + (size_t)y * (size_t)canvas->width + canvas->x0, 0,
                   (size_t)(canvas->x1 - canvas->x0) * sizeof *canvas->mask);
    int pieces = path->closed ? path->count : path->count - 1;
    float radius = 0.5f * from_px;
    for (int i = 0; i < pieces; i++) {
        float t = (float)(i + 1) / (float)pieces;
        float next =
            0.5f * (t < 0.5f ? mix(from_px, middle_px, 2 * t) : mix(middle_px, to_px, 2 * t - 1));
        add_piece(canvas, path->at[i], path->at[(i + 1) % path->count], radius, next);
        radius = next;
    }
}

void mask_glow(canvas_t *canvas, point_t middle, float rx, float ry, float angle) {
    float reach = 2.4f * fmaxf(rx, ry), c = cosf(angle), s = sinf(angle);
    set_box(canvas, middle.x - reach, middle.y - reach, middle.x + reach, middle.y + reach);
    for (int y = canvas->y0; y < canvas->y1; y++)
        for (int x = canvas->x0; x < canvas->x1; x++) {
            float dx = (float)x + 0.5f - middle.x, dy = (float)y + 0.5f - middle.y;
            float u = (c * dx + s * dy) / rx, v = (c * dy - s * dx) / ry;
            // (1 - r²/6)³ is close to exp(-r²/2) and ends at 2.45 sigma.
            float k = fmaxf(0, 1 - (u * u + v * v) / 6);
            canvas->mask[(size_t)y * (size_t)canvas->width + (size_t)x] = k * k * k;
        }
}

// --- Blur
// ----------------------------------------------------------------------------------------

// A box of 2 radius + 1 over count pixels that lie step apart; the edge pixel goes on for ever.
static void box_line(color_t *at, size_t step, int count, int radius, color_t *copy) {
    for (int i = 0; i < count; i++)
        copy[i] = at[(size_t)i * step];
    color_t sum = color_times(copy[0], (float)radius);
    for (int i = 0; i <= radius; i++) {
        color_t c = copy[i < count ? i : count - 1];
        sum = (color_t){sum.r + c.r, sum.g + c.g, sum.b + c.b};
    }
    float part = 1 / (float)(2 * radius + 1);
    for (int i = 0; i < count; i++) {
        at[(size_t)i * step] = color_times(sum, part);
        int in = i + radius + 1, out = i - radius;
        color_t a = copy[in < count ? in : count - 1], b = copy[out > 0 ? out : 0];
        sum = (color_t){sum.r + a.r - b.r, sum.g + a.g - b.g, sum.b + a.b - b.b};
    }
}

static void blur_whole(canvas_t *canvas, int radius, color_t *copy) {
    for (int y = 0; y < canvas->height; y++)
        box_line(canvas->pixels + (size_t)y * (size_t)canvas->width, 1, canvas->width, radius,
                 copy);
    for (int x = 0; x < canvas->width; x++)
        box_line(canvas->pixels + x, (size_t)canvas->width, canvas->height, radius, copy);
}

// For less than a box of one: [k, 1 - 2k, k] in both directions.
static void soften_line(color_t *at, size_t step, int count, float k) {
    color_t before = at[0];
    for (int i = 0; i < count; i++) {
        color_t *here = &at[(size_t)i * step], old = *here;
        color_t after = i + 1 < count ? at[(size_t)(i + 1) * step] : old;
        here->r += k * (before.r + after.r - 2 * old.r);
        here->g += k * (before.g + after.g - 2 * old.g);
        here->b += k * (before.b + after.b - 2 * old.b);
        before = old;
    }
}

void canvas_blur(canvas_t *canvas, float sigma) {
    int side = canvas->width > canvas->height ? canvas->width : canvas->height;
    color_t *copy = mem_alloc((size_t)side * sizeof *copy);
    // Three boxes of radius r have variance r (r + 1); the rest is done by softening.
    float left = sigma * sigma;
    int radius = (int)((sqrtf(1 + 4 * left) - 1) / 2);
    if (radius > 0) {
        for (int pass = 0; pass < 3; pass++)
            blur_whole(canvas, radius, copy);
        left -= (float)(radius * (radius + 1));
    }
    while (left > 0.02f) { // [k, 1 - 2k, k] has variance 2k
        float k = fminf(left / 2, 0.25f);
        for (int y = 0; y < canvas->height; y++)
            soften_line(canvas->pixels + (size_t)y * (size_t)canvas->width, 1, canvas->width, k);
        for (int x = 0; x < canvas->width; x++)
            soften_line(canvas->pixels + x, (size_t)canvas->width, canvas->height, k);
        left -= 2 * k;
    }
    free(copy);
}
