// The trials of a tune job are trainings: what is asked of one follows from its study's about,
// whose "train" has the parameters of every training, and from what the trial is to try.
#ifndef INKLING_TRIALS_TRIALS_H
#define INKLING_TRIALS_TRIALS_H

#include "study/study.h"

#define TRIALS_MODEL ".trials" // behind the model's name: what the trials' own models are called

// Is it a tune job's study? Others have no trainings.
bool trials_train(const json_t *about);
// The body of a training with these values; new reference.
json_t *trials_training(const json_t *about, const json_t *params);
// Is it a body that a training takes, by its declaration and by the words that it knows?
err_code_t trials_check_training(const json_t *body, err_t *err);
// ERR_INVALID: of what every training is to have, the search chooses one by itself.
err_code_t trials_check_train(const json_t *train, err_t *err);
// What every training has, the ends of every range, and every word are tried on what `train` says
// of its parameters, each by itself. ERR_INVALID names the one at fault.
err_code_t trials_check_space(const json_t *about, const tune_space_t *space, err_t *err);
// What a training has of a parameter that no trial gives: from about, or by default. New reference;
// NULL: nothing that has a name.
json_t *trials_had(const json_t *about, const char *name);

#endif
