// Reads, hashes and decodes all files, in parallel.
#ifndef INKLING_INGEST_READ_IMPL_H
#define INKLING_INGEST_READ_IMPL_H

#include "previous_impl.h"
#include "spool_impl.h"

typedef struct {
    const ingest_options_t *options;
    const previous_t *previous;
    shard_index_t *files;
    spool_t *spool; // slot i: pixels of file i
    ingest_progress_t *progress;
    void *context;
} read_all_t;

// Files that are KEPT get a digest and pixels, or become REJECTED with a reason. ERR_CANCELLED;
// ERR_INVALID: strict and a reject, named (after INGEST_REFUSED_MAX it stops reading);
// ERR_NO_MEMORY, ERR_IO: the machine's fault, not a file's; of an upload also whatever keeps its
// bytes away.
err_code_t read_all(const read_all_t *job, err_t *err);

#endif
