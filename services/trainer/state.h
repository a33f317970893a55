// Where a training stands between two steps: everything but the tensors. With them it is the whole
// of it: a run continued from here gives what it would have given undisturbed.
#ifndef INKLING_TRAINER_STATE_H
#define INKLING_TRAINER_STATE_H

#include "base/err.h"
#include "digest/digest.h"
#include "nn/nn.h"
#include "proto/messages.h"

#include <jansson.h>

typedef struct {
    double loss, accuracy; // over the epoch's training batches
    double val_loss, val_accuracy;
    double lr;      // of its last step
    double seconds; // its steps and its validation
} state_epoch_t;

typedef struct {
    // what was settled at the first attempt
    char job_digest[DIGEST_HEX_SIZE]; // of the job's body
    uint64_t dataset_version, init_version;
    char choices[NN_CHOICES_SIZE]; // of the engine; "" before it is made
    int replicas;                  // ranks that the choices were made by; 0 before
    bool exact;                    // false once an attempt could not honour them

    // where it is
    bool begun;        // tensors exist
    uint64_t step;     // optimiser steps done
    uint64_t position; // training images of the current epoch already seen
    double loss_sum;   // of these
    uint64_t correct;
    double lr, seconds; // last step's; of the current epoch so far
    uint64_t timed_images;
    double timed_seconds; // what images_per_second is counted from

    // epochs done
    int epochs, best; // number of them; the one of lowest validation loss (from 0, −1: none)
    state_epoch_t *history; // epochs entries, of a capacity of its own
    json_t *done;           // the end: see finish.c; NULL before it
} state_t;

void state_init(state_t *state);
void state_release(state_t *state);
// copy need not be initialised.
void state_copy(const state_t *state, state_t *copy);

// Ends the current epoch: its history entry is made of the sums and of the validation, position
// goes back to 0. True if it is the best so far: lowest validation loss, of equal ones the latest.
bool state_end_epoch(state_t *state, uint64_t images, double val_loss, double val_accuracy);
// The validation loss has not improved for patience epochs (0: never).
bool state_is_stuck(const state_t *state, int patience);

// Numbers survive the round trip bit for bit.
json_t *state_json(const state_t *state);
// ERR_CORRUPT if it is no state. *state is empty on failure.
err_code_t state_parse(const json_t *json, state_t *state, err_t *err);

// [{"epoch","loss","accuracy","val_loss","val_accuracy"}, …]; full adds "lr" and "seconds". Of more
// than most epochs: evenly chosen ones, the first, the best and the last among them.
json_t *state_history(const state_t *state, int most, bool full);

#endif
