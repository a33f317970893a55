// A study and its log with the dispatcher: opened and replayed, and what is decided stored before
// anything comes of it.
#ifndef INKLING_TUNER_JOURNAL_H
#define INKLING_TUNER_JOURNAL_H

#include "child/child.h"
#include "study/study.h"

// Makes the study, or takes it up where an earlier attempt was; one that is to begin with another
// study does. ERR_CONFLICT: one of that name is there with another about; ERR_STALE: another
// attempt has made it meanwhile.
err_code_t journal_open(child_t *child, const char *name, const json_t *about, study_t **study,
                        err_t *err);
// ERR_STALE: somebody else has written to it, a person who changes it or another attempt.
err_code_t journal_check(child_t *child, const char *name, const study_t *study, err_t *err);
// Stores what is unsaved. ERR_STALE: as above, and nothing is stored.
err_code_t journal_save(child_t *child, const char *name, study_t *study, err_t *err);

#endif
