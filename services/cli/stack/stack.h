// The stack of one home on this machine: a private redis-server and the services, kept running by a
// supervisor.
//
//   <home>/pids/NAME.pid   "PID START RESTARTS": who runs as NAME; START is the process' start
//   time,
//                          so that a reused number is not taken for it. The process holds a lock on
//                          the file for as long as it lives: there is never a second NAME.
//   <home>/logs/NAME.log   what it writes to stdout and stderr; NAME.log.1 … are older
//   <home>/redis/          Redis' append-only file
//
// When the supervisor is killed the services go on without it; the next stack_up() takes them over,
// and stack_down() ends them. Several homes do not know of each other.
#ifndef INKLING_CLI_STACK_STACK_H
#define INKLING_CLI_STACK_STACK_H

#include "conf/conf.h"

#include <jansson.h>

// name, program, most time to end by itself. In the order of their start; those of one rank end
// together, the highest rank first.
#define STACK_SERVICES(X)                                                                          \
    X("redis", "redis-server", 0, 15000)                                                           \
    X("dispatcher", "inkling-dispatcher", 1, 10000)                                                \
    X("blobs", "inkling-blobs", 2, 10000)                                                          \
    X("studies", "inkling-studies", 2, 10000)                                                      \
    X("ingest-0", "inkling-ingest", 2, 45000)                                                      \
    X("trainer-0", "inkling-trainer", 2, 45000)                                                    \
    X("tuner-0", "inkling-tuner", 2, 45000)                                                        \
    X("gateway-0", "inkling-gateway", 2, 10000)

typedef struct {
    const conf_t *conf;
    char *const *settings; // "--lease-ms=3000" …, NULL: options for every service. Of those that
                           // name places conf has the last word: the services start elsewhere
    bool detach;           // return when all is ready; otherwise stay until told to end
    int64_t wait_ms;       // for all to be ready
} stack_up_t;

// Starts what does not run. When a supervisor is there already (*already = true) it waits until all
// is ready. After a failure nothing of the stack runs; the message names the culprit, and
// its last log lines, if there are any, go to tail. Without detach it returns after SIGINT, SIGTERM
// or SIGHUP, when all has ended.
err_code_t stack_up(const stack_up_t *up, bool *already, buf_t *tail, err_t *err);

// For a stack that runs already: settings that `up` names and it does not have, as text for people
// ("--lease-ms=3000, INKLING_SLOTS"); nothing: it has them all.
void stack_changes(const stack_up_t *up, buf_t *changes);

// Ends supervisor and services, those of a killed supervisor too; what does not end in its time is
// killed. *stopped: processes that were there. Progress goes to the log.
err_code_t stack_down(const conf_t *conf, int *stopped, err_t *err);

// {"home", "supervisor", "services": […], "redis", "gateway"}: new reference. *ready: all is. A
// Redis that is not of this home's own is as ready as the dispatcher says.
json_t *stack_status(const conf_t *conf, bool *ready);

// Path of a program that belongs beside this one; malloc'ed; NULL with ERR_NOT_FOUND: it is not
// there.
char *stack_program(const char *name, err_t *err);

// A supervisor, or a service of a killed one, runs.
bool stack_is_up(const char *home);

#endif
