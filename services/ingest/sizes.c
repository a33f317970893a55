#include "base/buf.h"
#include "sizes_impl.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 65536

// ---- what became of the files of a class ----

typedef struct {
    int64_t outcomes[SHARD_OUTCOME_COUNT], files;
    const shard_entry_t *rejected, *conflict; // the first one each, or NULL
} tally_t;

static const struct {
    shard_outcome_t outcome;
    const char *words;
} losses[] = {
    {SHARD_REJECTED, "were rejected"},
    {SHARD_CONFLICT, "stand under another label too"},
    {SHARD_DUPLICATE, "are copies of others"},
};

static void count_entry(tally_t *tally, const shard_entry_t *entry) {
    tally->files++;
    tally->outcomes[entry->outcome]++;
    if (entry->outcome == SHARD_REJECTED && !tally->rejected)
        tally->rejected = entry;
    if (entry->outcome == SHARD_CONFLICT && !tally->conflict)
        tally->conflict = entry;
}

static tally_t *count_classes(const scan_classes_t *classes, const shard_index_t *files) {
    tally_t *tallies = mem_zero((size_t)classes->count, sizeof *tallies);
    for (int64_t i = 0; i < files->count; i++)
        count_entry(&tallies[files->entries[i].label], &files->entries[i]);
    return tallies;
}

static bool mostly_conflicts(const tally_t *tally) {
    return tally->outcomes[SHARD_CONFLICT] > tally->outcomes[SHARD_REJECTED];
}

// "; 13 of 14 files were rejected, 1 are copies of others, e.g. a/0.jpg: <reason>", or nothing.
static void put_losses(buf_t *text, const tally_t *tally) {
    bool first = true;
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        int64_t count = tally->outcomes[losses[i].outcome];
        if (count == 0)
            continue;
        if (first)
            buf_printf(text, "; %lld of %lld files %s", (long long)count, (long long)tally->files,
                       losses[i].words);
        else
            buf_printf(text, ", %lld %s", (long long)count, losses[i].words);
        first = false;
    }
    const shard_entry_t *example = mostly_conflicts(tally) ? tally->conflict : tally->rejected;
    if (example) {
        char *path = shard_name_escape(example->path);
        buf_printf(text, ", e.g. %s: %s", path, example->reason);
        free(path);
    }
}

// ---- sizes ----

static bool too_small(int64_t count, int64_t largest) {
    return count < INGEST_CLASS_IMAGES_MIN || count * 100 < largest * INGEST_CLASS_PERCENT;
}

// What would help, and "--classes a,b" with the classes that are large enough.
static void suggest(const scan_classes_t *classes, const tally_t *tallies, int poor,
                    int64_t largest, err_t *err) {
    const tally_t *tally = &tallies[poor];
    const char *help = mostly_conflicts(tally)
                           ? "keep each image under one label only (symbolic links are followed)"
                       : tally->rejected ? "put images in the place of the rejected files"
                                         : "add images";
    buf_t list;
    int good = 0;
    buf_init(&list, TEXT_MAX);
    for (int i = 0; i < classes->count; i++)
        if (!too_small(tallies[i].outcomes[SHARD_KEPT], largest))
            buf_printf(&list, "%s%s", good++ ? "," : "", classes->names[i]);
    if (good >= 2 && !list.failed)
        err_remedy(err, "%s, or leave the folder out: --classes %s", help, list.data);
    else
        err_remedy(err, "%s", help);
    buf_release(&list);
}

static err_code_t refuse(const scan_classes_t *classes, const tally_t *tallies, int poor,
                         int64_t largest, const char *seen, err_t *err) {
    int64_t count = tallies[poor].outcomes[SHARD_KEPT];
    buf_t text;
    buf_init(&text, TEXT_MAX);
    buf_printf(&text, "class '%s' has %lld %s", classes->names[poor], (long long)count, seen);
    if (count < INGEST_CLASS_IMAGES_MIN)
        buf_printf(&text, ": at least %d are needed", INGEST_CLASS_IMAGES_MIN);
    else
        buf_printf(&text, ", under %d %% of the largest class's %lld", INGEST_CLASS_PERCENT,
                   (long long)largest);
    put_losses(&text, &tallies[poor]);
    err_set(err, ERR_INVALID, "%s", text.data);
    buf_release(&text);
    suggest(classes, tallies, poor, largest, err);
    return ERR_INVALID;
}

err_code_t sizes_check(const scan_classes_t *classes, const shard_index_t *files, const char *seen,
                       err_t *err) {
    tally_t *tallies = count_classes(classes, files);
    int64_t largest = 0;
    err_code_t code = ERR_OK;
    for (int i = 0; i < classes->count; i++)
        if (tallies[i].outcomes[SHARD_KEPT] > largest)
            largest = tallies[i].outcomes[SHARD_KEPT];
    for (int i = 0; i < classes->count && !code; i++)
        if (too_small(tallies[i].outcomes[SHARD_KEPT], largest))
            code = refuse(classes, tallies, i, largest, seen, err);
    free(tallies);
    return code;
}

// ---- refused files ----

static bool is_refused(const shard_entry_t *entry) {
    return entry->outcome == SHARD_REJECTED || entry->outcome == SHARD_CONFLICT;
}

err_code_t sizes_check_strict(const shard_index_t *files, err_t *err) {
    const shard_entry_t *first = NULL;
    int64_t count = 0;
    for (int64_t i = 0; i < files->count; i++)
        if (is_refused(&files->entries[i]) && count++ == 0)
            first = &files->entries[i];
    if (!first)
        return ERR_OK;
    char *path = shard_name_escape(first->path);
    if (count == 1)
        err_set(err, ERR_INVALID, "%s: %s", path, first->reason);
    else
        err_set(err, ERR_INVALID, "%lld%s files were refused, e.g. %s: %s", (long long)count,
                count < INGEST_REFUSED_MAX ? "" : " or more", path, first->reason);
    err_remedy(err, "mend or remove %s, or ingest without --strict",
               count == 1 ? "the file" : "the files");
    free(path);
    return ERR_INVALID;
}

void sizes_list_refused(const shard_index_t *files, ingest_result_t *result) {
    result->refused = mem_zero(INGEST_REFUSED_MAX, sizeof *result->refused);
    for (int64_t i = 0; i < files->count; i++) {
        const shard_entry_t *entry = &files->entries[i];
        if (!is_refused(entry))
            continue;
        result->rejected++;
        result->conflicts += entry->outcome == SHARD_CONFLICT;
        if (result->refused_count == INGEST_REFUSED_MAX)
            continue;
        char *path = shard_name_escape(entry->path);
        result->refused[result->refused_count++] = mem_format("%s: %s", path, entry->reason);
        free(path);
    }
}
