#include "job/job.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 64
#define VERSION_MAX    9007199254740992.0 // 2^53

// --- Names
// ---------------------------------------------------------------------------------------------

static const char *const state_names[] = {
#define X(state, name) name,
    JOB_STATES(X)
#undef X
};

static const char *const outcome_names[] = {
#define X(outcome, name) name,
    JOB_OUTCOMES(X)
#undef X
};

static int find_name(const char *const *names, int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

const char *job_state_name(job_state_t state) {
    ERR_ASSERT((unsigned)state < JOB_STATE_COUNT);
    return state_names[state];
}

bool job_state_parse(const char *name, job_state_t *state) {
    int found = find_name(state_names, JOB_STATE_COUNT, name);
    if (found >= 0)
        *state = (job_state_t)found;
    return found >= 0;
}

bool job_state_final(job_state_t state) {
    return state != JOB_QUEUED && state != JOB_RUNNING;
}

const char *job_outcome_name(job_outcome_t outcome) {
    ERR_ASSERT((unsigned)outcome < JOB_OUTCOME_COUNT);
    return outcome_names[outcome];
}

bool job_outcome_parse(const char *name, job_outcome_t *outcome) {
    int found = find_name(outcome_names, JOB_OUTCOME_COUNT, name);
    if (found >= 0)
        *outcome = (job_outcome_t)found;
    return found >= 0;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789._-"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool is_name(const char *name, const char *letters) {
    size_t size = strlen(name);
    return size >= 1 && size <= NAME_MAX_BYTES && name[0] != '.' && strspn(name, letters) == size;
}

err_code_t job_check_kind(const char *kind, err_t *err) {
    if (is_name(kind, LOWER))
        return ERR_OK;
    err_set(err, ERR_INVALID, "kind: '%.80s' is no name of a kind", kind);
    return err_remedy(err, "use 1 to 64 of a-z, 0-9, '.', '_' and '-', not beginning with '.'");
}

err_code_t job_check_name(const char *what, const char *name, err_t *err) {
    if (is_name(name, LOWER UPPER))
        return ERR_OK;
    err_set(err, ERR_INVALID, "%s: '%.80s' is no name", what, name);
    return err_remedy(err,
                      "use 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-', not beginning with '.'");
}

err_code_t job_parse_model(const char *what, const char *text, char *name, uint64_t *version,
                           err_t *err) {
    const char *at = strrchr(text, '@');
    size_t size = at ? (size_t)(at - text) : strlen(text);
    *version = 0;
    snprintf(name, NAME_MAX_BYTES + 1, "%.*s", (int)(size < 65 ? size : 64), text);
    bool good = size <= NAME_MAX_BYTES && is_name(name, LOWER UPPER);
    if (good && at) {
        size_t digits = strspn(at + 1, "0123456789");
        *version = strtoull(at + 1, NULL, 10);
        good = digits > 0 && digits <= 16 && at[1 + digits] == 0 && *version >= 1 &&
               (double)*version <= VERSION_MAX;
    }
    if (good)
        return ERR_OK;
    err_set(err, ERR_INVALID, "%s: '%.100s' is no model", what, text);
    return err_remedy(err, "write MODEL or MODEL@VERSION, e.g. faces or faces@3");
}

// --- Rules
// ---------------------------------------------------------------------------------------------

int64_t job_backoff_ms(uint64_t failures, double jitter) {
    double full = JOB_BACKOFF_FIRST_MS * pow(2, (double)failures - 1);
    if (full > JOB_BACKOFF_MAX_MS)
        full = JOB_BACKOFF_MAX_MS;
    return (int64_t)floor(full * (1 - jitter / 2));
}

void job_submit(job_t *job, uint64_t max_attempts, int64_t delay_ms) {
    *job = (job_t){.state = JOB_QUEUED, .max_attempts = max_attempts, .delay_ms = delay_ms};
}

void job_due(job_t *job) {
    job->delay_ms = 0;
}

err_code_t job_lease(job_t *job, uint64_t token) {
    if (job->state != JOB_QUEUED || job->delay_ms > 0)
        return ERR_CONFLICT;
    job->state = JOB_RUNNING;
    job->attempts++;
    job->token = token;
    job->reports = 0;
    job->cancel = false;
    return ERR_OK;
}

static bool is_running(const job_t *job, uint64_t token) {
    return job->state == JOB_RUNNING && job->token == token;
}

err_code_t job_report(job_t *job, uint64_t token, uint64_t seq, uint64_t count, uint64_t *skip) {
    if (!is_running(job, token))
        return ERR_STALE;
    *skip = job->reports >= seq ? job->reports - seq + 1 : 0;
    if (*skip > count)
        *skip = count;
    if (*skip < count)
        job->reports = seq + count - 1;
    return ERR_OK;
}

err_code_t job_checkpoint(job_t *job, uint64_t token) {
    if (!is_running(job, token))
        return ERR_STALE;
    job->deaths = 0;
    return ERR_OK;
}

// The state that follows, and for how long it must wait when that is queued.
static job_state_t verdict(job_t *job, job_outcome_t outcome, bool retryable, double jitter,
                           uint64_t max_deaths, int64_t *delay_ms) {
    *delay_ms = 0;
    if (outcome == JOB_END_SUCCEEDED)
        return JOB_SUCCEEDED;
    if (outcome == JOB_END_CANCELLED || job->cancel)
        return JOB_CANCELLED;
    if (outcome == JOB_END_FAILED && !retryable)
        return JOB_FAILED;
    if (outcome == JOB_END_FAILED) {
        if (++job->failures >= job->max_attempts)
            return JOB_FAILED;
        *delay_ms = job_backoff_ms(job->failures, jitter);
    } else if (outcome == JOB_END_DIED && ++job->deaths >= max_deaths) {
        return JOB_DEAD;
    }
    return JOB_QUEUED; // released and lost cost nothing
}

err_code_t job_end(job_t *job, uint64_t token, job_outcome_t outcome, double jitter,
                   uint64_t max_deaths) {
    if (!is_running(job, token))
        return ERR_STALE;
    job->state = verdict(job, outcome, true, jitter, max_deaths, &job->delay_ms);
    return ERR_OK;
}

err_code_t job_finish(job_t *job, uint64_t token, job_outcome_t outcome, bool retryable,
                      double jitter, uint64_t max_deaths) {
    if (job->ended == token)
        return ERR_OK;
    if (!is_running(job, token))
        return ERR_STALE;
    job->state = verdict(job, outcome, retryable, jitter, max_deaths, &job->delay_ms);
    job->ended = token;
    return ERR_OK;
}

err_code_t job_cancel(job_t *job) {
    if (job->state == JOB_RUNNING)
        job->cancel = true;
    else if (job->state == JOB_QUEUED)
        job->state = JOB_CANCELLED;
    else if (job->state != JOB_CANCELLED)
        return ERR_CONFLICT;
    return ERR_OK;
}

err_code_t job_retry(job_t *job) {
    if (job->state == JOB_QUEUED)
        return ERR_OK;
    if (job->state == JOB_RUNNING || job->state == JOB_SUCCEEDED)
        return ERR_CONFLICT;
    job->state = JOB_QUEUED;
    job->failures = job->deaths = 0;
    job->delay_ms = 0;
    job->cancel = false;
    return ERR_OK;
}

bool job_is_promote(const char *word) {
    return strcmp(word, "first") == 0 || strcmp(word, "always") == 0 || strcmp(word, "never") == 0;
}
