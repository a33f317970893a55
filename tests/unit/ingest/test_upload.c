// Is what an upload of a folder becomes, byte for byte, what the folder itself becomes, and does an
// upload that is damaged fail the run instead of becoming something else?
#include "base/fs.h"
#include "tree.h"
#include "upload.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- both ways ----

// The folder's name with nothing there.
static void hide(const tree_t *tree, bool hidden) {
    char *away = fs_join(tree->root, "away");
    assert_int_equal(hidden ? rename(tree->source, away) : rename(away, tree->source), 0);
    free(away);
}

static upload_t upload(const tree_t *tree) {
    char *files = fs_join(tree->root, "files");
    upload_t made = upload_make(tree->source, files);
    free(files);
    return made;
}

static void from_upload(ingest_options_t *options, upload_t *made) {
    options->listing = &made->listing;
    options->blobs = upload_blobs(made);
}

static void check_same_file(const char *left, const char *right, const char *name) {
    char *paths[] = {fs_join(left, name), fs_join(right, name)};
    void *bytes[2];
    size_t sizes[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(fs_read(paths[i], 64 << 20, &bytes[i], &sizes[i], NULL), ERR_OK);
    if (sizes[0] != sizes[1] || memcmp(bytes[0], bytes[1], sizes[0]) != 0)
        fail_msg("%s differs:\n%.3000s\n%.3000s", name, (char *)bytes[0], (char *)bytes[1]);
    for (int i = 0; i < 2; i++) {
        free(bytes[i]);
        free(paths[i]);
    }
}

static int count_files(const char *path) {
    DIR *folder = opendir(path);
    int count = 0;
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static void check_same(const char *left, const char *right) {
    DIR *folder = opendir(left);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            check_same_file(left, right, entry->d_name);
    closedir(folder);
    assert_int_equal(count_files(left), count_files(right));
}

// Ingests the tree with these options in place and, as version + 100, from an upload.
static made_t both_ways(const tree_t *tree, uint64_t version, const ingest_options_t *options) {
    ingest_options_t other = *options;
    char *out = mem_format("%s/v%llu", tree->root, (unsigned long long)version + 100);
    upload_t uploaded = upload(tree);
    made_t here = tree_ingest(options);
    other.out = out;
    from_upload(&other, &uploaded);
    hide(tree, true);
    made_t there = tree_ingest(&other);
    hide(tree, false);
    assert_int_equal(here.result.unchanged, there.result.unchanged);
    assert_int_equal(here.result.rejected, there.result.rejected);
    assert_string_equal(here.result.digest, there.result.digest);
    if (!here.result.unchanged)
        check_same(options->out, out);
    made_free(&there);
    upload_free(&uploaded);
    free(out);
    return here;
}

static void plain_version(const tree_t *tree, uint64_t version, uint64_t previous,
                          ingest_group_t group_by, bool unchanged) {
    ingest_options_t options = tree_options(tree, version, previous);
    options.group_by = group_by;
    made_t made = both_ways(tree, version, &options);
    assert_int_equal(made.result.unchanged, unchanged);
    made_free(&made);
    tree_options_free(&options);
}

// Everything that a folder can hold.
static void fill(const tree_t *tree) {
    tree_class(tree, "c \xff\n", 5000, 15);
    tree_class(tree, "cats-and", 7000, 12); // between "cats" and "cats/"
    tree_image(tree, "cats/more/deep/1.png", 300);
    tree_image(tree, "cats/copy.png", 3);
    tree_image(tree, "dogs/is-a-cat.png", 4); // contradicts
    tree_image(tree, "dogs/1.png", 1500);     // the stem of a cat
    tree_image(tree, "dogs/ \xfe\".png", 1501);
    tree_bytes(tree, "dogs/notes.txt", "woof", 4);
    tree_bytes(tree, "dogs/empty.png", "", 0);
    tree_image(tree, "dogs/.hidden.png", 1502);
    tree_image(tree, ".git/1.png", 1503);
    tree_bytes(tree, "README", "no class", 8);
    char *fifo = tree_path(tree, "cats/fifo.png"), *gone = tree_path(tree, "cats/gone.png"),
         *twice = tree_path(tree, "cats-and/twice"), *loop = tree_path(tree, "dogs/loop");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink("nowhere", gone), 0);
    assert_int_equal(symlink("../cats/more", twice), 0);
    assert_int_equal(symlink(".", loop), 0);
    free(fifo);
    free(gone);
    free(twice);
    free(loop);
}

static void same_as_in_place(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(20);
    fill(&tree);
    plain_version(&tree, 1, 0, INGEST_GROUP_NONE, false);
    plain_version(&tree, 2, 1, INGEST_GROUP_NONE, true);
    plain_version(&tree, 3, 1, INGEST_GROUP_STEM, false);
    // more, fewer, others; what was there comes from the version before
    tree_class(&tree, "dogs", 2000, 5);
    tree_remove(&tree, "cats/1.png");
    tree_image(&tree, "cats/2.png", 400);
    tree_remove(&tree, "dogs/is-a-cat.png");
    plain_version(&tree, 4, 3, INGEST_GROUP_STEM, false);
    plain_version(&tree, 5, 104, INGEST_GROUP_STEM, true); // that of the upload
    tree_end(&tree);
}

static void picked_classes(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    fill(&tree);
    ingest_options_t options = tree_options(&tree, 1, 0);
    options.classes = (const char *const[]){"dogs", "c \\xff\n"};
    options.class_count = 2;
    made_t made = both_ways(&tree, 1, &options);
    assert_int_equal(made.result.class_count, 2);
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

static void too_large(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    char large[5000] = "";
    tree_bytes(&tree, "dogs/large.png", large, sizeof large);
    ingest_options_t options = tree_options(&tree, 1, 0);
    options.limits.bytes = sizeof large - 1;
    made_t made = both_ways(&tree, 1, &options);
    const shard_entry_t *entry = made_entry(&made, "dogs/large.png");
    assert_string_equal(entry->reason, "the file has 5000 bytes; the limit is 4999");
    assert_false(entry->has_digest);
    made_free(&made);
    tree_options_free(&options);
    options = tree_options(&tree, 2, 1);
    options.limits.bytes = sizeof large - 1;
    made = both_ways(&tree, 2, &options);
    assert_true(made.result.unchanged);
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

// ---- what need not be read ----

// An upload of what the version before has needs no bytes at all, whatever they are called now.
static void no_bytes_needed(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    made_free(&made);
    char *from = tree_path(&tree, "cats/1.png"), *to = tree_path(&tree, "cats/renamed.png"),
         *touched = tree_path(&tree, "cats/2.png"), *copy = tree_path(&tree, "cats/copy.png");
    const struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
    assert_int_equal(rename(from, to), 0);
    assert_int_equal(link(touched, copy), 0);
    assert_int_equal(utimensat(0, touched, times, 0), 0);
    upload_t uploaded = upload(&tree);
    char *blobs = fs_join(uploaded.files, "blobs");
    ingest_options_t options = tree_options(&tree, 2, 1);
    from_upload(&options, &uploaded);
    assert_int_equal(fs_remove_all(blobs, NULL), ERR_OK);
    made = tree_ingest(&options);
    assert_false(made.result.unchanged);
    assert_int_equal(made.result.images, 24);
    assert_int_equal(made.result.duplicates, 1);
    made_free(&made);
    tree_options_free(&options);
    options = tree_options(&tree, 3, 1);
    from_upload(&options, &uploaded);
    options.rehash = true;
    tree_refused(&tree, &options, ERR_NOT_FOUND, "cats/");
    tree_options_free(&options);
    upload_free(&uploaded);
    free(from);
    free(to);
    free(touched);
    free(copy);
    free(blobs);
    tree_end(&tree);
}

// Other bytes of the same size and time: in place they go unseen, an upload tells.
static void same_time_other_bytes(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    const struct timespec times[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
    char *path = tree_path(&tree, "cats/1.txt");
    tree_bytes(&tree, "cats/1.txt", "mew", 3);
    assert_int_equal(utimensat(0, path, times, 0), 0);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    made_free(&made);
    tree_bytes(&tree, "cats/1.txt", "wem", 3);
    assert_int_equal(utimensat(0, path, times, 0), 0);
    made = tree_version(&tree, 2, 1, INGEST_GROUP_NONE);
    assert_true(made.result.unchanged);
    made_free(&made);
    upload_t uploaded = upload(&tree);
    ingest_options_t options = tree_options(&tree, 2, 1);
    from_upload(&options, &uploaded);
    made = tree_ingest(&options);
    assert_false(made.result.unchanged);
    made_free(&made);
    tree_options_free(&options);
    upload_free(&uploaded);
    free(path);
    tree_end(&tree);
}

// ---- refusals ----

static void refuse(const tree_t *tree, upload_t *uploaded, err_code_t code, const char *part) {
    ingest_options_t options = tree_options(tree, 1, 0);
    from_upload(&options, uploaded);
    tree_refused(tree, &options, code, part);
    tree_options_free(&options);
}

static void damaged_upload(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    upload_t uploaded = upload(&tree);
    char *blob = upload_path(&uploaded, "dogs/1005.png");
    assert_int_equal(fs_write(blob, "rotten", 6, NULL), ERR_OK);
    refuse(&tree, &uploaded, ERR_CORRUPT, "dogs/1005.png: the stack's copy");
    refuse(&tree, &uploaded, ERR_NOT_FOUND, "dogs/1005.png: ");
    refuse(&tree, &uploaded, ERR_NOT_FOUND, "uploads what is missing");
    free(blob);
    upload_free(&uploaded);
    uploaded = upload(&tree); // brings it again
    ingest_options_t options = tree_options(&tree, 1, 0);
    from_upload(&options, &uploaded);
    made_t made = tree_ingest(&options);
    assert_int_equal(made.result.rejected, 0);
    made_free(&made);
    tree_options_free(&options);
    upload_free(&uploaded);
    tree_end(&tree);
}

static void refused_as_in_place(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    char *birds = tree_path(&tree, "birds");
    assert_int_equal(fs_mkdirs(birds, NULL), ERR_OK);
    upload_t uploaded = upload(&tree);
    ingest_options_t options = tree_options(&tree, 1, 0);
    tree_refused(&tree, &options, ERR_INVALID, "class 'birds' has 0 files");
    refuse(&tree, &uploaded, ERR_INVALID, "class 'birds' has 0 files");
    from_upload(&options, &uploaded);
    options.classes = (const char *const[]){"cats", "birdies"};
    options.class_count = 2;
    tree_refused(&tree, &options, ERR_NOT_FOUND, "no class folder 'birdies'");
    tree_options_free(&options);
    upload_free(&uploaded);
    // what could not be read where it is
    char folder[] = "/p", path[] = "birds", reason[] = "cannot read the folder: Permission denied";
    listing_file_t file = {.path = path, .reason = reason};
    const listing_t closed = {.folder = folder,
                              .folders = (char *[]){path, path},
                              .folder_count = 1,
                              .files = &file,
                              .count = 1};
    char cats[] = "cats";
    listing_t two = closed;
    two.folders = (char *[]){path, cats};
    two.folder_count = 2;
    options = tree_options(&tree, 1, 0);
    options.listing = &two;
    tree_refused(&tree, &options, ERR_INVALID, "cannot read the class folder");
    options.listing = &closed;
    tree_refused(&tree, &options, ERR_INVALID, "has only one class");
    tree_options_free(&options);
    free(birds);
    tree_end(&tree);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_in_place),
        cmocka_unit_test(picked_classes),
        cmocka_unit_test(too_large),
        cmocka_unit_test(no_bytes_needed),
        cmocka_unit_test(same_time_other_bytes),
        cmocka_unit_test(damaged_upload),
        cmocka_unit_test(refused_as_in_place),
    };
    return cmocka_run_group_tests(tests, setup_prep, teardown_prep);
}
