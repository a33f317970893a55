#include "load/hist.h"

#include <math.h>

// Bucket: octave × HIST_SUBS + the HIST_SUB_BITS bits behind the leading one. The first two octaves
// have buckets of width 1.
size_t hist_bucket(uint64_t value) {
    if (value < HIST_SUBS)
        return (size_t)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HIST_SUB_BITS;
    return (size_t)shift * HIST_SUBS + (size_t)(value >> shift);
}

uint64_t hist_upper(size_t bucket) {
    if (bucket < 2 * (size_t)HIST_SUBS)
        return bucket;
    unsigned shift = (unsigned)(bucket / HIST_SUBS) - 1;
    uint64_t lead = HIST_SUBS + bucket % HIST_SUBS;
    return (lead << shift) + ((UINT64_C(1) << shift) - 1);
}

void hist_add(hist_t *hist, uint64_t value) {
    hist->counts[hist_bucket(value)]++;
    hist->min = hist->count == 0 || value < hist->min ? value : hist->min;
    hist->max = value > hist->max ? value : hist->max;
    hist->count++;
    hist->sum += (double)value;
}

void hist_merge(hist_t *into, const hist_t *from) {
    if (from->count == 0)
        return;
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->min = into->count == 0 || from->min < into->min ? from->min : into->min;
    into->max = from->max > into->max ? from->max : into->max;
    into->count += from->count;
    into->sum += from->sum;
}

uint64_t hist_quantile(const hist_t *hist, double quantile) {
    if (hist->count == 0)
        return 0;
    double wanted = ceil(quantile * (double)hist->count * (1 - 1e-12)); // 0.29 × 100 is 29
    uint64_t rank = wanted < 1 ? 1 : wanted >= (double)hist->count ? hist->count : (uint64_t)wanted;
    if (rank == hist->count)
        return hist->max;
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += hist->counts[i];
        if (seen >= rank)
            return hist_upper(i) < hist->max ? hist_upper(i) : hist->max;
    }
    return hist->max;
}

double hist_mean(const hist_t *hist) {
    return hist->count ? hist->sum / (double)hist->count : 0;
}
