// The life of a job: its states and the rules that lead from one to the next. Pure: no clock, no
// I/O. The scripts of services/dispatcher/lua follow the same rules in Redis.
//
//   queued → running → succeeded | failed | cancelled | dead
//      ↑        │ failed retryably (after a back-off), released, lease lost, its process died
//      └────────┘
//
// An attempt is known by its fencing token; whoever shows another one is refused.
#ifndef INKLING_JOB_JOB_H
#define INKLING_JOB_JOB_H

#include "base/err.h"

#include <stdint.h>

#define JOB_STATES(X)                                                                              \
    X(QUEUED, "queued")                                                                            \
    X(RUNNING, "running")                                                                          \
    X(SUCCEEDED, "succeeded")                                                                      \
    X(FAILED, "failed")                                                                            \
    X(CANCELLED, "cancelled")                                                                      \
    X(DEAD, "dead")

typedef enum {
#define X(state, name) JOB_##state,
    JOB_STATES(X)
#undef X
        JOB_STATE_COUNT
} job_state_t;

// How an attempt ends. LOST (its lease ran out) is never told by a worker.
#define JOB_OUTCOMES(X)                                                                            \
    X(SUCCEEDED, "succeeded")                                                                      \
    X(FAILED, "failed")                                                                            \
    X(CANCELLED, "cancelled")                                                                      \
    X(RELEASED, "released")                                                                        \
    X(DIED, "died")                                                                                \
    X(LOST, "lost")

typedef enum {
#define X(outcome, name) JOB_END_##outcome,
    JOB_OUTCOMES(X)
#undef X
        JOB_OUTCOME_COUNT
} job_outcome_t;

const char *job_state_name(job_state_t state);
bool job_state_parse(const char *name, job_state_t *state);
bool job_state_final(job_state_t state);
const char *job_outcome_name(job_outcome_t outcome);
bool job_outcome_parse(const char *name, job_outcome_t *outcome);

typedef struct {
    job_state_t state;
    uint64_t attempts; // begun
    uint64_t failures; // retryable ones since it was submitted or retried by hand
    uint64_t deaths;   // of its process since then, or since its last checkpoint
    uint64_t token;    // of the last attempt
    uint64_t ended;    // token of the last attempt that its worker ended
    uint64_t reports;  // events of the present attempt
    int64_t delay_ms;  // queued: from its last change on
    bool cancel;       // running: its worker is to stop
    uint64_t max_attempts;
} job_t;

#define JOB_BACKOFF_FIRST_MS 1000
#define JOB_BACKOFF_MAX_MS   300000
// Before the attempt that follows so many failures: doubled each time, and up to half of it taken
// away by jitter (0 … 1), so that jobs that failed together do not come back together.
int64_t job_backoff_ms(uint64_t failures, double jitter);

// ERR_STALE: the attempt is over, or never was; ERR_CONFLICT: the state does not allow it.
void job_submit(job_t *job, uint64_t max_attempts, int64_t delay_ms);
void job_due(job_t *job); // its delay is over
err_code_t job_lease(job_t *job, uint64_t token);
// Which of count events, numbered from seq on, are new; *skip of them are not.
err_code_t job_report(job_t *job, uint64_t token, uint64_t seq, uint64_t count, uint64_t *skip);
err_code_t job_checkpoint(job_t *job, uint64_t token);
// Told by the worker: may come again, and is then answered with no change.
err_code_t job_finish(job_t *job, uint64_t token, job_outcome_t outcome, bool retryable,
                      double jitter, uint64_t max_deaths);
// Found by the dispatcher.
err_code_t job_end(job_t *job, uint64_t token, job_outcome_t outcome, double jitter,
                   uint64_t max_deaths);
err_code_t job_cancel(job_t *job);
err_code_t job_retry(job_t *job);

// Names of kinds: 1 to 64 of a-z, 0-9, '.', '_', '-', not beginning with '.'; the error names what.
err_code_t job_check_kind(const char *kind, err_t *err);
// Names of workers, data sets and models, and ids of jobs: letters of both cases, too.
err_code_t job_check_name(const char *what, const char *name, err_t *err);
// "first", "always" or "never": when a new model version is promoted.
bool job_is_promote(const char *word);
// MODEL or MODEL@VERSION; version 0: none given. name has room for 65 bytes.
err_code_t job_parse_model(const char *what, const char *text, char *name, uint64_t *version,
                           err_t *err);

#endif
