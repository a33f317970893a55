#include "prep/prep.h"
#include "jpeg_impl.h"
#include "raster_impl.h"
#include "sniff_impl.h"

err_code_t prep_image(const void *bytes, size_t size, const prep_recipe_t *recipe,
                      const prep_limits_t *limits, uint8_t *pixels, err_t *err) {
    const prep_limits_t defaults = PREP_LIMITS_DEFAULT;
    guard_t guard = guard_start(limits ? limits : &defaults);
    sniff_format_t format;
    err_code_t code = prep_recipe_check(recipe, err);
    if (!code)
        code = guard_bytes(&guard, size, err);
    if (!code)
        code = sniff_format(bytes, size, &format, err);
    if (!code)
        code = sniff_complete(bytes, size, format, err);
    if (code)
        return code;
    if (format == SNIFF_JPEG)
        return jpeg_image(bytes, size, recipe, &guard, pixels, err);
    return raster_image(bytes, size, format, recipe, &guard, pixels, err);
}

err_code_t prep_probe(const void *bytes, size_t size, prep_info_t *info, err_t *err) {
    sniff_format_t format;
    err_code_t code = sniff_format(bytes, size, &format, err);
    if (code)
        return code;
    info->format = sniff_name(format);
    if (format == SNIFF_JPEG)
        return jpeg_probe(bytes, size, &info->width, &info->height, err);
    return raster_probe(bytes, size, format, &info->width, &info->height, err);
}
