// Does a file that is no image, too large, cut short or damaged give a clear error, and never a
// crash, made-up pixels or a lot of memory?
#include "base/clock.h"
#include "make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static file_t file_of(const void *bytes, size_t size) {
    file_t file = {malloc(size ? size : 1), size};
    memcpy(file.bytes, bytes, size);
    return file;
}

static void refuse_bytes(const void *bytes, size_t size, err_code_t code, const char *part) {
    file_t file = file_of(bytes, size);
    prep_refused(file, code, part);
    file_free(&file);
}

static void other_things_are_named(void **state) {
    (void)state;
    refuse_bytes("", 0, ERR_INVALID, "empty");
    refuse_bytes("just some words\n", 16, ERR_INVALID, "text");
    refuse_bytes("\x01\x02\x03\x04\x05", 5, ERR_INVALID, "no known format");
    refuse_bytes("%PDF-1.7\n", 9, ERR_UNSUPPORTED, "PDF");
    refuse_bytes("BM\x46\0\0\0", 6, ERR_UNSUPPORTED, "BMP");
    refuse_bytes("\0\0\0\x1c"
                 "ftypavif\0\0",
                 14, ERR_UNSUPPORTED, "AVIF");
    refuse_bytes("<svg xmlns='http://www.w3.org/2000/svg'/>", 41, ERR_UNSUPPORTED, "SVG");
    refuse_bytes("RIFF\x10\0\0\0WAVEfmt ", 16, ERR_UNSUPPORTED, "WAV");
    refuse_bytes("\xff\xd8\xff", 3, ERR_CORRUPT, "truncated JPEG");
    refuse_bytes("GIF89a", 6, ERR_CORRUPT, "truncated GIF");
}

static void jpeg_resize_header(file_t file, uint16_t width, uint16_t height) {
    for (size_t at = 2; at + 9 < file.size;
         at += 2u + (size_t)(file.bytes[at + 2] << 8) + file.bytes[at + 3])
        if (file.bytes[at + 1] == 0xc0 || file.bytes[at + 1] == 0xc2) {
            file.bytes[at + 5] = (uint8_t)(height >> 8), file.bytes[at + 6] = (uint8_t)height;
            file.bytes[at + 7] = (uint8_t)(width >> 8), file.bytes[at + 8] = (uint8_t)width;
            return;
        }
    fail_msg("no frame header");
}

static long resident_kb(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void huge_dimensions_cost_nothing(void **state) {
    (void)state;
    pixels_t small = pixels_scene(40, 30, 3);
    static const char *const formats[] = {".png", ".png[interlace]", ".jpg", ".jpg[interlace]",
                                          ".gif"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        file_t file = make_simple(small, formats[i]);
        prep_refused((file_t){file.bytes, file.size / 2}, ERR_CORRUPT, ""); // warms up the loader
        if (i < 2)
            png_resize_header(file, 30000, 30000);
        else if (i < 4)
            jpeg_resize_header(file, 30000, 30000);
        else
            memcpy(file.bytes + 13 + 768 + 13, "\x30\x75\x30\x75", 4); // of the frame
        long before_kb = resident_kb();
        int64_t start_ms = clock_mono_ms();
        prep_refused(file, ERR_TOO_LARGE, "30000 x 30000");
        assert_true(clock_mono_ms() - start_ms < 500);
        assert_true(resident_kb() - before_kb < 20000);
        file_free(&file);
    }
    pixels_free(&small);
}

static void limits_hold(void **state) {
    (void)state;
    pixels_t scene = pixels_scene(100, 80, 3);
    file_t files[] = {make_simple(scene, ".png"), make_simple(scene, ".jpg[interlace]"),
                      make_simple(scene, ".webp")};
    uint8_t out[96 * 96];
    for (int i = 0; i < 3; i++) {
        prep_limits_t limits = PREP_LIMITS_DEFAULT;
        err_t err;
        file_t file = files[i];
        limits.bytes = file.size;
        limits.pixels = 8000;
        assert_int_equal(
            prep_image(file.bytes, file.size, &PREP_RECIPE_DEFAULT, &limits, out, &err), ERR_OK);
        limits.bytes = file.size - 1;
        assert_int_equal(
            prep_image(file.bytes, file.size, &PREP_RECIPE_DEFAULT, &limits, out, &err),
            ERR_TOO_LARGE);
        limits = PREP_LIMITS_DEFAULT;
        limits.pixels = 7999;
        assert_int_equal(
            prep_image(file.bytes, file.size, &PREP_RECIPE_DEFAULT, &limits, out, &err),
            ERR_TOO_LARGE);
        limits = PREP_LIMITS_DEFAULT;
        limits.time_ms = -1;
        assert_int_equal(
            prep_image(file.bytes, file.size, &PREP_RECIPE_DEFAULT, &limits, out, &err),
            ERR_TIMEOUT);
        file_free(&files[i]);
    }
    pixels_free(&scene);
}

// Every prefix of small files of every kind: refused, or the very pixels of the whole file (bytes
// after the image itself were cut).
static void every_truncation_is_seen(void **state) {
    (void)state;
    static const char *const formats[] = {".jpg",
                                          ".jpg[interlace]",
                                          ".jpg[restart_interval=1]",
                                          ".png",
                                          ".png[interlace]",
                                          ".webp",
                                          ".webp[lossless]",
                                          ".gif",
                                          ".tif",
                                          ".tif[compression=deflate]",
                                          ".tif[compression=jpeg]",
                                          ".tif[compression=lzw,tile]"};
    pixels_t scene = pixels_scene(40, 33, 3);
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        file_t whole = make_simple(scene, formats[i]);
        uint8_t *expected = prep_ok(whole, &PREP_RECIPE_DEFAULT), out[96 * 96];
        for (size_t size = 0; size < whole.size; size++) {
            file_t part = file_of(whole.bytes, size);
            err_t err;
            err_code_t code = prep_image(part.bytes, size, &PREP_RECIPE_DEFAULT, NULL, out, &err);
            if (code == ERR_OK && memcmp(out, expected, sizeof out) != 0)
                fail_msg("%s cut at %zu of %zu gave other pixels", formats[i], size, whole.size);
            if (code == ERR_OK && size < whole.size * 9 / 10)
                fail_msg("%s cut at %zu of %zu was taken", formats[i], size, whole.size);
            if (code != ERR_OK && err.message[0] == 0)
                fail_msg("%s cut at %zu: no reason", formats[i], size);
            file_free(&part);
        }
        free(expected);
        file_free(&whole);
    }
    pixels_free(&scene);
}

// Bytes changed at random: any answer but a crash.
static void damage_never_crashes(void **state) {
    (void)state;
    static const char *const formats[] = {
        ".jpg", ".jpg[interlace]", ".png", ".webp", ".gif", ".tif", ".tif[compression=deflate]"};
    pixels_t scene = pixels_scene(40, 33, 3);
    uint32_t random = 1;
    int taken = 0, refused = 0;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        file_t whole = make_file(scene, &(make_t){.suffix = formats[i], .orientation = 6});
        for (int round = 0; round < 300; round++) {
            file_t file = file_of(whole.bytes, whole.size);
            for (int k = 0; k < 1 + round % 4; k++) {
                random = random * 1664525u + 1013904223u;
                size_t span = round % 2 ? 200 : file.size; // often the header
                file.bytes[(random >> 8) % (span < file.size ? span : file.size)] =
                    (uint8_t)(random >> 16);
            }
            uint8_t out[96 * 96];
            prep_limits_t limits = {.bytes = 1 << 20, .pixels = 1000000, .time_ms = 2000};
            if (prep_image(file.bytes, file.size, &PREP_RECIPE_DEFAULT, &limits, out, NULL))
                refused++;
            else
                taken++;
            file_free(&file);
        }
        file_free(&whole);
    }
    assert_true(refused > 100);
    assert_true(taken > 0);
    pixels_free(&scene);
}

static size_t find_marker(file_t file, uint8_t marker, size_t from) {
    for (size_t at = from; at + 1 < file.size; at++)
        if (file.bytes[at] == 0xff && file.bytes[at + 1] == marker)
            return at;
    fail_msg("no marker %02x", marker);
    return 0;
}

// A progressive JPEG whose first scan is there again and again: each repetition costs a pass over
// the whole image.
static void scan_bomb_is_refused(void **state) {
    (void)state;
    pixels_t scene = pixels_scene(64, 64, 3);
    file_t file = make_simple(scene, ".jpg[interlace]");
    size_t scan = find_marker(file, 0xda, 2), end = find_marker(file, 0xc4, scan);
    size_t length = end - scan;
    uint8_t *first = malloc(length);
    memcpy(first, file.bytes + scan, length);
    for (int i = 0; i < 80; i++)
        file_insert(&file, end, first, length);
    free(prep_ok(file, &PREP_RECIPE_DEFAULT));
    for (int i = 0; i < 80; i++)
        file_insert(&file, end, first, length);
    prep_refused(file, ERR_TOO_LARGE, "scans");
    free(first);
    file_free(&file);
    pixels_free(&scene);
}

static void rare_kinds_are_named(void **state) {
    (void)state;
    pixels_t scene = pixels_scene(16, 16, 3);
    file_t file = make_simple(scene, ".jpg");
    for (size_t at = 2;; at += 2u + (size_t)(file.bytes[at + 2] << 8) + file.bytes[at + 3])
        if (file.bytes[at + 1] == 0xc0) {
            file.bytes[at + 4] = 12; // bits
            break;
        }
    prep_refused(file, ERR_UNSUPPORTED, "rare");
    file_free(&file);
    pixels_free(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_things_are_named),
        cmocka_unit_test(huge_dimensions_cost_nothing),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(every_truncation_is_seen),
        cmocka_unit_test(damage_never_crashes),
        cmocka_unit_test(scan_bomb_is_refused),
        cmocka_unit_test(rare_kinds_are_named),
    };
    return cmocka_run_group_tests_name("prep hostile", tests, setup_prep, teardown_prep);
}
