// A histogram of durations with a bounded relative error (after HdrHistogram): values up to
// HIST_SUBS are counted exactly, larger ones in HIST_SUBS buckets an octave. So a quantile is never
// below the true one and never above it by more than 1 in HIST_SUBS (0.8 %), over all of uint64_t:
// nothing is cut off. Adding never allocates.
#ifndef INKLING_LOAD_HIST_H
#define INKLING_LOAD_HIST_H

#include <stddef.h>
#include <stdint.h>

#define HIST_SUB_BITS 7
#define HIST_SUBS     (1u << HIST_SUB_BITS)
#define HIST_BUCKETS  ((64 - HIST_SUB_BITS + 1) * HIST_SUBS)

// Zero it to begin.
typedef struct {
    uint64_t counts[HIST_BUCKETS];
    uint64_t count, min, max;
    double sum;
} hist_t;

void hist_add(hist_t *hist, uint64_t value);
void hist_merge(hist_t *into, const hist_t *from);
// The least value that a share of at least `quantile` (0 … 1) of all values does not exceed, up to
// the error above; quantile 1 is the exact maximum. 0 if there are no values.
uint64_t hist_quantile(const hist_t *hist, double quantile);
double hist_mean(const hist_t *hist); // exact up to rounding; 0 if there are no values

// The bucket of a value, and the largest value of a bucket.
size_t hist_bucket(uint64_t value);
uint64_t hist_upper(size_t bucket);

#endif
