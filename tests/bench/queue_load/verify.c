#include "verify.h"

#include "client/client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_MS  20000
#define SAMPLES 200

static void wrong(verify_t *result, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void wrong(verify_t *result, const char *format, ...) {
    if (result->first[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(result->first, sizeof result->first, format, args);
    va_end(args);
}

// --- The ledger ----------------------------------------------------------------------------------

static void check_ledger(const load_job_t *jobs, size_t count, bool killed, verify_t *result) {
    for (size_t i = 0; i < count; i++) {
        const load_job_t *job = &jobs[i];
        if (job->ids > 1) {
            result->doubled++;
            wrong(result, "job %zu was acknowledged under %u ids", i, job->ids);
        } else if (job->ended > 1 || (!killed && job->begun > 1)) {
            result->doubled++;
            wrong(result, "job %zu (%s) was begun %u times and succeeded %u times", i,
                  job->id ? job->id : "?", job->begun, job->ended);
        }
        result->again += job->begun > 1 ? job->begun - 1 : 0;
    }
}

// --- The dispatcher's list -----------------------------------------------------------------------

typedef struct {
    const load_job_t *job;
    bool succeeded;
} entry_t;

static int by_id(const void *a, const void *b) {
    return strcmp(((const entry_t *)a)->job->id, ((const entry_t *)b)->job->id);
}

static int to_entry(const void *id, const void *entry) {
    return strcmp(id, ((const entry_t *)entry)->job->id);
}

// Every acknowledged job, sorted by id.
static entry_t *index_jobs(const load_job_t *jobs, size_t count, size_t *used) {
    entry_t *entries = mem_zero(count, sizeof *entries);
    *used = 0;
    for (size_t i = 0; i < count; i++)
        if (jobs[i].id)
            entries[(*used)++].job = &jobs[i];
    qsort(entries, *used, sizeof *entries, by_id);
    return entries;
}

static void check_listed(entry_t *entries, size_t count, const proto_job_info_t *info,
                         verify_t *result) {
    entry_t *entry = bsearch(info->job, entries, count, sizeof *entries, to_entry);
    if (!entry || entry->succeeded) {
        result->doubled++;
        wrong(result, "the dispatcher lists %s, %s", info->job,
              entry ? "twice" : "which nobody was told of");
        return;
    }
    entry->succeeded = strcmp(info->state, "succeeded") == 0;
    if (!entry->succeeded)
        wrong(result, "job %s is %s", info->job, info->state);
}

static err_code_t check_list(client_t *client, entry_t *entries, size_t count, verify_t *result,
                             err_t *err) {
    proto_arena_t *arena = proto_arena_new();
    char before[PROTO_NAME_MAX + 1] = "";
    err_code_t code;
    for (;;) {
        proto_job_list_t list;
        proto_jobs_t page;
        proto_defaults(PROTO_job_list, &list);
        list.kind = LOAD_KIND;
        list.limit = 1000;
        list.before = before;
        proto_arena_reset(arena);
        code = client_request(client, PROTO_job_list, &list, NULL, 0, PROTO_jobs, &page, arena,
                              ASK_MS, NULL, err);
        if (code || page.jobs.count == 0)
            break;
        for (size_t i = 0; i < page.jobs.count; i++)
            check_listed(entries, count, &page.jobs.items[i], result);
        result->listed += page.jobs.count;
        snprintf(before, sizeof before, "%s", page.jobs.items[page.jobs.count - 1].job);
    }
    proto_arena_destroy(&arena);
    for (size_t i = 0; i < count && code == ERR_OK; i++)
        if (!entries[i].succeeded || entries[i].job->begun == 0) {
            result->lost++;
            wrong(result, "job %s was acknowledged, but %s", entries[i].job->id,
                  entries[i].succeeded ? "no worker got it" : "is not listed as succeeded");
        }
    return code;
}

// --- Some jobs in full ---------------------------------------------------------------------------

static err_code_t check_one(client_t *client, const load_job_t *job, bool killed, verify_t *result,
                            err_t *err) {
    proto_arena_t *arena = proto_arena_new();
    proto_job_show_t show = {.job = job->id};
    proto_job_t shown;
    err_code_t code = client_request(client, PROTO_job_show, &show, NULL, 0, PROTO_job, &shown,
                                     arena, ASK_MS, NULL, err);
    if (code == ERR_OK) {
        const proto_job_info_t *info = shown.job;
        bool same = info->body.size > 0 && info->body.size == info->result.size &&
                    memcmp(info->body.data, info->result.data, info->body.size) == 0;
        if (strcmp(info->state, "succeeded") != 0 || !same || (!killed && info->attempts != 1)) {
            result->lost++;
            wrong(result, "job %s: state %s, %llu attempts, its result is %s", job->id, info->state,
                  (unsigned long long)info->attempts, same ? "right" : "wrong");
        }
        result->sampled++;
    }
    proto_arena_destroy(&arena);
    return code;
}

err_code_t verify(const char *endpoint, const load_t *load, bool killed, verify_t *result,
                  err_t *err) {
    memset(result, 0, sizeof *result);
    size_t count, used;
    const load_job_t *jobs = load_jobs(load, &count);
    check_ledger(jobs, count, killed, result);
    client_t *client = NULL;
    err_code_t code = client_new(endpoint, "the dispatcher", &client, err);
    entry_t *entries = index_jobs(jobs, count, &used);
    if (code == ERR_OK)
        code = check_list(client, entries, used, result, err);
    size_t step = count / SAMPLES + 1;
    for (size_t i = 0; i < count && code == ERR_OK; i += step)
        if (jobs[i].id)
            code = check_one(client, &jobs[i], killed, result, err);
    free(entries);
    client_destroy(&client);
    return code;
}
