// Clients that ask without a pause, and whether each answer is one of a version that answers so.
#ifndef INKLING_TESTS_GATEWAY_LOAD_H
#define INKLING_TESTS_GATEWAY_LOAD_H

#include "scene.h"

#include <pthread.h>

#define LOAD_CLIENTS_MAX  8
#define LOAD_VERSIONS_MAX 4
#define LOAD_PHASES       2

typedef struct {
    // Filled in by the test.
    const scene_t *scene;
    const char *model;
    const proto_bytes_t *images; // of each request
    int count;
    int versions;     // 1 … that many may answer
    int64_t pause_us; // of each client, before it asks again
    // Phases of which latencies are kept apart.
    _Atomic int phase; // 0 … LOAD_PHASES − 1
    // What came of it.
    _Atomic int answers, failures, mixtures, wrong;
    _Atomic int by[LOAD_VERSIONS_MAX + 1]; // answers of each version
    // its own
    expected_t *expected; // [version − 1][image]
    _Atomic bool stop;
    pthread_t threads[LOAD_CLIENTS_MAX];
    int thread_count;
    pthread_mutex_t lock; // of the latencies
    struct {
        uint32_t *us; // of all answers to what was asked in the phase
        size_t count, room;
    } latencies[LOAD_PHASES];
} load_t;

// Works out what every version must answer, and begins.
void load_start(load_t *load, int clients);
// µs: of the answers to what was asked in that phase; 0: there is none.
uint32_t load_percentile(load_t *load, int phase, double percent);
// Ends the clients. Fails the test if a request failed, or was answered by two versions, by one
// that may not, or otherwise than the version says.
void load_stop(load_t *load);
void load_release(load_t *load);

#endif
