// A real inkling-trainer, its engine, and a dispatcher in the test that knows one data set and the
// models that were made, keeps the newest checkpoint of the job, and answers everything.
#ifndef INKLING_TESTS_TRAINER_STAGE_H
#define INKLING_TESTS_TRAINER_STAGE_H

#include "digest/digest.h"
#include "fake.h"

#include <jansson.h>

#define STAGE_DATASETS 3
#define STAGE_MODELS   8

typedef struct {
    fake_t fake;
    proto_dataset_info_t datasets[STAGE_DATASETS];
    int dataset_count;
    proto_model_info_t models[STAGE_MODELS];
    int model_count;

    // the job
    const char *job, *kind, *body;
    uint64_t token, attempt;
    int renews;                                     // of the worker when the attempt was sent to it
    proto_checkpoint_t checkpoint;                  // newest; path NULL: none
    bool deaf_to_checkpoints;                       // answers none
    err_code_t refuse_checkpoints;                  // with this, once
    int checkpoints, metrics, progresses, warnings; // of all attempts
    char warning[2048];                             // the newest
    const got_t *unanswered;                        // a checkpoint
    const proto_job_finish_t *finish;               // of the newest attempt, or NULL: it runs
} stage_t;

// size × size images; the data set "toy" with 60 + 12 + 12 images of two classes.
void stage_open(stage_t *stage, int size);
void stage_close(stage_t *stage);
// Another data set; per_split images of each split.
void stage_dataset(stage_t *stage, const char *name, const char *const *classes, int class_count,
                   int size, int per_split);
// Registers a model; versions of all names are counted together.
void stage_model(stage_t *stage, const char *name, const char *path, const char *digest);
void stage_worker(stage_t *stage, const char *const *extra);

// A new job: its first attempt. body is JSON.
void stage_submit(stage_t *stage, const char *job, const char *kind, const char *body);
// The next attempt, from the newest checkpoint, under the next token.
void stage_again(stage_t *stage);
// Answers for so long, or until the attempt ends.
void stage_pump(stage_t *stage, int64_t ms);
// Until the attempt ends, within two minutes.
const proto_job_finish_t *stage_finish(stage_t *stage);
// Until *counter of the stage is at least wanted.
void stage_await(stage_t *stage, const int *counter, int wanted);
// The end must be a success; its result (a new reference), its model registered.
json_t *stage_succeed(stage_t *stage);
// The end must be a failure with this code, its message or remedy holding words.
void stage_fails(stage_t *stage, err_code_t code, const char *words);

pid_t stage_engine(stage_t *stage);                     // process of the engine
char *stage_path(stage_t *stage, const char *relative); // below files; malloc'ed

#endif
