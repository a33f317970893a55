// The supervisor: starts what does not run, restarts what dies, ends all when told to.
#ifndef INKLING_CLI_STACK_SUPERVISE_IMPL_H
#define INKLING_CLI_STACK_SUPERVISE_IMPL_H

#include "stack/stack.h"

// Runs until SIGINT, SIGTERM or SIGHUP; all has ended when it returns. ready(arg) is called once
// all is ready. An error: they did not become so, and have been ended; tail: the culprit's last log
// lines.
err_code_t supervise(const stack_up_t *up, void (*ready)(void *arg), void *arg, buf_t *tail,
                     err_t *err);

#endif
