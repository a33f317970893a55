// The ranks of a gang as processes of the test program itself, meeting in shared memory: for tests
// that need no dispatcher. They are forked, so the test must not have started threads before; each
// ignores SIGPIPE, as programs of Inkling do, and gets SIGKILL when the test ends.
#ifndef INKLING_TESTS_SUPPORT_RANKS_H
#define INKLING_TESTS_SUPPORT_RANKS_H

#include "coll/coll.h"

#include <stdint.h>
#include <sys/types.h>

#define RANKS_MAX 8

typedef struct ranks ranks_t;

// In the process of a rank.
typedef struct {
    ranks_t *ranks;
    int rank, world;
    int rounds; // met so far
} ranks_me_t;

// Its result is the process's exit status: 0 … 99.
typedef int (*ranks_fn)(ranks_me_t *me, void *arg);

// arg must be in shared memory (ranks_shared) where ranks write to it.
ranks_t *ranks_start(int world, ranks_fn run, void *arg);
pid_t ranks_pid(const ranks_t *ranks, int rank);
void ranks_signal(const ranks_t *ranks, int rank, int number);
// What run returned; 100: it was killed by a signal; −1: it runs on after timeout_ms.
int ranks_await(ranks_t *ranks, int rank, int64_t timeout_ms);
// Ends the gang: whoever meets, or would, gets ERR_CANCELLED.
void ranks_end_meeting(ranks_t *ranks);
void ranks_stop(ranks_t **ranks); // SIGKILL for those that are left

// A coll_meet_fn; arg is the ranks_me_t.
err_code_t ranks_meet(void *arg, const char *round, const void *data, size_t size, coll_blob_t *all,
                      err_t *err);
// Collectives with the others over loopback, of the default kind. deadline_ms: 0 for the default.
err_code_t ranks_coll(ranks_me_t *me, int64_t deadline_ms, coll_t **coll, err_t *err);

// Zeroed memory that this process and the ranks forked after share.
void *ranks_shared(size_t size);
void ranks_unshare(void *memory, size_t size);

#endif
