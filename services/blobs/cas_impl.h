// Between the parts of cas.h: whole blobs (cas.c), those that come in pieces (parts.c), files at
// paths (paths.c).
#ifndef INKLING_BLOBS_CAS_IMPL_H
#define INKLING_BLOBS_CAS_IMPL_H

#include "base/map.h"
#include "cas.h"

#define PARTS_OPEN 16 // parts whose digest is summed up as their pieces come

typedef struct {
    char digest[DIGEST_HEX_SIZE];
    int fd;
    uint64_t at;   // bytes there
    digest_t *sum; // of them, or NULL: they were not all seen
    uint64_t used; // by this one's turn
} part_t;

typedef struct {
    char digest[DIGEST_HEX_SIZE];
    bool moved; // by a sync that failed later on
} fresh_t;

struct cas {
    char *files, *root, *fresh_folder, *part_folder;
    uint64_t reserve_bytes, free_bytes;
    int64_t probed_ms;
    map_t *fresh, *syncing; // of fresh_t by digest; syncing: NULL but while a sync runs, and then
                            // nobody changes it
    uint64_t fresh_bytes, syncing_bytes;
    part_t parts[PARTS_OPEN];
    int part_count;
    uint64_t turn;
    map_t *finishing; // digests
    map_t *verified;  // of cas_file_t by path
};

// errno tells why a file cannot be opened or written.
err_code_t cas_cannot_write(const char *path, err_t *err);
err_code_t cas_write(int fd, const char *path, const void *bytes, size_t count, err_t *err);
err_code_t cas_sync_file(const char *path, err_t *err); // its bytes, not its name
// Renames a whole file to its place. durable: and syncs the names.
err_code_t cas_move_in(const cas_t *cas, const char *from, const char *digest, bool durable,
                       err_t *err);

// --- parts.c
err_code_t parts_put(cas_t *cas, const char *digest, uint64_t size, uint64_t offset,
                     const void *bytes, size_t count, cas_put_t *put, err_t *err);
void parts_close_all(cas_t *cas);

// --- paths.c
void verified_forget(cas_t *cas);

#endif
