// Attempts: what workers tell of them, and how they end.
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "gangs_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define REASON_BYTES 1000
#define END_AGAIN_MS 1000 // after Redis refused to end an attempt

// 0 … 1, for back-offs.
static double jitter(void) {
    uint32_t bits = 0;
    if (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        return 0;
    return bits / 4294967296.0;
}

// --- Reports and checkpoints
// ---------------------------------------------------------------------

static err_code_t stale(err_t *err, const char *job, uint64_t token) {
    return err_set(err, ERR_STALE, "job %s: token %llu no longer holds it", job,
                   (unsigned long long)token);
}

// word: what the script says of the one who tells.
static err_code_t refusal(err_t *err, const item_t *item, const char *word) {
    if (strcmp(word, "RANK") != 0)
        return stale(err, item->job, item->token);
    err_set(err, ERR_INVALID, "job %s: %s is not rank 0 of its gang", item->job, item->worker);
    return err_remedy(err, "only rank 0 sends events, checkpoints and results");
}

static void stored(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                   const err_t *err) {
    err_t why;
    if (err) {
        answer_error(d, &item->from, err);
    } else if (reply_text(reply, 0)[0]) {
        refusal(&why, item, reply_text(reply, 0));
        answer_error(d, &item->from, &why);
    } else {
        followers_touch(d, item->job);
        answer_ok(d, &item->from);
    }
}

static item_t *attempt_item(script_t script, const bus_message_t *message, item_fn done,
                            const char *job, uint64_t token, const char *worker) {
    request_t from = request_of(message);
    item_t *item = item_new(script, &from, done);
    snprintf(item->job, sizeof item->job, "%s", job);
    snprintf(item->worker, sizeof item->worker, "%s", worker);
    item->token = token;
    item_text(item, job);
    item_number(item, token);
    return item;
}

static err_code_t check_events(const proto_report_t *events, size_t count, err_t *err) {
    err_code_t code = ERR_OK;
    for (size_t i = 0; i < count && code == ERR_OK; i++)
        code = check_depth("events", events[i].data, err);
    return code;
}

// As they are stored, but for the time, which the script puts before.
static void put_events(item_t *item, const proto_report_t *events, size_t count) {
    item_number(item, count);
    for (size_t i = 0; i < count; i++) {
        char text[1 + 32 + PROTO_BODY_MAX];
        size_t length = strlen(events[i].type), size = events[i].data.size;
        text[0] = (char)length;
        memcpy(text + 1, events[i].type, length);
        if (size)
            memcpy(text + 1 + length, events[i].data.data, size);
        item_bytes(item, text, 1 + length + size);
    }
}

// "done" of "total", from 0 to 1; -1: the events say nothing of it.
static double progress_of(const proto_report_t *events, size_t count) {
    for (size_t i = count; i-- > 0;) {
        double done, total;
        if (strcmp(events[i].type, "progress") == 0 && map_real(events[i].data, "done", &done) &&
            map_real(events[i].data, "total", &total) && total > 0 && done >= 0)
            return done < total ? done / total : 1;
    }
    return -1;
}

void on_report(dispatcher_t *d, const bus_message_t *message) {
    proto_job_report_t report;
    err_t err;
    if (!decode(d, message, &report))
        return;
    if (check_events(report.events.items, report.events.count, &err) != ERR_OK) {
        request_t from = request_of(message);
        answer_error(d, &from, &err);
        return;
    }
    item_t *item =
        attempt_item(SCRIPT_report, message, stored, report.job, report.token, report.worker);
    double progress = progress_of(report.events.items, report.events.count);
    item_text(item, report.worker);
    item_number(item, report.seq);
    if (progress < 0)
        item_text(item, "");
    else
        item_real(item, progress);
    put_events(item, report.events.items, report.events.count);
    batch_add(d->batch, item);
}

void on_checkpoint(dispatcher_t *d, const bus_message_t *message) {
    proto_job_checkpoint_t checkpoint;
    err_t err;
    if (!decode(d, message, &checkpoint))
        return;
    buf_t packed;
    buf_init(&packed, PROTO_MESSAGE_MAX);
    err_code_t code = check_depth("checkpoint: info", checkpoint.checkpoint->info, &err);
    if (code == ERR_OK)
        code = check_path("checkpoint: path", checkpoint.checkpoint->path, &err);
    if (code == ERR_OK)
        code = proto_encode(PROTO_checkpoint, checkpoint.checkpoint, &packed, &err);
    if (code) {
        request_t from = request_of(message);
        answer_error(d, &from, &err);
    } else {
        item_t *item = attempt_item(SCRIPT_checkpoint, message, stored, checkpoint.job,
                                    checkpoint.token, checkpoint.worker);
        item_text(item, checkpoint.worker);
        item_bytes(item, packed.data, packed.size);
        item_number(item, checkpoint.checkpoint->step);
        item_text(item, checkpoint.checkpoint->path);
        batch_add(d->batch, item);
    }
    buf_release(&packed);
}

// --- The end, as the worker tells it
// -------------------------------------------------------------

static void count_outcome(dispatcher_t *d, const char *outcome) {
    static const struct {
        const char *name;
        size_t offset;
    } counters[] = {
        {"succeeded", offsetof(stats_t, succeeded)}, {"failed", offsetof(stats_t, failed)},
        {"cancelled", offsetof(stats_t, cancelled)}, {"released", offsetof(stats_t, released)},
        {"died", offsetof(stats_t, died)},           {"lost", offsetof(stats_t, lost)}};
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        if (strcmp(counters[i].name, outcome) == 0)
            metric_add((metric_counter_t *)(void *)((char *)&d->stats + counters[i].offset), 1);
}

// The job is in that state now.
static void job_moved(dispatcher_t *d, const char *job, const char *state, const char *kind,
                      uint64_t delay_ms) {
    followers_touch(d, job);
    if (strcmp(state, "queued") != 0)
        return;
    if (delay_ms)
        watch_delay(d, (int64_t)delay_ms);
    else if (!kind[0])
        watch_soon(d); // a gang's
    else
        kind_ready(d, kind, 1);
}

static void delete_leftovers(dispatcher_t *d, const store_reply_t *reply, const char *job) {
    char folder[PROTO_NAME_MAX + 8];
    snprintf(folder, sizeof folder, "jobs/%s/", job);
    for (size_t i = 7; i < store_count(reply); i++)
        if (strncmp(reply_text(reply, i), folder, strlen(folder)) == 0)
            files_delete(d->files, reply_text(reply, i));
}

// One member's part is done, or was given back: then the others are to come to an end, too.
static void part_ended(dispatcher_t *d, const item_t *item) {
    lease_t *lease = lease_of(d->leases, item->job, item->worker);
    if (!lease || lease->token != item->token || lease->rank == 0)
        return;
    lease_remove(d->leases, lease);
    if (strcmp(item->kind, "released") == 0)
        release_gang(d, item->job, item->token);
}

static void finished(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                     const err_t *err) {
    err_t why;
    worker_t *worker = worker_find(d, item->worker);
    if (worker && worker->reserved && item->number)
        worker->reserved--;
    if (err) {
        answer_error(d, &item->from, err);
        return;
    }
    if (reply_text(reply, 0)[0]) {
        refusal(&why, item, reply_text(reply, 0));
        if (why.code == ERR_STALE && lease_of(d->leases, item->job, item->worker))
            drop_attempt(d, item->job, item->token, item->worker);
        answer_error(d, &item->from, &why);
        match_later(d);
        return;
    }
    proto_arena_reset(d->arena);
    proto_worker_assign_t next;
    proto_job_finished_t done = {
        .job = item->job, .state = reply_text(reply, 1), .version = reply_number(reply, 2)};
    if (strcmp(done.state, "part") == 0)
        part_ended(d, item);
    else
        drop_attempt(d, item->job, item->token, item->worker);
    job_moved(d, item->job, done.state, reply_text(reply, 4), reply_number(reply, 5));
    if (take_lease(d, store_item(reply, 3), item->worker, &next)) {
        done.next = &next;
        kind_ready(d, next.kind, -1);
    } else {
        match_later(d);
    }
    answer(d, &item->from, PROTO_job_finished, &done);
    delete_leftovers(d, reply, item->job);
    if (reply_number(reply, 6))
        followers_revision(d, reply_number(reply, 6));
}

static err_code_t check_new(const char *what, const char *name, const char *path,
                            proto_bytes_t info, err_t *err) {
    err_code_t code = job_check_name(what, name, err);
    if (code == ERR_OK)
        code = check_path(what, path, err);
    return code ? code : check_depth(what, info, err);
}

static err_code_t check_finish(const proto_job_finish_t *finish, job_outcome_t *outcome,
                               err_t *err) {
    err_code_t code = check_events(finish->events.items, finish->events.count, err);
    if (code == ERR_OK &&
        (!job_outcome_parse(finish->outcome, outcome) || *outcome == JOB_END_LOST)) {
        err_set(err, ERR_INVALID, "job.finish: outcome '%s' is unknown", finish->outcome);
        code = err_remedy(err, "use succeeded, failed, cancelled, released or died");
    }
    if (code == ERR_OK && finish->dataset && finish->model)
        code = err_set(err, ERR_INVALID, "job.finish: both a data set and a model");
    if (code == ERR_OK && *outcome == JOB_END_FAILED && !finish->error)
        code = err_set(err, ERR_INVALID, "job.finish: error is missing from a failure");
    if (code == ERR_OK)
        code = check_depth("job.finish: result", finish->result, err);
    if (code == ERR_OK && finish->dataset)
        code = check_new("job.finish: dataset", finish->dataset->name, finish->dataset->path,
                         finish->dataset->info, err);
    if (code == ERR_OK && finish->model)
        code = check_new("job.finish: model", finish->model->name, finish->model->path,
                         finish->model->info, err);
    if (code == ERR_OK && finish->model && !job_is_promote(finish->model->promote)) {
        err_set(err, ERR_INVALID, "job.finish: promote '%s' is unknown", finish->model->promote);
        code = err_remedy(err, "use first, always or never");
    }
    return code;
}

static void put_new(item_t *item, const proto_job_finish_t *finish) {
    const proto_new_dataset_t *dataset = finish->dataset;
    const proto_new_model_t *model = finish->model;
    item_number(item, dataset || model ? 7 : 0);
    if (!dataset && !model)
        return;
    item_text(item, dataset ? "d" : "m");
    item_text(item, dataset ? dataset->name : model->name);
    item_number(item, dataset ? dataset->base : 0);
    item_text(item, dataset ? dataset->path : model->path);
    item_text(item, dataset ? dataset->digest : model->digest);
    proto_bytes_t info = dataset ? dataset->info : model->info;
    item_bytes(item, info.data, info.size);
    item_text(item, model ? model->promote : "never");
}

// For the next lease in the same transition, unless the worker wants no more or other leases are on
// their way to all its slots.
static void put_next(dispatcher_t *d, item_t *item, const char *name, bool holds) {
    worker_t *worker = worker_find(d, name);
    size_t taken = worker ? worker->leases.count - holds + worker->reserved : 0;
    item_text(item, name);
    item_text(item, worker ? worker->boot : "");
    if (!worker || !worker->known || worker->draining || worker->full || taken >= worker->slots) {
        item_number(item, 0);
        item_number(item, 0);
        return;
    }
    worker->reserved++;
    item->number = 1; // a slot is reserved
    put_kinds(item, worker);
    item_text(item, gangs_before(d, worker));
}

// A short text of the failure, for lists; the whole of it is kept beside.
static void put_reason(item_t *item, const char *text) {
    size_t size = 0;
    while (text[size]) {
        size_t length = utf8_length(text + size, strlen(text + size));
        if (length == 0 || size + length > REASON_BYTES)
            break;
        size += length;
    }
    item_bytes(item, text, size);
}

static void put_failure(item_t *item, const proto_job_finish_t *finish, job_outcome_t outcome) {
    const proto_failure_t *failure = finish->error;
    bool failed = failure && outcome != JOB_END_SUCCEEDED;
    buf_t packed;
    buf_init(&packed, PROTO_MESSAGE_MAX);
    if (failed)
        proto_encode(PROTO_failure, failure, &packed, NULL);
    item_bytes(item, packed.data, packed.size);
    buf_release(&packed);
    put_reason(item, failed ? failure->message : "");
}

void on_finish(dispatcher_t *d, const bus_message_t *message) {
    proto_job_finish_t finish;
    job_outcome_t outcome;
    err_t err;
    if (!decode(d, message, &finish))
        return;
    if (check_finish(&finish, &outcome, &err) != ERR_OK) {
        request_t from = request_of(message);
        answer_error(d, &from, &err);
        return;
    }
    const lease_t *lease = lease_of(d->leases, finish.job, finish.worker);
    bool holds = lease && lease->token == finish.token && strcmp(lease->worker, finish.worker) == 0;
    // Some members stop before others, whose steps then fail: that is no failure.
    if (holds && lease->release && outcome == JOB_END_FAILED && finish.error->retryable) {
        outcome = JOB_END_RELEASED;
        finish.outcome = job_outcome_name(outcome);
    }
    if (holds && outcome == JOB_END_RELEASED && !lease->shown) {
        worker_t *worker = worker_find(d, finish.worker);
        if (worker)
            worker->full = true;
    }
    item_t *item =
        attempt_item(SCRIPT_finish, message, finished, finish.job, finish.token, finish.worker);
    snprintf(item->kind, sizeof item->kind, "%s", finish.outcome); // for part_ended()
    item_text(item, finish.outcome);
    item_number(item, finish.error ? finish.error->retryable : 0);
    item_real(item, jitter());
    item_bytes(item, finish.result.data, finish.result.size);
    put_failure(item, &finish, outcome);
    put_new(item, &finish);
    item_number(item, finish.seq);
    put_events(item, finish.events.items, finish.events.count);
    put_next(d, item, finish.worker, holds);
    bool part =
        holds && lease->rank > 0 && (outcome == JOB_END_SUCCEEDED || outcome == JOB_END_RELEASED);
    if (holds && !part)
        count_outcome(d, finish.outcome);
    batch_add(d->batch, item);
}

// --- The end, as this side sees it
// ---------------------------------------------------------------

static void ended(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                  const err_t *err) {
    size_t rank = 0;
    if (err) {
        if (err->code != ERR_NOT_LEADER)
            log_error("job %s: its attempt cannot be ended: %s", item->job, err->message);
        for (lease_t *lease; (lease = attempt_next(d, item->job, item->token, &rank)) != NULL;) {
            lease->ending = false;
            lease->judge_ms = clock_mono_ms() + END_AGAIN_MS;
        }
        return;
    }
    drop_attempt(d, item->job, item->token, NULL);
    if (!reply_text(reply, 0)[0])
        job_moved(d, item->job, reply_text(reply, 1), reply_text(reply, 2), reply_number(reply, 3));
    match_later(d);
}

void end_attempt(dispatcher_t *d, lease_t *lease, const char *outcome, const err_t *failure,
                 const char *reason) {
    if (lease->ending)
        return;
    size_t rank = 0;
    for (lease_t *each; (each = attempt_next(d, lease->job, lease->token, &rank)) != NULL;)
        each->ending = true;
    log_write(LOG_WARN, (const char *[]){"job", lease->job, "worker", lease->worker, NULL},
              "job %s: attempt %llu on %s ends: %s", lease->job, (unsigned long long)lease->attempt,
              lease->worker, reason);
    buf_t packed;
    buf_init(&packed, PROTO_MESSAGE_MAX);
    if (failure) {
        proto_failure_t error = {.code = err_name(failure->code),
                                 .message = failure->message,
                                 .remedy = failure->remedy,
                                 .retryable = true};
        proto_encode(PROTO_failure, &error, &packed, NULL);
    }
    item_t *item = item_new(SCRIPT_end, NULL, ended);
    snprintf(item->job, sizeof item->job, "%s", lease->job);
    item->token = lease->token;
    item_text(item, lease->job);
    item_number(item, lease->token);
    item_text(item, outcome);
    item_real(item, jitter());
    item_bytes(item, packed.data, packed.size);
    item_text(item, reason);
    buf_release(&packed);
    count_outcome(d, outcome);
    batch_add(d->batch, item);
}

static void end_stalled(dispatcher_t *d, lease_t *lease, int64_t now_ms) {
    err_t failure;
    err_set(&failure, ERR_TIMEOUT, "no progress on %s for %.0f s", lease->worker,
            (double)(now_ms - lease->moved_ms) / 1000);
    err_remedy(&failure,
               "look at the job's log for what it was doing; jobs whose steps take longer "
               "need a larger stall_ms");
    end_attempt(d, lease, "failed", &failure, failure.message);
}

// Another member was heard of long after this one. Where all fell silent together it is more likely
// the way to this process that is cut: the gang may go on, and has the time that single jobs have.
static bool outlived(const dispatcher_t *d, const lease_t *lease) {
    size_t rank = 0;
    for (const lease_t *each; (each = attempt_next(d, lease->job, lease->token, &rank)) != NULL;)
        if (each->renewed_ms - lease->renewed_ms > 2 * d->conf->heartbeat_ms)
            return true;
    return false;
}

static lease_verdict_t judge(const dispatcher_t *d, const lease_t *lease, int64_t now_ms) {
    const conf_t *conf = d->conf;
    int64_t gang_ms = outlived(d, lease) ? gang_limit_ms(d) : conf->lease_ms;
    return lease_judge(lease, now_ms, conf->lease_ms, gang_ms, conf->stall_ms);
}

void attempts_tick(dispatcher_t *d, int64_t now_ms) {
    size_t at = 0;
    for (lease_t *lease; (lease = lease_next(d->leases, &at)) != NULL;) {
        if (lease->ending || now_ms < lease->judge_ms)
            continue;
        char reason[160];
        switch (judge(d, lease, now_ms)) {
        case LEASE_GOOD:
            break;
        case LEASE_EXPIRED:
            snprintf(reason, sizeof reason, "nothing heard from %s for %.1f s: the lease is lost",
                     lease->worker, (double)(now_ms - lease->renewed_ms) / 1000);
            end_attempt(d, lease, "lost", NULL, reason);
            break;
        case LEASE_STALLED:
            end_stalled(d, lease, now_ms);
            break;
        }
    }
}
