// Data sets and models by their names: asked of the dispatcher, opened from the stack's files,
// checked against the digest that was registered.
#ifndef INKLING_TRAINER_LOOKUP_H
#define INKLING_TRAINER_LOOKUP_H

#include "child/child.h"
#include "model/model.h"
#include "shard/shard.h"

typedef struct {
    uint64_t version;
    shard_dataset_t *shards;
    prep_recipe_t recipe;
} lookup_dataset_t;

// version 0: the newest.
err_code_t lookup_dataset(child_t *child, const child_job_t *job, const char *name,
                          uint64_t version, lookup_dataset_t *dataset, err_t *err);
void lookup_dataset_release(lookup_dataset_t *dataset);

typedef struct {
    char name[PROTO_NAME_MAX + 1];
    uint64_t version;
    model_t *model;
} lookup_model_t;

// reference: "NAME" (the promoted version, else the newest) or "NAME@VERSION"; fixed: the version
// to take instead, or 0.
err_code_t lookup_model(child_t *child, const child_job_t *job, const char *reference,
                        uint64_t fixed, lookup_model_t *model, err_t *err);
void lookup_model_release(lookup_model_t *model);

#endif
