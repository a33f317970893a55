// Labels for images: every file of a folder, or a data set's. The answer is a table
// file,label,probability,error in <files>/jobs/<id>/<token>/predictions.csv.
#ifndef INKLING_TRAINER_PREDICT_IMPL_H
#define INKLING_TRAINER_PREDICT_IMPL_H

#include "inference.h"
#include "lookup.h"

#include "base/fs.h"

typedef struct {
    child_t *child;
    const child_job_t *job;
    proto_predict_t body;
    lookup_model_t model;
    nn_t *nn;
    fs_new_t *file; // the table
    int64_t images, failed;
    pace_t pace;
} predict_t;

// A row of the table. probabilities NULL: error says why there are none.
void predict_put_row(predict_t *predict, const char *name, const float *probabilities,
                     const char *error);

// A row for each file below body.dir, in byte order of paths (listing/listing.h; what is there
// again is left out). The same rows come from an upload of that folder, body.upload: there nothing
// at body.dir is touched, and bytes that are missing or damaged end the job (ERR_NOT_FOUND,
// ERR_CORRUPT). ERR_INVALID: there is no file.
err_code_t predict_folder(predict_t *predict, err_t *err);

#endif
