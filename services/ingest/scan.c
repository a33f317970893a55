#include "base/fs.h"
#include "scan_impl.h"

#include <dirent.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CLASS_NAME_MAX 255 // bytes, escaped

// ---- names in a folder, sorted ----

typedef struct {
    char **names;
    size_t count, room;
} names_t;

static void names_add(names_t *names, const char *name) {
    if (names->count == names->room) {
        names->room = names->room ? 2 * names->room : 64;
        names->names = mem_grow(names->names, names->room * sizeof *names->names);
    }
    names->names[names->count++] = mem_dup(name);
}

static void names_release(names_t *names) {
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    memset(names, 0, sizeof *names);
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// All names but hidden ones. False sets errno.
static bool list_folder(const char *path, names_t *names) {
    DIR *folder = opendir(path);
    if (!folder)
        return false;
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(folder)))
        if (entry->d_name[0] != '.')
            names_add(names, entry->d_name);
    int failed = errno;
    closedir(folder);
    if (failed) {
        names_release(names);
        errno = failed;
        return false;
    }
    if (names->count)
        qsort(names->names, names->count, sizeof *names->names, compare_names);
    return true;
}

// Whoever asks again gets the same answer, unless it is the disk.
static err_code_t cannot_list(err_t *err, const char *what, const char *path) {
    switch (errno) {
    case ENOTDIR:
    case ENOENT:
        return err_set(err, ERR_NOT_FOUND, "there is no folder %s", path);
    case EACCES:
    case EPERM:
    case ELOOP:
    case ENAMETOOLONG:
        return err_set(err, ERR_INVALID, "cannot read %s %s: %s", what, path, strerror(errno));
    default:
        return err_set_errno(err, "cannot read %s %s", what, path);
    }
}

// ---- classes ----

static int compare_escaped(const void *a, const void *b) {
    char *left = shard_name_escape(*(char *const *)a),
         *right = shard_name_escape(*(char *const *)b);
    int order = strcmp(left, right);
    free(left);
    free(right);
    return order;
}

static bool is_folder(const char *parent, const char *name) {
    struct stat info;
    char *path = fs_join(parent, name);
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    free(path);
    return folder;
}

static bool is_picked(const ingest_options_t *options, const char *folder) {
    char *escaped = shard_name_escape(folder);
    bool picked = options->classes == NULL;
    for (int i = 0; i < options->class_count && !picked; i++)
        picked =
            strcmp(options->classes[i], folder) == 0 || strcmp(options->classes[i], escaped) == 0;
    free(escaped);
    return picked;
}

static err_code_t check_picked_exist(const ingest_options_t *options, err_t *err) {
    for (int i = 0; options->classes && i < options->class_count; i++) {
        const char *name = options->classes[i];
        char *raw = shard_name_unescape(name);
        bool plain = name[0] && name[0] != '.' && !strchr(name, '/');
        bool there = plain && (is_folder(options->folder, name) || is_folder(options->folder, raw));
        free(raw);
        if (!there) {
            err_set(err, ERR_NOT_FOUND, "there is no class folder '%s' in %s", name,
                    options->folder);
            return err_remedy(err, "name folders of %s after --classes", options->folder);
        }
    }
    return ERR_OK;
}

static err_code_t add_class(scan_classes_t *classes, const char *folder, err_t *err) {
    char *name = shard_name_escape(folder);
    if (strlen(name) > CLASS_NAME_MAX || classes->count == SHARD_CLASSES_MAX) {
        err_code_t code = strlen(name) > CLASS_NAME_MAX
                              ? err_set(err, ERR_INVALID, "the class name '%s' is too long", name)
                              : err_set(err, ERR_INVALID, "there are more than %d class folders",
                                        SHARD_CLASSES_MAX);
        free(name);
        return code;
    }
    int count = ++classes->count;
    classes->folders = mem_grow(classes->folders, (size_t)count * sizeof *classes->folders);
    classes->names = mem_grow(classes->names, (size_t)count * sizeof *classes->names);
    classes->folders[count - 1] = mem_dup(folder);
    classes->names[count - 1] = name;
    return ERR_OK;
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

err_code_t scan_classes(const ingest_options_t *options, scan_classes_t *classes, err_t *err) {
    names_t names = {0};
    memset(classes, 0, sizeof *classes);
    if (!list_folder(options->folder, &names)) {
        err_code_t refused = cannot_list(err, "the folder", options->folder);
        err_remedy(err, "give a folder, readable here, with one folder of images per class");
        return refused;
    }
    err_code_t code = check_picked_exist(options, err);
    if (names.count)
        qsort(names.names, names.count, sizeof *names.names, compare_escaped);
    for (size_t i = 0; i < names.count && !code; i++)
        if (is_picked(options, names.names[i]) && is_folder(options->folder, names.names[i]))
            code = add_class(classes, names.names[i], err);
    names_release(&names);
    if (!code)
        code = check_two(options, classes, err);
    if (code)
        scan_classes_release(classes);
    return code;
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

// ---- files ----

// A folder that was gone through already: symbolic links can lead back.
typedef struct {
    dev_t device;
    ino_t inode;
} place_t;

typedef struct {
    const char *root;
    int label;
    void *visited; // tree of place_t
    shard_index_t *files;
    int64_t room;
} walk_t;

static int compare_places(const void *a, const void *b) {
    const place_t *left = a, *right = b;
    if (left->device != right->device)
        return left->device < right->device ? -1 : 1;
    return left->inode < right->inode ? -1 : left->inode > right->inode;
}

// True the first time.
static bool visit(walk_t *walk, const struct stat *info) {
    place_t *place = mem_alloc(sizeof *place);
    *place = (place_t){info->st_dev, info->st_ino};
    place_t *const *found = tsearch(place, &walk->visited, compare_places);
    ERR_ASSERT(found != NULL);
    if (*found == place)
        return true;
    free(place);
    return false;
}

static shard_entry_t *add_file(walk_t *walk, const char *path) {
    shard_index_t *files = walk->files;
    if (files->count == walk->room) {
        walk->room = walk->room ? 2 * walk->room : 1024;
        files->entries = mem_grow(files->entries, (size_t)walk->room * sizeof *files->entries);
    }
    shard_entry_t *entry = &files->entries[files->count++];
    *entry = (shard_entry_t){.path = mem_dup(path), .label = walk->label, .outcome = SHARD_KEPT};
    return entry;
}

static void add_rejected(walk_t *walk, const char *path, char *reason) {
    shard_entry_t *entry = add_file(walk, path);
    entry->outcome = SHARD_REJECTED;
    entry->reason = reason;
}

static void walk_folder(walk_t *walk, const char *path, int depth);

static void walk_one(walk_t *walk, const char *path, int depth) {
    struct stat info;
    char *full = fs_join(walk->root, path);
    if (stat(full, &info) != 0) {
        add_rejected(walk, path, mem_format("cannot read it: %s", strerror(errno)));
    } else if (S_ISDIR(info.st_mode)) {
        if (visit(walk, &info))
            walk_folder(walk, path, depth + 1);
    } else if (S_ISREG(info.st_mode)) {
        shard_entry_t *entry = add_file(walk, path);
        entry->bytes = (uint64_t)info.st_size;
        entry->mtime_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    } else {
        add_rejected(walk, path, mem_dup("not a regular file"));
    }
    free(full);
}

static void walk_folder(walk_t *walk, const char *path, int depth) {
    names_t names = {0};
    char *full = fs_join(walk->root, path);
    if (depth > INGEST_DEPTH_MAX)
        add_rejected(walk, path,
                     mem_format("folders are nested more than %d deep", INGEST_DEPTH_MAX));
    else if (!list_folder(full, &names))
        add_rejected(walk, path, mem_format("cannot read the folder: %s", strerror(errno)));
    for (size_t i = 0; i < names.count; i++) {
        char *below = fs_join(path, names.names[i]);
        walk_one(walk, below, depth);
        free(below);
    }
    names_release(&names);
    free(full);
}

static int compare_entries(const void *a, const void *b) {
    return strcmp(((const shard_entry_t *)a)->path, ((const shard_entry_t *)b)->path);
}

// The class folder itself must be readable: without it there is no class.
static err_code_t check_class_folder(const char *path, err_t *err) {
    DIR *folder = opendir(path);
    if (!folder) {
        err_code_t code = cannot_list(err, "the class folder", path);
        err_remedy(err, "make it readable, or leave it out with --classes");
        return code;
    }
    closedir(folder);
    return ERR_OK;
}

err_code_t scan_files(const char *folder, const scan_classes_t *classes, shard_index_t *files,
                      err_t *err) {
    walk_t walk = {.root = folder, .files = files};
    err_code_t code = ERR_OK;
    for (int label = 0; label < classes->count && !code; label++) {
        char *path = fs_join(folder, classes->folders[label]);
        struct stat info;
        code = check_class_folder(path, err);
        walk.label = label;
        if (!code && stat(path, &info) == 0)
            visit(&walk, &info);
        if (!code)
            walk_folder(&walk, classes->folders[label], 1);
        tdestroy(walk.visited, free);
        walk.visited = NULL;
        free(path);
    }
    if (!code && files->count)
        qsort(files->entries, (size_t)files->count, sizeof *files->entries, compare_entries);
    return code;
}
