// Which folders are refused, and do the words name the file, say what became of the others, and
// what helps?
#include "tree.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    tree_t tree = tree_two_classes(10);
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
    tree_t tree = tree_two_classes(12);
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
    tree_t tree = tree_two_classes(12);
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
    tree_t tree = tree_two_classes(10);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_that_are_none),   cmocka_unit_test(one_percent),
        cmocka_unit_test(too_few_usable),          cmocka_unit_test(rejects_leave_too_few),
        cmocka_unit_test(conflicts_leave_too_few), cmocka_unit_test(strict_names_the_file),
        cmocka_unit_test(out_that_exists),
    };
    return cmocka_run_group_tests(tests, setup_prep, teardown_prep);
}
