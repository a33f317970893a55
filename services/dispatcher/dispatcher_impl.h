// The dispatcher and its parts, all on one thread (but for the deleting of files).
//
//   leader.c    who leads, and the loading of leases when it becomes this one
//   batch.c     calls of scripts
//   clients.c submit.c why.c events.c registry.c study.c    what clients ask
//   workers.c leases.c attempts.c watch.c           what workers say, leases, their ends
//   gangs.c meetings.c                              jobs that several workers do together
//   files.c remove.c                                folders that nothing refers to any more
//   records.c stats.c                               replies of Redis as messages; metrics
//
// A message is decoded into the arena, which lives until its handler returns; what must live longer
// is copied into an item. Handlers of replies may use the arena likewise.
#ifndef INKLING_DISPATCHER_IMPL_H
#define INKLING_DISPATCHER_IMPL_H

#include "batch_impl.h"
#include "conf/conf.h"
#include "job/job.h"
#include "job/lease.h"
#include "leader_impl.h"
#include "metric/metric.h"
#include "service/service.h"
#include "stats_impl.h"

typedef struct workers workers_t;
typedef struct followers followers_t;
typedef struct files files_t;
typedef struct gangs gangs_t;
typedef struct meetings meetings_t;
typedef struct sweep sweep_t;

#define SCHEMA_VERSION     2    // 1 knew no gangs, and would take any member's end for the job's
#define OUTAGE_PATIENCE_MS 5000 // requests wait so long for Redis, from its loss on
#define TICK_MS            100
#define REPORT_FULL_EVENTS 100 // kept of a job while memory is full

struct dispatcher {
    service_t *service;
    const conf_t *conf;
    bus_loop_t *loop;
    bus_socket_t *router;
    char *endpoint;
    proto_arena_t *arena;
    store_t *store;
    batch_t *batch;
    leader_t leader;
    lease_table_t *leases;
    workers_t *workers;
    gangs_t *gangs;
    meetings_t *meetings;
    followers_t *followers;
    files_t *files;
    sweep_t *sweep;   // under way, or NULL
    int64_t sweep_ms; // of the next
    bool sweeps;      // the files belong to these data of Redis
    stats_t stats;
    struct {
        int64_t tick_ms, due_ms; // when Redis is to be asked next; when a delay ends, 0: unknown
        bool ticking, retaining; // a question is on its way
    } watch;
    int timer;
    int64_t last_tick_ms;
    int64_t drain_ms; // since when
    bool draining, resigning;
};

// --- Answers (dispatcher.c)
request_t request_of(const bus_message_t *message);
void answer(dispatcher_t *d, const request_t *to, proto_type_t type, const void *message);
void answer_error(dispatcher_t *d, const request_t *to, const err_t *err);
void answer_ok(dispatcher_t *d, const request_t *to);
// Decodes the message into the arena; answers the error and returns false if it cannot.
bool decode(dispatcher_t *d, const bus_message_t *message, void *into);

// --- Replies of Redis as texts and messages (records.c). They live as the reply and the arena.
const char *reply_text(const store_reply_t *reply, size_t index); // "" if there is none
uint64_t reply_number(const store_reply_t *reply, size_t index);
proto_bytes_t reply_bytes(const store_reply_t *reply, size_t index);
void job_of_reply(dispatcher_t *d, const store_reply_t *reply, proto_job_info_t *job);
bool event_of_reply(dispatcher_t *d, const store_reply_t *item, proto_event_t *event);
// The number under a key of a msgpack map; false if there is none.
bool map_real(proto_bytes_t map, const char *key, double *number);
const proto_checkpoint_t *checkpoint_of(dispatcher_t *d, proto_bytes_t packed);
// So deep that it cannot be passed on inside other messages: ERR_INVALID naming what.
err_code_t check_depth(const char *what, proto_bytes_t map, err_t *err);
// A relative path without "..": ERR_INVALID naming what.
err_code_t check_path(const char *what, const char *path, err_t *err);

// --- Clients
void on_submit(dispatcher_t *d, const bus_message_t *message);
void on_list(dispatcher_t *d, const bus_message_t *message);
void on_show(dispatcher_t *d, const bus_message_t *message);
void on_why(dispatcher_t *d, const bus_message_t *message);
void on_cancel(dispatcher_t *d, const bus_message_t *message);
void on_retry(dispatcher_t *d, const bus_message_t *message);
void on_events(dispatcher_t *d, const bus_message_t *message);
void on_datasets(dispatcher_t *d, const bus_message_t *message);
void on_dataset(dispatcher_t *d, const bus_message_t *message);
void on_dataset_rm(dispatcher_t *d, const bus_message_t *message);
void on_models(dispatcher_t *d, const bus_message_t *message);
void on_model(dispatcher_t *d, const bus_message_t *message);
void on_model_rm(dispatcher_t *d, const bus_message_t *message);
void on_promote(dispatcher_t *d, const bus_message_t *message);
void on_rollback(dispatcher_t *d, const bus_message_t *message);

// --- study.c
void on_study_open(dispatcher_t *d, const bus_message_t *message);
void on_study_append(dispatcher_t *d, const bus_message_t *message);
void on_study_read(dispatcher_t *d, const bus_message_t *message);
void on_study_list(dispatcher_t *d, const bus_message_t *message);
void on_study_rm(dispatcher_t *d, const bus_message_t *message);
void show_to(dispatcher_t *d, const request_t *to, const char *job); // answers "job"
void answer_why(dispatcher_t *d, const item_t *item, const store_reply_t *reply, const err_t *err);
err_code_t no_such_job(err_t *err, const char *job);

// --- Followers: requests that wait for something to happen (events.c, registry.c)
followers_t *followers_new(void);
void followers_destroy(followers_t **followers);
void followers_touch(dispatcher_t *d, const char *job);
void followers_revision(dispatcher_t *d, uint64_t revision);
void followers_tick(dispatcher_t *d, int64_t now_ms);
void followers_refuse(dispatcher_t *d, const err_t *err);

// --- Files
files_t *files_new(const conf_t *conf);
void files_destroy(files_t **files);
// Deletes a file or folder below conf.files in the background: paths of jobs/, datasets/, models/.
void files_delete(files_t *files, const char *path);
bool files_short(files_t *files, err_t *err); // less free than the reserve: ERR_FULL
void files_redis_folder(files_t *files, const char *folder);
// Looks for orphans now and then (sweep.c): folders of jobs, attempts and versions that nothing
// refers to and that have not changed for orphan_s.
void sweep_tick(dispatcher_t *d, int64_t now_ms);
// Only the files of this stack (its name is in Redis and in <files>/.stack) are swept: a Redis that
// is new, or the wrong one, refers to none of them.
void sweep_claim(dispatcher_t *d, const char *stack);

#endif
