// What does a version hold: whose labels, which pixels and mean, and in which splits do copies,
// pairs of one stem and few groups end?
#include "base/fs.h"
#include "tree.h"

#include <stdlib.h>
#include <string.h>

// ---- labels and pixels ----

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
    tree_t tree = tree_two_classes(12);
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
    tree_t tree = tree_two_classes(12);
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
    tree_t tree = tree_two_classes(15);
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

// ---- copies and groups ----

static void copies_and_contradictions(void **state) {
    (void)state;
    tree_t tree = tree_two_classes(14);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_sorted),
        cmocka_unit_test(classes_are_picked),
        cmocka_unit_test(pixels_are_those_of_prep),
        cmocka_unit_test(mean_is_of_the_training_images),
        cmocka_unit_test(copies_and_contradictions),
        cmocka_unit_test(stems_stay_together),
        cmocka_unit_test(one_group_cannot_be_split),
        cmocka_unit_test(few_groups_fill_all_splits),
    };
    return cmocka_run_group_tests(tests, setup_prep, teardown_prep);
}
