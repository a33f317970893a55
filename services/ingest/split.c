#include "split_impl.h"

#include <stdlib.h>
#include <string.h>

// Moving one group after the other to where it fits better ends by itself; this is for certain.
#define PASSES_MAX 32

// Images of one label in a group.
typedef struct {
    int label;
    int64_t images;
} part_t;

typedef struct {
    const char *name;
    uint64_t hash;          // of seed and name
    int64_t member, images; // in sorter_t.members
    int64_t part, parts;    // in sorter_t.parts
    bool fixed;             // an earlier version placed a member
    shard_split_t split;
} group_t;

typedef int64_t per_split_t[SHARD_SPLIT_COUNT];

typedef struct {
    const ingest_options_t *options;
    const scan_classes_t *classes;
    const previous_t *previous;
    shard_entry_t **members; // KEPT files, those of a group in a row, in order of paths
    part_t *parts;
    group_t *groups;
    per_split_t *quotas, *have; // per label
    int64_t member_count, part_count, group_count;
} sorter_t;

// ---- quotas ----

// Largest remainder; what is left over goes to train, val, test in this order if they are equal.
void split_quotas(int64_t images, int64_t quotas[SHARD_SPLIT_COUNT]) {
    static const int tenths[SHARD_SPLIT_COUNT] = {8, 1, 1};
    int64_t left = images;
    int rest[SHARD_SPLIT_COUNT];
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++) {
        quotas[s] = images * tenths[s] / 10;
        rest[s] = (int)(images * tenths[s] % 10);
        left -= quotas[s];
    }
    for (; left > 0; left--) {
        int most = 0;
        for (int s = 1; s < SHARD_SPLIT_COUNT; s++)
            if (rest[s] > rest[most])
                most = s;
        quotas[most]++;
        rest[most] = -1;
    }
    for (int s = 1; s < SHARD_SPLIT_COUNT; s++)
        if (quotas[s] == 0) {
            quotas[s]++;
            quotas[0]--;
        }
}

static void count_quotas(sorter_t *sorter) {
    int64_t *images = mem_zero((size_t)sorter->classes->count, sizeof *images);
    for (int64_t i = 0; i < sorter->member_count; i++)
        images[sorter->members[i]->label]++;
    for (int label = 0; label < sorter->classes->count; label++)
        split_quotas(images[label], sorter->quotas[label]);
    free(images);
}

// ---- groups ----

static int compare_members(const void *a, const void *b) {
    const shard_entry_t *left = *(shard_entry_t *const *)a, *right = *(shard_entry_t *const *)b;
    int order = strcmp(left->group, right->group);
    // entries stand in order of paths
    return order ? order : left < right ? -1 : left > right;
}

static uint64_t hash_group(uint64_t seed, const char *name) {
    char hex[DIGEST_HEX_SIZE];
    uint8_t bytes[8];
    digest_t *digest = digest_new();
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(seed >> (8 * i));
    digest_add(digest, bytes, sizeof bytes);
    digest_add(digest, name, strlen(name));
    digest_end(&digest, hex);
    hex[16] = 0;
    return strtoull(hex, NULL, 16);
}

// Paths begin with the class, so the images of a label stand in a row within their group.
static void add_member(sorter_t *sorter, int64_t i) {
    const shard_entry_t *entry = sorter->members[i];
    group_t *group = sorter->group_count ? &sorter->groups[sorter->group_count - 1] : NULL;
    if (!group || strcmp(group->name, entry->group) != 0) {
        group = &sorter->groups[sorter->group_count++];
        *group = (group_t){.name = entry->group, .member = i, .part = sorter->part_count};
        group->hash = hash_group(sorter->options->seed, entry->group);
    }
    if (group->parts == 0 || sorter->parts[sorter->part_count - 1].label != entry->label) {
        sorter->parts[sorter->part_count++] = (part_t){.label = entry->label};
        group->parts++;
    }
    sorter->parts[sorter->part_count - 1].images++;
    group->images++;
}

static int compare_groups(const void *a, const void *b) {
    const group_t *left = a, *right = b;
    if (left->images != right->images)
        return left->images > right->images ? -1 : 1;
    if (left->hash != right->hash)
        return left->hash < right->hash ? -1 : 1;
    return strcmp(left->name, right->name);
}

static void make_groups(sorter_t *sorter, const shard_index_t *files) {
    size_t room = (size_t)files->count + 1;
    sorter->members = mem_zero(room, sizeof *sorter->members);
    sorter->parts = mem_zero(room, sizeof *sorter->parts);
    sorter->groups = mem_zero(room, sizeof *sorter->groups);
    for (int64_t i = 0; i < files->count; i++)
        if (files->entries[i].outcome == SHARD_KEPT)
            sorter->members[sorter->member_count++] = &files->entries[i];
    qsort(sorter->members, (size_t)sorter->member_count, sizeof *sorter->members, compare_members);
    for (int64_t i = 0; i < sorter->member_count; i++)
        add_member(sorter, i);
    qsort(sorter->groups, (size_t)sorter->group_count, sizeof *sorter->groups, compare_groups);
}

// ---- what was placed earlier ----

// Members that were placed keep their splits, should these differ; the new ones go where most of
// the others are, to train rather than val rather than test.
static void place_as_before(sorter_t *sorter, group_t *group) {
    per_split_t votes = {0};
    shard_split_t split;
    int most = 0;
    for (int64_t i = group->member; i < group->member + group->images; i++)
        if (previous_split(sorter->previous, sorter->members[i]->digest, &split)) {
            group->fixed = true;
            votes[split]++;
        }
    if (!group->fixed)
        return;
    for (int s = 1; s < SHARD_SPLIT_COUNT; s++)
        if (votes[s] > votes[most])
            most = s;
    for (int64_t i = group->member; i < group->member + group->images; i++) {
        shard_entry_t *entry = sorter->members[i];
        if (!previous_split(sorter->previous, entry->digest, &entry->split))
            entry->split = (shard_split_t)most;
        sorter->have[entry->label][entry->split]++;
    }
}

// ---- new groups ----

// Sign 1: the group comes into the split; -1: it leaves.
static void count_group(sorter_t *sorter, const group_t *group, int split, int sign) {
    const part_t *parts = sorter->parts + group->part;
    for (int64_t p = 0; p < group->parts; p++)
        sorter->have[parts[p].label][split] += sign * parts[p].images;
}

// What the group adds to the sum of (have − quota)² / quota over all classes and splits. Whole
// numbers up to the division, so that every machine comes to the same sum.
static double cost_of(const sorter_t *sorter, const group_t *group, int split) {
    const part_t *parts = sorter->parts + group->part;
    double cost = 0;
    for (int64_t p = 0; p < group->parts; p++) {
        int64_t quota = sorter->quotas[parts[p].label][split];
        int64_t wanted = quota - sorter->have[parts[p].label][split], images = parts[p].images;
        cost += (double)(images * (images - 2 * wanted)) / (double)quota;
    }
    return cost;
}

// first: taken unless another one is better.
static int best_split(const sorter_t *sorter, const group_t *group, int first) {
    double costs[SHARD_SPLIT_COUNT];
    int best = first;
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
        costs[s] = cost_of(sorter, group, s);
    for (int s = 0; s < SHARD_SPLIT_COUNT; s++)
        if (costs[s] < costs[best])
            best = s;
    return best;
}

static void place_new(sorter_t *sorter) {
    for (int64_t i = 0; i < sorter->group_count; i++) {
        group_t *group = &sorter->groups[i];
        if (group->fixed)
            continue;
        group->split = (shard_split_t)best_split(sorter, group, SHARD_TRAIN);
        count_group(sorter, group, group->split, 1);
    }
}

// A group that came early may fit better elsewhere now that all are there.
static bool improve(sorter_t *sorter) {
    bool moved = false;
    for (int64_t i = 0; i < sorter->group_count; i++) {
        group_t *group = &sorter->groups[i];
        if (group->fixed)
            continue;
        count_group(sorter, group, group->split, -1);
        int best = best_split(sorter, group, group->split);
        moved = moved || best != (int)group->split;
        group->split = (shard_split_t)best;
        count_group(sorter, group, best, 1);
    }
    return moved;
}

// ---- no class without an image in some split ----

// True if it has images of the label and its going leaves none of its classes without one.
static bool can_go(const sorter_t *sorter, const group_t *group, int label) {
    const part_t *parts = sorter->parts + group->part;
    bool found = false;
    for (int64_t p = 0; p < group->parts; p++) {
        found = found || parts[p].label == label;
        if (sorter->have[parts[p].label][group->split] <= parts[p].images)
            return false;
    }
    return found && !group->fixed;
}

static bool fill(sorter_t *sorter, int label, int split) {
    group_t *best = NULL;
    double least = 0;
    for (int64_t i = 0; i < sorter->group_count; i++) {
        group_t *group = &sorter->groups[i];
        if (!can_go(sorter, group, label))
            continue;
        count_group(sorter, group, group->split, -1);
        double cost = cost_of(sorter, group, split) - cost_of(sorter, group, group->split);
        count_group(sorter, group, group->split, 1);
        if (!best || cost < least) {
            best = group;
            least = cost;
        }
    }
    if (!best)
        return false;
    count_group(sorter, best, best->split, -1);
    count_group(sorter, best, split, 1);
    best->split = (shard_split_t)split;
    return true;
}

static err_code_t cannot_fill(const sorter_t *sorter, int label, int split, err_t *err) {
    int64_t groups = 0;
    for (int64_t i = 0; i < sorter->group_count; i++) {
        const group_t *group = &sorter->groups[i];
        for (int64_t p = group->part; p < group->part + group->parts; p++)
            groups += sorter->parts[p].label == label;
    }
    err_set(err, ERR_INVALID,
            "no image of class '%s' can go into the split %s: the class has %lld groups of images "
            "that stay together, and those placed by earlier versions stay where they are",
            sorter->classes->names[label], shard_split_name((shard_split_t)split),
            (long long)groups);
    err_remedy(err, "add images of that class%s%s",
               sorter->options->previous ? ", or ingest under another name" : "",
               sorter->options->group_by == INGEST_GROUP_STEM ? ", or ingest with --group-by none"
                                                              : "");
    return ERR_INVALID;
}

static err_code_t fill_all(sorter_t *sorter, err_t *err) {
    for (int label = 0; label < sorter->classes->count; label++)
        for (int split = 0; split < SHARD_SPLIT_COUNT; split++)
            if (sorter->have[label][split] == 0 && !fill(sorter, label, split))
                return cannot_fill(sorter, label, split, err);
    return ERR_OK;
}

// ---- all ----

static void tell_members(const sorter_t *sorter) {
    for (int64_t i = 0; i < sorter->group_count; i++) {
        const group_t *group = &sorter->groups[i];
        for (int64_t m = 0; m < group->images && !group->fixed; m++)
            sorter->members[group->member + m]->split = group->split;
    }
}

static void number_rows(shard_index_t *files) {
    per_split_t rows = {0};
    for (int64_t i = 0; i < files->count; i++)
        if (files->entries[i].outcome == SHARD_KEPT)
            files->entries[i].row = rows[files->entries[i].split]++;
}

err_code_t split_files(const ingest_options_t *options, const scan_classes_t *classes,
                       const previous_t *previous, shard_index_t *files, err_t *err) {
    sorter_t sorter = {.options = options, .classes = classes, .previous = previous};
    sorter.quotas = mem_zero((size_t)classes->count, sizeof *sorter.quotas);
    sorter.have = mem_zero((size_t)classes->count, sizeof *sorter.have);
    make_groups(&sorter, files);
    count_quotas(&sorter);
    for (int64_t i = 0; i < sorter.group_count; i++)
        place_as_before(&sorter, &sorter.groups[i]);
    place_new(&sorter);
    for (int pass = 0; pass < PASSES_MAX && improve(&sorter); pass++)
        continue;
    err_code_t code = fill_all(&sorter, err);
    if (!code) {
        tell_members(&sorter);
        number_rows(files);
    }
    free(sorter.members);
    free(sorter.parts);
    free(sorter.groups);
    free(sorter.quotas);
    free(sorter.have);
    return code;
}
