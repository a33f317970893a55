// Runs kernels: the blocks of a grid one after the other in a random order, the threads of a block
// as fibers. A fiber runs until it waits or ends; which one is next is random.
#include "double.h"
#include "fiber.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    THREADS_MAX = 1024,
    WARP = 32,
#if defined __SANITIZE_ADDRESS__
    STACK_SIZE = 128 << 10,
#else
    STACK_SIZE = 32 << 10,
#endif
};

typedef enum { READY, AT_BARRIER, AT_EXCHANGE, ENDED } state_t;

typedef struct {
    fiber_t fiber;
    state_t state;
    const char *file; // where it waits
    int line;
    unsigned mask;
    uint64_t value;
    int from;
    uint32_t warp_interval;
} thread_t;

typedef struct {
    uint3 thread, block;
    dim3 block_dim, grid_dim;
} double_place_t; // as in kernel.h
extern double_place_t double_place;
double_place_t double_place;

typedef struct {
    const char *name;
    void (*run)(const void *args);
    dim3 grid, block;
    _Alignas(16) char args[];
} kernel_t;

static struct {
    const kernel_t *kernel;
    thread_t threads[THREADS_MAX];
    int count, current, ended;
    uint32_t interval;
    fiber_t outer;
    int ready[THREADS_MAX], ready_count;
} now;

// Static shared arrays of all kernels of this program.
extern char shared_begin[] __asm__("__start_cu_shared") __attribute__((weak, visibility("hidden")));
extern char shared_end[] __asm__("__stop_cu_shared") __attribute__((weak, visibility("hidden")));

void double_barrier(const char *file, int line);
uint64_t double_exchange(const char *file, int line, unsigned mask, uint64_t value, int from);
void double_fence(void);
void double_atomic(void *at, int size);
int double_lane(void);
cudaError_t double_launch(const char *name, const cudaLaunchConfig_t *config,
                          void (*run)(const void *args), const void *args, size_t size);

int double_lane(void) {
    return now.current % WARP;
}

void double_fence(void) {
    double_race_fence();
}

void double_atomic(void *at, int size) {
    double_race_atomic(at, size);
}

// --- Waiting

static void make_ready(int index) {
    now.threads[index].state = READY;
    now.ready[now.ready_count++] = index;
}

static void wait_here(thread_t *thread, state_t state, const char *file, int line) {
    thread->state = state;
    thread->file = file;
    thread->line = line;
    fiber_switch(&thread->fiber, &now.outer, 0);
}

void double_barrier(const char *file, int line) {
    wait_here(&now.threads[now.current], AT_BARRIER, file, line);
}

uint64_t double_exchange(const char *file, int line, unsigned mask, uint64_t value, int from) {
    thread_t *thread = &now.threads[now.current];
    if (!(mask >> (now.current % WARP) & 1)) {
        double_fail("%s: %s:%d: lane %d is not in its own mask %08x", now.kernel->name, file, line,
                    now.current % WARP, mask);
    }
    thread->mask = mask;
    thread->value = value;
    thread->from = from;
    wait_here(thread, AT_EXCHANGE, file, line);
    return thread->value;
}

// The lanes of a mask have all come: each gets its value.
static void exchange(int first, unsigned mask) {
    uint64_t values[WARP] = {0};
    for (int lane = 0; lane < WARP; lane++) {
        if (mask >> lane & 1) {
            thread_t *thread = &now.threads[first + lane];
            if (!(mask >> thread->from & 1)) {
                double_fail("%s: %s:%d: lane %d reads lane %d, which is not in mask %08x",
                            now.kernel->name, thread->file, thread->line, lane, thread->from, mask);
            }
            values[lane] = now.threads[first + thread->from].value;
        }
    }
    for (int lane = 0; lane < WARP; lane++) {
        if (mask >> lane & 1) {
            now.threads[first + lane].value = values[lane];
            now.threads[first + lane].warp_interval++;
            make_ready(first + lane);
        }
    }
}

// True if every lane of the thread's mask waits at the same place.
static bool warp_complete(const thread_t *thread, int first) {
    for (int lane = 0; lane < WARP; lane++) {
        if (!(thread->mask >> lane & 1)) {
            continue;
        }
        const thread_t *other = first + lane < now.count ? &now.threads[first + lane] : NULL;
        if (!other || other->state == ENDED) {
            double_fail("%s: %s:%d waits for lane %d, which has ended or is none", now.kernel->name,
                        thread->file, thread->line, lane);
        }
        if (other->state == READY) {
            return false;
        }
        if (other->state != thread->state || other->line != thread->line ||
            strcmp(other->file, thread->file) != 0 || other->mask != thread->mask) {
            double_fail("%s: threads of a warp part: %s:%d and %s:%d", now.kernel->name,
                        thread->file, thread->line, other->file, other->line);
        }
    }
    return true;
}

static bool release_warps(void) {
    bool released = false;
    for (int i = 0; i < now.count; i++) {
        thread_t *thread = &now.threads[i];
        if (thread->state == AT_EXCHANGE && warp_complete(thread, i / WARP * WARP)) {
            exchange(i / WARP * WARP, thread->mask);
            released = true;
        }
    }
    return released;
}

static void release_barrier(void) {
    const thread_t *first = NULL;
    for (int i = 0; i < now.count; i++) {
        const thread_t *thread = &now.threads[i];
        first = first ? first : thread;
        if (thread->state != AT_BARRIER) {
            double_fail("%s: thread %d has %s while others wait at %s:%d", now.kernel->name, i,
                        thread->state == ENDED ? "ended" : "gone elsewhere", first->file,
                        first->line);
        }
        if (thread->line != first->line || strcmp(thread->file, first->file) != 0) {
            double_fail("%s: threads of a block part: %s:%d and %s:%d", now.kernel->name,
                        first->file, first->line, thread->file, thread->line);
        }
    }
    now.interval++;
    for (int i = 0; i < now.count; i++) {
        now.threads[i].warp_interval = 0;
        make_ready(i);
    }
}

// --- Running

static void start(void) {
    fiber_started();
    now.kernel->run(now.kernel->args);
    thread_t *thread = &now.threads[now.current];
    thread->state = ENDED;
    now.ended++;
    fiber_switch(&thread->fiber, &now.outer, 1);
}

static void resume(int index) {
    dim3 size = now.kernel->block;
    unsigned at = (unsigned)index;
    now.current = index;
    double_place.thread.x = at % size.x;
    double_place.thread.y = at / size.x % size.y;
    double_place.thread.z = at / size.x / size.y;
    double_race_thread(index, now.interval, now.threads[index].warp_interval);
    fiber_switch(&now.outer, &now.threads[index].fiber, 0);
}

// NaN, past the sanitizers, which guard the gaps between the arrays.
static void fill_shared(void) {
    if (shared_begin) {
        void *at = shared_begin;
        size_t size = (size_t)(shared_end - shared_begin);
        __asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(0xff) : "memory");
        double_race_shared(shared_begin, shared_end);
    }
}

static void run_block(uint32_t number) {
    const kernel_t *kernel = now.kernel;
    double_place.block.x = number % kernel->grid.x;
    double_place.block.y = number / kernel->grid.x % kernel->grid.y;
    double_place.block.z = number / kernel->grid.x / kernel->grid.y;
    double_race_block(number);
    fill_shared();
    now.interval = 0;
    now.ended = 0;
    now.ready_count = 0;
    for (int i = 0; i < now.count; i++) {
        fiber_prepare(&now.threads[i].fiber, start);
        now.threads[i].warp_interval = 0;
        make_ready(i);
    }
    while (now.ended < now.count) {
        if (now.ready_count > 0) {
            int pick = (int)double_random((uint32_t)now.ready_count), index = now.ready[pick];
            now.ready[pick] = now.ready[--now.ready_count];
            resume(index);
        } else if (!release_warps()) {
            release_barrier();
        }
    }
}

static void make_stacks(void) {
    if (now.threads[0].fiber.stack) {
        return;
    }
    char *stacks = mmap(NULL, (size_t)THREADS_MAX * STACK_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) {
        double_fail("no memory for the stacks of a block");
    }
    for (int i = 0; i < THREADS_MAX; i++) {
        now.threads[i].fiber.stack = stacks + (size_t)i * STACK_SIZE;
        now.threads[i].fiber.size = STACK_SIZE;
    }
}

static void run_kernel(void *arg) {
    const kernel_t *kernel = arg;
    make_stacks();
    now.kernel = kernel;
    now.count = (int)(kernel->block.x * kernel->block.y * kernel->block.z);
    double_place.block_dim = kernel->block;
    double_place.grid_dim = kernel->grid;
    uint32_t blocks = kernel->grid.x * kernel->grid.y * kernel->grid.z;
    uint32_t *order = malloc(blocks * sizeof *order);
    for (uint32_t i = 0; i < blocks; i++) {
        uint32_t other = double_random(i + 1);
        order[i] = order[other];
        order[other] = i;
    }
    for (uint32_t i = 0; i < blocks; i++) {
        run_block(order[i]);
    }
    free(order);
}

cudaError_t double_launch(const char *name, const cudaLaunchConfig_t *config,
                          void (*run)(const void *args), const void *args, size_t size) {
    dim3 grid = config->gridDim, block = config->blockDim;
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (threads < 1 || threads > THREADS_MAX || block.z > 64 || grid.x < 1 || grid.y < 1 ||
        grid.z < 1 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
        return cudaErrorInvalidConfiguration;
    }
    if (config->dynamicSmemBytes > 0) {
        double_fail("%s: the double has no dynamic shared memory", name);
    }
    kernel_t *kernel = aligned_alloc(16, (sizeof *kernel + size + 15) / 16 * 16);
    *kernel = (kernel_t){.name = name, .run = run, .grid = grid, .block = block};
    memcpy(kernel->args, args, size);
    return double_queue(config->stream, name, run_kernel, kernel);
}
