#include "nn/cpu/parallel.h"

#include <stdatomic.h>
#include <stdlib.h>

// The runtime library's own entry points (libgomp's, which LLVM's library offers as well), so that
// no compiler option decides which OpenMP library ends up in the process.
void GOMP_parallel(void (*run)(void *), void *arg, unsigned threads, unsigned flags);
int omp_get_thread_num(void);
int omp_get_num_threads(void);
int omp_get_max_threads(void);
void omp_set_num_threads(int threads);

enum { PIECES = 8 }; // a thread's share in as many pieces, if there are enough items

typedef struct {
    int64_t count, piece;
    atomic_int_fast64_t next;
    parallel_fn run;
    void *arg;
} loop_t;

static void run_pieces(void *arg) {
    loop_t *loop = arg;
    int thread = omp_get_thread_num();
    for (;;) {
        int64_t from = atomic_fetch_add_explicit(&loop->next, loop->piece, memory_order_relaxed);
        if (from >= loop->count) {
            return;
        }
        int64_t end = from + loop->piece < loop->count ? from + loop->piece : loop->count;
        for (int64_t i = from; i < end; i++) {
            loop->run(loop->arg, i, thread);
        }
    }
}

void parallel_for(int threads, int64_t count, parallel_fn run, void *arg) {
    if (threads <= 1 || count <= 1) {
        for (int64_t i = 0; i < count; i++) {
            run(arg, i, 0);
        }
        return;
    }
    int64_t piece = count / ((int64_t)threads * PIECES);
    loop_t loop = {.count = count, .piece = piece > 0 ? piece : 1, .run = run, .arg = arg};
    GOMP_parallel(run_pieces, &loop, (unsigned)(count < threads ? count : threads), 0);
}

int parallel_set_threads(int threads) {
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    return before;
}

int parallel_limit(void) {
    return getenv("OMP_NUM_THREADS") ? omp_get_max_threads() : INT32_MAX;
}
