// The folder a version is written in until it is whole: out + ".tmp-…" beside it, locked as long as
// its process lives (by flock, which not every network file system has for folders).
#ifndef INKLING_INGEST_STAGE_IMPL_H
#define INKLING_INGEST_STAGE_IMPL_H

#include "base/err.h"

typedef struct {
    char *folder; // NULL: none
    int lock;
} stage_t;

#define STAGE_NONE ((stage_t){.lock = -1})

// ERR_CONFLICT if there is something called out.
err_code_t stage_check(const char *out, err_t *err);
err_code_t stage_open(const char *out, stage_t *stage, err_t *err);
// Gives the folder its name. On failure neither out nor, after stage_discard, the folder is there.
err_code_t stage_publish(stage_t *stage, const char *out, err_t *err);
void stage_discard(stage_t *stage);

#endif
