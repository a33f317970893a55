// Pixels of files that are read but not yet placed: one slot per source file, in an unlinked file,
// so that memory stays bounded and a killed process leaves nothing behind.
#ifndef INKLING_INGEST_SPOOL_IMPL_H
#define INKLING_INGEST_SPOOL_IMPL_H

#include "base/err.h"

#include <stdint.h>

typedef struct spool spool_t;

err_code_t spool_open(const char *folder, size_t slot_bytes, spool_t **spool, err_t *err);
void spool_close(spool_t **spool);
// From any thread, each slot once.
err_code_t spool_put(spool_t *spool, int64_t slot, const uint8_t *pixels, err_t *err);
err_code_t spool_get(spool_t *spool, int64_t slot, uint8_t *pixels, err_t *err);

#endif
