#include "listing_impl.h"
#include "shard/shard.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES_MAX (1u << 20) // but for the first, which has the folders

typedef struct {
    const char *next, *end;
    size_t line; // number of the current one
    listing_t *listing;
    size_t room;
    const char *folder; // of the first level that the line before was in, or NULL
    err_t *err;
} reader_t;

static err_code_t damaged(const reader_t *reader, const char *why) {
    return err_set(reader->err, ERR_CORRUPT, "the listing is damaged in line %zu: %s", reader->line,
                   why);
}

// ---- lines ----

static err_code_t next_line(reader_t *reader, size_t limit, json_t **json) {
    size_t left = (size_t)(reader->end - reader->next);
    const char *line = reader->next, *end = left ? memchr(line, '\n', left) : NULL;
    json_error_t error;
    reader->line++;
    if (!end)
        return damaged(reader, left ? "it is cut off" : "there is none");
    reader->next = end + 1;
    if ((size_t)(end - line) > limit)
        return damaged(reader, "it is too long");
    *json = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, &error);
    return *json ? ERR_OK : damaged(reader, error.text);
}

// The bytes that a text stands for, or NULL: it is none, is empty, or is not what they are written
// as.
static char *take_name(const json_t *text) {
    if (!json_is_string(text) || !json_string_length(text))
        return NULL;
    char *bytes = shard_name_unescape(json_string_value(text));
    char *again = shard_name_escape(bytes);
    bool same = strcmp(again, json_string_value(text)) == 0;
    free(again);
    if (same)
        return bytes;
    free(bytes);
    return NULL;
}

// ---- the first line ----

static bool is_plain_name(const char *name) {
    return name && name[0] != '.' && !strchr(name, '/');
}

static err_code_t take_folders(const reader_t *reader, const json_t *folders) {
    listing_t *listing = reader->listing;
    size_t count = json_array_size(folders); // 0 for what is no array
    listing->folders = mem_zero(count + 1, sizeof *listing->folders);
    for (size_t i = 0; i < count; i++) {
        char *name = take_name(json_array_get(folders, i));
        bool good = is_plain_name(name);
        if (good && i > 0)
            good = strcmp(listing->folders[i - 1], name) < 0;
        if (!good) {
            free(name);
            return damaged(reader, "folders are no names in byte order");
        }
        listing->folders[listing->folder_count++] = name;
    }
    return ERR_OK;
}

static err_code_t take_head(const reader_t *reader, const json_t *json) {
    const json_t *schema = json_object_get(json, "schema");
    const json_t *folders = json_object_get(json, "folders");
    json_int_t number = json_integer_value(schema);
    if (number > LISTING_SCHEMA) {
        err_set(reader->err, ERR_UNSUPPORTED, "the listing has schema %lld, this release knows %d",
                (long long)number, LISTING_SCHEMA);
        return err_remedy(reader->err, "update this host's Inkling");
    }
    if (number < 1)
        return damaged(reader, "it has no schema");
    reader->listing->folder = take_name(json_object_get(json, "folder"));
    if (!reader->listing->folder)
        return damaged(reader, "it names no folder");
    return json_is_array(folders) ? take_folders(reader, folders)
                                  : damaged(reader, "it has no folders");
}

// ---- a file's ----

bool listing_is_digest(const char *text) {
    return strlen(text) == DIGEST_HEX_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == DIGEST_HEX_SIZE - 1;
}

// Digits with or without a minus before them, as they are written.
static bool take_time(const char *text, int64_t *time) {
    const char *digits = text + (text[0] == '-');
    size_t count = strlen(digits);
    if (count == 0 || count > 19 || strspn(digits, "0123456789") != count ||
        (digits[0] == '0' && (count > 1 || digits != text)))
        return false;
    errno = 0;
    *time = strtoll(text, NULL, 10);
    return errno == 0;
}

// NULL, or what is wrong.
static const char *take_facts(const json_t *json, listing_file_t *file) {
    const json_t *bytes = json_object_get(json, "bytes"),
                 *mtime = json_object_get(json, "mtime_ns"),
                 *sha256 = json_object_get(json, "sha256"),
                 *reason = json_object_get(json, "reason"), *again = json_object_get(json, "again");
    if (!sha256 == !reason)
        return "it needs one of sha256 and reason";
    if (!bytes != !mtime || (sha256 && !bytes))
        return "it has no bytes and mtime_ns";
    if (bytes && (!json_is_integer(bytes) || json_integer_value(bytes) < 0))
        return "bytes is no size";
    if (mtime && (!json_is_string(mtime) || !take_time(json_string_value(mtime), &file->mtime_ns)))
        return "mtime_ns is no time";
    if (sha256 && (!json_is_string(sha256) || !listing_is_digest(json_string_value(sha256))))
        return "sha256 is no digest";
    if (reason && (!json_is_string(reason) || !json_string_length(reason)))
        return "reason is no text";
    if (again && !json_is_boolean(again))
        return "again is neither true nor false";
    file->bytes = (uint64_t)json_integer_value(bytes);
    file->again = json_is_true(again);
    if (sha256)
        memcpy(file->digest, json_string_value(sha256), DIGEST_HEX_SIZE);
    else
        file->reason = mem_dup(json_string_value(reason));
    return NULL;
}

static const char *check_parts(const char *path) {
    int folders = 0;
    if (path[0] == '/')
        return "its path is absolute";
    for (const char *part = path;; part++) {
        if (*part == '.')
            return "a part of its path begins with a dot";
        if (*part == '/' || *part == 0)
            return "a part of its path is empty";
        part += strcspn(part, "/");
        if (*part == 0)
            break;
        folders++;
    }
    return folders > LISTING_DEPTH_MAX ? "its path is too deep" : NULL;
}

// A path's first part is one of the folders; that of a file directly in the folder is none, but a
// folder that could not be read has a reason.
static const char *check_place(reader_t *reader, const listing_file_t *file) {
    char *slash = strchr(file->path, '/');
    if (!slash)
        return file->reason || !listing_has_folder(reader->listing, file->path)
                   ? NULL
                   : "it is a folder and a file";
    size_t size = (size_t)(slash - file->path);
    if (reader->folder && strncmp(reader->folder, file->path, size + 1) == 0)
        return NULL;
    *slash = 0;
    bool found = listing_has_folder(reader->listing, file->path);
    *slash = '/';
    if (!found)
        return "it is in none of the folders";
    reader->folder = file->path;
    return NULL;
}

static const char *take_file(reader_t *reader, const json_t *json, listing_file_t *file) {
    const listing_t *listing = reader->listing;
    const char *before = listing->count ? listing->files[listing->count - 1].path : NULL, *wrong;
    file->path = take_name(json_object_get(json, "path"));
    if (!file->path)
        return "it has no path";
    int order = before ? strcmp(before, file->path) : -1;
    if (order >= 0)
        return order ? "it is out of order" : "its path comes twice";
    wrong = check_parts(file->path);
    if (!wrong)
        wrong = take_facts(json, file);
    return wrong ? wrong : check_place(reader, file);
}

static err_code_t read_file(reader_t *reader) {
    listing_file_t file = {0};
    json_t *json = NULL;
    err_code_t code = next_line(reader, LINE_BYTES_MAX, &json);
    const char *wrong = code ? NULL : take_file(reader, json, &file);
    if (wrong)
        code = damaged(reader, wrong);
    json_decref(json);
    if (code == ERR_OK) {
        listing_append(reader->listing, &reader->room, &file);
        return ERR_OK;
    }
    free(file.path);
    free(file.reason);
    return code;
}

err_code_t listing_read(const void *text, size_t size, listing_t *listing, err_t *err) {
    const char *begin = text;
    json_t *head = NULL;
    memset(listing, 0, sizeof *listing);
    if (size > LISTING_BYTES_MAX)
        return err_set(err, ERR_TOO_LARGE, "the listing has %zu bytes; the limit is %u", size,
                       LISTING_BYTES_MAX);
    reader_t reader = {.next = begin, .end = begin + size, .listing = listing, .err = err};
    err_code_t code = next_line(&reader, LISTING_BYTES_MAX, &head);
    if (code == ERR_OK)
        code = take_head(&reader, head);
    json_decref(head);
    while (code == ERR_OK && reader.next < reader.end)
        code = read_file(&reader);
    if (code)
        listing_release(listing);
    return code;
}
