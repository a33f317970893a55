// A picture of floats, masks of shapes, and colours.
#ifndef INKLING_SYNTH_CANVAS_IMPL_H
#define INKLING_SYNTH_CANVAS_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    float r, g, b; // 0 … 1, encoded (sRGB-like) values
} color_t;

typedef struct {
    float x, y;
} point_t;

#define PATH_MAX_POINTS 384

// A polyline in pixels; a closed one is a polygon.
typedef struct {
    point_t at[PATH_MAX_POINTS];
    int count;
    bool closed;
} path_t;

typedef struct {
    int width, height;
    color_t *pixels; // height × width
    // Scratch of one shape: coverage 0 … 1, valid inside the box only.
    float *mask; // height × width
    float *sums; // height × (width + 2), all zero between shapes
    int x0, y0, x1, y1;
} canvas_t;

// Aborts when out of memory (sides are at most SYNTH_SIDE_MAX).
void canvas_open(canvas_t *canvas, int width, int height);
void canvas_close(canvas_t *canvas);

// A smooth curve through the points (Catmull-Rom), steps pieces between two of them.
void path_smooth(path_t *path, const point_t *points, int count, bool closed, int steps);

// Set the mask, antialiased: inside of a polygon; a line with round ends whose width goes from
// from_px over middle_px to to_px; a disc that fades out as a Gaussian, radii at one sigma.
void mask_fill(canvas_t *canvas, const path_t *path);
void mask_stroke(canvas_t *canvas, const path_t *path, float from_px, float middle_px, float to_px);
void mask_glow(canvas_t *canvas, point_t middle, float rx, float ry, float angle);

// Blurs the picture, sigma in pixels (three boxes).
void canvas_blur(canvas_t *canvas, float sigma);

static inline float clamp01(float x) {
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static inline float mix(float a, float b, float t) {
    return a + (b - a) * t;
}

static inline float smooth(float low, float high, float x) {
    float t = clamp01((x - low) / (high - low));
    return t * t * (3 - 2 * t);
}

static inline color_t color_mix(color_t a, color_t b, float t) {
    return (color_t){mix(a.r, b.r, t), mix(a.g, b.g, t), mix(a.b, b.b, t)};
}

static inline color_t color_times(color_t a, float f) {
    return (color_t){a.r * f, a.g * f, a.b * f};
}

static inline float color_luma(color_t c) {
    return 0.299f * c.r + 0.587f * c.g + 0.114f * c.b;
}

// hue, saturation and value in 0 … 1.
color_t color_hsv(float hue, float saturation, float value);

#endif
