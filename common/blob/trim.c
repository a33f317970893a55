// How much the copies on this host take, and which of them go.
#include "base/fs.h"
#include "base/log.h"
#include "blob/blob.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STACK_MARKER ".stack" // the dispatcher's, in the stack's own folder
#define MARKER       ".copies"
#define MARKER_TEXT  "copies of a stack's files: they are fetched again when they are needed\n"

int blob_hold(const char *files, const char *path) {
    char *full = fs_join(files, path);
    int fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat held, named;
    if (fd >= 0)
        futimens(fd, NULL); // used now
    // Who removed it meanwhile held it until then: what is locked now may have no name any more.
    bool good = fd >= 0 && flock(fd, LOCK_SH) == 0 && fstat(fd, &held) == 0 &&
                stat(full, &named) == 0 && held.st_ino == named.st_ino &&
                held.st_dev == named.st_dev;
    free(full);
    if (!good && fd >= 0)
        close(fd);
    return good ? fd : -1;
}

typedef struct {
    char *path; // relative to files
    uint64_t bytes;
    int64_t used_ns;
} copy_t;

typedef struct {
    const char *files;
    copy_t *copies;
    size_t count, room;
    uint64_t bytes;
} trim_t;

static _Thread_local uint64_t summed; // nftw hands no context on

static int sum_one(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)path, (void)where;
    if (kind == FTW_F)
        summed += (uint64_t)info->st_size;
    return 0;
}

static void add(trim_t *trim, char *path) {
    struct stat info;
    char *full = fs_join(trim->files, path);
    summed = 0;
    if (lstat(full, &info) != 0 || nftw(full, sum_one, 16, FTW_PHYS) != 0) {
        free(full);
        free(path);
        return;
    }
    free(full);
    if (trim->count == trim->room) {
        trim->room = trim->room ? 2 * trim->room : 64;
        trim->copies = mem_grow(trim->copies, trim->room * sizeof *trim->copies);
    }
    trim->copies[trim->count++] =
        (copy_t){.path = path,
                 .bytes = summed,
                 .used_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec};
    trim->bytes += summed;
}

// What is so many levels below the folder is a copy.
static void list(trim_t *trim, const char *path, int levels) {
    char *full = fs_join(trim->files, path);
    DIR *folder = opendir(full);
    for (const struct dirent *entry; folder && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        char *below = fs_join(path, entry->d_name);
        if (levels == 1) {
            add(trim, below);
            continue;
        }
        list(trim, below, levels - 1);
        free(below);
    }
    if (folder)
        closedir(folder);
    free(full);
}

static int by_use(const void *a, const void *b) {
    const copy_t *x = a, *y = b;
    return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

static bool has(const char *files, const char *name) {
    char *path = fs_join(files, name);
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

// Copies are all that is in a folder that had nothing of the kind when it was first used so, and
// was marked. Anything else, the stack's own folder above all, is left alone, however large it is.
static bool is_for_copies(const char *files) {
    if (has(files, STACK_MARKER))
        return false;
    if (has(files, MARKER))
        return true;
    if (has(files, "datasets") || has(files, "models") || has(files, "blobs"))
        return false;
    char *path = fs_join(files, MARKER);
    bool marked = fs_write(path, MARKER_TEXT, strlen(MARKER_TEXT), NULL) == ERR_OK;
    free(path);
    return marked;
}

// True: it is gone.
static bool remove_copy(const char *files, const char *path) {
    err_t err;
    char *full = fs_join(files, path);
    int fd = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0;
    bool gone = fd >= 0 && !held && fs_remove_below(files, path, &err) == ERR_OK;
    if (fd >= 0)
        close(fd);
    free(full);
    return gone;
}

err_code_t blob_trim(const char *files, uint64_t bytes, err_t *err) {
    static const struct {
        const char *folder;
        int levels;
    } places[] = {{"datasets", 2}, {"models", 2}, {"jobs", 2}, {"blobs", 2}};
    trim_t trim = {.files = files};
    err_code_t code = fs_mkdirs(files, err);
    if (code || !is_for_copies(files))
        return code;
    for (size_t i = 0; i < sizeof places / sizeof *places && code == ERR_OK; i++)
        list(&trim, places[i].folder, places[i].levels);
    if (trim.count > 1)
        qsort(trim.copies, trim.count, sizeof *trim.copies, by_use);
    for (size_t i = 0; i < trim.count; i++) {
        if (trim.bytes > bytes && remove_copy(files, trim.copies[i].path)) {
            trim.bytes -= trim.copies[i].bytes;
            log_debug("removed the copy %s", trim.copies[i].path);
        }
        free(trim.copies[i].path);
    }
    free(trim.copies);
    return code;
}
