// Asks a service over its own socket how it is, on a loop; and Redis, directly.
#ifndef INKLING_CLI_STACK_PROBE_IMPL_H
#define INKLING_CLI_STACK_PROBE_IMPL_H

#include "bus/bus.h"

#include <sys/types.h>

typedef struct {
    bool ready;
    pid_t pid;
    uint64_t uptime_ms;
    char detail[512], endpoint[256], http[256], version[33];
} probe_state_t;

typedef struct probe probe_t;
typedef void (*probe_fn)(void *arg, const probe_state_t *state);

probe_t *probe_new(bus_loop_t *loop, const char *home, const char *name, probe_fn fn, void *arg);
void probe_destroy(probe_t **probe);
// Asks, unless the last question is still young: then its answer is waited for.
void probe_ask(probe_t *probe);
// Something listens on the service's socket.
bool probe_served(const char *home, const char *name);

// PING over the socket at path; waits a quarter of a second at most. detail: what is wrong.
bool probe_redis(const char *path, char *detail, size_t size);

#endif
