// Between the parts of the module.
#ifndef INKLING_STUDY_IMPL_H
#define INKLING_STUDY_IMPL_H

#include "study/study.h"

struct study {
    json_t *about, *notes;
    tune_space_t space;
    tune_config_t config;
    tune_t *tune;
    tune_prune_t *prune; // NULL: none
    uint64_t limit;
    bool warm;       // it has begun with an earlier one
    double modelled; // trials that the log's newest model was fitted to, in this space; 0: none
    study_trial_t *trials; // trial n at n − 1
    size_t count, room, running, done;
    char stopped[STUDY_TEXT_SIZE]; // "": it is not
    uint64_t saved;
    json_t **unsaved;
    size_t unsaved_count, unsaved_room;
};

// --- entries.c
// Puts an entry into the list of what is unsaved; takes it.
void entry_put(study_t *study, json_t *entry);
// Where numbers that are no numbers can be: NaN and infinities are null in JSON.
json_t *entry_real(double value);
double entry_value(const json_t *value); // null: NaN

// --- study.c: what an entry does, whether it is replayed or new.
study_trial_t *study_find(study_t *study, uint64_t trial);
err_code_t apply_asked(study_t *study, uint64_t trial, const double *point, const tune_why_t *why,
                       const char *key, bool replay, err_t *err);
// logged: what was decided when the entry was written; NULL: it is decided now.
err_code_t apply_report(study_t *study, study_trial_t *trial, uint64_t step, double value,
                        const bool *logged, bool *stop, err_t *err);
err_code_t apply_tell(study_t *study, study_trial_t *trial, double value, err_t *err);
err_code_t apply_prune(study_t *study, study_trial_t *trial, double value, double variance,
                       err_t *err);
err_code_t apply_end(study_t *study, study_trial_t *trial, study_state_t state, const char *reason,
                     err_t *err);
void apply_note(study_t *study, study_trial_t *trial, const json_t *note); // trial NULL: the study
void apply_stop(study_t *study, const char *reason);                       // "": it goes on

// --- model.c
// The model's parameters, if the log does not have them yet; else NULL. New reference.
json_t *model_fresh(study_t *study);
err_code_t apply_model(study_t *study, const json_t *list, err_t *err);

// --- change.c
err_code_t space_read(const json_t *list, tune_space_t *space, err_t *err);
err_code_t apply_space(study_t *study, const json_t *list, err_t *err);

// --- earlier.c
err_code_t apply_earlier(study_t *study, const json_t *entry, err_t *err);

// --- guess.c: how far trials that have not gone to their end would have come.
// Is a trial that is to be stopped not that hopeless, or is nothing known yet of where trials go?
bool guess_may_win(const study_t *study, const study_trial_t *trial, uint64_t step, double value);
// ERR_CONFLICT: the trial has reported nothing.
err_code_t guess_value(study_t *study, const study_trial_t *trial, double *value, double *variance,
                       err_t *err);
double guess_doubt(double value); // the variance of a guess of which nothing else is known
void guess_again(study_t *study); // of all pruned trials, by what ended ones have shown since

// --- params.c
err_code_t why_read(const json_t *json, tune_why_t *why);

#endif
