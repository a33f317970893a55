// A folder whose files are read again when some of them came or went.
#ifndef INKLING_SEC_FOLDER_IMPL_H
#define INKLING_SEC_FOLDER_IMPL_H

#include "base/err.h"

#include <stdint.h>
#include <time.h>

typedef struct {
    char *path;
    struct timespec changed; // the folder's time stamp when it was read
    bool settled;            // it was old enough then
    bool failed;             // it could not be read, which was told
    int64_t read_ms;
} folder_t;

void folder_init(folder_t *folder, const char *parent, const char *name);
void folder_release(folder_t *folder);
// Is it to be read (again) now? anew: whatever its time stamp says.
bool folder_due(folder_t *folder, bool anew);
// Calls fn with the path of each file whose name ends in suffix and does not begin with a dot.
// False, and it is due again soon: it is there and cannot be read now, or not to its end.
bool folder_each(folder_t *folder, const char *suffix,
                 void (*fn)(void *arg, const char *path, const char *name), void *arg);

#endif
