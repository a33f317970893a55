// Following a job's events, without gap or duplicate, through restarts of the dispatcher.
#ifndef INKLING_CLI_FOLLOW_IMPL_H
#define INKLING_CLI_FOLLOW_IMPL_H

#include "cli_impl.h"

// fn(arg, event) for every event from the first on, until the job has ended and all are read; with
// once, until all that are there are read. state: of the job then. ERR_CANCELLED: Ctrl-C.
err_code_t follow_events(cli_t *cli, const char *job, bool once,
                         void (*fn)(void *arg, const proto_event_t *event), void *arg,
                         char state[17], err_t *err);

// Shows what the job does until it ends, then its result; sets the exit code. The job's verbs end
// with this. finish (may be NULL) is called with the job's document once it has succeeded, before
// that is printed.
typedef err_code_t (*follow_finish_fn)(cli_t *cli, json_t *document, err_t *err);
err_code_t follow_job(cli_t *cli, const char *job, follow_finish_fn finish, int *exit_code,
                      err_t *err);

bool follow_is_end(const char *state);

#endif
