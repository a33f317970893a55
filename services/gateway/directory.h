// What the dispatcher knows of models: the promoted versions, followed as they change, and any
// version on demand.
//
// Follows with a long poll of a few seconds, so that a dispatcher that was replaced is noticed in
// that time. An endpoint that does not answer is left for the next, NOT_LEADER for the leader; what
// was asked is asked again there, so questions are answered late rather than never.
#ifndef INKLING_GATEWAY_DIRECTORY_H
#define INKLING_GATEWAY_DIRECTORY_H

#include "bus/bus.h"

#define DIRECTORY_ASKED_MAX 64 // questions without an answer, besides following

typedef struct directory directory_t;

// Called on the loop's thread; the arguments are valid during the call.
typedef struct {
    // The promoted versions, whenever the registry has changed, and once at first.
    void (*promoted)(void *arg, const proto_models_t *models);
    // The answer to directory_refresh calls up to that ticket: promoted() has told the news. err:
    // NULL, or why the dispatcher cannot say.
    void (*refreshed)(void *arg, uint64_t ticket, const err_t *err);
    // The answer to directory_show: model or err.
    void (*shown)(void *arg, const char *name, uint64_t version, const proto_model_info_t *model,
                  const err_t *err);
} directory_ops_t;

// endpoints: separated by commas.
err_code_t directory_new(bus_loop_t *loop, const char *endpoints, const directory_ops_t *ops,
                         void *arg, directory_t **directory, err_t *err);
void directory_destroy(directory_t **directory);

// Asks for the promoted versions as they are now. The ticket's answer was given after this call.
uint64_t directory_refresh(directory_t *directory);
// Asks for one version; nothing happens if the same question is open. ERR_FULL: too many are.
err_code_t directory_show(directory_t *directory, const char *name, uint64_t version, err_t *err);

bool directory_heard(const directory_t *directory);  // the newest message was answered in time
bool directory_synced(const directory_t *directory); // has told the promoted versions once

#endif
