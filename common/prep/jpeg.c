#include "exif_impl.h"
#include "icc_impl.h"
#include "jpeg_impl.h"
#include "raster_impl.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include <jerror.h>

#define SCANS_MAX   100 // of a progressive file; encoders write about ten
#define MARKER_SIZE 0xffff

// Everything a decode owns, so that a longjmp out of libjpeg finds it again.
typedef struct {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf failed;
    const guard_t *guard;
    err_t *err;
    err_code_t code;
    canvas_t *canvas;
    uint8_t *row;    // one decoded row
    uint8_t *whole;  // or all of them, if they go through a profile
    JOCTET *profile; // of libjpeg's malloc
    unsigned int profile_size;
    int orientation;
} decode_t;

static _Noreturn void give_up(decode_t *decode, err_code_t code) {
    decode->code = code;
    longjmp(decode->failed, 1);
}

static _Noreturn void on_error(j_common_ptr common) {
    decode_t *decode = common->client_data;
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    switch (common->err->msg_code) {
    case JERR_OUT_OF_MEMORY:
        give_up(decode, err_set(decode->err, ERR_NO_MEMORY, "no memory to decode a JPEG"));
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_CONVERSION_NOTIMPL:
        give_up(decode, err_set(decode->err, ERR_UNSUPPORTED, "a JPEG of a rare kind: %s", text));
    default:
        give_up(decode, err_set(decode->err, ERR_CORRUPT, "damaged JPEG: %s", text));
    }
}

// Warnings after which libjpeg makes up image data; the others (stray bytes between segments, odd
// Adobe markers) leave it whole.
static void on_message(j_common_ptr common, int level) {
    decode_t *decode = common->client_data;
    if (level >= 0)
        return;
    char text[JMSG_LENGTH_MAX];
    switch (common->err->msg_code) {
    case JWRN_JPEG_EOF:
        give_up(decode, err_set(decode->err, ERR_CORRUPT,
                                "truncated JPEG: the file ends before the image"));
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
        common->err->format_message(common, text);
        give_up(decode, err_set(decode->err, ERR_CORRUPT, "damaged JPEG: %s", text));
    default:
        break;
    }
}

static void on_progress(j_common_ptr common) {
    decode_t *decode = common->client_data;
    if (decode->jpeg.input_scan_number > SCANS_MAX)
        give_up(decode,
                err_set(decode->err, ERR_TOO_LARGE, "the JPEG has more than %d scans", SCANS_MAX));
    if (guard_late(decode->guard))
        give_up(decode, guard_timeout(decode->guard, decode->err));
}

static void decode_open(decode_t *decode, const void *bytes, size_t size) {
    decode->jpeg.err = jpeg_std_error(&decode->errors);
    decode->jpeg.client_data = decode;
    decode->errors.error_exit = on_error;
    decode->errors.emit_message = on_message;
    jpeg_create_decompress(&decode->jpeg);
    decode->progress.progress_monitor = on_progress;
    decode->jpeg.progress = &decode->progress;
    jpeg_mem_src(&decode->jpeg, bytes, size);
}

static void decode_close(decode_t *decode) {
    jpeg_destroy_decompress(&decode->jpeg);
    canvas_destroy(&decode->canvas);
    free(decode->row);
    free(decode->whole);
    free(decode->profile);
}

static void read_metadata(decode_t *decode) {
    struct jpeg_decompress_struct *jpeg = &decode->jpeg;
    decode->orientation = 1;
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m && decode->orientation == 1; m = m->next)
        if (m->marker == JPEG_APP0 + 1)
            decode->orientation = exif_orientation(m->data, m->data_length);
    if (!jpeg_read_icc_profile(jpeg, &decode->profile, &decode->profile_size))
        decode->profile_size = 0;
    if (!icc_matters(decode->profile, decode->profile_size, jpeg->num_components))
        decode->profile_size = 0;
}

static bool is_cmyk(const struct jpeg_decompress_struct *jpeg) {
    return jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
}

// Gray at once if nothing needs the colours; else what the profile wants, else RGB.
static void choose_colors(decode_t *decode, const prep_recipe_t *recipe) {
    struct jpeg_decompress_struct *jpeg = &decode->jpeg;
    bool gray_file = jpeg->jpeg_color_space == JCS_GRAYSCALE;
    if (jpeg->jpeg_color_space == JCS_UNKNOWN)
        give_up(decode, err_set(decode->err, ERR_UNSUPPORTED, "a JPEG with %d color components",
                                jpeg->num_components));
    if (is_cmyk(jpeg))
        jpeg->out_color_space = JCS_CMYK;
    else if (gray_file || (recipe->channels == 1 && !decode->profile_size))
        jpeg->out_color_space = JCS_GRAYSCALE;
    else
        jpeg->out_color_space = JCS_RGB;
}

// The smallest of 1/8, 1/4, 1/2 that leaves the used part at least twice the result, else 1.
static void choose_scale(struct jpeg_decompress_struct *jpeg, const prep_recipe_t *recipe) {
    unsigned int width = jpeg->image_width, height = jpeg->image_height;
    unsigned int least = width < height ? width : height, most = width < height ? height : width;
    unsigned int side = recipe->fit == PREP_PAD ? most : least;
    jpeg->scale_num = 1;
    jpeg->scale_denom = 8;
    while (jpeg->scale_denom > 1 && side < 2u * (unsigned)recipe->size * jpeg->scale_denom)
        jpeg->scale_denom /= 2;
}

// Rows into the canvas as they come.
static void read_rows(decode_t *decode, const prep_recipe_t *recipe) {
    struct jpeg_decompress_struct *jpeg = &decode->jpeg;
    double scale = 1.0 / jpeg->scale_denom;
    size_t row_bytes = (size_t)jpeg->output_width * (size_t)jpeg->output_components;
    err_code_t code = canvas_new(recipe, jpeg->image_width * scale, jpeg->image_height * scale,
                                 jpeg->output_components, &decode->canvas, decode->err);
    if (code)
        give_up(decode, code);
    if (!(decode->row = malloc(row_bytes)))
        give_up(decode, err_set(decode->err, ERR_NO_MEMORY, "no memory for an image"));
    while (jpeg->output_scanline < jpeg->output_height) {
        jpeg_read_scanlines(jpeg, &decode->row, 1);
        canvas_row(decode->canvas, decode->row);
    }
}

// All rows into memory, inks as libvips wants them: Adobe's files hold 255 − ink.
static void read_whole(decode_t *decode) {
    struct jpeg_decompress_struct *jpeg = &decode->jpeg;
    size_t row_bytes = (size_t)jpeg->output_width * (size_t)jpeg->output_components;
    if (!(decode->whole = malloc(row_bytes * jpeg->output_height)))
        give_up(decode, err_set(decode->err, ERR_NO_MEMORY, "no memory for an image"));
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *row = decode->whole + row_bytes * jpeg->output_scanline;
        jpeg_read_scanlines(jpeg, &row, 1);
        for (size_t i = 0; is_cmyk(jpeg) && jpeg->saw_Adobe_marker && i < row_bytes; i++)
            row[i] = (uint8_t)(255 - row[i]);
    }
}

static err_code_t finish_whole(decode_t *decode, const prep_recipe_t *recipe, uint8_t *pixels,
                               err_t *err) {
    struct jpeg_decompress_struct *jpeg = &decode->jpeg;
    double scale = 1.0 / jpeg->scale_denom;
    raster_pixels_t raster = {.data = decode->whole,
                              .columns = (int)jpeg->output_width,
                              .rows = (int)jpeg->output_height,
                              .bands = jpeg->output_components,
                              .width = jpeg->image_width * scale,
                              .height = jpeg->image_height * scale,
                              .profile = decode->profile,
                              .profile_size = decode->profile_size,
                              .orientation = decode->orientation};
    return raster_through_profile(&raster, recipe, decode->guard, pixels, err);
}

// The part that libjpeg may leave by longjmp.
static void decode_run(decode_t *decode, const void *bytes, size_t size,
                       const prep_recipe_t *recipe) {
    struct jpeg_decompress_struct *jpeg = &decode->jpeg;
    decode_open(decode, bytes, size);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, MARKER_SIZE);
    jpeg_save_markers(jpeg, JPEG_APP0 + 2, MARKER_SIZE);
    jpeg_read_header(jpeg, TRUE);
    err_code_t code =
        guard_size(decode->guard, (int)jpeg->image_width, (int)jpeg->image_height, decode->err);
    if (code)
        give_up(decode, code);
    read_metadata(decode);
    choose_colors(decode, recipe);
    choose_scale(jpeg, recipe);
    jpeg_start_decompress(jpeg);
    if (decode->profile_size || is_cmyk(jpeg))
        read_whole(decode);
    else
        read_rows(decode, recipe);
    jpeg_finish_decompress(jpeg);
}

err_code_t jpeg_image(const void *bytes, size_t size, const prep_recipe_t *recipe,
                      const guard_t *guard, uint8_t *pixels, err_t *err) {
    decode_t *decode = mem_zero(1, sizeof *decode);
    decode->guard = guard;
    decode->err = err;
    if (setjmp(decode->failed) == 0)
        decode_run(decode, bytes, size, recipe);
    err_code_t code = decode->code;
    if (!code && decode->whole)
        code = finish_whole(decode, recipe, pixels, err);
    else if (!code)
        canvas_result(decode->canvas, decode->orientation, pixels);
    decode_close(decode);
    free(decode);
    return code;
}

err_code_t jpeg_probe(const void *bytes, size_t size, int *width, int *height, err_t *err) {
    decode_t *decode = mem_zero(1, sizeof *decode);
    decode->err = err;
    if (setjmp(decode->failed) == 0) {
        decode_open(decode, bytes, size);
        jpeg_read_header(&decode->jpeg, TRUE);
        *width = (int)decode->jpeg.image_width;
        *height = (int)decode->jpeg.image_height;
    }
    err_code_t code = decode->code;
    decode_close(decode);
    free(decode);
    return code;
}
