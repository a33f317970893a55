// manifest.json: shard_info_t and the list of files.
#ifndef INKLING_SHARD_MANIFEST_IMPL_H
#define INKLING_SHARD_MANIFEST_IMPL_H

#include "shard/shard.h"

#define MANIFEST_BYTES_MAX (64u << 20)
#define MANIFEST_FILES_MAX 100000 // shards of a split

typedef struct {
    int64_t images; // 0 for files that are no shards
    uint64_t bytes;
    char sha256[DIGEST_HEX_SIZE];
} manifest_file_t;

typedef struct {
    shard_info_t info;
    manifest_file_t *files[SHARD_SPLIT_COUNT]; // in order of their numbers
    int file_count[SHARD_SPLIT_COUNT];
    manifest_file_t index, rejects;
    char digest[DIGEST_HEX_SIZE]; // of manifest.json itself
} manifest_t;

// The name of shard `number` of a split; malloc'ed.
char *manifest_shard_name(shard_split_t split, int number);

// Errors as shard_open. *manifest is filled or released.
err_code_t manifest_read(const char *folder, manifest_t *manifest, err_t *err);
void manifest_release(manifest_t *manifest);
// info is the writer's caller's: not part of manifest here.
err_code_t manifest_write(const char *folder, const shard_info_t *info, manifest_t *manifest,
                          err_t *err);

#endif
