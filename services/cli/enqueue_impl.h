// Queues a job, and follows it unless --detach says otherwise.
#ifndef INKLING_CLI_ENQUEUE_IMPL_H
#define INKLING_CLI_ENQUEUE_IMPL_H

#include "follow_impl.h"

// body: parameters of the job, checked here against the kind's declaration if it has one.
err_code_t enqueue(cli_t *cli, const char *kind, const json_t *body, follow_finish_fn finish,
                   int *exit_code, err_t *err);

// --- kind_verbs.c
// Puts the data set that the text names into the body, if it exists.
err_code_t dataset_body(cli_t *cli, json_t *body, const char *text, err_t *err);
// The name that a new data set or model shall have, if the body has one under key.
err_code_t check_new_name(const json_t *body, const char *key, const char *what, err_t *err);

#endif
