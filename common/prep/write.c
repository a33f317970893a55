#include "prep/prep.h"

#include <errno.h>
#include <vips/vips.h>

static err_code_t write_file(const char *path, const void *bytes, size_t size, err_t *err) {
    FILE *file = fopen(path, "we");
    if (!file)
        return err_set_errno(err, "cannot write %s", path);
    errno = 0;
    bool good = fwrite(bytes, 1, size, file) == size;
    good = fclose(file) == 0 && good;
    return good ? ERR_OK : err_set_errno(err, "cannot write %s", path);
}

static VipsImage *image_of(const uint8_t *pixels, int width, int height, int channels) {
    ERR_ASSERT(width > 0 && height > 0 && (channels == 1 || channels == 3));
    size_t size = (size_t)width * (size_t)height * (size_t)channels;
    return vips_image_new_from_memory(pixels, size, width, height, channels, VIPS_FORMAT_UCHAR);
}

// Takes the image; encoded is 0 if bytes hold the file.
static err_code_t finish(const char *path, VipsImage *image, int encoded, void *bytes, size_t size,
                         err_t *err) {
    err_code_t code = ERR_OK;
    if (encoded != 0)
        code = err_set(err, ERR_NO_MEMORY, "cannot encode the image for %s", path);
    else
        code = write_file(path, bytes, size, err);
    vips_error_clear();
    g_free(bytes);
    g_clear_object(&image);
    return code;
}

err_code_t prep_write_jpeg(const char *path, const uint8_t *pixels, int width, int height,
                           int channels, int quality, err_t *err) {
    VipsImage *image = image_of(pixels, width, height, channels);
    void *bytes = NULL;
    size_t size = 0;
    int encoded = image ? vips_jpegsave_buffer(image, &bytes, &size, "Q", quality, NULL) : -1;
    return finish(path, image, encoded, bytes, size, err);
}

err_code_t prep_write_png(const char *path, const uint8_t *pixels, int width, int height,
                          int channels, err_t *err) {
    VipsImage *image = image_of(pixels, width, height, channels);
    void *bytes = NULL;
    size_t size = 0;
    int encoded = image ? vips_pngsave_buffer(image, &bytes, &size, NULL) : -1;
    return finish(path, image, encoded, bytes, size, err);
}
