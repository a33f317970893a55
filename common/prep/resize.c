#include "resize_impl.h"

#include <math.h>
#include <stdlib.h>

#define WEIGHT_BITS  14
#define BETWEEN_BITS 8 // fraction bits of the values between the passes

typedef struct {
    int first, count; // source pixels
    size_t weights;   // index of the first one's weight
} window_t;

typedef struct {
    window_t *windows;
    uint16_t *weights;
    int count;
} filter_t;

struct resize {
    filter_t x, y;
    int channels, next_row, lowest; // lowest: first output row that still wants source rows
    uint16_t *line;                 // one source row after the pass over columns
    uint32_t *sums;                 // [y.count][x.count][channels]
};

static void filter_release(filter_t *filter) {
    free(filter->windows);
    free(filter->weights);
}

static double triangle(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

// Rounds so that the weights add up to exactly 1: each is the step of the rounded running sum.
static void fill_weights(const window_t *window, double centre, double reach, uint16_t *weights) {
    double total = 0, sum = 0;
    for (int i = 0; i < window->count; i++)
        total += triangle((window->first + i + 0.5 - centre) / reach);
    int before = 0;
    for (int i = 0; i < window->count; i++) {
        sum += triangle((window->first + i + 0.5 - centre) / reach);
        int until = i == window->count - 1 ? 1 << WEIGHT_BITS
                                           : (int)floor(sum / total * (1 << WEIGHT_BITS) + 0.5);
        weights[window->weights + (size_t)i] = (uint16_t)(until - before);
        before = until;
    }
}

static bool filter_init(filter_t *filter, resize_axis_t axis) {
    double scale = (axis.end - axis.begin) / axis.count;
    double reach = scale > 1 ? scale : 1;
    size_t most = (size_t)ceil(2 * reach) + 2;
    filter->count = axis.count;
    filter->windows = calloc((size_t)axis.count, sizeof *filter->windows);
    filter->weights = calloc((size_t)axis.count * most, sizeof *filter->weights);
    if (!filter->windows || !filter->weights)
        return false;
    for (int i = 0; i < axis.count; i++) {
        window_t *window = &filter->windows[i];
        double centre = axis.begin + (i + 0.5) * scale;
        double low = fmax(floor(centre - reach), floor(axis.begin));
        double high = fmin(ceil(centre + reach), ceil(axis.end));
        window->first = (int)low;
        window->count = (int)(high - low);
        window->weights = (size_t)i * most;
        fill_weights(window, centre, reach, filter->weights);
    }
    return true;
}

err_code_t resize_new(resize_axis_t x, resize_axis_t y, int channels, resize_t **out, err_t *err) {
    resize_t *resize = mem_zero(1, sizeof *resize);
    size_t line = (size_t)x.count * (size_t)channels;
    resize->channels = channels;
    resize->line = calloc(line, sizeof *resize->line);
    resize->sums = calloc(line * (size_t)y.count, sizeof *resize->sums);
    bool good = filter_init(&resize->x, x) && filter_init(&resize->y, y);
    if (!good || !resize->line || !resize->sums) {
        resize_destroy(&resize);
        return err_set(err, ERR_NO_MEMORY, "no memory to resize an image");
    }
    *out = resize;
    return ERR_OK;
}

void resize_destroy(resize_t **self) {
    if (!*self)
        return;
    filter_release(&(*self)->x);
    filter_release(&(*self)->y);
    free((*self)->line);
    free((*self)->sums);
    free(*self);
    *self = NULL;
}

bool resize_wants(const resize_t *resize) {
    return resize->lowest < resize->y.count &&
           resize->y.windows[resize->lowest].first <= resize->next_row;
}

static void pass_columns(resize_t *resize, const uint8_t *row) {
    int channels = resize->channels;
    for (int x = 0; x < resize->x.count; x++) {
        const window_t *window = &resize->x.windows[x];
        const uint16_t *weights = resize->x.weights + window->weights;
        for (int c = 0; c < channels; c++) {
            const uint8_t *from = row + (size_t)window->first * (size_t)channels + c;
            uint32_t sum = 1u << (WEIGHT_BITS - BETWEEN_BITS - 1);
            for (int i = 0; i < window->count; i++)
                sum += (uint32_t)weights[i] * from[(size_t)i * (size_t)channels];
            resize->line[x * channels + c] = (uint16_t)(sum >> (WEIGHT_BITS - BETWEEN_BITS));
        }
    }
}

void resize_row(resize_t *resize, const uint8_t *row) {
    int at = resize->next_row;
    if (resize_wants(resize)) {
        size_t line = (size_t)resize->x.count * (size_t)resize->channels;
        pass_columns(resize, row);
        for (int y = resize->lowest; y < resize->y.count; y++) {
            const window_t *window = &resize->y.windows[y];
            if (window->first > at)
                break;
            uint32_t *sums = resize->sums + line * (size_t)y;
            uint32_t weight = resize->y.weights[window->weights + (size_t)(at - window->first)];
            for (size_t i = 0; i < line; i++)
                sums[i] += weight * resize->line[i];
        }
    }
    resize->next_row = ++at;
    while (resize->lowest < resize->y.count &&
           resize->y.windows[resize->lowest].first + resize->y.windows[resize->lowest].count <= at)
        resize->lowest++;
}

void resize_result(const resize_t *resize, uint8_t *out) {
    size_t values = (size_t)resize->x.count * (size_t)resize->channels * (size_t)resize->y.count;
    for (size_t i = 0; i < values; i++)
        out[i] = (uint8_t)((resize->sums[i] + (1u << (WEIGHT_BITS + BETWEEN_BITS - 1))) >>
                           (WEIGHT_BITS + BETWEEN_BITS));
}
