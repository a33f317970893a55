#include "nn/cpu/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LINE = 64, PAGE = 4096, HUGE_PAGE = 2 << 20 };

void *memory_new(uint64_t bytes, err_t *err) {
    uint64_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : LINE;
    void *memory = NULL;
    if (bytes <= SIZE_MAX / 2) {
        // Whole pages, but no whole huge page for a rest: what is not there takes no memory.
        uint64_t unit = bytes >= HUGE_PAGE ? PAGE : LINE;
        size_t size = (size_t)((bytes + unit) / unit * unit);
        if (posix_memalign(&memory, (size_t)align, size) != 0) {
            memory = NULL;
        } else {
            if (align == HUGE_PAGE) {
                madvise(memory, size, MADV_HUGEPAGE); // a wish; without it things are slower
            }
            memset(memory, 0, size);
        }
    }
    if (!memory) {
        err_set(err, ERR_NO_MEMORY, "no memory for %llu bytes of the engine",
                (unsigned long long)bytes);
        err_remedy(err, "use a smaller batch or model");
    }
    return memory;
}

void memory_free(void *memory) {
    free(memory);
}
