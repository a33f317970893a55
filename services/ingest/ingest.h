// A folder of labelled images becomes a version of a data set (shard/shard.h). No network in here.
//
// Source: one folder per class below options.folder; label i is the i-th class name in byte order.
// Class folders are searched through as listing/listing.h says. Every file is taken for an image;
// one that is none, is truncated, damaged, over a limit or no regular file is skipped, counted and
// listed in rejects.jsonl. Sources are never written to, and what is no regular file is not opened.
//
// Or from an upload of such a folder: what is in it, and each file's size, time and digest, come
// from options.listing and bytes from options.blobs; nothing at options.folder is touched. The
// result is that of the folder itself, byte for byte. A file whose bytes are not there, or are
// others than the listing says, fails the run: the upload is damaged, not the image.
//
// Copies: of byte-identical files of one class the first by path is kept, the others are counted as
// duplicates. Byte-identical files under several labels contradict each other: none is kept, all
// are rejected, with the reason naming the other one.
//
// A file that was written to between the scan and its reading is taken as it was read, one that
// does not hold still is rejected; the index says size and time of what was read.
//
// Split: 0.8 / 0.1 / 0.1 of every class, at least one image of each class in each split. Images
// that belong together (GROUP_STEM: same file name without folder and extension, in all classes; a
// duplicate ties its own stem to that of the file kept) go into one split. An image (by its
// SHA-256) that an earlier version placed keeps its split, and new members of its group follow it;
// new groups come in order of size, then of hash(seed, group), and each goes where it brings the
// classes nearest to their quotas; afterwards groups are moved while that brings them nearer.
//
// Unchanged files (path, size, time) are not decoded again if the previous version has their
// pixels by the same recipe; if all are, and the options too, nothing is written. Of an upload that
// goes by digest: what that version has is not decoded again, whatever its path and time. What
// could not be read at all is tried again each time.
//
// The result depends on the files' content, paths and times, the options and the previous version
// only: neither on threads nor on the order in which folders list their files.
#ifndef INKLING_INGEST_INGEST_H
#define INKLING_INGEST_INGEST_H

#include "base/err.h"
#include "listing/blobs.h"
#include "prep/prep.h"
#include "shard/shard.h"

#include <stdint.h>

#define INGEST_CLASS_IMAGES_MIN 10 // a class with fewer is refused
#define INGEST_CLASS_PERCENT    1  // so is one with less than that share of the largest class
#define INGEST_REFUSED_MAX      20 // files a failed run lists

#define INGEST_GROUPS(X)                                                                           \
    X(NONE, "none")                                                                                \
    X(STEM, "stem")

typedef enum {
#define X(kind, word) INGEST_GROUP_##kind,
    INGEST_GROUPS(X)
#undef X
        INGEST_GROUP_COUNT
} ingest_group_t;

err_code_t ingest_group_parse(const char *word, ingest_group_t *group, err_t *err);
const char *ingest_group_name(ingest_group_t group);

typedef struct {
    const char *folder;   // of the images
    const char *out;      // folder to be made; must not exist. Written as out + ".tmp-…", renamed
    const char *previous; // folder of the newest version, or NULL
    const char *name;     // of the data set, for the manifest
    const char *const *classes; // folder names; NULL: all
    int class_count;
    prep_recipe_t recipe; // mean is computed here if mean_subtract
    prep_limits_t limits;
    ingest_group_t group_by;
    uint64_t seed;
    bool strict; // a rejected file fails the run, once all are read or INGEST_REFUSED_MAX found
    bool rehash; // read every file again though path, size and time are as before
    int threads; // decoding; 0: one per processor
    uint64_t
        memory; // for decoding large images, all threads together; 0: a quarter of all there is
    const listing_t *listing; // of an upload of folder, or NULL
    listing_blobs_t blobs;    // its files' bytes
} ingest_options_t;

// group_by none, seed 0, default recipe and limits.
void ingest_options_init(ingest_options_t *options);

typedef struct {
    bool unchanged; // nothing was written: previous stands for these files and options
    int64_t images, rejected, duplicates, conflicts;
    int64_t splits[SHARD_SPLIT_COUNT];
    int class_count;
    char **classes;               // escaped (shard_name_escape)
    int64_t *class_images;        // kept, per label
    char digest[DIGEST_HEX_SIZE]; // of manifest.json of the version that holds
    char recipe_hash[DIGEST_HEX_SIZE];
    // Of a run that failed: "<path>: <reason>", the first in order of paths.
    char **refused;
    int refused_count;
} ingest_result_t;

void ingest_result_release(ingest_result_t *result);

typedef struct {
    int64_t files, read, rejected; // read: rejected ones included
    int64_t written;               // images, after all files were read
} ingest_state_t;

// Called in the thread of ingest_run, about ten times a second, at the end of reading and of
// writing. False cancels.
typedef bool ingest_progress_t(void *context, const ingest_state_t *state);

// prep_init must have been called. progress may be NULL. On failure nothing is left behind (but a
// process killed meanwhile leaves out + ".tmp-…"), and *result, to be released all the same, has
// rejected, conflicts and refused only, as far as the run came. ERR_NOT_FOUND: no such folder;
// ERR_INVALID: fewer than two classes, a class too small, images that cannot be split, strict and a
// reject; ERR_CANCELLED; ERR_CONFLICT: out exists; ERR_IO; ERR_CORRUPT: previous is damaged, or an
// upload; and what options.blobs says.
err_code_t ingest_run(const ingest_options_t *options, ingest_progress_t *progress, void *context,
                      ingest_result_t *result, err_t *err);

// Removes from a folder of versions what killed runs left there, whoever's they were: folders named
// …".tmp-"… that no run holds and that are older than a minute.
void ingest_sweep(const char *folder);

#endif
