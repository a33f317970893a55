// What a camera or a scanner does to a picture, drawn from the same distributions for both styles.
//
// Brightness, contrast and saturation are brought to targets that do not depend on the style, so
// that neither these nor their means over a part of the picture give the style away.
#include "head_impl.h"

#include <math.h>

typedef struct {
    float mean, contrast, saturation, blur, grain;
    float fall_x, fall_y; // uneven light: a share per picture width and height
    color_t tint;
} grade_t;

static grade_t any_grade(rng_t *rng) {
    grade_t grade = {.mean = rng_in(rng, 0.48f, 0.62f), .contrast = rng_in(rng, 0.22f, 0.3f)};
    grade.saturation = rng_chance(rng, 0.12f) ? 0 : rng_in(rng, 0.04f, 0.2f);
    grade.blur = rng_in(rng, 0.2f, 0.6f);
    grade.grain = rng_in(rng, 0.003f, 0.012f);
    grade.fall_x = rng_in(rng, -0.2f, 0.2f);
    grade.fall_y = rng_in(rng, -0.2f, 0.2f);
    grade.tint = (color_t){rng_in(rng, -0.05f, 0.05f), rng_in(rng, -0.02f, 0.02f),
                           rng_in(rng, -0.06f, 0.06f)};
    return grade;
}

// Sums over the picture in a fixed order, in double.
static void measure(const canvas_t *canvas, float *mean, float *deviation, float *saturation) {
    size_t count = (size_t)canvas->width * (size_t)canvas->height;
    double sum = 0, square = 0, chroma = 0;
    for (size_t i = 0; i < count; i++) {
        color_t c = canvas->pixels[i];
        float y = color_luma(c);
        sum += y;
        square += (double)y * y;
        chroma += fabsf(c.r - y) + fabsf(c.b - y);
    }
    double average = sum / (double)count, variance = square / (double)count - average * average;
    *mean = (float)average;
    *deviation = sqrtf((float)fmax(variance, 1e-8));
    *saturation = (float)(chroma / (double)count) / 2;
}

static void uneven_light(canvas_t *canvas, const grade_t *grade) {
    for (int y = 0; y < canvas->height; y++)
        for (int x = 0; x < canvas->width; x++) {
            float u = (float)x / (float)canvas->width - 0.5f;
            float v = (float)y / (float)canvas->height - 0.5f;
            color_t *c = &canvas->pixels[(size_t)y * (size_t)canvas->width + (size_t)x];
            *c = color_times(*c, 1 + grade->fall_x * u + grade->fall_y * v);
        }
}

// Bright tones are compressed, as film does it, so that little is clipped to white.
static float shoulder(float x) {
    const float from = 0.75f, room = 1 - from;
    return x <= from ? fmaxf(x, 0) : from + room * (1 - expf((from - x) / room));
}

static void apply(canvas_t *canvas, const grade_t *grade, bool tint) {
    float mean, deviation, saturation;
    measure(canvas, &mean, &deviation, &saturation);
    // A gray picture is not made colourful by force, nor a flat one contrasty.
    float gain = fminf(grade->contrast / deviation, 3);
    float color = saturation > 1e-3f ? fminf(grade->saturation / saturation, 3) : 0;
    size_t count = (size_t)canvas->width * (size_t)canvas->height;
    for (size_t i = 0; i < count; i++) {
        color_t *c = &canvas->pixels[i];
        float y = color_luma(*c), to = grade->mean + gain * (y - mean), t = tint ? 1 : 0;
        c->r = shoulder(to + color * (c->r - y) + t * grade->tint.r);
        c->g = shoulder(to + color * (c->g - y) + t * grade->tint.g);
        c->b = shoulder(to + color * (c->b - y) + t * grade->tint.b);
    }
}

// Four bytes of one number added: close to a normal one, deviation 1.
static float normal_of(uint32_t bits) {
    uint32_t sum = (bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24);
    return ((float)sum - 510) / 147.8f;
}

static uint8_t to_byte(float value) {
    return (uint8_t)(clamp01(value) * 255 + 0.5f);
}

void finish(canvas_t *canvas, uint64_t seed, uint32_t identity, uint32_t style, uint8_t *rgb) {
    rng_t rng = rng_open(seed, identity, STREAM_GRADE + style);
    grade_t grade = any_grade(&rng);
    canvas_blur(canvas, grade.blur * (float)canvas->width / 288);
    uneven_light(canvas, &grade);
    apply(canvas, &grade, true);
    apply(canvas, &grade, false); // the shoulder has moved the figures
    size_t count = (size_t)canvas->width * (size_t)canvas->height;
    uint32_t salt = rng_bits(&rng);
    for (size_t i = 0; i < count; i++) {
        philox_t bits = philox(seed, (uint32_t)i, identity, STREAM_GRAIN + style, salt);
        color_t c = canvas->pixels[i];
        float common = grade.grain * normal_of(bits.v[3]), own = 0.5f * grade.grain;
        rgb[3 * i] = to_byte(c.r + common + own * normal_of(bits.v[0]));
        rgb[3 * i + 1] = to_byte(c.g + common + own * normal_of(bits.v[1]));
        rgb[3 * i + 2] = to_byte(c.b + common + own * normal_of(bits.v[2]));
    }
}
