// What a tune job asks for, checked: the study it is.
#ifndef INKLING_TUNER_PLAN_H
#define INKLING_TUNER_PLAN_H

#include "child/child.h"
#include "study/study.h"

typedef struct {
    proto_tune_t body;
    bool accuracy; // the objective is val_accuracy, and is maximised
    uint64_t epochs;
    json_t *train; // parameters of every training
    json_t *about; // of the study
} plan_t;

// ERR_INVALID, ERR_USAGE: a parameter that a training does not have, or not within that range; a
// space that is none. plan_release() also after a failure.
err_code_t plan_read(child_t *child, const child_job_t *job, plan_t *plan, err_t *err);
void plan_release(plan_t *plan);

#endif
