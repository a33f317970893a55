#include "cas_impl.h"

#include "base/fs.h"
#include "blob/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERIFIED_MAX 4096 // files whose digest is remembered

// --- Which paths
// ----------------------------------------------------------------------------------

static bool is_plain(const char *part, size_t size) {
    return size > 0 && part[0] != '.';
}

err_code_t cas_check_path(const char *path, err_t *err) {
    static const char *const tops[] = {"datasets/", "jobs/", "models/"};
    bool good = false;
    for (size_t i = 0; i < sizeof tops / sizeof *tops; i++)
        good = good || strncmp(path, tops[i], strlen(tops[i])) == 0;
    int parts = 0;
    for (const char *part = path; good; parts++) {
        size_t size = strcspn(part, "/");
        good = is_plain(part, size);
        if (part[size] == 0)
            break;
        part += size + 1;
    }
    if (good && parts >= 2)
        return ERR_OK;
    err_set(err, ERR_INVALID, "'%s' is no path of a file of the stack", path);
    return err_remedy(err,
                      "it starts with datasets/, jobs/ or models/, and no part of it with a dot");
}

// --- Files with a digest that somebody has looked at
// --------------------------------------------

static void file_free(cas_file_t *file) {
    if (file)
        free(file->path);
    free(file);
}

void verified_forget(cas_t *cas) {
    size_t at = 0;
    for (cas_file_t *file; (file = map_next(cas->verified, &at)) != NULL;)
        file_free(file);
    map_destroy(&cas->verified);
    cas->verified = map_new();
}

static void take_stat(cas_file_t *file, const struct stat *info) {
    file->device = info->st_dev;
    file->inode = info->st_ino;
    file->size = (uint64_t)info->st_size;
    file->mtime_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
}

static bool is_same(const cas_file_t *a, const cas_file_t *b) {
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->mtime_ns == b->mtime_ns;
}

static int open_at(const cas_t *cas, const char *path, struct stat *info) {
    char *full = fs_join(cas->files, path);
    int fd = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    free(full);
    if (fd >= 0 && (fstat(fd, info) != 0 || !S_ISREG(info->st_mode))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int cas_at(cas_t *cas, const char *path, const char *digest, int *fd, uint64_t *size) {
    struct stat info;
    cas_file_t now;
    *fd = open_at(cas, path, &info);
    if (*fd < 0)
        return 0;
    take_stat(&now, &info);
    const cas_file_t *known = map_get(cas->verified, path);
    int found = -1;
    if (known && is_same(known, &now))
        found = strcmp(known->digest, digest) == 0;
    *size = now.size;
    if (found != 1)
        close(*fd);
    return found;
}

cas_file_t *cas_verify_begin(const char *path) {
    cas_file_t *file = mem_zero(1, sizeof *file);
    file->path = mem_dup(path);
    return file;
}

// A file that is written to meanwhile is not what it was: its stat tells, now or when it is asked
// for.
err_code_t cas_verify(cas_t *cas, cas_file_t *file, err_t *err) {
    struct stat info;
    int fd = open_at(cas, file->path, &info);
    if (fd < 0)
        return err_set(err, ERR_NOT_FOUND, "there is no file %s", file->path);
    close(fd);
    take_stat(file, &info);
    char *full = fs_join(cas->files, file->path);
    err_code_t code = digest_file(full, file->digest, NULL, err);
    free(full);
    return code;
}

void cas_verify_end(cas_t *cas, cas_file_t *file, bool good) {
    if (!good) {
        file_free(file);
        return;
    }
    if (map_count(cas->verified) >= VERIFIED_MAX)
        verified_forget(cas);
    file_free(map_put(cas->verified, file->path, file));
}

// --- Placing
// --------------------------------------------------------------------------------------

static err_code_t check_same(const char *path, const char *full, const char *digest, err_t *err) {
    char found[DIGEST_HEX_SIZE];
    err_code_t code = digest_file(full, found, NULL, err);
    if (code == ERR_OK && strcmp(found, digest) != 0)
        return err_set(err, ERR_CONFLICT, "at %s there is another file already", path);
    return code;
}

// link and unlink rather than rename: it must not replace what is there.
static err_code_t move_out(const char *from, const char *full, const char *path, err_t *err) {
    char *slash = strrchr(full, '/');
    *slash = 0;
    err_code_t code = fs_mkdirs(full, err);
    *slash = '/';
    if (code == ERR_OK && link(from, full) != 0)
        code = errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "there is no such blob for %s", path)
                               : err_set_errno(err, "cannot make %s", path);
    if (code == ERR_OK)
        code = fs_sync_folder_of(full, err);
    if (code == ERR_OK)
        unlink(from);
    return code;
}

err_code_t cas_place(cas_t *cas, const char *digest, const char *path, err_t *err) {
    char *full = fs_join(cas->files, path), *from = blob_path(cas->files, digest);
    err_code_t code = access(full, F_OK) == 0 ? check_same(path, full, digest, err)
                                              : move_out(from, full, path, err);
    free(full);
    free(from);
    return code;
}
