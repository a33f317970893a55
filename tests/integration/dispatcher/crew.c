#include "crew.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLDS_MAX 64
#define BEAT_MS   100
#define MEETINGS  2 // of a gang, before it does anything else

// One attempt at a job. It sends one message at a time.
typedef struct {
    record_t *record;
    char job[PROTO_NAME_MAX + 1];
    uint64_t token, step;
    uint64_t seq, reports; // events acknowledged; how many it will tell
    bool checkpoint;       // one is still to be told
    const char *outcome;
    uint64_t rank, world; // of a gang
    uint64_t met;         // meetings that were answered
    bool leaves;          // it was told to stop
    bool intrudes;        // rank 1 and up: it will report what only rank 0 may
    uint64_t id;          // of the message on its way, 0: none
    uint64_t told;        // events in it
    int64_t due_ms;       // it is sent, or sent again
    bool superseded;      // when it was first sent, another worker had got a newer token
} hold_t;

typedef struct {
    crew_t *crew;
    char name[16], boot[32];
    uint64_t boots, next_id, hello_id;
    bus_socket_t *dealer; // NULL: dead
    bool welcome;
    int64_t back_ms, frozen_ms, beat_ms, hello_ms, heard_ms;
    hold_t holds[HOLDS_MAX];
    size_t hold_count;
} worker_t;

struct crew {
    bus_loop_t *loop;
    ledger_t *ledger;
    proto_arena_t *arena;
    worker_t workers[CREW_SIZE];
    uint64_t stale, intrusions, tried; // intrusions: those that were refused, tried: those sent
};

// --- What it holds
// -------------------------------------------------------------------------------

static void drop(worker_t *worker, hold_t *hold) {
    *hold = worker->holds[--worker->hold_count];
}

static hold_t *find(worker_t *worker, const char *job) {
    for (size_t i = 0; i < worker->hold_count; i++)
        if (strcmp(worker->holds[i].job, job) == 0)
            return &worker->holds[i];
    return NULL;
}

static void drop_lost(worker_t *worker, const proto_hold_t *lost, size_t count) {
    for (size_t i = 0; i < count; i++) {
        hold_t *hold = find(worker, lost[i].job);
        if (hold && hold->token == lost[i].token)
            drop(worker, hold);
    }
}

static const char *choose_outcome(ledger_t *ledger) {
    uint64_t dice = ledger_random(ledger, 20);
    return dice == 0 ? "released" : dice == 1 ? "failed" : dice == 2 ? "died" : "succeeded";
}

static void take(worker_t *worker, const proto_worker_assign_t *assign) {
    ledger_t *ledger = worker->crew->ledger;
    json_t *body = proto_map_json(assign->body);
    const char *key = strcmp(assign->kind, "train") == 0 ? "seed" : "n";
    size_t number = (size_t)json_integer_value(json_object_get(body, key));
    json_decref(body);
    if (number >= ledger->count) {
        ledger_wrong(ledger, "job %s has another body than was submitted", assign->job);
        return;
    }
    record_t *record = &ledger->records[number];
    hold_t *hold = find(worker, assign->job);
    if ((hold && hold->token >= assign->token) || record->ended == assign->token)
        return; // told twice
    ledger_given(ledger, record, assign, worker->name);
    if (!hold && worker->hold_count == HOLDS_MAX) {
        ledger_wrong(ledger, "%s has %d jobs", worker->name, HOLDS_MAX);
        return;
    }
    if (!hold)
        hold = &worker->holds[worker->hold_count++];
    *hold = (hold_t){.record = record,
                     .token = assign->token,
                     .reports = ledger_random(ledger, 7),
                     .checkpoint = ledger_random(ledger, 3) == 0,
                     .outcome = choose_outcome(ledger),
                     .rank = assign->rank,
                     .world = assign->world,
                     .due_ms = clock_mono_ms() + (int64_t)ledger_random(ledger, 80)};
    if (hold->rank > 0) {
        hold->reports = hold->checkpoint = 0;
        hold->intrudes = ledger_random(ledger, 8) == 0;
    }
    snprintf(hold->job, sizeof hold->job, "%s", assign->job);
}

// --- What it tells
// -------------------------------------------------------------------------------

static void send_to(worker_t *worker, uint64_t id, proto_type_t type, const void *message) {
    err_t err;
    if (bus_send(worker->dealer, NULL, id, 0, type, message, NULL, 0, &err) != ERR_OK &&
        err.code != ERR_FULL)
        ledger_wrong(worker->crew->ledger, "%s", err.message);
}

// What a rank gives to a meeting: nobody else, and no other attempt, gives the same.
static size_t gift(const hold_t *hold, uint64_t rank, char text[128]) {
    return (size_t)snprintf(text, 128, "%s:%llu:%llu:%llu", hold->job,
                            (unsigned long long)hold->token, (unsigned long long)hold->met,
                            (unsigned long long)rank);
}

static void send_meet(worker_t *worker, hold_t *hold) {
    char text[128], round[16];
    snprintf(round, sizeof round, "round-%llu", (unsigned long long)hold->met);
    proto_gang_meet_t meet = {.worker = worker->name,
                              .job = hold->job,
                              .token = hold->token,
                              .rank = hold->rank,
                              .round = round,
                              .data = {text, gift(hold, hold->rank, text)}};
    send_to(worker, hold->id, PROTO_gang_meet, &meet);
}

static void take_meeting(worker_t *worker, hold_t *hold, const proto_gang_met_t *met) {
    char text[128];
    bool right = met->parts.count == hold->world;
    for (uint64_t i = 0; right && i < hold->world; i++)
        right = met->parts.items[i].data.size == gift(hold, i, text) &&
                memcmp(met->parts.items[i].data.data, text, met->parts.items[i].data.size) == 0;
    if (!right)
        ledger_wrong(worker->crew->ledger, "%s: a meeting of others, or of %zu instead of %llu",
                     hold->record->key, met->parts.count, (unsigned long long)hold->world);
    hold->met++;
    ledger_met(hold->record, hold->token);
}

static bool meets(const hold_t *hold) {
    return hold->world > 0 && hold->met < MEETINGS && !hold->leaves;
}

static void send_intrusion(worker_t *worker, hold_t *hold) {
    static const proto_report_t event = {.type = "log"};
    const proto_job_report_t report = {.worker = worker->name,
                                       .job = hold->job,
                                       .token = hold->token,
                                       .seq = 1,
                                       .events = {&event, 1}};
    send_to(worker, hold->id, PROTO_job_report, &report);
}

static void send_report(worker_t *worker, hold_t *hold) {
    proto_arena_t *arena = worker->crew->arena;
    proto_report_t events[2];
    hold->told = hold->reports - hold->seq < 2 ? hold->reports - hold->seq : 2;
    for (uint64_t i = 0; i < hold->told; i++) {
        json_t *data = json_pack("{s:I,s:I}", "token", (json_int_t)hold->token, "seq",
                                 (json_int_t)hold->seq + 1 + (json_int_t)i);
        events[i] = (proto_report_t){.type = "log"};
        proto_map_from_json(data, arena, &events[i].data, NULL);
        json_decref(data);
    }
    proto_job_report_t report = {.worker = worker->name,
                                 .job = hold->job,
                                 .token = hold->token,
                                 .seq = hold->seq + 1,
                                 .events = {events, hold->told}};
    send_to(worker, hold->id, PROTO_job_report, &report);
}

static void send_checkpoint(worker_t *worker, hold_t *hold) {
    char path[200];
    snprintf(path, sizeof path, "jobs/%s/%llu/step-1.ckpt", hold->job,
             (unsigned long long)hold->token);
    const proto_checkpoint_t made = {.path = path,
                                     .digest = "00000000000000000000000000000000"
                                               "00000000000000000000000000000000",
                                     .step = 1};
    proto_job_checkpoint_t checkpoint = {
        .worker = worker->name, .job = hold->job, .token = hold->token, .checkpoint = &made};
    send_to(worker, hold->id, PROTO_job_checkpoint, &checkpoint);
}

static void send_finish(worker_t *worker, hold_t *hold) {
    static const proto_failure_t failure = {
        .code = "IO", .message = "no luck", .remedy = "", .retryable = false};
    proto_job_finish_t finish;
    proto_defaults(PROTO_job_finish, &finish);
    finish.worker = worker->name;
    finish.job = hold->job;
    finish.token = hold->token;
    finish.outcome = hold->outcome;
    finish.error = strcmp(hold->outcome, "failed") == 0 ? &failure : NULL;
    send_to(worker, hold->id, PROTO_job_finish, &finish);
}

static void go_on(worker_t *worker, hold_t *hold, int64_t now_ms) {
    if (now_ms < hold->due_ms || !worker->welcome)
        return;
    // As in a collective, nobody goes on before all have met.
    if (hold->world && !meets(hold) && !hold->leaves &&
        !ledger_all_met(hold->record, hold->token, MEETINGS))
        return;
    if (!hold->id) {
        hold->id = ++worker->next_id;
        hold->superseded = hold->record->newest > hold->token;
        bool ends =
            !meets(hold) && !hold->intrudes && hold->seq == hold->reports && !hold->checkpoint;
        if (ends && strcmp(hold->outcome, "died") == 0)
            ledger_died(hold->record, hold->token);
    }
    hold->due_ms = now_ms + AGAIN_MS;
    if (meets(hold))
        send_meet(worker, hold);
    else if (hold->intrudes && ++worker->crew->tried)
        send_intrusion(worker, hold);
    else if (hold->seq < hold->reports)
        send_report(worker, hold);
    else if (hold->checkpoint)
        send_checkpoint(worker, hold);
    else
        send_finish(worker, hold);
}

static void hello(worker_t *worker, int64_t now_ms) {
    static const char *const kinds[] = {"play", "train"};
    proto_hold_t holds[HOLDS_MAX];
    for (size_t i = 0; i < worker->hold_count; i++)
        holds[i] = (proto_hold_t){.job = worker->holds[i].job, .token = worker->holds[i].token};
    proto_worker_hello_t message;
    proto_defaults(PROTO_worker_hello, &message);
    message.worker = worker->name;
    message.boot = worker->boot;
    message.kinds = (proto_strs_t){kinds, 2};
    message.slots = CREW_SLOTS;
    message.holds.items = holds;
    message.holds.count = worker->hold_count;
    worker->welcome = false;
    worker->hello_ms = now_ms + AGAIN_MS;
    worker->hello_id = ++worker->next_id;
    send_to(worker, worker->hello_id, PROTO_worker_hello, &message);
}

static void renew(worker_t *worker, int64_t now_ms) {
    proto_lease_t leases[HOLDS_MAX];
    for (size_t i = 0; i < worker->hold_count; i++)
        leases[i] = (proto_lease_t){.job = worker->holds[i].job,
                                    .token = worker->holds[i].token,
                                    .step = ++worker->holds[i].step};
    proto_worker_renew_t message;
    proto_defaults(PROTO_worker_renew, &message);
    message.worker = worker->name;
    message.boot = worker->boot;
    message.leases.items = leases;
    message.leases.count = worker->hold_count;
    worker->beat_ms = now_ms + BEAT_MS;
    send_to(worker, ++worker->next_id, PROTO_worker_renew, &message);
}

// --- What it is told
// -----------------------------------------------------------------------------

static hold_t *find_by_id(worker_t *worker, uint64_t id) {
    for (size_t i = 0; id && i < worker->hold_count; i++)
        if (worker->holds[i].id == id)
            return &worker->holds[i];
    return NULL;
}

static void refused(worker_t *worker, hold_t *hold, const bus_message_t *message) {
    err_t err;
    bus_error_read(message, &err);
    if (err.code == ERR_STALE) {
        worker->crew->stale++;
        if (hold)
            drop(worker, hold);
    } else if (hold && hold->intrudes && !meets(hold) && err.code == ERR_INVALID) {
        worker->crew->intrusions++;
        hold->intrudes = false;
        hold->id = 0;
        hold->due_ms = 0;
    } else if (!hold && err.code == ERR_INVALID && worker->crew->tried) {
        // the same, which was sent twice, or whose gang has ended meanwhile
    } else if (!err_retryable(err.code)) {
        ledger_wrong(worker->crew->ledger, "%s: %s: %s", worker->name, err_name(err.code),
                     err.message);
    } else if (hold) {
        hold->due_ms = clock_mono_ms() + AGAIN_MS / 4;
    } else if (message->id == worker->hello_id) {
        worker->hello_ms = clock_mono_ms() + AGAIN_MS / 4;
    }
}

static void finished(worker_t *worker, hold_t *hold, const proto_job_finished_t *done) {
    // A member that had not heard of its gang's end is told how it ended, whatever came since.
    bool late = hold->world && hold->token < hold->record->newest;
    if (!late)
        ledger_ended(worker->crew->ledger, hold->record, hold->token, done->state);
    drop(worker, hold);
    if (done->next)
        take(worker, done->next);
}

static void answered(worker_t *worker, hold_t *hold, const void *body, proto_type_t type) {
    ledger_t *ledger = worker->crew->ledger;
    bool late_end = hold->world && type == PROTO_job_finished;
    if (hold->superseded && !late_end)
        ledger_wrong(ledger, "%s: what was sent with token %llu was taken, though %llu was given",
                     hold->record->key, (unsigned long long)hold->token,
                     (unsigned long long)hold->record->newest);
    if (type == PROTO_job_finished) {
        finished(worker, hold, body);
        return;
    }
    hold->id = 0;
    hold->due_ms = clock_mono_ms() + (int64_t)ledger_random(ledger, 80);
    if (type == PROTO_gang_met) {
        take_meeting(worker, hold, body);
    } else if (hold->intrudes) {
        ledger_wrong(ledger, "%s: rank %llu may report", hold->record->key,
                     (unsigned long long)hold->rank);
    } else if (hold->seq < hold->reports) {
        hold->seq += hold->told;
        ledger_reported(ledger, hold->record, hold->token, hold->seq);
    } else {
        hold->checkpoint = false;
    }
}

// What is on its way is done first; a meeting is left.
static void stop(worker_t *worker, const proto_hold_t *which, const char *outcome) {
    hold_t *hold = find(worker, which->job);
    if (!hold || hold->token != which->token || (hold->id && !meets(hold)) || hold->leaves)
        return;
    hold->leaves = true;
    hold->outcome = outcome;
    hold->reports = hold->seq;
    hold->checkpoint = hold->intrudes = false;
    hold->id = 0;
    hold->due_ms = 0;
}

static void on_body(worker_t *worker, const bus_message_t *message, const void *body) {
    hold_t *hold = find_by_id(worker, message->id);
    if (message->type == PROTO_worker_welcome && message->id == worker->hello_id) {
        const proto_worker_welcome_t *welcome = body;
        worker->welcome = true;
        drop_lost(worker, welcome->refused.items, welcome->refused.count);
    } else if (message->type == PROTO_worker_renewed) {
        const proto_worker_renewed_t *renewed = body;
        drop_lost(worker, renewed->lost.items, renewed->lost.count);
        for (size_t i = 0; i < renewed->cancel.count; i++)
            stop(worker, &renewed->cancel.items[i], "cancelled");
        for (size_t i = 0; i < renewed->release.count; i++)
            stop(worker, &renewed->release.items[i], "released");
        if (renewed->hello && worker->welcome)
            hello(worker, clock_mono_ms());
    } else if (message->type == PROTO_worker_assign) {
        take(worker, body);
    } else if (message->type == PROTO_worker_lost) {
        const proto_worker_lost_t *lost = body;
        drop_lost(worker, &(proto_hold_t){.job = lost->job, .token = lost->token}, 1);
    } else if (hold && (message->type == PROTO_ok || message->type == PROTO_job_finished ||
                        message->type == PROTO_gang_met)) {
        answered(worker, hold, body, message->type);
    }
}

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    worker_t *worker = arg;
    crew_t *crew = worker->crew;
    err_t err;
    (void)socket;
    if (worker->frozen_ms)
        return;
    worker->heard_ms = clock_mono_ms();
    if (message->type == PROTO_error) {
        refused(worker, find_by_id(worker, message->id), message);
        return;
    }
    proto_arena_reset(crew->arena);
    void *body = proto_arena_alloc(crew->arena, proto_message(message->type)->size);
    if (proto_decode(message->type, message->body.data, message->body.size, crew->arena, body,
                     &err) == ERR_OK)
        on_body(worker, message, body);
    else
        ledger_wrong(crew->ledger, "%s", err.message);
}

// --- Life
// ---------------------------------------------------------------------------------------

static void begin(worker_t *worker, int64_t now_ms) {
    err_t err;
    snprintf(worker->boot, sizeof worker->boot, "boot-%llu", (unsigned long long)++worker->boots);
    if (bus_dealer_new(worker->crew->loop, scene.endpoint, on_message, worker, &worker->dealer,
                       &err) != ERR_OK)
        fail_msg("%s", err.message);
    worker->heard_ms = now_ms;
    hello(worker, now_ms);
}

static void tick(worker_t *worker, int64_t now_ms) {
    if (!worker->dealer) {
        if (now_ms >= worker->back_ms)
            begin(worker, now_ms);
        return;
    }
    if (worker->frozen_ms && now_ms < worker->frozen_ms)
        return;
    worker->frozen_ms = 0;
    if (!worker->welcome) {
        if (now_ms >= worker->hello_ms)
            hello(worker, now_ms);
        return;
    }
    if (now_ms >= worker->beat_ms)
        renew(worker, now_ms);
    for (size_t i = 0; i < worker->hold_count; i++)
        go_on(worker, &worker->holds[i], now_ms);
    if (now_ms - worker->heard_ms > 10 * BEAT_MS) {
        worker->heard_ms = now_ms;
        hello(worker, now_ms);
    }
}

void crew_tick(crew_t *crew, int64_t now_ms) {
    proto_arena_reset(crew->arena);
    for (size_t i = 0; i < CREW_SIZE; i++)
        tick(&crew->workers[i], now_ms);
}

void crew_kill(crew_t *crew, size_t number, int64_t back_ms) {
    worker_t *worker = &crew->workers[number];
    for (size_t i = 0; i < worker->hold_count; i++)
        ledger_died(worker->holds[i].record, worker->holds[i].token);
    worker->hold_count = 0;
    worker->frozen_ms = 0;
    worker->back_ms = back_ms;
    bus_socket_destroy(&worker->dealer);
}

void crew_freeze(crew_t *crew, size_t number, int64_t until_ms) {
    if (crew->workers[number].dealer)
        crew->workers[number].frozen_ms = until_ms;
}

uint64_t crew_stale(const crew_t *crew) {
    return crew->stale;
}

uint64_t crew_intrusions(const crew_t *crew) {
    return crew->intrusions;
}

crew_t *crew_new(bus_loop_t *loop, ledger_t *ledger) {
    crew_t *crew = mem_zero(1, sizeof *crew);
    crew->loop = loop;
    crew->ledger = ledger;
    crew->arena = proto_arena_new();
    for (size_t i = 0; i < CREW_SIZE; i++) {
        crew->workers[i].crew = crew;
        snprintf(crew->workers[i].name, sizeof crew->workers[i].name, "worker-%zu", i);
    }
    return crew;
}

void crew_destroy(crew_t **self) {
    crew_t *crew = *self;
    if (!crew)
        return;
    for (size_t i = 0; i < CREW_SIZE; i++)
        bus_socket_destroy(&crew->workers[i].dealer);
    proto_arena_destroy(&crew->arena);
    free(crew);
    *self = NULL;
}
