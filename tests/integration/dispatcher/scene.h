// A real dispatcher with a real Redis; the clients and workers are in the test.
//
// Answers live until scene_close(). Whatever should work and does not fails the test.
#ifndef INKLING_TESTS_DISPATCHER_SCENE_H
#define INKLING_TESTS_DISPATCHER_SCENE_H

#include "bus/bus.h"
#include "client/client.h"
#include "proto/json.h"
#include "support/proc.h"
#include "support/redis.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PATIENCE_MS 30000 // for what must come
#define HANDS_MAX   16

// A worker, served by hand.
typedef struct {
    const char *name, *boot, *kinds[8];
    size_t slots;
    char *endpoint;
    bus_socket_t *dealer;
    uint64_t next_id;
    struct {
        proto_type_t type;
        uint64_t id;
        void *body; // decoded
    } got[4096];
    size_t got_count;
} hand_t;

typedef struct {
    redis_t redis;
    char home[PROC_HOME_SIZE], redis_setting[128];
    const char *env[24];
    size_t env_count;
    proc_t dispatcher;
    char *endpoint;
    client_t *client;
    proto_arena_t *arena;
    hand_t *hands[HANDS_MAX];
} scene_t;

extern scene_t scene;

// Redis runs with extra arguments and the dispatcher with settings ("INKLING_…=…"); both ended by
// NULL, or NULL. Heartbeats come every 100 ms unless the settings say otherwise.
void scene_open(const char *const *redis_extra, const char *const *settings);
int scene_close(void **state); // as a test's teardown
void scene_kill_dispatcher(void);
void scene_begin_dispatcher(void);
void scene_start_dispatcher(void); // and waits till it is ready
// Another instance on the same Redis, named so; not awaited.
void scene_start_second(proc_t *proc, const char *name);
double scene_metric(const char *name);
void scene_redis(const char *command, char *reply, size_t size);
int64_t scene_redis_number(const char *command);

// --- As a client
void *scene_ask(proto_type_t type, const void *message, proto_type_t reply_type);
err_t scene_refused(proto_type_t type, const void *message, err_code_t code);
// Either; reply_type's struct, or NULL and err.
void *scene_try(proto_type_t type, const void *message, proto_type_t reply_type, int64_t timeout_ms,
                err_t *err);
proto_bytes_t scene_map(const char *json);
char *scene_json(proto_bytes_t map); // compact, keys in order; "" of none
proto_job_submit_t scene_wish(const char *kind, const char *body_json);
const char *scene_submit(const char *kind, const char *body_json);
const proto_job_info_t *scene_show(const char *job);
const proto_job_reason_t *scene_why(const char *job);
void scene_await_state(const char *job, const char *state);
const proto_events_t *scene_events(const char *job, uint64_t after, uint64_t wait_ms);
// "queued running …": the states of all events that are kept, whose numbers must follow each other.
char *scene_history(const char *job);

// --- As a worker
void hand_open(hand_t *hand, const char *name, const char *kind, size_t slots);
void hand_close(hand_t *hand);
const proto_worker_welcome_t *hand_hello(hand_t *hand, const proto_hold_t *holds, size_t count);
// Renews what it shows.
const proto_worker_renewed_t *hand_renew(hand_t *hand, const proto_lease_t *leases, size_t count);
const proto_worker_renewed_t *hand_renew_job(hand_t *hand, const proto_worker_assign_t *job,
                                             uint64_t step);
// The next message of that type that answers nothing, or NULL after so long.
const void *hand_next(hand_t *hand, proto_type_t type, int64_t timeout_ms);
const proto_worker_assign_t *hand_take(hand_t *hand); // renews meanwhile
// The answer, or NULL and err.
void *hand_try(hand_t *hand, proto_type_t type, const void *message, proto_type_t reply_type,
               err_t *err);
// Events of type log with that text, numbered from seq. ERR_OK, or what the answer says.
err_code_t hand_report(hand_t *hand, const proto_worker_assign_t *job, uint64_t seq, size_t count,
                       const char *text);
err_code_t hand_checkpoint(hand_t *hand, const proto_worker_assign_t *job, uint64_t step);
proto_job_finish_t hand_end(const hand_t *hand, const proto_worker_assign_t *job,
                            const char *outcome);
// Fails unless it is done; state: what the job must be in then.
const proto_job_finished_t *hand_finish(hand_t *hand, const proto_worker_assign_t *job,
                                        const char *outcome, const char *state);

#endif
