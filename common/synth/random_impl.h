// A stream of random numbers: Philox with a running counter.
#ifndef INKLING_SYNTH_RANDOM_IMPL_H
#define INKLING_SYNTH_RANDOM_IMPL_H

#include "base/philox.h"

#include <stdbool.h>

typedef struct {
    uint64_t key;
    uint32_t identity, stream, counter, have;
    philox_t block;
} rng_t;

// Streams of one identity. Each but the person's has two numbers, one for each style, so that pose,
// light and grade differ between the two pictures of a person.
enum {
    STREAM_PERSON,
    STREAM_IMAGE,
    STREAM_GRADE = STREAM_IMAGE + 2,
    STREAM_GRAIN = STREAM_GRADE + 2,
    STREAM_FORMAT = STREAM_GRAIN + 2
};

static inline rng_t rng_open(uint64_t seed, uint32_t identity, uint32_t stream) {
    return (rng_t){.key = seed, .identity = identity, .stream = stream};
}

static inline uint32_t rng_bits(rng_t *rng) {
    if (rng->have == 0) {
        rng->block = philox(rng->key, rng->counter++, rng->identity, rng->stream, 0x53594e54u);
        rng->have = 4;
    }
    return rng->block.v[--rng->have];
}

static inline float rng_in(rng_t *rng, float low, float high) {
    return low + (high - low) * philox_float(rng_bits(rng));
}

// Around the middle of the range: the mean of two.
static inline float rng_mid(rng_t *rng, float low, float high) {
    float a = rng_in(rng, low, high);
    return 0.5f * (a + rng_in(rng, low, high));
}

static inline int rng_below(rng_t *rng, int n) {
    return (int)philox_below(rng_bits(rng), (uint32_t)n);
}

static inline bool rng_chance(rng_t *rng, float p) {
    return philox_float(rng_bits(rng)) < p;
}

#endif
