// Does a data set come back as it was written, and is every kind of damage to it seen and named?
#include "base/fs.h"
#include "shard/index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SIDE 5
static const int per_split[SHARD_SPLIT_COUNT] = {40, 7, 5};

static char folder[64];
static char *class_names[] = {"caf\xc3\xa9", "dog"};

static shard_info_t info_of(void) {
    static char name[] = "pets", source[] = "/pictures", group_by[] = "stem", recipe[] = "prep 1\n";
    shard_info_t info = {.name = name,
                         .source = source,
                         .group_by = group_by,
                         .seed = UINT64_MAX,
                         .recipe = recipe,
                         .height = SIDE,
                         .width = SIDE,
                         .channels = 1,
                         .class_count = 2,
                         .classes = class_names,
                         .rejected = 1,
                         .duplicates = 2};
    digest_bytes(recipe, strlen(recipe), info.recipe_hash);
    return info;
}

static void image_of(int split, int i, uint8_t pixels[SIDE * SIDE],
                     uint8_t digest[SHARD_DIGEST_BYTES]) {
    for (int k = 0; k < SIDE * SIDE; k++)
        pixels[k] = (uint8_t)(split * 90 + i * 3 + k);
    memset(digest, i, SHARD_DIGEST_BYTES);
    digest[0] = (uint8_t)split;
}

static int label_of(int split, int i) {
    return (split + i) % 2;
}

static void write_index(void) {
    enum { LINES = 40 + 7 + 5 + 4 };
    shard_entry_t entries[LINES];
    shard_index_t index = {entries, 0};
    memset(entries, 0, sizeof entries);
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
        for (int i = 0; i < per_split[s]; i++) {
            uint8_t pixels[SIDE * SIDE];
            shard_entry_t *entry = &entries[index.count++];
            image_of(s, i, pixels, entry->digest);
            *entry = (shard_entry_t){.path = mem_format("dog/%d-%d\n\xff\\.jpg", s, i),
                                     .bytes = 10,
                                     .mtime_ns = 1700000000123456789,
                                     .has_digest = true,
                                     .label = label_of(s, i),
                                     .group = mem_format("%d", i),
                                     .outcome = SHARD_KEPT,
                                     .split = (shard_split_t)s,
                                     .row = i};
        }
    entries[index.count++] = (shard_entry_t){.path = mem_dup("dog/broken.png"),
                                             .label = 1,
                                             .reason = mem_dup("the file is empty"),
                                             .outcome = SHARD_REJECTED};
    entries[index.count++] = (shard_entry_t){.path = mem_dup("dog/twice.png"),
                                             .label = 1,
                                             .has_digest = true,
                                             .reason = mem_dup("also under caf\xc3\xa9"),
                                             .outcome = SHARD_CONFLICT};
    entries[index.count++] = (shard_entry_t){.path = mem_dup("dog/again.png"),
                                             .label = 1,
                                             .has_digest = true,
                                             .outcome = SHARD_DUPLICATE};
    entries[index.count++] = (shard_entry_t){
        .label = -1, .has_digest = true, .outcome = SHARD_GONE, .split = SHARD_TEST};
    err_t err;
    if (shard_index_write(folder, class_names, &index, &err))
        fail_msg("%s", err.message);
    for (int64_t i = 0; i < index.count; i++) {
        free(entries[i].path);
        free(entries[i].group);
        free(entries[i].reason);
    }
}

static void write_dataset(void) {
    err_t err;
    shard_writer_t *writer;
    shard_info_t info = info_of();
    char digest_hex[DIGEST_HEX_SIZE];
    write_index();
    assert_int_equal(shard_writer_open(folder, &info, &writer, &err), ERR_OK);
    for (int s = SHARD_SPLIT_COUNT - 1; s >= 0; s--)
        for (int i = 0; i < per_split[s]; i++) {
            uint8_t pixels[SIDE * SIDE], digest[SHARD_DIGEST_BYTES];
            image_of(s, i, pixels, digest);
            if (shard_writer_add(writer, (shard_split_t)s, pixels, label_of(s, i), digest, &err))
                fail_msg("%s", err.message);
        }
    if (shard_writer_finish(&writer, digest_hex, &err))
        fail_msg("%s", err.message);
    assert_null(writer);
}

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/shard-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    write_dataset();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return fs_remove_all(folder, NULL);
}

static shard_dataset_t *open_ok(void) {
    err_t err;
    shard_dataset_t *ds = NULL;
    if (shard_open(folder, &ds, &err))
        fail_msg("%s", err.message);
    return ds;
}

static void comes_back(void **state) {
    (void)state;
    shard_dataset_t *ds = open_ok();
    const shard_info_t *info = shard_info(ds);
    assert_string_equal(info->name, "pets");
    assert_true(info->seed == UINT64_MAX);
    assert_string_equal(info->classes[0], "caf\xc3\xa9");
    assert_string_equal(info->recipe, "prep 1\n");
    assert_int_equal(info->duplicates, 2);
    assert_int_equal(shard_image_bytes(ds), SIDE * SIDE);
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++) {
        assert_int_equal(shard_count(ds, (shard_split_t)s), per_split[s]);
        assert_int_equal(info->class_images[s][0] + info->class_images[s][1], per_split[s]);
        for (int i = 0; i < per_split[s]; i++) {
            uint8_t pixels[SIDE * SIDE], digest[SHARD_DIGEST_BYTES];
            image_of(s, i, pixels, digest);
            assert_memory_equal(shard_pixels(ds, (shard_split_t)s, i), pixels, sizeof pixels);
            assert_memory_equal(shard_source_digest(ds, (shard_split_t)s, i), digest,
                                sizeof digest);
            assert_int_equal(shard_label(ds, (shard_split_t)s, i), label_of(s, i));
        }
    }
    char hex[DIGEST_HEX_SIZE], *path = fs_join(folder, SHARD_MANIFEST);
    assert_int_equal(digest_file(path, hex, NULL, NULL), ERR_OK);
    assert_string_equal(hex, shard_digest(ds));
    free(path);
    shard_close(&ds);
    shard_close(&ds);
}

static void index_comes_back(void **state) {
    (void)state;
    shard_index_t index;
    err_t err;
    const shard_entry_t **rows;
    assert_int_equal(shard_index_read(folder, &index, &err), ERR_OK);
    assert_int_equal(index.count, 40 + 7 + 5 + 4);
    assert_int_equal(shard_index_rows(&index, SHARD_VAL, 7, &rows, &err), ERR_OK);
    for (int i = 0; i < 7; i++) {
        char *path = mem_format("dog/1-%d\n\xff\\.jpg", i);
        assert_string_equal(rows[i]->path, path);
        assert_true(rows[i]->mtime_ns == 1700000000123456789);
        assert_int_equal(rows[i]->label, label_of(1, i));
        free(path);
    }
    free(rows);
    assert_int_equal(shard_index_rows(&index, SHARD_VAL, 8, &rows, &err), ERR_CORRUPT);
    assert_int_equal(shard_index_rows(&index, SHARD_VAL, 6, &rows, &err), ERR_CORRUPT);
    const shard_entry_t *gone = &index.entries[index.count - 1];
    assert_int_equal(gone->outcome, SHARD_GONE);
    assert_int_equal(gone->split, SHARD_TEST);
    assert_null(gone->path);
    shard_index_release(&index);
}

static void rejects_are_listed(void **state) {
    (void)state;
    char *path = fs_join(folder, SHARD_REJECTS);
    void *text;
    size_t size;
    assert_int_equal(fs_read(path, 1 << 20, &text, &size, NULL), ERR_OK);
    assert_string_equal(text, "{\"path\":\"dog/broken.png\",\"class\":\"dog\",\"outcome\":"
                              "\"rejected\",\"reason\":\"the file is empty\"}\n"
                              "{\"path\":\"dog/twice.png\",\"class\":\"dog\",\"outcome\":"
                              "\"conflict\",\"reason\":\"also under caf\xc3\xa9\"}\n");
    free(text);
    free(path);
}

// The open must fail with code, naming the file.
static void assert_open_fails(err_code_t code, const char *name) {
    err_t err;
    shard_dataset_t *ds = NULL;
    assert_int_equal(shard_open(folder, &ds, &err), code);
    assert_null(ds);
    if (!strstr(err.message, name))
        fail_msg("'%s' does not name %s", err.message, name);
}

static const char *const files[] = {"train-00000.shard", "val-00000.shard", "test-00000.shard",
                                    SHARD_INDEX,         SHARD_REJECTS,     SHARD_MANIFEST};

static void flip(const char *path, long at) {
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    int byte = fgetc(file);
    fseek(file, -1, SEEK_CUR);
    fputc(byte ^ 0x20, file);
    fclose(file);
}

static void damage_is_named(void **state) {
    (void)state;
    static const long places[] = {0, 17, 25, -1, 60, 200};
    for (size_t f = 0; f < sizeof files / sizeof *files - 1; f++)
        for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
            char *path = fs_join(folder, files[f]);
            if (strcmp(files[f], SHARD_REJECTS) != 0 || places[p] < 60) {
                flip(path, places[p]);
                assert_open_fails(ERR_CORRUPT, files[f]);
                flip(path, places[p]);
            }
            free(path);
        }
    shard_dataset_t *ds = open_ok();
    shard_close(&ds);
}

static void cut_and_missing_files_are_named(void **state) {
    (void)state;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char *path = fs_join(folder, files[f]);
        void *bytes;
        size_t size;
        bool manifest = strcmp(files[f], SHARD_MANIFEST) == 0;
        assert_int_equal(fs_read(path, 1 << 20, &bytes, &size, NULL), ERR_OK);
        for (size_t cut = 0; cut < size; cut += size / 7 + 1) {
            assert_int_equal(truncate(path, (off_t)cut), 0);
            assert_open_fails(ERR_CORRUPT, files[f]);
            assert_int_equal(fs_write(path, bytes, size, NULL), ERR_OK);
        }
        unlink(path);
        assert_open_fails(manifest ? ERR_NOT_FOUND : ERR_CORRUPT, files[f]);
        assert_int_equal(fs_write(path, bytes, size, NULL), ERR_OK);
        free(bytes);
        free(path);
    }
    shard_dataset_t *ds = open_ok();
    shard_close(&ds);
}

// Replaces the first `from` in the manifest: the open must fail with code, or not.
static void edit_manifest(const char *from, const char *to, err_code_t code) {
    char *path = fs_join(folder, SHARD_MANIFEST);
    void *bytes;
    size_t size;
    assert_int_equal(fs_read(path, 1 << 20, &bytes, &size, NULL), ERR_OK);
    char *at = strstr(bytes, from);
    assert_non_null(at);
    char *text =
        mem_format("%.*s%s%s", (int)(at - (char *)bytes), (char *)bytes, to, at + strlen(from));
    assert_int_equal(fs_write(path, text, strlen(text), NULL), ERR_OK);
    shard_dataset_t *ds = code == ERR_OK ? open_ok() : NULL;
    shard_close(&ds);
    if (code)
        assert_open_fails(code, code == ERR_UNSUPPORTED ? "schema 2" : folder);
    assert_int_equal(fs_write(path, bytes, size, NULL), ERR_OK);
    free(text);
    free(bytes);
    free(path);
}

static void wrong_manifests_are_refused(void **state) {
    (void)state;
    edit_manifest("\"schema\": 1", "\"schema\": 2", ERR_UNSUPPORTED);
    edit_manifest("\"schema\": 1", "\"schema\": \"1\"", ERR_CORRUPT);
    edit_manifest("\"height\": 5", "\"height\": 6", ERR_CORRUPT);
    edit_manifest("\"height\": 5", "\"height\": 0", ERR_CORRUPT);
    edit_manifest("\"images\": 40", "\"images\": 41", ERR_CORRUPT);
    edit_manifest("\"images\": 40", "\"images\": 9007199254740993", ERR_CORRUPT);
    edit_manifest("train-00000.shard", "../passwd", ERR_CORRUPT);
    edit_manifest("\"dog\"", "\"ant\"", ERR_CORRUPT); // not sorted
    edit_manifest("prep 1", "prep 2", ERR_CORRUPT);
    edit_manifest("\"seed\": \"1", "\"seed\": \"-1", ERR_CORRUPT);
    edit_manifest("{", "", ERR_CORRUPT);
}

// The registry numbers versions. Manifests used to have a number, too, which could be another one.
static void manifests_have_no_version(void **state) {
    (void)state;
    char *path = fs_join(folder, SHARD_MANIFEST);
    void *text;
    size_t size;
    assert_int_equal(fs_read(path, 1 << 20, &text, &size, NULL), ERR_OK);
    assert_null(strstr(text, "\"version\""));
    edit_manifest("\"schema\": 1", "\"schema\": 1, \"version\": 7", ERR_OK);
    free(text);
    free(path);
}

static void no_dataset_is_not_found(void **state) {
    (void)state;
    err_t err;
    shard_dataset_t *ds = NULL;
    assert_int_equal(shard_open("/nonexistent", &ds, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent"));
}

static void writer_reports_a_missing_folder(void **state) {
    (void)state;
    err_t err;
    shard_writer_t *writer;
    shard_info_t info = info_of();
    uint8_t pixels[SIDE * SIDE] = {0}, digest[SHARD_DIGEST_BYTES] = {0};
    assert_int_equal(shard_writer_open("/nonexistent/x", &info, &writer, &err), ERR_OK);
    assert_int_equal(shard_writer_add(writer, SHARD_VAL, pixels, 0, digest, &err), ERR_NOT_FOUND);
    shard_writer_abort(&writer);
    shard_writer_abort(&writer);
}

// More images than one shard file holds.
static void several_files_are_one_split(void **state) {
    (void)state;
    enum { IMAGES = 65536 * 2 + 3 };
    err_t err;
    shard_writer_t *writer;
    shard_info_t info = info_of();
    char digest_hex[DIGEST_HEX_SIZE];
    info.height = info.width = 1;
    assert_int_equal(shard_writer_open(folder, &info, &writer, &err), ERR_OK);
    for (int i = 0; i < IMAGES; i++) {
        uint8_t pixel = (uint8_t)(i * 7), digest[SHARD_DIGEST_BYTES] = {(uint8_t)(i >> 8)};
        assert_int_equal(shard_writer_add(writer, SHARD_TRAIN, &pixel, i % 2, digest, &err),
                         ERR_OK);
    }
    assert_int_equal(shard_writer_finish(&writer, digest_hex, &err), ERR_OK);
    shard_dataset_t *ds = open_ok();
    assert_int_equal(shard_count(ds, SHARD_TRAIN), IMAGES);
    for (int i = 0; i < IMAGES; i += 11) {
        assert_int_equal(*shard_pixels(ds, SHARD_TRAIN, i), (uint8_t)(i * 7));
        assert_int_equal(shard_label(ds, SHARD_TRAIN, i), i % 2);
        assert_int_equal(*shard_source_digest(ds, SHARD_TRAIN, i), (uint8_t)(i >> 8));
    }
    shard_close(&ds);
}

static void names_survive_as_text(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"plain.jpg", "plain.jpg"},
        {"new\nline \xc3\xa9", "new\nline \xc3\xa9"},
        {"a\\b", "a\\\\b"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"\xc3", "\\xc3"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"\xc0\x80x", "\\xc0\\x80x"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\\x41", "\\\\x41"},
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
        {"\xe2\x82", "\\xe2\\x82"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = shard_name_escape(cases[i][0]), *back = shard_name_unescape(text);
        assert_string_equal(text, cases[i][1]);
        assert_string_equal(back, cases[i][0]);
        free(text);
        free(back);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(comes_back),
        TEST(index_comes_back),
        TEST(rejects_are_listed),
        TEST(damage_is_named),
        TEST(cut_and_missing_files_are_named),
        TEST(wrong_manifests_are_refused),
        TEST(manifests_have_no_version),
        TEST(no_dataset_is_not_found),
        TEST(writer_reports_a_missing_folder),
        TEST(several_files_are_one_split),
        TEST(names_survive_as_text),
    };
    return cmocka_run_group_tests_name("shard", tests, NULL, NULL);
}
