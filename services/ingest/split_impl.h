// Which image goes into which split.
#ifndef INKLING_INGEST_SPLIT_IMPL_H
#define INKLING_INGEST_SPLIT_IMPL_H

#include "previous_impl.h"

// How many of a class's images each split wants: 0.8, 0.1 and 0.1 of them, whole numbers that add
// up to images (>= 3), at least one each.
void split_quotas(int64_t images, int64_t quotas[SHARD_SPLIT_COUNT]);

// Sets split and row of every KEPT file; these must have groups (match_files). ERR_INVALID: a class
// would have no image in some split.
err_code_t split_files(const ingest_options_t *options, const scan_classes_t *classes,
                       const previous_t *previous, shard_index_t *files, err_t *err);

#endif
