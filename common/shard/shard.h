// Data set files: one folder per version, written once, read by memory mapping.
//
//   manifest.json         what is here: classes, recipe, splits, and name, size and SHA-256 of
//                         every other file. Written last; a folder without it is no data set.
//   train-00000.shard …   pixels, labels and source digests; also val-…, test-…
//   index.jsonl           one line per source file: where it went, or why not (shard/index.h)
//   rejects.jsonl         one line per source file that was refused, with the reason
//
// Shard file, little-endian:
//   0    "INKSHARD"  8    u32 format version (1)   12   u32 header bytes (4096)
//   16   u64 images  24   u32 height, width, channels, 0
//   40   u64 offset of pixels (4096), of labels, of digests, file size      72 … 4095  zeros
//   then images × (height × width × channels) uint8, rows of HWC; padding to 8 bytes;
//   images × u32 label (index into classes); images × 32 bytes SHA-256 of the source file.
//
// Text in these files is UTF-8. Names come from file systems and need not be: see
// shard_name_escape.
#ifndef INKLING_SHARD_SHARD_H
#define INKLING_SHARD_SHARD_H

#include "base/err.h"
#include "digest/digest.h"

#include <stdint.h>

#define SHARD_SCHEMA       1 // of manifest.json and of what it names
#define SHARD_CLASSES_MAX  1000
#define SHARD_DIGEST_BYTES 32
#define SHARD_MANIFEST     "manifest.json"
#define SHARD_INDEX        "index.jsonl"
#define SHARD_REJECTS      "rejects.jsonl"

#define SHARD_SPLITS(X)                                                                            \
    X(TRAIN, "train")                                                                              \
    X(VAL, "val")                                                                                  \
    X(TEST, "test")

typedef enum {
#define X(split, word) SHARD_##split,
    SHARD_SPLITS(X)
#undef X
        SHARD_SPLIT_COUNT
} shard_split_t;

const char *shard_split_name(shard_split_t split);
err_code_t shard_split_parse(const char *word, shard_split_t *split, err_t *err);

// What a manifest says. The number of the version is not in it: the registry gives that. (Manifests
// that have a "version" all the same are read like the others.) Strings and arrays belong to the
// holder of the struct (shard_info_release).
typedef struct {
    char *name;
    char *source;   // folder the images came from, escaped
    char *group_by; // "none", "stem"
    uint64_t seed;  // of the split
    char *recipe;   // prep's text form
    char recipe_hash[DIGEST_HEX_SIZE];
    int height, width, channels;
    int class_count;
    char **classes;                           // sorted; label i is classes[i]
    int64_t *class_images[SHARD_SPLIT_COUNT]; // [split][label]
    int64_t images[SHARD_SPLIT_COUNT];
    int64_t rejected;   // source files refused, those of conflicts included
    int64_t duplicates; // source files left out because the same bytes are here already
    int64_t conflicts;  // source files refused because the same bytes stand under another label
} shard_info_t;

void shard_info_release(shard_info_t *info);

// ---- reading ----

typedef struct shard_dataset shard_dataset_t;

// Maps the folder's files and checks every size and SHA-256 (reads it all through once).
// ERR_NOT_FOUND: no such folder or no manifest; ERR_CORRUPT names the damaged file;
// ERR_UNSUPPORTED: written by a newer Inkling. Read-only afterwards: any number of threads may use
// it.
err_code_t shard_open(const char *folder, shard_dataset_t **ds, err_t *err);
void shard_close(shard_dataset_t **ds); // allows *ds == NULL

const shard_info_t *shard_info(const shard_dataset_t *ds);
const char *shard_folder(const shard_dataset_t *ds);
// SHA-256 of manifest.json, and so of everything.
const char *shard_digest(const shard_dataset_t *ds);
int64_t shard_count(const shard_dataset_t *ds, shard_split_t split);
size_t shard_image_bytes(const shard_dataset_t *ds); // height × width × channels

// i < shard_count; pointers live as long as ds.
const uint8_t *shard_pixels(const shard_dataset_t *ds, shard_split_t split, int64_t i);
int shard_label(const shard_dataset_t *ds, shard_split_t split, int64_t i);
const uint8_t *shard_source_digest(const shard_dataset_t *ds, shard_split_t split, int64_t i);

// Only the manifest, unchecked against the other files. Release with shard_info_release.
err_code_t shard_read_info(const char *folder, shard_info_t *info, err_t *err);

// ---- writing ----

typedef struct shard_writer shard_writer_t;

// Writes into an existing, empty folder. Memory: 36 bytes an image of the shard being written.
// info: geometry (height, width, channels) and classes must be set already; it is read again by
// shard_writer_finish, and must live until then.
err_code_t shard_writer_open(const char *folder, const shard_info_t *info, shard_writer_t **writer,
                             err_t *err);
// Appends to a split; the i-th call for a split becomes its image i.
err_code_t shard_writer_add(shard_writer_t *writer, shard_split_t split, const uint8_t *pixels,
                            int label, const uint8_t digest[SHARD_DIGEST_BYTES], err_t *err);
// Closes the shards, then writes manifest.json, which makes the folder a data set. index.jsonl and
// rejects.jsonl must be there. images and class_images are counted here. manifest_digest: SHA-256
// of manifest.json. Frees *writer in any case.
err_code_t shard_writer_finish(shard_writer_t **writer, char manifest_digest[DIGEST_HEX_SIZE],
                               err_t *err);
void shard_writer_abort(shard_writer_t **writer);

// ---- names ----

// Any bytes as UTF-8 text, reversibly: a byte that is no part of valid UTF-8 becomes \xHH, a
// backslash \\. Both results are malloc'ed.
char *shard_name_escape(const char *bytes);
char *shard_name_unescape(const char *text);

#endif
