// Between the search and its end.
#ifndef INKLING_TUNER_SEARCH_IMPL_H
#define INKLING_TUNER_SEARCH_IMPL_H

#include "tuner/journal.h"
#include "tuner/search.h"
#include "tuner/training.h"

#define NAME_SIZE (PROTO_NAME_MAX + 16)

typedef struct {
    child_t *child;
    const child_job_t *job;
    plan_t plan;
    char name[NAME_SIZE]; // of the study
    study_t *study;
    training_t *trainings; // those that run
    size_t running, room;
    uint64_t counter;      // looks so far: progress, for trainings may take long
    int64_t begun_ms;      // wall clock of the first attempt
    bool announced;        // the log says that this attempt writes it
    bool outdated;         // the log has what this attempt does not know
    uint64_t checkpointed; // trials that had ended at the last checkpoint
} search_t;

// Registers the best trial's model. ERR_NOT_FOUND: no trial has ended well.
err_code_t winner_register(search_t *search, child_result_t *result, err_t *err);
json_t *winner_result(search_t *search);

#endif
