#include "base/fs.h"
#include "scan_impl.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLASS_NAME_MAX 255 // bytes, escaped

// ---- classes ----

static bool is_picked(const ingest_options_t *options, const char *folder, const char *escaped) {
    bool picked = options->classes == NULL;
    for (int i = 0; i < options->class_count && !picked; i++)
        picked =
            strcmp(options->classes[i], folder) == 0 || strcmp(options->classes[i], escaped) == 0;
    return picked;
}

static err_code_t check_picked_exist(const ingest_options_t *options, const listing_t *listing,
                                     err_t *err) {
    for (int i = 0; options->classes && i < options->class_count; i++) {
        const char *name = options->classes[i];
        char *raw = shard_name_unescape(name);
        bool there = listing_has_folder(listing, name) || listing_has_folder(listing, raw);
        free(raw);
        if (!there) {
            err_set(err, ERR_NOT_FOUND, "there is no class folder '%s' in %s", name,
                    options->folder);
            return err_remedy(err, "name folders of %s after --classes", options->folder);
        }
    }
    return ERR_OK;
}

// Takes the name.
static err_code_t add_class(scan_classes_t *classes, const char *folder, char *name, err_t *err) {
    if (strlen(name) > CLASS_NAME_MAX || classes->count == SHARD_CLASSES_MAX) {
        err_code_t code = strlen(name) > CLASS_NAME_MAX
                              ? err_set(err, ERR_INVALID, "the class name '%s' is too long", name)
                              : err_set(err, ERR_INVALID, "there are more than %d class folders",
                                        SHARD_CLASSES_MAX);
        free(name);
        return code;
    }
    size_t count = (size_t)++classes->count;
    classes->folders = mem_grow(classes->folders, count * sizeof *classes->folders);
    classes->names = mem_grow(classes->names, count * sizeof *classes->names);
    classes->folders[count - 1] = mem_dup(folder);
    classes->names[count - 1] = name;
    return ERR_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// They come in byte order of folders.
static void sort_by_name(scan_classes_t *classes) {
    if (classes->count == 0)
        return;
    qsort(classes->names, (size_t)classes->count, sizeof *classes->names, compare_names);
    for (int i = 0; i < classes->count; i++) {
        free(classes->folders[i]);
        classes->folders[i] = shard_name_unescape(classes->names[i]);
    }
}

static err_code_t check_two(const ingest_options_t *options, const scan_classes_t *classes,
                            err_t *err) {
    if (classes->count >= 2)
        return ERR_OK;
    if (options->classes) {
        err_set(err, ERR_INVALID, "only one class is picked: two or more are needed");
        return err_remedy(err, "name two or more folders of %s after --classes", options->folder);
    }
    if (classes->count == 1)
        err_set(err, ERR_INVALID, "%s has only one class, '%s': two or more are needed",
                options->folder, classes->names[0]);
    else
        err_set(err, ERR_INVALID, "%s has no class folders", options->folder);
    return err_remedy(err, "put the images of each class into a folder of its own below %s",
                      options->folder);
}

static err_code_t find_classes(const ingest_options_t *options, const listing_t *listing,
                               scan_classes_t *classes, err_t *err) {
    err_code_t code = check_picked_exist(options, listing, err);
    for (size_t i = 0; i < listing->folder_count && !code; i++) {
        char *name = shard_name_escape(listing->folders[i]);
        if (is_picked(options, listing->folders[i], name))
            code = add_class(classes, listing->folders[i], name, err);
        else
            free(name);
    }
    sort_by_name(classes);
    return code ? code : check_two(options, classes, err);
}

void scan_classes_release(scan_classes_t *classes) {
    for (int i = 0; i < classes->count; i++) {
        free(classes->folders[i]);
        free(classes->names[i]);
    }
    free(classes->folders);
    free(classes->names);
    memset(classes, 0, sizeof *classes);
}

// ---- class folders ----

// Itself it must be readable: without it there is no class.
static err_code_t refuse_class_folder(const char *path, err_code_t code, const char *why,
                                      err_t *err) {
    err_set(err, code, "cannot read the class folder %s: %s", path, why);
    return err_remedy(err, "make it readable, or leave it out with --classes");
}

// Whoever asks again gets the same answer, unless it is the disk.
static err_code_t code_of(int error) {
    switch (error) {
    case ENOTDIR:
    case ENOENT:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
    case ELOOP:
    case ENAMETOOLONG:
        return ERR_INVALID;
    default:
        return ERR_IO;
    }
}

static err_code_t check_class_folders(const char *folder, const scan_classes_t *classes,
                                      err_t *err) {
    err_code_t code = ERR_OK;
    for (int i = 0; i < classes->count && !code; i++) {
        char *path = fs_join(folder, classes->folders[i]);
        DIR *opened = opendir(path);
        if (opened)
            closedir(opened);
        else
            code = refuse_class_folder(path, code_of(errno), strerror(errno), err);
        free(path);
    }
    return code;
}

// Lists the class folders and nothing beside them.
static err_code_t scan_in_place(const ingest_options_t *options, listing_t *listing,
                                scan_classes_t *classes, err_t *err) {
    err_code_t code = listing_scan_top(options->folder, listing, err);
    if (code) {
        err_remedy(err, "give a folder, readable here, with one folder of images per class");
        return code;
    }
    code = find_classes(options, listing, classes, err);
    if (!code)
        code = check_class_folders(options->folder, classes, err);
    if (!code)
        listing_scan_below(listing, classes->folders, (size_t)classes->count);
    return code;
}

// ---- files ----

typedef struct {
    const char *folder;
    int label;
} label_t;

static int compare_labels(const void *a, const void *b) {
    return strcmp(((const label_t *)a)->folder, ((const label_t *)b)->folder);
}

// In byte order of folders; malloc'ed.
static label_t *make_labels(const scan_classes_t *classes) {
    label_t *labels = mem_zero((size_t)classes->count, sizeof *labels);
    for (int i = 0; i < classes->count; i++)
        labels[i] = (label_t){classes->folders[i], i};
    qsort(labels, (size_t)classes->count, sizeof *labels, compare_labels);
    return labels;
}

static const label_t *find_label(const label_t *labels, int count, const char *path, size_t size) {
    char *folder = mem_format("%.*s", (int)size, path);
    const label_t key = {.folder = folder}, *found;
    found = bsearch(&key, labels, (size_t)count, sizeof *labels, compare_labels);
    free(folder);
    return found;
}

static int hex_value(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

// What is too large to be read is not known by its content.
static void take_digest(const listing_file_t *file, uint64_t limit, shard_entry_t *entry) {
    entry->has_digest = file->digest[0] && file->bytes <= limit;
    for (int i = 0; i < SHARD_DIGEST_BYTES && entry->has_digest; i++)
        entry->digest[i] =
            (uint8_t)(hex_value(file->digest[2 * i]) << 4 | hex_value(file->digest[2 * i + 1]));
}

static shard_entry_t entry_of(const listing_file_t *file, int label) {
    return (shard_entry_t){.path = mem_dup(file->path),
                           .bytes = file->bytes,
                           .mtime_ns = file->mtime_ns,
                           .label = label,
                           .reason = file->reason ? mem_dup(file->reason) : NULL,
                           .outcome = file->reason ? SHARD_REJECTED : SHARD_KEPT};
}

// Files come in order of paths: most are in the folder of the one before.
static void take_files(const listing_t *listing, const label_t *labels, int count, uint64_t limit,
                       shard_index_t *files) {
    const char *before = NULL;
    const label_t *label = NULL;
    for (size_t i = 0; i < listing->count; i++) {
        const char *path = listing->files[i].path, *slash = strchr(path, '/');
        if (!slash)
            continue;
        size_t size = (size_t)(slash - path);
        if (!before || strncmp(before, path, size + 1) != 0)
            label = find_label(labels, count, path, size);
        before = path;
        if (!label)
            continue;
        shard_entry_t *entry = &files->entries[files->count++];
        *entry = entry_of(&listing->files[i], label->label);
        take_digest(&listing->files[i], limit, entry);
    }
}

static err_code_t scan_files(const ingest_options_t *options, const listing_t *listing,
                             const scan_classes_t *classes, shard_index_t *files, err_t *err) {
    label_t *labels = make_labels(classes);
    err_code_t code = ERR_OK;
    for (size_t i = 0; i < listing->count && !code; i++) {
        const listing_file_t *file = &listing->files[i];
        if (strchr(file->path, '/') ||
            !find_label(labels, classes->count, file->path, strlen(file->path)))
            continue;
        const char *why = file->reason ? file->reason : "it is a file by now";
        char *path = fs_join(options->folder, file->path);
        code = refuse_class_folder(path, ERR_INVALID, why, err);
        free(path);
    }
    if (!code) {
        files->entries = mem_zero(listing->count + 1, sizeof *files->entries);
        take_files(listing, labels, classes->count, options->limits.bytes, files);
    }
    free(labels);
    return code;
}

err_code_t scan(const ingest_options_t *options, scan_classes_t *classes, shard_index_t *files,
                err_t *err) {
    listing_t here = {0};
    const listing_t *listing = options->listing ? options->listing : &here;
    memset(classes, 0, sizeof *classes);
    err_code_t code = options->listing ? find_classes(options, listing, classes, err)
                                       : scan_in_place(options, &here, classes, err);
    if (!code)
        code = scan_files(options, listing, classes, files, err);
    listing_release(&here);
    if (code)
        scan_classes_release(classes);
    return code;
}
