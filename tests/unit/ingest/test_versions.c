// When is a version made of a folder that has one already, what is taken from the version before,
// and what if that is damaged?
#include "base/fs.h"
#include "tree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void touch(const tree_t *tree, const char *path, int seconds) {
    struct stat info;
    char *full = tree_path(tree, path);
    assert_int_equal(stat(full, &info), 0);
    const struct timespec times[2] = {info.st_atim,
                                      {info.st_mtim.tv_sec + seconds, info.st_mtim.tv_nsec}};
    assert_int_equal(utimensat(AT_FDCWD, full, times, 0), 0);
    free(full);
}

// Other bytes of the same size under the same time: only a rehash can see it.
static void swap_secretly(const tree_t *tree, const char *path, uint32_t content) {
    struct stat before, after;
    char *full = tree_path(tree, path);
    assert_int_equal(stat(full, &before), 0);
    for (after.st_size = -1; after.st_size != before.st_size; content++) {
        tree_image(tree, path, content);
        assert_int_equal(stat(full, &after), 0);
    }
    const struct timespec times[2] = {before.st_atim, before.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, full, times, 0), 0);
    free(full);
}

static made_t version_after(const tree_t *tree, uint64_t version, bool rehash) {
    ingest_options_t options = tree_options(tree, version, version - 1);
    options.rehash = rehash;
    made_t made = tree_ingest(&options);
    assert_int_equal(tree_left_overs(tree, &options), made.result.unchanged ? 0 : 1);
    tree_options_free(&options);
    return made;
}

static void unchanged_and_rehash(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    tree_bytes(&tree, "dogs/rubbish.jpg", "x", 1);
    made_t first = version_after(&tree, 1, false);
    made_t again = version_after(&tree, 2, false);
    assert_true(again.result.unchanged);
    assert_string_equal(again.result.digest, first.result.digest);
    made_free(&again);
    again = version_after(&tree, 2, true);
    assert_true(again.result.unchanged);
    made_free(&again);
    touch(&tree, "cats/3.png", 10);
    again = version_after(&tree, 2, false);
    assert_true(again.result.unchanged);
    made_free(&again);
    swap_secretly(&tree, "cats/4.png", 70000);
    again = version_after(&tree, 2, false);
    assert_true(again.result.unchanged);
    made_free(&again);
    again = version_after(&tree, 2, true);
    assert_false(again.result.unchanged);
    assert_memory_not_equal(made_entry(&again, "cats/4.png")->digest,
                            made_entry(&first, "cats/4.png")->digest, SHARD_DIGEST_BYTES);
    made_free(&again);
    made_free(&first);
    tree_end(&tree);
}

// Unchanged files are not read: these could not even be.
static void pixels_come_from_the_version_before(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    made_t first = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    swap_secretly(&tree, "cats/4.png", 70000);
    tree_image(&tree, "cats/new.png", 3000);
    made_t second = tree_version(&tree, 2, 1, INGEST_GROUP_NONE);
    const shard_entry_t *before = made_entry(&first, "cats/4.png"),
                        *after = made_entry(&second, "cats/4.png");
    assert_memory_equal(before->digest, after->digest, SHARD_DIGEST_BYTES);
    assert_memory_equal(shard_pixels(first.ds, before->split, before->row),
                        shard_pixels(second.ds, after->split, after->row), TREE_SIZE * TREE_SIZE);
    made_free(&second);
    // Other pixels are wanted: all is read again.
    ingest_options_t options = tree_options(&tree, 3, 2);
    options.recipe.fit = PREP_PAD;
    made_t third = tree_ingest(&options);
    assert_false(third.result.unchanged);
    assert_memory_not_equal(made_entry(&third, "cats/4.png")->digest, before->digest,
                            SHARD_DIGEST_BYTES);
    made_free(&third);
    made_free(&first);
    tree_options_free(&options);
    tree_end(&tree);
}

static void options_make_a_version(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    made_free(&made);
    for (uint64_t version = 2; version <= 5; version++) {
        ingest_options_t options = tree_options(&tree, version, version - 1);
        options.seed = version == 2;
        options.recipe.mean_subtract = version == 3;
        options.group_by = version == 4 ? INGEST_GROUP_STEM : INGEST_GROUP_NONE;
        made = tree_ingest(&options);
        assert_false(made.result.unchanged);
        made_free(&made);
        tree_options_free(&options);
    }
    tree_end(&tree);
}

// An image that goes and comes back finds its place again.
static void gone_and_back(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(30);
    made_t first = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    for (int i = 1; i <= 12; i++) {
        char *path = mem_format("cats/%d.png", i);
        tree_remove(&tree, path);
        free(path);
    }
    made_t second = tree_version(&tree, 2, 1, INGEST_GROUP_NONE);
    made_free(&second);
    tree_class(&tree, "cats", 2001, 10);
    second = tree_version(&tree, 3, 2, INGEST_GROUP_NONE);
    made_free(&second);
    tree_class(&tree, "cats/back", 1, 12);
    second = tree_version(&tree, 4, 3, INGEST_GROUP_NONE);
    for (int i = 1; i <= 12; i++) {
        char *before = mem_format("cats/%d.png", i), *now = mem_format("cats/back/%d.png", i);
        assert_int_equal(made_entry(&first, before)->split, made_entry(&second, now)->split);
        free(before);
        free(now);
    }
    made_free(&second);
    made_free(&first);
    tree_end(&tree);
}

static void damage(const tree_t *tree, const char *name, off_t at) {
    char *folder = fs_join(tree->root, "v1"), *path = fs_join(folder, name);
    char byte;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    free(path);
    free(folder);
}

static void damaged_previous(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(12);
    made_t first = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    damage(&tree, "train-00000.shard", 5000);
    made_t second = tree_version(&tree, 2, 1, INGEST_GROUP_NONE);
    assert_false(second.result.unchanged);
    for (int64_t i = 0; i < first.index.count; i++)
        assert_int_equal(first.index.entries[i].split, second.index.entries[i].split);
    made_free(&second);
    made_free(&first);
    damage(&tree, SHARD_INDEX, 3);
    ingest_options_t options = tree_options(&tree, 3, 1);
    tree_refused(&tree, &options, ERR_CORRUPT, SHARD_INDEX);
    tree_options_free(&options);
    tree_end(&tree);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unchanged_and_rehash),
        cmocka_unit_test(pixels_come_from_the_version_before),
        cmocka_unit_test(options_make_a_version),
        cmocka_unit_test(gone_and_back),
        cmocka_unit_test(damaged_previous),
    };
    return cmocka_run_group_tests(tests, setup_prep, teardown_prep);
}
