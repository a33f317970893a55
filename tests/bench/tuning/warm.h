// A study that begins with what an earlier one has seen, beside the same study without it.
#ifndef INKLING_BENCH_WARM_H
#define INKLING_BENCH_WARM_H

#include <stdint.h>

// A line of JSON per function, kinship of the earlier study ("none": there was none) and seed: the
// regret of the best so far, after each trial. only: the functions, all if there are none.
void warm(uint64_t first, uint64_t seeds, int count, char **only);

#endif
