// Image files of every format, colour and depth that is read.
#include "fuzz.h"
#include "make.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const prep_limits_t limits = {.bytes = 1 << 20, .pixels = 1 << 20, .time_ms = 2000};
    prep_recipe_t recipe = PREP_RECIPE_DEFAULT;
    recipe.size = 16;
    recipe.channels = size % 2 ? 1 : 3;
    uint8_t pixels[16 * 16 * 3];
    prep_info_t info;
    err_t err;
    prep_probe(data, size, &info, NULL);
    if (prep_image(data, size, &recipe, &limits, pixels, &err) != ERR_OK)
        ERR_ASSERT(err.code != ERR_OK && err.message[0]);
    return 0;
}

static void seed(int bands, make_t how) {
    pixels_t pixels = pixels_scene(24, 20, bands);
    file_t file = make_file(pixels, &how);
    fuzz_seed(file.bytes, file.size);
    file_free(&file);
    pixels_free(&pixels);
}

void fuzz_seeds(void) {
    static const char *const suffixes[] = {".jpg[Q=80]",
                                           ".jpg[interlace=true]",
                                           ".png",
                                           ".png[interlace=true]",
                                           ".png[palette=true]",
                                           ".webp",
                                           ".webp[lossless=true]",
                                           ".gif",
                                           ".tif",
                                           ".tif[compression=lzw]",
                                           ".tif[compression=jpeg]",
                                           ".tif[tile=true,compression=deflate]"};
    err_t err;
    if (prep_init(&err) != ERR_OK)
        err_abort(__FILE__, __LINE__, err.message);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        seed(3, (make_t){.suffix = suffixes[i]});
        seed(1, (make_t){.suffix = suffixes[i], .orientation = 6});
    }
    seed(4, (make_t){.suffix = ".png"});
    seed(4, (make_t){.suffix = ".webp"});
    seed(3, (make_t){.suffix = ".png", .depth = MAKE_16_BITS});
    seed(1, (make_t){.suffix = ".tif", .depth = MAKE_16_BITS});
    seed(4, (make_t){.suffix = ".jpg", .cmyk = true});
    seed(4, (make_t){.suffix = ".tif", .cmyk = true});
    seed(3, (make_t){.suffix = ".jpg", .profile = "p3", .orientation = 3});
    seed(3, (make_t){.suffix = ".webp", .profile = "p3"});
}

void fuzz_end(void) {
    prep_shutdown();
}
