// What the test itself saw of each job while things were killed, and whether the dispatcher's
// account agrees with it.
#ifndef INKLING_TESTS_DISPATCHER_LEDGER_H
#define INKLING_TESTS_DISPATCHER_LEDGER_H

#include "scene.h"

#define LEDGER_MAX      4000 // jobs
#define LEDGER_ATTEMPTS 64   // of one job
#define LEDGER_REPLICAS 4    // of one gang

typedef struct {
    size_t number;
    char key[32];
    char *id;                 // of the first acknowledgement; NULL before
    uint64_t newest;          // token that a worker was given
    uint64_t ended;           // token whose end was acknowledged as the job's end; 0: none
    char state[16];           // the job's then
    uint64_t replicas, least; // of a gang's job; 0, 0 otherwise
    bool cancel;              // a client wants it cancelled
    bool cancel_answered;
    struct {
        uint64_t token, acked; // reports stored, as far as acknowledged
        uint64_t world, met;   // of a gang: its size; answers to meetings, of all ranks
        bool died;             // a process, or more of a gang's, while it had it
        char members[LEDGER_REPLICAS][16];
    } attempts[LEDGER_ATTEMPTS];
    size_t attempt_count;
    // Of a follower:
    uint64_t followed, hash; // number of the last event, hash of all up to it
} record_t;

typedef struct {
    record_t records[LEDGER_MAX];
    size_t count, acked, ended;
    size_t before;   // jobs that ended before the first record
    char wrong[512]; // the first violation, "" as long as there is none
    uint64_t random;
} ledger_t;

void ledger_open(ledger_t *ledger, uint64_t seed);
void ledger_close(ledger_t *ledger);
uint64_t ledger_random(ledger_t *ledger, uint64_t below); // the run's only source of choices
void ledger_wrong(ledger_t *ledger, const char *format, ...) __attribute__((format(printf, 2, 3)));

record_t *ledger_add(ledger_t *ledger);
// Events in a follower's order.
void ledger_follow(ledger_t *ledger, record_t *record, const proto_events_t *events);
void ledger_submitted(ledger_t *ledger, record_t *record, const char *id);
// A worker is told to do a job, or its part of a gang's.
void ledger_given(ledger_t *ledger, record_t *record, const proto_worker_assign_t *assign,
                  const char *worker);
void ledger_died(record_t *record, uint64_t token);
// A rank has got the answer to a meeting; have all, of so many meetings?
void ledger_met(record_t *record, uint64_t token);
bool ledger_all_met(const record_t *record, uint64_t token, uint64_t meetings);
void ledger_reported(ledger_t *ledger, record_t *record, uint64_t token, uint64_t last);
void ledger_ended(ledger_t *ledger, record_t *record, uint64_t token, const char *state);

// Asks the dispatcher about every job; fails the test where it disagrees.
void ledger_verify(ledger_t *ledger);

#endif
