// Do evaluate and predict give what the model made by a training says of a data set and of a folder
// of images, whatever else lies there? The dispatcher is played by the test.
#include "toy.h"

#include "base/fs.h"
#include "images.h"
#include "upload.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void make_model(stage_t *stage) {
    stage_submit(stage, "m", "train", "{" TOY_TRAIN ", \"epochs\": 8, \"model\": \"heads\"}");
    json_decref(stage_succeed(stage));
}

// ---- evaluate ----

static void test_evaluate(void **state) {
    static const char *const more[] = {"comics", "faces", "prints"};
    static const char *const other[] = {"faces"};
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    make_model(stage);
    stage_submit(stage, "j1", "evaluate", "{\"model\": \"heads@1\", \"dataset\": \"toy\"}");
    json_t *result = stage_succeed(stage);
    assert_true(toy_number(result, "images") == 12);
    assert_true(toy_number(result, "accuracy") >= 0.9);
    assert_true(toy_number(result, "version") == 1 && toy_number(result, "dataset_version") == 1);
    assert_string_equal(toy_text(result, "split"), "test");
    json_decref(result);
    // one class alone, which is the model's second
    stage_dataset(stage, "faces", other, 1, TOY_SIZE, 5);
    stage_submit(stage, "j2", "evaluate",
                 "{\"model\": \"heads\", \"dataset\": \"faces\", \"split\": \"all\"}");
    result = stage_succeed(stage);
    const json_t *confusion = json_object_get(result, "confusion");
    assert_true(toy_number(result, "images") == 35);
    assert_true(json_is_null(json_object_get(result, "auc")));
    assert_int_equal(json_integer_value(json_array_get(json_array_get(confusion, 0), 0)) +
                         json_integer_value(json_array_get(json_array_get(confusion, 0), 1)),
                     0);
    assert_true(toy_number(result, "accuracy") >= 0.9);
    json_decref(result);
    stage_dataset(stage, "more", more, 3, TOY_SIZE, 6);
    stage_submit(stage, "j3", "evaluate", "{\"model\": \"heads\", \"dataset\": \"more\"}");
    stage_fails(stage, ERR_INVALID, "prints");
}

static void test_other_pixels(void **state) {
    static const char *const classes[] = {"comics", "faces"};
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    make_model(stage);
    stage_dataset(stage, "large", classes, 2, TOY_SIZE + 1, 6);
    stage_submit(stage, "j1", "evaluate", "{\"model\": \"heads\", \"dataset\": \"large\"}");
    stage_fails(stage, ERR_INVALID, "17x17");
    stage_submit(stage, "j2", "predict", "{\"model\": \"heads\", \"dataset\": \"large\"}");
    stage_fails(stage, ERR_INVALID, "pixels");
}

// ---- predict ----

static char *read_table(stage_t *stage, const json_t *result) {
    char *path = stage_path(stage, toy_text(result, "path"));
    void *bytes;
    size_t size;
    assert_int_equal(fs_read(path, 1 << 20, &bytes, &size, NULL), ERR_OK);
    free(path);
    return bytes;
}

static int count_lines(const char *table) {
    int lines = 0;
    for (const char *at = table; (at = strstr(at, "\r\n")) != NULL; at += 2)
        lines++;
    return lines;
}

static void test_predict_folder(void **state) {
    stage_t *stage = *state;
    uint8_t pixels[TOY_SIZE * TOY_SIZE];
    stage_worker(stage, NULL);
    make_model(stage);
    char *folder = stage_path(stage, "../in"), *deep = fs_join(folder, "deep/er");
    assert_int_equal(fs_mkdirs(deep, NULL), ERR_OK);
    for (uint32_t i = 0; i < 70; i++) {
        char *path = mem_format("%s/%s %u.png", i % 3 ? folder : deep, i % 2 ? "comic" : "face", i);
        images_draw(i % 2, i + 50000, TOY_SIZE, pixels);
        assert_int_equal(prep_write_png(path, pixels, TOY_SIZE, TOY_SIZE, 1, NULL), ERR_OK);
        fake_run(&stage->fake, 1); // the worker wants answers
        free(path);
    }
    char *bad = fs_join(folder, "a \"bad\",\n\xff.jpg"), *hidden = fs_join(folder, ".hidden");
    char *empty = fs_join(deep, "empty.png"), *link = fs_join(folder, "loop");
    assert_int_equal(fs_write(bad, "text", 4, NULL), ERR_OK);
    char *fifo = fs_join(deep, "fifo.png");
    assert_int_equal(fs_write(empty, "", 0, NULL), ERR_OK);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(fs_write(hidden, "x", 1, NULL), ERR_OK);
    assert_int_equal(symlink(".", link), 0);
    char *body = mem_format("{\"model\": \"heads\", \"dir\": \"%s/deep/..\"}", folder);
    stage_submit(stage, "j1", "predict", body);
    json_t *result = stage_succeed(stage);
    char *table = read_table(stage, result);
    assert_non_null(
        strstr(table, "file,label,probability,error\r\n\"a \"\"bad\"\",\n\\xff.jpg\",,,"));
    assert_non_null(strstr(table, "\r\ndeep/er/empty.png,,,"));
    assert_non_null(strstr(table, "\r\ndeep/er/fifo.png,,,not a regular file\r\n"));
    int right = 0;
    for (int i = 0; i < 70; i++) {
        char *row = mem_format("%s%s %d.png,%s,", i % 3 ? "\r\n" : "deep/er/",
                               i % 2 ? "comic" : "face", i, i % 2 ? "comics" : "faces");
        right += strstr(table, row) != NULL;
        free(row);
    }
    assert_true(right >= 60);
    assert_true(toy_number(result, "images") == 73 && toy_number(result, "failed") == 3);
    assert_int_equal(count_lines(table), 74);
    json_decref(result);
    stage_submit(stage, "j2", "predict", "{\"model\": \"heads\", \"dir\": \"/nonexistent\"}");
    stage_fails(stage, ERR_NOT_FOUND, "/nonexistent");
    free(table);
    free(body);
    free(bad);
    free(hidden);
    free(empty);
    free(fifo);
    free(link);
    free(deep);
    free(folder);
}

// Row for row the table of the folder, which is gone by then.
static void test_predict_upload(void **state) {
    stage_t *stage = *state;
    uint8_t pixels[TOY_SIZE * TOY_SIZE];
    char *folder = stage_path(stage, "../in"), *deep = fs_join(folder, "de\xff/er"),
         *files = stage_path(stage, "");
    assert_int_equal(fs_mkdirs(deep, NULL), ERR_OK);
    for (uint32_t i = 0; i < 70; i++) {
        char *path = mem_format("%s/%u.png", i % 3 ? folder : deep, i);
        images_draw(i % 2, i + 60000, TOY_SIZE, pixels);
        assert_int_equal(prep_write_png(path, pixels, TOY_SIZE, TOY_SIZE, 1, NULL), ERR_OK);
        free(path);
    }
    char *bad = fs_join(deep, "bad.jpg"), *empty = fs_join(deep, "empty.png"),
         *loop = fs_join(deep, "loop"), *gone = fs_join(deep, "gone"),
         *fifo = fs_join(deep, "fifo"), *twice = fs_join(folder, "twice");
    assert_int_equal(fs_write(bad, "text", 4, NULL), ERR_OK);
    assert_int_equal(fs_write(empty, "", 0, NULL), ERR_OK);
    assert_int_equal(symlink("..", loop), 0);
    assert_int_equal(symlink("nowhere", gone), 0);
    assert_int_equal(symlink("de\xff", twice), 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    upload_t upload = upload_make(folder, files);
    stage_worker(stage, NULL);
    make_model(stage);
    char *body = mem_format("{\"model\": \"heads\", \"dir\": \"%s\"}", folder);
    stage_submit(stage, "j1", "predict", body);
    json_t *result = stage_succeed(stage);
    assert_true(toy_number(result, "images") == 74 && toy_number(result, "failed") == 4);
    char *table = read_table(stage, result);
    json_decref(result);
    free(body);
    assert_int_equal(fs_remove_all(folder, NULL), ERR_OK);
    body = mem_format("{\"model\": \"heads\", \"dir\": \"%s\", \"upload\": \"%s\"}", folder,
                      upload.digest);
    stage_submit(stage, "j2", "predict", body);
    result = stage_succeed(stage);
    assert_true(toy_number(result, "images") == 74 && toy_number(result, "failed") == 4);
    char *again = read_table(stage, result);
    assert_string_equal(again, table);
    json_decref(result);
    char *blob = upload_path(&upload, "1.png");
    assert_int_equal(fs_write(blob, "rotten", 6, NULL), ERR_OK);
    stage_submit(stage, "j3", "predict", body);
    stage_fails(stage, ERR_CORRUPT, "1.png: the stack's copy");
    stage_submit(stage, "j4", "predict", body);
    stage_fails(stage, ERR_NOT_FOUND, "1.png: the stack does not have the upload's");
    stage_submit(stage, "j5", "predict",
                 "{\"model\": \"heads\", \"dir\": \"/p\", \"upload\": \"x\"}");
    stage_fails(stage, ERR_INVALID, "upload: 'x' is no digest");
    upload_free(&upload);
    char *const texts[] = {folder, deep,  files, bad,   empty, loop, gone,
                           fifo,   twice, body,  table, again, blob};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
}

static void test_predict_dataset(void **state) {
    stage_t *stage = *state;
    stage_worker(stage, NULL);
    make_model(stage);
    stage_submit(stage, "j1", "predict",
                 "{\"model\": \"heads\", \"dataset\": \"toy\", \"split\": \"val\"}");
    json_t *result = stage_succeed(stage);
    char *table = read_table(stage, result);
    assert_int_equal(count_lines(table), 13);
    assert_non_null(strstr(table, "\r\n\"comics/1-0, \"\"x\"\".png\",comics,"));
    assert_true(toy_number(result, "images") == 12 && toy_number(result, "failed") == 0);
    free(table);
    json_decref(result);
    stage_submit(stage, "j2", "predict", "{\"model\": \"heads\", \"dataset\": \"toy\"}");
    result = stage_succeed(stage);
    assert_true(toy_number(result, "images") == 84);
    json_decref(result);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TOY_TEST(test_evaluate),        TOY_TEST(test_other_pixels),
        TOY_TEST(test_predict_folder),  TOY_TEST(test_predict_upload),
        TOY_TEST(test_predict_dataset),
    };
    toy_filter(argc, argv);
    return cmocka_run_group_tests_name("inference", tests, NULL, NULL);
}
