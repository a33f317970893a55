#include "listing_impl.h"

#include <dirent.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
    const struct dirent *entry;
    for (errno = 0; (entry = readdir(folder)); errno = 0)
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
static err_code_t cannot_list(const char *path, err_t *err) {
    switch (errno) {
    case ENOTDIR:
    case ENOENT:
        return err_set(err, ERR_NOT_FOUND, "there is no folder %s", path);
    case EACCES:
    case EPERM:
    case ELOOP:
    case ENAMETOOLONG:
        return err_set(err, ERR_INVALID, "cannot read the folder %s: %s", path, strerror(errno));
    default:
        return err_set_errno(err, "cannot read the folder %s", path);
    }
}

// ---- folders that were entered ----

typedef struct {
    dev_t device;
    ino_t inode;
} place_t;

static int compare_places(const void *a, const void *b) {
    const place_t *left = a, *right = b;
    if (left->device != right->device)
        return left->device < right->device ? -1 : 1;
    return left->inode < right->inode ? -1 : left->inode > right->inode;
}

// True the first time. places: a tree.
static bool enter(void **places, const struct stat *info) {
    place_t *place = mem_alloc(sizeof *place);
    *place = (place_t){info->st_dev, info->st_ino};
    place_t *const *found = tsearch(place, places, compare_places);
    ERR_ASSERT(found != NULL);
    if (*found == place)
        return true;
    free(place);
    return false;
}

// ---- the walk ----

typedef struct {
    listing_t *listing;
    size_t room; // for files
    char *path;  // of what is looked at: the folder, '/', and from `below` on its path in it
    size_t below, path_room;
    void *within;     // places that were entered in this folder of the first level
    void *everywhere; // places that were entered at all
} walk_t;

static void walk_begin(walk_t *walk, listing_t *listing) {
    size_t length = strlen(listing->folder);
    bool slash = length > 0 && listing->folder[length - 1] == '/';
    *walk = (walk_t){.listing = listing, .room = listing->count};
    walk->below = length + !slash;
    walk->path_room = walk->below + 1024;
    walk->path = mem_alloc(walk->path_room);
    memcpy(walk->path, listing->folder, length);
    walk->path[walk->below - 1] = '/';
    walk->path[walk->below] = 0;
}

static void walk_end(walk_t *walk) {
    tdestroy(walk->everywhere, free);
    free(walk->path);
}

// Puts the name behind the first `length` bytes of the path; the new length.
static size_t go_to(walk_t *walk, size_t length, const char *name) {
    size_t size = strlen(name), slash = length > walk->below;
    if (length + slash + size + 1 > walk->path_room) {
        walk->path_room = 2 * (length + slash + size + 1);
        walk->path = mem_grow(walk->path, walk->path_room);
    }
    if (slash)
        walk->path[length] = '/';
    memcpy(walk->path + length + slash, name, size + 1);
    return length + slash + size;
}

static void add_refused(walk_t *walk, char *reason, bool again) {
    const listing_file_t file = {
        .path = mem_dup(walk->path + walk->below), .again = again, .reason = reason};
    listing_append(walk->listing, &walk->room, &file);
}

// What stat says of something that is no folder.
static void add_found(walk_t *walk, const struct stat *info, bool again) {
    if (!S_ISREG(info->st_mode)) {
        add_refused(walk, mem_dup("not a regular file"), again);
        return;
    }
    const listing_file_t file = {.path = mem_dup(walk->path + walk->below),
                                 .bytes = (uint64_t)info->st_size,
                                 .mtime_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 +
                                             info->st_mtim.tv_nsec,
                                 .again = again};
    listing_append(walk->listing, &walk->room, &file);
}

static char *cannot_read(const char *what) {
    return mem_format("cannot read %s: %s", what, strerror(errno));
}

static void walk_folder(walk_t *walk, size_t length, int depth, bool again);

// The path, of that length, is one of a folder at `depth`. Within a folder that was entered before
// everything is there again, also what will be entered later: that is so below the folder itself.
static void walk_one(walk_t *walk, size_t length, int depth, bool again) {
    struct stat info;
    if (stat(walk->path, &info) != 0)
        add_refused(walk, cannot_read("it"), again);
    else if (!S_ISDIR(info.st_mode))
        add_found(walk, &info, again);
    else if (enter(&walk->within, &info))
        walk_folder(walk, length, depth + 1, again || !enter(&walk->everywhere, &info));
}

static void walk_folder(walk_t *walk, size_t length, int depth, bool again) {
    names_t names = {0};
    if (depth > LISTING_DEPTH_MAX)
        add_refused(walk, mem_format("folders are nested more than %d deep", LISTING_DEPTH_MAX),
                    again);
    else if (!list_folder(walk->path, &names))
        add_refused(walk, cannot_read("the folder"), again);
    for (size_t i = 0; i < names.count; i++)
        walk_one(walk, go_to(walk, length, names.names[i]), depth, again);
    names_release(&names);
    walk->path[length] = 0;
}

static int compare_files(const void *a, const void *b) {
    return strcmp(((const listing_file_t *)a)->path, ((const listing_file_t *)b)->path);
}

void listing_scan_below(listing_t *listing, char *const *folders, size_t count) {
    walk_t walk;
    struct stat info;
    walk_begin(&walk, listing);
    if (stat(listing->folder, &info) == 0)
        enter(&walk.everywhere, &info);
    for (size_t i = 0; i < count; i++) {
        walk_one(&walk, go_to(&walk, walk.below, folders[i]), 0, false);
        tdestroy(walk.within, free);
        walk.within = NULL;
    }
    walk_end(&walk);
    if (listing->count)
        qsort(listing->files, listing->count, sizeof *listing->files, compare_files);
}

// ---- all ----

// Folders are kept by name, in the order of names.
static void sort_out(listing_t *listing, names_t *names) {
    walk_t walk;
    struct stat info;
    walk_begin(&walk, listing);
    listing->folders = mem_zero(names->count + 1, sizeof *listing->folders);
    for (size_t i = 0; i < names->count; i++) {
        go_to(&walk, walk.below, names->names[i]);
        if (stat(walk.path, &info) != 0) {
            add_refused(&walk, cannot_read("it"), false);
        } else if (S_ISDIR(info.st_mode)) {
            listing->folders[listing->folder_count++] = names->names[i];
            names->names[i] = NULL;
        } else {
            add_found(&walk, &info, false);
        }
    }
    walk_end(&walk);
}

err_code_t listing_scan_top(const char *folder, listing_t *listing, err_t *err) {
    names_t names = {0};
    memset(listing, 0, sizeof *listing);
    if (!list_folder(folder, &names))
        return cannot_list(folder, err);
    listing->folder = mem_dup(folder);
    sort_out(listing, &names);
    names_release(&names);
    return ERR_OK;
}

err_code_t listing_scan(const char *folder, listing_t *listing, err_t *err) {
    err_code_t code = listing_scan_top(folder, listing, err);
    if (code == ERR_OK)
        listing_scan_below(listing, listing->folders, listing->folder_count);
    return code;
}
