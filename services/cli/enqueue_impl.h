// Queues a job, and follows it unless --detach says otherwise.
#ifndef INKLING_CLI_ENQUEUE_IMPL_H
#define INKLING_CLI_ENQUEUE_IMPL_H

#include "follow_impl.h"

// body: parameters of the job, checked here against the kind's declaration if it has one.
err_code_t enqueue(cli_t *cli, const char *kind, const json_t *body, follow_finish_fn finish,
                   int *exit_code, err_t *err);

#endif
