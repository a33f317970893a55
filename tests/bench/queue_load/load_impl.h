// Parts of the load: load.c (phases, ledger), submit.c (clients), work.c (workers).
#ifndef INKLING_TESTS_QUEUE_LOAD_IMPL_H
#define INKLING_TESTS_QUEUE_LOAD_IMPL_H

#include "load.h"

#include "bus/bus.h"

#define RESEND_US 2000000 // what has no answer for so long is sent again
#define AGAIN_US  100000  // after an error that may pass
#define SWEEP_MS  100

typedef struct {
    load_t *load;
    bus_socket_t *dealer;
} submitter_t;

typedef struct {
    size_t number; // of the job
    uint64_t token;
    char *id;
    int64_t due_us; // when its finish is sent again
    uint64_t step;
} hold_t;

typedef struct {
    load_t *load;
    bus_socket_t *dealer;
    char name[32];
    bool welcome;
    int64_t heard_ms, hello_ms;
    hold_t *holds;
    size_t hold_count;
} worker_t;

struct load {
    bus_loop_t *loop;
    char run[24]; // random, so that the keys of two runs differ
    submitter_t *clients;
    worker_t *workers;
    size_t client_count, worker_count, slots, room;
    int sweep, pace, beat; // timers
    proto_arena_t *arena;

    load_job_t *jobs;
    size_t job_count;
    load_counts_t counts;

    const load_phase_t *phase;
    load_span_t *span;
    size_t unanswered, unfinished; // of the phase
    size_t welcome_wanted;
    err_t *failed; // set: the phase ends with it
    err_t failure;
};

// load.c
void load_fail(load_t *load, const err_t *err);
// A worker was given the job; false: not ours.
bool load_begun(load_t *load, size_t number, uint64_t token);
void load_ended(load_t *load, size_t number);
// A job came further: the phase goes on, or is over.
void load_moved(load_t *load);

// submit.c
err_code_t submit_open(load_t *load, const char *endpoint, err_t *err);
void submit_close(load_t *load);
void submit_pump(void *load); // submits what the phase allows now
void submit_sweep(load_t *load, int64_t now_us);

// work.c
err_code_t work_open(load_t *load, const char *endpoint, err_t *err);
void work_close(load_t *load);
void work_beat(void *load); // heartbeats
void work_sweep(load_t *load, int64_t now_us);
size_t work_welcome(const load_t *load); // workers that are

#endif
