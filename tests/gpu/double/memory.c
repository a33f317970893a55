// Device memory. In the race build it lies in one reserved range, which the host can reach only
// while ops run; elsewhere each allocation is a malloc of the exact size, so that ASan sees its
// end, and fresh memory is NaN.
#include "double.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALLOCATIONS_MAX = 4096, ALIGNMENT = 256 };

typedef struct {
    char *at;
    size_t size;
} allocation_t;

static allocation_t allocations[ALLOCATIONS_MAX];
static int count;

#ifdef DOUBLE_RACE
enum { GUARD = 4096 };
static const size_t arena_size = 1ull << 36;
static char *arena, *arena_next;
static int opened;

static void *take(size_t size) {
    if (!arena) {
        arena =
            mmap(NULL, arena_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (arena == MAP_FAILED) {
            double_fail("no address space for device memory");
        }
        arena_next = arena;
    }
    size_t whole = (size + 4095) / 4096 * 4096 + GUARD;
    if (arena_next + whole > arena + arena_size) {
        return NULL;
    }
    char *at = arena_next;
    arena_next += whole;
    return at;
}

static void give_back(const allocation_t *allocation) {
    if (count == 1) { // the last one: from the start again
        arena_next = arena;
    }
    (void)allocation;
}

static void protect(int protection) {
    if (arena_next > arena && mprotect(arena, (size_t)(arena_next - arena), protection) != 0) {
        double_fail("cannot protect device memory");
    }
}

void double_memory_open(void) {
    if (opened++ == 0) {
        protect(PROT_READ | PROT_WRITE);
    }
}

void double_memory_close(void) {
    if (--opened == 0) {
        protect(PROT_NONE);
    }
}

// Reads of it are seen without NaN; pages that nobody touches cost nothing when they are protected.
static void fill_fresh(void *at, size_t size) {
    (void)at;
    (void)size;
}
#else
static void *take(size_t size) {
    void *at = NULL;
    return posix_memalign(&at, ALIGNMENT, size) == 0 ? at : NULL;
}

static void give_back(const allocation_t *allocation) {
    free(allocation->at);
}

void double_memory_open(void) {
}

void double_memory_close(void) {
}

static void fill_fresh(void *at, size_t size) {
    memset(at, 0xff, size);
}
#endif

void *double_device_alloc(size_t size) {
    void *at = count < ALLOCATIONS_MAX ? take(size) : NULL;
    if (at) {
        allocations[count++] = (allocation_t){at, size};
        fill_fresh(at, size);
        double_race_alloc(at, size);
    }
    return at;
}

static const allocation_t *find(const void *at) {
    const char *byte = at;
    for (int i = 0; i < count; i++) {
        if (byte >= allocations[i].at && byte < allocations[i].at + allocations[i].size) {
            return &allocations[i];
        }
    }
    return NULL;
}

bool double_device_free(void *at) {
    for (int i = 0; i < count; i++) {
        if (allocations[i].at == at) {
            double_race_free(at, allocations[i].size);
            give_back(&allocations[i]);
            allocations[i] = allocations[--count];
            return true;
        }
    }
    return false;
}

void double_check_range(const char *who, const void *at, size_t size) {
    const allocation_t *allocation = find(at);
    if (size == 0) {
        return;
    }
    if (!allocation) {
        double_fail("%s: %p is not device memory", who, at);
    }
    size_t left = allocation->size - (size_t)((const char *)at - allocation->at);
    if (size > left) {
        double_fail("%s: %zu bytes from %p on, but the allocation ends after %zu", who, size, at,
                    left);
    }
}
