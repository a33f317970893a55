// Are an upload's listing and files read back, and is whatever is not what its digest says seen,
// named, and removed so that it can come again?
#include "base/fs.h"
#include "upload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    char *root;
    upload_t upload;
} scene_t;

static void write_file(const char *path, const char *text) {
    assert_int_equal(fs_write(path, text, strlen(text), NULL), ERR_OK);
}

static int set_up(void **state) {
    scene_t *scene = mem_zero(1, sizeof *scene);
    scene->root = mem_dup("/tmp/inkling-upload-XXXXXX");
    assert_non_null(mkdtemp(scene->root));
    char *folder = fs_join(scene->root, "in/a"), *one = fs_join(folder, "one"),
         *none = fs_join(folder, "none"), *files = fs_join(scene->root, "files");
    assert_int_equal(fs_mkdirs(folder, NULL), ERR_OK);
    write_file(one, "first");
    write_file(none, "");
    *strrchr(folder, '/') = 0;
    scene->upload = upload_make(folder, files);
    free(folder);
    free(one);
    free(none);
    free(files);
    *state = scene;
    return 0;
}

static int tear_down(void **state) {
    scene_t *scene = *state;
    upload_free(&scene->upload);
    assert_int_equal(fs_remove_all(scene->root, NULL), ERR_OK);
    free(scene->root);
    free(scene);
    return 0;
}

static err_code_t read_file(scene_t *scene, size_t i, void **found, err_t *err) {
    const listing_blobs_t blobs = upload_blobs(&scene->upload);
    const listing_file_t *file = &scene->upload.listing.files[i];
    return listing_blobs_read(&blobs, file->digest, file->bytes, found, err);
}

static void all_is_there(void **state) {
    scene_t *scene = *state;
    const listing_blobs_t blobs = upload_blobs(&scene->upload);
    listing_t listing;
    void *found;
    assert_int_equal(listing_blobs_open(&blobs, scene->upload.digest, &listing, NULL), ERR_OK);
    assert_int_equal(listing.count, 2);
    assert_string_equal(listing.files[0].path, "a/none");
    listing_release(&listing);
    assert_int_equal(read_file(scene, 0, &found, NULL), ERR_OK);
    assert_string_equal(found, "");
    free(found);
    assert_int_equal(read_file(scene, 1, &found, NULL), ERR_OK);
    assert_string_equal(found, "first");
    free(found);
}

static void refuse_file(scene_t *scene, size_t i, err_code_t code, const char *part) {
    void *found;
    err_t err;
    assert_int_equal(read_file(scene, i, &found, &err), code);
    assert_null(found);
    assert_non_null(strstr(err.message, part));
    assert_non_null(strstr(err.message, scene->upload.listing.files[i].digest));
    assert_non_null(strstr(err.remedy, "uploads what is missing"));
}

static void damaged_files(void **state) {
    static const char *const others[] = {"other", "firs", "first ", ""};
    scene_t *scene = *state;
    char *path = upload_path(&scene->upload, "a/one"),
         *none = upload_path(&scene->upload, "a/none");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        write_file(path, others[i]);
        refuse_file(scene, 1, ERR_CORRUPT, "is damaged");
        assert_int_not_equal(access(path, F_OK), 0);
        refuse_file(scene, 1, ERR_NOT_FOUND, "no blob");
    }
    write_file(none, "x");
    refuse_file(scene, 0, ERR_CORRUPT, "is damaged");
    assert_int_equal(mkfifo(path, 0600), 0);
    refuse_file(scene, 1, ERR_CORRUPT, "is damaged");
    free(path);
    free(none);
}

// A listing that is wrong must not take away what others uploaded.
static void a_wrong_size_takes_nothing_away(void **state) {
    static const uint64_t sizes[] = {0, 4, 6, 1000};
    scene_t *scene = *state;
    const listing_blobs_t blobs = upload_blobs(&scene->upload);
    char *path = upload_path(&scene->upload, "a/one");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *found;
        err_t err;
        assert_int_equal(listing_blobs_read(&blobs, scene->upload.listing.files[1].digest, sizes[i],
                                            &found, &err),
                         ERR_CORRUPT);
        assert_non_null(strstr(err.message, "another size"));
        assert_int_equal(access(path, F_OK), 0);
    }
    free(path);
}

static void refuse_listing(scene_t *scene, const char *digest, err_code_t code, const char *part) {
    const listing_blobs_t blobs = upload_blobs(&scene->upload);
    listing_t listing;
    err_t err;
    assert_int_equal(listing_blobs_open(&blobs, digest, &listing, &err), code);
    assert_non_null(strstr(err.message, part));
    assert_null(listing.folder);
    assert_true(err.remedy[0] || code == ERR_CORRUPT);
}

static void damaged_listings(void **state) {
    scene_t *scene = *state;
    char digest[DIGEST_HEX_SIZE];
    upload_put(scene->upload.files, "{}\n", 3, digest);
    refuse_listing(scene, digest, ERR_CORRUPT, "line 1");
    upload_put(scene->upload.files, "{\"schema\":7}\n", 13, digest);
    refuse_listing(scene, digest, ERR_UNSUPPORTED, "schema 7");
    digest_bytes("elsewhere", 9, digest);
    refuse_listing(scene, digest, ERR_NOT_FOUND, "the upload's listing");
    refuse_listing(scene, "", ERR_INVALID, "is no digest");
    refuse_listing(scene, "../../../../etc/passwd", ERR_INVALID, "is no digest");
    digest[5] = 'F';
    refuse_listing(scene, digest, ERR_INVALID, "is no digest");
    char *folder = mem_format("%s/blobs/%.2s/%s", scene->upload.files, scene->upload.digest,
                              scene->upload.digest);
    write_file(folder, "{}\n");
    refuse_listing(scene, scene->upload.digest, ERR_CORRUPT, "is damaged");
    free(folder);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {TEST(all_is_there), TEST(damaged_files),
                                       TEST(a_wrong_size_takes_nothing_away),
                                       TEST(damaged_listings)};
    return cmocka_run_group_tests_name("listing blobs", tests, NULL, NULL);
}
