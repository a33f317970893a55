// What the dispatcher counts.
#ifndef INKLING_DISPATCHER_STATS_IMPL_H
#define INKLING_DISPATCHER_STATS_IMPL_H

#include "metric/metric.h"
#include "scripts_impl.h"

#define STATS_METRICS(X)                                                                           \
    X(COUNTER, submitted, "inkling_jobs_submitted_total", "", "Jobs that were queued.")            \
    X(COUNTER, succeeded, "inkling_attempts_total", "outcome=\"succeeded\"",                       \
      "Attempts that ended, by outcome.")                                                          \
    X(COUNTER, failed, "inkling_attempts_total", "outcome=\"failed\"", "")                         \
    X(COUNTER, cancelled, "inkling_attempts_total", "outcome=\"cancelled\"", "")                   \
    X(COUNTER, released, "inkling_attempts_total", "outcome=\"released\"", "")                     \
    X(COUNTER, died, "inkling_attempts_total", "outcome=\"died\"", "")                             \
    X(COUNTER, lost, "inkling_attempts_total", "outcome=\"lost\"", "")                             \
    X(COUNTER, stale, "inkling_stale_total", "", "Messages of holders that had lost the lease.")   \
    X(COUNTER, refused_full, "inkling_refused_total", "reason=\"full\"",                           \
      "Requests that were refused, by reason.")                                                    \
    X(COUNTER, refused_away, "inkling_refused_total", "reason=\"unavailable\"", "")                \
    X(COUNTER, takeovers, "inkling_leader_takeovers_total", "",                                    \
      "Times this dispatcher became the leader.")                                                  \
    X(GAUGE, queued, "inkling_jobs", "state=\"queued\"", "Jobs that are kept, by state.")          \
    X(GAUGE, running, "inkling_jobs", "state=\"running\"", "")                                     \
    X(GAUGE, jobs_succeeded, "inkling_jobs", "state=\"succeeded\"", "")                            \
    X(GAUGE, jobs_failed, "inkling_jobs", "state=\"failed\"", "")                                  \
    X(GAUGE, jobs_cancelled, "inkling_jobs", "state=\"cancelled\"", "")                            \
    X(GAUGE, dead, "inkling_jobs", "state=\"dead\"", "")                                           \
    X(GAUGE, leases, "inkling_leases", "", "Jobs that workers hold.")                              \
    X(GAUGE, workers, "inkling_workers", "", "Workers that are alive.")                            \
    X(GAUGE, waiting, "inkling_batch_waiting", "", "Transitions that Redis has not answered.")     \
    X(GAUGE, store_up, "inkling_store_up", "", "Redis answers.")                                   \
    X(GAUGE, leading, "inkling_leader", "", "This dispatcher leads.")                              \
    X(HISTOGRAM, dispatch, "inkling_dispatch_seconds", "",                                         \
      "From submit to assignment, when a worker was idle.")

typedef struct {
    STATS_METRICS(METRIC_FIELD)
    // by script
    metric_histogram_t latency[SCRIPT_COUNT];
    metric_counter_t calls[SCRIPT_COUNT], items[SCRIPT_COUNT];
} stats_t;

void stats_render(const stats_t *stats, buf_t *out);

#endif
