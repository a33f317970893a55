// make_images DIR: image files of every format and kind that is read, as DIR/a/… and DIR/b/….
#include "make.h"

#include "base/fs.h"

#include <stdio.h>
#include <stdlib.h>

#define WIDTH  90
#define HEIGHT 70

static const struct {
    const char *name;
    int bands;
    make_t how;
} kinds[] = {
    {"plain.jpg", 3, {.suffix = ".jpg[Q=90]"}},
    {"gray.jpg", 1, {.suffix = ".jpg[Q=90]"}},
    {"progressive.jpg", 3, {.suffix = ".jpg[Q=80,interlace]"}},
    {"turned.jpg", 3, {.suffix = ".jpg[Q=90]", .orientation = 6}},
    {"cmyk.jpg", 4, {.suffix = ".jpg[Q=90]", .cmyk = true}},
    {"plain.png", 3, {.suffix = ".png"}},
    {"gray.png", 1, {.suffix = ".png"}},
    {"interlaced.png", 3, {.suffix = ".png[interlace]"}},
    {"palette.png", 3, {.suffix = ".png[palette]"}},
    {"alpha.png", 4, {.suffix = ".png"}},
    {"grayalpha.png", 2, {.suffix = ".png"}},
    {"deep.png", 3, {.suffix = ".png", .depth = MAKE_16_BITS}},
    {"turned.png", 3, {.suffix = ".png", .orientation = 3}},
    {"lossy.webp", 3, {.suffix = ".webp[Q=80]"}},
    {"lossless.webp", 3, {.suffix = ".webp[lossless]"}},
    {"alpha.webp", 4, {.suffix = ".webp"}},
    {"plain.gif", 3, {.suffix = ".gif"}},
    {"plain.tif", 3, {.suffix = ".tif"}},
    {"deflate.tif", 3, {.suffix = ".tif[compression=deflate]"}},
    {"gray.tif", 1, {.suffix = ".tif"}},
    {"turned.tif", 3, {.suffix = ".tif", .orientation = 8}},
    {"cmyk.tif", 4, {.suffix = ".tif", .cmyk = true}},
    {"profile.jpg", 3, {.suffix = ".jpg[Q=90]", .profile = "p3"}},
    {"profile.png", 3, {.suffix = ".png", .profile = "p3"}},
};

static void write_kind(const char *folder, size_t kind, int shift) {
    pixels_t scene = pixels_scene(WIDTH + 7 * shift, HEIGHT + 5 * shift, kinds[kind].bands);
    pixels_t part = pixels_crop(scene, 3 * shift, 2 * shift, WIDTH, HEIGHT);
    file_t file = make_file(part, &kinds[kind].how);
    char path[4096];
    err_t err;
    snprintf(path, sizeof path, "%s/%c/%s", folder, 'a' + shift, kinds[kind].name);
    if (fs_write(path, file.bytes, file.size, &err) != ERR_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    file_free(&file);
    pixels_free(&part);
    pixels_free(&scene);
}

int main(int argc, char **argv) {
    if (argc != 2 || prep_init(NULL) != ERR_OK)
        return 2;
    for (int shift = 0; shift < 2; shift++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%c", argv[1], 'a' + shift);
        if (fs_mkdirs(path, NULL) != ERR_OK)
            return 1;
        for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
            write_kind(argv[1], kind, shift);
    }
    prep_shutdown();
    return 0;
}
