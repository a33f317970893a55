// A comic: flat colours, ink outlines, and shade as a darker tone, hatching or half-tone dots.
#include "head_impl.h"
#include "noise_impl.h"

#include <math.h>

typedef enum { SHADE_TONE, SHADE_HATCH, SHADE_CROSS, SHADE_DOTS, SHADE_COUNT } shade_t;

static color_t *pixel(canvas_t *canvas, int x, int y) {
    return &canvas->pixels[(size_t)y * (size_t)canvas->width + (size_t)x];
}

static float mask_of(const canvas_t *canvas, int x, int y) {
    return canvas->mask[(size_t)y * (size_t)canvas->width + (size_t)x];
}

static float side_of(const canvas_t *canvas) {
    return (float)(canvas->width < canvas->height ? canvas->width : canvas->height);
}

static color_t ink_of(const sketch_t *sketch) {
    float tint = sketch->shot->manner[5];
    return (color_t){0.05f + 0.08f * tint, 0.05f, 0.06f + 0.1f * (1 - tint)};
}

// Pixels; the pen is chosen with the picture, not with the head's size.
static float pen_of(const sketch_t *sketch) {
    return side_of(sketch->canvas) * mix(0.013f, 0.019f, sketch->shot->manner[1]);
}

// How much ink a pattern puts at a pixel, when tone 0 … 1 of it is wanted; antialiased.
static float pattern_at(const sketch_t *sketch, shade_t shade, float px, float py, float tone) {
    float side = side_of(sketch->canvas);
    float period = side * mix(0.026f, 0.042f, sketch->shot->manner[2]);
    float turn = 0.5f + 0.6f * sketch->shot->manner[3], c = cosf(turn), s = sinf(turn);
    float u = (c * px + s * py) / period, v = (c * py - s * px) / period;
    float du = fabsf(u - floorf(u) - 0.5f), dv = fabsf(v - floorf(v) - 0.5f);
    float blur = 0.6f / period;
    if (shade == SHADE_DOTS) {
        float radius = sqrtf(clamp01(tone) * 0.32f);
        return 1 - smooth(radius - blur, radius + blur, sqrtf(du * du + dv * dv));
    }
    float half = 0.36f * clamp01(tone);
    float ink = 1 - smooth(half - blur, half + blur, du);
    if (shade == SHADE_CROSS)
        ink = fmaxf(ink, 1 - smooth(half - blur, half + blur, dv));
    return tone > 0 ? ink : 0;
}

// --- Background
// ----------------------------------------------------------------------------------

static color_t backdrop_at(const sketch_t *sketch, float px, float py) {
    const shot_t *shot = sketch->shot;
    float side = side_of(sketch->canvas), u = px / side - 0.5f, v = py / side - 0.5f;
    float c = cosf(shot->back_angle), s = sinf(shot->back_angle), along = c * u + s * v;
    float size = mix(2, 6, shot->back_size);
    const color_t *back = shot->back;
    switch (shot->backdrop) {
    case 0: // one flat colour
        return back[0];
    case 1: // half-tone that fades
        return color_mix(back[0], back[1],
                         pattern_at(sketch, SHADE_DOTS, px, py, clamp01(along + 0.5f)));
    case 2: // two fields
        return along + 0.3f * (shot->back_x - 0.5f) > 0 ? back[0] : back[1];
    case 3: { // stripes
        float t = size * 1.3f * along;
        return t - floorf(t) < 0.5f ? back[0] : back[1];
    }
    case 4: { // rays
        float t =
            atan2f(v + 0.5f - shot->back_y, u + 0.5f - shot->back_x) * (2 + 6 * size) / 6.2832f;
        return t - floorf(t) < 0.5f ? back[0] : back[1];
    }
    default: // blobs of two tones
        return noise_cloud(shot->salt, size * u, size * v) > 0 ? back[0] : back[2];
    }
}

static void comic_backdrop(sketch_t *sketch) {
    canvas_t *canvas = sketch->canvas;
    for (int y = 0; y < canvas->height; y++)
        for (int x = 0; x < canvas->width; x++)
            *pixel(canvas, x, y) = backdrop_at(sketch, (float)x + 0.5f, (float)y + 0.5f);
    if (sketch->shot->backdrop == 2) { // the fields' border is inked
        float side = side_of(canvas), off = 0.3f * (sketch->shot->back_x - 0.5f);
        float c = cosf(sketch->shot->back_angle), s = sinf(sketch->shot->back_angle);
        path_t border = {.count = 2};
        for (int i = 0; i < 2; i++) {
            float far = i ? 2.0f : -2.0f;
            border.at[i] =
                (point_t){side * (0.5f - off * c - far * s), side * (0.5f - off * s + far * c)};
        }
        sketch->brush->crease(sketch, &border, 1);
    }
}

// --- Surfaces
// ------------------------------------------------------------------------------------

static void ink_mask(sketch_t *sketch) {
    canvas_t *canvas = sketch->canvas;
    color_t ink = ink_of(sketch);
    for (int y = canvas->y0; y < canvas->y1; y++)
        for (int x = canvas->x0; x < canvas->x1; x++) {
            float k = mask_of(canvas, x, y);
            if (k > 0)
                *pixel(canvas, x, y) = color_mix(*pixel(canvas, x, y), ink, k);
        }
}

// A fill on which ink shows, as comics choose it: dark colours are lifted, their hue kept.
static color_t under_ink(color_t color) {
    float wanted = mix(0.42f, 1, color_luma(color));
    float most = fmaxf(color.r, fmaxf(color.g, color.b));
    color =
        color_times(color, fminf(wanted / fmaxf(color_luma(color), 0.01f), 1 / fmaxf(most, 0.01f)));
    float luma = color_luma(color); // a pure red or blue is dark at its brightest: then white helps
    return luma < wanted ? color_mix(color, (color_t){1, 1, 1}, (wanted - luma) / (1 - luma))
                         : color;
}

// Where the light does not reach, the shade's tone or pattern.
static color_t shaded(const sketch_t *sketch, const material_t *material, color_t color, point_t at,
                      float px, float py) {
    shade_t shade = (shade_t)((int)(sketch->shot->manner[4] * SHADE_COUNT) % SHADE_COUNT);
    float lit = head_light(sketch, material->form, at), edge = 0.42f;
    if (material->form == FORM_FLAT)
        return color;
    float dark = smooth(edge + 0.02f, edge - 0.02f, lit);
    if (material->texture == TEXTURE_HAIR && lit > 0.93f) // one flat highlight
        return color_mix(color, (color_t){1, 1, 1}, 0.25f);
    if (shade == SHADE_TONE || material->texture == TEXTURE_HAIR)
        return color_times(color, 1 - 0.4f * dark);
    float tone = shade == SHADE_DOTS ? smooth(edge + 0.25f, edge - 0.45f, lit) : 0.5f * dark;
    return color_mix(color, ink_of(sketch), 0.9f * pattern_at(sketch, shade, px, py, tone));
}

static void comic_fill(sketch_t *sketch, const path_t *path, const material_t *material) {
    canvas_t *canvas = sketch->canvas;
    mask_fill(canvas, path);
    for (int y = canvas->y0; y < canvas->y1; y++)
        for (int x = canvas->x0; x < canvas->x1; x++) {
            float k = mask_of(canvas, x, y), px = (float)x + 0.5f, py = (float)y + 0.5f;
            if (k <= 0)
                continue;
            point_t at = head_unplace(sketch, px, py);
            color_t color = material->color;
            if (material->texture == TEXTURE_CLOTH)
                color = head_cloth(sketch, at);
            color = under_ink(color);
            if (material->opacity < 1 && material->texture == TEXTURE_HAIR) // stubble: dots
                k *= pattern_at(sketch, SHADE_DOTS, px, py, material->opacity);
            else
                k *= material->opacity;
            color = shaded(sketch, material, color, at, px, py);
            *pixel(canvas, x, y) = color_mix(*pixel(canvas, x, y), color, k);
        }
    float pen = pen_of(sketch) * material->ink;
    if (pen <= 0)
        return;
    mask_stroke(canvas, path, 0.8f * pen, 1.25f * pen, 0.8f * pen);
    ink_mask(sketch);
}

static void comic_line(sketch_t *sketch, const path_t *path, color_t color, float from,
                       float middle, float to) {
    (void)color; // lines are ink, whatever they stand for
    float unit = sketch->unit, least = 0.6f * pen_of(sketch);
    mask_stroke(sketch->canvas, path, fmaxf(from * unit, least), fmaxf(middle * unit, least),
                fmaxf(to * unit, least));
    ink_mask(sketch);
}

static void comic_crease(sketch_t *sketch, const path_t *path, float width) {
    float pen = pen_of(sketch) * width;
    mask_stroke(sketch->canvas, path, 0.4f * pen, 1.1f * pen, 0.4f * pen);
    ink_mask(sketch);
}

static void comic_glow(sketch_t *sketch, point_t middle, float rx, float ry, float amount) {
    (void)sketch, (void)middle, (void)rx, (void)ry, (void)amount;
}

const brush_t comic_brush = {comic_backdrop, comic_fill, comic_line, comic_crease, comic_glow};
