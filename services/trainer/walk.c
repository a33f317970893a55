#include "trainer/walk.h"

#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 64

typedef struct {
    walk_t *walk;
    size_t capacity;
    struct {
        dev_t device;
        ino_t inode;
    } * entered;
    size_t entered_count;
    err_t *err;
} walker_t;

void walk_release(walk_t *walk) {
    for (int64_t i = 0; i < walk->count; i++)
        free(walk->paths[i]);
    free(walk->paths);
    *walk = (walk_t){NULL, 0};
}

static void add(walker_t *walker, char *path) {
    walk_t *walk = walker->walk;
    if ((size_t)walk->count == walker->capacity) {
        walker->capacity = walker->capacity ? 2 * walker->capacity : 256;
        walk->paths = mem_grow(walk->paths, walker->capacity * sizeof *walk->paths);
    }
    walk->paths[walk->count++] = path;
}

static bool enter(walker_t *walker, const struct stat *info) {
    for (size_t i = 0; i < walker->entered_count; i++)
        if (walker->entered[i].device == info->st_dev && walker->entered[i].inode == info->st_ino)
            return false;
    walker->entered =
        mem_grow(walker->entered, (walker->entered_count + 1) * sizeof *walker->entered);
    walker->entered[walker->entered_count].device = info->st_dev;
    walker->entered[walker->entered_count++].inode = info->st_ino;
    return true;
}

static err_code_t walk_folder(walker_t *walker, const char *folder, const char *below, int depth);

// below: of the folder, relative to the first one; "" for that.
static err_code_t take(walker_t *walker, const char *folder, const char *below, const char *name,
                       int depth) {
    char *path = fs_join(folder, name), *relative = below[0] ? fs_join(below, name) : mem_dup(name);
    struct stat info;
    err_code_t code = ERR_OK;
    bool is_folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    if (is_folder && depth < DEPTH_MAX && enter(walker, &info))
        code = walk_folder(walker, path, relative, depth + 1);
    if (is_folder)
        free(relative);
    else
        add(walker, relative);
    free(path);
    return code;
}

static err_code_t walk_folder(walker_t *walker, const char *folder, const char *below, int depth) {
    DIR *list = opendir(folder);
    if (!list)
        return err_set_errno(walker->err, "cannot read the folder %s", folder);
    err_code_t code = ERR_OK;
    for (const struct dirent *entry; code == ERR_OK && (entry = readdir(list)) != NULL;)
        if (entry->d_name[0] != '.')
            code = take(walker, folder, below, entry->d_name, depth);
    closedir(list);
    return code;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

err_code_t walk_files(const char *folder, walk_t *walk, err_t *err) {
    walker_t walker = {.walk = walk, .err = err};
    struct stat info;
    *walk = (walk_t){NULL, 0};
    if (stat(folder, &info) != 0)
        return err_set_errno(err, "cannot read the folder %s", folder);
    if (!S_ISDIR(info.st_mode))
        return err_set(err, ERR_INVALID, "%s is no folder", folder);
    enter(&walker, &info);
    err_code_t code = walk_folder(&walker, folder, "", 1);
    free(walker.entered);
    if (code)
        walk_release(walk);
    else if (walk->count > 0)
        qsort(walk->paths, (size_t)walk->count, sizeof *walk->paths, by_bytes);
    return code;
}
