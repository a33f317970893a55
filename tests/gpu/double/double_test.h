// What tests may ask of the double, beside NVIDIA's own calls.
#ifndef DOUBLE_TEST_H
#define DOUBLE_TEST_H

#include <driver_types.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The order of ops, blocks and threads from now on. At the start: DOUBLE_SEED of the environment,
// or 1.
void double_seed(uint64_t seed);
// Of the calls from now on that can fail, the n-th (from 1) fails; 0: none does. Calls of other
// libraries fail in their own way.
void double_fail_call(int n);
// How many such calls there were since double_fail_call.
int double_calls(void);
// Device allocations, pinned ones, streams, events, graphs and descriptors that are alive.
int double_alive(void);
// No device, as on a machine without one.
void double_no_device(int none);

#ifdef __cplusplus
}
#endif
#endif
