// A look around for files that nothing refers to any more.
#ifndef INKLING_DISPATCHER_SWEEP_IMPL_H
#define INKLING_DISPATCHER_SWEEP_IMPL_H

#include "dispatcher_impl.h"

// Runs in the thread of the files: collects what has not changed for orphan_ms.
void sweep_scan(sweep_t *sweep, const char *root, int64_t orphan_ms);
void sweep_free(sweep_t **sweep);                // after the thread has ended, or sweep_scan() has
void files_scan(files_t *files, sweep_t *sweep); // has the thread scan

#endif
