// Requests that wait for something to happen: events of a job, a new revision of the registry.
#ifndef INKLING_DISPATCHER_FOLLOWERS_IMPL_H
#define INKLING_DISPATCHER_FOLLOWERS_IMPL_H

#include "base/map.h"
#include "dispatcher_impl.h"

#define FOLLOWERS_MAX 10000

typedef struct follower follower_t;
struct follower {
    request_t from;
    char job[PROTO_NAME_MAX + 1]; // or "": follows the models
    char name[PROTO_NAME_MAX + 1];
    bool promoted;
    uint64_t after, limit;
    int64_t until_ms; // answered then in any case
    follower_t *next;
};

struct followers {
    map_t *jobs;        // first follower of each job
    follower_t *models; //
    uint64_t revision;  // of the registry, as far as heard
    size_t count;       // that wait
};

// Asks Redis; answers, or lets it wait. Takes the follower.
void events_read(dispatcher_t *d, follower_t *follower);
void models_read(dispatcher_t *d, follower_t *follower);
// Lets it wait. Takes the follower.
void follower_wait(dispatcher_t *d, follower_t *follower);

#endif
