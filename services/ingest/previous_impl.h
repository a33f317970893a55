// What the version before knows: where images were placed, and pixels that need no decoding.
#ifndef INKLING_INGEST_PREVIOUS_IMPL_H
#define INKLING_INGEST_PREVIOUS_IMPL_H

#include "scan_impl.h"

typedef struct previous previous_t;

// options->previous NULL gives an empty one. ERR_CORRUPT if its manifest or index is damaged;
// pixels that are damaged are decoded again, with a warning.
err_code_t previous_open(const ingest_options_t *options, previous_t **previous, err_t *err);
void previous_close(previous_t **previous);

// Where an earlier version placed the image of that digest; false if none did.
bool previous_split(const previous_t *previous, const uint8_t digest[SHARD_DIGEST_BYTES],
                    shard_split_t *split);

// If that file was there with the same size and time, or an image of its digest where that is known
// already, and its pixels are at hand: them, and its digest into entry. NULL otherwise. Any
// thread.
const uint8_t *previous_pixels(const previous_t *previous, shard_entry_t *entry);

// True if these files (by size and time, without looking into them) and options are what it was
// made from.
bool previous_has_files(const previous_t *previous, const scan_classes_t *classes,
                        const shard_index_t *files);
// The same by content: digests and outcomes.
bool previous_has_content(const previous_t *previous, const scan_classes_t *classes,
                          const shard_index_t *files);
// As a result with unchanged set. Only after one of these two said true.
void previous_result(const previous_t *previous, ingest_result_t *result);

// Appends to files one GONE entry for each image that was placed earlier and is not KEPT now.
void previous_keep_gone(const previous_t *previous, shard_index_t *files);

#endif
