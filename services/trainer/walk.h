// The files below a folder.
#ifndef INKLING_TRAINER_WALK_H
#define INKLING_TRAINER_WALK_H

#include "base/err.h"

#include <stdint.h>

typedef struct {
    char **paths; // relative to the folder, raw bytes, in byte order of whole paths
    int64_t count;
} walk_t;

// Whatever is no folder, at most 64 folders deep: links to nowhere, FIFOs and the like too, so that
// who reads them says why they cannot be (fs_read does). Names that begin with a dot are left
// out, as in ingest; each folder is entered once, however many links lead to it. ERR_NOT_FOUND: no
// such folder; ERR_IO: one that cannot be read.
err_code_t walk_files(const char *folder, walk_t *walk, err_t *err);
void walk_release(walk_t *walk);

#endif
