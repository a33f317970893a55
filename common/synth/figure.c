// Everything around the features: shoulders, neck, ears, face, hair, hat.
#include "head_impl.h"

#include <math.h>

#define PI 3.14159265f

static void shape(sketch_t *sketch, point_t *points, int count, int steps,
                  const material_t *material) {
    path_t path;
    for (int i = 0; i < count; i++)
        points[i] = head_place(sketch, points[i].x, points[i].y);
    path_smooth(&path, points, count, true, steps);
    sketch->brush->fill(sketch, &path, material);
}

static void fold(sketch_t *sketch, float x0, float y0, float x1, float y1, float x2, float y2,
                 float width) {
    const point_t points[3] = {head_place(sketch, x0, y0), head_place(sketch, x1, y1),
                               head_place(sketch, x2, y2)};
    path_t path;
    path_smooth(&path, points, 3, false, 8);
    sketch->brush->crease(sketch, &path, width);
}

// --- Shoulders and neck
// --------------------------------------------------------------------------

static void torso(sketch_t *sketch) {
    const person_t *p = sketch->person;
    float s = p->shoulder_w, n = p->neck_w;
    point_t points[12] = {{-1.15f * s, 6},    {-1.1f * s, 3},      {-s, 2.05f},
                          {-0.8f * s, 1.72f}, {-1.25f * n, 1.42f}, {-0.95f * n, 1.25f},
                          {0.95f * n, 1.25f}, {1.25f * n, 1.42f},  {0.8f * s, 1.72f},
                          {s, 2.05f},         {1.1f * s, 3},       {1.15f * s, 6}};
    shape(sketch, points, 12, 5, &(material_t){p->cloth, FORM_TORSO, TEXTURE_CLOTH, 1.1f, 1});
    for (int side = -1; side <= 1; side += 2)
        fold(sketch, side * 0.72f * s, 2.3f, side * 0.75f * s, 2.7f, side * 0.7f * s, 3.3f, 0.8f);
}

static void neck(sketch_t *sketch) {
    const person_t *p = sketch->person;
    float n = p->neck_w, deep = p->neckline == NECKLINE_V       ? 2.1f
                                : p->neckline == NECKLINE_SHIRT ? 1.75f
                                : p->neckline == NECKLINE_ROUND ? 1.62f
                                                                : 1.35f;
    float wide = p->neckline == NECKLINE_HIGH ? 1.0f : 1.18f;
    point_t points[9] = {{-n, 0.4f},         {-n, 1.1f},
                         {-wide * n, 1.38f}, {-0.55f * n, mix(1.4f, deep, 0.75f)},
                         {0, deep},          {0.55f * n, mix(1.4f, deep, 0.75f)},
                         {wide * n, 1.38f},  {n, 1.1f},
                         {n, 0.4f}};
    shape(sketch, points, 9, 5, &(material_t){p->skin, FORM_NECK, TEXTURE_SKIN, 0.9f, 1});
    sketch->brush->glow(sketch, (point_t){0, 1.08f}, 0.9f * n, 0.2f, -0.35f); // below the chin
}

static void collar(sketch_t *sketch) {
    const person_t *p = sketch->person;
    if (p->neckline != NECKLINE_SHIRT)
        return;
    float n = p->neck_w;
    color_t color = color_mix(p->cloth, (color_t){1, 1, 1}, 0.25f);
    for (int side = -1; side <= 1; side += 2) {
        point_t points[5] = {{side * 1.05f * n, 1.2f},
                             {side * 1.35f * n, 1.4f},
                             {side * 0.95f * n, 1.95f},
                             {side * 0.08f * n, 1.75f},
                             {side * 0.6f * n, 1.55f}};
        shape(sketch, points, 5, 3, &(material_t){color, FORM_TORSO, TEXTURE_NONE, 0.9f, 1});
    }
    fold(sketch, 0, 1.85f, 0.02f, 2.6f, 0, 4, 0.7f);
}

// --- Face
// ----------------------------------------------------------------------------------------

static void ear(sketch_t *sketch, float side) {
    const person_t *p = sketch->person;
    float e = p->ear, x = side * (p->face_w - 0.02f) + 0.06f * sketch->shot->yaw, y = p->eye_y;
    point_t points[7] = {{x - side * 0.5f * e, y - 0.9f * e},  {x + side * 0.3f * e, y - 1.15f * e},
                         {x + side * 0.85f * e, y - 0.6f * e}, {x + side * 0.7f * e, y + 0.4f * e},
                         {x + side * 0.4f * e, y + 1.15f * e}, {x, y + 1.5f * e},
                         {x - side * 0.5f * e, y + 1.2f * e}};
    shape(sketch, points, 7, 5, &(material_t){p->skin, FORM_HEAD, TEXTURE_SKIN, 0.9f, 1});
    fold(sketch, x + side * 0.05f * e, y - 0.5f * e, x + side * 0.5f * e, y - 0.5f * e,
         x + side * 0.25f * e, y + 0.6f * e, 0.6f);
    if (p->earrings) {
        float r = 0.035f, top = y + 1.6f * e;
        point_t ring[4] = {{x - r, top + r}, {x, top}, {x + r, top + r}, {x, top + 2 * r}};
        shape(sketch, ring, 4, 5,
              &(material_t){{0.85f, 0.72f, 0.3f}, FORM_FLAT, TEXTURE_NONE, 0.6f, 1});
    }
}

static void face(sketch_t *sketch) {
    const person_t *p = sketch->person;
    point_t points[24];
    for (int i = 0; i < 24; i++) {
        float t = 2 * PI * (float)i / 24, c = cosf(t), s = sinf(t);
        float x = p->face_w * (c < 0 ? -1.0f : 1.0f);
        if (s < 0)
            points[i] = (point_t){x * powf(fabsf(c), 0.9f), s};
        else
            points[i] = (point_t){x * powf(fabsf(c), 2 / p->jaw) * (1 - p->taper * s * s), s};
    }
    shape(sketch, points, 24, 4, &(material_t){p->skin, FORM_HEAD, TEXTURE_SKIN, 1.1f, 1});
}

// --- Hair
// ----------------------------------------------------------------------------------------

static material_t hair_of(const person_t *p) {
    return (material_t){p->hair, FORM_HAIR, TEXTURE_HAIR, 1, 1};
}

// Behind the head: long hair, curls, a bun.
static void back_hair(sketch_t *sketch) {
    const person_t *p = sketch->person;
    float w = p->face_w + p->hair_volume, top = -1 - 0.8f * p->hair_volume;
    material_t hair = hair_of(p);
    hair.color = color_times(hair.color, 0.8f);
    if (p->hair_style == HAIR_LONG || p->hair_style == HAIR_BOB) {
        float end = p->hair_style == HAIR_BOB ? mix(0.55f, 0.95f, p->hair_length)
                                              : mix(1.3f, 2.2f, p->hair_length);
        point_t points[10] = {{0, top},
                              {0.75f * w, -0.8f},
                              {w, -0.2f},
                              {1.08f * w, 0.5f * end},
                              {1.05f * w, end},
                              {0.5f * w, end + 0.08f},
                              {-0.5f * w, end + 0.08f},
                              {-1.05f * w, end},
                              {-1.08f * w, 0.5f * end},
                              {-w, -0.2f}};
        shape(sketch, points, 10, 5, &hair);
    } else if (p->hair_style == HAIR_CURLY) {
        point_t points[30];
        float r = 1.02f + p->hair_volume;
        for (int i = 0; i < 30; i++) {
            float t = 2 * PI * (float)i / 30, bump = i % 2 ? 1.08f : 0.98f;
            points[i] = (point_t){r * bump * (p->face_w + 0.12f) * cosf(t),
                                  -0.25f + bump * r * 0.98f * sinf(t)};
        }
        shape(sketch, points, 30, 4, &hair);
    } else if (p->hair_style == HAIR_BUN) {
        float r = 0.22f + 0.5f * p->hair_volume;
        point_t points[6];
        for (int i = 0; i < 6; i++)
            points[i] = (point_t){0.3f * p->parting + r * cosf(PI * (float)i / 3),
                                  -1.05f - 0.7f * r + r * sinf(PI * (float)i / 3)};
        shape(sketch, points, 6, 6, &hair);
    }
}

// The outer edge, from the right temple over the top to the left one; returns the points made.
static int outer_edge(const person_t *p, point_t *points, float volume, float side_y) {
    float w = p->face_w + 0.02f + 0.45f * volume, spikes = p->hair_style == HAIR_SPIKY ? 0.2f : 0;
    int n = 0;
    points[n++] = (point_t){p->face_w + 0.02f, side_y};
    for (int i = 0; i <= 16; i++) {
        float t = PI * (float)i / 16, lift = i % 2 ? spikes : 0;
        points[n++] = (point_t){(w + 0.6f * lift) * cosf(t),
                                -0.12f - (0.88f + volume + lift) * powf(fmaxf(0, sinf(t)), 0.85f)};
    }
    points[n++] = (point_t){-p->face_w - 0.02f, side_y};
    return n;
}

static void front_hair(sketch_t *sketch) {
    const person_t *p = sketch->person;
    bool buzz = p->hair_style == HAIR_BUZZ,
         fringe = p->hair_style == HAIR_FRINGE || p->hair_style == HAIR_BOB;
    float volume = buzz ? 0.02f : p->hair_volume, w = p->face_w;
    float side_y = p->hair_style == HAIR_LONG || p->hair_style == HAIR_BOB ? 0.15f
                   : buzz                                                  ? -0.15f
                                                                           : -0.02f;
    float line = fringe ? p->eye_y - p->brow_y - 0.06f : p->hairline, part = p->parting * w * 0.7f;
    point_t points[32];
    int n = outer_edge(p, points, volume, side_y);
    points[n++] = (point_t){-0.9f * w, side_y - 0.08f};
    points[n++] = (point_t){-0.86f * w, mix(side_y, line, 0.6f)};
    points[n++] = (point_t){mix(-0.8f * w, part, 0.35f), line + 0.02f};
    points[n++] = (point_t){part - 0.08f, line - (fringe ? 0.02f : 0.06f)};
    points[n++] = (point_t){part, line - (fringe ? 0.05f : 0.16f)};
    points[n++] = (point_t){part + 0.08f, line - (fringe ? 0.0f : 0.04f)};
    points[n++] = (point_t){mix(0.8f * w, part, 0.35f), line + 0.03f};
    points[n++] = (point_t){0.86f * w, mix(side_y, line, 0.6f)};
    points[n++] = (point_t){0.9f * w, side_y - 0.08f};
    material_t hair = hair_of(p);
    shape(sketch, points, n, 4, &hair);
    if (buzz)
        return;
    for (int i = 0; i < 5; i++) { // locks, from the parting outwards
        float t = PI * (0.16f + 0.17f * (float)i), c = cosf(t), s = sinf(t);
        fold(sketch, mix(part, c * w, 0.35f), line - 0.25f * s, c * 0.8f * w,
             -0.25f - (0.55f + 0.6f * volume) * s, c * 0.98f * w,
             -0.12f - (0.62f + 0.8f * volume) * s, 0.7f);
    }
}

static void cap(sketch_t *sketch) {
    const person_t *p = sketch->person;
    float w = p->face_w + 0.07f, rim = p->hairline + 0.08f, out = p->parting > 0 ? 1.0f : -1.0f;
    point_t dome[9] = {{-w, rim + 0.04f},   {-w, rim - 0.25f},  {-0.72f * w, -1.0f},
                       {-0.2f * w, -1.22f}, {0.2f * w, -1.22f}, {0.72f * w, -1.0f},
                       {w, rim - 0.25f},    {w, rim + 0.04f},   {0, rim + 0.07f}};
    shape(sketch, dome, 9, 5, &(material_t){p->hat, FORM_HAIR, TEXTURE_NONE, 1.1f, 1});
    point_t brim[6] = {{-0.95f * w, rim - 0.04f},     {0, rim - 0.06f},
                       {0.95f * w, rim - 0.04f},      {(out > 0 ? 1.35f : 0.9f) * w, rim + 0.1f},
                       {0.1f * out * w, rim + 0.17f}, {(out < 0 ? -1.35f : -0.9f) * w, rim + 0.1f}};
    shape(sketch, brim, 6, 5,
          &(material_t){color_times(p->hat, 0.75f), FORM_HAIR, TEXTURE_NONE, 1, 1});
    fold(sketch, 0, -1.2f, 0.05f * out, -0.95f, 0.04f * out, rim - 0.08f, 0.7f);
}

void head_draw(sketch_t *sketch) {
    const person_t *p = sketch->person;
    sketch->brush->backdrop(sketch);
    back_hair(sketch);
    torso(sketch);
    neck(sketch);
    collar(sketch);
    ear(sketch, -1);
    ear(sketch, 1);
    face(sketch);
    features_draw(sketch);
    if (p->hair_style == HAIR_CAP)
        cap(sketch);
    else if (p->hair_style != HAIR_BALD)
        front_hair(sketch);
}
