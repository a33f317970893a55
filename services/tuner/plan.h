// What a tune job asks for, checked: the study it is, and the body of each training.
#ifndef INKLING_TUNER_PLAN_H
#define INKLING_TUNER_PLAN_H

#include "child/child.h"
#include "study/study.h"

#define PLAN_TRIALS ".trials" // behind the model's name: what the trials' own models are called

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

// The body of a training with these values; new reference.
json_t *plan_training(const plan_t *plan, const json_t *params);
// Is it a body that a training takes?
err_code_t plan_check_training(const json_t *body, err_t *err);

#endif
