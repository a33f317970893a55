#include "head_impl.h"

#include <math.h>

// --- Who
// -----------------------------------------------------------------------------------------

static color_t any_color(rng_t *rng, float saturation) {
    float hue = rng_in(rng, 0, 1), strength = saturation * rng_in(rng, 0, 1);
    return color_hsv(hue, strength, rng_in(rng, 0.25f, 0.9f));
}

static color_t skin_color(rng_t *rng) {
    static const color_t tones[] = {{0.98f, 0.86f, 0.77f}, {0.93f, 0.76f, 0.63f},
                                    {0.84f, 0.63f, 0.48f}, {0.68f, 0.46f, 0.33f},
                                    {0.50f, 0.33f, 0.23f}, {0.36f, 0.23f, 0.17f}};
    float at = rng_in(rng, 0, 4.999f);
    int i = (int)at;
    color_t c = color_mix(tones[i], tones[i + 1], at - (float)i);
    c.r *= rng_in(rng, 0.95f, 1.04f);
    c.b *= rng_in(rng, 0.92f, 1.06f);
    return c;
}

static color_t hair_color(rng_t *rng) {
    static const color_t tones[] = {
        {0.07f, 0.06f, 0.07f}, {0.18f, 0.11f, 0.08f}, {0.33f, 0.20f, 0.12f}, {0.55f, 0.36f, 0.18f},
        {0.85f, 0.70f, 0.42f}, {0.62f, 0.25f, 0.12f}, {0.62f, 0.61f, 0.60f}, {0.90f, 0.89f, 0.86f}};
    if (rng_chance(rng, 0.12f)) // dyed
        return color_hsv(rng_in(rng, 0, 1), rng_in(rng, 0.4f, 0.8f), rng_in(rng, 0.4f, 0.9f));
    return color_times(tones[rng_below(rng, 8)], rng_in(rng, 0.85f, 1.15f));
}

static void face_shape(rng_t *rng, person_t *p) {
    p->face_w = rng_mid(rng, 0.62f, 0.84f);
    p->jaw = rng_in(rng, 2.0f, 3.2f);
    p->taper = rng_in(rng, 0.05f, 0.35f);
    p->eye_x = p->face_w * rng_in(rng, 0.42f, 0.52f);
    p->eye_y = rng_in(rng, -0.08f, 0.08f);
    p->eye_w = rng_in(rng, 0.12f, 0.19f);
    p->eye_h = p->eye_w * rng_in(rng, 0.45f, 0.85f);
    p->eye_tilt = rng_in(rng, -0.15f, 0.2f);
    p->brow_y = rng_in(rng, 0.17f, 0.27f);
    p->brow_width = rng_in(rng, 0.03f, 0.085f);
    p->brow_tilt = rng_in(rng, -0.06f, 0.07f);
    p->brow_arch = rng_in(rng, 0.0f, 0.08f);
    p->nose_y = rng_in(rng, 0.3f, 0.46f);
    p->nose_w = rng_in(rng, 0.1f, 0.19f);
    p->mouth_y = p->nose_y + rng_in(rng, 0.18f, 0.27f);
    p->mouth_w = p->face_w * rng_in(rng, 0.32f, 0.52f);
    p->lip = rng_in(rng, 0.03f, 0.085f);
    p->ear = rng_in(rng, 0.14f, 0.22f);
    p->neck_w = p->face_w * rng_in(rng, 0.5f, 0.75f);
    p->shoulder_w = rng_in(rng, 1.35f, 1.95f);
}

static void looks(rng_t *rng, person_t *p) {
    p->hair_style = (hair_t)rng_below(rng, HAIR_COUNT);
    p->hair_volume = rng_in(rng, 0.08f, 0.3f);
    p->hairline = rng_in(rng, -0.68f, -0.42f);
    p->parting = rng_in(rng, -0.6f, 0.6f);
    p->hair_length = rng_in(rng, 0, 1);
    p->beard = rng_chance(rng, 0.6f) ? BEARD_NONE : (beard_t)(1 + rng_below(rng, BEARD_COUNT - 1));
    p->glasses = rng_chance(rng, 0.65f) ? GLASSES_NONE : (glasses_t)(1 + rng_below(rng, 3));
    p->neckline = (neckline_t)rng_below(rng, NECKLINE_COUNT);
    p->pattern = rng_chance(rng, 0.5f) ? CLOTH_PLAIN : (cloth_t)rng_below(rng, CLOTH_COUNT);
    p->freckles = rng_chance(rng, 0.2f);
    p->earrings = rng_chance(rng, 0.2f);
}

person_t head_person(uint64_t seed, uint32_t identity) {
    rng_t rng = rng_open(seed, identity, STREAM_PERSON);
    person_t p = {.skin = skin_color(&rng), .hair = hair_color(&rng)};
    static const color_t irises[] = {{0.25f, 0.15f, 0.08f},
                                     {0.35f, 0.24f, 0.12f},
                                     {0.30f, 0.48f, 0.66f},
                                     {0.32f, 0.50f, 0.33f},
                                     {0.45f, 0.47f, 0.48f}};
    p.brow = color_mix(p.hair, (color_t){0.12f, 0.08f, 0.06f}, rng_in(&rng, 0.2f, 0.7f));
    p.iris = irises[rng_below(&rng, 5)];
    p.lips = color_mix(p.skin, (color_t){0.7f, 0.2f, 0.22f}, rng_in(&rng, 0.2f, 0.65f));
    p.cloth = any_color(&rng, 0.9f);
    p.cloth2 = any_color(&rng, 0.9f);
    p.hat = any_color(&rng, 0.9f);
    p.frame = rng_chance(&rng, 0.6f) ? (color_t){0.1f, 0.09f, 0.1f} : any_color(&rng, 0.7f);
    face_shape(&rng, &p);
    looks(&rng, &p);
    p.salt = rng_bits(&rng);
    return p;
}

static void light(rng_t *rng, shot_t *shot) {
    float side = rng_in(rng, -0.9f, 0.9f), above = rng_in(rng, -0.75f, 0.35f);
    float length = sqrtf(side * side + above * above + 0.36f);
    shot->light[0] = side / length;
    shot->light[1] = above / length;
    shot->light[2] = 0.6f / length;
    shot->ambient = rng_in(rng, 0.25f, 0.55f);
}

shot_t head_shot(uint64_t seed, uint32_t identity, uint32_t style) {
    rng_t rng = rng_open(seed, identity, STREAM_IMAGE + style);
    shot_t shot = {.x = rng_mid(&rng, 0.3f, 0.7f), .y = rng_mid(&rng, 0.32f, 0.62f)};
    shot.scale = rng_in(&rng, 0.21f, 0.36f);
    shot.turn = rng_mid(&rng, -0.35f, 0.35f);
    shot.yaw = rng_mid(&rng, -1, 1);
    shot.nod = rng_mid(&rng, -0.08f, 0.08f);
    shot.smile = rng_in(&rng, -0.5f, 1);
    shot.open = rng_chance(&rng, 0.35f) ? rng_in(&rng, 0.2f, 1) : 0;
    shot.lid = rng_in(&rng, 0.55f, 1);
    shot.gaze = rng_in(&rng, -0.4f, 0.4f);
    shot.brow_lift = rng_in(&rng, -0.03f, 0.05f);
    light(&rng, &shot);
    shot.backdrop = rng_below(&rng, BACKDROP_COUNT);
    for (int i = 0; i < 3; i++)
        shot.back[i] = any_color(&rng, 0.8f);
    shot.back_angle = rng_in(&rng, 0, 6.2832f);
    shot.back_size = rng_in(&rng, 0, 1);
    shot.back_x = rng_in(&rng, 0, 1);
    shot.back_y = rng_in(&rng, 0, 1);
    for (int i = 0; i < 6; i++)
        shot.manner[i] = rng_in(&rng, 0, 1);
    shot.salt = rng_bits(&rng);
    return shot;
}

// --- Where
// ---------------------------------------------------------------------------------------

sketch_t head_sketch(canvas_t *canvas, const person_t *person, const shot_t *shot,
                     const brush_t *brush) {
    int side = canvas->width < canvas->height ? canvas->width : canvas->height;
    return (sketch_t){.canvas = canvas,
                      .person = person,
                      .shot = shot,
                      .brush = brush,
                      .unit = shot->scale * (float)side,
                      .cosine = cosf(shot->turn),
                      .sine = sinf(shot->turn),
                      .cx = shot->x * (float)canvas->width,
                      .cy = shot->y * (float)canvas->height};
}

point_t head_place(const sketch_t *sketch, float x, float y) {
    x *= sketch->unit;
    y *= sketch->unit;
    return (point_t){sketch->cx + sketch->cosine * x - sketch->sine * y,
                     sketch->cy + sketch->sine * x + sketch->cosine * y};
}

point_t head_unplace(const sketch_t *sketch, float px, float py) {
    float dx = (px - sketch->cx) / sketch->unit, dy = (py - sketch->cy) / sketch->unit;
    return (point_t){sketch->cosine * dx + sketch->sine * dy,
                     sketch->cosine * dy - sketch->sine * dx};
}

float head_light(const sketch_t *sketch, form_t form, point_t at) {
    const float *l = sketch->shot->light;
    float width = sketch->person->face_w, x, y;
    switch (form) {
    case FORM_HEAD:
        x = at.x / (1.12f * width);
        y = at.y / 1.25f;
        break;
    case FORM_HAIR:
        x = at.x / (1.5f * width);
        y = (at.y + 0.2f) / 1.5f;
        break;
    case FORM_NECK:
        x = at.x / (1.25f * sketch->person->neck_w);
        y = -0.3f;
        break;
    case FORM_TORSO:
        x = at.x / (1.3f * sketch->person->shoulder_w);
        y = (at.y - 2.6f) / 1.8f;
        break;
    default:
        return 0.8f;
    }
    float r2 = x * x + y * y;
    if (r2 > 0.98f) { // beyond the form's rim
        float f = sqrtf(0.98f / r2);
        x *= f;
        y *= f;
        r2 = 0.98f;
    }
    float lit = x * l[0] + y * l[1] + sqrtf(1 - r2) * l[2];
    return fmaxf(0, lit);
}

color_t head_cloth(const sketch_t *sketch, point_t at) {
    const person_t *p = sketch->person;
    float u = at.x * 3.4f, v = at.y * 3.4f;
    bool second = false;
    if (p->pattern == CLOTH_STRIPES)
        second = v - floorf(v) < 0.4f;
    else if (p->pattern == CLOTH_CHECKS)
        second = (u - floorf(u) < 0.5f) != (v - floorf(v) < 0.5f);
    else if (p->pattern == CLOTH_DOTS) {
        float du = u - floorf(u) - 0.5f, dv = v - floorf(v) - 0.5f;
        second = du * du + dv * dv < 0.07f;
    }
    return second ? p->cloth2 : p->cloth;
}
