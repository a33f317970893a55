// A trained model on disk: one folder per version, written once, read by gateway, evaluation and
// fine-tuning alike.
//
//   model.json          what it is: schema, network (nn's text form), recipe (prep's text form and
//                       its SHA-256), classes, and what made it; size and SHA-256 of the other
//                       files. Written last; a folder without it is no model.
//   model.safetensors   the weights to use (lowest validation loss), float32, canonical form, names
//                       of nn_tensor_t; running_mean and running_var are those to evaluate with
//   last.safetensors    the weights after the last epoch, likewise; may be missing
//   curves.json         the history of its training, for people and plots; may be missing
//
// A model's digest is the SHA-256 of its model.json, and so of everything.
#ifndef INKLING_MODEL_MODEL_H
#define INKLING_MODEL_MODEL_H

#include "base/err.h"
#include "digest/digest.h"
#include "nn/nn.h"
#include "prep/prep.h"

#include <jansson.h>

#define MODEL_SCHEMA  1
#define MODEL_FILE    "model.json"
#define MODEL_WEIGHTS "model.safetensors"
#define MODEL_LAST    "last.safetensors"
#define MODEL_CURVES  "curves.json"

#define MODEL_NAME_MAX 64 // bytes

// Strings and arrays belong to the holder of the struct (model_info_release).
typedef struct {
    char *name; // of the model; its version is given by the registry
    nn_spec_t spec;
    prep_recipe_t recipe; // with the mean that training subtracted
    char recipe_hash[DIGEST_HEX_SIZE];
    int class_count; // spec.classes
    char **classes;  // label i is classes[i]; UTF-8, all different
    char weights_sha256[DIGEST_HEX_SIZE], last_sha256[DIGEST_HEX_SIZE]; // last: "" if there is none
    json_t *about;  // object: job, data set, parameters, choices, statistics …; may be NULL
    json_t *curves; // any JSON, or NULL: no curves.json. model_open does not read it back
} model_info_t;

void model_info_release(model_info_t *info);

// Writes a model into an existing, empty folder. info: all but the hashes, which are filled in; its
// recipe must give the pixels that its network takes. best and last: one array per tensor of the
// spec, in its order, canonical form; last may be NULL (no last.safetensors). Numbers must be
// finite, and variances not negative (ERR_INVALID). digest: of model.json.
err_code_t model_write(const char *folder, model_info_t *info, const float *const *best,
                       const float *const *last, char digest[DIGEST_HEX_SIZE], err_t *err);

// Replaces what an existing model.json says about itself (info.about), before its digest is
// registered: for what is known only once the model can be opened, its test. digest: the new one.
err_code_t model_describe(const char *folder, json_t *about, char digest[DIGEST_HEX_SIZE],
                          err_t *err);

typedef struct model model_t;

// Maps the weights and checks every size and SHA-256. digest: the one that was registered, or NULL.
// ERR_NOT_FOUND: no such folder, or no model.json in it; ERR_CORRUPT names the damaged file and
// what is wrong (the recipe's hash, a tensor that is missing or has another shape, numbers that are
// not finite); ERR_UNSUPPORTED: written by a newer Inkling. Read-only afterwards: any number of
// threads may use it.
err_code_t model_open(const char *folder, const char *digest, model_t **model, err_t *err);
void model_close(model_t **model); // allows *model == NULL

const model_info_t *model_info(const model_t *model);
const char *model_digest(const model_t *model);
// Tensor index of the spec; lives as long as the model.
const float *model_tensor(const model_t *model, int index);

// An engine with the model's network, mean and weights. options: spec's mean is taken from the
// model, all else as given; for training = true the moments are zero. The handle does not need the
// model afterwards.
err_code_t model_engine(const model_t *model, const nn_options_t *options, nn_t **nn, err_t *err);

// The safetensors files themselves, for tests and checkpoints.
// names/shapes of tensors[i], data[i] has tensors[i].count floats. sha256: of the file.
err_code_t model_weights_write(const char *path, const nn_tensor_t *tensors, int count,
                               const float *const *data, char sha256[DIGEST_HEX_SIZE], err_t *err);

#endif
