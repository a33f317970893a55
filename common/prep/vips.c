// libvips, and all that it brings along: a library of its own (inkling-vips.so), which raster.c
// loads when the first image needs it.
#include "icc_impl.h"
#include "raster_impl.h"

#include <stdlib.h>
#include <vips/vips.h>

#define STRIP_ROWS 16

static void swallow(const char *domain, GLogLevelFlags level, const char *message, void *context) {
    (void)domain, (void)level, (void)message, (void)context;
}

static err_code_t start(err_t *err) {
    if (vips_init("inkling")) {
        err_code_t code = err_set(err, ERR_INTERNAL, "libvips: %.200s", vips_error_buffer());
        vips_error_clear();
        return code;
    }
    vips_block_untrusted_set(TRUE);
    vips_concurrency_set(1);
    vips_cache_set_max(0);
    // What a file is refused for is in our error; its oddities are nobody's log lines.
    g_log_set_handler("VIPS", G_LOG_LEVEL_MASK, swallow, NULL);
    return ERR_OK;
}

// Only the loader of the format that was seen ever gets the bytes. NULL on failure; libvips' own
// text is not used: its error buffer is shared by all threads.
static VipsImage *load(const void *bytes, size_t size, sniff_format_t format) {
    static const char *const loaders[] = {[SNIFF_JPEG] = "jpegload_buffer",
                                          [SNIFF_PNG] = "pngload_buffer",
                                          [SNIFF_WEBP] = "webpload_buffer",
                                          [SNIFF_GIF] = "gifload_buffer",
                                          [SNIFF_TIFF] = "tiffload_buffer"};
    VipsImage *image = NULL;
    VipsBlob *blob = vips_blob_new(NULL, bytes, size);
    if (vips_call(loaders[format], blob, &image, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                  VIPS_FAIL_ON_ERROR, NULL))
        vips_error_clear();
    vips_area_unref(VIPS_AREA(blob));
    return image;
}

// Replaces *image by the result of an operation on it; false (and *image as it was) if that failed.
static bool step(VipsImage **image, int failed, VipsImage *const *result) {
    if (failed) {
        vips_error_clear();
        return false;
    }
    g_object_unref(*image);
    *image = *result;
    return true;
}

static int color_bands(const VipsImage *image) {
    if (image->Type == VIPS_INTERPRETATION_CMYK)
        return 4;
    return image->Bands < 3 ? 1 : 3;
}

static bool has_profile(const VipsImage *image) {
    const void *profile;
    size_t size;
    return vips_image_get_typeof(image, VIPS_META_ICC_NAME) &&
           !vips_image_get_blob(image, VIPS_META_ICC_NAME, &profile, &size) &&
           icc_matters(profile, size, color_bands(image));
}

// Steps 4 and 5 of prep.h without alpha: 8 bits, gray or sRGB. An unusable profile changes nothing,
// so only CMYK can fail.
static bool to_srgb(VipsImage **image) {
    VipsImage *result = NULL;
    bool embedded = has_profile(*image), cmyk = (*image)->Type == VIPS_INTERPRETATION_CMYK;
    const char *fallback = cmyk ? "cmyk" : "none"; // "none": an unusable profile fails here
    if (embedded || cmyk) {
        int failed =
            vips_icc_transform(*image, &result, "srgb", "embedded", embedded, "input_profile",
                               fallback, "intent", VIPS_INTENT_RELATIVE, "depth", 8, NULL);
        if (step(image, failed, &result) || cmyk)
            return !failed;
    }
    if ((*image)->BandFmt == VIPS_FORMAT_UCHAR)
        return true;
    return step(image, vips_cast(*image, &result, VIPS_FORMAT_UCHAR, "shift", TRUE, NULL), &result);
}

// 8 and 16 bits of gray, RGB, CMYK, each with alpha or without.
static bool readable(const VipsImage *image) {
    bool format = image->BandFmt == VIPS_FORMAT_UCHAR || image->BandFmt == VIPS_FORMAT_USHORT;
    bool type = image->Type == VIPS_INTERPRETATION_B_W || image->Type == VIPS_INTERPRETATION_sRGB ||
                image->Type == VIPS_INTERPRETATION_GREY16 ||
                image->Type == VIPS_INTERPRETATION_RGB16 ||
                (image->Type == VIPS_INTERPRETATION_CMYK && image->Bands >= 4);
    return format && type && image->Coding == VIPS_CODING_NONE;
}

// Splits alpha off, brings colours and alpha to 8 bits, joins them again.
static bool normalise(VipsImage **image) {
    int colors = color_bands(*image);
    VipsImage *alpha = NULL, *result = NULL;
    bool good = true;
    if ((*image)->Bands > colors) {
        if (vips_extract_band(*image, &alpha, colors, NULL))
            return false;
        good = step(image, vips_extract_band(*image, &result, 0, "n", colors, NULL), &result);
        if (good && alpha->BandFmt != VIPS_FORMAT_UCHAR)
            good = step(&alpha, vips_cast(alpha, &result, VIPS_FORMAT_UCHAR, "shift", TRUE, NULL),
                        &result);
    }
    good = good && to_srgb(image);
    if (good && alpha)
        good = step(image, vips_bandjoin2(*image, alpha, &result, NULL), &result);
    if (alpha)
        g_object_unref(alpha);
    return good;
}

static err_code_t push_rows(VipsImage *image, canvas_t *canvas, const guard_t *guard,
                            const char *name, err_t *err) {
    VipsRegion *region = vips_region_new(image);
    err_code_t code = ERR_OK;
    for (int y = 0; y < image->Ysize && !code; y += STRIP_ROWS) {
        VipsRect strip = {0, y, image->Xsize, VIPS_MIN(STRIP_ROWS, image->Ysize - y)};
        if (guard_late(guard)) {
            code = guard_timeout(guard, err);
        } else if (vips_region_prepare(region, &strip)) {
            vips_error_clear();
            code = err_set(err, ERR_CORRUPT, "truncated or damaged %s", name);
        } else {
            for (int i = 0; i < strip.height; i++)
                canvas_row(canvas, VIPS_REGION_ADDR(region, 0, y + i));
        }
    }
    g_object_unref(region);
    return code;
}

typedef struct {
    double width, height;
    int orientation;
    const char *name;
} picture_t;

static err_code_t draw(VipsImage *image, const picture_t *picture, const prep_recipe_t *recipe,
                       const guard_t *guard, uint8_t *pixels, err_t *err) {
    canvas_t *canvas = NULL;
    err_code_t code =
        canvas_new(recipe, picture->width, picture->height, image->Bands, &canvas, err);
    if (!code)
        code = push_rows(image, canvas, guard, picture->name, err);
    if (!code)
        canvas_result(canvas, picture->orientation, pixels);
    canvas_destroy(&canvas);
    return code;
}

static err_code_t decode(const void *bytes, size_t size, sniff_format_t format,
                         const prep_recipe_t *recipe, const guard_t *guard, uint8_t *pixels,
                         err_t *err) {
    const char *name = sniff_name(format);
    VipsImage *image = load(bytes, size, format);
    if (!image)
        return err_set(err, ERR_CORRUPT, "truncated or damaged %s: its header cannot be read",
                       name);
    picture_t picture = {image->Xsize, image->Ysize, vips_image_get_orientation(image), name};
    err_code_t code = guard_size(guard, image->Xsize, image->Ysize, err);
    if (code) {
        // refused by its header
    } else if (!readable(image)) {
        err_set(err, ERR_UNSUPPORTED, "a %s with pixels of the kind %s, %s", name,
                vips_enum_nick(VIPS_TYPE_INTERPRETATION, image->Type),
                vips_enum_nick(VIPS_TYPE_BAND_FORMAT, image->BandFmt));
        code = err_remedy(err, "save it as gray, RGB or CMYK with 8 or 16 bits");
    } else if (!normalise(&image)) {
        code = err_set(err, ERR_CORRUPT, "truncated or damaged %s", name);
    } else {
        code = draw(image, &picture, recipe, guard, pixels, err);
    }
    g_object_unref(image);
    return code;
}

static err_code_t probe(const void *bytes, size_t size, sniff_format_t format, int *width,
                        int *height, err_t *err) {
    VipsImage *image = load(bytes, size, format);
    if (!image)
        return err_set(err, ERR_CORRUPT, "truncated or damaged %s: its header cannot be read",
                       sniff_name(format));
    *width = image->Xsize;
    *height = image->Ysize;
    g_object_unref(image);
    return ERR_OK;
}

static err_code_t through_profile(const raster_pixels_t *raster, const prep_recipe_t *recipe,
                                  const guard_t *guard, uint8_t *pixels, err_t *err) {
    size_t size = (size_t)raster->columns * (size_t)raster->rows * (size_t)raster->bands;
    VipsImage *memory = vips_image_new_from_memory(raster->data, size, raster->columns,
                                                   raster->rows, raster->bands, VIPS_FORMAT_UCHAR);
    VipsImage *image = NULL;
    VipsInterpretation type = raster->bands == 1   ? VIPS_INTERPRETATION_B_W
                              : raster->bands == 3 ? VIPS_INTERPRETATION_sRGB
                                                   : VIPS_INTERPRETATION_CMYK;
    if (!memory || vips_copy(memory, &image, "interpretation", type, NULL)) {
        vips_error_clear();
        g_clear_object(&memory);
        return err_set(err, ERR_NO_MEMORY, "no memory for an image");
    }
    if (raster->profile_size)
        vips_image_set_blob_copy(image, VIPS_META_ICC_NAME, raster->profile, raster->profile_size);
    picture_t picture = {raster->width, raster->height, raster->orientation, "JPEG"};
    err_code_t code = to_srgb(&image)
                          ? draw(image, &picture, recipe, guard, pixels, err)
                          : err_set(err, ERR_CORRUPT, "the colors of the image cannot be read");
    g_object_unref(image);
    g_object_unref(memory);
    return code;
}

// --- Writing
// --------------------------------------------------------------------------------------

static VipsImage *image_of(const uint8_t *pixels, int width, int height, int channels) {
    ERR_ASSERT(width > 0 && height > 0 && (channels == 1 || channels == 3));
    size_t size = (size_t)width * (size_t)height * (size_t)channels;
    return vips_image_new_from_memory(pixels, size, width, height, channels, VIPS_FORMAT_UCHAR);
}

static err_code_t encode(const raster_drawing_t *drawing, int quality, void **bytes, size_t *size,
                         err_t *err) {
    VipsImage *image =
        image_of(drawing->pixels, drawing->width, drawing->height, drawing->channels);
    int failed = !image    ? -1
                 : quality ? vips_jpegsave_buffer(image, bytes, size, "Q", quality, NULL)
                           : vips_pngsave_buffer(image, bytes, size, NULL);
    vips_error_clear();
    g_clear_object(&image);
    return failed ? err_set(err, ERR_NO_MEMORY, "cannot encode an image") : ERR_OK;
}

static void release(void *bytes) {
    g_free(bytes);
}

const raster_ops_t raster_ops = {.start = start,
                                 .end = vips_shutdown,
                                 .image = decode,
                                 .probe = probe,
                                 .through_profile = through_profile,
                                 .encode = encode,
                                 .release = release};
