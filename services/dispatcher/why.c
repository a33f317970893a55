// What a job waits for, for programs and for people.
#include "base/clock.h"
#include "base/map.h"
#include "base/nearest.h"
#include "gangs_impl.h"
#include "proto/json.h"

#include <stdio.h>
#include <string.h>

#define NAMED_MAX 5 // jobs that a text names

typedef struct {
    dispatcher_t *d;
    const store_reply_t *job; // lua/lib_show.lua
    int64_t now_ms;           // of the store
    const char *waits_for;
    buf_t text;
    json_t *detail;
} reason_t;

static void say_seconds(buf_t *text, double ms) {
    if (ms < 60000)
        buf_printf(text, "%.1f s", ms / 1000);
    else if (ms < 7200000)
        buf_printf(text, "%.0f min", ms / 60000);
    else
        buf_printf(text, "%.1f h", ms / 3600000);
}

// --- Waiting
// -------------------------------------------------------------------------------------

static void say_delay(reason_t *reason, double left_ms) {
    uint64_t failures = reply_number(reason->job, 13);
    reason->waits_for = "delay";
    if (failures)
        buf_printf(&reason->text, "failed %llu of %llu times (%s); tried again in ",
                   (unsigned long long)failures, (unsigned long long)reply_number(reason->job, 14),
                   reply_text(reason->job, 17));
    else
        buf_puts(&reason->text, "submitted with a delay; it may begin in ");
    say_seconds(&reason->text, left_ms);
    json_object_set_new(reason->detail, "left_ms", json_real(left_ms));
}

// Who serves the kind, and the jobs they run.
typedef struct {
    size_t alive, draining, lost;
    uint64_t slots;
    json_t *jobs;
} servers_t;

static servers_t find_servers(dispatcher_t *d, const char *kind_name) {
    servers_t servers = {.jobs = json_array()};
    const kind_t *kind = map_get(d->workers->kinds, kind_name);
    int64_t now_ms = clock_mono_ms();
    for (size_t i = 0; kind && i < d->workers->count; i++) {
        const worker_t *worker = d->workers->list[i];
        if (!worker_serves(worker, kind))
            continue;
        if (!worker_alive(d, worker, now_ms)) {
            servers.lost++;
            continue;
        }
        if (worker->draining) {
            servers.draining++;
            continue;
        }
        servers.alive++;
        servers.slots += worker->slots;
        for (const lease_t *lease = worker->leases.first; lease; lease = lease->next)
            json_array_append_new(servers.jobs, json_string(lease->job));
    }
    return servers;
}

static const char *builtin_kinds(void *arg, size_t index) {
    static const char *const kinds[] = {"ingest", "train", "tune", "evaluate", "predict", NULL};
    (void)arg;
    return kinds[index];
}

static void say_nobody(reason_t *reason, const servers_t *servers, const char *kind) {
    reason->waits_for = "worker";
    buf_printf(&reason->text, "no worker that serves %s is here", kind);
    if (servers->lost)
        buf_printf(&reason->text, " (%zu were, but are not heard of any more)", servers->lost);
    if (servers->draining)
        buf_printf(&reason->text, " (%zu take no new jobs: they drain)", servers->draining);
    const char *program = strcmp(kind, "ingest") == 0 ? "inkling-ingest"
                          : strcmp(kind, "tune") == 0 ? "inkling-tuner"
                          : strcmp(kind, "train") == 0 || strcmp(kind, "evaluate") == 0 ||
                                  strcmp(kind, "predict") == 0
                              ? "inkling-trainer"
                              : "one";
    char meant[64];
    bool own = strcmp(program, "one") != 0;
    if (!own && nearest(kind, builtin_kinds, NULL, meant))
        buf_printf(&reason->text, "; did you mean the kind %s?", meant);
    else
        buf_printf(&reason->text, "; start %s (`inkling status` shows what runs)", program);
}

static void say_waiting(reason_t *reason) {
    const char *kind_name = reply_text(reason->job, 1);
    servers_t servers = find_servers(reason->d, kind_name);
    const kind_t *kind = map_get(reason->d->workers->kinds, kind_name);
    size_t busy = json_array_size(servers.jobs);
    if (servers.alive == 0) {
        say_nobody(reason, &servers, kind_name);
    } else {
        reason->waits_for = "slot";
        buf_printf(&reason->text, "all %llu slots for %s are busy with job",
                   (unsigned long long)servers.slots, kind_name);
        for (size_t i = 0; i < busy && i < NAMED_MAX; i++)
            buf_printf(&reason->text, "%s %s",
                       i          ? ","
                       : busy > 1 ? "s"
                                  : "",
                       json_string_value(json_array_get(servers.jobs, i)));
        if (busy > NAMED_MAX)
            buf_puts(&reason->text, ", …");
        buf_printf(&reason->text, "; %llu wait",
                   (unsigned long long)(kind && kind->ready ? kind->ready : 1));
    }
    while (json_array_size(servers.jobs) > 100)
        json_array_remove(servers.jobs, 100);
    json_object_set_new(reason->detail, "slots", json_integer((json_int_t)servers.slots));
    json_object_set_new(reason->detail, "jobs", servers.jobs);
    json_object_set_new(reason->detail, "ready", json_integer(kind ? (json_int_t)kind->ready : 0));
}

static bool say_gang(reason_t *reason) {
    size_t idle = 0, want = 0;
    if (!gangs_why(reason->d, reply_text(reason->job, 0), &reason->text, &idle, &want))
        return false;
    reason->waits_for = "slot";
    json_object_set_new(reason->detail, "idle", json_integer((json_int_t)idle));
    json_object_set_new(reason->detail, "wanted", json_integer((json_int_t)want));
    return true;
}

// --- Running
// -------------------------------------------------------------------------------------

static void say_running(reason_t *reason) {
    const lease_t *lease = lease_find(reason->d->leases, reply_text(reason->job, 0));
    int64_t now_ms = clock_mono_ms();
    if (!lease) {
        reason->waits_for = "lease";
        buf_puts(&reason->text, "its attempt has just begun or ended");
        return;
    }
    double ran_ms = (double)reason->now_ms - (double)reply_number(reason->job, 9);
    double age_ms = (double)(now_ms - lease->renewed_ms);
    double still_ms = (double)(now_ms - lease->moved_ms);
    bool late = age_ms > HEARTBEATS_LOST * (double)reason->d->conf->heartbeat_ms;
    reason->waits_for = late || !lease->shown ? "lease" : "progress";
    buf_printf(&reason->text, "runs on %s", lease->worker);
    for (size_t rank = 1; rank < lease->world; rank++) {
        const lease_t *member = lease_member(reason->d->leases, lease->job, rank);
        if (member)
            buf_printf(&reason->text, ", %s", member->worker);
    }
    buf_printf(&reason->text, " (attempt %llu) since ", (unsigned long long)lease->attempt);
    say_seconds(&reason->text, ran_ms);
    if (lease->shown)
        buf_printf(&reason->text, ", at step %llu for ", (unsigned long long)lease->step);
    else
        buf_puts(&reason->text, ", its worker has not confirmed it for ");
    say_seconds(&reason->text, still_ms);
    buf_puts(&reason->text, "; its lease was renewed ");
    say_seconds(&reason->text, age_ms);
    buf_printf(&reason->text, " ago (lost after %.1f s)",
               (double)lease_limit_ms(lease, reason->d->conf->lease_ms, gang_limit_ms(reason->d)) /
                   1000);
    if (lease->cancel)
        buf_puts(&reason->text, "; it is being cancelled");
    json_object_set_new(reason->detail, "worker", json_string(lease->worker));
    json_object_set_new(reason->detail, "step", json_integer((json_int_t)lease->step));
    json_object_set_new(reason->detail, "step_ms", json_real(lease->step_ms));
    json_object_set_new(reason->detail, "still_ms", json_real(still_ms));
    json_object_set_new(reason->detail, "lease_age_ms", json_real(age_ms));
}

// --- Ended
// ---------------------------------------------------------------------------------------

static void say_ended(reason_t *reason, const char *state) {
    const char *id = reply_text(reason->job, 0), *why = reply_text(reason->job, 17);
    reason->waits_for = "nothing";
    if (strcmp(state, "succeeded") == 0)
        buf_puts(&reason->text, "it succeeded");
    else if (strcmp(state, "dead") == 0)
        buf_printf(&reason->text,
                   "quarantined: its process died %llu times without a new checkpoint (%s); find "
                   "out why, then `inkling job retry %s`",
                   (unsigned long long)reply_number(reason->job, 4), why, id);
    else
        buf_printf(&reason->text, "it is %s%s%s; `inkling job retry %s` queues it again", state,
                   why[0] ? ": " : "", why, id);
}

void answer_why(dispatcher_t *d, const item_t *item, const store_reply_t *reply, const err_t *err) {
    err_t none;
    if (err || reply_text(reply, 0)[0]) {
        if (!err)
            no_such_job(&none, item->job);
        answer_error(d, &item->from, err ? err : &none);
        return;
    }
    reason_t reason = {.d = d,
                       .job = store_item(reply, 1),
                       .now_ms = (int64_t)reply_number(reply, 2),
                       .waits_for = "nothing",
                       .detail = json_object()};
    buf_init(&reason.text, PROTO_TEXT_MAX);
    const char *state = reply_text(reason.job, 2);
    double left_ms = (double)reply_number(reason.job, 15) - (double)reason.now_ms;
    if (strcmp(state, "running") == 0)
        say_running(&reason);
    else if (strcmp(state, "queued") != 0)
        say_ended(&reason, state);
    else if (left_ms > 0)
        say_delay(&reason, left_ms);
    else if (!say_gang(&reason))
        say_waiting(&reason);
    proto_arena_reset(d->arena);
    proto_job_reason_t answered = {
        .job = item->job, .state = state, .waits_for = reason.waits_for, .text = reason.text.data};
    proto_map_from_json(reason.detail, d->arena, &answered.detail, NULL);
    answer(d, &item->from, PROTO_job_reason, &answered);
    json_decref(reason.detail);
    buf_release(&reason.text);
}
