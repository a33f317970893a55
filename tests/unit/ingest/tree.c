#include "tree.h"
#include "base/fs.h"
#include "base/philox.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGE_SIDE 9

tree_t tree_begin(void) {
    const char *parent = getenv("TMPDIR");
    tree_t tree = {.root = mem_format("%s/inkling-ingest-XXXXXX", parent ? parent : "/tmp")};
    assert_non_null(mkdtemp(tree.root));
    tree.source = fs_join(tree.root, "source");
    assert_int_equal(fs_mkdirs(tree.source, NULL), ERR_OK);
    return tree;
}

void tree_end(tree_t *tree) {
    assert_int_equal(fs_remove_all(tree->root, NULL), ERR_OK);
    free(tree->root);
    free(tree->source);
}

char *tree_path(const tree_t *tree, const char *path) {
    return fs_join(tree->source, path);
}

static char *make_room_for(const tree_t *tree, const char *path) {
    char *full = tree_path(tree, path), *slash = strrchr(full, '/');
    *slash = 0;
    assert_int_equal(fs_mkdirs(full, NULL), ERR_OK);
    *slash = '/';
    return full;
}

void tree_image(const tree_t *tree, const char *path, uint32_t content) {
    uint8_t pixels[IMAGE_SIDE * IMAGE_SIDE];
    char *full = make_room_for(tree, path);
    for (uint32_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)philox(1, content, i, 0, 0).v[0];
    assert_int_equal(prep_write_png(full, pixels, IMAGE_SIDE, IMAGE_SIDE, 1, NULL), ERR_OK);
    free(full);
}

void tree_bytes(const tree_t *tree, const char *path, const void *bytes, size_t size) {
    char *full = make_room_for(tree, path);
    FILE *file = fopen(full, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(full);
}

void tree_file(const tree_t *tree, const char *path, file_t file) {
    tree_bytes(tree, path, file.bytes, file.size);
    file_free(&file);
}

void tree_remove(const tree_t *tree, const char *path) {
    char *full = tree_path(tree, path);
    assert_int_equal(unlink(full), 0);
    free(full);
}

void tree_class(const tree_t *tree, const char *folder, uint32_t first, int count) {
    for (int i = 0; i < count; i++) {
        char *path = mem_format("%s/%u.png", folder, first + (uint32_t)i);
        tree_image(tree, path, first + (uint32_t)i);
        free(path);
    }
}

tree_t tree_two_classes(int count) {
    tree_t tree = tree_begin();
    tree_class(&tree, "cats", 1, count);
    tree_class(&tree, "dogs", 1001, count);
    return tree;
}

static char *version_path(const tree_t *tree, uint64_t version) {
    return mem_format("%s/v%llu", tree->root, (unsigned long long)version);
}

ingest_options_t tree_options(const tree_t *tree, uint64_t version, uint64_t previous) {
    ingest_options_t options;
    ingest_options_init(&options);
    options.folder = tree->source;
    options.out = version_path(tree, version);
    options.previous = previous ? version_path(tree, previous) : NULL;
    options.name = "set";
    options.recipe.size = TREE_SIZE;
    options.threads = 2;
    return options;
}

void tree_options_free(ingest_options_t *options) {
    free((char *)(uintptr_t)options->out);
    free((char *)(uintptr_t)options->previous);
}

// ---- what was made ----

static void check_rows(const made_t *made, shard_split_t split) {
    int64_t count = shard_count(made->ds, split);
    const shard_entry_t **rows;
    assert_int_equal(shard_index_rows(&made->index, split, count, &rows, NULL), ERR_OK);
    for (int64_t i = 0; i < count; i++) {
        assert_int_equal(rows[i]->label, shard_label(made->ds, split, i));
        assert_memory_equal(rows[i]->digest, shard_source_digest(made->ds, split, i),
                            SHARD_DIGEST_BYTES);
    }
    free(rows);
}

static void check_counts(const made_t *made) {
    const shard_info_t *info = shard_info(made->ds);
    const ingest_result_t *result = &made->result;
    int64_t images = 0, outcomes[SHARD_OUTCOME_COUNT] = {0};
    for (int64_t i = 0; i < made->index.count; i++)
        outcomes[made->index.entries[i].outcome]++;
    assert_int_equal(result->class_count, info->class_count);
    for (int c = 0; c < info->class_count; c++) {
        int64_t of_class = 0;
        assert_string_equal(result->classes[c], info->classes[c]);
        for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
            of_class += info->class_images[s][c];
        assert_int_equal(result->class_images[c], of_class);
    }
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++) {
        assert_int_equal(result->splits[s], info->images[s]);
        images += info->images[s];
    }
    assert_int_equal(result->images, images);
    assert_int_equal(outcomes[SHARD_KEPT], images);
    assert_int_equal(result->duplicates, outcomes[SHARD_DUPLICATE]);
    assert_int_equal(result->conflicts, outcomes[SHARD_CONFLICT]);
    assert_int_equal(result->rejected, outcomes[SHARD_REJECTED] + outcomes[SHARD_CONFLICT]);
    assert_int_equal(info->rejected, result->rejected);
    assert_int_equal(info->duplicates, result->duplicates);
    assert_int_equal(info->conflicts, result->conflicts);
    assert_string_equal(result->digest, shard_digest(made->ds));
    assert_string_equal(result->recipe_hash, info->recipe_hash);
}

made_t tree_ingest(const ingest_options_t *options) {
    made_t made = {0};
    err_t err = {0};
    if (ingest_run(options, NULL, NULL, &made.result, &err) != ERR_OK)
        fail_msg("%s (%s)", err.message, err.remedy);
    const char *folder = made.result.unchanged ? options->previous : options->out;
    if (shard_open(folder, &made.ds, &err) != ERR_OK ||
        shard_index_read(folder, &made.index, &err) != ERR_OK)
        fail_msg("%s", err.message);
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
        check_rows(&made, (shard_split_t)s);
    check_counts(&made);
    return made;
}

made_t tree_version(const tree_t *tree, uint64_t version, uint64_t previous,
                    ingest_group_t group_by) {
    ingest_options_t options = tree_options(tree, version, previous);
    options.group_by = group_by;
    made_t made = tree_ingest(&options);
    tree_options_free(&options);
    return made;
}

void made_free(made_t *made) {
    ingest_result_release(&made->result);
    shard_close(&made->ds);
    shard_index_release(&made->index);
}

int tree_left_overs(const tree_t *tree, const ingest_options_t *options) {
    const char *name = strrchr(options->out, '/') + 1;
    DIR *folder = opendir(tree->root);
    int count = 0;
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += strncmp(entry->d_name, name, strlen(name)) == 0;
    closedir(folder);
    return count;
}

void tree_refused(const tree_t *tree, const ingest_options_t *options, err_code_t code,
                  const char *part) {
    ingest_result_t result;
    err_t err = {0};
    err_code_t got = ingest_run(options, NULL, NULL, &result, &err);
    ingest_result_release(&result);
    if (got != code)
        fail_msg("%s instead of %s: %s", err_name(got), err_name(code), err.message);
    assert_int_equal(err.code, code);
    if (!strstr(err.message, part) && !strstr(err.remedy, part))
        fail_msg("'%s' is not in: %s (%s)", part, err.message, err.remedy);
    assert_int_equal(tree_left_overs(tree, options), 0);
}

const shard_entry_t *made_entry(const made_t *made, const char *path) {
    for (int64_t i = 0; i < made->index.count; i++)
        if (made->index.entries[i].path && strcmp(made->index.entries[i].path, path) == 0)
            return &made->index.entries[i];
    fail_msg("no entry for %s", path);
    return NULL;
}
