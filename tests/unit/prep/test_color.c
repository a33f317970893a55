// Are the colours what prep.h says: gray, alpha, 16 bits, CMYK, ICC profiles?
#include "make.h"
#include "oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vips/vips.h>

static const prep_recipe_t color = {.size = 8, .channels = 3};
static const prep_recipe_t gray = {.size = 8, .channels = 1};

// The first pixel of the result for a file that shows one colour.
static void assert_solid(pixels_t source, const make_t *how, const prep_recipe_t *recipe,
                         const uint8_t *expected, int tolerance) {
    file_t file = make_file(source, how);
    uint8_t *got = prep_ok(file, recipe);
    for (size_t i = 0; i < prep_recipe_bytes(recipe); i++)
        if (abs(got[i] - expected[i % (size_t)recipe->channels]) > tolerance)
            fail_msg("%s: got %d, %d, %d; expected %d first", how->suffix, got[0], got[1], got[2],
                     expected[0]);
    free(got);
    file_free(&file);
}

static void gray_follows_the_formula(void **state) {
    (void)state;
    static const uint8_t colors[][3] = {{255, 0, 0},     {0, 255, 0},     {0, 0, 255},
                                        {255, 255, 255}, {255, 255, 0},   {1, 2, 3},
                                        {200, 10, 99},   {128, 128, 128}, {17, 211, 164}};
    for (size_t i = 0; i < sizeof colors / sizeof *colors; i++) {
        pixels_t p = pixels_solid(16, 16, 3, colors[i]);
        double exact = 0.299 * colors[i][0] + 0.587 * colors[i][1] + 0.114 * colors[i][2];
        uint8_t expected = (uint8_t)floor(exact + 0.5);
        assert_solid(p, &(make_t){.suffix = ".png"}, &gray, &expected, 0);
        assert_solid(p, &(make_t){.suffix = ".webp[lossless]"}, &gray, &expected, 0);
        assert_solid(p, &(make_t){.suffix = ".jpg[Q=100,subsample_mode=off]"}, &gray, &expected, 1);
        assert_solid(p, &(make_t){.suffix = ".jpg[Q=100]"}, &color, colors[i], 2);
        pixels_free(&p);
    }
}

static void gray_files_stay(void **state) {
    (void)state;
    static const char *const formats[] = {
        ".png", ".tif", ".jpg[Q=100]", ".gif", ".webp[lossless]", ".png[bitdepth=1]"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        uint8_t value = i == 5 ? 255 : 77, three[3] = {value, value, value};
        pixels_t p = pixels_solid(16, 16, 1, &value);
        assert_solid(p, &(make_t){.suffix = formats[i]}, &gray, &value, 0);
        assert_solid(p, &(make_t){.suffix = formats[i]}, &color, three, 0);
        pixels_free(&p);
    }
}

static void alpha_lies_over_white(void **state) {
    (void)state;
    for (int alpha = 0; alpha <= 255; alpha += 51) {
        const uint8_t rgba[4] = {10, 200, 90, (uint8_t)alpha}, ga[2] = {40, (uint8_t)alpha};
        uint8_t over[3],
            gray_over = (uint8_t)floor((40 * alpha + 255 * (255 - alpha)) / 255.0 + 0.5);
        for (int c = 0; c < 3; c++)
            over[c] = (uint8_t)floor((rgba[c] * alpha + 255 * (255 - alpha)) / 255.0 + 0.5);
        pixels_t four = pixels_solid(16, 16, 4, rgba), two = pixels_solid(16, 16, 2, ga);
        assert_solid(four, &(make_t){.suffix = ".png"}, &color, over, 0);
        assert_solid(four, &(make_t){.suffix = ".png", .depth = MAKE_16_BITS}, &color, over, 0);
        assert_solid(four, &(make_t){.suffix = ".tif"}, &color, over, 0);
        assert_solid(four, &(make_t){.suffix = ".webp[lossless]"}, &color, over, 0);
        assert_solid(two, &(make_t){.suffix = ".png"}, &gray, &gray_over, 0);
        pixels_free(&four);
        pixels_free(&two);
    }
    const uint8_t clear[4] = {0, 0, 0, 0}, white[3] = {255, 255, 255};
    pixels_t nothing = pixels_solid(16, 16, 4, clear);
    assert_solid(nothing, &(make_t){.suffix = ".gif"}, &color, white, 0);
    pixels_free(&nothing);
}

static void sixteen_bits_become_eight(void **state) {
    (void)state;
    static const char *const formats[] = {".png", ".tif", ".png[interlace]"};
    for (int bands = 1; bands <= 3; bands += 2)
        for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
            pixels_t scene = pixels_scene(40, 30, bands);
            prep_recipe_t recipe = {.size = 24, .channels = bands};
            file_t plain = make_simple(scene, formats[i]);
            file_t deep = make_file(scene, &(make_t){.suffix = formats[i], .depth = MAKE_16_BITS});
            assert_true(deep.size > plain.size);
            uint8_t *a = prep_ok(plain, &recipe), *b = prep_ok(deep, &recipe);
            assert_memory_equal(a, b, prep_recipe_bytes(&recipe));
            free(a);
            free(b);
            file_free(&plain);
            file_free(&deep);
            pixels_free(&scene);
        }
}

// What libvips makes of a solid CMYK or profiled colour: the independent way, over the whole image.
static void by_vips(pixels_t p, const char *profile, bool cmyk, uint8_t rgb[3]) {
    file_t file = make_file(p, &(make_t){.suffix = ".tif", .profile = profile, .cmyk = cmyk});
    VipsImage *image = NULL, *result = NULL;
    image = vips_image_new_from_buffer(file.bytes, file.size, "", NULL);
    assert_non_null(image);
    assert_int_equal(vips_icc_transform(image, &result, "srgb", "embedded", profile != NULL,
                                        "input_profile", cmyk ? "cmyk" : "srgb", "intent",
                                        VIPS_INTENT_RELATIVE, NULL),
                     0);
    double *values;
    int count;
    assert_int_equal(vips_getpoint(result, &values, &count, 3, 3, NULL), 0);
    assert_int_equal(count, 3);
    for (int c = 0; c < 3; c++)
        rgb[c] = (uint8_t)values[c];
    g_free(values);
    g_object_unref(result);
    g_object_unref(image);
    file_free(&file);
}

static void cmyk_becomes_srgb(void **state) {
    (void)state;
    static const uint8_t inks[][4] = {
        {0, 0, 0, 0}, {0, 0, 0, 255}, {255, 0, 0, 0}, {0, 255, 255, 0}, {60, 20, 90, 30}};
    for (size_t i = 0; i < sizeof inks / sizeof *inks; i++) {
        pixels_t p = pixels_solid(16, 16, 4, inks[i]);
        uint8_t rgb[3];
        by_vips(p, NULL, true, rgb);
        uint8_t luma = (uint8_t)floor(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] + 0.5);
        assert_solid(p, &(make_t){.suffix = ".tif", .cmyk = true}, &color, rgb, 0);
        assert_solid(p, &(make_t){.suffix = ".jpg[Q=100]", .cmyk = true}, &color, rgb, 3);
        assert_solid(p, &(make_t){.suffix = ".jpg[Q=100]", .cmyk = true}, &gray, &luma, 3);
        pixels_free(&p);
    }
    // no ink is white, all black ink is dark: inverted files would show the opposite
    uint8_t rgb[3];
    pixels_t none = pixels_solid(16, 16, 4, inks[0]), black = pixels_solid(16, 16, 4, inks[1]);
    by_vips(none, NULL, true, rgb);
    assert_true(rgb[0] > 250);
    by_vips(black, NULL, true, rgb);
    assert_true(rgb[0] < 80);
    pixels_free(&none);
    pixels_free(&black);
}

static void profiles_are_applied(void **state) {
    (void)state;
    static const char *const formats[] = {".png", ".tif", ".webp[lossless]",
                                          ".jpg[Q=100,subsample_mode=off]"};
    const uint8_t dull[3] = {180, 120, 60};
    pixels_t p = pixels_solid(16, 16, 3, dull);
    uint8_t rgb[3];
    by_vips(p, "p3", false, rgb);
    assert_true(abs(rgb[0] - dull[0]) + abs(rgb[1] - dull[1]) + abs(rgb[2] - dull[2]) > 8);
    uint8_t luma = (uint8_t)floor(0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] + 0.5);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        make_t how = {.suffix = formats[i], .profile = "p3"};
        assert_solid(p, &how, &color, rgb, i == 3 ? 3 : 1);
        assert_solid(p, &how, &gray, &luma, i == 3 ? 2 : 1);
    }
    pixels_free(&p);
}

// Exactly the pixels of the file without any profile.
static void assert_changes_nothing(file_t plain, file_t tagged) {
    assert_true(tagged.size > plain.size);
    uint8_t *a = prep_ok(plain, &color), *b = prep_ok(tagged, &color);
    assert_memory_equal(a, b, prep_recipe_bytes(&color));
    free(a);
    free(b);
}

// A JPEG with any bytes as its profile: libvips does not write unsuitable ones.
static void assert_jpeg_ignores(const uint8_t *profile, size_t size, int bands) {
    pixels_t scene = pixels_scene(60, 40, bands);
    file_t plain = make_simple(scene, ".jpg"), tagged = make_simple(scene, ".jpg");
    uint8_t marker[18] = "\xff\xe2..ICC_PROFILE\0\1\1";
    marker[2] = (uint8_t)((size + 16) >> 8);
    marker[3] = (uint8_t)(size + 16);
    file_insert(&tagged, 2, profile, size);
    file_insert(&tagged, 2, marker, sizeof marker);
    assert_changes_nothing(plain, tagged);
    file_free(&plain);
    file_free(&tagged);
    pixels_free(&scene);
}

static void useless_profiles_change_nothing(void **state) {
    (void)state;
    VipsBlob *srgb = NULL, *p3 = NULL;
    size_t srgb_size, p3_size;
    assert_int_equal(vips_profile_load("srgb", &srgb, NULL), 0);
    assert_int_equal(vips_profile_load("p3", &p3, NULL), 0);
    const uint8_t *srgb_bytes = vips_blob_get(srgb, &srgb_size);
    const uint8_t *p3_bytes = vips_blob_get(p3, &p3_size);
    assert_jpeg_ignores(srgb_bytes, srgb_size, 3);
    assert_jpeg_ignores(p3_bytes, 100, 3);     // not even a header
    assert_jpeg_ignores(p3_bytes, 200, 3);     // a header, and no more
    assert_jpeg_ignores(p3_bytes, p3_size, 1); // colours of another kind of image
    pixels_t scene = pixels_scene(60, 40, 3);
    file_t plain = make_simple(scene, ".png");
    file_t tagged = make_file(scene, &(make_t){.suffix = ".png", .profile = "srgb"});
    assert_changes_nothing(plain, tagged);
    file_free(&plain);
    file_free(&tagged);
    pixels_free(&scene);
    vips_area_unref(VIPS_AREA(srgb));
    vips_area_unref(VIPS_AREA(p3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gray_follows_the_formula),
        cmocka_unit_test(gray_files_stay),
        cmocka_unit_test(alpha_lies_over_white),
        cmocka_unit_test(sixteen_bits_become_eight),
        cmocka_unit_test(cmyk_becomes_srgb),
        cmocka_unit_test(profiles_are_applied),
        cmocka_unit_test(useless_profiles_change_nothing),
    };
    return cmocka_run_group_tests_name("prep color", tests, setup_prep, teardown_prep);
}
