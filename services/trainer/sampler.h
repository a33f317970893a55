// The order in which images are seen: a pure function of seed and epoch (base/philox.h), so that a
// job resumed at any step sees what it would have seen.
#ifndef INKLING_TRAINER_SAMPLER_H
#define INKLING_TRAINER_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#define SAMPLER_IMAGES_MAX UINT32_MAX

// A key of its own for each use of the job's seed, so that no two draw the same numbers.
typedef enum { SAMPLER_ORDER = 1, SAMPLER_ESTIMATE, SAMPLER_AUGMENT } sampler_use_t;
uint64_t sampler_key(uint64_t seed, sampler_use_t use);

// A uniform permutation of 0 … count − 1 (Fisher, Yates), another one for each epoch (from 0).
void sampler_order(uint64_t seed, uint32_t epoch, uint32_t count, uint32_t *order);

// wanted ≤ count different images of 0 … count − 1, rising, the same for all epochs: those that
// batch-norm's statistics are re-estimated over.
void sampler_estimate(uint64_t seed, uint32_t count, uint32_t wanted, uint32_t *chosen);

#endif
