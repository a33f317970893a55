// Inside the test double of CUDA. Not for tests: they use NVIDIA's headers and double_test.h.
//
// Work is an op. The host queues ops on streams; they run only when the host waits, one by one, in
// an order that is random (seeded by DOUBLE_SEED) within what streams, events and graph edges
// allow. What breaks CUDA's rules ends the program with a message "cuda double: …" on stderr.
#ifndef DOUBLE_DOUBLE_H
#define DOUBLE_DOUBLE_H

#include <cuda_runtime_api.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Noreturn void double_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint32_t double_random(uint32_t below);

// --- runtime.c: ops. arg is malloc'ed and freed with the op.
typedef void (*double_run_t)(void *arg);
cudaError_t double_queue(cudaStream_t stream, const char *name, double_run_t run, void *arg);
// One caller at a time. Fails the call if it is the one that double_fail_call() chose.
cudaError_t double_enter(void);
void double_leave(void);
void double_count_alive(int more); // see double_alive()

// --- memory.c: device memory
void *double_device_alloc(size_t size);
bool double_device_free(void *at);
// Fails unless the range lies in one live allocation.
void double_check_range(const char *who, const void *at, size_t size);
// Device memory is out of the host's reach (race build) but between these.
void double_memory_open(void);
void double_memory_close(void);

// --- race.c. Without the race build they do nothing.
enum { DOUBLE_LANES = 64 };
typedef struct {
    uint32_t id;                  // of the op, unique and increasing
    int lane;                     // ops of a lane run in order
    uint32_t clock[DOUBLE_LANES]; // per lane: the last op that surely ran before
} double_order_t;
void double_race_alloc(const void *at, size_t size);
void double_race_free(const void *at, size_t size);
void double_race_op(const char *name, const double_order_t *order); // this op runs now
void double_race_shared(void *from, void *to);                      // cleared: a block begins
void double_race_block(uint32_t block);
void double_race_thread(int thread, uint32_t interval, uint32_t warp_interval);
void double_race_range(const void *at, size_t size, bool write); // by a library or a copy
void double_race_atomic(const void *at, int size);
void double_race_fence(void);

#endif
