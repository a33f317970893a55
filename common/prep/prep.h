// From the bytes of an image file to the pixels a model sees: the one preprocessing function, used
// by ingest and gateway alike. (libvips, and libjpeg-turbo for JPEG.)
//
// What the pixels are, version 1 of the recipe, in this order:
//  1. Format: by content, never by name: JPEG, PNG, WebP, GIF, TIFF. Anything else is refused by
//  the
//     name of what it looks like. Of several frames or pages the first is taken.
//  2. Limits: bytes, and width × height from the file's header, before anything is decoded.
//  3. Decoding. A file that ends early or whose data is damaged is refused. A JPEG is decoded at
//     1/8, 1/4 or 1/2 of its size (averages of its blocks) if the part that is used then still is
//     at least twice the wanted size in both directions.
//  4. 16 bits to 8: the upper eight.
//  5. An embedded ICC profile that fits the file's colours, and CMYK: to sRGB by relative
//     colorimetric intent. A profile that calls itself sRGB, does not fit the number of channels or
//     cannot be read changes nothing; CMYK without a profile is read with libvips' built-in one.
//  6. Alpha: over white, (c·a + 255·(255−a)) / 255, rounded.
//  7. channels 1: gray = 0.299 R + 0.587 G + 0.114 B of the encoded values, rounded to 8 bits. Of a
//     JPEG in YCbCr that goes through no profile it is the luma channel, which is that formula
//     before clipping. A gray file stays as it is. channels 3: a gray file gets its value three
//     times.
//  8. Resize, real-valued coordinates, triangle filter that widens with the scale when shrinking
//     (antialiased bilinear), first rows then columns, 8 more bits between the two, rounded once at
//     the end; integer arithmetic, so every machine gets the same values from the same decoded
//     pixels. stretch: the whole image to size × size. crop: the largest centred square. pad: the
//     longer side becomes size, the shorter max(1, round(size · shorter / longer)), centred (an odd
//     pixel goes right or below) on white.
//  9. EXIF orientation, on the small image (before pad's border is put round it), which is the same
//     as turning the large one first up to one unit of rounding.
// The mean is not subtracted here: pixels stay uint8, the engine computes (pixel − mean) / 255.
//
// Threads: everything here may be called from any thread at any time after prep_init. Memory for
// one image: a few rows, or the whole decoded image where its format cannot be read by rows
// (progressive JPEG, interlaced PNG, WebP, GIF, JPEG through a profile): up to 8 bytes a pixel.
#ifndef INKLING_PREP_PREP_H
#define INKLING_PREP_PREP_H

#include "base/err.h"
#include "digest/digest.h"

#include <stdint.h>

#define PREP_SIZE_MIN        8
#define PREP_SIZE_MAX        1024
#define PREP_RECIPE_VERSION  1
#define PREP_RECIPE_TEXT_MAX 512 // bytes of the text form with its NUL

// kind, word in the text form and on the command line
#define PREP_FITS(X)                                                                               \
    X(STRETCH, "stretch")                                                                          \
    X(CROP, "crop")                                                                                \
    X(PAD, "pad")

typedef enum {
#define X(kind, word) PREP_##kind,
    PREP_FITS(X)
#undef X
        PREP_FIT_COUNT
} prep_fit_t;

typedef struct {
    int size;     // height and width, PREP_SIZE_MIN … PREP_SIZE_MAX
    int channels; // 1: gray, 3: red, green, blue
    prep_fit_t fit;
    bool mean_subtract;
    float mean[4]; // per channel in pixel units, 0 … 255; zeros without mean_subtract
} prep_recipe_t;

// 96 × 96, gray, stretch, no mean.
#define PREP_RECIPE_DEFAULT ((prep_recipe_t){.size = 96, .channels = 1, .fit = PREP_STRETCH})

typedef struct {
    size_t bytes;    // of the file
    uint64_t pixels; // width × height
    int time_ms;     // per image, checked between rows and scans
} prep_limits_t;

#define PREP_LIMITS_DEFAULT                                                                        \
    ((prep_limits_t){.bytes = 64u << 20, .pixels = 100u * 1000 * 1000, .time_ms = 20000})

// What reads images other than JPEG is a library, PREFIX/lib/inkling/inkling-vips.so of the
// programs in PREFIX/bin, and is loaded by the first image that needs it; prep_init loads it
// beforehand, so that a missing one is told at the start. prep_shutdown after the last image of the
// process.
err_code_t prep_init(err_t *err);
void prep_shutdown(void);

const char *prep_fit_name(prep_fit_t fit);
// ERR_INVALID names the words that are known.
err_code_t prep_fit_parse(const char *word, prep_fit_t *fit, err_t *err);

// Ranges; ERR_INVALID names the field.
err_code_t prep_recipe_check(const prep_recipe_t *recipe, err_t *err);
// Text form, canonical (equal recipes give equal texts), one field a line:
//   prep 1 / size 96 / channels 1 / fit stretch / mean none | mean 127.5 [127.5 127.5]
void prep_recipe_write(const prep_recipe_t *recipe, char text[PREP_RECIPE_TEXT_MAX]);
// Accepts what prep_recipe_write writes and nothing else. A newer version is ERR_UNSUPPORTED.
err_code_t prep_recipe_parse(const char *text, prep_recipe_t *recipe, err_t *err);
// SHA-256 of the text form.
void prep_recipe_hash(const prep_recipe_t *recipe, char hex[DIGEST_HEX_SIZE]);
// True if both give the same uint8 pixels (the mean does not change these).
bool prep_recipe_same_pixels(const prep_recipe_t *a, const prep_recipe_t *b);
// size × size × channels.
size_t prep_recipe_bytes(const prep_recipe_t *recipe);

// pixels: prep_recipe_bytes, uint8, [row][column][channel]; undefined on failure. limits NULL: the
// defaults. ERR_INVALID: no image, or an empty file; ERR_CORRUPT: truncated or damaged;
// ERR_UNSUPPORTED: a format, or a kind of it, that is not read; ERR_TOO_LARGE; ERR_TIMEOUT;
// ERR_NO_MEMORY. The message does not name the file: the caller puts that before it.
err_code_t prep_image(const void *bytes, size_t size, const prep_recipe_t *recipe,
                      const prep_limits_t *limits, uint8_t *pixels, err_t *err);

typedef struct {
    const char *format; // "JPEG", "PNG", "WebP", "GIF", "TIFF"
    int width, height;  // as stored, before orientation
} prep_info_t;

// Reads the header only; errors as prep_image. Does not apply the limit of pixels.
err_code_t prep_probe(const void *bytes, size_t size, prep_info_t *info, err_t *err);

// Saving of width × height × channels (1 or 3) uint8 pixels, for made-up images and tests. The file
// is written as it comes: no temporary name, no fsync.
err_code_t prep_write_jpeg(const char *path, const uint8_t *pixels, int width, int height,
                           int channels, int quality, err_t *err);
err_code_t prep_write_png(const char *path, const uint8_t *pixels, int width, int height,
                          int channels, err_t *err);

#endif
