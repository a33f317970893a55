// A tune job: asks the study for trials, has them trained, tells it what came of them, and makes
// the best one's model a version of the job's. Everything it decides is in the study's log before
// it acts on it, and trainings have keys: whatever is killed when, the next attempt goes on with
// the same trials.
#ifndef INKLING_TUNER_SEARCH_H
#define INKLING_TUNER_SEARCH_H

#include "child/child.h"

err_code_t search_run(child_t *child, const child_job_t *job, child_result_t *result, err_t *err);

#endif
