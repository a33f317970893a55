// Which versions of which models are served, loaded, waited for and given up. Policy only: no
// threads, no I/O; time is an argument, loading is done by the operations.
//
// A model's name stands for two versions: the one that is wanted (promoted in the registry) and the
// one that is served, which follows as soon as the wanted one has been loaded beside it. A wanted
// version that cannot be loaded leaves the old one in service and is tried again, 1 s to 60 s
// later. Beside the two there may be a third, the canary: it is given a share of the requests that
// name the model without a version, once it has been loaded, and none while it cannot be.
//
// Versions that no name stands for are spare: loaded because somebody asked for NAME@V, dropped by
// age of their last use when there are more than spare_max of them or memory is short. A version in
// use is never dropped: it is held by requests.
//
// Life of a version: opening (checked, its memory estimated) → building → ready | failed.
#ifndef INKLING_GATEWAY_CATALOG_H
#define INKLING_GATEWAY_CATALOG_H

#include "base/err.h"
#include "proto/messages.h"

#include <stdbool.h>

typedef struct catalog catalog_t;

typedef struct version {
    char *name;
    uint64_t number;
    char *path, *digest; // folder below the stack's files; SHA-256 of its model.json or ""
    void *engine;        // from its opening on; to be computed with when ready
    // the catalog's own
    struct version *next;
    int state;
    uint64_t memory;   // bytes that are counted for it
    uint64_t requests; // that it was given
    int64_t used_ms, retry_ms;
    int refs;  // requests that use it
    int names; // that it stands for: as wanted, as served, as canary
    int failures;
    bool gone; // out of the list; freed when nothing uses it
    err_t err; // of a failed one
} version_t;

// All get the arg of catalog_new. open and build answer later, never from inside the call; the
// version stays valid until then.
typedef struct {
    void (*open)(void *arg, version_t *version);  // answered by catalog_opened
    void (*build)(void *arg, version_t *version); // answered by catalog_built
    void (*unload)(void *arg, void *engine);      // opened or built, and no longer used
} catalog_ops_t;

typedef struct {
    int spare_max;       // versions on demand that stay loaded
    uint64_t memory_max; // bytes of all engines
    uint64_t seed;       // of the choice between served version and canary
} catalog_limits_t;

catalog_t *catalog_new(const catalog_limits_t *limits, const catalog_ops_t *ops, void *arg);
// Nothing is being opened or built any more. Unloads everything.
void catalog_destroy(catalog_t **catalog);

// The registry's promoted versions and the canaries beside them, all of them. Loads what is new:
// the model promoted last first, canaries behind.
void catalog_promoted(catalog_t *catalog, const proto_model_info_t *models, size_t count,
                      int64_t now_ms);

typedef enum {
    CATALOG_READY,   // version: serve from it
    CATALOG_LOADING, // version: ask again when it is ready or failed
    CATALOG_UNKNOWN, // name, number: not known here; the registry may know it
    CATALOG_FAILED   // err
} catalog_answer_t;

typedef struct {
    version_t *version;
    char name[PROTO_NAME_MAX + 1]; // "": the model promoted last
    uint64_t number;               // 0: the promoted one
} catalog_found_t;

// text: "", NAME or NAME@VERSION. number: of the request among all of this gateway; it alone
// decides whether a request without a version is given to the canary, so that a request that asks
// again is not given to another version, and one of a larger share stays there. May begin a new
// attempt at loading one that failed long ago.
catalog_answer_t catalog_find(catalog_t *catalog, const char *text, uint64_t number, int64_t now_ms,
                              catalog_found_t *found, err_t *err);
// The version that is served of the model promoted last, canary aside; NULL: none.
const version_t *catalog_served_last(const catalog_t *catalog);

// A version that the registry showed, to be loaded on demand. ERR_FULL: spare_max are loaded and
// all of them in use.
err_code_t catalog_add(catalog_t *catalog, const proto_model_info_t *model, int64_t now_ms,
                       err_t *err);

// Answers of open and build. failure: NULL or why; engine (with the bytes it will take) is then
// ignored, or unloaded.
void catalog_opened(catalog_t *catalog, version_t *version, void *engine, uint64_t memory,
                    const err_t *failure, int64_t now_ms);
void catalog_built(catalog_t *catalog, version_t *version, const err_t *failure, int64_t now_ms);

// A request begins and ends to use a ready version.
void catalog_hold(version_t *version, int64_t now_ms);
void catalog_release(catalog_t *catalog, version_t *version);

// Tries wanted versions again whose time has come; when the next one is due, 0: none.
int64_t catalog_tick(catalog_t *catalog, int64_t now_ms);

#define CATALOG_FAILURES_MAX 4

typedef struct {
    int promoted, served, canaries; // names
    int pending;         // names that nothing is served of yet, nor has their wanted version failed
    int failed;          // wanted versions and canaries that cannot be loaded
    int loading, loaded; // versions
    uint64_t memory, memory_max;
    const version_t *failures[CATALOG_FAILURES_MAX]; // the first of those that failed
} catalog_state_t;

void catalog_state(const catalog_t *catalog, catalog_state_t *state);
// A version as others see it.
typedef struct {
    const version_t *version; // its err: if error
    const char *state;        // "loading", "ready" or "failed"
    bool error;               // its last attempt to be loaded failed
    bool promoted, served;    // wanted by the registry; given the requests without a version
    double canary;            // percent of those that it is given instead; 0: it is no canary
} catalog_entry_t;

// Fills entries with all versions, spare ones included; returns how many there are.
size_t catalog_list(const catalog_t *catalog, catalog_entry_t *entries, size_t room);

// For tests: versions in the list.
size_t catalog_count(const catalog_t *catalog);

#endif
