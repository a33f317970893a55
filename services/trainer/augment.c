#include "trainer/augment.h"

#include "base/philox.h"
#include "trainer/sampler.h"

#include <string.h>

// −most … most.
static int draw_shift(uint32_t bits, int size) {
    int most = size / 12 > 1 ? size / 12 : 1;
    return (int)philox_below(bits, (uint32_t)(2 * most + 1)) - most;
}

augment_move_t augment_draw(unsigned bits, uint64_t seed, uint64_t step, uint32_t position,
                            int height, int width) {
    philox_t random = philox(sampler_key(seed, SAMPLER_AUGMENT), position, (uint32_t)step,
                             (uint32_t)(step >> 32), 0);
    augment_move_t move = {.flip = false};
    if (bits & AUGMENT_FLIP)
        move.flip = random.v[0] >> 31;
    if (bits & AUGMENT_SHIFT) {
        move.right = draw_shift(random.v[1], width);
        move.down = draw_shift(random.v[2], height);
    }
    return move;
}

static int clamp(int value, int size) {
    return value < 0 ? 0 : value >= size ? size - 1 : value;
}

void augment_apply(const augment_move_t *move, const uint8_t *from, int height, int width,
                   int channels, uint8_t *to) {
    size_t pixel = (size_t)channels, row = (size_t)width * pixel;
    if (!move->flip && !move->right && !move->down) {
        memcpy(to, from, row * (size_t)height);
        return;
    }
    for (int y = 0; y < height; y++) {
        const uint8_t *source = from + (size_t)clamp(y - move->down, height) * row;
        for (int x = 0; x < width; x++, to += pixel) {
            int at = clamp(x - move->right, width);
            memcpy(to, source + (size_t)(move->flip ? width - 1 - at : at) * pixel, pixel);
        }
    }
}
