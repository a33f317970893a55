// What can be seen of a stack from elsewhere: who of its services answers.
#ifndef INKLING_CLI_REMOTE_IMPL_H
#define INKLING_CLI_REMOTE_IMPL_H

#include "conf/conf.h"

#include <jansson.h>

enum { REMOTE_DISPATCHER, REMOTE_GATEWAY, REMOTE_BLOBS, REMOTE_STUDIES, REMOTE_COUNT };

typedef struct {
    const char *name;   // "dispatcher"
    char endpoint[256]; // cut, if it is longer
    bool answers, ready;
    err_t why; // it does not answer, or is not what it should be
    char version[33];
} remote_service_t;

typedef struct {
    remote_service_t services[REMOTE_COUNT];
    int64_t workers; // -1: unknown
} remote_t;

// The names that --stack takes, one a line.
void stacks_complete(const char *home, buf_t *out);

// Asks the services at conf's addresses, one by one, with the client's key of conf: the first
// `count` of them, the others are left as if they did not answer. Each question may take
// patience_ms.
void remote_ask(const conf_t *conf, int count, int64_t patience_ms, remote_t *remote);
// Something went wrong with this one, for people; "" if all is well.
const char *remote_detail(const remote_service_t *service);
bool remote_ready(const remote_t *remote);   // all are
json_t *remote_json(const remote_t *remote); // the services: [{"name", "ready", …}]

#endif
