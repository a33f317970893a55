// Does every job end exactly once, whatever is killed or stopped when? Seeded: INKLING_SEED chooses
// another run, INKLING_FAULTS a longer one.
#include "crew.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS      10
#define FAULTS       24
#define SUBMIT_MS    25  // a job comes this often
#define FOLLOW_EVERY 4   // each fourth job has a follower
#define GANG_EVERY   6   // so does each sixth, where there are gangs, a gang's
#define CALLS_MAX    512 // of the client, in flight
#define SETTLE_MS    150000

typedef enum { SUBMIT, CANCEL, FOLLOW } wish_t;

// A request of the client, sent until it is answered.
typedef struct {
    wish_t wish;
    record_t *record;
    uint64_t id; // 0: free
    int64_t due_ms;
} call_t;

typedef struct {
    bus_loop_t *loop;
    ledger_t ledger;
    crew_t *crew;
    bus_socket_t *dealer;
    proto_arena_t *arena;
    call_t calls[CALLS_MAX];
    size_t call_count; // in use
    uint64_t next_id;
    int64_t begun_ms, submit_ms, fault_ms, asked_ms;
    int64_t dispatcher_ms, redis_ms; // when it comes back; 0: it is there
    bool dispatcher_stopped, redis_stopped;
    size_t faults, faults_wanted;
    bool gangs; // there are jobs for several workers
    bool done;
} chaos_t;

static chaos_t chaos;
static uint64_t seed, faults_wanted;

// --- The client
// ---------------------------------------------------------------------------------

static void call_later(wish_t wish, record_t *record, int64_t delay_ms) {
    for (size_t i = 0; i < CALLS_MAX; i++)
        if (!chaos.calls[i].id) {
            chaos.calls[i] = (call_t){wish, record, ++chaos.next_id, clock_mono_ms() + delay_ms};
            chaos.call_count++;
            return;
        }
    ledger_wrong(&chaos.ledger, "%d requests have no answer", CALLS_MAX);
}

static void end_call(call_t *call) {
    call->id = 0;
    chaos.call_count--;
}

static void send_call(call_t *call, int64_t now_ms) {
    err_t err = {ERR_OK, "", ""};
    const record_t *record = call->record;
    call->due_ms = now_ms + AGAIN_MS;
    if (call->wish == SUBMIT) {
        char body[128];
        snprintf(body, sizeof body, "{\"n\":%zu}", record->number);
        if (record->replicas)
            snprintf(body, sizeof body,
                     "{\"dataset\":\"heads\",\"seed\":%zu,\"replicas\":%d,\"min_replicas\":%d}",
                     record->number, (int)record->replicas, (int)record->least);
        proto_job_submit_t submit = scene_wish(record->replicas ? "train" : "play", body);
        submit.key = record->key;
        bus_send(chaos.dealer, NULL, call->id, 0, PROTO_job_submit, &submit, NULL, 0, &err);
        proto_arena_reset(scene.arena);
    } else if (call->wish == CANCEL) {
        proto_job_cancel_t cancel = {.job = record->id, .reason = ""};
        bus_send(chaos.dealer, NULL, call->id, 0, PROTO_job_cancel, &cancel, NULL, 0, &err);
    } else {
        proto_job_events_t events;
        proto_defaults(PROTO_job_events, &events);
        events.job = record->id;
        events.after = record->followed;
        events.limit = 7;
        events.wait_ms = 2000;
        call->due_ms += (int64_t)events.wait_ms;
        bus_send(chaos.dealer, NULL, call->id, 0, PROTO_job_events, &events, NULL, 0, &err);
    }
    if (err.code != ERR_OK && err.code != ERR_FULL)
        ledger_wrong(&chaos.ledger, "%s", err.message);
}

static void submitted(call_t *call, const proto_job_submitted_t *done) {
    record_t *record = call->record;
    ledger_submitted(&chaos.ledger, record, done->job);
    end_call(call);
    if (record->cancel)
        call_later(CANCEL, record, (int64_t)ledger_random(&chaos.ledger, 400));
    if (record->number % FOLLOW_EVERY == 0)
        call_later(FOLLOW, record, 0);
}

static void followed(call_t *call, const proto_events_t *events) {
    ledger_follow(&chaos.ledger, call->record, events);
    call->due_ms = 0;
    bool ends = strcmp(events->state, "queued") != 0 && strcmp(events->state, "running") != 0;
    if (ends && call->record->followed == events->last)
        end_call(call);
}

static void on_answer(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    (void)arg;
    (void)socket;
    call_t *call = NULL;
    for (size_t i = 0; message->id && i < CALLS_MAX; i++)
        if (chaos.calls[i].id == message->id)
            call = &chaos.calls[i];
    if (!call)
        return; // the second answer to what was sent twice
    err_t err;
    proto_arena_reset(chaos.arena);
    void *body = proto_arena_alloc(chaos.arena, proto_message(message->type)->size);
    if (message->type == PROTO_error) {
        bus_error_read(message, &err);
        if (call->wish == CANCEL && err.code == ERR_CONFLICT)
            end_call(call);
        else if (err_retryable(err.code))
            call->due_ms = clock_mono_ms() + AGAIN_MS / 4;
        else
            ledger_wrong(&chaos.ledger, "%s: %s", call->record->key, err.message);
    } else if (proto_decode(message->type, message->body.data, message->body.size, chaos.arena,
                            body, &err) != ERR_OK) {
        ledger_wrong(&chaos.ledger, "%s", err.message);
    } else if (call->wish == SUBMIT && message->type == PROTO_job_submitted) {
        submitted(call, body);
    } else if (call->wish == CANCEL && message->type == PROTO_job) {
        end_call(call);
    } else if (call->wish == FOLLOW && message->type == PROTO_events) {
        followed(call, body);
    }
}

static void client_tick(int64_t now_ms) {
    if (chaos.faults < chaos.faults_wanted && now_ms >= chaos.submit_ms &&
        chaos.ledger.count < LEDGER_MAX && chaos.call_count < CALLS_MAX / 2) {
        record_t *record = ledger_add(&chaos.ledger);
        record->cancel = ledger_random(&chaos.ledger, 10) == 0;
        if (chaos.gangs && record->number % GANG_EVERY == 0) {
            record->replicas = 2 + ledger_random(&chaos.ledger, LEDGER_REPLICAS - 1);
            record->least = 1 + ledger_random(&chaos.ledger, record->replicas);
        }
        call_later(SUBMIT, record, 0);
        chaos.submit_ms = now_ms + SUBMIT_MS;
    }
    for (size_t i = 0; i < CALLS_MAX; i++)
        if (chaos.calls[i].id && now_ms >= chaos.calls[i].due_ms)
            send_call(&chaos.calls[i], now_ms);
}

// --- Faults
// -------------------------------------------------------------------------------------

static void kill_dispatcher(int64_t now_ms) {
    if (chaos.dispatcher_ms)
        return;
    scene_kill_dispatcher();
    chaos.dispatcher_ms = now_ms + 1 + (int64_t)ledger_random(&chaos.ledger, 300);
}

static void kill_redis(int64_t now_ms) {
    if (chaos.redis_ms)
        return;
    redis_kill(&scene.redis);
    chaos.redis_ms = now_ms + 1 + (int64_t)ledger_random(&chaos.ledger, 500);
}

static void stop_dispatcher(int64_t now_ms) {
    if (chaos.dispatcher_ms)
        return;
    chaos.dispatcher_stopped = true;
    proc_signal(&scene.dispatcher, SIGSTOP);
    chaos.dispatcher_ms = now_ms + 1 + (int64_t)ledger_random(&chaos.ledger, 1500);
}

static void stop_redis(int64_t now_ms) {
    if (chaos.redis_ms)
        return;
    chaos.redis_stopped = true;
    redis_pause(&scene.redis);
    chaos.redis_ms = now_ms + 1 + (int64_t)ledger_random(&chaos.ledger, 1500);
}

// One that was just begun does not yet listen to signals, and dies of them.
static bool blocks_sigterm(pid_t pid) {
    char path[64], line[128];
    unsigned long long mask = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && mask == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, "SigBlk:", 7) == 0)
            mask = strtoull(line + 7, NULL, 16);
    if (file)
        fclose(file);
    return mask >> (SIGTERM - 1) & 1;
}

// Drains and ends it: what it has begun is answered, the next one begins at once.
static void end_dispatcher(int64_t now_ms) {
    int status = 0;
    if (chaos.dispatcher_ms || chaos.redis_ms || !blocks_sigterm(scene.dispatcher.pid))
        return;
    proc_signal(&scene.dispatcher, SIGTERM);
    if (proc_await_end(&scene.dispatcher, PATIENCE_MS, &status, NULL) != ERR_OK || status != 0)
        ledger_wrong(&chaos.ledger, "the dispatcher ends with %d", status);
    chaos.dispatcher_ms = now_ms + 1;
}

static void flush_scripts(void) {
    char reply[64];
    if (!chaos.redis_ms)
        scene_redis("SCRIPT FLUSH", reply, sizeof reply);
}

static void strike(int64_t now_ms) {
    uint64_t dice = ledger_random(&chaos.ledger, 12);
    size_t worker = (size_t)ledger_random(&chaos.ledger, CREW_SIZE);
    int64_t later_ms = now_ms + (int64_t)ledger_random(&chaos.ledger, 1000);
    if (dice <= 1 || dice == 11)
        kill_dispatcher(now_ms);
    if (dice == 2 || dice == 3 || dice == 11)
        kill_redis(now_ms);
    if (dice == 4)
        stop_dispatcher(now_ms);
    if (dice == 5)
        stop_redis(now_ms);
    if (dice == 6 || dice == 7)
        crew_kill(chaos.crew, worker, later_ms);
    if (dice == 9)
        end_dispatcher(now_ms);
    if (dice == 10)
        flush_scripts();
    chaos.faults++;
    chaos.fault_ms = now_ms + 100 + (int64_t)ledger_random(&chaos.ledger, 600);
    if (dice == 8) { // calm, so that its leases run out
        crew_freeze(chaos.crew, worker, now_ms + 2500);
        chaos.fault_ms = now_ms + 3000;
    }
}

static void bring_back(int64_t now_ms) {
    err_t err;
    if (chaos.redis_ms && now_ms >= chaos.redis_ms) {
        if (chaos.redis_stopped)
            redis_resume(&scene.redis);
        else if (redis_restart(&scene.redis, &err) != ERR_OK)
            fail_msg("%s", err.message);
        chaos.redis_stopped = false;
        chaos.redis_ms = 0;
    }
    if (chaos.dispatcher_ms && now_ms >= chaos.dispatcher_ms) {
        if (chaos.dispatcher_stopped)
            proc_signal(&scene.dispatcher, SIGCONT);
        else
            scene_begin_dispatcher();
        chaos.dispatcher_stopped = false;
        chaos.dispatcher_ms = 0;
    }
}

static bool settled(int64_t now_ms) {
    if (chaos.faults < chaos.faults_wanted || chaos.redis_ms || chaos.dispatcher_ms ||
        chaos.call_count || now_ms < chaos.asked_ms)
        return false;
    chaos.asked_ms = now_ms + 200;
    return scene_redis_number("ZCARD st:running") == 0 &&
           scene_redis_number("ZCARD st:queued") == 0;
}

static void on_tick(void *arg) {
    (void)arg;
    int64_t now_ms = clock_mono_ms();
    bring_back(now_ms);
    if (chaos.faults < chaos.faults_wanted && now_ms >= chaos.fault_ms)
        strike(now_ms);
    client_tick(now_ms);
    crew_tick(chaos.crew, now_ms);
    if (now_ms - chaos.begun_ms > SETTLE_MS + (int64_t)chaos.faults_wanted * 1000)
        ledger_wrong(&chaos.ledger, "not all jobs end: %zu requests have no answer, %lld jobs run",
                     chaos.call_count, (long long)scene_redis_number("ZCARD st:running"));
    chaos.done = settled(now_ms);
    if (chaos.done || chaos.ledger.wrong[0])
        bus_loop_stop(chaos.loop);
}

static uint64_t number_from(const char *variable, uint64_t otherwise) {
    const char *text = getenv(variable);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

// What gangs train on.
static void make_dataset(void) {
    static hand_t ingest;
    const proto_new_dataset_t heads = {.name = "heads",
                                       .path = "datasets/heads/1",
                                       .digest = "00000000000000000000000000000000"
                                                 "00000000000000000000000000000000"};
    err_t err;
    hand_open(&ingest, "ingest-0", "ingest", 1);
    hand_hello(&ingest, NULL, 0);
    scene_submit("ingest", "{\"dir\":\"/photos\",\"name\":\"heads\"}");
    proto_job_finish_t finish = hand_end(&ingest, hand_take(&ingest), "succeeded");
    finish.dataset = &heads;
    if (!hand_try(&ingest, PROTO_job_finish, &finish, PROTO_job_finished, &err))
        fail_msg("%s", err.message);
    proto_worker_bye_t bye = {.worker = ingest.name, .boot = ingest.boot};
    hand_try(&ingest, PROTO_worker_bye, &bye, PROTO_ok, &err);
    hand_close(&ingest);
}

static void run_chaos(bool gangs) {
    err_t err;
    scene_open(NULL, (const char *[]){"INKLING_LEASE_MS=1000", "INKLING_MAX_DEATHS=1000",
                                      "INKLING_LOG_LEVEL=warn", NULL});
    memset(&chaos, 0, sizeof chaos);
    chaos.faults_wanted = faults_wanted;
    chaos.gangs = gangs;
    if (gangs)
        make_dataset();
    chaos.loop = bus_loop_new();
    chaos.arena = proto_arena_new();
    ledger_open(&chaos.ledger, seed);
    chaos.ledger.before = gangs;
    chaos.crew = crew_new(chaos.loop, &chaos.ledger);
    if (bus_dealer_new(chaos.loop, scene.endpoint, on_answer, NULL, &chaos.dealer, &err) != ERR_OK)
        fail_msg("%s", err.message);
    chaos.begun_ms = clock_mono_ms();
    chaos.fault_ms = chaos.begun_ms + 500;
    int timer = bus_loop_timer(chaos.loop, TICK_MS, TICK_MS, on_tick, NULL);
    bus_loop_run(chaos.loop);
    bus_loop_timer_cancel(chaos.loop, timer);
    printf("seed %llu: %zu jobs, %zu faults, %llu stale messages refused, %llu of ranks, %.1f s\n",
           (unsigned long long)seed, chaos.ledger.count, chaos.faults,
           (unsigned long long)crew_stale(chaos.crew),
           (unsigned long long)crew_intrusions(chaos.crew),
           (double)(clock_mono_ms() - chaos.begun_ms) / 1000);
    bus_socket_destroy(&chaos.dealer);
    crew_destroy(&chaos.crew);
    bus_loop_destroy(&chaos.loop);
    proto_arena_destroy(&chaos.arena);
    if (chaos.ledger.wrong[0])
        fail_msg("%s", chaos.ledger.wrong);
    ledger_verify(&chaos.ledger);
    ledger_close(&chaos.ledger);
}

static void test_every_job_ends_once(void **state) {
    (void)state;
    run_chaos(false);
}

static void test_every_gang_ends_once(void **state) {
    (void)state;
    run_chaos(true);
}

int main(void) {
    // Read before scene_open(), which hides them.
    seed = number_from("INKLING_SEED", 20240229);
    faults_wanted = number_from("INKLING_FAULTS", FAULTS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_job_ends_once, scene_close),
        cmocka_unit_test_teardown(test_every_gang_ends_once, scene_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
