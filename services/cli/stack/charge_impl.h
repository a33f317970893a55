// One process in the supervisor's charge: started or taken over, watched, started again.
#ifndef INKLING_CLI_STACK_CHARGE_IMPL_H
#define INKLING_CLI_STACK_CHARGE_IMPL_H

#include "probe_impl.h"
#include "table_impl.h"

typedef struct charge charge_t;

struct charge {
    const stack_up_t *up;
    bus_loop_t *loop;
    const stack_row_t *row;
    int index;
    pid_t pid;       // 0: it does not run
    int watch;       // pidfd
    bool child;      // of this process; otherwise taken over from a killed supervisor
    bool ready;      // it said so
    bool once_ready; // since the supervisor began
    probe_t *probe;  // NULL for Redis
    char detail[512];
    int64_t started_ms, asked_ms, due_ms; // due: when it is to be started
    int64_t backoff_ms;
    uint64_t restarts;
    long long log_from; // size of its log when it was started
    int deaths;         // before it was ready for the first time
    int exit_code;      // of its last end: 0 … 255, or -1 (a signal, or unknown)
    err_t failure;      // why it could not be started; code ERR_OK: it could
    void (*died)(void *arg, charge_t *charge);
    void *arg;
};

void charge_init(charge_t *charge, const stack_up_t *up, bus_loop_t *loop, int index,
                 void (*died)(void *arg, charge_t *charge), void *arg);
void charge_release(charge_t *charge); // the process lives on
// Starts it when it is due, asks whether it is ready when it runs.
void charge_tick(charge_t *charge);

#endif
