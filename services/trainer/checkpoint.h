// A training at rest between two steps, in memory and as one file of tensors (model/tensors.h):
//
//   metadata "state"          state.h as JSON
//   tensors  "p.<name>"       parameters and moving statistics      absent before the first step
//            "m.<name>", "v.<name>"   Adam's moments of trained tensors   (state.begun false) and
//            "b.<name>"       the best epoch's weights, if there is one   at the end (state.done)
//
// So a file stands for itself: no other one is needed to go on from it.
#ifndef INKLING_TRAINER_CHECKPOINT_H
#define INKLING_TRAINER_CHECKPOINT_H

#include "trainer/state.h"
#include "trainer/weights.h"

typedef struct {
    state_t state;
    weights_t *params, *m, *v; // NULL unless state.begun and not state.done
    weights_t *best;           // with the statistics they were evaluated with; NULL: none yet
} checkpoint_t;

void checkpoint_release(checkpoint_t *checkpoint);

// Bytes of the file, roughly.
uint64_t checkpoint_bytes(const checkpoint_t *checkpoint, const nn_tensor_t *tensors, int count);

err_code_t checkpoint_write(const char *path, const checkpoint_t *checkpoint,
                            const nn_tensor_t *tensors, int count, char sha256[DIGEST_HEX_SIZE],
                            err_t *err);

// Only the state; ERR_NOT_FOUND, ERR_CORRUPT.
err_code_t checkpoint_read_state(const char *path, const char *sha256, state_t *state, err_t *err);
// All of it, for a network with these tensors. Numbers may still be refused by nn_set.
// ERR_NOT_FOUND, ERR_CORRUPT, ERR_NO_MEMORY; *checkpoint is empty on failure.
err_code_t checkpoint_read(const char *path, const char *sha256, const nn_tensor_t *tensors,
                           int count, checkpoint_t *checkpoint, err_t *err);

#endif
