// The light half of a worker, a service of its own: says hello, holds leases, renews them every
// heartbeat, starts one child process per job (child.h), forwards its events, checkpoints and end
// until the dispatcher has stored them, and survives the loss of dispatcher, Redis and connection
// without touching the child. main() of a worker is one call of worker_main().
#ifndef INKLING_WORKER_WORKER_H
#define INKLING_WORKER_WORKER_H

#include <stddef.h>

typedef struct {
    const char *program;      // "trainer"
    const char *about;        // one line for --help
    const char *const *kinds; // ended by NULL
    const char *child;        // program beside this one: "inkling-trainer-engine"
} worker_spec_t;

int worker_main(int argc, char **argv, const worker_spec_t *spec);

#endif
