// Are the made-up images the same every time, alike in everything but style, and too varied for a
// linear classifier?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fs.h"
#include "linear.h"
#include "prep/prep.h"
#include "synth/synth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRAIN 400
#define COUNT 600

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/inkling-synth-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return fs_remove_all(folder, NULL) == ERR_OK ? 0 : -1;
}

static uint8_t *draw(uint64_t seed, uint32_t identity, synth_style_t style, int width, int height) {
    uint8_t *rgb = malloc((size_t)width * (size_t)height * 3);
    assert_non_null(rgb);
    synth_draw(seed, identity, style, width, height, rgb);
    return rgb;
}

// --- Drawing
// -------------------------------------------------------------------------------------

static void an_image_is_a_function_of_its_numbers(void **state) {
    (void)state;
    const size_t bytes = (size_t)96 * 128 * 3;
    for (uint32_t identity = 0; identity < 20; identity++)
        for (int style = SYNTH_PHOTO; style <= SYNTH_COMIC; style++) {
            uint8_t *a = draw(7, identity, (synth_style_t)style, 96, 128);
            uint8_t *b = draw(7, identity, (synth_style_t)style, 96, 128);
            uint8_t *seed = draw(8, identity, (synth_style_t)style, 96, 128);
            uint8_t *other = draw(7, identity + 1, (synth_style_t)style, 96, 128);
            assert_memory_equal(a, b, bytes);
            assert_memory_not_equal(a, seed, bytes);
            assert_memory_not_equal(a, other, bytes);
            free(a), free(b), free(seed), free(other);
        }
}

static void every_size_and_seed_can_be_drawn(void **state) {
    (void)state;
    const int sides[] = {SYNTH_SIDE_MIN, 33, 97, 224, SYNTH_SIDE_MAX};
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        free(draw(UINT64_MAX, UINT32_MAX, SYNTH_PHOTO, sides[i],
                  sides[sizeof sides / sizeof *sides - 1 - i]));
        free(draw(0, 0, SYNTH_COMIC, sides[i], sides[i]));
    }
    for (uint32_t identity = 0; identity < 300; identity++) // every kind of hair, beard, backdrop
        free(draw(3, identity, identity % 2 ? SYNTH_COMIC : SYNTH_PHOTO, 48, 48));
}

typedef struct {
    double mean, deviation, saturation;
} figures_t;

static figures_t figures_of(const uint8_t *rgb, int pixels) {
    double sum = 0, square = 0, chroma = 0;
    for (int i = 0; i < pixels; i++) {
        const uint8_t *p = rgb + (size_t)3 * (size_t)i;
        double y = 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
        sum += y;
        square += y * y;
        chroma += fabs(p[0] - y) + fabs(p[2] - y);
    }
    double mean = sum / pixels;
    return (figures_t){mean, sqrt(fmax(0, square / pixels - mean * mean)), chroma / pixels};
}

static void styles_agree_in_brightness_contrast_and_colour(void **state) {
    (void)state;
    figures_t all[2] = {{0}};
    const int heads = 150, side = 64;
    for (int style = SYNTH_PHOTO; style <= SYNTH_COMIC; style++)
        for (int i = 0; i < heads; i++) {
            uint8_t *rgb = draw(11, (uint32_t)i, (synth_style_t)style, side, side);
            figures_t f = figures_of(rgb, side * side);
            assert_true(f.deviation > 15); // no blank picture
            all[style].mean += f.mean / heads;
            all[style].deviation += f.deviation / heads;
            all[style].saturation += f.saturation / heads;
            free(rgb);
        }
    // Standard errors are about 1.4, 0.5 and 2.
    assert_true(fabs(all[0].mean - all[1].mean) < 8);
    assert_true(fabs(all[0].deviation - all[1].deviation) < 5);
    assert_true(fabs(all[0].saturation - all[1].saturation) < 10);
}

// --- Sets
// ----------------------------------------------------------------------------------------

static err_code_t write_set(const char *name, uint32_t count, uint64_t seed, int threads,
                            err_t *err) {
    char *dir = fs_join(folder, name);
    err_code_t code = synth_write_set(dir, count, seed, threads, NULL, NULL, err);
    free(dir);
    return code;
}

static void *read_image(const char *set, const char *kind, int number, size_t *size) {
    char path[160];
    void *bytes = NULL;
    err_t err;
    snprintf(path, sizeof path, "%s/%s/%s/%d.jpg", folder, set, kind, number);
    if (fs_read(path, 8u << 20, &bytes, size, &err) != ERR_OK)
        return NULL;
    return bytes;
}

static void a_set_does_not_depend_on_threads(void **state) {
    (void)state;
    assert_int_equal(write_set("one", 9, 5, 1, NULL), ERR_OK);
    assert_int_equal(write_set("four", 9, 5, 4, NULL), ERR_OK);
    assert_int_equal(write_set("four", 9, 5, 3, NULL), ERR_OK); // again, over the old one
    static const char *const kinds[] = {"photos", "comics"};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 5; i++) {
            size_t one_size = 0, four_size = 0;
            void *one = read_image("one", kinds[k], i, &one_size);
            void *four = read_image("four", kinds[k], i, &four_size);
            if (k == 1 && i == 4) { // nine are five photos and four comics
                assert_null(one);
                assert_null(four);
                continue;
            }
            assert_non_null(one);
            assert_int_equal(one_size, four_size);
            assert_memory_equal(one, four, one_size);
            free(one), free(four);
        }
}

static bool stop_at_five(void *arg, uint32_t done, uint32_t count) {
    assert_int_equal(count, 40);
    assert_int_equal(done, *(uint32_t *)arg + 1);
    *(uint32_t *)arg = done;
    return done < 5;
}

static void a_set_can_be_stopped(void **state) {
    (void)state;
    err_t err;
    uint32_t seen = 0;
    char *dir = fs_join(folder, "stopped");
    assert_int_equal(synth_write_set(dir, 40, 1, 3, stop_at_five, &seen, &err), ERR_CANCELLED);
    assert_int_equal(seen, 5);
    free(dir);
}

static void a_folder_with_other_things_is_refused(void **state) {
    (void)state;
    err_t err;
    assert_int_equal(write_set("used", 6, 1, 2, &err), ERR_OK);
    assert_int_equal(write_set("used", 4, 1, 2, &err), ERR_CONFLICT); // 2.jpg would stay
    assert_non_null(strstr(err.message, "2.jpg"));
    assert_int_equal(write_set("used", 8, 1, 2, &err), ERR_OK);
    char *path = mem_format("%s/used/comics/007.jpg", folder);
    assert_int_equal(fs_write(path, "x", 1, &err), ERR_OK);
    assert_int_equal(write_set("used", 100, 1, 2, &err), ERR_CONFLICT);
    free(path);
    path = mem_format("%s/file", folder);
    assert_int_equal(fs_write(path, "x", 1, &err), ERR_OK);
    assert_int_not_equal(write_set("file", 4, 1, 1, &err), ERR_OK);
    assert_non_null(strstr(err.message, "/file"));
    free(path);
    assert_int_equal(write_set("bad", 1, 1, 1, &err), ERR_INVALID);
    assert_int_equal(write_set("bad", SYNTH_COUNT_MAX + 1, 1, 1, &err), ERR_INVALID);
}

// --- A linear opponent
// ---------------------------------------------------------------------------

// Image i of the set, photos and comics in turn, as the recipe has it.
static void load(int i, const prep_recipe_t *recipe, float *row) {
    size_t size, bytes = prep_recipe_bytes(recipe);
    uint8_t *pixels = malloc(bytes);
    void *file = read_image("set", i % 2 ? "comics" : "photos", i / 2, &size);
    assert_non_null(file);
    assert_int_equal(prep_image(file, size, recipe, NULL, pixels, NULL), ERR_OK);
    for (size_t j = 0; j < bytes; j++)
        row[j] = (float)pixels[j];
    free(file);
    free(pixels);
}

static double linear_accuracy(int side, int channels) {
    prep_recipe_t recipe = PREP_RECIPE_DEFAULT;
    recipe.size = side;
    recipe.channels = channels;
    size_t width = prep_recipe_bytes(&recipe);
    float *rows = malloc(COUNT * width * sizeof *rows);
    int labels[COUNT];
    for (int i = 0; i < COUNT; i++) {
        load(i, &recipe, rows + (size_t)i * width);
        labels[i] = i % 2;
    }
    double accuracy = linear_best_accuracy(rows, labels, COUNT, (int)width, TRAIN);
    print_message("logistic regression on %d x %d x %d: %.3f\n", side, side, channels, accuracy);
    free(rows);
    return accuracy;
}

static void logistic_regression_on_pixels_fails(void **state) {
    (void)state;
    assert_int_equal(write_set("set", COUNT, 21, 0, NULL), ERR_OK);
    assert_true(linear_accuracy(96, 1) < 0.9);
    assert_true(linear_accuracy(8, 3) < 0.9);
    assert_true(linear_accuracy(24, 3) < 0.9);
}

static void the_opponent_is_a_fair_one(void **state) {
    (void)state;
    // Told apart by the sum of eight of 64 noisy values: easy for a linear classifier.
    enum { WIDTH = 64 };
    float *rows = malloc((size_t)COUNT * WIDTH * sizeof *rows);
    int labels[COUNT];
    uint32_t lcg = 1;
    for (int i = 0; i < COUNT; i++) {
        labels[i] = i % 2;
        for (int j = 0; j < WIDTH; j++) {
            lcg = lcg * 1664525u + 1013904223u;
            rows[i * WIDTH + j] = (float)(lcg >> 8) * 0x1p-24f + (j < 8 && i % 2 ? 0.35f : 0);
        }
    }
    assert_true(linear_best_accuracy(rows, labels, COUNT, WIDTH, TRAIN) > 0.94);
    free(rows);
}

int main(void) {
    err_t err;
    if (prep_init(&err) != ERR_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_a_function_of_its_numbers),
        cmocka_unit_test(every_size_and_seed_can_be_drawn),
        cmocka_unit_test(styles_agree_in_brightness_contrast_and_colour),
        cmocka_unit_test(a_set_does_not_depend_on_threads),
        cmocka_unit_test(a_set_can_be_stopped),
        cmocka_unit_test(a_folder_with_other_things_is_refused),
        cmocka_unit_test(the_opponent_is_a_fair_one),
        cmocka_unit_test(logistic_regression_on_pixels_fails),
    };
    int failed = cmocka_run_group_tests(tests, make_folder, remove_folder);
    prep_shutdown();
    return failed;
}
