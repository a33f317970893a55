// The figures of a run, as a JSON document or as text.
#ifndef INKLING_TESTS_QUEUE_REPORT_H
#define INKLING_TESTS_QUEUE_REPORT_H

#include "load.h"
#include "verify.h"

#include <jansson.h>

// Percentiles in ms; all 0 of no samples.
typedef struct {
    double p50, p99, max;
    size_t samples;
} spread_t;

// Between two moments of the jobs first … first + count - 1; offsets are those of load_job_t.
spread_t spread_of(const load_job_t *jobs, size_t first, size_t count, size_t from, size_t to);

typedef struct {
    size_t jobs, clients, workers, slots;
    double jobs_per_second;   // first submit to last acknowledged end
    double submit_per_second; // first submit to last acknowledgement
    // From sending the submit to the worker having the job. Idle: one job at a time, all workers
    // idle; half: a steady half of jobs_per_second; full: the queue grows, so this is mostly its
    // length.
    spread_t dispatch_idle, dispatch_half, dispatch_full;
    spread_t ack_idle, ack_full; // from sending the submit to its acknowledgement
    double half_per_second;
    double dispatcher_s, redis_s, load_s; // processor time of the full phase; 0: killed meanwhile
    int dispatcher_kills, redis_kills;
    verify_t checked;
    load_counts_t counts;
} report_t;

// peers may be NULL; is taken over.
json_t *report_json(const report_t *report, json_t *peers);
void report_text(const report_t *report, const json_t *peers);

#endif
