#include "prep/prep.h"
#include "raster_impl.h"

#include <errno.h>
#include <stdio.h>

static err_code_t write_file(const char *path, const void *bytes, size_t size, err_t *err) {
    FILE *file = fopen(path, "we");
    if (!file)
        return err_set_errno(err, "cannot write %s", path);
    errno = 0;
    bool good = fwrite(bytes, 1, size, file) == size;
    good = fclose(file) == 0 && good;
    return good ? ERR_OK : err_set_errno(err, "cannot write %s", path);
}

// quality 0: PNG.
static err_code_t write_image(const char *path, const raster_drawing_t *drawing, int quality,
                              err_t *err) {
    void *bytes = NULL;
    size_t size = 0;
    ERR_ASSERT(drawing->width > 0 && drawing->height > 0 &&
               (drawing->channels == 1 || drawing->channels == 3));
    err_code_t code = raster_encode(drawing, quality, &bytes, &size, err);
    if (code)
        return err_context(err, "%s", path), code;
    code = write_file(path, bytes, size, err);
    raster_release(bytes);
    return code;
}

err_code_t prep_write_jpeg(const char *path, const uint8_t *pixels, int width, int height,
                           int channels, int quality, err_t *err) {
    const raster_drawing_t drawing = {pixels, width, height, channels};
    return write_image(path, &drawing, quality, err);
}

err_code_t prep_write_png(const char *path, const uint8_t *pixels, int width, int height,
                          int channels, err_t *err) {
    const raster_drawing_t drawing = {pixels, width, height, channels};
    return write_image(path, &drawing, 0, err);
}
