#include "coll/coll.h"

#include "base/clock.h"
#include "coll/coll_impl.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GREETING_SIZE 64
#define RECENT_STEPS  64 // a longest step is forgotten after one to two times as many

static const coll_backend_t *const backends[] = {
    &coll_backend_local,
#ifdef INKLING_COLL_GLOO
    &coll_backend_gloo,
#endif
};

struct coll {
    const coll_backend_t *backend;
    void *self;
    int rank, world;
    int64_t deadline_ms, longest_ms, longest_before_ms; // of this and the last RECENT_STEPS
    uint64_t steps;
    atomic_bool aborted;
    err_code_t failed; // of the first operation that did; later ones fail alike
    coll_stats_t stats;
};

// ---- making ----

static const coll_backend_t *find_backend(const coll_options_t *options, err_t *err) {
    const char *kind = options->kind;
    if (strcmp(kind, "auto") == 0)
        kind = options->world == 1 ? "local" : "gloo";
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strcmp(backends[i]->name, kind) == 0)
            return backends[i];
    err_set(err, ERR_UNSUPPORTED, "this build has no collectives of kind '%.32s'", kind);
    if (strcmp(kind, "gloo") == 0)
        err_remedy(err, "install libgloo-dev and build again, or train with one replica");
    return NULL;
}

static err_code_t check_options(const coll_options_t *options, err_t *err) {
    if (options->world < 1 || options->world > COLL_WORLD_MAX)
        return err_set(err, ERR_INVALID, "world is %d, not within 1 to %d", options->world,
                       COLL_WORLD_MAX);
    if (options->rank < 0 || options->rank >= options->world)
        return err_set(err, ERR_INVALID, "rank is %d, not within 0 to %d", options->rank,
                       options->world - 1);
    if (options->world > 1 && !options->meet)
        return err_set(err, ERR_INVALID, "meet is NULL");
    return ERR_OK;
}

// What all ranks must have alike, before their blobs.
static void greet(const coll_t *coll, char greeting[GREETING_SIZE]) {
    memset(greeting, 0, GREETING_SIZE);
    snprintf(greeting, GREETING_SIZE, "%s, collectives %s of %d ranks", INKLING_VERSION,
             coll->backend->name, coll->world);
}

static err_code_t check_greetings(const coll_t *coll, const coll_blob_t *all, err_t *err) {
    char own[GREETING_SIZE], other[GREETING_SIZE];
    greet(coll, own);
    for (int i = 0; i < coll->world; i++) {
        if (all[i].size < GREETING_SIZE)
            return err_set(err, ERR_PROTOCOL, "rank %d gave no greeting", i);
        memcpy(other, all[i].data, GREETING_SIZE);
        other[GREETING_SIZE - 1] = 0;
        if (strcmp(own, other) != 0) {
            err_set(err, ERR_UNSUPPORTED, "rank %d is of another build: '%s', rank %d '%s'", i,
                    other, coll->rank, own);
            return err_remedy(err, "run one version of Inkling on all workers");
        }
    }
    return ERR_OK;
}

static err_code_t meet(coll_t *coll, const coll_options_t *options, const void *blob, size_t size,
                       err_t *err) {
    size_t whole = GREETING_SIZE + size;
    char *mine = mem_alloc(whole);
    coll_blob_t all[COLL_WORLD_MAX];
    greet(coll, mine);
    if (size > 0)
        memcpy(mine + GREETING_SIZE, blob, size);
    err_code_t code = options->meet(options->meet_arg, "coll", mine, whole, all, err);
    if (code == ERR_OK)
        code = check_greetings(coll, all, err);
    for (int i = 0; i < coll->world && code == ERR_OK; i++)
        all[i] =
            (coll_blob_t){(const char *)all[i].data + GREETING_SIZE, all[i].size - GREETING_SIZE};
    if (code == ERR_OK)
        code = coll->backend->join(coll->self, all, coll->world, err);
    free(mine);
    return code;
}

err_code_t coll_new(const coll_options_t *options, coll_t **made, err_t *err) {
    *made = NULL;
    err_code_t code = check_options(options, err);
    const coll_backend_t *backend = code ? NULL : find_backend(options, err);
    if (!backend)
        return code ? code : ERR_UNSUPPORTED;
    coll_t *coll = mem_zero(1, sizeof *coll);
    coll->backend = backend;
    coll->rank = options->rank;
    coll->world = options->world;
    coll->deadline_ms = options->deadline_ms > 0 ? options->deadline_ms : COLL_DEADLINE_MS;
    atomic_init(&coll->aborted, false);
    void *blob = NULL;
    size_t size = 0;
    code = backend->open(options, &coll->self, &blob, &size, err);
    if (code == ERR_OK && coll->world > 1)
        code = meet(coll, options, blob, size, err);
    free(blob);
    if (code)
        coll_destroy(&coll);
    *made = coll;
    return code;
}

void coll_destroy(coll_t **coll) {
    if (!*coll)
        return;
    (*coll)->backend->close((*coll)->self);
    free(*coll);
    *coll = NULL;
}

const char *coll_kind(const coll_t *coll) {
    return coll->backend->name;
}

int coll_rank(const coll_t *coll) {
    return coll->rank;
}

int coll_world(const coll_t *coll) {
    return coll->world;
}

// ---- deadlines ----

void coll_step(coll_t *coll, int64_t step_ms) {
    if (coll->steps++ % RECENT_STEPS == 0) {
        coll->longest_before_ms = coll->longest_ms;
        coll->longest_ms = 0;
    }
    coll->longest_ms = step_ms > coll->longest_ms ? step_ms : coll->longest_ms;
}

int64_t coll_deadline_ms(const coll_t *coll) {
    int64_t longest =
        coll->longest_ms > coll->longest_before_ms ? coll->longest_ms : coll->longest_before_ms;
    int64_t deadline = COLL_FACTOR * longest;
    if (coll->steps < COLL_WARM_STEPS && deadline < COLL_WARM_MS)
        deadline = COLL_WARM_MS;
    deadline = deadline > coll->deadline_ms ? deadline : coll->deadline_ms;
    return deadline < COLL_DEADLINE_MAX_MS ? deadline : COLL_DEADLINE_MAX_MS;
}

// ---- operations ----

static err_code_t begin(const coll_t *coll, err_t *err) {
    if (atomic_load(&coll->aborted))
        return err_set(err, ERR_CANCELLED, "the collectives were aborted");
    if (coll->failed)
        return err_set(err, coll->failed, "an earlier collective operation failed");
    return ERR_OK;
}

err_code_t coll_failed(const coll_t *coll) {
    return atomic_load(&coll->aborted) ? ERR_CANCELLED : coll->failed;
}

// A failure is final, and told to the other ranks by closed connections.
static err_code_t end(coll_t *coll, const char *what, size_t bytes, int64_t start_us,
                      err_code_t code, err_t *err) {
    double seconds = (double)(clock_mono_us() - start_us) / 1e6;
    coll->stats.operations++;
    coll->stats.bytes += bytes;
    coll->stats.seconds += seconds;
    if (code == ERR_OK)
        return ERR_OK;
    if (atomic_load(&coll->aborted))
        code = err_set(err, ERR_CANCELLED, "the collectives were aborted");
    coll->failed = code;
    coll->backend->abort(coll->self);
    err_context(err, "rank %d of %d, %s, after %.2f s", coll->rank, coll->world, what, seconds);
    return code;
}

err_code_t coll_sum(coll_t *coll, float *data, size_t count, err_t *err) {
    err_code_t code = begin(coll, err);
    if (code || count == 0)
        return code;
    int64_t start = clock_mono_us();
    code = coll->backend->sum(coll->self, data, count, coll_deadline_ms(coll), err);
    return end(coll, "sum", count * sizeof *data, start, code, err);
}

static err_code_t gather(coll_t *coll, const char *what, const void *data, size_t size, void *all,
                         err_t *err) {
    err_code_t code = begin(coll, err);
    if (code == ERR_OK && size > COLL_SMALL_MAX)
        code = err_set(err, ERR_TOO_LARGE, "%s of %zu bytes, more than %d", what, size,
                       COLL_SMALL_MAX);
    if (code || size == 0)
        return code;
    int64_t start = clock_mono_us();
    code = coll->backend->gather(coll->self, data, size, all, coll_deadline_ms(coll), err);
    return end(coll, what, size, start, code, err);
}

err_code_t coll_gather(coll_t *coll, const void *data, size_t size, void *all, err_t *err) {
    return gather(coll, "gather", data, size, all, err);
}

err_code_t coll_barrier(coll_t *coll, err_t *err) {
    char mine = 0, all[COLL_WORLD_MAX];
    return gather(coll, "barrier", &mine, 1, all, err);
}

static err_code_t sum_some(coll_t *coll, double *data, size_t count, double *all, err_t *err) {
    err_code_t code = gather(coll, "sum of numbers", data, count * sizeof *data, all, err);
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        data[i] = all[i];
        for (size_t r = 1; r < (size_t)coll->world; r++)
            data[i] += all[r * count + i];
    }
    return code;
}

err_code_t coll_sum_doubles(coll_t *coll, double *data, size_t count, err_t *err) {
    const size_t most = COLL_SMALL_MAX / sizeof *data;
    double *all = mem_zero((size_t)coll->world * (count < most ? count : most) + 1, sizeof *all);
    err_code_t code = ERR_OK;
    for (size_t at = 0; at < count && code == ERR_OK; at += most)
        code = sum_some(coll, data + at, count - at < most ? count - at : most, all, err);
    free(all);
    return code;
}

err_code_t coll_broadcast(coll_t *coll, void *data, size_t size, int root, err_t *err) {
    ERR_ASSERT(root >= 0 && root < coll->world);
    err_code_t code = begin(coll, err);
    if (code || size == 0)
        return code;
    int64_t start = clock_mono_us();
    code = coll->backend->broadcast(coll->self, data, size, root, coll_deadline_ms(coll), err);
    return end(coll, "broadcast", size, start, code, err);
}

void coll_abort(coll_t *coll) {
    if (!atomic_exchange(&coll->aborted, true))
        coll->backend->abort(coll->self);
}

coll_stats_t coll_stats(const coll_t *coll) {
    return coll->stats;
}
