// A train job in progress, and its parts: resume.c finds where it begins, ranks.c what concerns the
// other ranks of a mirrored one, epoch.c does the steps, finish.c makes the model.
#ifndef INKLING_TRAINER_TRAIN_IMPL_H
#define INKLING_TRAINER_TRAIN_IMPL_H

#include "inference.h"
#include "lookup.h"
#include "trainer/mirror.h"
#include "trainer/writer.h"
#include "training/options.h"

#define TRAIN_ESTIMATE_IMAGES 256 // batch-norm's statistics are re-estimated over

typedef struct {
    child_t *child;
    const child_job_t *job;
    proto_train_t body;
    options_t options;
    const char *model_name;
    mirror_t *mirror;
    json_t *report; // of the replicas, or NULL

    lookup_dataset_t dataset;
    uint64_t steps; // of an epoch
    nn_spec_t spec;
    uint32_t images; // of the training split
    int tensor_count;
    nn_tensor_t *tensors;
    nn_t *nn;

    checkpoint_t at;         // state and best; the other tensors are the engine's
    weights_t *last;         // of the epoch evaluated last in this attempt, or NULL
    proto_checkpoint_t used; // what this attempt goes on from; path NULL: nothing

    uint32_t *order; // of the current epoch
    uint8_t *pixels; // of a batch, as far as it is this rank's
    int32_t *labels;
    float *weights; // of its samples
    float *class_weights;
    uint8_t *estimate; // pixels of the images of nn_bn_estimate
    uint32_t estimate_count;
    int order_epoch; // whose order it is; −1: none

    writer_options_t writer_options;
    writer_t *writer; // NULL behind rank 0
    int64_t put_ms;   // when the last one was handed to the writer
    uint64_t put_step;
    int put_epochs;
    bool due;       // a checkpoint, as soon as the writer is idle
    bool warmed_up; // the first step of this attempt is done
    char job_digest[DIGEST_HEX_SIZE];
    pace_t pace;
} train_t;

// Reads the newest good checkpoint's state into at.state, and *used; a fresh state if there is
// none.
err_code_t resume_find(train_t *train, err_t *err);
// Sets the engine's state: that of the checkpoint, of the model to begin with, or a new one.
err_code_t resume_engine(train_t *train, err_t *err);
// Removes what earlier attempts left and nobody needs: folders below jobs/<id> and models/<name>.
void resume_clean(const train_t *train);

static inline bool train_leads(const train_t *train) {
    return train->job->rank == 0;
}

void ranks_open(train_t *train);
// What rank 0 has found to begin with: the data set's version, what was settled. *done: the job has
// its result already.
err_code_t ranks_follow(train_t *train, bool *done, err_t *err);
// How engines are made; of options threads and choices, with room for these.
err_code_t ranks_agree(train_t *train, nn_options_t *options, char choices[NN_CHOICES_SIZE],
                       err_t *err);
// Joins the others. All have rank 0's state afterwards.
err_code_t ranks_join(train_t *train, err_t *err);
// Progress. ERR_CANCELLED, on all ranks at once, if the job shall stop.
err_code_t ranks_tick(train_t *train, err_t *err);
// The score of the validation images, each rank its part; *score has it on all of them.
err_code_t ranks_validate(train_t *train, score_t *score, err_t *err);
// All weights are equal; makes train->report.
err_code_t ranks_compare(train_t *train, err_t *err);
// After an error: tells the others, or, if it was them, waits for what the dispatcher makes of it.
err_code_t ranks_fail(train_t *train, err_code_t code, err_t *err);

// All epochs that are left. ERR_CANCELLED: asked to stop; a checkpoint is recorded if it was a
// release.
err_code_t epoch_run_all(train_t *train, err_t *err);
// A checkpoint that is still due goes to the writer, once that is idle.
void epoch_flush(train_t *train);
// The engine's weights with the statistics they are evaluated with.
err_code_t epoch_capture(train_t *train, weights_t **weights, err_t *err);

// Writes the model, evaluates it, tells.
err_code_t finish_model(train_t *train, child_result_t *result, err_t *err);
// If the checkpoint says that the model is made already, and it is whole: true.
bool finish_is_done(train_t *train, child_result_t *result);

#endif
