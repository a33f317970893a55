#include "cas_impl.h"

#include "base/clock.h"
#include "base/fs.h"
#include "blob/blob.h"
#include "proto/codec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROBE_MS 500 // free space is asked for at most this often

// --- Making and ending
// ----------------------------------------------------------------------------

static void add_fresh(cas_t *cas, const char *digest, uint64_t size) {
    fresh_t *fresh = mem_zero(1, sizeof *fresh);
    memcpy(fresh->digest, digest, DIGEST_HEX_SIZE);
    free(map_put(cas->fresh, digest, fresh));
    cas->fresh_bytes += size;
}

// What was fresh when a service ended without a sync may be torn: then it has another digest.
static err_code_t take_over(cas_t *cas, err_t *err) {
    DIR *folder = opendir(cas->fresh_folder);
    if (!folder)
        return err_set_errno(err, "cannot read the folder %s", cas->fresh_folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char found[DIGEST_HEX_SIZE] = "";
        uint64_t size = 0;
        if (entry->d_name[0] == '.')
            continue;
        char *path = fs_join(cas->fresh_folder, entry->d_name);
        if (digest_file(path, found, &size, NULL) == ERR_OK && strcmp(found, entry->d_name) == 0)
            add_fresh(cas, found, size);
        else
            unlink(path);
        free(path);
    }
    closedir(folder);
    return ERR_OK;
}

err_code_t cas_new(const char *files, uint64_t reserve_bytes, cas_t **out, err_t *err) {
    cas_t *cas = mem_zero(1, sizeof *cas);
    cas->files = mem_dup(files);
    cas->root = fs_join(files, "blobs");
    cas->fresh_folder = fs_join(cas->root, "new");
    cas->part_folder = fs_join(cas->root, "part");
    cas->reserve_bytes = reserve_bytes;
    cas->fresh = map_new();
    cas->finishing = map_new();
    cas->verified = map_new();
    err_code_t code = fs_mkdirs(cas->fresh_folder, err);
    if (code == ERR_OK)
        code = fs_mkdirs(cas->part_folder, err);
    if (code == ERR_OK)
        code = take_over(cas, err);
    if (code)
        cas_destroy(&cas);
    else
        *out = cas;
    return code;
}

static void forget_fresh(map_t **map) {
    size_t at = 0;
    for (fresh_t *fresh; *map && (fresh = map_next(*map, &at)) != NULL;)
        free(fresh);
    map_destroy(map);
}

void cas_destroy(cas_t **self) {
    cas_t *cas = *self;
    if (!cas)
        return;
    parts_close_all(cas);
    verified_forget(cas);
    map_destroy(&cas->verified);
    forget_fresh(&cas->fresh);
    forget_fresh(&cas->syncing);
    map_destroy(&cas->finishing);
    free(cas->files);
    free(cas->root);
    free(cas->fresh_folder);
    free(cas->part_folder);
    free(cas);
    *self = NULL;
}

// --- Whole ones
// -----------------------------------------------------------------------------------

static bool is_fresh(const cas_t *cas, const char *digest) {
    return map_get(cas->fresh, digest) || (cas->syncing && map_get(cas->syncing, digest));
}

bool cas_has(cas_t *cas, const char *digest) {
    if (is_fresh(cas, digest))
        return true;
    char *path = blob_path(cas->files, digest);
    bool there = utimensat(AT_FDCWD, path, NULL, 0) == 0; // used now
    free(path);
    return there;
}

static err_code_t open_one(char *path, int *fd, uint64_t *size, err_t *err) {
    struct stat info;
    err_code_t code = ERR_OK;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0) {
        code = err_set_errno(err, "cannot read %s", path);
    } else if (fstat(*fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        code = err_set(err, ERR_IO, "%s is no regular file", path);
        close(*fd);
    } else {
        *size = (uint64_t)info.st_size;
    }
    free(path);
    return code;
}

err_code_t cas_open(cas_t *cas, const char *digest, int *fd, uint64_t *size, err_t *err) {
    if (is_fresh(cas, digest) &&
        open_one(fs_join(cas->fresh_folder, digest), fd, size, NULL) == ERR_OK)
        return ERR_OK; // else a sync has just moved it
    err_code_t code = open_one(blob_path(cas->files, digest), fd, size, err);
    if (code == ERR_NOT_FOUND)
        return err_set(err, ERR_NOT_FOUND, "there is no blob %s", digest);
    return code;
}

uint64_t cas_fresh_bytes(const cas_t *cas) {
    return cas->fresh_bytes;
}

// --- Writing
// --------------------------------------------------------------------------------------

static err_code_t check_room(cas_t *cas, size_t count, err_t *err) {
    int64_t now = clock_mono_ms();
    bool known = cas->probed_ms > 0 && now - cas->probed_ms < PROBE_MS;
    if (!known || cas->free_bytes < cas->reserve_bytes + count) { // nobody is refused unasked
        cas->probed_ms = now;
        cas->free_bytes = fs_free_bytes(cas->root);
    }
    if (cas->free_bytes >= cas->reserve_bytes + count) {
        cas->free_bytes -= cas->free_bytes == UINT64_MAX ? 0 : count;
        return ERR_OK;
    }
    err_set(err, ERR_FULL, "only %llu MB are free below %s; %llu are kept in reserve",
            (unsigned long long)(cas->free_bytes >> 20), cas->root,
            (unsigned long long)(cas->reserve_bytes >> 20));
    return err_remedy(err, "make room (inkling dataset rm, model rm), lower uploads_mb, or lower "
                           "disk_reserve_mb");
}

// Of a file that cannot be opened or written.
err_code_t cas_cannot_write(const char *path, err_t *err) {
    bool sealed = errno == EROFS || errno == EACCES || errno == EPERM;
    if (errno == ENOSPC || errno == EDQUOT) {
        err_set(err, ERR_FULL, "the disk of %s is full", path);
        return err_remedy(err, "make room (inkling dataset rm, model rm)");
    }
    err_code_t code = err_set_errno(err, "cannot write %s", path);
    if (sealed)
        err_remedy(err, "make the stack's files writable for the blobs service; then the same "
                        "command goes on");
    return code;
}

err_code_t cas_write(int fd, const char *path, const void *bytes, size_t count, err_t *err) {
    for (size_t done = 0; done < count;) {
        ssize_t some = write(fd, (const char *)bytes + done, count - done);
        if (some < 0 && errno == EINTR)
            continue;
        if (some < 0)
            return cas_cannot_write(path, err);
        done += (size_t)some;
    }
    return ERR_OK;
}

static err_code_t put_whole(cas_t *cas, const char *digest, const void *bytes, size_t count,
                            err_t *err) {
    char found[DIGEST_HEX_SIZE];
    digest_bytes(bytes, count, found);
    if (strcmp(found, digest) != 0) {
        err_set(err, ERR_CORRUPT, "the bytes that came have the digest %s instead of %s", found,
                digest);
        return err_remedy(err, "the file has changed, or its digest was wrong: send it again");
    }
    char *path = fs_join(cas->fresh_folder, digest);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    err_code_t code = fd < 0 ? cas_cannot_write(path, err) : cas_write(fd, path, bytes, count, err);
    if (fd >= 0 && close(fd) != 0 && code == ERR_OK)
        code = cas_cannot_write(path, err);
    if (code)
        unlink(path);
    else
        add_fresh(cas, digest, count);
    free(path);
    return code;
}

err_code_t cas_put(cas_t *cas, const char *digest, uint64_t size, uint64_t offset,
                   const void *bytes, size_t count, cas_put_t *put, err_t *err) {
    *put = (cas_put_t){.next = 0};
    if (offset > size || count > size - offset)
        return err_set(err, ERR_INVALID, "a piece of bytes %llu to %llu of a blob of %llu",
                       (unsigned long long)offset, (unsigned long long)(offset + count),
                       (unsigned long long)size);
    if (cas_has(cas, digest)) {
        *put = (cas_put_t){.next = size, .whole = true};
        return ERR_OK;
    }
    if (map_get(cas->finishing, digest)) {
        *put = (cas_put_t){.next = size, .finish = true};
        return ERR_OK;
    }
    err_code_t code = count ? check_room(cas, count, err) : ERR_OK;
    if (code)
        return code;
    if (size > PROTO_PIECE_MAX || count != size)
        return parts_put(cas, digest, size, offset, bytes, count, put, err);
    code = put_whole(cas, digest, bytes, count, err);
    if (code == ERR_OK)
        *put = (cas_put_t){.next = size, .whole = true};
    return code;
}

// --- Syncing
// --------------------------------------------------------------------------------------

#define SINGLE_MAX 16 // blobs that are synced one by one

void cas_sync_begin(cas_t *cas) {
    cas->syncing = cas->fresh;
    cas->syncing_bytes = cas->fresh_bytes;
    cas->fresh = map_new();
    cas->fresh_bytes = 0;
}

static err_code_t sync_all(const cas_t *cas, err_t *err) {
    int fd = open(cas->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && syncfs(fd) == 0;
    err_code_t code = good ? ERR_OK : err_set_errno(err, "cannot sync %s", cas->root);
    if (fd >= 0)
        close(fd);
    return code;
}

err_code_t cas_sync_file(const char *path, err_t *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    err_code_t code = good ? ERR_OK : err_set_errno(err, "cannot sync %s", path);
    if (fd >= 0)
        close(fd);
    return code;
}

err_code_t cas_move_in(const cas_t *cas, const char *from, const char *digest, bool durable,
                       err_t *err) {
    char *to = blob_path(cas->files, digest), *slash = strrchr(to, '/');
    struct stat info;
    *slash = 0;
    err_code_t code = stat(to, &info) == 0 ? ERR_OK : fs_mkdirs(to, err);
    *slash = '/';
    if (code == ERR_OK && durable)
        code = fs_rename(from, to, err);
    else if (code == ERR_OK && rename(from, to) != 0)
        code = err_set_errno(err, "cannot rename %s to %s", from, to);
    free(to);
    return code;
}

// The names become durable only after the bytes are. What an earlier sync, which failed later on,
// has moved already is made durable at its new name.
err_code_t cas_sync(cas_t *cas, err_t *err) {
    bool single = map_count(cas->syncing) <= SINGLE_MAX;
    err_code_t code = single ? ERR_OK : sync_all(cas, err);
    size_t at = 0;
    for (fresh_t *fresh; code == ERR_OK && (fresh = map_next(cas->syncing, &at)) != NULL;) {
        char *path = fresh->moved ? blob_path(cas->files, fresh->digest)
                                  : fs_join(cas->fresh_folder, fresh->digest);
        if (single)
            code = cas_sync_file(path, err);
        if (code == ERR_OK)
            code = cas_move_in(cas, path, fresh->digest, single, err);
        fresh->moved = fresh->moved || code == ERR_OK;
        free(path);
    }
    return code == ERR_OK && !single ? sync_all(cas, err) : code;
}

void cas_sync_end(cas_t *cas, bool good) {
    size_t at = 0;
    for (fresh_t *fresh; (fresh = map_next(cas->syncing, &at)) != NULL;)
        free(good ? fresh : map_put(cas->fresh, fresh->digest, fresh));
    map_destroy(&cas->syncing);
    if (!good)
        cas->fresh_bytes += cas->syncing_bytes;
    cas->syncing_bytes = 0;
}
