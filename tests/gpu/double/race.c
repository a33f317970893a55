// The race detector: what libtsan's entry points would be, with CUDA's rules instead of pthreads'.
// Kernels are compiled with -fsanitize=thread; libtsan is not linked.
//
// For every 2 bytes of device and shared memory a cell remembers the last write and the last read:
// op, block, thread, and how many barriers of block and warp that thread had passed. Two accesses,
// one of them a write, are in order if
//   they are of different ops   and streams, events or edges order the ops;
//   of one block                and a barrier lies between, or they are of one thread, or of one
//                               warp with a warp operation between;
//   of two blocks of an op      and the first had fenced and then made an atomic operation, and the
//                               second had made one before its access.
#include "double.h"

#ifndef DOUBLE_RACE

void double_race_alloc(const void *at, size_t size) {
    (void)at;
    (void)size;
}
void double_race_free(const void *at, size_t size) {
    (void)at;
    (void)size;
}
void double_race_op(const char *name, const double_order_t *order) {
    (void)name;
    (void)order;
}
void double_race_shared(void *from, void *to) {
    (void)from;
    (void)to;
}
void double_race_block(uint32_t block) {
    (void)block;
}
void double_race_thread(int thread, uint32_t interval, uint32_t warp_interval) {
    (void)thread;
    (void)interval;
    (void)warp_interval;
}
void double_race_range(const void *at, size_t size, bool write) {
    (void)at;
    (void)size;
    (void)write;
}
void double_race_atomic(const void *at, int size) {
    (void)at;
    (void)size;
}
void double_race_fence(void) {
}

#else

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    UNWRITTEN = 0, // as the kernel gives fresh memory
    FIRST_OP = 16,
    THREADS = 1024,
    BLOCKS_MAX = 65536,
    LIBRARY = 0xfffc, // as a thread: not a kernel's
    ATOMIC = 0xfffd,
    MANY = 0xffff, // threads or blocks
};

typedef struct {
    uint32_t op;
    uint16_t block, thread, interval, warp_interval;
} stamp_t;

typedef struct {
    stamp_t write, read;
} cell_t;

// Shadow of [from, to).
typedef struct {
    const char *from, *to;
    cell_t *cells;
    size_t mapped;
} shadow_t;

enum { SHADOWS_MAX = 4096 };
static shadow_t shadows[SHADOWS_MAX];
static int shadow_count;
static shadow_t shared;
static size_t touched_from, touched_to; // cells of shared memory

static struct {
    const char *name;
    const double_order_t *order;
    stamp_t stamp; // of the running thread
    bool acquired;
    uint32_t unfenced[THREADS];     // interval + 1 of a write of this block, or 0
    uint32_t published[BLOCKS_MAX]; // interval + 1 up to which others may read
    uint32_t published_blocks;
} now;

static uint8_t *lanes; // of ops
static uint32_t lane_room;

// --- Ops and threads

void double_race_op(const char *name, const double_order_t *order) {
    if (order->id >= lane_room) {
        lane_room = order->id * 2 + 1024;
        lanes = realloc(lanes, lane_room);
    }
    lanes[order->id] = (uint8_t)order->lane;
    now.name = name;
    now.order = order;
    now.stamp = (stamp_t){.op = order->id, .thread = LIBRARY};
    memset(now.published, 0, now.published_blocks * sizeof now.published[0]);
    now.published_blocks = 0;
}

void double_race_block(uint32_t block) {
    if (block >= BLOCKS_MAX) {
        double_fail("%s: the race detector takes at most %d blocks", now.name, BLOCKS_MAX);
    }
    now.stamp.block = (uint16_t)block;
    now.published_blocks = block >= now.published_blocks ? block + 1 : now.published_blocks;
    now.acquired = false;
    memset(now.unfenced, 0, sizeof now.unfenced);
}

void double_race_thread(int thread, uint32_t interval, uint32_t warp_interval) {
    now.stamp.thread = (uint16_t)thread;
    now.stamp.interval = (uint16_t)interval;
    now.stamp.warp_interval = (uint16_t)warp_interval;
}

void double_race_fence(void) {
    for (int i = 0; i < THREADS; i++) {
        bool before = now.unfenced[i] && now.unfenced[i] - 1 < now.stamp.interval;
        if (i == now.stamp.thread || before) {
            now.unfenced[i] = 0;
        }
    }
}

// --- Shadow memory

static shadow_t make_shadow(const void *at, size_t size) {
    size_t cells = (size + 1) / 2;
    size_t bytes = (cells * sizeof(cell_t) + 4095) / 4096 * 4096;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        double_fail("no memory for the shadow of %zu bytes", size);
    }
    shadow_t shadow = {at, (const char *)at + size, memory, bytes};
    return shadow;
}

void double_race_alloc(const void *at, size_t size) {
    if (shadow_count == SHADOWS_MAX) {
        double_fail("more than %d allocations", SHADOWS_MAX);
    }
    shadows[shadow_count++] = make_shadow(at, size);
}

void double_race_free(const void *at, size_t size) {
    (void)size;
    for (int i = 0; i < shadow_count; i++) {
        if (shadows[i].from == at) {
            munmap(shadows[i].cells, shadows[i].mapped);
            shadows[i] = shadows[--shadow_count];
            return;
        }
    }
}

void double_race_shared(void *from, void *to) {
    if (shared.from != from) {
        shared = make_shadow(from, (size_t)((char *)to - (char *)from));
        return;
    }
    for (size_t i = touched_from; i < touched_to; i++) {
        shared.cells[i] = (cell_t){.write.op = UNWRITTEN, .read.op = UNWRITTEN};
    }
    touched_from = SIZE_MAX;
    touched_to = 0;
}

static bool inside(const shadow_t *shadow, const char *at) {
    return at >= shadow->from && at < shadow->to;
}

static const shadow_t *find(const char *at) {
    static int last;
    if (inside(&shared, at)) {
        return &shared;
    }
    if (last < shadow_count && inside(&shadows[last], at)) {
        return &shadows[last];
    }
    for (int i = 0; i < shadow_count; i++) {
        if (inside(&shadows[i], at)) {
            last = i;
            return &shadows[i];
        }
    }
    return NULL;
}

// --- Judging

static bool in_order(const stamp_t *before) {
    const stamp_t *me = &now.stamp;
    if (before->op != me->op) {
        return now.order->clock[lanes[before->op]] >= before->op;
    }
    if (before->thread == ATOMIC || me->thread == ATOMIC || me->thread == LIBRARY) {
        return true;
    }
    if (before->block != me->block) {
        return before->block != MANY && now.acquired &&
               now.published[before->block] > before->interval;
    }
    if (before->thread == me->thread || before->interval != me->interval) {
        return true;
    }
    return before->thread != MANY && before->thread / 32 == me->thread / 32 &&
           before->warp_interval != me->warp_interval;
}

static void race(const char *what, const void *at, const stamp_t *before) {
    double_fail("%s: race: block %u thread %d %s at %p, which %s block %u thread %d of op %u",
                now.name, now.stamp.block, now.stamp.thread, what, at,
                before->op == now.stamp.op ? "in the same launch did" : "is not ordered behind",
                before->block, before->thread, before->op);
}

static void note_read(cell_t *cell) {
    stamp_t *read = &cell->read;
    const stamp_t *me = &now.stamp;
    if (read->op != me->op) {
        *read = *me;
    } else if (read->block != me->block) {
        read->block = MANY;
    } else if (read->interval != me->interval) {
        *read = *me;
    } else if (read->thread != me->thread) {
        read->thread = MANY;
    }
}

static void judge(cell_t *cell, const void *at, bool write) {
    if (cell->write.op == UNWRITTEN && !write) {
        double_fail("%s: block %u thread %d reads %p, which nobody has written", now.name,
                    now.stamp.block, now.stamp.thread, at);
    }
    if (cell->write.op >= FIRST_OP && !in_order(&cell->write)) {
        race(write ? "writes" : "reads", at, &cell->write);
    }
    if (!write) {
        note_read(cell);
        return;
    }
    if (cell->read.op >= FIRST_OP && !in_order(&cell->read)) {
        race("overwrites", at, &cell->read);
    }
    cell->write = now.stamp;
}

static void access_at(const char *at, size_t size, bool write) {
    const shadow_t *shadow = find(at);
    if (!shadow) {
        return; // the thread's own stack, or constants
    }
    if (at + size > shadow->to) {
        double_fail("%s: block %u thread %d: %zu bytes at %p reach past the end of the memory",
                    now.name, now.stamp.block, now.stamp.thread, size, (const void *)at);
    }
    size_t first = (size_t)(at - shadow->from) / 2,
           last = (size_t)(at + size - 1 - shadow->from) / 2;
    for (size_t i = first; i <= last; i++) {
        judge(&shadow->cells[i], shadow->from + 2 * i, write);
    }
    if (shadow == &shared) {
        touched_from = first < touched_from ? first : touched_from;
        touched_to = last + 1 > touched_to ? last + 1 : touched_to;
    }
    if (write && shadow != &shared && now.stamp.thread < THREADS) {
        now.unfenced[now.stamp.thread] = now.stamp.interval + 1u;
    }
}

void double_race_range(const void *at, size_t size, bool write) {
    if (size > 0 && find(at)) {
        access_at(at, size, write);
    }
}

void double_race_atomic(const void *at, int size) {
    bool clean = true;
    for (int i = 0; i < THREADS; i++) {
        clean = clean && !now.unfenced[i];
    }
    if (clean) {
        now.published[now.stamp.block] = now.stamp.interval + 1u;
    }
    now.acquired = true;
    stamp_t mine = now.stamp;
    now.stamp.thread = ATOMIC;
    access_at(at, (size_t)size, false);
    access_at(at, (size_t)size, true);
    now.stamp = mine;
}

// --- What g++ calls

#define ENTRY __attribute__((visibility("default"))) void
#define ACCESS(size)                                                                               \
    ENTRY __tsan_read##size(void *at);                                                             \
    ENTRY __tsan_write##size(void *at);                                                            \
    ENTRY __tsan_unaligned_read##size(void *at);                                                   \
    ENTRY __tsan_unaligned_write##size(void *at);                                                  \
    ENTRY __tsan_read##size(void *at) {                                                            \
        access_at(at, size, false);                                                                \
    }                                                                                              \
    ENTRY __tsan_write##size(void *at) {                                                           \
        access_at(at, size, true);                                                                 \
    }                                                                                              \
    ENTRY __tsan_unaligned_read##size(void *at) {                                                  \
        access_at(at, size, false);                                                                \
    }                                                                                              \
    ENTRY __tsan_unaligned_write##size(void *at) {                                                 \
        access_at(at, size, true);                                                                 \
    }
ACCESS(1)
ACCESS(2)
ACCESS(4)
ACCESS(8)
ACCESS(16)

ENTRY __tsan_init(void);
ENTRY __tsan_func_entry(void *caller);
ENTRY __tsan_func_exit(void);
ENTRY __tsan_read_range(void *at, unsigned long size);
ENTRY __tsan_write_range(void *at, unsigned long size);

ENTRY __tsan_init(void) {
}
ENTRY __tsan_func_entry(void *caller) {
    (void)caller;
}
ENTRY __tsan_func_exit(void) {
}
ENTRY __tsan_read_range(void *at, unsigned long size) {
    access_at(at, size, false);
}
ENTRY __tsan_write_range(void *at, unsigned long size) {
    access_at(at, size, true);
}

#endif
