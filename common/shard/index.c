#include "shard/index.h"
#include "base/fs.h"
#include "manifest_impl.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES_MAX (1u << 20)

static const char *const outcome_names[SHARD_OUTCOME_COUNT] = {
#define X(outcome, word) word,
    SHARD_OUTCOMES(X)
#undef X
};

// ---- writing ----

static void hex_write(const uint8_t digest[SHARD_DIGEST_BYTES], char hex[DIGEST_HEX_SIZE]) {
    for (int i = 0; i < SHARD_DIGEST_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static void set_text(json_t *json, const char *key, const char *text) {
    json_object_set_new(json, key, json_string(text));
}

static void set_escaped(json_t *json, const char *key, const char *bytes) {
    char *text = shard_name_escape(bytes);
    set_text(json, key, text);
    free(text);
}

static json_t *entry_json(const shard_entry_t *entry, char *const *classes) {
    json_t *json = json_object();
    char text[DIGEST_HEX_SIZE];
    bool gone = entry->outcome == SHARD_GONE, kept = entry->outcome == SHARD_KEPT;
    if (!gone) {
        set_escaped(json, "path", entry->path);
        json_object_set_new(json, "bytes", json_integer((json_int_t)entry->bytes));
        snprintf(text, sizeof text, "%" PRId64, entry->mtime_ns);
        set_text(json, "mtime_ns", text);
    }
    if (entry->has_digest) {
        hex_write(entry->digest, text);
        set_text(json, "sha256", text);
    }
    if (kept)
        set_text(json, "group", entry->group);
    if (!gone)
        set_text(json, "class", classes[entry->label]);
    set_text(json, "outcome", outcome_names[entry->outcome]);
    if (kept || gone)
        set_text(json, "split", shard_split_name(entry->split));
    if (kept)
        json_object_set_new(json, "row", json_integer(entry->row));
    if (entry->reason)
        set_text(json, "reason", entry->reason);
    return json;
}

static json_t *reject_json(const shard_entry_t *entry, char *const *classes) {
    json_t *json = json_object();
    set_escaped(json, "path", entry->path);
    set_text(json, "class", classes[entry->label]);
    set_text(json, "outcome", outcome_names[entry->outcome]);
    set_text(json, "reason", entry->reason);
    return json;
}

typedef json_t *to_json_t(const shard_entry_t *entry, char *const *classes);

static bool is_reject(const shard_entry_t *entry) {
    return entry->outcome == SHARD_REJECTED || entry->outcome == SHARD_CONFLICT;
}

static err_code_t write_lines(const char *folder, const char *name, char *const *classes,
                              const shard_index_t *index, bool rejects_only, to_json_t *to_json,
                              err_t *err) {
    char *path = fs_join(folder, name);
    fs_new_t *file = NULL;
    err_code_t code = fs_open_new(path, &file, err);
    for (int64_t i = 0; i < index->count && !code; i++) {
        if (rejects_only && !is_reject(&index->entries[i]))
            continue;
        json_t *json = to_json(&index->entries[i], classes);
        if (json_dumpf(json, fs_stream(file), JSON_COMPACT) || fputc('\n', fs_stream(file)) == EOF)
            code = err_set_errno(err, "cannot write %s", path);
        json_decref(json);
    }
    if (!code)
        code = fs_commit(&file, err);
    fs_abort(&file);
    free(path);
    return code;
}

err_code_t shard_index_write(const char *folder, char *const *classes, const shard_index_t *index,
                             err_t *err) {
    err_code_t code = write_lines(folder, SHARD_INDEX, classes, index, false, entry_json, err);
    return code ? code : write_lines(folder, SHARD_REJECTS, classes, index, true, reject_json, err);
}

// ---- reading ----

static int hex_value(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_read(const char *hex, uint8_t digest[SHARD_DIGEST_BYTES]) {
    if (strlen(hex) != 2 * SHARD_DIGEST_BYTES)
        return false;
    for (int i = 0; i < SHARD_DIGEST_BYTES; i++) {
        int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        digest[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static int find_word(const char *const *words, int count, const char *word) {
    for (int i = 0; i < count; i++)
        if (word && strcmp(words[i], word) == 0)
            return i;
    return -1;
}

static int compare_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int find_class(const shard_info_t *info, const char *name) {
    char **found = name ? bsearch(&name, info->classes, (size_t)info->class_count,
                                  sizeof *info->classes, compare_text)
                        : NULL;
    return found ? (int)(found - info->classes) : -1;
}

static char *dup_or_null(const char *text) {
    return text ? mem_dup(text) : NULL;
}

static bool take_entry(json_t *json, const shard_info_t *info, shard_entry_t *entry) {
    const char *path = NULL, *mtime = NULL, *sha256 = NULL, *group = NULL, *class_name = NULL,
               *outcome = NULL, *split = NULL, *reason = NULL;
    json_int_t bytes = 0, row = -1;
    if (json_unpack(json, "{s?s, s?I, s?s, s?s, s?s, s?s, s:s, s?s, s?I, s?s}", "path", &path,
                    "bytes", &bytes, "mtime_ns", &mtime, "sha256", &sha256, "group", &group,
                    "class", &class_name, "outcome", &outcome, "split", &split, "row", &row,
                    "reason", &reason))
        return false;
    int found = find_word(outcome_names, SHARD_OUTCOME_COUNT, outcome);
    entry->outcome = (shard_outcome_t)found;
    entry->bytes = (uint64_t)bytes;
    entry->mtime_ns = mtime ? strtoll(mtime, NULL, 10) : 0;
    entry->has_digest = sha256 != NULL;
    entry->label = find_class(info, class_name);
    entry->row = row;
    entry->group = dup_or_null(group);
    entry->reason = dup_or_null(reason);
    entry->path = path ? shard_name_unescape(path) : NULL;
    bool gone = entry->outcome == SHARD_GONE, kept = entry->outcome == SHARD_KEPT;
    bool placed = !split || shard_split_parse(split, &entry->split, NULL) == ERR_OK;
    return found >= 0 && placed && bytes >= 0 && (!sha256 || hex_read(sha256, entry->digest)) &&
           (gone || (path && mtime && entry->label >= 0)) &&
           (!(kept || gone) || (sha256 && split)) && (!kept || (group && row >= 0)) &&
           (!is_reject(entry) || reason);
}

static void entry_release(shard_entry_t *entry) {
    free(entry->path);
    free(entry->group);
    free(entry->reason);
}

void shard_index_release(shard_index_t *index) {
    for (int64_t i = 0; i < index->count; i++)
        entry_release(&index->entries[i]);
    free(index->entries);
    memset(index, 0, sizeof *index);
}

static void append(shard_index_t *index, int64_t *room, const shard_entry_t *entry) {
    if (index->count == *room) {
        *room = *room ? 2 * *room : 256;
        index->entries = mem_grow(index->entries, (size_t)*room * sizeof *entry);
    }
    index->entries[index->count++] = *entry;
}

static err_code_t read_lines(FILE *file, const char *path, const shard_info_t *info,
                             shard_index_t *index, err_t *err) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    int64_t room = 0, number = 0;
    err_code_t code = ERR_OK;
    while (!code && (length = getline(&line, &capacity, file)) > 0) {
        shard_entry_t entry = {.label = -1};
        json_t *json =
            length <= (ssize_t)LINE_BYTES_MAX ? json_loadb(line, (size_t)length, 0, NULL) : NULL;
        number++;
        if (take_entry(json, info, &entry)) {
            append(index, &room, &entry);
        } else {
            entry_release(&entry);
            code = err_set(err, ERR_CORRUPT, "%s is damaged in line %" PRId64, path, number);
        }
        json_decref(json);
    }
    free(line);
    if (!code && ferror(file))
        code = err_set_errno(err, "cannot read %s", path);
    return code;
}

static err_code_t read_checked(const char *path, const manifest_t *manifest, shard_index_t *index,
                               err_t *err) {
    char hex[DIGEST_HEX_SIZE];
    err_code_t code = digest_file(path, hex, NULL, err);
    if (code)
        return code;
    if (strcmp(hex, manifest->index.sha256) != 0)
        return err_set(err, ERR_CORRUPT, "%s is damaged: its SHA-256 is not that of the manifest",
                       path);
    FILE *file = NULL;
    size_t size;
    code = fs_open_regular(path, &file, &size, err);
    if (code)
        return code;
    code = read_lines(file, path, &manifest->info, index, err);
    fclose(file);
    return code;
}

err_code_t shard_index_read(const char *folder, shard_index_t *index, err_t *err) {
    manifest_t manifest;
    memset(index, 0, sizeof *index);
    err_code_t code = manifest_read(folder, &manifest, err);
    if (code)
        return code;
    char *path = fs_join(folder, SHARD_INDEX);
    code = read_checked(path, &manifest, index, err);
    if (code)
        shard_index_release(index);
    free(path);
    manifest_release(&manifest);
    return code;
}

err_code_t shard_index_rows(const shard_index_t *index, shard_split_t split, int64_t count,
                            const shard_entry_t ***out, err_t *err) {
    const shard_entry_t **rows = mem_zero((size_t)count + 1, sizeof *rows);
    int64_t found = 0;
    bool good = true;
    for (int64_t i = 0; i < index->count && good; i++) {
        const shard_entry_t *entry = &index->entries[i];
        if (entry->outcome != SHARD_KEPT || entry->split != split)
            continue;
        good = entry->row < count && !rows[entry->row];
        if (good)
            rows[entry->row] = entry;
        found++;
    }
    if (!good || found != count) {
        free(rows);
        return err_set(err, ERR_CORRUPT, "the index does not name every image of the split %s once",
                       shard_split_name(split));
    }
    *out = rows;
    return ERR_OK;
}
