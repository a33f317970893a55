#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define KERNEL_FILE_MAX 65536 // bytes that are read of a file that says it has none

struct fs_new {
    FILE *stream;
    char *path, *temporary;
};

err_code_t fs_sync_folder_of(const char *path, err_t *err) {
    char *copy = mem_dup(path);
    char *slash = strrchr(copy, '/');
    if (slash == copy)
        slash[1] = 0;
    else if (slash)
        *slash = 0;
    int folder = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = folder >= 0 && fsync(folder) == 0;
    err_code_t code = good ? ERR_OK : err_set_errno(err, "cannot sync the folder of %s", path);
    if (folder >= 0)
        close(folder);
    free(copy);
    return code;
}

err_code_t fs_mkdirs(const char *path, err_t *err) {
    char *copy = mem_dup(path);
    err_code_t code = ERR_OK;
    for (char *c = copy + 1;; c++) {
        if (*c != '/' && *c != 0)
            continue;
        char kept = *c;
        *c = 0;
        if (mkdir(copy, 0700) == 0)
            code = fs_sync_folder_of(copy, err);
        else if (errno != EEXIST)
            code = err_set_errno(err, "cannot make the folder %s", copy);
        *c = kept;
        if (code || kept == 0)
            break;
    }
    free(copy);
    struct stat info;
    if (code == ERR_OK && (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)))
        return err_set(err, ERR_IO, "%s is in the way: it is not a folder", path);
    return code;
}

err_code_t fs_open_new(const char *path, fs_new_t **out, err_t *err) {
    fs_new_t *file = mem_zero(1, sizeof *file);
    file->path = mem_dup(path);
    file->temporary = mem_format("%s.tmp-XXXXXX", path);
    int fd = mkostemp(file->temporary, O_CLOEXEC);
    if (fd < 0) {
        err_code_t code = err_set_errno(err, "cannot write %s", path);
        free(file->temporary);
        file->temporary = NULL;
        fs_abort(&file);
        return code;
    }
    fchmod(fd, 0644);
    file->stream = fdopen(fd, "w");
    *out = file;
    return ERR_OK;
}

FILE *fs_stream(fs_new_t *file) {
    return file->stream;
}

err_code_t fs_commit(fs_new_t **self, err_t *err) {
    fs_new_t *file = *self;
    errno = 0;
    bool good =
        !ferror(file->stream) && fflush(file->stream) == 0 && fsync(fileno(file->stream)) == 0;
    if (!good && errno == 0)
        errno = EIO;
    if (!good || rename(file->temporary, file->path) != 0) {
        err_code_t code = err_set_errno(err, "cannot write %s", file->path);
        fs_abort(self);
        return code;
    }
    free(file->temporary);
    file->temporary = NULL;
    err_code_t code = fs_sync_folder_of(file->path, err);
    fs_abort(self);
    return code;
}

void fs_abort(fs_new_t **self) {
    fs_new_t *file = *self;
    if (!file)
        return;
    if (file->stream)
        fclose(file->stream);
    if (file->temporary)
        unlink(file->temporary);
    free(file->temporary);
    free(file->path);
    free(file);
    *self = NULL;
}

static err_code_t write_whole(const char *path, const void *bytes, size_t size, mode_t mode,
                              err_t *err) {
    fs_new_t *file;
    err_code_t code = fs_open_new(path, &file, err);
    if (code)
        return code;
    fchmod(fileno(file->stream), mode);
    if (size && fwrite(bytes, 1, size, file->stream) != size) {
        code = err_set_errno(err, "cannot write %s", path);
        fs_abort(&file);
        return code;
    }
    return fs_commit(&file, err);
}

err_code_t fs_write(const char *path, const void *bytes, size_t size, err_t *err) {
    return write_whole(path, bytes, size, 0644, err);
}

err_code_t fs_write_secret(const char *path, const void *bytes, size_t size, err_t *err) {
    return write_whole(path, bytes, size, 0600, err);
}

err_code_t fs_open_regular(const char *path, FILE **file, size_t *size, err_t *err) {
    struct stat info;
    int fd = -1;
    bool good = stat(path, &info) == 0;
    if (good && S_ISREG(info.st_mode)) {
        // O_NONBLOCK: should it become a FIFO right now, nobody waits
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        good = fd >= 0 && fstat(fd, &info) == 0;
    }
    err_code_t code = ERR_OK;
    if (!good)
        code = err_set_errno(err, "cannot read %s", path);
    else if (!S_ISREG(info.st_mode))
        code = err_set(err, ERR_INVALID, "%s is not a regular file", path);
    else if (!(*file = fdopen(fd, "r")))
        code = err_set_errno(err, "cannot read %s", path);
    else
        *size = (size_t)info.st_size;
    if (code && fd >= 0)
        close(fd);
    return code;
}

// The kernel's own files (proc, cgroup) have content but say 0 bytes: they are read to their end.
static err_code_t read_unsized(FILE *file, const char *path, size_t limit, char **data,
                               size_t *length, err_t *err) {
    size_t room = limit < KERNEL_FILE_MAX ? limit : KERNEL_FILE_MAX;
    *data = mem_alloc(room + 1);
    *length = fread(*data, 1, room, file);
    if (*length == room && fgetc(file) != EOF)
        return err_set(err, ERR_TOO_LARGE, "%s has more than %zu bytes", path, room);
    return ferror(file) ? err_set_errno(err, "cannot read %s", path) : ERR_OK;
}

err_code_t fs_read(const char *path, size_t limit, void **bytes, size_t *size, err_t *err) {
    FILE *file = NULL;
    size_t length = 0;
    err_code_t code = fs_open_regular(path, &file, &length, err);
    if (code)
        return code;
    char *data = NULL;
    if (length == 0)
        code = read_unsized(file, path, limit, &data, &length, err);
    else if (length > limit)
        code =
            err_set(err, ERR_TOO_LARGE, "%s has %zu bytes; the limit is %zu", path, length, limit);
    else if (!(data = malloc(length + 1)))
        code = err_set(err, ERR_NO_MEMORY, "no memory for the %zu bytes of %s", length, path);
    else if (fread(data, 1, length, file) != length)
        code = err_set(err, ERR_IO, "%s: shorter than it was a moment ago", path);
    fclose(file);
    if (code) {
        free(data);
        return code;
    }
    data[length] = 0;
    *bytes = data;
    *size = length;
    return ERR_OK;
}

err_code_t fs_copy(const char *from, const char *to, err_t *err) {
    char block[1 << 16];
    fs_new_t *file = NULL;
    FILE *source = fopen(from, "re");
    if (!source)
        return err_set_errno(err, "cannot read %s", from);
    err_code_t code = fs_open_new(to, &file, err);
    for (size_t got; code == ERR_OK && (got = fread(block, 1, sizeof block, source)) > 0;)
        if (fwrite(block, 1, got, fs_stream(file)) != got)
            code = err_set_errno(err, "cannot write %s", to);
    if (code == ERR_OK && ferror(source))
        code = err_set(err, ERR_IO, "cannot read %s", from);
    (void)fclose(source); // only read
    if (code == ERR_OK)
        return fs_commit(&file, err);
    fs_abort(&file);
    return code;
}

err_code_t fs_rename(const char *from, const char *to, err_t *err) {
    if (rename(from, to) != 0)
        return err_set_errno(err, "cannot rename %s to %s", from, to);
    return fs_sync_folder_of(to, err);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)info, (void)kind, (void)where;
    return remove(path);
}

err_code_t fs_remove_all(const char *path, err_t *err) {
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return err_set_errno(err, "cannot remove %s", path);
    return ERR_OK;
}

uint64_t fs_free_bytes(const char *path) {
    struct statvfs info;
    if (statvfs(path, &info) != 0 || info.f_blocks == 0) // no blocks: it counts none
        return UINT64_MAX;
    return (uint64_t)info.f_bavail * info.f_frsize;
}

char *fs_join(const char *folder, const char *name) {
    size_t size = strlen(folder);
    return mem_format("%s%s%s", folder, size && folder[size - 1] == '/' ? "" : "/", name);
}
