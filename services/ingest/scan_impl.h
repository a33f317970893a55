// Which classes and files a source folder has.
#ifndef INKLING_INGEST_SCAN_IMPL_H
#define INKLING_INGEST_SCAN_IMPL_H

#include "ingest/ingest.h"
#include "shard/index.h"

typedef struct {
    int count;
    char **folders; // names as they are on disk
    char **names;   // the same escaped, in byte order: label i is names[i]
} scan_classes_t;

// Classes: the folders, or those that options pick. Files: all below these, in byte order of paths;
// KEPT until something speaks against it, or REJECTED for what cannot even be looked at; of an
// upload, those that may be read have a digest already. Both are to be released, whatever comes of
// it. ERR_NOT_FOUND: no folder, or a picked class is not there; ERR_INVALID: fewer than two
// classes, or one cannot be read; ERR_IO.
err_code_t scan(const ingest_options_t *options, scan_classes_t *classes, shard_index_t *files,
                err_t *err);
void scan_classes_release(scan_classes_t *classes);

#endif
