#include "cas_impl.h"

#include "base/fs.h"
#include "blob/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// --- Open parts
// -----------------------------------------------------------------------------------

static void part_close(part_t *part) {
    close(part->fd);
    digest_destroy(&part->sum);
}

void parts_close_all(cas_t *cas) {
    for (int i = 0; i < cas->part_count; i++)
        part_close(&cas->parts[i]);
    cas->part_count = 0;
}

static void forget(cas_t *cas, part_t *part) {
    part_close(part);
    *part = cas->parts[--cas->part_count];
}

static part_t *find(cas_t *cas, const char *digest) {
    for (int i = 0; i < cas->part_count; i++)
        if (strcmp(cas->parts[i].digest, digest) == 0)
            return &cas->parts[i];
    return NULL;
}

static part_t *new_part(cas_t *cas) {
    part_t *oldest = &cas->parts[0];
    for (int i = 1; i < cas->part_count; i++)
        if (cas->parts[i].used < oldest->used)
            oldest = &cas->parts[i];
    if (cas->part_count == PARTS_OPEN)
        forget(cas, oldest);
    return &cas->parts[cas->part_count];
}

static char *part_path(const cas_t *cas, const char *digest) {
    return fs_join(cas->part_folder, digest);
}

// create: else ERR_NOT_FOUND if there is none.
static err_code_t open_part(cas_t *cas, const char *digest, bool create, part_t **out, err_t *err) {
    part_t *part = find(cas, digest);
    if (!part) {
        struct stat info;
        char *path = part_path(cas, digest);
        int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0);
        int fd = open(path, flags, 0644);
        err_code_t code = ERR_OK;
        if (fd < 0 || fstat(fd, &info) != 0)
            code = cas_cannot_write(path, err);
        free(path);
        if (code) {
            if (fd >= 0)
                close(fd);
            return code;
        }
        part = new_part(cas);
        *part = (part_t){.fd = fd, .at = (uint64_t)info.st_size};
        memcpy(part->digest, digest, DIGEST_HEX_SIZE);
        part->sum = part->at == 0 ? digest_new() : NULL;
        cas->part_count++;
    }
    part->used = ++cas->turn;
    *out = part;
    return ERR_OK;
}

// --- Pieces
// ---------------------------------------------------------------------------------------

static err_code_t append(cas_t *cas, part_t *part, const void *bytes, size_t count, err_t *err) {
    char *path = part_path(cas, part->digest);
    err_code_t code = cas_write(part->fd, path, bytes, count, err);
    free(path);
    if (code) { // some of it may be there
        if (ftruncate(part->fd, (off_t)part->at) != 0)
            forget(cas, part);
        return code;
    }
    if (part->sum)
        digest_add(part->sum, bytes, count);
    part->at += count;
    return ERR_OK;
}

err_code_t parts_put(cas_t *cas, const char *digest, uint64_t size, uint64_t offset,
                     const void *bytes, size_t count, cas_put_t *put, err_t *err) {
    part_t *part;
    err_code_t code = open_part(cas, digest, count > 0 || size == 0, &part, err);
    if (code == ERR_NOT_FOUND) // asked only how far it is
        return ERR_OK;
    if (code)
        return code;
    if (part->at > size) {
        char *path = part_path(cas, digest);
        forget(cas, part);
        unlink(path);
        free(path);
        return err_set(err, ERR_INVALID, "more than %llu bytes of it came before",
                       (unsigned long long)size);
    }
    if (offset == part->at && count > 0)
        code = append(cas, part, bytes, count, err);
    if (code)
        return code;
    *put = (cas_put_t){.next = part->at, .finish = part->at == size};
    return ERR_OK;
}

// --- The end of a part
// ----------------------------------------------------------------------------

void cas_finish_begin(cas_t *cas, const char *digest, cas_finish_t *finish) {
    *finish = (cas_finish_t){.known = false};
    memcpy(finish->digest, digest, DIGEST_HEX_SIZE);
    part_t *part = find(cas, digest);
    if (part) {
        finish->known = part->sum != NULL;
        if (part->sum)
            digest_end(&part->sum, finish->found);
        forget(cas, part);
    }
    map_put(cas->finishing, digest, cas);
}

static bool is_whole(const cas_t *cas, const char *digest) {
    char *path = blob_path(cas->files, digest);
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

static err_code_t finish_part(cas_t *cas, const cas_finish_t *finish, const char *path,
                              err_t *err) {
    char found[DIGEST_HEX_SIZE];
    memcpy(found, finish->found, sizeof found);
    err_code_t code = finish->known ? ERR_OK : digest_file(path, found, NULL, err);
    if (code)
        return code;
    if (strcmp(found, finish->digest) != 0) {
        unlink(path);
        err_set(err, ERR_CORRUPT, "the bytes that came have the digest %s instead of %s", found,
                finish->digest);
        return err_remedy(err, "the file has changed, or its digest was wrong: send it again");
    }
    code = cas_sync_file(path, err);
    return code ? code : cas_move_in(cas, path, finish->digest, true, err);
}

err_code_t cas_finish(cas_t *cas, const cas_finish_t *finish, err_t *err) {
    if (is_whole(cas, finish->digest))
        return ERR_OK;
    char *path = part_path(cas, finish->digest);
    err_code_t code = finish_part(cas, finish, path, err);
    free(path);
    return code;
}

void cas_finish_end(cas_t *cas, const cas_finish_t *finish) {
    map_remove(cas->finishing, finish->digest);
}
