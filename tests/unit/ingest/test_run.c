// What does a run make of a folder: which options matter, what is refused with which words, when is
// nothing done, and what is left behind when it ends early?
#include "base/fs.h"
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static tree_t two_classes(int count) {
    tree_t tree = tree_begin();
    tree_class(&tree, "cats", 1, count);
    tree_class(&tree, "dogs", 1001, count);
    return tree;
}

// ---- the plain case ----

static void labels_are_sorted(void **state) {
    (void)state;
    tree_t tree = tree_begin();
    tree_class(&tree, "b", 1, 20);
    tree_class(&tree, "a", 101, 10);
    tree_class(&tree, "B", 201, 30);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    static const char *const names[] = {"B", "a", "b"};
    static const int64_t wanted[SHARD_SPLIT_COUNT][3] = {{24, 8, 16}, {3, 1, 2}, {3, 1, 2}};
    assert_int_equal(made.result.class_count, 3);
    for (int c = 0; c < 3; c++) {
        assert_string_equal(made.result.classes[c], names[c]);
        for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
            assert_int_equal(shard_info(made.ds)->class_images[s][c], wanted[s][c]);
    }
    made_free(&made);
    tree_end(&tree);
}

static void classes_are_picked(void **state) {
    (void)state;
    tree_t tree = two_classes(12);
    tree_class(&tree, "samples", 5001, 3);
    ingest_options_t options = tree_options(&tree, 1, 0);
    tree_refused(&tree, &options, ERR_INVALID, "'samples' has 3 files");
    tree_refused(&tree, &options, ERR_INVALID, "--classes cats,dogs");
    options.classes = (const char *const[]){"dogs", "cats"};
    options.class_count = 2;
    made_t made = tree_ingest(&options);
    assert_int_equal(made.result.images, 24);
    made_free(&made);
    tree_options_free(&options);
    options = tree_options(&tree, 2, 0);
    options.classes = (const char *const[]){"dogs", "birds"};
    options.class_count = 2;
    tree_refused(&tree, &options, ERR_NOT_FOUND, "'birds'");
    options.classes = (const char *const[]){"dogs", "../v1"};
    tree_refused(&tree, &options, ERR_NOT_FOUND, "'../v1'");
    options.class_count = 1;
    tree_refused(&tree, &options, ERR_INVALID, "only one class");
    tree_options_free(&options);
    tree_end(&tree);
}

// The pixels are prep's, in the row that the index says.
static void pixels_are_those_of_prep(void **state) {
    (void)state;
    tree_t tree = two_classes(12);
    ingest_options_t options = tree_options(&tree, 1, 0);
    options.recipe.channels = 3;
    made_t made = tree_ingest(&options);
    for (int64_t i = 0; i < made.index.count; i++) {
        const shard_entry_t *entry = &made.index.entries[i];
        char *path = tree_path(&tree, entry->path);
        void *bytes;
        size_t size;
        uint8_t pixels[TREE_SIZE * TREE_SIZE * 3];
        assert_int_equal(fs_read(path, 1 << 20, &bytes, &size, NULL), ERR_OK);
        assert_int_equal(prep_image(bytes, size, &options.recipe, NULL, pixels, NULL), ERR_OK);
        assert_memory_equal(shard_pixels(made.ds, entry->split, entry->row), pixels, sizeof pixels);
        free(bytes);
        free(path);
    }
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

static void mean_is_of_the_training_images(void **state) {
    (void)state;
    tree_t tree = two_classes(15);
    ingest_options_t options = tree_options(&tree, 1, 0);
    options.recipe.mean_subtract = true;
    made_t made = tree_ingest(&options);
    prep_recipe_t recipe;
    double sum = 0, bytes = TREE_SIZE * TREE_SIZE;
    for (int64_t i = 0; i < shard_count(made.ds, SHARD_TRAIN); i++)
        for (int k = 0; k < TREE_SIZE * TREE_SIZE; k++)
            sum += shard_pixels(made.ds, SHARD_TRAIN, i)[k];
    assert_int_equal(prep_recipe_parse(shard_info(made.ds)->recipe, &recipe, NULL), ERR_OK);
    assert_true(recipe.mean_subtract);
    double mean = sum / bytes / (double)shard_count(made.ds, SHARD_TRAIN);
    assert_true(recipe.mean[0] > mean - 1e-4 && recipe.mean[0] < mean + 1e-4);
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

// ---- copies ----

static void copies_and_contradictions(void **state) {
    (void)state;
    tree_t tree = two_classes(14);
    tree_image(&tree, "cats/again/3.png", 3);
    tree_image(&tree, "dogs/cat.png", 5);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    assert_int_equal(made.result.duplicates, 1);
    assert_int_equal(made.result.conflicts, 2);
    assert_int_equal(made.result.rejected, 2);
    assert_int_equal(made.result.images, 27);
    assert_int_equal(made_entry(&made, "cats/3.png")->outcome, SHARD_KEPT);
    assert_int_equal(made_entry(&made, "cats/again/3.png")->outcome, SHARD_DUPLICATE);
    assert_non_null(strstr(made_entry(&made, "cats/5.png")->reason, "dogs/cat.png"));
    assert_non_null(strstr(made_entry(&made, "dogs/cat.png")->reason, "cats/5.png"));
    made_free(&made);
    ingest_options_t options = tree_options(&tree, 2, 0);
    options.strict = true;
    tree_refused(&tree, &options, ERR_INVALID, "cats/5.png: the same bytes");
    tree_options_free(&options);
    tree_end(&tree);
}

// Pairs of one stem go together; a copy ties its own stem to that of the file kept.
static void stems_stay_together(void **state) {
    (void)state;
    tree_t tree = tree_begin();
    for (uint32_t i = 0; i < 40; i++) {
        char *cat = mem_format("cats/%u.png", i), *dog = mem_format("dogs/x/%u.jpeg", i);
        tree_image(&tree, cat, 1 + i);
        tree_image(&tree, dog, 1001 + i);
        free(cat);
        free(dog);
    }
    tree_image(&tree, "cats/zz.tar.png", 1 + 7);
    tree_image(&tree, "dogs/zz.tar.gif", 5000);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_STEM);
    for (int i = 0; i < 40; i++) {
        char *cat = mem_format("cats/%d.png", i), *dog = mem_format("dogs/x/%d.jpeg", i);
        const shard_entry_t *a = made_entry(&made, cat), *b = made_entry(&made, dog);
        assert_int_equal(a->split, b->split);
        assert_string_equal(a->group, b->group);
        free(cat);
        free(dog);
    }
    assert_int_equal(made_entry(&made, "cats/zz.tar.png")->outcome, SHARD_DUPLICATE);
    const shard_entry_t *tied = made_entry(&made, "dogs/zz.tar.gif");
    assert_string_equal(tied->group, "7");
    assert_int_equal(tied->split, made_entry(&made, "cats/7.png")->split);
    for (int c = 0; c < 2; c++) {
        assert_in_range(shard_info(made.ds)->class_images[SHARD_VAL][c], 3, 5);
        assert_in_range(shard_info(made.ds)->class_images[SHARD_TEST][c], 3, 5);
    }
    made_free(&made);
    tree_end(&tree);
}

static void one_group_cannot_be_split(void **state) {
    (void)state;
    tree_t tree = tree_begin();
    tree_class(&tree, "cats", 1, 20);
    for (uint32_t i = 0; i < 12; i++) {
        char *path = mem_format("dogs/%u/same.png", i);
        tree_image(&tree, path, 1001 + i);
        free(path);
    }
    ingest_options_t options = tree_options(&tree, 1, 0);
    options.group_by = INGEST_GROUP_STEM;
    tree_refused(&tree, &options, ERR_INVALID, "'dogs'");
    tree_refused(&tree, &options, ERR_INVALID, "--group-by none");
    tree_options_free(&options);
    tree_end(&tree);
}

// Three groups of very different sizes: every split gets one all the same.
static void few_groups_fill_all_splits(void **state) {
    (void)state;
    tree_t tree = tree_begin();
    tree_class(&tree, "cats", 1, 20);
    for (uint32_t i = 0; i < 18; i++) {
        char *path = mem_format("dogs/%u/%s.png", i, i < 9 ? "a" : i < 14 ? "b" : "c");
        tree_image(&tree, path, 1001 + i);
        free(path);
    }
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_STEM);
    assert_int_equal(shard_info(made.ds)->class_images[SHARD_TRAIN][1], 9);
    assert_int_equal(shard_info(made.ds)->class_images[SHARD_VAL][1] +
                         shard_info(made.ds)->class_images[SHARD_TEST][1],
                     9);
    made_free(&made);
    tree_end(&tree);
}

// ---- refusals ----

static void folders_that_are_none(void **state) {
    (void)state;
    tree_t tree = tree_begin();
    ingest_options_t options = tree_options(&tree, 1, 0);
    tree_refused(&tree, &options, ERR_INVALID, "no class folders");
    tree_class(&tree, "cats", 1, 12);
    tree_refused(&tree, &options, ERR_INVALID, "only one class, 'cats'");
    char *empty = tree_path(&tree, "dogs"), *missing = tree_path(&tree, "nowhere");
    assert_int_equal(mkdir(empty, 0700), 0);
    tree_refused(&tree, &options, ERR_INVALID, "'dogs' has 0 files");
    options.folder = missing;
    tree_refused(&tree, &options, ERR_NOT_FOUND, "nowhere");
    char *file = tree_path(&tree, "cats/1.png");
    options.folder = file;
    tree_refused(&tree, &options, ERR_NOT_FOUND, "cats/1.png");
    tree_options_free(&options);
    free(empty);
    free(missing);
    free(file);
    tree_end(&tree);
}

// ---- parts of the test that need a process of their own: this program, started again ----

typedef int part_t(const tree_t *tree);

static int start_part(const char *name, const tree_t *tree) {
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "ingest_run_test", name, tree->root, NULL);
        _exit(4);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

// As root nothing is unreadable: the part gives that up.
static bool be_nobody(const tree_t *tree) {
    return geteuid() != 0 ||
           (chown(tree->root, 65534, 65534) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
}

static int expect(const tree_t *tree, err_code_t code, const char *part) {
    if (!be_nobody(tree))
        return 3;
    ingest_options_t options = tree_options(tree, 1, 0);
    ingest_result_t result;
    err_t err = {0};
    err_code_t got = ingest_run(&options, NULL, NULL, &result, &err);
    ingest_result_release(&result);
    tree_options_free(&options);
    if (got == code && (!code || strstr(err.message, part)))
        return 0;
    fprintf(stderr, "%s instead of %s: %s\n", err_name(got), err_name(code), err.message);
    return 2;
}

static int refuse_class_folder(const tree_t *tree) {
    return expect(tree, ERR_INVALID, "cannot read the class folder");
}

static int skip_what_is_closed(const tree_t *tree) {
    return expect(tree, ERR_OK, "");
}

static void unreadable_places(void **state) {
    (void)state;
    tree_t tree = two_classes(12);
    char *folder = tree_path(&tree, "dogs");
    assert_int_equal(chmod(tree.root, 0755), 0);
    assert_int_equal(chmod(tree.source, 0755), 0);
    char *cats = tree_path(&tree, "cats");
    assert_int_equal(chmod(cats, 0755), 0);
    assert_int_equal(chmod(folder, 0), 0);
    assert_int_equal(start_part("refuse_class_folder", &tree), 0);
    assert_int_equal(chmod(folder, 0755), 0);
    tree_image(&tree, "dogs/closed/1.png", 7777);
    tree_image(&tree, "dogs/closed.png", 7778);
    char *closed = tree_path(&tree, "dogs/closed"), *file = tree_path(&tree, "dogs/closed.png");
    assert_int_equal(chmod(closed, 0), 0);
    assert_int_equal(chmod(file, 0), 0);
    assert_int_equal(start_part("skip_what_is_closed", &tree), 0);
    char *out = fs_join(tree.root, "v1");
    shard_index_t index;
    assert_int_equal(shard_index_read(out, &index, NULL), ERR_OK);
    made_t made = {.index = index};
    assert_non_null(strstr(made_entry(&made, "dogs/closed")->reason, "Permission denied"));
    assert_non_null(strstr(made_entry(&made, "dogs/closed.png")->reason, "Permission denied"));
    shard_index_release(&index);
    // What could not be read is tried again although nothing seems to have changed.
    assert_int_equal(chmod(file, 0644), 0);
    made = tree_version(&tree, 2, 1, INGEST_GROUP_NONE);
    assert_false(made.result.unchanged);
    assert_int_equal(made_entry(&made, "dogs/closed.png")->outcome, SHARD_KEPT);
    made_free(&made);
    assert_int_equal(chmod(closed, 0755), 0);
    free(folder);
    free(cats);
    free(closed);
    free(file);
    free(out);
    tree_end(&tree);
}

static void one_percent(void **state) {
    (void)state;
    tree_t tree = tree_begin();
    tree_class(&tree, "cats", 1, 1010);
    tree_class(&tree, "dogs", 2001, 300);
    tree_class(&tree, "samples", 5001, 10);
    ingest_options_t options = tree_options(&tree, 1, 0);
    tree_refused(&tree, &options, ERR_INVALID, "'samples' has 10 files, under 1 %");
    tree_refused(&tree, &options, ERR_INVALID, "--classes cats,dogs");
    tree_remove(&tree, "cats/1.png");
    for (int i = 2; i <= 10; i++) {
        char *path = mem_format("cats/%d.png", i);
        tree_remove(&tree, path);
        free(path);
    }
    made_t made = tree_ingest(&options);
    assert_int_equal(made.result.class_count, 3);
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

// Ten files, but only nine images.
static void too_few_usable(void **state) {
    (void)state;
    tree_t tree = two_classes(10);
    tree_bytes(&tree, "dogs/1001.png", "", 0);
    ingest_options_t options = tree_options(&tree, 1, 0);
    tree_refused(&tree, &options, ERR_INVALID, "'dogs' has 9 usable images");
    tree_options_free(&options);
    tree_end(&tree);
}

// What became of the files is said, and what helps.
static void rejects_leave_too_few(void **state) {
    (void)state;
    tree_t tree = tree_begin();
    tree_class(&tree, "dogs", 1001, 20);
    tree_class(&tree, "eels", 2001, 20);
    for (int i = 0; i < 30; i++) {
        char *path = mem_format("cats/%02d.jpg", i);
        tree_bytes(&tree, path, "a note\n", 7);
        free(path);
    }
    tree_image(&tree, "cats/good.png", 1);
    tree_image(&tree, "cats/good2.png", 1);
    ingest_options_t options = tree_options(&tree, 1, 0);
    tree_refused(&tree, &options, ERR_INVALID,
                 "'cats' has 1 usable images: at least 10 are needed; 30 of 32 files were "
                 "rejected, 1 are copies of others, e.g. cats/00.jpg: ");
    tree_refused(&tree, &options, ERR_INVALID,
                 "put images in the place of the rejected files, or leave the folder out: "
                 "--classes dogs,eels");
    ingest_result_t result;
    assert_int_equal(ingest_run(&options, NULL, NULL, &result, NULL), ERR_INVALID);
    assert_int_equal(result.rejected, 30);
    assert_int_equal(result.refused_count, INGEST_REFUSED_MAX);
    for (int i = 0; i < result.refused_count; i++) {
        char *start = mem_format("cats/%02d.jpg: ", i);
        assert_memory_equal(result.refused[i], start, strlen(start));
        free(start);
    }
    ingest_result_release(&result);
    options.strict = true;
    tree_refused(&tree, &options, ERR_INVALID, "or more files were refused, e.g. cats/");
    tree_options_free(&options);
    tree_end(&tree);
}

// A link puts every image under two labels.
static void conflicts_leave_too_few(void **state) {
    (void)state;
    tree_t tree = two_classes(12);
    char *link = tree_path(&tree, "dogs/loop");
    assert_int_equal(symlink("..", link), 0);
    ingest_options_t options = tree_options(&tree, 1, 0);
    tree_refused(&tree, &options, ERR_INVALID,
                 "12 of 12 files stand under another label too, e.g. cats/1.png: the same "
                 "bytes stand under another label: dogs/loop/cats/1.png");
    tree_refused(&tree, &options, ERR_INVALID, "keep each image under one label only");
    ingest_result_t result;
    assert_int_equal(ingest_run(&options, NULL, NULL, &result, NULL), ERR_INVALID);
    assert_true(result.conflicts > 0 && result.rejected == result.conflicts);
    assert_int_equal(result.refused_count, INGEST_REFUSED_MAX);
    ingest_result_release(&result);
    free(link);
    tree_options_free(&options);
    tree_end(&tree);
}

static void strict_names_the_file(void **state) {
    (void)state;
    tree_t tree = two_classes(12);
    tree_bytes(&tree, "dogs/notes.jpg", "meow", 4);
    ingest_options_t options = tree_options(&tree, 1, 0);
    options.strict = true;
    tree_refused(&tree, &options, ERR_INVALID, "dogs/notes.jpg");
    options.strict = false;
    made_t made = tree_ingest(&options);
    assert_int_equal(made.result.rejected, 1);
    made_free(&made);
    tree_options_free(&options);
    // A version with a reject does not stand for a strict run, unchanged or not.
    options = tree_options(&tree, 2, 1);
    options.strict = true;
    tree_refused(&tree, &options, ERR_INVALID, "dogs/notes.jpg");
    tree_options_free(&options);
    tree_end(&tree);
}

static void out_that_exists(void **state) {
    (void)state;
    tree_t tree = two_classes(10);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    ingest_options_t options = tree_options(&tree, 1, 0);
    ingest_result_t result;
    err_t err;
    assert_int_equal(ingest_run(&options, NULL, NULL, &result, &err), ERR_CONFLICT);
    ingest_result_release(&result);
    assert_int_equal(tree_left_overs(&tree, &options), 1);
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

// ---- versions ----

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
    tree_t tree = two_classes(12);
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
    tree_t tree = two_classes(12);
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
    tree_t tree = two_classes(12);
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
    tree_t tree = two_classes(30);
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
    tree_t tree = two_classes(12);
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

// ---- ends ----

typedef struct {
    int64_t read, written; // cancel once so many were
    int64_t calls, last_read, last_written, files;
} watch_t;

static bool watch(void *context, const ingest_state_t *state) {
    watch_t *seen = context;
    assert_true(state->read >= seen->last_read && state->read <= state->files);
    assert_true(state->written >= seen->last_written);
    seen->last_read = state->read;
    seen->last_written = state->written;
    seen->files = state->files;
    seen->calls++;
    return state->read < seen->read && state->written < seen->written;
}

static void progress_reaches_its_end(void **state) {
    (void)state;
    tree_t tree = two_classes(12);
    ingest_options_t options = tree_options(&tree, 1, 0);
    ingest_result_t result;
    watch_t seen = {.read = INT64_MAX, .written = INT64_MAX};
    assert_int_equal(ingest_run(&options, watch, &seen, &result, NULL), ERR_OK);
    assert_int_equal(seen.last_read, 24);
    assert_int_equal(seen.last_written, 24);
    assert_true(seen.calls >= 2);
    ingest_result_release(&result);
    tree_options_free(&options);
    tree_end(&tree);
}

static void cancelled(void **state) {
    (void)state;
    tree_t tree = two_classes(30);
    ingest_options_t options = tree_options(&tree, 1, 0);
    const watch_t ends[] = {
        {0, INT64_MAX, 0, 0, 0, 0}, {60, INT64_MAX, 0, 0, 0, 0}, {INT64_MAX, 60, 0, 0, 0, 0}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        watch_t seen = ends[i];
        ingest_result_t result;
        err_t err;
        assert_int_equal(ingest_run(&options, watch, &seen, &result, &err), ERR_CANCELLED);
        ingest_result_release(&result);
        assert_int_equal(tree_left_overs(&tree, &options), 0);
    }
    tree_options_free(&options);
    tree_end(&tree);
}

static bool kill_self(void *context, const ingest_state_t *state) {
    if (state->written >= *(const int64_t *)context)
        raise(SIGKILL);
    return true;
}

static int die(const tree_t *tree, int64_t written) {
    ingest_options_t options = tree_options(tree, 1, 0);
    ingest_result_t result;
    ingest_run(&options, kill_self, &written, &result, NULL);
    return 5;
}

static int die_reading(const tree_t *tree) {
    return die(tree, 0);
}

static int die_when_written(const tree_t *tree) {
    return die(tree, 24);
}

static void age_left_overs(const tree_t *tree) {
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    DIR *folder = opendir(tree->root);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strstr(entry->d_name, ".tmp-")) {
            char *path = fs_join(tree->root, entry->d_name);
            assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
            free(path);
        }
    closedir(folder);
}

// What a run holds is not swept away, however old.
static bool sweep(void *context, const ingest_state_t *state) {
    (void)state;
    age_left_overs(context);
    ingest_sweep(((const tree_t *)context)->root);
    return true;
}

static void held_folders_stay(void **state) {
    (void)state;
    tree_t tree = two_classes(12);
    ingest_options_t options = tree_options(&tree, 1, 0);
    ingest_result_t result;
    assert_int_equal(ingest_run(&options, sweep, &tree, &result, NULL), ERR_OK);
    ingest_result_release(&result);
    tree_options_free(&options);
    tree_end(&tree);
}

static void killed(void **state) {
    (void)state;
    tree_t tree = two_classes(12);
    ingest_options_t options = tree_options(&tree, 1, 0);
    static const char *const parts[] = {"die_reading", "die_when_written"};
    for (int i = 0; i < 2; i++) {
        int status = start_part(parts[i], &tree);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        assert_int_equal(access(options.out, F_OK), -1);
    }
    assert_int_equal(tree_left_overs(&tree, &options), 2); // .tmp-…
    ingest_sweep(tree.root);
    assert_int_equal(tree_left_overs(&tree, &options), 2); // too young
    age_left_overs(&tree);
    ingest_sweep(tree.root);
    assert_int_equal(tree_left_overs(&tree, &options), 0);
    made_t made = tree_ingest(&options);
    ingest_sweep(tree.root);
    assert_int_equal(tree_left_overs(&tree, &options), 1);
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

// No file may grow beyond some size: as with a full disk, writing fails in the middle.
static void disk_full(void **state) {
    (void)state;
    tree_t tree = two_classes(200);
    ingest_options_t options = tree_options(&tree, 1, 0);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    // spool: 400 × 64 bytes; train shard: 4096 + 320 × (64 + 36); index: more than that
    static const rlim_t limits[] = {0, 10000, 26000, 30000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        small = (struct rlimit){limits[i], before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        ingest_result_t result;
        err_t err = {0};
        err_code_t code = ingest_run(&options, NULL, NULL, &result, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(code, ERR_IO);
        assert_non_null(strstr(err.message, tree.root));
        ingest_result_release(&result);
        assert_int_equal(tree_left_overs(&tree, &options), 0);
    }
    signal(SIGXFSZ, SIG_DFL);
    tree_options_free(&options);
    tree_end(&tree);
}

// ---- what else lies in folders ----

static void make_special(const tree_t *tree) {
    char *fifo = tree_path(tree, "cats/fifo.png"), *place = tree_path(tree, "cats/socket.png");
    char *loop = tree_path(tree, "cats/loop"), *up = tree_path(tree, "dogs/up");
    char *self = tree_path(tree, "dogs/self.png"), *link = tree_path(tree, "dogs/link.png");
    char *null = tree_path(tree, "dogs/null.png");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", place);
    assert_int_equal(bind(server, (struct sockaddr *)&address, sizeof address), 0);
    close(server);
    assert_int_equal(symlink(".", loop), 0);
    assert_int_equal(symlink("../dogs", up), 0);
    assert_int_equal(symlink("self.png", self), 0);
    assert_int_equal(symlink("1001.png", link), 0);
    assert_int_equal(symlink("/dev/zero", null), 0);
    free(fifo);
    free(place);
    free(loop);
    free(up);
    free(self);
    free(link);
    free(null);
}

static void special_files(void **state) {
    (void)state;
    tree_t tree = two_classes(12);
    make_special(&tree);
    tree_image(&tree, "cats/.hidden.png", 9000);
    tree_image(&tree, ".git/1.png", 9001);
    tree_bytes(&tree, "README", "no class", 8);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    assert_int_equal(made.result.images, 24);
    assert_int_equal(made.result.duplicates, 1); // link.png
    assert_int_equal(made.result.rejected, 4);   // self.png and what is no regular file
    static const char *const others[] = {"cats/fifo.png", "cats/socket.png", "dogs/null.png"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_int_equal(made_entry(&made, others[i])->outcome, SHARD_REJECTED);
        assert_string_equal(made_entry(&made, others[i])->reason, "not a regular file");
    }
    assert_int_equal(made_entry(&made, "dogs/self.png")->outcome, SHARD_REJECTED);
    assert_int_equal(made_entry(&made, "dogs/1001.png")->outcome, SHARD_KEPT);
    made_free(&made);
    made = tree_version(&tree, 2, 1, INGEST_GROUP_NONE);
    assert_true(made.result.unchanged);
    made_free(&made);
    tree_end(&tree);
}

// A run that writes nothing closes nothing of its caller's.
static void descriptors_stay(void **state) {
    (void)state;
    tree_t tree = two_classes(12);
    int input = dup(STDIN_FILENO); // 0 may be closed already: then it is opened here
    if (input < 0)
        assert_int_equal(open("/dev/null", O_RDONLY), STDIN_FILENO);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    made_free(&made);
    made = tree_version(&tree, 2, 1, INGEST_GROUP_NONE);
    assert_true(made.result.unchanged);
    assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
    made_free(&made);
    ingest_options_t options = tree_options(&tree, 1, 0);
    ingest_result_t result;
    assert_int_equal(ingest_run(&options, NULL, NULL, &result, NULL), ERR_CONFLICT);
    assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
    ingest_result_release(&result);
    if (input >= 0)
        close(input);
    tree_options_free(&options);
    tree_end(&tree);
}

static void strange_names(void **state) {
    (void)state;
    static const char *const names[] = {"new\nline.png",
                                        "caf\xc3\xa9.png",
                                        "bad\xff\xfe.png",
                                        "back\\slash.png",
                                        "sp ace \".png",
                                        "no-extension",
                                        "-rf",
                                        "{}.png"};
    tree_t tree = two_classes(12);
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = mem_format("c l\xff\n/%s", names[i]);
        tree_image(&tree, path, 9000 + i);
        free(path);
    }
    tree_class(&tree, "c l\xff\n", 9100, 12);
    tree_bytes(&tree, "c l\xff\n/rub\nbish", "x", 1);
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_STEM);
    assert_string_equal(made.result.classes[0], "c l\\xff\n");
    assert_int_equal(made.result.images, 24 + 8 + 12);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = mem_format("c l\xff\n/%s", names[i]);
        assert_int_equal(made_entry(&made, path)->outcome, SHARD_KEPT);
        free(path);
    }
    made_free(&made);
    made = tree_version(&tree, 2, 1, INGEST_GROUP_STEM);
    assert_true(made.result.unchanged);
    made_free(&made);
    ingest_options_t options = tree_options(&tree, 3, 0);
    options.classes = (const char *const[]){"c l\\xff\n", "dogs"};
    options.class_count = 2;
    made = tree_ingest(&options);
    made_free(&made);
    tree_options_free(&options);
    tree_end(&tree);
}

static void deep_folders(void **state) {
    (void)state;
    tree_t tree = two_classes(12);
    char *path = mem_dup("dogs");
    for (int i = 1; i <= INGEST_DEPTH_MAX; i++) {
        char *deeper = mem_format("%s/d", path);
        free(path);
        path = deeper;
        if (i == INGEST_DEPTH_MAX - 1 || i == INGEST_DEPTH_MAX) {
            char *file = mem_format("%s/%d.png", path, i);
            tree_image(&tree, file, 6000 + (uint32_t)i);
            free(file);
        }
    }
    made_t made = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    assert_int_equal(made.result.images, 25);
    assert_non_null(strstr(made_entry(&made, path)->reason, "nested"));
    made_free(&made);
    free(path);
    tree_end(&tree);
}

static int play_part(const char *name, char *root) {
    static const struct {
        const char *name;
        part_t *play;
    } parts[] = {{"refuse_class_folder", refuse_class_folder},
                 {"skip_what_is_closed", skip_what_is_closed},
                 {"die_reading", die_reading},
                 {"die_when_written", die_when_written}};
    tree_t tree = {root, fs_join(root, "source")};
    int status = 6;
    if (prep_init(NULL) != ERR_OK)
        return 7;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strcmp(parts[i].name, name) == 0)
            status = parts[i].play(&tree);
    prep_shutdown();
    free(tree.source);
    return status;
}

int main(int argc, char **argv) {
    if (argc == 3)
        return play_part(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_sorted),
        cmocka_unit_test(classes_are_picked),
        cmocka_unit_test(pixels_are_those_of_prep),
        cmocka_unit_test(mean_is_of_the_training_images),
        cmocka_unit_test(copies_and_contradictions),
        cmocka_unit_test(stems_stay_together),
        cmocka_unit_test(one_group_cannot_be_split),
        cmocka_unit_test(few_groups_fill_all_splits),
        cmocka_unit_test(folders_that_are_none),
        cmocka_unit_test(unreadable_places),
        cmocka_unit_test(one_percent),
        cmocka_unit_test(too_few_usable),
        cmocka_unit_test(rejects_leave_too_few),
        cmocka_unit_test(conflicts_leave_too_few),
        cmocka_unit_test(strict_names_the_file),
        cmocka_unit_test(out_that_exists),
        cmocka_unit_test(unchanged_and_rehash),
        cmocka_unit_test(pixels_come_from_the_version_before),
        cmocka_unit_test(options_make_a_version),
        cmocka_unit_test(gone_and_back),
        cmocka_unit_test(damaged_previous),
        cmocka_unit_test(progress_reaches_its_end),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(killed),
        cmocka_unit_test(held_folders_stay),
        cmocka_unit_test(disk_full),
        cmocka_unit_test(special_files),
        cmocka_unit_test(descriptors_stay),
        cmocka_unit_test(strange_names),
        cmocka_unit_test(deep_folders),
    };
    return cmocka_run_group_tests(tests, setup_prep, teardown_prep);
}
