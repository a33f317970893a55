#include "oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double value_at(pixels_t p, int x, int y, int channels, int c) {
    const uint8_t *from = p.data + (y * p.width + x) * p.bands;
    if (p.bands == 1)
        return from[0];
    if (channels == 3)
        return from[c];
    return floor(0.299 * from[0] + 0.587 * from[1] + 0.114 * from[2] + 0.5);
}

typedef struct {
    double begin, end;
    int count;
} span_t;

// Weight of source pixel i for output pixel j of a span.
static double weight(span_t span, int j, int i) {
    double scale = (span.end - span.begin) / span.count, reach = fmax(scale, 1);
    double distance = fabs(i + 0.5 - (span.begin + (j + 0.5) * scale)) / reach;
    bool inside = i >= floor(span.begin) && i < ceil(span.end);
    return inside && distance < 1 ? 1 - distance : 0;
}

static double resample(pixels_t p, span_t across, span_t down, int x, int y, int channels, int c) {
    double sum = 0, total = 0;
    for (int sy = 0; sy < p.height; sy++) {
        double wy = weight(down, y, sy);
        for (int sx = 0; wy > 0 && sx < p.width; sx++) {
            double w = wy * weight(across, x, sx);
            total += w;
            sum += w > 0 ? w * value_at(p, sx, sy, channels, c) : 0;
        }
    }
    return sum / total;
}

uint8_t *oracle_prep(pixels_t p, const prep_recipe_t *recipe) {
    int size = recipe->size, channels = recipe->channels;
    double side = fmin(p.width, p.height), most = fmax(p.width, p.height);
    span_t across = {0, p.width, size}, down = {0, p.height, size};
    if (recipe->fit == PREP_CROP) {
        across = (span_t){(p.width - side) / 2, (p.width + side) / 2, size};
        down = (span_t){(p.height - side) / 2, (p.height + side) / 2, size};
    } else if (recipe->fit == PREP_PAD) {
        across.count = (int)fmax(1, floor(size * p.width / most + 0.5));
        down.count = (int)fmax(1, floor(size * p.height / most + 0.5));
    }
    uint8_t *out = malloc(prep_recipe_bytes(recipe));
    memset(out, 255, prep_recipe_bytes(recipe));
    int left = (size - across.count) / 2, top = (size - down.count) / 2;
    for (int y = 0; y < down.count; y++)
        for (int x = 0; x < across.count; x++)
            for (int c = 0; c < channels; c++)
                out[((y + top) * size + x + left) * channels + c] =
                    (uint8_t)floor(resample(p, across, down, x, y, channels, c) + 0.5);
    return out;
}
