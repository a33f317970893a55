// A person, a picture of that person, and the one drawing that both styles share.
//
// head_draw() lays shapes over each other, from the back to the front, and leaves to a brush how
// each is painted. Lengths are in head units: the origin between nose and eyes, x to the right, y
// down, the skull's top at -1, the chin at 1.
#ifndef INKLING_SYNTH_HEAD_IMPL_H
#define INKLING_SYNTH_HEAD_IMPL_H

#include "canvas_impl.h"
#include "random_impl.h"

typedef enum {
    HAIR_BALD,
    HAIR_BUZZ,
    HAIR_SHORT,
    HAIR_FRINGE,
    HAIR_BOB,
    HAIR_LONG,
    HAIR_CURLY,
    HAIR_BUN,
    HAIR_SPIKY,
    HAIR_CAP,
    HAIR_COUNT
} hair_t;
typedef enum {
    BEARD_NONE,
    BEARD_STUBBLE,
    BEARD_MOUSTACHE,
    BEARD_GOATEE,
    BEARD_FULL,
    BEARD_COUNT
} beard_t;
typedef enum { GLASSES_NONE, GLASSES_ROUND, GLASSES_SQUARE, GLASSES_SUN } glasses_t;
typedef enum {
    NECKLINE_ROUND,
    NECKLINE_V,
    NECKLINE_SHIRT,
    NECKLINE_HIGH,
    NECKLINE_COUNT
} neckline_t;
typedef enum { CLOTH_PLAIN, CLOTH_STRIPES, CLOTH_CHECKS, CLOTH_DOTS, CLOTH_COUNT } cloth_t;

typedef struct {
    color_t skin, hair, brow, iris, lips, cloth, cloth2, hat, frame;
    float face_w, jaw, taper;                          // half width; squareness; narrowing to chin
    float eye_x, eye_y, eye_w, eye_h, eye_tilt;        // half distance, height, half axes
    float brow_y, brow_width, brow_tilt, brow_arch;    // above the eye
    float nose_y, nose_w, mouth_y, mouth_w, lip;       // nose_y: of its tip
    float ear, neck_w, shoulder_w;                     //
    float hair_volume, hairline, parting, hair_length; //
    hair_t hair_style;
    beard_t beard;
    glasses_t glasses;
    neckline_t neckline;
    cloth_t pattern;
    bool freckles, earrings;
    uint32_t salt;
} person_t;

// What differs from one picture of a person to the next.
typedef struct {
    float x, y, scale, turn, yaw, nod;       // x, y, scale: shares of the shorter side
    float smile, open, lid, gaze, brow_lift; // expression
    float light[3], ambient;                 // unit vector towards the light; y points down
    int backdrop;                            // 0 … BACKDROP_COUNT - 1
    color_t back[3];
    float back_angle, back_size, back_x, back_y;
    float manner[6]; // 0 … 1, for the style's own use
    uint32_t salt;
} shot_t;

#define BACKDROP_COUNT 6

typedef enum { FORM_FLAT, FORM_HEAD, FORM_HAIR, FORM_NECK, FORM_TORSO } form_t;
typedef enum { TEXTURE_NONE, TEXTURE_SKIN, TEXTURE_HAIR, TEXTURE_CLOTH, TEXTURE_GLASS } texture_t;

typedef struct {
    color_t color;
    form_t form;       // what shape the light falls on
    texture_t texture; //
    float ink;         // width of the outline in units of the usual line, 0: none
    float opacity;     // 1: covers
} material_t;

typedef struct sketch sketch_t;

// Masks are set up by the caller of fill; widths in head units.
typedef struct {
    void (*backdrop)(sketch_t *sketch);
    void (*fill)(sketch_t *sketch, const path_t *path, const material_t *material);
    // A line of colour: brows, lips, frames.
    void (*line)(sketch_t *sketch, const path_t *path, color_t color, float from, float middle,
                 float to);
    // A fold or contour, which a comic inks and a photo shows as a soft shadow.
    void (*crease)(sketch_t *sketch, const path_t *path, float width);
    // Light (amount > 0) or shade on a round place; a comic leaves it out.
    void (*glow)(sketch_t *sketch, point_t middle, float rx, float ry, float amount);
} brush_t;

struct sketch {
    canvas_t *canvas;
    const person_t *person;
    const shot_t *shot;
    const brush_t *brush;
    float unit;                 // pixels of one head unit
    float cosine, sine, cx, cy; // of the head's turn, and where its origin is
};

person_t head_person(uint64_t seed, uint32_t identity);
shot_t head_shot(uint64_t seed, uint32_t identity, uint32_t style);

sketch_t head_sketch(canvas_t *canvas, const person_t *person, const shot_t *shot,
                     const brush_t *brush);
// From head units to pixels, and back.
point_t head_place(const sketch_t *sketch, float x, float y);
point_t head_unplace(const sketch_t *sketch, float px, float py);
// How much light falls on a form at that place (head units), 0 … about 1.
float head_light(const sketch_t *sketch, form_t form, point_t at);
// The colour of the cloth's print at that place.
color_t head_cloth(const sketch_t *sketch, point_t at);

void head_draw(sketch_t *sketch);
// Eyes, brows, nose, mouth, beard, glasses.
void features_draw(sketch_t *sketch);

extern const brush_t photo_brush, comic_brush;

// Exposure, contrast, saturation, tint, uneven light, blur and grain; then 8 bits. The same for
// both styles.
void finish(canvas_t *canvas, uint64_t seed, uint32_t identity, uint32_t style, uint8_t *rgb);

#endif
