#include "raster_impl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "/lib/inkling/inkling-vips.so" // beside the folder of the program

static struct {
    pthread_mutex_t lock;
    const raster_ops_t *ops; // once it is loaded
    bool failed;
    err_t err;
} library = {.lock = PTHREAD_MUTEX_INITIALIZER};

// PREFIX/lib/inkling/inkling-vips.so of a program PREFIX/bin/NAME.
static char *library_path(void) {
    char path[4096];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    path[size > 0 ? size : 0] = 0;
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(path, '/');
        if (slash)
            *slash = 0;
    }
    return mem_format("%s" LIBRARY, path);
}

static err_code_t load(err_t *err) {
    char *path = library_path();
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const raster_ops_t *ops = handle ? dlsym(handle, "raster_ops") : NULL;
    err_code_t code = ERR_OK;
    if (!ops) {
        code = err_set(err, ERR_UNSUPPORTED,
                       "what reads images other than JPEG cannot be loaded: %s", dlerror());
        err_remedy(err, "%s belongs to the programs: build or install all of them", path);
    } else {
        code = ops->start(err);
    }
    free(path);
    if (code == ERR_OK)
        library.ops = ops;
    return code;
}

// The library, or NULL: what hindered it once hinders it always.
static const raster_ops_t *get(err_t *err) {
    pthread_mutex_lock(&library.lock);
    if (!library.ops && !library.failed)
        library.failed = load(&library.err) != ERR_OK;
    if (library.failed && err)
        *err = library.err;
    const raster_ops_t *loaded = library.ops;
    pthread_mutex_unlock(&library.lock);
    return loaded;
}

err_code_t prep_init(err_t *err) {
    return get(err) ? ERR_OK : library.err.code;
}

void prep_shutdown(void) {
    pthread_mutex_lock(&library.lock);
    if (library.ops)
        library.ops->end();
    pthread_mutex_unlock(&library.lock);
}

err_code_t raster_image(const void *bytes, size_t size, sniff_format_t format,
                        const prep_recipe_t *recipe, const guard_t *guard, uint8_t *pixels,
                        err_t *err) {
    const raster_ops_t *loaded = get(err);
    return loaded ? loaded->image(bytes, size, format, recipe, guard, pixels, err)
                  : library.err.code;
}

err_code_t raster_probe(const void *bytes, size_t size, sniff_format_t format, int *width,
                        int *height, err_t *err) {
    const raster_ops_t *loaded = get(err);
    return loaded ? loaded->probe(bytes, size, format, width, height, err) : library.err.code;
}

err_code_t raster_through_profile(const raster_pixels_t *raster, const prep_recipe_t *recipe,
                                  const guard_t *guard, uint8_t *pixels, err_t *err) {
    const raster_ops_t *loaded = get(err);
    return loaded ? loaded->through_profile(raster, recipe, guard, pixels, err) : library.err.code;
}

err_code_t raster_encode(const raster_drawing_t *drawing, int quality, void **bytes, size_t *size,
                         err_t *err) {
    const raster_ops_t *loaded = get(err);
    return loaded ? loaded->encode(drawing, quality, bytes, size, err) : library.err.code;
}

void raster_release(void *bytes) {
    if (library.ops)
        library.ops->release(bytes);
}
