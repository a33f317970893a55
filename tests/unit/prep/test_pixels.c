// Are the pixels what prep.h says: sizes, fits, orientation, equal for every format and thread?
#include "make.h"
#include "oracle.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const lossless[] = {".png", ".tif", ".tif[compression=deflate,tile]",
                                       ".webp[lossless]", ".gif"};
#define LOSSLESS_COUNT (sizeof lossless / sizeof *lossless)

static void formats_agree(void **state) {
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        prep_recipe_t recipe = {.size = 24, .channels = channels};
        pixels_t scene = pixels_scene(70, 50, 3);
        uint8_t *expected = oracle_prep(scene, &recipe), *first = NULL;
        for (size_t i = 0; i < LOSSLESS_COUNT; i++) {
            file_t file = make_simple(scene, lossless[i]);
            uint8_t *got = prep_ok(file, &recipe);
            if (!first)
                first = got;
            if (memcmp(first, got, prep_recipe_bytes(&recipe)) != 0)
                fail_msg("%s differs from %s", lossless[i], lossless[0]);
            assert_in_range(largest_difference(got, expected, prep_recipe_bytes(&recipe)), 0, 1);
            if (got != first)
                free(got);
            file_free(&file);
        }
        free(first);
        free(expected);
        pixels_free(&scene);
    }
}

static pixels_t noise(int width, int height, int bands, unsigned int seed) {
    pixels_t p = pixels_new(width, height, bands);
    for (int i = 0; i < width * height * bands; i++) {
        seed = seed * 1664525u + 1013904223u;
        p.data[i] = (uint8_t)(seed >> 24);
    }
    return p;
}

// Noise of many shapes, up and down, against the oracle: at most the rounding of two passes.
static void resize_matches_oracle(void **state) {
    (void)state;
    static const int shapes[][2] = {{1, 1},  {1, 300}, {300, 1},  {2, 3},    {7, 90},  {16, 16},
                                    {17, 5}, {33, 31}, {150, 40}, {41, 160}, {128, 64}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int fit = 0; fit < PREP_FIT_COUNT; fit++)
            for (int channels = 1; channels <= 3; channels += 2) {
                prep_recipe_t recipe = {.size = 16, .channels = channels, .fit = (prep_fit_t)fit};
                pixels_t source = noise(shapes[s][0], shapes[s][1], channels, (unsigned int)s + 7);
                file_t file = make_simple(source, ".png");
                uint8_t *got = prep_ok(file, &recipe), *expected = oracle_prep(source, &recipe);
                int most = largest_difference(got, expected, prep_recipe_bytes(&recipe));
                if (most > 1)
                    fail_msg("%d x %d, %s: off by %d", shapes[s][0], shapes[s][1],
                             prep_fit_name(recipe.fit), most);
                free(got);
                free(expected);
                file_free(&file);
                pixels_free(&source);
            }
}

static void same_size_is_identity(void **state) {
    (void)state;
    prep_recipe_t recipe = {.size = 40, .channels = 3};
    pixels_t source = noise(40, 40, 3, 5);
    file_t file = make_simple(source, ".png");
    uint8_t *got = prep_ok(file, &recipe);
    assert_memory_equal(got, source.data, prep_recipe_bytes(&recipe));
    free(got);
    file_free(&file);
    pixels_free(&source);
}

static void crop_is_stretch_of_the_square(void **state) {
    (void)state;
    prep_recipe_t crop = {.size = 24, .channels = 1, .fit = PREP_CROP};
    prep_recipe_t stretch = {.size = 24, .channels = 1, .fit = PREP_STRETCH};
    pixels_t source = noise(100, 60, 1, 9), square = pixels_crop(source, 20, 0, 60, 60);
    file_t whole = make_simple(source, ".png"), part = make_simple(square, ".png");
    uint8_t *a = prep_ok(whole, &crop), *b = prep_ok(part, &stretch);
    assert_memory_equal(a, b, prep_recipe_bytes(&crop));
    free(a);
    free(b);
    file_free(&whole);
    file_free(&part);
    pixels_free(&source);
    pixels_free(&square);
}

static void pad_is_white_and_centred(void **state) {
    (void)state;
    prep_recipe_t recipe = {.size = 20, .channels = 1, .fit = PREP_PAD};
    pixels_t black = pixels_solid(60, 27, 1, (const uint8_t[]){0}); // 20 × 9: 5 rows above, 6 below
    file_t file = make_simple(black, ".png");
    uint8_t *got = prep_ok(file, &recipe);
    for (int y = 0; y < 20; y++)
        for (int x = 0; x < 20; x++)
            assert_int_equal(got[y * 20 + x], y >= 5 && y < 14 ? 0 : 255);
    free(got);
    file_free(&file);
    pixels_free(&black);
}

static void orientation_is_applied(void **state) {
    (void)state;
    static const char *const formats[] = {".jpg[Q=100,subsample_mode=off]", ".png", ".tif",
                                          ".webp[lossless]"};
    pixels_t upright = pixels_scene(48, 32, 3);
    for (int fit = 0; fit < PREP_FIT_COUNT; fit++)
        for (size_t f = 0; f < sizeof formats / sizeof *formats; f++)
            for (int orientation = 1; orientation <= 8; orientation++) {
                prep_recipe_t recipe = {.size = 21, .channels = 1, .fit = (prep_fit_t)fit};
                pixels_t stored = pixels_stored(upright, orientation);
                file_t file =
                    make_file(stored, &(make_t){.suffix = formats[f], .orientation = orientation});
                uint8_t *got = prep_ok(file, &recipe), *expected = oracle_prep(upright, &recipe);
                int most = largest_difference(got, expected, prep_recipe_bytes(&recipe));
                if (most > (f == 0 ? 4 : 1)) // JPEG: its own loss
                    fail_msg("%s, orientation %d, %s: off by %d", formats[f], orientation,
                             prep_fit_name(recipe.fit), most);
                free(got);
                free(expected);
                file_free(&file);
                pixels_free(&stored);
            }
    pixels_free(&upright);
}

// Reduced decoding of a JPEG must show the same picture in the same place: sizes that are no
// multiple of 8, every scale, against the resize of the whole picture.
static void jpeg_reduction_keeps_the_picture(void **state) {
    (void)state;
    for (int size = 8; size <= 128; size *= 2)
        for (int fit = 0; fit < PREP_FIT_COUNT; fit++)
            for (int channels = 1; channels <= 3; channels += 2) {
                prep_recipe_t recipe = {.size = size, .channels = channels, .fit = (prep_fit_t)fit};
                pixels_t scene = pixels_scene(301, 203, 3);
                file_t file = make_simple(scene, ".jpg[Q=95,subsample_mode=off]");
                uint8_t *got = prep_ok(file, &recipe), *expected = oracle_prep(scene, &recipe);
                double total = 0;
                size_t count = prep_recipe_bytes(&recipe);
                for (size_t i = 0; i < count; i++)
                    total += abs(got[i] - expected[i]);
                int most = largest_difference(got, expected, count);
                if (total / (double)count > 1.5 || most > 30)
                    fail_msg("size %d, %s, %d channels: off by %.2f on average, %d at most", size,
                             prep_fit_name(recipe.fit), channels, total / (double)count, most);
                free(got);
                free(expected);
                file_free(&file);
                pixels_free(&scene);
            }
}

static void progressive_equals_baseline(void **state) {
    (void)state;
    pixels_t scene = pixels_scene(301, 203, 3);
    file_t plain = make_simple(scene, ".jpg[Q=80]");
    file_t progressive = make_simple(scene, ".jpg[Q=80,interlace]");
    uint8_t *a = prep_ok(plain, &PREP_RECIPE_DEFAULT),
            *b = prep_ok(progressive, &PREP_RECIPE_DEFAULT);
    assert_memory_equal(a, b, 96 * 96);
    free(a);
    free(b);
    file_free(&plain);
    file_free(&progressive);
    pixels_free(&scene);
}

static void first_frame_counts(void **state) {
    (void)state;
    // Two frames of a GIF: the bytes of one file with the image of another behind it.
    pixels_t black = pixels_solid(20, 20, 3, (const uint8_t[]){0, 0, 0});
    file_t one = make_simple(black, ".gif"), two = {malloc(one.size + 64), 0};
    static const uint8_t frame[] = {0x2c, 0,   0,   0,   0,   1, 0, 1,    0, 0x80, 255,
                                    255,  255, 255, 255, 255, 2, 2, 0x44, 1, 0,    0x3b};
    memcpy(two.bytes, one.bytes, one.size - 1); // without the trailer
    memcpy(two.bytes + one.size - 1, frame, sizeof frame);
    two.size = one.size - 1 + sizeof frame;
    uint8_t *got = prep_ok(two, &PREP_RECIPE_DEFAULT);
    for (int i = 0; i < 96 * 96; i++)
        assert_int_equal(got[i], 0);
    free(got);
    file_free(&one);
    file_free(&two);
    pixels_free(&black);
}

static void probe_reads_the_header(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {".jpg", "JPEG"}, {".png", "PNG"}, {".webp", "WebP"}, {".gif", "GIF"}, {".tif", "TIFF"}};
    pixels_t scene = pixels_scene(70, 50, 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        file_t file = make_simple(scene, cases[i][0]);
        prep_info_t info;
        err_t err;
        assert_int_equal(prep_probe(file.bytes, file.size, &info, &err), ERR_OK);
        assert_string_equal(info.format, cases[i][1]);
        assert_int_equal(info.width, 70);
        assert_int_equal(info.height, 50);
        file_free(&file);
    }
    pixels_free(&scene);
}

typedef struct {
    file_t files[6];
    uint8_t *expected[6];
} shared_t;

static void *decode_many(void *context) {
    shared_t *shared = context;
    uint8_t out[96 * 96];
    for (int i = 0; i < 120; i++) {
        err_t err;
        file_t file = shared->files[i % 6];
        if (prep_image(file.bytes, file.size, &PREP_RECIPE_DEFAULT, NULL, out, &err) ||
            memcmp(out, shared->expected[i % 6], sizeof out) != 0)
            return "a thread got other pixels";
    }
    return NULL;
}

static void threads_agree(void **state) {
    (void)state;
    static const char *const formats[] = {".jpg",  ".png", ".tif",
                                          ".webp", ".gif", ".jpg[interlace]"};
    pixels_t scene = pixels_scene(120, 90, 3);
    shared_t shared;
    for (int i = 0; i < 6; i++) {
        shared.files[i] = make_simple(scene, formats[i]);
        shared.expected[i] = prep_ok(shared.files[i], &PREP_RECIPE_DEFAULT);
    }
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, decode_many, &shared), 0);
    for (int i = 0; i < 8; i++) {
        void *complaint;
        pthread_join(threads[i], &complaint);
        assert_null(complaint);
    }
    for (int i = 0; i < 6; i++) {
        file_free(&shared.files[i]);
        free(shared.expected[i]);
    }
    pixels_free(&scene);
}

static file_t slurp(const char *path) {
    FILE *stream = fopen(path, "r");
    file_t file = {malloc(1 << 20), 0};
    assert_non_null(stream);
    file.size = fread(file.bytes, 1, 1 << 20, stream);
    fclose(stream);
    return file;
}

static void written_files_come_back(void **state) {
    (void)state;
    char folder[] = "/tmp/prep-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/image", folder);
    for (int channels = 1; channels <= 3; channels += 2) {
        prep_recipe_t recipe = {.size = 32, .channels = channels};
        pixels_t scene = pixels_scene(32, 32, channels);
        for (int jpeg = 0; jpeg <= 1; jpeg++) {
            err_t err;
            assert_int_equal(jpeg ? prep_write_jpeg(path, scene.data, 32, 32, channels, 98, &err)
                                  : prep_write_png(path, scene.data, 32, 32, channels, &err),
                             ERR_OK);
            file_t file = slurp(path);
            uint8_t *got = prep_ok(file, &recipe);
            assert_in_range(largest_difference(got, scene.data, prep_recipe_bytes(&recipe)), 0,
                            jpeg ? 12 : 0);
            free(got);
            file_free(&file);
        }
        pixels_free(&scene);
    }
    err_t err;
    assert_int_equal(prep_write_png("/nonexistent/a.png", (const uint8_t[3]){0}, 1, 1, 3, &err),
                     ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent/a.png"));
    unlink(path);
    rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_agree),
        cmocka_unit_test(resize_matches_oracle),
        cmocka_unit_test(same_size_is_identity),
        cmocka_unit_test(crop_is_stretch_of_the_square),
        cmocka_unit_test(pad_is_white_and_centred),
        cmocka_unit_test(orientation_is_applied),
        cmocka_unit_test(jpeg_reduction_keeps_the_picture),
        cmocka_unit_test(progressive_equals_baseline),
        cmocka_unit_test(first_frame_counts),
        cmocka_unit_test(probe_reads_the_header),
        cmocka_unit_test(threads_agree),
        cmocka_unit_test(written_files_come_back),
    };
    return cmocka_run_group_tests_name("prep pixels", tests, setup_prep, teardown_prep);
}
