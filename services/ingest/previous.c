#include "base/log.h"
#include "previous_impl.h"

#include <stdlib.h>
#include <string.h>

struct previous {
    const ingest_options_t *options;
    shard_info_t info;
    shard_index_t index;
    shard_dataset_t *ds;             // NULL if its pixels are damaged
    bool same_pixels;                // its recipe gives the pixels wanted now
    const shard_entry_t **by_path;   // entries with a path
    const shard_entry_t **by_digest; // KEPT and GONE
    size_t path_count, digest_count;
};

static int compare_paths(const void *a, const void *b) {
    return strcmp((*(const shard_entry_t *const *)a)->path,
                  (*(const shard_entry_t *const *)b)->path);
}

static int compare_digests(const void *a, const void *b) {
    return memcmp((*(const shard_entry_t *const *)a)->digest,
                  (*(const shard_entry_t *const *)b)->digest, SHARD_DIGEST_BYTES);
}

static void make_tables(previous_t *previous) {
    size_t count = (size_t)previous->index.count;
    previous->by_path = mem_zero(count + 1, sizeof *previous->by_path);
    previous->by_digest = mem_zero(count + 1, sizeof *previous->by_digest);
    for (size_t i = 0; i < count; i++) {
        const shard_entry_t *entry = &previous->index.entries[i];
        if (entry->outcome != SHARD_GONE)
            previous->by_path[previous->path_count++] = entry;
        if (entry->outcome == SHARD_KEPT || entry->outcome == SHARD_GONE)
            previous->by_digest[previous->digest_count++] = entry;
    }
    qsort(previous->by_path, previous->path_count, sizeof *previous->by_path, compare_paths);
    qsort(previous->by_digest, previous->digest_count, sizeof *previous->by_digest,
          compare_digests);
}

static err_code_t open_pixels(previous_t *previous, err_t *err) {
    err_t damage;
    err_code_t code = shard_open(previous->options->previous, &previous->ds, &damage);
    if (code == ERR_CORRUPT) {
        log_warn("%s: all images are decoded again", damage.message);
        return ERR_OK;
    }
    if (code && err)
        *err = damage;
    return code;
}

err_code_t previous_open(const ingest_options_t *options, previous_t **out, err_t *err) {
    previous_t *previous = mem_zero(1, sizeof *previous);
    prep_recipe_t recipe;
    previous->options = options;
    err_code_t code = ERR_OK;
    if (options->previous) {
        code = shard_read_info(options->previous, &previous->info, err);
        if (!code)
            code = shard_index_read(options->previous, &previous->index, err);
        if (!code)
            code = open_pixels(previous, err);
        if (code)
            err_remedy(err, "remove that version of the data set, or ingest under another name");
    }
    if (code) {
        previous_close(&previous);
        return code;
    }
    if (options->previous)
        previous->same_pixels = prep_recipe_parse(previous->info.recipe, &recipe, NULL) == ERR_OK &&
                                prep_recipe_same_pixels(&recipe, &options->recipe);
    make_tables(previous);
    *out = previous;
    return ERR_OK;
}

void previous_close(previous_t **self) {
    if (!*self)
        return;
    shard_close(&(*self)->ds);
    shard_info_release(&(*self)->info);
    shard_index_release(&(*self)->index);
    free((*self)->by_path);
    free((*self)->by_digest);
    free(*self);
    *self = NULL;
}

static const shard_entry_t *find_path(const previous_t *previous, const shard_entry_t *key) {
    const shard_entry_t **found = bsearch(&key, previous->by_path, previous->path_count,
                                          sizeof *previous->by_path, compare_paths);
    return found ? *found : NULL;
}

static const shard_entry_t *find_digest(const previous_t *previous, const shard_entry_t *key) {
    const shard_entry_t **found = bsearch(&key, previous->by_digest, previous->digest_count,
                                          sizeof *previous->by_digest, compare_digests);
    return found ? *found : NULL;
}

bool previous_split(const previous_t *previous, const uint8_t digest[SHARD_DIGEST_BYTES],
                    shard_split_t *split) {
    shard_entry_t key;
    memcpy(key.digest, digest, SHARD_DIGEST_BYTES);
    const shard_entry_t *found = find_digest(previous, &key);
    if (found)
        *split = found->split;
    return found != NULL;
}

// As far as the digests of both are known they must be the same.
static bool same_file(const shard_entry_t *a, const shard_entry_t *b) {
    return a->bytes == b->bytes && a->mtime_ns == b->mtime_ns && strcmp(a->path, b->path) == 0 &&
           (!a->has_digest || !b->has_digest ||
            memcmp(a->digest, b->digest, SHARD_DIGEST_BYTES) == 0);
}

const uint8_t *previous_pixels(const previous_t *previous, shard_entry_t *entry) {
    if (!previous->ds || !previous->same_pixels || previous->options->rehash)
        return NULL;
    const shard_entry_t *before = entry->has_digest ? entry : find_path(previous, entry);
    if (!before || !before->has_digest || !same_file(before, entry))
        return NULL;
    // A duplicate's pixels are those of the file that was kept.
    const shard_entry_t *kept = find_digest(previous, before);
    if (!kept || kept->outcome != SHARD_KEPT ||
        kept->row >= shard_count(previous->ds, kept->split) ||
        memcmp(shard_source_digest(previous->ds, kept->split, kept->row), before->digest,
               SHARD_DIGEST_BYTES) != 0)
        return NULL;
    memmove(entry->digest, before->digest, SHARD_DIGEST_BYTES);
    entry->has_digest = true;
    return shard_pixels(previous->ds, kept->split, kept->row);
}

static bool same_options(const previous_t *previous, const scan_classes_t *classes) {
    const ingest_options_t *options = previous->options;
    const shard_info_t *info = &previous->info;
    prep_recipe_t recipe;
    if (!previous->ds || !previous->same_pixels || info->class_count != classes->count ||
        info->seed != options->seed ||
        strcmp(info->group_by, ingest_group_name(options->group_by)) != 0 ||
        prep_recipe_parse(info->recipe, &recipe, NULL) ||
        recipe.mean_subtract != options->recipe.mean_subtract)
        return false;
    for (int i = 0; i < classes->count; i++)
        if (strcmp(info->classes[i], classes->names[i]) != 0)
            return false;
    return true;
}

bool previous_has_files(const previous_t *previous, const scan_classes_t *classes,
                        const shard_index_t *files) {
    bool refused = previous->options->strict && previous->info.rejected > 0;
    if (previous->options->rehash || refused || (size_t)files->count != previous->path_count ||
        !same_options(previous, classes))
        return false;
    for (size_t i = 0; i < previous->path_count; i++) {
        const shard_entry_t *before = previous->by_path[i], *now = &files->entries[i];
        // what could not be read then may be readable now
        if (!same_file(before, now) || (!before->has_digest && now->outcome == SHARD_KEPT))
            return false;
    }
    return true;
}

bool previous_has_content(const previous_t *previous, const scan_classes_t *classes,
                          const shard_index_t *files) {
    if ((size_t)files->count != previous->path_count || !same_options(previous, classes))
        return false;
    for (size_t i = 0; i < previous->path_count; i++) {
        const shard_entry_t *before = previous->by_path[i], *now = &files->entries[i];
        if (strcmp(before->path, now->path) != 0 || before->outcome != now->outcome ||
            before->has_digest != now->has_digest ||
            (now->has_digest && memcmp(before->digest, now->digest, SHARD_DIGEST_BYTES) != 0))
            return false;
    }
    return true;
}

void previous_result(const previous_t *previous, ingest_result_t *result) {
    const shard_info_t *info = &previous->info;
    *result = (ingest_result_t){.unchanged = true,
                                .rejected = info->rejected,
                                .duplicates = info->duplicates,
                                .conflicts = info->conflicts,
                                .class_count = info->class_count};
    result->classes = mem_zero((size_t)info->class_count, sizeof *result->classes);
    result->class_images = mem_zero((size_t)info->class_count, sizeof *result->class_images);
    for (int i = 0; i < info->class_count; i++) {
        result->classes[i] = mem_dup(info->classes[i]);
        for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
            result->class_images[i] += info->class_images[s][i];
    }
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++) {
        result->splits[s] = info->images[s];
        result->images += info->images[s];
    }
    memcpy(result->digest, shard_digest(previous->ds), DIGEST_HEX_SIZE);
    memcpy(result->recipe_hash, info->recipe_hash, DIGEST_HEX_SIZE);
}

void previous_keep_gone(const previous_t *previous, shard_index_t *files) {
    size_t count = 0, total = (size_t)files->count;
    const shard_entry_t **kept = mem_zero(total + 1, sizeof *kept);
    for (size_t i = 0; i < total; i++)
        if (files->entries[i].outcome == SHARD_KEPT)
            kept[count++] = &files->entries[i];
    qsort(kept, count, sizeof *kept, compare_digests);
    shard_entry_t *gone = mem_zero(previous->digest_count + 1, sizeof *gone);
    size_t gone_count = 0;
    for (size_t i = 0; i < previous->digest_count; i++) {
        const shard_entry_t *before = previous->by_digest[i];
        if (bsearch(&before, kept, count, sizeof *kept, compare_digests))
            continue;
        gone[gone_count] = (shard_entry_t){
            .has_digest = true, .label = -1, .outcome = SHARD_GONE, .split = before->split};
        memcpy(gone[gone_count++].digest, before->digest, SHARD_DIGEST_BYTES);
    }
    free(kept);
    if (gone_count) {
        files->entries = mem_grow(files->entries, (total + gone_count) * sizeof *gone);
        memcpy(files->entries + total, gone, gone_count * sizeof *gone);
        files->count += (int64_t)gone_count;
    }
    free(gone);
}
