// A rank's part in a mirrored training: what the ranks agree on before it, their shares of a batch,
// the sums that the engine asks for, and what is told of them. With one rank all of it is trivial.
//
// First the ranks meet, for as long as it takes the slowest to fetch its data set; then they join:
// from there on every operation has a deadline (coll/coll.h), and nothing slow may lie between two.
// A rank that fails by itself calls mirror_abandon, so that the others know at once.
#ifndef INKLING_TRAINER_MIRROR_H
#define INKLING_TRAINER_MIRROR_H

#include "coll/coll.h"
#include "digest/digest.h"
#include "nn/nn.h"

#include <jansson.h>

typedef struct mirror mirror_t;

typedef struct {
    int rank, world;
    coll_meet_fn meet; // not called with one rank
    void *meet_arg;
    const char *address; // see coll_options_t
    bool sync_bn;
} mirror_options_t;

mirror_t *mirror_new(const mirror_options_t *options);
void mirror_destroy(mirror_t **mirror); // allows *mirror == NULL
int mirror_rank(const mirror_t *mirror);
int mirror_world(const mirror_t *mirror);

// ---- before it: meetings

// The same JSON on all ranks: rank 0's. *json is the caller's afterwards; of rank 0 it stays.
err_code_t mirror_follow(mirror_t *mirror, const char *round, json_t **json, err_t *err);

// What a rank could do, and what all will: engines must be made alike for the same bits.
typedef struct {
    const char *isa; // nn_isa()
    int cores;       // nn_cores()
    int threads;     // that the job or the worker asks for, 0: none
    int before;      // threads of an earlier attempt of as many ranks, 0: there was none
} mirror_host_t;
typedef struct {
    char isa[16]; // the least of all; "" with one rank
    int threads;  // the fewest; ranks on one host share its cores
} mirror_terms_t;
err_code_t mirror_agree(mirror_t *mirror, const mirror_host_t *own, mirror_terms_t *terms,
                        err_t *err);
// ERR_UNSUPPORTED unless all ranks say the same words.
err_code_t mirror_same(mirror_t *mirror, const char *round, const char *words, err_t *err);

// ---- with the others

err_code_t mirror_join(mirror_t *mirror, err_t *err);
// rank 0's bytes for all.
err_code_t mirror_give(mirror_t *mirror, void *data, size_t size, err_t *err);
// For nn_step and nn_bn_estimate; NULL with one rank.
const nn_replicas_t *mirror_replicas(const mirror_t *mirror);

// This rank's samples [*first, *first + *own) of count: as many for each, one more for the first
// ones.
void mirror_share(const mirror_t *mirror, int count, int *first, int *own);

// size bytes of each rank to all, by rank.
err_code_t mirror_gather(mirror_t *mirror, const void *data, size_t size, void *all, err_t *err);

// After every step, and whatever else takes as long: *wish becomes the largest of all ranks'.
err_code_t mirror_tick(mirror_t *mirror, int *wish, err_t *err);

// Around a step, for the report: input is ready, the step is done.
void mirror_begin_step(mirror_t *mirror);
void mirror_has_input(mirror_t *mirror);
void mirror_end_step(mirror_t *mirror);
double mirror_blocked(const mirror_t *mirror); // share of the steps' time spent in sums
void mirror_forget_steps(mirror_t *mirror);    // they were to warm up

// Compares the digests of all ranks' weights. ERR_INTERNAL if they differ. *report is, with more
// than one rank, the caller's:
//   {"efficiency", "replicas": [{"rank", "weights_sha256", "steps", "seconds", "reduce_seconds",
//                                "input_seconds"}]}
// seconds: of the steps of this attempt; of these reduce_seconds were spent in sums and in waiting
// for others, input_seconds in making batches. efficiency: the share of the steps' time, over all
// ranks, that was spent in neither: what one replica alone, which waits for nobody, has of its time
// but for its input.
err_code_t mirror_compare(mirror_t *mirror, const char digest[DIGEST_HEX_SIZE], json_t **report,
                          err_t *err);

// An operation with the others has failed: a rank is lost, or has abandoned.
bool mirror_has_lost(const mirror_t *mirror);
// Operations fail from now on, on all ranks.
void mirror_abandon(mirror_t *mirror);

#endif
