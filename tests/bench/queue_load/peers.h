// Other job queues on a Redis of the same settings, in the same run.
#ifndef INKLING_TESTS_QUEUE_PEERS_H
#define INKLING_TESTS_QUEUE_PEERS_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>

// {"celery": {…}, "rq": {…}}, each {"jobs", "jobs_per_second", "submit_per_second",
// "dispatch_ms": {"p50", "p99"}, "version", "setup"}, or {"error"}. Needs the virtual environment
// that INKLING_PEERS names, made by tests/bench/peers.
err_code_t peers_run(size_t jobs, json_t **peers, err_t *err);

#endif
