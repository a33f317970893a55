// Collective operations of the replicas that train one model: each is a process, a rank 0 … world −
// 1, and all call the same operations in the same order with the same sizes.
//
//   local  one rank; nothing to do
//   gloo   processes over TCP, data in host memory; absent from builds without libgloo
//
// Results repeat: the same numbers on the same number of ranks give the same bits, and every rank
// gets the same bits.
//
// Who fails: a rank that has ended makes the others' operation fail in milliseconds (its connection
// is closed), one that is stopped or hangs when the deadline has passed. Every operation has one:
// COLL_FACTOR times the longest of the recent steps (coll_step), so that whoever is slow but
// healthy is left alone, within [deadline_ms, COLL_DEADLINE_MAX_MS]; before COLL_WARM_STEPS steps
// it is COLL_WARM_MS at least, as first steps build kernels. After a failure all connections are
// closed, so that it reaches every rank, and every further operation fails with the same code:
// ERR_UNAVAILABLE (a peer has gone), ERR_TIMEOUT (the deadline), ERR_CANCELLED (coll_abort).
//
// Threads: operations from one thread at a time; coll_abort from any, until coll_destroy.
//
// What travels is neither encrypted nor authenticated by gloo, which takes the first connection to
// each of its ports for the peer's. So it listens on `address` only (loopback unless told), on
// ports that the kernel picks and for as long as it waits for the others; across hosts that network
// must be one where everybody is trusted. The process must ignore SIGPIPE.
#ifndef INKLING_COLL_COLL_H
#define INKLING_COLL_COLL_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define COLL_WORLD_MAX       64
#define COLL_BLOB_MAX        16384
#define COLL_SMALL_MAX       262144 // bytes of one rank in coll_gather
#define COLL_DEADLINE_MS     4000
#define COLL_DEADLINE_MAX_MS 120000
#define COLL_WARM_MS         30000
#define COLL_WARM_STEPS      2
#define COLL_FACTOR          5

typedef struct coll coll_t;

typedef struct {
    const void *data;
    size_t size;
} coll_blob_t;

// The rendezvous: every rank gives a blob of at most COLL_BLOB_MAX bytes under the same name of the
// round; returns once all have, with all[world] by rank, whose memory stays for as long as coll_new
// runs. Fails when the gang ends.
typedef err_code_t (*coll_meet_fn)(void *arg, const char *round, const void *data, size_t size,
                                   coll_blob_t *all, err_t *err);

typedef struct {
    const char *kind; // "auto": local for one rank, else gloo; or a name from above
    int rank, world;
    coll_meet_fn meet; // not called with one rank
    void *meet_arg;
    const char *address; // numeric, of this host's interface that the others reach; NULL: loopback
    int64_t deadline_ms; // the shortest; 0: COLL_DEADLINE_MS
} coll_options_t;

// ERR_UNSUPPORTED: this build has no such kind, or the ranks are of different builds. Otherwise as
// the rendezvous and the operations fail.
err_code_t coll_new(const coll_options_t *options, coll_t **coll, err_t *err);
// Leaves in good order, unless an operation has failed: what the others still do without this rank
// goes on. A rank that leaves because of an error of its own calls coll_abort first. Allows *coll
// == NULL.
void coll_destroy(coll_t **coll);

const char *coll_kind(const coll_t *coll);
int coll_rank(const coll_t *coll);
int coll_world(const coll_t *coll);

// data becomes the sum over all ranks. Where data lies is the kind's business: in host memory for
// local and gloo.
err_code_t coll_sum(coll_t *coll, float *data, size_t count, err_t *err);
// Few numbers, added in the order of the ranks.
err_code_t coll_sum_doubles(coll_t *coll, double *data, size_t count, err_t *err);
// all: world × size bytes, by rank.
err_code_t coll_gather(coll_t *coll, const void *data, size_t size, void *all, err_t *err);
// data of rank root to all.
err_code_t coll_broadcast(coll_t *coll, void *data, size_t size, int root, err_t *err);
err_code_t coll_barrier(coll_t *coll, err_t *err);

// The code that further operations fail with, or ERR_OK.
err_code_t coll_failed(const coll_t *coll);

// A step of the training, or what else all ranks do between two operations, took this long here,
// waiting included: deadlines follow it.
void coll_step(coll_t *coll, int64_t step_ms);
int64_t coll_deadline_ms(const coll_t *coll); // of the next operation

// The operation in progress, if any, and all later ones fail with ERR_CANCELLED here, and with
// ERR_UNAVAILABLE on the other ranks, in milliseconds.
void coll_abort(coll_t *coll);

typedef struct {
    uint64_t operations, bytes; // of this rank's data
    double seconds;             // spent in operations
} coll_stats_t;
coll_stats_t coll_stats(const coll_t *coll);

#endif
