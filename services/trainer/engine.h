// The kinds of jobs that inkling-trainer-engine does; each as child_run_fn wants it.
#ifndef INKLING_TRAINER_ENGINE_H
#define INKLING_TRAINER_ENGINE_H

#include "child/child.h"

err_code_t train_run(child_t *child, const child_job_t *job, child_result_t *result, err_t *err);
err_code_t evaluate_run(child_t *child, const child_job_t *job, child_result_t *result, err_t *err);
err_code_t predict_run(child_t *child, const child_job_t *job, child_result_t *result, err_t *err);

#endif
