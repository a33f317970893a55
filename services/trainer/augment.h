// Variations of training images: a pure function of seed, step and place in the global batch.
//
//   flip   left and right exchanged, with probability 1/2
//   shift  moved by up to size / 12 pixels (at least 1) in each direction, every distance alike;
//          what comes in is the border's pixel, repeated
#ifndef INKLING_TRAINER_AUGMENT_H
#define INKLING_TRAINER_AUGMENT_H

#include "training/options.h"

#include <stdint.h>

typedef struct {
    bool flip;
    int right, down; // pixels the image moves
} augment_move_t;

// bits: AUGMENT_…. step counts from 0 over the whole job, position is the sample's in the batch.
augment_move_t augment_draw(unsigned bits, uint64_t seed, uint64_t step, uint32_t position,
                            int height, int width);

// to must not overlap from; both height × width × channels, HWC. First flipped, then moved.
void augment_apply(const augment_move_t *move, const uint8_t *from, int height, int width,
                   int channels, uint8_t *to);

#endif
