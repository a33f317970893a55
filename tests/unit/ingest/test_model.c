// Do outcomes, groups, quotas and kept placements of random folders agree with a model that looks
// at every pair of files, and is the result the same whatever the threads?
#include "base/fs.h"
#include "base/philox.h"
#include "tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES   3
#define FILES_MAX 160

// A file of the model: what the tree has, and what should become of it.
typedef struct {
    char path[32];
    int label, stem;
    uint32_t content; // 0: no image
    shard_outcome_t outcome;
    int group;
} item_t;

typedef struct {
    item_t items[FILES_MAX];
    int count;
    uint64_t seed;
    uint32_t drawn;
} model_t;

static uint32_t draw(model_t *model, uint32_t below) {
    return philox_below(philox(model->seed, model->drawn++, 0, 0, 7).v[0], below);
}

static bool has_path(const model_t *model, const char *path) {
    for (int i = 0; i < model->count; i++)
        if (strcmp(model->items[i].path, path) == 0)
            return true;
    return false;
}

static void write_item(const tree_t *tree, const item_t *item) {
    if (item->content)
        tree_image(tree, item->path, item->content);
    else
        tree_bytes(tree, item->path, "no image", 8);
}

// Mostly new images; now and then bytes seen before (of any class), rubbish, and a stem that others
// have too.
static void add_item(model_t *model, const tree_t *tree, int label) {
    item_t item = {.label = label, .stem = (int)draw(model, FILES_MAX)};
    item.content = 1 + draw(model, 1000000);
    if (model->count && draw(model, 12) == 0)
        item.content = model->items[draw(model, (uint32_t)model->count)].content;
    if (draw(model, 20) == 0)
        item.content = 0;
    snprintf(item.path, sizeof item.path, "class%d/%s%d.%s", label, draw(model, 4) ? "" : "deeper/",
             item.stem, draw(model, 2) ? "png" : "jpg");
    if (has_path(model, item.path))
        return;
    write_item(tree, &item);
    model->items[model->count++] = item;
}

static void judge_item(model_t *model, int i) {
    item_t *item = &model->items[i];
    item->outcome = item->content ? SHARD_KEPT : SHARD_REJECTED;
    for (int k = 0; k < model->count && item->content; k++) {
        const item_t *other = &model->items[k];
        if (k == i || other->content != item->content)
            continue;
        if (other->label != item->label)
            item->outcome = SHARD_CONFLICT;
        else if (item->outcome == SHARD_KEPT && strcmp(other->path, item->path) < 0)
            item->outcome = SHARD_DUPLICATE;
    }
}

// Groups: the smallest index reachable by equal stems and equal bytes, among kept and duplicates.
static void judge(model_t *model) {
    for (int i = 0; i < model->count; i++) {
        judge_item(model, i);
        model->items[i].group = i;
    }
    for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < model->count; i++)
            for (int k = 0; k < model->count; k++) {
                item_t *a = &model->items[i], *b = &model->items[k];
                bool in = a->outcome <= SHARD_DUPLICATE && b->outcome <= SHARD_DUPLICATE;
                if (in && (a->stem == b->stem || a->content == b->content) && a->group > b->group) {
                    a->group = b->group;
                    again = true;
                }
            }
    }
}

static void check_outcomes(const model_t *model, const made_t *made) {
    int64_t files = 0;
    for (int64_t i = 0; i < made->index.count; i++)
        files += made->index.entries[i].outcome != SHARD_GONE;
    assert_int_equal(files, model->count);
    for (int i = 0; i < model->count; i++) {
        const shard_entry_t *entry = made_entry(made, model->items[i].path);
        if (entry->outcome != model->items[i].outcome)
            fail_msg("seed %llu: %s: outcome %d, not %d", (unsigned long long)model->seed,
                     entry->path, entry->outcome, model->items[i].outcome);
        assert_int_equal(entry->label, model->items[i].label);
    }
}

static void check_groups(const model_t *model, const made_t *made, ingest_group_t group_by) {
    for (int i = 0; i < model->count; i++)
        for (int k = 0; k < i; k++) {
            const item_t *a = &model->items[i], *b = &model->items[k];
            if (a->outcome != SHARD_KEPT || b->outcome != SHARD_KEPT)
                continue;
            const shard_entry_t *left = made_entry(made, a->path),
                                *right = made_entry(made, b->path);
            bool together = group_by == INGEST_GROUP_STEM && a->group == b->group;
            assert_int_equal(strcmp(left->group, right->group) == 0, together);
        }
}

// No group is torn apart when nothing was placed before.
static void check_closed(const made_t *made) {
    for (int64_t i = 0; i < made->index.count; i++)
        for (int64_t k = 0; k < i; k++) {
            const shard_entry_t *a = &made->index.entries[i], *b = &made->index.entries[k];
            if (a->outcome == SHARD_KEPT && b->outcome == SHARD_KEPT &&
                strcmp(a->group, b->group) == 0)
                assert_int_equal(a->split, b->split);
        }
}

static int64_t largest_part(const model_t *model, int label) {
    int64_t largest = 1;
    for (int i = 0; i < model->count; i++) {
        int64_t part = 0;
        for (int k = 0; k < model->count; k++)
            part += model->items[k].outcome == SHARD_KEPT && model->items[k].label == label &&
                    model->items[k].group == model->items[i].group;
        largest = part > largest ? part : largest;
    }
    return largest;
}

// slack: images by which a split may miss 0.8, 0.1, 0.1 of a class.
static void check_quotas(const model_t *model, const made_t *made, ingest_group_t group_by) {
    static const double shares[SHARD_SPLIT_COUNT] = {0.8, 0.1, 0.1};
    const shard_info_t *info = shard_info(made->ds);
    for (int label = 0; label < CLASSES; label++) {
        double slack = group_by == INGEST_GROUP_STEM ? (double)largest_part(model, label) : 0;
        for (int s = 0; s < SHARD_SPLIT_COUNT; s++) {
            double wanted = shares[s] * (double)made->result.class_images[label];
            double off = (double)info->class_images[s][label] - wanted;
            if (off < -1 - slack || off > 1 + slack)
                fail_msg("seed %llu: class %d: %lld images in %s, %.1f wanted, slack %.0f",
                         (unsigned long long)model->seed, label,
                         (long long)info->class_images[s][label],
                         shard_split_name((shard_split_t)s), wanted, slack);
            assert_true(info->class_images[s][label] >= 1);
        }
    }
}

static void grow(model_t *model, const tree_t *tree, int more) {
    for (int i = 0; i < more && model->count < FILES_MAX; i++)
        add_item(model, tree, (int)draw(model, CLASSES));
}

static model_t model_begin(const tree_t *tree, uint64_t seed) {
    model_t model = {.seed = seed};
    for (int label = 0; label < CLASSES; label++)
        for (int i = 0; i < 24; i++)
            add_item(&model, tree, label);
    grow(&model, tree, (int)draw(&model, 60));
    return model;
}

static void first_version(uint64_t seed, ingest_group_t group_by) {
    tree_t tree = tree_begin();
    model_t model = model_begin(&tree, seed);
    judge(&model);
    made_t made = tree_version(&tree, 1, 0, group_by);
    check_outcomes(&model, &made);
    check_groups(&model, &made, group_by);
    check_closed(&made);
    check_quotas(&model, &made, group_by);
    made_free(&made);
    tree_end(&tree);
}

static void random_folders(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        first_version(seed, (ingest_group_t)(seed % INGEST_GROUP_COUNT));
}

// ---- versions ----

// Some files go, some get other bytes, new ones come.
static void change(model_t *model, const tree_t *tree) {
    for (int i = 0; i < model->count; i++) {
        item_t *item = &model->items[i];
        uint32_t fate = draw(model, 14);
        if (fate == 0) {
            tree_remove(tree, item->path);
            *item = model->items[--model->count];
            i--;
        } else if (fate == 1) {
            item->content = 1 + draw(model, 1000000);
            write_item(tree, item);
        }
    }
    grow(model, tree, 20);
}

static const shard_entry_t *find_image(const made_t *made, const uint8_t *digest) {
    for (int64_t i = 0; i < made->index.count; i++) {
        const shard_entry_t *entry = &made->index.entries[i];
        if ((entry->outcome == SHARD_KEPT || entry->outcome == SHARD_GONE) &&
            memcmp(entry->digest, digest, SHARD_DIGEST_BYTES) == 0)
            return entry;
    }
    return NULL;
}

// Whatever was placed is remembered, there or gone.
static void check_kept_placements(const made_t *before, const made_t *after) {
    for (int64_t i = 0; i < before->index.count; i++) {
        const shard_entry_t *entry = &before->index.entries[i];
        if (entry->outcome != SHARD_KEPT && entry->outcome != SHARD_GONE)
            continue;
        const shard_entry_t *now = find_image(after, entry->digest);
        assert_non_null(now);
        assert_int_equal(now->split, entry->split);
    }
}

// A group with members that were placed in one split only is in that split as a whole.
static void check_followers(const made_t *before, const made_t *after) {
    for (int64_t i = 0; i < after->index.count; i++) {
        const shard_entry_t *entry = &after->index.entries[i];
        bool seen[SHARD_SPLIT_COUNT] = {false};
        int splits = 0;
        if (entry->outcome != SHARD_KEPT || find_image(before, entry->digest))
            continue;
        for (int64_t k = 0; k < after->index.count; k++) {
            const shard_entry_t *mate = &after->index.entries[k], *placed;
            if (mate->outcome == SHARD_KEPT && strcmp(mate->group, entry->group) == 0 &&
                (placed = find_image(before, mate->digest)) != NULL)
                seen[placed->split] = true;
        }
        for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
            splits += seen[s];
        if (splits > 0)
            assert_true(seen[entry->split]);
    }
}

static void several_versions(uint64_t seed, ingest_group_t group_by) {
    tree_t tree = tree_begin();
    model_t model = model_begin(&tree, seed);
    made_t before = tree_version(&tree, 1, 0, group_by);
    for (uint64_t version = 2; version <= 4; version++) {
        change(&model, &tree);
        judge(&model);
        made_t after = tree_version(&tree, version, version - 1, group_by);
        assert_false(after.result.unchanged);
        check_outcomes(&model, &after);
        check_groups(&model, &after, group_by);
        check_kept_placements(&before, &after);
        check_followers(&before, &after);
        made_free(&before);
        before = after;
    }
    made_free(&before);
    tree_end(&tree);
}

static void later_versions(void **state) {
    (void)state;
    for (uint64_t seed = 100; seed < 104; seed++)
        several_versions(seed, (ingest_group_t)(seed % INGEST_GROUP_COUNT));
}

// ---- determinism ----

static void threads_do_not_matter(void **state) {
    (void)state;
    tree_t tree = tree_begin();
    model_begin(&tree, 77);
    char digest[DIGEST_HEX_SIZE] = "";
    for (uint64_t version = 1; version <= 3; version++) {
        ingest_options_t options = tree_options(&tree, version, 0);
        options.threads = (int)(version * version);
        options.group_by = INGEST_GROUP_STEM;
        made_t made = tree_ingest(&options);
        if (digest[0])
            assert_string_equal(made.result.digest, digest);
        memcpy(digest, made.result.digest, sizeof digest);
        made_free(&made);
        tree_options_free(&options);
    }
    tree_end(&tree);
}

static void seeds_matter(void **state) {
    (void)state;
    tree_t tree = tree_begin();
    tree_class(&tree, "a", 1, 60);
    tree_class(&tree, "b", 101, 60);
    int different = 0;
    made_t first = tree_version(&tree, 1, 0, INGEST_GROUP_NONE);
    ingest_options_t options = tree_options(&tree, 2, 0);
    options.seed = 1;
    made_t second = tree_ingest(&options);
    for (int64_t i = 0; i < first.index.count; i++)
        different += first.index.entries[i].split != second.index.entries[i].split;
    assert_in_range(different, 10, 80);
    made_free(&first);
    made_free(&second);
    tree_options_free(&options);
    tree_end(&tree);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_folders),
        cmocka_unit_test(later_versions),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(seeds_matter),
    };
    return cmocka_run_group_tests(tests, setup_prep, teardown_prep);
}
