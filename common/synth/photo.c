// A photo: light on rounded forms, skin, hair and cloth with their textures, things out of focus
// behind.
#include "head_impl.h"
#include "noise_impl.h"

#include <math.h>

static color_t *pixel(canvas_t *canvas, int x, int y) {
    return &canvas->pixels[(size_t)y * (size_t)canvas->width + (size_t)x];
}

static float mask_of(const canvas_t *canvas, int x, int y) {
    return canvas->mask[(size_t)y * (size_t)canvas->width + (size_t)x];
}

// --- Background
// ----------------------------------------------------------------------------------

// Lights and shapes far out of focus.
static void blurred_discs(canvas_t *canvas, const shot_t *shot, float side) {
    rng_t rng = rng_open(shot->salt, 1, STREAM_IMAGE);
    int count = 6 + (int)(14 * shot->back_size);
    for (int i = 0; i < count; i++) {
        point_t m = {rng_in(&rng, 0, 1) * (float)canvas->width,
                     rng_in(&rng, 0, 1) * (float)canvas->height};
        float r = rng_in(&rng, 0.03f, 0.12f) * side, strength = rng_in(&rng, 0.2f, 0.8f);
        color_t color = color_mix(shot->back[1], shot->back[2], rng_in(&rng, 0, 1));
        mask_glow(canvas, m, r, r, 0);
        for (int y = canvas->y0; y < canvas->y1; y++)
            for (int x = canvas->x0; x < canvas->x1; x++) {
                float k = smooth(0.25f, 0.6f, mask_of(canvas, x, y)) * strength;
                *pixel(canvas, x, y) = color_mix(*pixel(canvas, x, y), color, k);
            }
    }
}

static color_t backdrop_at(const shot_t *shot, float u, float v) {
    float c = cosf(shot->back_angle), s = sinf(shot->back_angle);
    float along = c * (u - 0.5f) + s * (v - 0.5f), across = c * (v - 0.5f) - s * (u - 0.5f);
    float size = mix(2, 6, shot->back_size);
    switch (shot->backdrop) {
    case 0: // studio paper, lit from one side
        return color_mix(shot->back[0], color_times(shot->back[0], 0.4f), clamp01(along + 0.5f));
    case 1: // foliage or a street, far away
        return color_mix(shot->back[0], shot->back[1],
                         clamp01(0.5f + 0.9f * noise_cloud(shot->salt, size * u, size * v)));
    case 2: // ground and sky
        return color_mix(shot->back[0], shot->back[1],
                         smooth(-0.06f, 0.06f,
                                along + 0.3f * (shot->back_x - 0.5f) +
                                    0.03f * noise_at(shot->salt, 5 * across, 0)));
    case 3: // a wall with panels or shelves
        return color_mix(shot->back[0], shot->back[1],
                         smooth(0.2f, 0.8f, 0.5f + 0.5f * sinf(size * 4 * along)));
    case 4: // a light on a wall
        return color_mix(shot->back[1], shot->back[0],
                         smooth(0.05f, 0.8f, hypotf(u - shot->back_x, v - shot->back_y)));
    default: // a darker room
        return color_times(color_mix(shot->back[0], shot->back[2], clamp01(across + 0.5f)), 0.8f);
    }
}

static void photo_backdrop(sketch_t *sketch) {
    canvas_t *canvas = sketch->canvas;
    const shot_t *shot = sketch->shot;
    float side = (float)(canvas->width < canvas->height ? canvas->width : canvas->height);
    for (int y = 0; y < canvas->height; y++)
        for (int x = 0; x < canvas->width; x++) {
            float u = (float)x / side, v = (float)y / side;
            color_t color = backdrop_at(shot, u, v);
            float grain = 1 + 0.05f * noise_at(shot->salt + 7, 14 * u, 14 * v);
            *pixel(canvas, x, y) = color_times(color, grain);
        }
    if (shot->backdrop == 1 || shot->backdrop == 5)
        blurred_discs(canvas, shot, side);
    canvas_blur(canvas, side * mix(0.004f, 0.015f, shot->manner[0]));
}

// --- Surfaces
// ------------------------------------------------------------------------------------

static float skin_grain(const sketch_t *sketch, point_t at) {
    uint32_t salt = sketch->person->salt;
    return 0.045f * noise_at(salt, 5 * at.x, 5 * at.y) +
           0.03f * noise_at(salt + 1, 22 * at.x, 22 * at.y);
}

// Strands run outwards from the crown and then hang down; light and dark ones alternate.
static float hair_grain(const sketch_t *sketch, point_t at) {
    uint32_t salt = sketch->person->salt + 2;
    float x = at.x, y = at.y + 0.5f, up = fminf(y, 0), r = sqrtf(x * x + y * y);
    float around = x / sqrtf(x * x + up * up + 0.06f);
    if (sketch->person->hair_style == HAIR_CURLY)
        return 0.35f * noise_at(salt, 11 * at.x, 11 * at.y) +
               0.2f * noise_at(salt + 1, 25 * at.x, 25 * at.y);
    float wave = 0.15f * noise_at(salt + 3, 3 * at.x, 3 * at.y);
    return 0.28f * noise_at(salt, 26 * (around + wave), 1.5f * r) +
           0.16f * noise_at(salt + 1, 60 * (around + wave), 2 * r);
}

static color_t surface(const sketch_t *sketch, const material_t *material, point_t at, float *k) {
    color_t color = material->color;
    float grain = 0, gloss = 0, lit = head_light(sketch, material->form, at);
    switch (material->texture) {
    case TEXTURE_SKIN:
        grain = skin_grain(sketch, at);
        gloss = 0.16f * powf(lit, 12);
        break;
    case TEXTURE_HAIR:
        grain = hair_grain(sketch, at);
        gloss = 0.25f * powf(lit, 6) * fmaxf(0, 0.6f + grain);
        if (material->opacity < 1) // stubble
            *k *= 1 + 2 * noise_at(sketch->person->salt + 9, 40 * at.x, 40 * at.y);
        break;
    case TEXTURE_CLOTH:
        color = head_cloth(sketch, at);
        grain = 0.09f * noise_at(sketch->person->salt + 5, 4 * at.x, 3 * at.y) +
                0.05f * noise_at(sketch->person->salt + 6, 45 * at.x, 45 * at.y);
        break;
    case TEXTURE_GLASS:
        gloss = 0.3f * smooth(0.1f, 0.6f, noise_at(sketch->shot->salt, 1.5f * (at.x - at.y), 3));
        break;
    case TEXTURE_NONE:
        break;
    }
    float ambient = sketch->shot->ambient;
    float shade =
        material->form == FORM_FLAT ? mix(0.75f, 1, ambient) : ambient + (1.15f - ambient) * lit;
    color = color_times(color, shade * (1 + grain));
    return (color_t){color.r + gloss, color.g + gloss, color.b + gloss};
}

static void photo_fill(sketch_t *sketch, const path_t *path, const material_t *material) {
    canvas_t *canvas = sketch->canvas;
    mask_fill(canvas, path);
    for (int y = canvas->y0; y < canvas->y1; y++)
        for (int x = canvas->x0; x < canvas->x1; x++) {
            float k = mask_of(canvas, x, y) * material->opacity;
            if (k <= 0)
                continue;
            point_t at = head_unplace(sketch, (float)x + 0.5f, (float)y + 0.5f);
            color_t color = surface(sketch, material, at, &k);
            *pixel(canvas, x, y) = color_mix(*pixel(canvas, x, y), color, clamp01(k));
        }
}

static void photo_line(sketch_t *sketch, const path_t *path, color_t color, float from,
                       float middle, float to) {
    canvas_t *canvas = sketch->canvas;
    float unit = 0.75f * sketch->unit; // nothing is outlined: what is thin stays thin
    mask_stroke(canvas, path, from * unit, middle * unit, to * unit);
    for (int y = canvas->y0; y < canvas->y1; y++)
        for (int x = canvas->x0; x < canvas->x1; x++) {
            float k = mask_of(canvas, x, y);
            if (k <= 0)
                continue;
            point_t at = head_unplace(sketch, (float)x + 0.5f, (float)y + 0.5f);
            float grain = noise_at(sketch->person->salt + 11, 30 * at.x, 12 * at.y);
            *pixel(canvas, x, y) =
                color_mix(*pixel(canvas, x, y), color, k * clamp01(0.78f + 0.3f * grain));
        }
}

static void photo_crease(sketch_t *sketch, const path_t *path, float width) {
    canvas_t *canvas = sketch->canvas;
    float soft = 0.07f * width * sketch->unit;
    mask_stroke(canvas, path, 0.3f * soft, soft, 0.3f * soft);
    for (int y = canvas->y0; y < canvas->y1; y++)
        for (int x = canvas->x0; x < canvas->x1; x++) {
            float k = 0.12f * mask_of(canvas, x, y);
            if (k > 0)
                *pixel(canvas, x, y) = color_times(*pixel(canvas, x, y), 1 - k);
        }
}

static void photo_glow(sketch_t *sketch, point_t middle, float rx, float ry, float amount) {
    canvas_t *canvas = sketch->canvas;
    point_t m = head_place(sketch, middle.x, middle.y);
    mask_glow(canvas, m, rx * sketch->unit, ry * sketch->unit, sketch->shot->turn);
    for (int y = canvas->y0; y < canvas->y1; y++)
        for (int x = canvas->x0; x < canvas->x1; x++)
            *pixel(canvas, x, y) =
                color_times(*pixel(canvas, x, y), 1 + amount * mask_of(canvas, x, y));
}

const brush_t photo_brush = {photo_backdrop, photo_fill, photo_line, photo_crease, photo_glow};
