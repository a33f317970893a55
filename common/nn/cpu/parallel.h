// Loops over the threads of OpenMP's pool, the same pool that oneDNN uses: two pools on the same
// cores would wait for each other.
#ifndef INKLING_NN_CPU_PARALLEL_H
#define INKLING_NN_CPU_PARALLEL_H

#include <stdint.h>

// Runs items 0 … count − 1, in pieces that go to whichever thread is free: other programs may have
// the core of another. So no item may depend on another, or on its thread, which is 0 … threads − 1
// and good for scratch memory only.
typedef void (*parallel_fn)(void *arg, int64_t item, int thread);
void parallel_for(int threads, int64_t count, parallel_fn run, void *arg);

// What oneDNN will use when called from this thread; returns the setting before, to be restored.
int parallel_set_threads(int threads);

// The limit that the environment sets with OMP_NUM_THREADS, or INT32_MAX.
int parallel_limit(void);

#endif
