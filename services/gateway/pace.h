// How long computing takes, how much of it waits, and so: can what has come be done in time? Policy
// only: no clock, no I/O. Times in µs.
//
// Work that cannot end before its deadline is refused when it comes, or left out when its turn
// comes; else, under overload, every image would be begun just before its deadline and end just
// behind it.
#ifndef INKLING_GATEWAY_PACE_H
#define INKLING_GATEWAY_PACE_H

#include "gateway/queue.h"

// Of one kind of work, e.g. the batches of an engine; all zero: nothing is known yet.
typedef struct {
    double mean_us, deviation_us; // of a batch, smoothed (RFC 6298)
    double each_us;               // of an image in it, smoothed
} pace_t;

void pace_note(pace_t *pace, int64_t took_us, int count); // a batch of count took so long
int64_t pace_need_us(const pace_t *pace);                 // a batch rarely takes longer

// What waits or is being worked on, as the sum of what its images are expected to take.
typedef struct {
    int64_t us[QUEUE_PRIORITIES];
} backlog_t;

void backlog_add(backlog_t *backlog, uint8_t priority, int64_t cost_us); // < 0: it is done
// How long one of that priority has to wait for so many lanes.
int64_t backlog_wait_us(const backlog_t *backlog, uint8_t priority, size_t lanes);

#endif
