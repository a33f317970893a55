// When the requests of an open loop leave: times that depend on rate, arrivals and seed alone, and
// never on the answers.
#ifndef INKLING_LOAD_SCHEDULE_H
#define INKLING_LOAD_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_RATE_MAX 1000000

typedef struct {
    double rate; // a second
    bool poisson;
    uint64_t seed, count;
    double at; // ns, Poisson: of the last one
} schedule_t;

// rate: above 0, at most SCHEDULE_RATE_MAX. poisson: independent gaps of exponential length with a
// mean of 1/rate; otherwise all gaps are equal, and the first request leaves at once.
void schedule_init(schedule_t *schedule, double rate, bool poisson, uint64_t seed);
// The next request's time in ns since the beginning; never decreases, and does not drift: request i
// of equal gaps leaves at i/rate, rounded.
int64_t schedule_next(schedule_t *schedule);

#endif
