// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011). A number is a pure function of key and counter, so it
// does not depend on the order, thread, device or layout in which numbers are asked for.
#ifndef INKLING_BASE_PHILOX_H
#define INKLING_BASE_PHILOX_H

#include <stdint.h>

// What a caller may define for code that does not run on the host.
#ifndef PHILOX_FUNCTION
#define PHILOX_FUNCTION static inline
#endif

typedef struct {
    uint32_t v[4];
} philox_t;

PHILOX_FUNCTION philox_t philox(uint64_t key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    philox_t random = {{c0, c1, c2, c3}};
    return random;
}

// Uniform in [0, 1): the upper 24 bits, exact in float.
PHILOX_FUNCTION float philox_float(uint32_t bits) {
    return (float)(bits >> 8) * 0x1p-24f;
}

// Uniform in [0, n) without bias worth naming (n < 2^32, 64-bit multiply).
PHILOX_FUNCTION uint32_t philox_below(uint32_t bits, uint32_t n) {
    return (uint32_t)(((uint64_t)bits * n) >> 32);
}

#endif
