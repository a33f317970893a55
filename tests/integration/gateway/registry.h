// The dispatcher as the gateway sees it, on a thread of this process: model.list with its long poll
// and model.show, from a table that the test changes.
#ifndef INKLING_TESTS_GATEWAY_REGISTRY_H
#define INKLING_TESTS_GATEWAY_REGISTRY_H

#include "bus/bus.h"

#include <pthread.h>

#define REGISTRY_MAX 32

typedef struct {
    char name[64], path[200], digest[65];
    uint64_t version, promoted_at;
    bool promoted;
    double canary; // percent
} row_t;

typedef struct {
    bus_peer_t peer;
    uint64_t id;
    proto_model_list_t list;
    int64_t until_ms;
} poll_t;

typedef struct {
    pthread_mutex_t lock; // of all below
    row_t rows[REGISTRY_MAX];
    size_t count;
    uint64_t revision;
    bool silent; // reads and answers nothing
    int lists, shows;
    bool stop;
    // of its thread
    pthread_t thread;
    bus_loop_t *loop;
    bus_socket_t *router;
    proto_arena_t *arena;
    poll_t polls[64];
    size_t poll_count;
    bool running;
} registry_t;

void registry_init(registry_t *registry);
void registry_start(registry_t *registry, const char *endpoint);
void registry_stop(registry_t *registry); // the table stays; may be started again
void registry_silence(registry_t *registry, bool silent);

void registry_add(registry_t *registry, const char *name, uint64_t version, const char *path,
                  const char *digest);
void registry_promote(registry_t *registry, const char *name, uint64_t version); // ends a canary
// Makes it the canary; percent 0: no more.
void registry_canary(registry_t *registry, const char *name, uint64_t version, double percent);
int registry_shows(registry_t *registry); // model.show messages so far

#endif
