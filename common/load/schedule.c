#include "load/schedule.h"

#include "base/err.h"
#include "base/philox.h"

#include <math.h>

#define STREAM 0x4c4f4144u // no other use of the seed draws the same numbers

void schedule_init(schedule_t *schedule, double rate, bool poisson, uint64_t seed) {
    ERR_ASSERT(rate > 0 && rate <= SCHEDULE_RATE_MAX);
    *schedule = (schedule_t){.rate = rate, .poisson = poisson, .seed = seed};
}

// Uniform in (0, 1], 53 bits.
static double uniform(uint64_t seed, uint64_t index) {
    philox_t block = philox(seed, (uint32_t)index, (uint32_t)(index >> 32), 0, STREAM);
    uint64_t bits = ((uint64_t)block.v[0] << 32 | block.v[1]) >> 11;
    return ((double)bits + 1) * 0x1p-53;
}

int64_t schedule_next(schedule_t *schedule) {
    uint64_t index = schedule->count++;
    if (!schedule->poisson)
        return (int64_t)llround((double)index * (1e9 / schedule->rate));
    schedule->at -= log(uniform(schedule->seed, index)) * (1e9 / schedule->rate);
    return (int64_t)schedule->at;
}
