// What the commands about studies share.
#ifndef INKLING_CLI_STUDY_VIEW_IMPL_H
#define INKLING_CLI_STUDY_VIEW_IMPL_H

#include "cli_impl.h"

// As cli_ask, of the service that decides.
err_code_t view_ask(cli_t *cli, proto_type_t type, const void *message, proto_type_t reply_type,
                    void *reply, err_t *err);
// The whole study as study.view has it, with all trials: a new reference. everything: with curves
// and slices too.
err_code_t view_fetch(cli_t *cli, const char *study, bool everything, json_t **document,
                      err_t *err);

// Members of such a document: "" and 0 where there is none.
const char *view_text(const json_t *object, const char *key);
json_int_t view_whole(const json_t *object, const char *key);
// How many trials there are of each state: a new reference, {"done": 12, …}.
json_t *view_counts(const json_t *study);
// The bound on what is left to gain, by the newest trial that has one, *trial (may be NULL): its
// number. NaN: no trial was proposed by a model yet.
double view_left(const json_t *study, json_int_t *trial);
// "log:1e-5..1e-2" of the parameter lr, or NULL; the study's own.
const char *view_definition(const json_t *study, const char *name);
// "lr" of "lr=log:1e-5..1e-2", of all its parameters: a new reference.
json_t *view_names(const json_t *study);

// The table of shares, on stdout.
void view_print_importance(const json_t *study);
// One trial, on stdout. ERR_NOT_FOUND: there is no such one.
err_code_t view_show_trial(cli_t *cli, const char *study, uint64_t number, err_t *err);

#endif
