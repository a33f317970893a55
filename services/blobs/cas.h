// The folder of blobs: files by their SHA-256 (layout: blob/blob.h). No network in here.
//
// What is whole was checked against its name. A blob of one piece is *fresh* first: it is whole for
// everybody, but a loss of power may take it until the next sync. At the next start those that were
// fresh are read, and stay if they still have their digest. Larger ones are synced when they become
// whole.
//
// One thread (the loop's) calls everything but the functions under "in the background", which
// another calls, one after the other; each of those is bracketed by a _begin and an _end on the
// loop's thread.
#ifndef INKLING_BLOBS_CAS_H
#define INKLING_BLOBS_CAS_H

#include "base/err.h"
#include "digest/digest.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct cas cas_t;

// files: the stack's folder; reserve_bytes of its disk stay free.
err_code_t cas_new(const char *files, uint64_t reserve_bytes, cas_t **cas, err_t *err);
void cas_destroy(cas_t **cas);

// Is it whole? It then counts as used now.
bool cas_has(cas_t *cas, const char *digest);

typedef struct {
    uint64_t next; // bytes that are there
    bool whole;
    bool finish; // all bytes are there, and cas_finish has the word
} cas_put_t;
// A piece. Bytes that do not fit where the blob ends so far are left, next says where that is.
// ERR_CORRUPT: a whole one that has another digest; ERR_INVALID: more bytes than its size;
// ERR_FULL: no room.
err_code_t cas_put(cas_t *cas, const char *digest, uint64_t size, uint64_t offset,
                   const void *bytes, size_t count, cas_put_t *put, err_t *err);

// Opens a whole blob for reading; ERR_NOT_FOUND.
err_code_t cas_open(cas_t *cas, const char *digest, int *fd, uint64_t *size, err_t *err);

// Below datasets, jobs or models, and nowhere else: "models/faces/7-1/model.json".
err_code_t cas_check_path(const char *path, err_t *err);
// What is known of the file at that path: 1 it has the digest, and *fd is it, open; 0 it has not,
// or there is none; -1 nobody has looked yet (cas_verify).
int cas_at(cas_t *cas, const char *path, const char *digest, int *fd, uint64_t *size);

uint64_t cas_fresh_bytes(const cas_t *cas);

// --- In the background

typedef struct {
    char digest[DIGEST_HEX_SIZE];
    bool known; // found is the digest of what came
    char found[DIGEST_HEX_SIZE];
} cas_finish_t;
// Makes a part whole, and durable; one that is whole already is none the worse. ERR_CORRUPT: it has
// another digest, and is gone; ERR_NOT_FOUND: there is no such part.
void cas_finish_begin(cas_t *cas, const char *digest, cas_finish_t *finish);
err_code_t cas_finish(cas_t *cas, const cas_finish_t *finish, err_t *err);
void cas_finish_end(cas_t *cas, const cas_finish_t *finish);

// Makes what was fresh at the beginning durable. One at a time. A failure keeps it fresh.
void cas_sync_begin(cas_t *cas);
err_code_t cas_sync(cas_t *cas, err_t *err);
void cas_sync_end(cas_t *cas, bool good);

typedef struct {
    char *path;
    char digest[DIGEST_HEX_SIZE];
    uint64_t device, inode, size;
    int64_t mtime_ns;
} cas_file_t;
// Reads the file at a path, for cas_at.
cas_file_t *cas_verify_begin(const char *path);
err_code_t cas_verify(cas_t *cas, cas_file_t *file, err_t *err);
void cas_verify_end(cas_t *cas, cas_file_t *file, bool good); // takes file

// Moves a whole blob, which is not fresh, to a path; done already is done. ERR_CONFLICT: another
// file is there.
err_code_t cas_place(cas_t *cas, const char *digest, const char *path, err_t *err);

#endif
