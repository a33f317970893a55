// Metrics of a service in Prometheus' text format. One X-table per service says what exists; from
// it come the storage and the description:
//
//   #define METRICS(X)     (each line but the last ends in a backslash)
//       X(COUNTER, submits, "inkling_submits_total", "", "Jobs that were accepted.")
//       X(GAUGE, waiting, "inkling_jobs_waiting", "", "Jobs that wait for a worker.")
//       X(HISTOGRAM, dispatch, "inkling_dispatch_seconds", "", "From submit to assignment.")
//
// A row: type, field, name, labels, help. A counter's name ends in "_total". Labels are as in the
// text, without braces: "outcome=\"failed\"", or ""; rows of one name stand together.
//
//   typedef struct { METRICS(METRIC_FIELD) } metrics_t;      // all zero is a valid start
//   static const metric_info_t infos[] = {
//   #define X(...) METRIC_INFO(metrics_t, __VA_ARGS__)
//       METRICS(X)
//   #undef X
//   };
//
//   metric_add(&m.submits, 1);
//   metric_set(&m.waiting, 12);
//   metric_observe(&m.dispatch, 0.0004);
//   metric_render(infos, sizeof infos / sizeof *infos, &m, out);
//
// Every function may be called from any thread at any time, without locks. A histogram that is
// rendered while others observe is complete up to some moment of each of its parts.
#ifndef INKLING_METRIC_METRIC_H
#define INKLING_METRIC_METRIC_H

#include "base/buf.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

// Upper bounds of a histogram's buckets in seconds, the same for all: 1-2.5-5 from 0.1 ms to 100 s.
// What is above them all counts in the last one, +Inf.
#define METRIC_BUCKETS                                                                             \
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5,   \
        10, 25, 50, 100
enum { METRIC_BUCKET_COUNT = sizeof((double[]){METRIC_BUCKETS}) / sizeof(double) + 1 }; // with +Inf

typedef struct {
    _Atomic uint64_t value;
} metric_counter_t;
typedef struct {
    _Atomic double value;
} metric_gauge_t;
typedef struct {
    _Atomic uint64_t buckets[METRIC_BUCKET_COUNT]; // not cumulative
    _Atomic uint64_t sum_us;
} metric_histogram_t;

void metric_add(metric_counter_t *counter, uint64_t count);
uint64_t metric_count(const metric_counter_t *counter);
void metric_set(metric_gauge_t *gauge, double value);
// seconds: negative and NaN count as 0.
void metric_observe(metric_histogram_t *histogram, double seconds);

typedef enum { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM } metric_type_t;

typedef struct {
    metric_type_t type;
    size_t offset; // of the field in the service's struct
    const char *name, *labels, *help;
} metric_info_t;

#define METRIC_TYPE_COUNTER                           metric_counter_t
#define METRIC_TYPE_GAUGE                             metric_gauge_t
#define METRIC_TYPE_HISTOGRAM                         metric_histogram_t
#define METRIC_FIELD(type, field, name, labels, help) METRIC_TYPE_##type field;
#define METRIC_INFO(storage, type, field, name, labels, help)                                      \
    {METRIC_##type, offsetof(storage, field), name, labels, help},

// Appends the text of all count metrics, in the table's order.
void metric_render(const metric_info_t *infos, size_t count, const void *storage, buf_t *out);

#endif
