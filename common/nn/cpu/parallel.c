#include "nn/cpu/parallel.h"

#include <stdbool.h>
#include <stdlib.h>

// The runtime library's own entry points (libgomp's, which LLVM's library offers as well), so that
// no compiler option decides which OpenMP library ends up in the process.
void GOMP_parallel(void (*run)(void *), void *arg, unsigned threads, unsigned flags);
int omp_get_thread_num(void);
int omp_get_num_threads(void);
int omp_get_max_threads(void);
void omp_set_num_threads(int threads);

typedef struct {
    int64_t count;
    parallel_fn run;
    void *arg;
} loop_t;

static void run_part(void *arg) {
    const loop_t *loop = arg;
    int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t end = loop->count * (thread + 1) / threads;
    for (int64_t i = loop->count * thread / threads; i < end; i++) {
        loop->run(loop->arg, i, (int)thread);
    }
}

void parallel_for(int threads, int64_t count, parallel_fn run, void *arg) {
    loop_t loop = {count, run, arg};
    if (threads <= 1 || count <= 1) {
        for (int64_t i = 0; i < count; i++) {
            run(arg, i, 0);
        }
        return;
    }
    GOMP_parallel(run_part, &loop, (unsigned)(count < threads ? count : threads), 0);
}

int parallel_set_threads(int threads) {
    int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    return before;
}

int parallel_limit(void) {
    return getenv("OMP_NUM_THREADS") ? omp_get_max_threads() : INT32_MAX;
}
