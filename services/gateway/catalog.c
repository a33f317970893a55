#include "gateway/catalog.h"

#include "base/philox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_FIRST_MS 1000
#define RETRY_DOUBLED  6 // times: at most 64 s apart

enum { OPENING, BUILDING, READY, FAILED };

// A name and what the registry says of it.
typedef struct series {
    struct series *next;
    char *name;
    uint64_t promoted_at;
    version_t *wanted;  // never NULL
    version_t *served;  // or NULL: none has been loaded yet
    version_t *canary;  // or NULL; never the wanted one
    double percent;     // of the requests without a version that the canary gets, once it is ready
    bool listed, tried; // in the registry's newest list; its canary, too
} series_t;

struct catalog {
    catalog_limits_t limits;
    const catalog_ops_t *ops;
    void *arg;
    version_t *versions; // newest first
    series_t *series;
    uint64_t memory; // counted for all, those gone but still in use included
    int spares;      // versions in the list that no name stands for
};

// --- One version
// ----------------------------------------------------------------------------------

static bool in_progress(const version_t *version) {
    return version->state == OPENING || version->state == BUILDING;
}

static void start(catalog_t *catalog, version_t *version) {
    version->state = OPENING;
    catalog->ops->open(catalog->arg, version);
}

static version_t *version_new(catalog_t *catalog, const proto_model_info_t *model, int64_t now_ms) {
    version_t *version = mem_zero(1, sizeof *version);
    version->name = mem_dup(model->name);
    version->number = model->version;
    version->path = mem_dup(model->path);
    version->digest = mem_dup(model->digest ? model->digest : "");
    version->used_ms = now_ms;
    version->next = catalog->versions;
    catalog->versions = version;
    catalog->spares++;
    return version;
}

static void unload(catalog_t *catalog, version_t *version) {
    if (version->engine)
        catalog->ops->unload(catalog->arg, version->engine);
    version->engine = NULL;
    catalog->memory -= version->memory;
    version->memory = 0;
}

static void version_free(catalog_t *catalog, version_t *version) {
    unload(catalog, version);
    free(version->name);
    free(version->path);
    free(version->digest);
    free(version);
}

// Out of the list; what uses it now may do so to the end.
static void drop(catalog_t *catalog, version_t *version) {
    version_t **link = &catalog->versions;
    while (*link && *link != version)
        link = &(*link)->next;
    ERR_ASSERT(*link == version);
    *link = version->next;
    catalog->spares -= version->names == 0;
    version->gone = true;
    if (version->refs == 0 && !in_progress(version))
        version_free(catalog, version);
}

static void fail(version_t *version, const err_t *failure, int64_t now_ms) {
    int doubled = version->failures < RETRY_DOUBLED ? version->failures : RETRY_DOUBLED;
    version->state = FAILED;
    version->failures++;
    version->retry_ms = now_ms + ((int64_t)RETRY_FIRST_MS << doubled);
    version->err = *failure;
}

static bool same_version(const version_t *version, const proto_model_info_t *model) {
    return version->number == model->version && strcmp(version->name, model->name) == 0 &&
           strcmp(version->path, model->path) == 0 &&
           strcmp(version->digest, model->digest ? model->digest : "") == 0;
}

static version_t *find_same(const catalog_t *catalog, const proto_model_info_t *model) {
    version_t *version = catalog->versions;
    while (version && !same_version(version, model))
        version = version->next;
    return version;
}

static version_t *find_version(const catalog_t *catalog, const char *name, uint64_t number) {
    version_t *version = catalog->versions;
    while (version && (version->number != number || strcmp(version->name, name) != 0))
        version = version->next;
    return version;
}

// --- Spare versions and memory
// --------------------------------------------------------------------

// A name of the catalog begins (1) or ends (-1) to stand for the version, which may be NULL.
static void name_stands(catalog_t *catalog, version_t *version, int change) {
    if (!version)
        return;
    catalog->spares -= version->names == 0;
    version->names += change;
    catalog->spares += version->names == 0;
}

// The idle spare version whose last use is the longest ago. loaded: of those that hold memory.
static version_t *oldest_spare(const catalog_t *catalog, bool loaded) {
    version_t *oldest = NULL;
    for (version_t *version = catalog->versions; version; version = version->next)
        if (version->refs == 0 && !in_progress(version) && (!loaded || version->memory > 0) &&
            version->names == 0 && (!oldest || version->used_ms <= oldest->used_ms))
            oldest = version;
    return oldest;
}

// At most max spare versions are left, if enough of them are idle.
static bool trim_spares(catalog_t *catalog, int max) {
    version_t *oldest;
    while (catalog->spares > max && (oldest = oldest_spare(catalog, false)) != NULL)
        drop(catalog, oldest);
    return catalog->spares <= max;
}

static bool make_room(catalog_t *catalog, uint64_t memory) {
    version_t *oldest;
    while (memory > catalog->limits.memory_max ||
           catalog->memory > catalog->limits.memory_max - memory) {
        if (memory > catalog->limits.memory_max || !(oldest = oldest_spare(catalog, true)))
            return false;
        drop(catalog, oldest);
    }
    return true;
}

// --- Names
// ----------------------------------------------------------------------------------------

static series_t *find_series(const catalog_t *catalog, const char *name) {
    series_t *series = catalog->series;
    while (series && strcmp(series->name, name) != 0)
        series = series->next;
    return series;
}

static series_t *promoted_last(const catalog_t *catalog) {
    series_t *last = catalog->series;
    for (series_t *series = last; series; series = series->next)
        if (series->promoted_at > last->promoted_at)
            last = series;
    return last;
}

// Does the name stand for version no longer, it goes, unless it has another part to play.
static void stand_down(catalog_t *catalog, version_t *version) {
    name_stands(catalog, version, -1);
    if (version && version->names == 0)
        drop(catalog, version);
}

// The wanted version is ready: from now on it is the one that is served.
static void swap(catalog_t *catalog, series_t *series) {
    version_t *old = series->served;
    if (old == series->wanted)
        return;
    name_stands(catalog, series->wanted, 1);
    series->served = series->wanted;
    stand_down(catalog, old);
}

// The version of that description; a new one begins to load.
static version_t *get_version(catalog_t *catalog, const proto_model_info_t *model, int64_t now_ms) {
    version_t *version = find_same(catalog, model);
    if (version)
        return version;
    version = version_new(catalog, model, now_ms);
    start(catalog, version);
    return version;
}

static void want(catalog_t *catalog, const proto_model_info_t *model, int64_t now_ms) {
    version_t *version = get_version(catalog, model, now_ms);
    series_t *series = find_series(catalog, model->name);
    if (!series) {
        series = mem_zero(1, sizeof *series);
        series->name = mem_dup(model->name);
        series->next = catalog->series;
        catalog->series = series;
    }
    if (series->wanted != version && version->state == FAILED)
        start(catalog, version);
    name_stands(catalog, version, 1);
    name_stands(catalog, series->wanted, -1);
    series->wanted = version;
    series->promoted_at = model->promoted_at;
    series->listed = true;
    if (version->state == READY)
        swap(catalog, series);
}

// canary: NULL: there is none any more.
static void try_canary(catalog_t *catalog, series_t *series, version_t *canary, double percent) {
    version_t *old = series->canary;
    series->percent = percent;
    if (canary == old)
        return;
    if (canary && canary->state == FAILED)
        start(catalog, canary);
    name_stands(catalog, canary, 1);
    series->canary = canary;
    stand_down(catalog, old);
}

static void forget(catalog_t *catalog, series_t **link) {
    series_t *series = *link;
    *link = series->next;
    try_canary(catalog, series, NULL, 0);
    stand_down(catalog, series->served);
    stand_down(catalog, series->wanted);
    free(series->name);
    free(series);
}

static int by_promotion(const void *a, const void *b) {
    uint64_t x = (*(const proto_model_info_t *const *)a)->promoted_at;
    uint64_t y = (*(const proto_model_info_t *const *)b)->promoted_at;
    return x > y ? -1 : x < y;
}

// A canary is one beside a promoted version; alone it means nothing.
static void take_canary(catalog_t *catalog, const proto_model_info_t *model, int64_t now_ms) {
    series_t *series = find_series(catalog, model->name);
    if (!series || !series->listed || series->tried || series->wanted->number == model->version)
        return;
    series->tried = true;
    try_canary(catalog, series, get_version(catalog, model, now_ms), model->canary);
}

void catalog_promoted(catalog_t *catalog, const proto_model_info_t *models, size_t count,
                      int64_t now_ms) {
    const proto_model_info_t **order = mem_zero(count + 1, sizeof *order);
    for (size_t i = 0; i < count; i++)
        order[i] = &models[i];
    qsort(order, count, sizeof *order, by_promotion);
    for (series_t *series = catalog->series; series; series = series->next)
        series->listed = series->tried = false;
    for (size_t i = 0; i < count; i++) {
        const series_t *series = find_series(catalog, order[i]->name);
        if (order[i]->promoted && (!series || !series->listed)) // of two the newer promotion counts
            want(catalog, order[i], now_ms);
    }
    for (size_t i = 0; i < count; i++)
        if (!order[i]->promoted && order[i]->canary > 0)
            take_canary(catalog, order[i], now_ms);
    free(order);
    for (series_t *series = catalog->series; series; series = series->next)
        if (!series->tried)
            try_canary(catalog, series, NULL, 0);
    for (series_t **link = &catalog->series; *link;)
        if ((*link)->listed)
            link = &(*link)->next;
        else
            forget(catalog, link);
    trim_spares(catalog, catalog->limits.spare_max);
}

// --- Looking up
// -----------------------------------------------------------------------------------

static err_code_t read_name(const char *text, catalog_found_t *found, err_t *err) {
    const char *at = strchr(text, '@');
    size_t size = at ? (size_t)(at - text) : strlen(text);
    bool valid = size <= PROTO_NAME_MAX && (size > 0 || !at);
    char *end = NULL;
    if (valid && at) {
        valid = at[1] >= '1' && at[1] <= '9' && strlen(at + 1) <= 16;
        found->number = valid ? strtoull(at + 1, &end, 10) : 0;
        valid = valid && *end == 0 && found->number <= (uint64_t)PROTO_U64_MAX;
    }
    if (!valid) {
        err_set(err, ERR_INVALID, "model: '%.100s' is not the name of a model", text);
        return err_remedy(err, "write NAME, or NAME@VERSION with a version of 1 or more"),
               ERR_INVALID;
    }
    memcpy(found->name, text, size);
    found->name[size] = 0;
    return ERR_OK;
}

static catalog_answer_t answer(catalog_t *catalog, version_t *version, int64_t now_ms,
                               catalog_found_t *found, err_t *err) {
    found->version = version;
    if (version->state == FAILED && now_ms >= version->retry_ms)
        start(catalog, version);
    if (version->state == READY)
        return CATALOG_READY;
    if (version->state != FAILED)
        return CATALOG_LOADING;
    *err = version->err;
    return CATALOG_FAILED;
}

// The canary, for its share of the requests: uniform, and a larger share contains a smaller one.
static version_t *choose(const catalog_t *catalog, const series_t *series, uint64_t number) {
    version_t *usual = series->served ? series->served : series->wanted;
    if (!series->canary || series->canary->state != READY)
        return usual;
    philox_t random =
        philox(catalog->limits.seed, (uint32_t)number, (uint32_t)(number >> 32), 0, 0);
    double draw = ((double)random.v[0] * 0x1p32 + (double)random.v[1]) * 0x1p-64; // in [0, 1]
    return draw * 100 < series->percent ? series->canary : usual;
}

catalog_answer_t catalog_find(catalog_t *catalog, const char *text, uint64_t number, int64_t now_ms,
                              catalog_found_t *found, err_t *err) {
    *found = (catalog_found_t){0};
    if (read_name(text, found, err) != ERR_OK)
        return CATALOG_FAILED;
    version_t *version = NULL;
    if (found->number > 0) {
        version = find_version(catalog, found->name, found->number);
    } else {
        const series_t *series =
            found->name[0] ? find_series(catalog, found->name) : promoted_last(catalog);
        if (series)
            version = choose(catalog, series, number);
    }
    return version ? answer(catalog, version, now_ms, found, err) : CATALOG_UNKNOWN;
}

const version_t *catalog_served_last(const catalog_t *catalog) {
    const series_t *series = promoted_last(catalog);
    return series ? series->served : NULL;
}

err_code_t catalog_add(catalog_t *catalog, const proto_model_info_t *model, int64_t now_ms,
                       err_t *err) {
    if (find_same(catalog, model))
        return ERR_OK;
    if (!trim_spares(catalog, catalog->limits.spare_max - 1)) {
        err_set(err, ERR_FULL,
                "%d versions that are not promoted are loaded or loading, and all are in use",
                catalog->limits.spare_max);
        return err_remedy(err, "ask again in a moment, or promote the version"), ERR_FULL;
    }
    start(catalog, version_new(catalog, model, now_ms));
    return ERR_OK;
}

// --- Answers of the operations
// --------------------------------------------------------------------

static bool ended_unwanted(catalog_t *catalog, version_t *version) {
    if (!version->gone)
        return false;
    version_free(catalog, version);
    return true;
}

void catalog_opened(catalog_t *catalog, version_t *version, void *engine, uint64_t memory,
                    const err_t *failure, int64_t now_ms) {
    ERR_ASSERT(version->state == OPENING);
    if (failure)
        fail(version, failure, now_ms);
    else
        version->engine = engine;
    if (ended_unwanted(catalog, version) || failure)
        return;
    if (!make_room(catalog, memory)) {
        err_t err;
        err_set(&err, ERR_NO_MEMORY,
                "%s@%llu needs %.1f MiB of memory to be served; of %.1f MiB for models %.1f are in "
                "use",
                version->name, (unsigned long long)version->number, (double)memory / 1048576,
                (double)catalog->limits.memory_max / 1048576, (double)catalog->memory / 1048576);
        err_remedy(&err, "raise gateway_models_mb (--gateway-models-mb), or serve fewer models");
        unload(catalog, version);
        fail(version, &err, now_ms);
        return;
    }
    version->memory = memory;
    catalog->memory += memory;
    version->state = BUILDING;
    catalog->ops->build(catalog->arg, version);
}

void catalog_built(catalog_t *catalog, version_t *version, const err_t *failure, int64_t now_ms) {
    ERR_ASSERT(version->state == BUILDING);
    version->state = READY;
    if (ended_unwanted(catalog, version))
        return;
    if (failure) {
        unload(catalog, version);
        fail(version, failure, now_ms);
        return;
    }
    version->failures = 0;
    version->used_ms = now_ms;
    for (series_t *series = catalog->series; series; series = series->next)
        if (series->wanted == version)
            swap(catalog, series);
    trim_spares(catalog, catalog->limits.spare_max);
}

// --- Use
// ------------------------------------------------------------------------------------------

void catalog_hold(version_t *version, int64_t now_ms) {
    ERR_ASSERT(version->state == READY);
    version->refs++;
    version->requests++;
    version->used_ms = now_ms;
}

void catalog_release(catalog_t *catalog, version_t *version) {
    ERR_ASSERT(version->refs > 0);
    version->refs--;
    if (version->refs == 0 && version->gone)
        version_free(catalog, version);
    else if (version->refs == 0)
        trim_spares(catalog, catalog->limits.spare_max);
}

// Tries a failed version again when its time has come; *due_ms: when the next one's will.
static void try_again(catalog_t *catalog, version_t *version, int64_t now_ms, int64_t *due_ms) {
    if (!version || version->state != FAILED)
        return;
    if (version->retry_ms <= now_ms)
        start(catalog, version);
    else if (*due_ms == 0 || version->retry_ms < *due_ms)
        *due_ms = version->retry_ms;
}

int64_t catalog_tick(catalog_t *catalog, int64_t now_ms) {
    int64_t due_ms = 0;
    for (series_t *series = catalog->series; series; series = series->next) {
        try_again(catalog, series->wanted, now_ms, &due_ms);
        try_again(catalog, series->canary, now_ms, &due_ms);
    }
    return due_ms;
}

// --- Told
// -----------------------------------------------------------------------------------------

static void count_failed(catalog_state_t *state, const version_t *version) {
    if (!version || version->failures == 0)
        return;
    if (state->failed < CATALOG_FAILURES_MAX)
        state->failures[state->failed] = version;
    state->failed++;
}

void catalog_state(const catalog_t *catalog, catalog_state_t *state) {
    *state = (catalog_state_t){.memory = catalog->memory, .memory_max = catalog->limits.memory_max};
    for (const series_t *series = catalog->series; series; series = series->next) {
        state->promoted++;
        state->served += series->served != NULL;
        state->canaries += series->canary != NULL;
        state->pending += !series->served && series->wanted->failures == 0;
        count_failed(state, series->wanted);
        count_failed(state, series->canary);
    }
    for (const version_t *version = catalog->versions; version; version = version->next) {
        state->loading += in_progress(version);
        state->loaded += version->state == READY;
    }
}

static catalog_entry_t entry_of(const catalog_t *catalog, const version_t *version) {
    static const char *const words[] = {
        [OPENING] = "loading", [BUILDING] = "loading", [READY] = "ready", [FAILED] = "failed"};
    catalog_entry_t entry = {
        .version = version, .state = words[version->state], .error = version->failures > 0};
    for (const series_t *series = catalog->series; series; series = series->next) {
        entry.promoted = entry.promoted || series->wanted == version;
        entry.served = entry.served || series->served == version;
        if (series->canary == version)
            entry.canary = series->percent;
    }
    return entry;
}

size_t catalog_list(const catalog_t *catalog, catalog_entry_t *entries, size_t room) {
    size_t count = 0;
    for (const version_t *version = catalog->versions; version; version = version->next, count++)
        if (count < room)
            entries[count] = entry_of(catalog, version);
    return count;
}

size_t catalog_count(const catalog_t *catalog) {
    size_t count = 0;
    for (const version_t *version = catalog->versions; version; version = version->next)
        count++;
    return count;
}

// --- Life
// -----------------------------------------------------------------------------------------

catalog_t *catalog_new(const catalog_limits_t *limits, const catalog_ops_t *ops, void *arg) {
    ERR_ASSERT(limits->spare_max >= 1);
    catalog_t *catalog = mem_zero(1, sizeof *catalog);
    catalog->limits = *limits;
    catalog->ops = ops;
    catalog->arg = arg;
    return catalog;
}

void catalog_destroy(catalog_t **self) {
    catalog_t *catalog = *self;
    if (!catalog)
        return;
    for (series_t *series; (series = catalog->series) != NULL;) {
        catalog->series = series->next;
        free(series->name);
        free(series);
    }
    for (version_t *version; (version = catalog->versions) != NULL;) {
        catalog->versions = version->next;
        version_free(catalog, version);
    }
    free(catalog);
    *self = NULL;
}
