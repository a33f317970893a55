// What the dispatcher says about the jobs at the end, beside the ledger of those who ran them.
#ifndef INKLING_TESTS_QUEUE_VERIFY_H
#define INKLING_TESTS_QUEUE_VERIFY_H

#include "load.h"

typedef struct {
    // Of the jobs that were acknowledged: not listed as succeeded, or never given to a worker.
    size_t lost;
    // Jobs that have two ids, or two acknowledged successes, or are listed beside those submitted;
    // and, where nothing was killed, jobs given to workers twice.
    size_t doubled;
    size_t listed;    // jobs of the kind that the dispatcher lists
    size_t again;     // attempts beyond a job's first: allowed where something was killed
    size_t sampled;   // jobs that were asked for one by one: state, attempts, body, result
    char first[1024]; // the first thing that was wrong, in words; "" if nothing
} verify_t;

// killed: something was. ERR: the dispatcher cannot be asked.
err_code_t verify(const char *endpoint, const load_t *load, bool killed, verify_t *result,
                  err_t *err);

#endif
