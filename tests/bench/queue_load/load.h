// The load of the queue benchmark: clients that submit jobs of a kind of their own, and workers
// that take them and finish them at once, over ZeroMQ as any client and worker would, all on one
// loop. It keeps a ledger of its own of what was submitted, acknowledged, begun and finished.
//
// What gets no answer is sent again, as PROTOCOL.md asks for: a submit under its idempotency key, a
// finish under its token, a hello after silence.
#ifndef INKLING_TESTS_QUEUE_LOAD_H
#define INKLING_TESTS_QUEUE_LOAD_H

#include "base/err.h"
#include "bus/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_KIND "bench.noop"

// A job, by its number, which is in its body.
typedef struct {
    char *id;             // of the acknowledgement; NULL before
    int64_t submitted_us; // first sent
    int64_t acked_us;     // 0: not yet
    int64_t begun_us;     // the first worker got it
    int64_t finished_us;  // the first end was acknowledged
    int64_t sent_us;      // of the newest submit
    uint64_t token;       // of the newest attempt that a worker was given
    uint32_t begun;       // attempts that a worker was given
    uint32_t ended;       // attempts whose success was acknowledged
    uint32_t ids;         // different ids that acknowledged it: more than one is a doubled job
} load_job_t;

typedef struct {
    size_t count;                            // jobs to submit
    size_t unanswered;                       // at most so many submits in flight
    size_t unfinished;                       // at most so many jobs not finished; 0: any number
    double per_second;                       // pace; 0: as fast as the two allow
    int64_t timeout_ms;                      // of the whole phase
    void (*on_end)(void *arg, size_t ended); // after each job of the phase, or NULL
    void *arg;
} load_phase_t;

typedef struct {
    size_t first, count;                     // of the ledger
    int64_t begin_us, acked_us, finished_us; // first submit, last acknowledgement, last end
} load_span_t;

typedef struct {
    uint64_t resent, refused, stale, unknown; // submits and finishes sent again; retryable errors;
                                              // ends refused as stale; jobs that are not ours
} load_counts_t;

typedef struct load load_t;

// room: jobs of all phases together.
err_code_t load_new(const char *endpoint, size_t clients, size_t workers, size_t slots, size_t room,
                    load_t **load, err_t *err);
void load_destroy(load_t **load);
bus_loop_t *load_loop(load_t *load);

// Until every worker is welcome.
err_code_t load_hello(load_t *load, int64_t timeout_ms, err_t *err);
// Submits the jobs and waits until all are finished. ERR_TIMEOUT says how far it came.
err_code_t load_run(load_t *load, const load_phase_t *phase, load_span_t *span, err_t *err);

const load_job_t *load_jobs(const load_t *load, size_t *count);
load_counts_t load_counts(const load_t *load);

#endif
