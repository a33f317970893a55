#include "trainer/sampler.h"

#include "base/err.h"
#include "base/philox.h"

uint64_t sampler_key(uint64_t seed, sampler_use_t use) {
    // the last counter word is no layer and no tensor: the engine never draws there
    philox_t random = philox(seed, 0, 0, (uint32_t)use, UINT32_MAX);
    return (uint64_t)random.v[0] << 32 | random.v[1];
}

void sampler_order(uint64_t seed, uint32_t epoch, uint32_t count, uint32_t *order) {
    uint64_t key = sampler_key(seed, SAMPLER_ORDER);
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        philox_t random = philox(key, i, epoch, 0, 0);
        uint32_t other = philox_below(random.v[0], i), kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}

// Selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
void sampler_estimate(uint64_t seed, uint32_t count, uint32_t wanted, uint32_t *chosen) {
    uint64_t key = sampler_key(seed, SAMPLER_ESTIMATE);
    ERR_ASSERT(wanted <= count);
    uint32_t taken = 0;
    for (uint32_t i = 0; taken < wanted; i++)
        if (philox_below(philox(key, i, 0, 0, 0).v[0], count - i) < wanted - taken)
            chosen[taken++] = i;
}
