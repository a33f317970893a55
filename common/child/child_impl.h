// Between the parts of the module.
#ifndef INKLING_CHILD_IMPL_H
#define INKLING_CHILD_IMPL_H

#include "child/child.h"

#include <pthread.h>

typedef struct child_files child_files_t;

// folder: the attempt's own, relative to the files.
child_files_t *child_files_new(child_t *child, const char *folder);
void child_files_destroy(child_files_t **files);
child_files_t *child_files(const child_t *child);
// A folder that nobody may trim while this process lives.
void child_hold(child_files_t *files, const char *path);

// There is progress, though the job's own counter stands.
void child_moved(child_t *child);

#endif
