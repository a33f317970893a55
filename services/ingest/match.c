#include "match_impl.h"

#include <stdlib.h>
#include <string.h>

// ---- the same bytes ----

static int compare_digests(const void *a, const void *b) {
    const shard_entry_t *left = *(shard_entry_t *const *)a, *right = *(shard_entry_t *const *)b;
    int order = memcmp(left->digest, right->digest, SHARD_DIGEST_BYTES);
    // entries stand in order of paths
    return order ? order : left < right ? -1 : left > right;
}

static bool same_bytes(const shard_entry_t *a, const shard_entry_t *b) {
    return memcmp(a->digest, b->digest, SHARD_DIGEST_BYTES) == 0;
}

static const shard_entry_t *find_other_label(shard_entry_t *const *copies, size_t count,
                                             int label) {
    for (size_t i = 0; i < count; i++)
        if (copies[i]->label != label)
            return copies[i];
    return NULL;
}

static void contradict(shard_entry_t *const *copies, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const shard_entry_t *other = find_other_label(copies, count, copies[i]->label);
        char *path = shard_name_escape(other->path);
        copies[i]->reason =
            mem_format("the same bytes stand under another label: %s; remove one of them", path);
        free(path);
    }
    for (size_t i = 0; i < count; i++)
        copies[i]->outcome = SHARD_CONFLICT;
}

// KEPT files in order of content; *count becomes their number.
static shard_entry_t **sort_kept(const shard_index_t *files, size_t *count) {
    shard_entry_t **kept = mem_zero((size_t)files->count + 1, sizeof *kept);
    *count = 0;
    for (int64_t i = 0; i < files->count; i++)
        if (files->entries[i].outcome == SHARD_KEPT)
            kept[(*count)++] = &files->entries[i];
    qsort(kept, *count, sizeof *kept, compare_digests);
    return kept;
}

static void judge_copies(shard_entry_t *const *copies, size_t count) {
    if (find_other_label(copies, count, copies[0]->label)) {
        contradict(copies, count);
        return;
    }
    for (size_t i = 1; i < count; i++)
        copies[i]->outcome = SHARD_DUPLICATE;
}

// ---- what belongs together ----

typedef struct {
    char *text; // file name without folder and extension
    shard_entry_t *entry;
} stem_t;

// Stems in byte order. link: a smaller stem it belongs to, or itself (union-find): the smallest of
// those tied together names their group.
typedef struct {
    stem_t *stems;
    size_t *link;
    size_t count;
} stems_t;

static char *stem_of(const char *path) {
    const char *slash = strrchr(path, '/');
    char *stem = mem_dup(slash ? slash + 1 : path);
    char *dot = strrchr(stem, '.');
    if (dot && dot != stem)
        *dot = 0;
    return stem;
}

static int compare_stems(const void *a, const void *b) {
    const stem_t *left = a, *right = b;
    int order = strcmp(left->text, right->text);
    return order ? order : left->entry < right->entry ? -1 : left->entry > right->entry;
}

static size_t find_root(stems_t *stems, size_t i) {
    while (stems->link[i] != i) {
        stems->link[i] = stems->link[stems->link[i]];
        i = stems->link[i];
    }
    return i;
}

static void tie(stems_t *stems, size_t a, size_t b) {
    a = find_root(stems, a);
    b = find_root(stems, b);
    if (a < b)
        stems->link[b] = a;
    else
        stems->link[a] = b;
}

static void stems_init(stems_t *stems, shard_entry_t *const *kept, size_t count) {
    stems->count = count;
    stems->stems = mem_zero(count + 1, sizeof *stems->stems);
    stems->link = mem_zero(count + 1, sizeof *stems->link);
    for (size_t i = 0; i < count; i++)
        stems->stems[i] = (stem_t){stem_of(kept[i]->path), kept[i]};
    qsort(stems->stems, count, sizeof *stems->stems, compare_stems);
    for (size_t i = 0; i < count; i++)
        stems->link[i] = i;
    for (size_t i = 1; i < count; i++)
        if (strcmp(stems->stems[i - 1].text, stems->stems[i].text) == 0)
            tie(stems, i - 1, i);
}

static void stems_release(stems_t *stems) {
    for (size_t i = 0; i < stems->count; i++)
        free(stems->stems[i].text);
    free(stems->stems);
    free(stems->link);
}

// Where the entry stands in the list of stems.
static size_t stems_find(const stems_t *stems, shard_entry_t *entry) {
    stem_t key = {stem_of(entry->path), entry};
    const stem_t *found =
        bsearch(&key, stems->stems, stems->count, sizeof *stems->stems, compare_stems);
    free(key.text);
    ERR_ASSERT(found != NULL);
    return (size_t)(found - stems->stems);
}

// kept: in order of content, duplicates and conflicts among them.
static void group_by_stem(shard_entry_t *const *kept, size_t count) {
    stems_t stems;
    stems_init(&stems, kept, count);
    for (size_t i = 1; i < count; i++)
        if (kept[i]->outcome == SHARD_DUPLICATE)
            tie(&stems, stems_find(&stems, kept[i - 1]), stems_find(&stems, kept[i]));
    for (size_t i = 0; i < count; i++)
        if (stems.stems[i].entry->outcome == SHARD_KEPT)
            stems.stems[i].entry->group = shard_name_escape(stems.stems[find_root(&stems, i)].text);
    stems_release(&stems);
}

// Everyone a group of its own, named by content: it goes where it goes whatever the file is called.
static void group_by_none(shard_entry_t *const *kept, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (kept[i]->outcome != SHARD_KEPT)
            continue;
        char *name = kept[i]->group = mem_alloc(DIGEST_HEX_SIZE);
        for (int byte = 0; byte < SHARD_DIGEST_BYTES; byte++) {
            *name++ = "0123456789abcdef"[kept[i]->digest[byte] >> 4];
            *name++ = "0123456789abcdef"[kept[i]->digest[byte] & 15];
        }
        *name = 0;
    }
}

void match_files(ingest_group_t group_by, shard_index_t *files) {
    size_t count, begin = 0;
    shard_entry_t **kept = sort_kept(files, &count);
    for (size_t end = 1; end <= count; end++) {
        if (end < count && same_bytes(kept[begin], kept[end]))
            continue;
        judge_copies(kept + begin, end - begin);
        begin = end;
    }
    if (group_by == INGEST_GROUP_STEM)
        group_by_stem(kept, count);
    else
        group_by_none(kept, count);
    free(kept);
}
