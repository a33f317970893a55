#include "synth.h"

#include "head_impl.h"

void synth_draw(uint64_t seed, uint32_t identity, synth_style_t style, int width, int height,
                uint8_t *rgb) {
    ERR_ASSERT(width >= SYNTH_SIDE_MIN && width <= SYNTH_SIDE_MAX);
    ERR_ASSERT(height >= SYNTH_SIDE_MIN && height <= SYNTH_SIDE_MAX);
    const person_t person = head_person(seed, identity);
    const shot_t shot = head_shot(seed, identity, (uint32_t)style);
    canvas_t canvas;
    canvas_open(&canvas, width, height);
    sketch_t sketch =
        head_sketch(&canvas, &person, &shot, style == SYNTH_PHOTO ? &photo_brush : &comic_brush);
    head_draw(&sketch);
    finish(&canvas, seed, identity, (uint32_t)style, rgb);
    canvas_close(&canvas);
}
