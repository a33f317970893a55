// What clients ask about jobs: list, show, why, cancel, retry. Submit is in submit.c.
#include "base/clock.h"
#include "base/log.h"
#include "workers_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_BUDGET 2000 // records that one question to Redis looks at

err_code_t no_such_job(err_t *err, const char *job) {
    err_set(err, ERR_NOT_FOUND, "there is no job %s", job);
    return err_remedy(err, "`inkling jobs` lists those that are kept");
}

// --- Show and why
// --------------------------------------------------------------------------------

static void shown(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                  const err_t *err) {
    err_t none;
    if (err) {
        answer_error(d, &item->from, err);
    } else if (reply_text(reply, 0)[0]) {
        no_such_job(&none, item->job);
        answer_error(d, &item->from, &none);
    } else {
        proto_job_info_t info;
        proto_job_t job = {.job = &info};
        proto_arena_reset(d->arena);
        job_of_reply(d, store_item(reply, 1), &info);
        answer(d, &item->from, PROTO_job, &job);
    }
}

static void show_with(dispatcher_t *d, const request_t *to, const char *job, item_fn done) {
    item_t *item = item_new(SCRIPT_show, to, done);
    snprintf(item->job, sizeof item->job, "%s", job);
    item_text(item, job);
    batch_add(d->batch, item);
}

void show_to(dispatcher_t *d, const request_t *to, const char *job) {
    show_with(d, to, job, shown);
}

void on_show(dispatcher_t *d, const bus_message_t *message) {
    proto_job_show_t show;
    request_t from = request_of(message);
    if (decode(d, message, &show))
        show_to(d, &from, show.job);
}

void on_why(dispatcher_t *d, const bus_message_t *message) {
    proto_job_why_t why;
    request_t from = request_of(message);
    if (decode(d, message, &why))
        show_with(d, &from, why.job, answer_why);
}

// --- List
// ----------------------------------------------------------------------------------------

// A list in the making: pages of Redis are looked through until there are enough.
typedef struct {
    char state[17], kind[PROTO_NAME_MAX + 1];
    uint64_t before;
    size_t limit, count;
    proto_job_info_t *jobs;
    proto_arena_t *arena; // of their texts
} listing_t;

static void listing_free(listing_t *listing) {
    proto_arena_destroy(&listing->arena);
    free(listing->jobs);
    free(listing);
}

static void listed(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                   const err_t *err);

static void list_more(dispatcher_t *d, const request_t *to, listing_t *listing) {
    item_t *item = item_new(SCRIPT_list, to, listed);
    item->context = listing;
    item_text(item, listing->state);
    item_text(item, listing->kind);
    item_number(item, listing->before);
    item_number(item, listing->limit - listing->count);
    item_number(item, LIST_BUDGET);
    batch_add(d->batch, item);
}

static void keep(listing_t *listing, const proto_job_info_t *from) {
    proto_job_info_t *job = &listing->jobs[listing->count++];
    *job = *from;
    job->job = proto_arena_text(listing->arena, from->job);
    job->kind = proto_arena_text(listing->arena, from->kind);
    job->state = proto_arena_text(listing->arena, from->state);
    job->worker = proto_arena_text(listing->arena, from->worker);
    job->reason = proto_arena_text(listing->arena, from->reason);
}

static void listed(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                   const err_t *err) {
    listing_t *listing = item->context;
    if (err) {
        answer_error(d, &item->from, err);
        listing_free(listing);
        return;
    }
    for (size_t i = 1; i < store_count(reply) && listing->count < listing->limit; i++) {
        proto_job_info_t job;
        job_of_reply(d, store_item(reply, i), &job);
        keep(listing, &job);
    }
    listing->before = reply_number(reply, 0);
    if (listing->before && listing->count < listing->limit) {
        list_more(d, &item->from, listing);
        return;
    }
    proto_jobs_t jobs = {.jobs = {listing->jobs, listing->count}};
    answer(d, &item->from, PROTO_jobs, &jobs);
    listing_free(listing);
}

static err_code_t read_list(const proto_job_list_t *list, uint64_t *before, err_t *err) {
    job_state_t state;
    if (list->state[0] && !job_state_parse(list->state, &state)) {
        err_set(err, ERR_INVALID, "state: there is no state '%s'", list->state);
        return err_remedy(err, "use queued, running, succeeded, failed, cancelled or dead");
    }
    size_t digits = strspn(list->before, "0123456789");
    if (list->before[digits] || digits > 15) {
        err_set(err, ERR_INVALID, "before: '%s' is no id of a job", list->before);
        return err_remedy(err, "give the last id of the page before");
    }
    *before = strtoull(list->before, NULL, 10);
    return ERR_OK;
}

void on_list(dispatcher_t *d, const bus_message_t *message) {
    proto_job_list_t list;
    uint64_t before = 0;
    request_t from = request_of(message);
    err_t err;
    if (!decode(d, message, &list))
        return;
    if (read_list(&list, &before, &err) != ERR_OK) {
        answer_error(d, &from, &err);
        return;
    }
    listing_t *listing = mem_zero(1, sizeof *listing);
    snprintf(listing->state, sizeof listing->state, "%s", list.state);
    snprintf(listing->kind, sizeof listing->kind, "%s", list.kind);
    listing->before = before;
    listing->limit = list.limit;
    listing->jobs = mem_zero(list.limit, sizeof *listing->jobs);
    listing->arena = proto_arena_new();
    list_more(d, &from, listing);
}

// --- Cancel and retry
// ----------------------------------------------------------------------------

static void ended_already(dispatcher_t *d, const item_t *item, const char *state) {
    err_t err;
    err_set(&err, ERR_CONFLICT, "job %s has ended already: it is %s", item->job, state);
    answer_error(d, &item->from, &err);
}

static void cancelled(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                      const err_t *err) {
    err_t none;
    const char *word = err ? "" : reply_text(reply, 0), *state = err ? "" : reply_text(reply, 1);
    if (err) {
        answer_error(d, &item->from, err);
        return;
    }
    if (strcmp(word, "NONE") == 0) {
        no_such_job(&none, item->job);
        answer_error(d, &item->from, &none);
        return;
    }
    if (strcmp(word, "ENDED") == 0) {
        ended_already(d, item, state);
        return;
    }
    followers_touch(d, item->job);
    if (strcmp(state, "running") == 0)
        cancel_attempt(d, item->job, reply_number(reply, 3));
    else if (reply_text(reply, 2)[0])
        kind_ready(d, reply_text(reply, 2), -1);
    show_to(d, &item->from, item->job);
}

void on_cancel(dispatcher_t *d, const bus_message_t *message) {
    proto_job_cancel_t cancel;
    request_t from = request_of(message);
    if (!decode(d, message, &cancel))
        return;
    item_t *item = item_new(SCRIPT_cancel, &from, cancelled);
    snprintf(item->job, sizeof item->job, "%s", cancel.job);
    item_text(item, cancel.job);
    item_text(item, cancel.reason[0] ? cancel.reason : "cancelled on request");
    batch_add(d->batch, item);
}

static void retried(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                    const err_t *err) {
    err_t why;
    if (err) {
        answer_error(d, &item->from, err);
        return;
    }
    const char *word = reply_text(reply, 0), *detail = reply_text(reply, 1);
    if (strcmp(word, "NONE") == 0) {
        no_such_job(&why, item->job);
    } else if (strcmp(word, "STATE") == 0) {
        err_set(&why, ERR_CONFLICT, "job %s is %s", item->job, detail);
        err_remedy(&why, "submit it anew to have it done once more");
    } else if (strcmp(word, "FULL") == 0) {
        err_set(&why, ERR_FULL, "%lld jobs wait already", (long long)d->conf->max_queued);
        err_remedy(&why, "try again when some are done, or raise max_queued");
    } else if (strcmp(word, "GONE") == 0) {
        err_set(&why, ERR_CONFLICT, "job %s needs %s, which has been removed", item->job,
                detail + 2);
        err_remedy(&why, "submit it anew with what exists");
    } else {
        followers_touch(d, item->job);
        if (detail[0])
            kind_ready(d, detail, 1);
        show_to(d, &item->from, item->job);
        return;
    }
    answer_error(d, &item->from, &why);
}

void on_retry(dispatcher_t *d, const bus_message_t *message) {
    proto_job_retry_t retry;
    request_t from = request_of(message);
    if (!decode(d, message, &retry))
        return;
    item_t *item = item_new(SCRIPT_retry, &from, retried);
    snprintf(item->job, sizeof item->job, "%s", retry.job);
    item_text(item, retry.job);
    batch_add(d->batch, item);
}
