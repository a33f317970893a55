#include "head_impl.h"

#include <math.h>

#define INK_NONE 0.0f
#define PI       3.14159265f

// --- Helpers
// -------------------------------------------------------------------------------------

// A place on the face, which turns with the head to the side and up.
static point_t on_face(const sketch_t *sketch, float x, float y) {
    float w = sketch->person->face_w, u = x / w;
    float bulge = fmaxf(0, 1 - u * u);
    return (point_t){x + 0.22f * w * sketch->shot->yaw * bulge, y + sketch->shot->nod};
}

static void to_pixels(const sketch_t *sketch, point_t *points, int count) {
    for (int i = 0; i < count; i++)
        points[i] = head_place(sketch, points[i].x, points[i].y);
}

static void fill(sketch_t *sketch, point_t *points, int count, int steps, color_t color,
                 form_t form, texture_t texture, float ink) {
    path_t path;
    to_pixels(sketch, points, count);
    path_smooth(&path, points, count, true, steps);
    const material_t material = {color, form, texture, ink, 1};
    sketch->brush->fill(sketch, &path, &material);
}

// Ellipse in head units, as a path in pixels.
static void ellipse(const sketch_t *sketch, path_t *path, point_t middle, float rx, float ry,
                    float angle) {
    point_t points[12];
    float c = cosf(angle), s = sinf(angle);
    for (int i = 0; i < 12; i++) {
        float t = 2 * PI * (float)i / 12, x = rx * cosf(t), y = ry * sinf(t);
        points[i] = head_place(sketch, middle.x + c * x - s * y, middle.y + s * x + c * y);
    }
    path_smooth(path, points, 12, true, 4);
}

static void disc(sketch_t *sketch, point_t middle, float rx, float ry, float angle, color_t color,
                 form_t form, float ink) {
    path_t path;
    ellipse(sketch, &path, middle, rx, ry, angle);
    const material_t material = {color, form, TEXTURE_NONE, ink, 1};
    sketch->brush->fill(sketch, &path, &material);
}

static void crease(sketch_t *sketch, point_t *points, int count, float width) {
    path_t path;
    to_pixels(sketch, points, count);
    path_smooth(&path, points, count, false, 5);
    sketch->brush->crease(sketch, &path, width);
}

static void line(sketch_t *sketch, point_t *points, int count, color_t color, float from,
                 float middle, float to) {
    path_t path;
    to_pixels(sketch, points, count);
    path_smooth(&path, points, count, false, 5);
    sketch->brush->line(sketch, &path, color, from, middle, to);
}

// --- Eyes
// ----------------------------------------------------------------------------------------

static void eye(sketch_t *sketch, float side) {
    const person_t *p = sketch->person;
    const shot_t *shot = sketch->shot;
    point_t m = on_face(sketch, side * p->eye_x, p->eye_y);
    float w = p->eye_w, h = p->eye_h * shot->lid, tilt = -side * p->eye_tilt * w;
    sketch->brush->glow(sketch, (point_t){m.x, m.y - 0.02f}, 1.5f * w, 1.5f * w, -0.22f);
    point_t white[8] = {{m.x - w, m.y - tilt},  {m.x - 0.6f * w, m.y - 0.7f * h - 0.6f * tilt},
                        {m.x, m.y - h},         {m.x + 0.6f * w, m.y - 0.7f * h + 0.6f * tilt},
                        {m.x + w, m.y + tilt},  {m.x + 0.5f * w, m.y + 0.6f * h + 0.5f * tilt},
                        {m.x, m.y + 0.75f * h}, {m.x - 0.5f * w, m.y + 0.6f * h - 0.5f * tilt}};
    point_t lid[5];
    for (int i = 0; i < 5; i++)
        lid[i] = white[i];
    fill(sketch, white, 8, 4, (color_t){0.93f, 0.91f, 0.89f}, FORM_FLAT, TEXTURE_NONE, INK_NONE);
    float r = fminf(0.62f * w, 0.95f * h);
    point_t iris = {m.x + shot->gaze * (w - r), m.y - 0.05f * h};
    disc(sketch, iris, r, fminf(r, h * 0.9f), 0, p->iris, FORM_FLAT, 0.5f);
    disc(sketch, iris, 0.5f * r, 0.5f * r, 0, (color_t){0.04f, 0.03f, 0.03f}, FORM_FLAT, INK_NONE);
    disc(sketch, (point_t){iris.x - 0.3f * r, iris.y - 0.35f * r}, 0.2f * r, 0.2f * r, 0,
         (color_t){1, 1, 1}, FORM_FLAT, INK_NONE);
    color_t lash = color_mix(color_times(p->skin, 0.35f), p->brow, 0.4f);
    line(sketch, lid, 5, lash, 0.015f, 0.045f, 0.02f);
}

static void brow(sketch_t *sketch, float side) {
    const person_t *p = sketch->person;
    float y = p->eye_y - p->brow_y - sketch->shot->brow_lift, w = 1.35f * p->eye_w;
    point_t points[4] = {
        on_face(sketch, side * (p->eye_x - 0.9f * w), y + p->brow_tilt),
        on_face(sketch, side * (p->eye_x - 0.2f * w), y - p->brow_arch),
        on_face(sketch, side * (p->eye_x + 0.5f * w), y - p->brow_arch - 0.3f * p->brow_tilt),
        on_face(sketch, side * (p->eye_x + w), y - p->brow_tilt + 0.03f)};
    line(sketch, points, 4, p->brow, 0.8f * p->brow_width, p->brow_width, 0.3f * p->brow_width);
}

// --- Nose and mouth
// ------------------------------------------------------------------------------

static void nose(sketch_t *sketch) {
    const person_t *p = sketch->person;
    float w = p->nose_w, y = p->nose_y, shade = sketch->shot->light[0] > 0 ? -1.0f : 1.0f;
    point_t tip = on_face(sketch, 0, y);
    tip.x += 0.1f * p->face_w * sketch->shot->yaw;
    sketch->brush->glow(sketch, (point_t){tip.x + shade * 0.8f * w, y - 0.12f}, 0.5f * w, 0.16f,
                        -0.2f);
    sketch->brush->glow(sketch, (point_t){tip.x, y - 0.04f}, 0.4f * w, 0.06f, 0.14f);
    sketch->brush->glow(sketch, (point_t){tip.x, y + 0.1f}, 1.1f * w, 0.05f, -0.25f);
    float bridge = shade * 0.4f * w;
    point_t ridge[4] = {{on_face(sketch, bridge, p->eye_y + 0.02f).x, p->eye_y + 0.02f},
                        {tip.x + shade * 0.35f * w, mix(p->eye_y, y, 0.55f)},
                        {tip.x + shade * 0.75f * w, y - 0.04f},
                        {tip.x + shade * 0.8f * w, y + 0.04f}};
    crease(sketch, ridge, 4, 0.8f);
    point_t base[5] = {{tip.x - 0.95f * w, y - 0.01f},
                       {tip.x - 0.6f * w, y + 0.07f},
                       {tip.x, y + 0.085f},
                       {tip.x + 0.6f * w, y + 0.07f},
                       {tip.x + 0.95f * w, y - 0.01f}};
    crease(sketch, base, 5, 1.0f);
    color_t dark = color_times(p->skin, 0.3f);
    for (int side = -1; side <= 1; side += 2)
        disc(sketch, (point_t){tip.x + side * 0.42f * w, y + 0.055f}, 0.2f * w, 0.022f, side * 0.3f,
             dark, FORM_FLAT, INK_NONE);
}

static void lips(sketch_t *sketch, point_t m, float w, float curve, float gap) {
    const person_t *p = sketch->person;
    float lip = p->lip;
    point_t upper[7] = {{m.x - w, m.y - curve},
                        {m.x - 0.5f * w, m.y - gap - lip - 0.4f * curve},
                        {m.x, m.y - gap - 0.75f * lip},
                        {m.x + 0.5f * w, m.y - gap - lip - 0.4f * curve},
                        {m.x + w, m.y - curve},
                        {m.x + 0.5f * w, m.y + gap + 1.3f * lip},
                        {m.x - 0.5f * w, m.y + gap + 1.3f * lip}};
    fill(sketch, upper, 7, 5, p->lips, FORM_HEAD, TEXTURE_NONE, 0.6f);
    color_t inside = color_times(p->lips, 0.3f);
    if (gap > 0.02f) {
        point_t mouth[6] = {{m.x - 0.85f * w, m.y - 0.8f * curve},
                            {m.x, m.y - gap + 0.1f * curve},
                            {m.x + 0.85f * w, m.y - 0.8f * curve},
                            {m.x + 0.5f * w, m.y + 0.75f * gap},
                            {m.x, m.y + gap},
                            {m.x - 0.5f * w, m.y + 0.75f * gap}};
        fill(sketch, mouth, 6, 5, inside, FORM_FLAT, TEXTURE_NONE, 0.6f);
        point_t teeth[4] = {{m.x - 0.6f * w, m.y - 0.4f * curve - 0.3f * gap},
                            {m.x + 0.6f * w, m.y - 0.4f * curve - 0.3f * gap},
                            {m.x + 0.5f * w, m.y + 0.1f * gap},
                            {m.x - 0.5f * w, m.y + 0.1f * gap}};
        fill(sketch, teeth, 4, 5, (color_t){0.95f, 0.94f, 0.9f}, FORM_FLAT, TEXTURE_NONE, 0.3f);
        return;
    }
    point_t middle[5] = {{m.x - w, m.y - curve},
                         {m.x - 0.5f * w, m.y},
                         {m.x, m.y + 0.2f * curve},
                         {m.x + 0.5f * w, m.y},
                         {m.x + w, m.y - curve}};
    line(sketch, middle, 5, inside, 0.015f, 0.028f, 0.015f);
}

static void mouth(sketch_t *sketch) {
    const person_t *p = sketch->person;
    float w = p->mouth_w * (1 + 0.15f * sketch->shot->smile);
    float curve = 0.09f * sketch->shot->smile;
    point_t m = on_face(sketch, 0, p->mouth_y);
    lips(sketch, m, w, curve, 0.09f * sketch->shot->open);
    sketch->brush->glow(sketch, (point_t){m.x, m.y + 0.13f + 2 * p->lip}, 0.7f * w, 0.04f, -0.2f);
    if (sketch->shot->smile > 0.4f)
        for (int side = -1; side <= 1; side += 2) {
            point_t fold[3] = {{m.x + side * (w + 0.05f), m.y - 0.2f},
                               {m.x + side * (w + 0.1f), m.y - 0.08f},
                               {m.x + side * (w + 0.08f), m.y + 0.03f}};
            crease(sketch, fold, 3, 0.6f);
        }
}

// --- Beard
// ---------------------------------------------------------------------------------------

static void full_beard(sketch_t *sketch, float opacity) {
    const person_t *p = sketch->person;
    float w = p->face_w, top = p->nose_y + 0.1f;
    point_t points[14];
    int n = 0;
    for (int i = 0; i <= 8; i++) { // along the jaw, from the right ear to the left
        float t = PI * (float)i / 8, c = cosf(t), s = sinf(t);
        float x = w * (c < 0 ? -1.0f : 1.0f) * powf(fabsf(c), 2 / p->jaw) * (1 - p->taper * s * s);
        points[n++] = (point_t){1.01f * x, 0.06f + 0.98f * s * (opacity < 1 ? 0.95f : 1.06f)};
    }
    point_t m = on_face(sketch, 0, top);
    points[n++] = (point_t){-0.78f * w, 0.38f};
    points[n++] = (point_t){m.x - 0.45f * w, top + 0.03f};
    points[n++] = (point_t){m.x, top};
    points[n++] = (point_t){m.x + 0.45f * w, top + 0.03f};
    points[n++] = (point_t){0.78f * w, 0.38f};
    path_t path;
    to_pixels(sketch, points, n);
    path_smooth(&path, points, n, true, 4);
    const material_t material = {p->hair, FORM_HEAD, TEXTURE_HAIR, opacity < 1 ? 0 : 0.8f, opacity};
    sketch->brush->fill(sketch, &path, &material);
}

static void moustache(sketch_t *sketch) {
    const person_t *p = sketch->person;
    point_t m = on_face(sketch, 0, mix(p->nose_y + 0.08f, p->mouth_y, 0.55f));
    float w = 0.95f * p->mouth_w;
    point_t points[8] = {{m.x - w, m.y + 0.08f}, {m.x - 0.5f * w, m.y - 0.04f},
                         {m.x, m.y - 0.02f},     {m.x + 0.5f * w, m.y - 0.04f},
                         {m.x + w, m.y + 0.08f}, {m.x + 0.5f * w, m.y + 0.06f},
                         {m.x, m.y + 0.035f},    {m.x - 0.5f * w, m.y + 0.06f}};
    fill(sketch, points, 8, 4, p->hair, FORM_HEAD, TEXTURE_HAIR, 0.7f);
}

static void goatee(sketch_t *sketch) {
    const person_t *p = sketch->person;
    point_t m = on_face(sketch, 0, p->mouth_y + 0.12f + p->lip);
    float w = 0.5f * p->mouth_w;
    point_t points[6] = {{m.x - w, m.y + 0.06f},  {m.x, m.y},   {m.x + w, m.y + 0.06f},
                         {m.x + 0.8f * w, 1.02f}, {m.x, 1.12f}, {m.x - 0.8f * w, 1.02f}};
    fill(sketch, points, 6, 5, p->hair, FORM_HEAD, TEXTURE_HAIR, 0.7f);
}

// --- Glasses and small things
// --------------------------------------------------------------------

static void lens(sketch_t *sketch, float side) {
    const person_t *p = sketch->person;
    point_t m = on_face(sketch, side * p->eye_x, p->eye_y + 0.01f);
    float w = fminf(0.27f, 0.85f * p->eye_x), h = p->glasses == GLASSES_ROUND ? w : 0.72f * w;
    path_t path;
    if (p->glasses == GLASSES_SQUARE) {
        point_t points[8] = {{m.x - w, m.y - 0.7f * h}, {m.x - 0.8f * w, m.y - h},
                             {m.x + 0.8f * w, m.y - h}, {m.x + w, m.y - 0.7f * h},
                             {m.x + w, m.y + 0.7f * h}, {m.x + 0.8f * w, m.y + h},
                             {m.x - 0.8f * w, m.y + h}, {m.x - w, m.y + 0.7f * h}};
        to_pixels(sketch, points, 8);
        path_smooth(&path, points, 8, true, 4);
    } else {
        ellipse(sketch, &path, m, w, h, side * 0.1f);
    }
    bool sun = p->glasses == GLASSES_SUN;
    const material_t material = {sun ? (color_t){0.08f, 0.08f, 0.1f} : (color_t){0.9f, 0.95f, 1},
                                 FORM_FLAT, TEXTURE_GLASS, 0, sun ? 0.9f : 0.12f};
    sketch->brush->fill(sketch, &path, &material);
    sketch->brush->line(sketch, &path, p->frame, 0.045f, 0.045f, 0.045f);
}

static void glasses(sketch_t *sketch) {
    const person_t *p = sketch->person;
    lens(sketch, -1);
    lens(sketch, 1);
    float gap = p->eye_x - fminf(0.27f, 0.85f * p->eye_x);
    point_t bridge[3] = {on_face(sketch, -gap, p->eye_y), on_face(sketch, 0, p->eye_y - 0.04f),
                         on_face(sketch, gap, p->eye_y)};
    line(sketch, bridge, 3, p->frame, 0.04f, 0.04f, 0.04f);
    for (int side = -1; side <= 1; side += 2) {
        float out = p->eye_x + fminf(0.27f, 0.85f * p->eye_x);
        point_t arm[2] = {on_face(sketch, side * out, p->eye_y - 0.05f),
                          {side * 1.02f * p->face_w, p->eye_y - 0.02f}};
        line(sketch, arm, 2, p->frame, 0.04f, 0.04f, 0.03f);
    }
}

static void freckles(sketch_t *sketch) {
    const person_t *p = sketch->person;
    rng_t rng = rng_open(p->salt, 0, STREAM_PERSON);
    color_t color = color_mix(color_times(p->skin, 0.7f), (color_t){0.5f, 0.25f, 0.1f}, 0.3f);
    for (int i = 0; i < 18; i++) {
        float x = rng_mid(&rng, -0.75f, 0.75f) * p->face_w, y = rng_mid(&rng, 0.08f, 0.45f);
        disc(sketch, on_face(sketch, x, y), 0.012f, 0.012f, 0, color, FORM_FLAT, INK_NONE);
    }
}

void features_draw(sketch_t *sketch) {
    const person_t *p = sketch->person;
    for (int side = -1; side <= 1; side += 2) // cheeks
        sketch->brush->glow(sketch, on_face(sketch, side * 0.55f * p->face_w, 0.33f), 0.16f, 0.12f,
                            0.07f);
    if (p->freckles)
        freckles(sketch);
    if (p->beard == BEARD_FULL || p->beard == BEARD_STUBBLE)
        full_beard(sketch, p->beard == BEARD_FULL ? 1 : 0.3f);
    eye(sketch, -1);
    eye(sketch, 1);
    brow(sketch, -1);
    brow(sketch, 1);
    nose(sketch);
    mouth(sketch);
    if (p->beard == BEARD_MOUSTACHE || (p->beard == BEARD_FULL && p->parting > 0))
        moustache(sketch);
    if (p->beard == BEARD_GOATEE)
        goatee(sketch);
    if (p->glasses != GLASSES_NONE)
        glasses(sketch);
}
