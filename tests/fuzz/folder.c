#include "base/fs.h"
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[64], path[160];

const char *fuzz_folder(void) {
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "/tmp/inkling-fuzz-XXXXXX");
        ERR_ASSERT(mkdtemp(folder));
    }
    return folder;
}

void fuzz_remove_folder(void) {
    if (folder[0])
        fs_remove_all(folder, NULL);
}

const char *fuzz_file(const char *name, const void *bytes, size_t size) {
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    unlink(path); // writing over a file waits for the disk
    FILE *file = fopen(path, "we");
    ERR_ASSERT(file && fwrite(bytes, 1, size, file) == size);
    ERR_ASSERT(fclose(file) == 0);
    return path;
}
