#include "canvas_impl.h"
#include "resize_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WHITE 255

struct canvas {
    const prep_recipe_t *recipe;
    int columns, bands;
    int width, height; // of the resized image, as stored: before orientation and pad
    resize_t *resize;
    uint8_t *line;  // one source row in the recipe's channels
    uint8_t *small; // height × width × channels
};

// pad: the longer side becomes size; other fits fill size × size.
static void content_size(canvas_t *canvas, double width, double height) {
    int size = canvas->recipe->size;
    canvas->width = canvas->height = size;
    if (canvas->recipe->fit != PREP_PAD)
        return;
    double ratio = width < height ? width / height : height / width;
    int shorter = (int)fmax(1, floor(size * ratio + 0.5));
    if (width < height)
        canvas->width = shorter;
    else
        canvas->height = shorter;
}

err_code_t canvas_new(const prep_recipe_t *recipe, double width, double height, int bands,
                      canvas_t **out, err_t *err) {
    canvas_t *canvas = mem_zero(1, sizeof *canvas);
    canvas->recipe = recipe;
    canvas->columns = (int)ceil(width);
    canvas->bands = bands;
    content_size(canvas, width, height);
    double side = fmin(width, height);
    bool crop = recipe->fit == PREP_CROP;
    double left = crop ? (width - side) / 2 : 0, top = crop ? (height - side) / 2 : 0;
    resize_axis_t x = {left, width - left, canvas->width}, y = {top, height - top, canvas->height};
    size_t channels = (size_t)recipe->channels;
    canvas->line = malloc((size_t)canvas->columns * channels);
    canvas->small = malloc((size_t)canvas->width * (size_t)canvas->height * channels);
    err_code_t code = canvas->line && canvas->small
                          ? resize_new(x, y, recipe->channels, &canvas->resize, err)
                          : err_set(err, ERR_NO_MEMORY, "no memory for an image");
    if (code) {
        canvas_destroy(&canvas);
        return code;
    }
    *out = canvas;
    return ERR_OK;
}

void canvas_destroy(canvas_t **self) {
    if (!*self)
        return;
    resize_destroy(&(*self)->resize);
    free((*self)->line);
    free((*self)->small);
    free(*self);
    *self = NULL;
}

static inline uint8_t over_white(uint32_t value, uint32_t alpha) {
    return (uint8_t)((value * alpha + WHITE * (255 - alpha) + 127) / 255);
}

// 0.299, 0.587 and 0.114 in units of 1 / 65536, adding up to 65536: libjpeg's numbers.
static inline uint8_t gray_of(uint32_t r, uint32_t g, uint32_t b) {
    return (uint8_t)((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
}

static void convert_row(const canvas_t *canvas, const uint8_t *row, uint8_t *line) {
    int bands = canvas->bands, colors = bands < 3 ? 1 : 3;
    bool alpha = bands == 2 || bands == 4, to_gray = canvas->recipe->channels == 1;
    for (int x = 0; x < canvas->columns; x++, row += bands) {
        uint8_t rgb[3];
        for (int c = 0; c < 3; c++) {
            uint8_t value = row[colors == 1 ? 0 : c];
            rgb[c] = alpha ? over_white(value, row[bands - 1]) : value;
        }
        if (!to_gray)
            memcpy(line + 3 * (size_t)x, rgb, 3);
        else
            line[x] = colors == 1 ? rgb[0] : gray_of(rgb[0], rgb[1], rgb[2]);
    }
}

void canvas_row(canvas_t *canvas, const uint8_t *row) {
    if (resize_wants(canvas->resize) && canvas->bands != canvas->recipe->channels) {
        convert_row(canvas, row, canvas->line);
        row = canvas->line;
    }
    resize_row(canvas->resize, row);
}

// Where pixel (x, y) of the upright image is found in the stored one of w × h pixels.
static size_t stored_at(int orientation, int x, int y, int w, int h) {
    int sx = x, sy = y;
    if (orientation >= 5) // rows and columns change places
        sx = y, sy = x;
    if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        sx = w - 1 - sx;
    if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
        sy = h - 1 - sy;
    return (size_t)sy * (size_t)w + (size_t)sx;
}

void canvas_result(canvas_t *canvas, int orientation, uint8_t *pixels) {
    int size = canvas->recipe->size, w = canvas->width, h = canvas->height;
    size_t channels = (size_t)canvas->recipe->channels;
    int width = orientation >= 5 ? h : w, height = orientation >= 5 ? w : h;
    int left = (size - width) / 2, top = (size - height) / 2;
    resize_result(canvas->resize, canvas->small);
    if (width != size || height != size)
        memset(pixels, WHITE, (size_t)size * (size_t)size * channels);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            size_t to = (size_t)(y + top) * (size_t)size + (size_t)(x + left);
            memcpy(pixels + to * channels,
                   canvas->small + stored_at(orientation, x, y, w, h) * channels, channels);
        }
}

guard_t guard_start(const prep_limits_t *limits) {
    return (guard_t){limits, clock_mono_ms() + limits->time_ms};
}

err_code_t guard_bytes(const guard_t *guard, size_t size, err_t *err) {
    if (size <= guard->limits->bytes)
        return ERR_OK;
    return err_set(err, ERR_TOO_LARGE, "the image file has %zu bytes; the limit is %zu", size,
                   guard->limits->bytes);
}

err_code_t guard_size(const guard_t *guard, int width, int height, err_t *err) {
    if ((uint64_t)width * (uint64_t)height <= guard->limits->pixels)
        return ERR_OK;
    return err_set(err, ERR_TOO_LARGE, "the image has %d x %d pixels; the limit is %llu in all",
                   width, height, (unsigned long long)guard->limits->pixels);
}

bool guard_late(const guard_t *guard) {
    return clock_mono_ms() > guard->end_ms;
}

err_code_t guard_timeout(const guard_t *guard, err_t *err) {
    return err_set(err, ERR_TIMEOUT, "decoding the image took longer than %d ms",
                   guard->limits->time_ms);
}
