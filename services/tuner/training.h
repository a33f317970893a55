// The training job of a trial: queued under a key of its own, so that whoever goes on with the
// study finds it, and followed by its events.
#ifndef INKLING_TUNER_TRAINING_H
#define INKLING_TUNER_TRAINING_H

#include "tuner/plan.h"

typedef enum {
    TRAINING_RUNS,
    TRAINING_SUCCEEDED,
    TRAINING_FAILED,
    TRAINING_CANCELLED
} training_end_t;

typedef struct {
    uint64_t trial;
    char job[PROTO_NAME_MAX + 1];
    uint64_t seen;    // number of the last event that was read
    uint64_t epoch;   // ended, in this order
    double best_loss; // least val_loss so far
    double value;     // the objective at the epoch of the least val_loss
    bool fresh;       // an epoch has ended since the last look
    bool cancelled;   // by this process
    training_end_t end;
    uint64_t version; // of the trial's own model, once it has succeeded
    char reason[STUDY_TEXT_SIZE];
} training_t;

err_code_t training_submit(child_t *child, const char *study, uint64_t trial, const json_t *body,
                           training_t *training, err_t *err);
// Reads what has happened, at most to the end of one epoch (`fresh`), so that every epoch is looked
// at once.
err_code_t training_look(child_t *child, const plan_t *plan, training_t *training, err_t *err);
err_code_t training_cancel(child_t *child, const training_t *training, const char *reason,
                           err_t *err);

#endif
