// index.jsonl: one line per source file a data set version was made from, in order of paths, and
// one per image that only earlier versions had ("gone"), so that it gets its old split back should
// it return. A line:
//   {"path":"comics/1.jpg","bytes":1234,"mtime_ns":"1700000000000000000","sha256":"…","group":"1",
//    "class":"comics","outcome":"kept","split":"train","row":17}
// outcome kept has split and row; duplicate has neither; rejected and conflict have "reason".
#ifndef INKLING_SHARD_INDEX_H
#define INKLING_SHARD_INDEX_H

#include "shard/shard.h"

#include <stdio.h>

#define SHARD_OUTCOMES(X)                                                                          \
    X(KEPT, "kept")                                                                                \
    X(DUPLICATE, "duplicate")                                                                      \
    X(REJECTED, "rejected")                                                                        \
    X(CONFLICT, "conflict")                                                                        \
    X(GONE, "gone")

typedef enum {
#define X(outcome, word) SHARD_##outcome,
    SHARD_OUTCOMES(X)
#undef X
        SHARD_OUTCOME_COUNT
} shard_outcome_t;

typedef struct {
    char *path; // raw bytes below the source folder, "class/…/file"; NULL if GONE
    uint64_t bytes;
    int64_t mtime_ns;
    bool has_digest; // false for files that could not be read
    uint8_t digest[SHARD_DIGEST_BYTES];
    int label;    // index into the manifest's classes; -1 if GONE
    char *group;  // escaped; KEPT only, else NULL
    char *reason; // REJECTED and CONFLICT, else NULL
    shard_outcome_t outcome;
    shard_split_t split; // KEPT and GONE
    int64_t row;         // KEPT: image number within the split
} shard_entry_t;

typedef struct {
    shard_entry_t *entries;
    int64_t count;
} shard_index_t;

// Reads folder's index.jsonl, checked against the manifest's SHA-256. ERR_CORRUPT names the line.
err_code_t shard_index_read(const char *folder, shard_index_t *index, err_t *err);
void shard_index_release(shard_index_t *index);

// entries of the rows of one split: rows[i] is the entry of image i; malloc'ed array of
// shard_count(split) pointers into index. ERR_CORRUPT if a row is missing or there twice.
err_code_t shard_index_rows(const shard_index_t *index, shard_split_t split, int64_t count,
                            const shard_entry_t ***rows, err_t *err);

// Writes folder's index.jsonl and rejects.jsonl (outcomes REJECTED and CONFLICT:
// {"path","class","outcome","reason"}).
err_code_t shard_index_write(const char *folder, char *const *classes, const shard_index_t *index,
                             err_t *err);

#endif
