#include "dispatcher/dispatcher.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "gangs_impl.h"
#include "sweep_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PASSWORD_MAX 1024
#define DRAIN_MS     2000 // for answers on their way

// --- Answers
// -------------------------------------------------------------------------------------

request_t request_of(const bus_message_t *message) {
    request_t request = {.peer = message->peer, .id = message->id};
    request.received_us = clock_mono_us();
    if (message->deadline_ms)
        request.until_ms = message->received_ms + (int64_t)message->deadline_ms;
    return request;
}

void answer(dispatcher_t *d, const request_t *to, proto_type_t type, const void *message) {
    err_t err;
    if (to->peer.size == 0 ||
        bus_send(d->router, &to->peer, to->id, 0, type, message, NULL, 0, &err) == ERR_OK)
        return;
    if (err.code == ERR_UNAVAILABLE || err.code == ERR_FULL) {
        log_debug("no answer: %s", err.message);
        workers_missed(d, &to->peer);
        return;
    }
    log_error("%s cannot be answered: %s", proto_message(type)->wire, err.message);
    bus_reply_error_to(d->router, &to->peer, to->id, &err);
}

void answer_error(dispatcher_t *d, const request_t *to, const err_t *err) {
    if (err->code == ERR_FULL)
        metric_add(&d->stats.refused_full, 1);
    else if (err->code == ERR_UNAVAILABLE)
        metric_add(&d->stats.refused_away, 1);
    else if (err->code == ERR_STALE)
        metric_add(&d->stats.stale, 1);
    proto_error_t message;
    bus_error_message(err, &message);
    if (err->code == ERR_NOT_LEADER && d->leader.state == LEADER_FOLLOWING)
        message.leader = d->leader.other;
    answer(d, to, PROTO_error, &message);
}

void answer_ok(dispatcher_t *d, const request_t *to) {
    proto_ok_t ok = {0};
    answer(d, to, PROTO_ok, &ok);
}

bool decode(dispatcher_t *d, const bus_message_t *message, void *into) {
    err_t err;
    if (proto_decode(message->type, message->body.data, message->body.size, d->arena, into, &err) ==
        ERR_OK)
        return true;
    request_t from = request_of(message);
    answer_error(d, &from, &err);
    return false;
}

// --- Messages
// ------------------------------------------------------------------------------------

static const struct {
    proto_type_t type;
    void (*handle)(dispatcher_t *d, const bus_message_t *message);
} handlers[] = {{PROTO_job_submit, on_submit},     {PROTO_job_list, on_list},
                {PROTO_job_show, on_show},         {PROTO_job_why, on_why},
                {PROTO_job_cancel, on_cancel},     {PROTO_job_retry, on_retry},
                {PROTO_job_events, on_events},     {PROTO_worker_list, on_worker_list},
                {PROTO_dataset_list, on_datasets}, {PROTO_dataset_show, on_dataset},
                {PROTO_dataset_rm, on_dataset_rm}, {PROTO_model_list, on_models},
                {PROTO_model_show, on_model},      {PROTO_model_rm, on_model_rm},
                {PROTO_model_promote, on_promote}, {PROTO_model_rollback, on_rollback},
                {PROTO_study_open, on_study_open}, {PROTO_study_append, on_study_append},
                {PROTO_study_read, on_study_read}, {PROTO_study_list, on_study_list},
                {PROTO_study_rm, on_study_rm},     {PROTO_worker_hello, on_hello},
                {PROTO_worker_renew, on_renew},    {PROTO_worker_bye, on_bye},
                {PROTO_job_report, on_report},     {PROTO_job_checkpoint, on_checkpoint},
                {PROTO_job_finish, on_finish},     {PROTO_gang_meet, on_gang_meet}};

static void on_ping(dispatcher_t *d, const bus_message_t *message) {
    request_t from = request_of(message);
    proto_pong_t pong = {.service = service_name(d->service),
                         .version = INKLING_VERSION,
                         .leader = d->leader.state == LEADER_LEADING};
    answer(d, &from, PROTO_pong, &pong);
}

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    dispatcher_t *d = arg;
    (void)socket;
    if (message->type == PROTO_ping) {
        on_ping(d, message);
        return;
    }
    proto_arena_reset(d->arena);
    request_t from = {.peer = message->peer, .id = message->id};
    err_t err;
    const char *other;
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
        if (handlers[i].type != message->type)
            continue;
        if (d->draining)
            err_set(&err, ERR_NOT_LEADER, "this dispatcher ends");
        if (!d->draining && leader_serves(d, &err, &other))
            handlers[i].handle(d, message);
        else
            answer_error(d, &from, &err);
        return;
    }
    err_set(&err, ERR_UNSUPPORTED, "the dispatcher does not take %s",
            proto_message(message->type)->wire);
    answer_error(d, &from, &err);
}

// --- Time and Redis
// ------------------------------------------------------------------------------

static void drain_on(dispatcher_t *d, int64_t now_ms);

static void on_tick(void *arg) {
    dispatcher_t *d = arg;
    int64_t now_ms = clock_mono_ms();
    proto_arena_reset(d->arena);
    int64_t gap_ms = now_ms - d->last_tick_ms;
    int64_t patience_ms =
        gang_limit_ms(d) < d->conf->lease_ms ? gang_limit_ms(d) : d->conf->lease_ms;
    if (gap_ms > patience_ms / 4 && gap_ms > 3 * TICK_MS)
        lease_grace(d->leases, now_ms); // this process was paused, and saw no renewal meanwhile
    d->last_tick_ms = now_ms;
    leader_tick(d, now_ms);
    batch_expire(d->batch, now_ms);
    followers_tick(d, now_ms);
    drain_on(d, now_ms);
    if (d->leader.state != LEADER_LEADING || d->draining)
        return;
    workers_tick(d, now_ms);
    if (d->leader.store_up) {
        attempts_tick(d, now_ms);
        watch_tick(d, now_ms);
        sweep_tick(d, now_ms);
    }
}

static void on_redis_folder(void *arg, const store_reply_t *reply, const err_t *err) {
    dispatcher_t *d = arg;
    if (!err)
        files_redis_folder(d->files, reply_text(reply, 1));
}

// Where Redis keeps its data, if it is on this machine: it must not run out of space.
static void ask_redis_folder(dispatcher_t *d) {
    const store_bytes_t words[] = {{"CONFIG", 6}, {"GET", 3}, {"dir", 3}};
    if (d->conf->redis[0] == '/' || strncmp(d->conf->redis, "127.", 4) == 0)
        store_command(d->store, words, 3, on_redis_folder, d, NULL);
}

static void on_up(void *arg) {
    leader_up(arg);
    ask_redis_folder(arg);
}

static void on_down(void *arg, const err_t *why) {
    leader_down(arg, why);
}

// --- Start and end
// --------------------------------------------------------------------------------

// The only one of conf.dispatcher, or what the instance's name says where that is a list.
static char *own_endpoint(const conf_t *conf) {
    bool is_first = strcmp(conf->name, "dispatcher") == 0 && !strchr(conf->dispatcher, ',');
    return is_first ? mem_dup(conf->dispatcher) : conf_endpoint(conf->home, conf->name);
}

// One line; *password stays NULL when no file is named.
static err_code_t read_password(const char *path, char **password, err_t *err) {
    void *bytes;
    size_t size;
    if (!path[0])
        return ERR_OK;
    err_code_t code = fs_read(path, PASSWORD_MAX, &bytes, &size, err);
    if (code) {
        err_context(err, "redis_password_file");
        return err_remedy(err, "give a file that holds nothing but the password of Redis");
    }
    char *text = bytes;
    text[strcspn(text, "\r\n")] = 0;
    *password = text;
    if (text[0])
        return ERR_OK;
    err_set(err, ERR_INVALID, "redis_password_file: %s is empty", path);
    return err_remedy(err, "give a file that holds nothing but the password of Redis");
}

static err_code_t open_store(dispatcher_t *d, err_t *err) {
    static const store_script_t scripts[] = {
#define X(name, sort) {#name, script_##name},
        SCRIPTS(X)
#undef X
    };
    static const store_events_t events = {on_up, on_down};
    char *password = NULL;
    err_code_t code = read_password(d->conf->redis_password_file, &password, err);
    if (code == ERR_OK)
        code =
            store_new(d->loop, d->conf->redis, scripts, SCRIPT_COUNT, &events, d, &d->store, err);
    if (password) {
        if (code == ERR_OK)
            store_login(d->store, d->conf->redis_user, password);
        explicit_bzero(password, strlen(password));
    }
    free(password);
    return code;
}

static void dispatcher_stop(void *self) {
    dispatcher_t *d = self;
    bus_loop_timer_cancel(d->loop, d->timer);
    store_destroy(&d->store);
    bus_socket_destroy(&d->router);
    files_destroy(&d->files);
    sweep_free(&d->sweep);
    batch_destroy(&d->batch);
    followers_destroy(&d->followers);
    if (d->workers)
        workers_clear(d);
    workers_destroy(&d->workers);
    gangs_destroy(&d->gangs);
    meetings_destroy(&d->meetings);
    lease_table_destroy(&d->leases);
    proto_arena_destroy(&d->arena);
    free(d->endpoint);
    free(d);
}

static err_code_t dispatcher_start(service_t *service, const void *arg, void **self, err_t *err) {
    (void)arg;
    dispatcher_t *d = mem_zero(1, sizeof *d);
    d->service = service;
    d->conf = service_conf(service);
    d->loop = service_loop(service);
    d->arena = proto_arena_new();
    d->endpoint = own_endpoint(d->conf);
    d->leases = lease_table_new();
    d->workers = workers_new();
    d->gangs = gangs_new();
    d->meetings = meetings_new();
    d->followers = followers_new();
    d->batch = batch_new(d);
    d->files = files_new(d->conf);
    d->last_tick_ms = clock_mono_ms();
    service_set_endpoint(service, d->endpoint);
    err_code_t code = leader_init(d, err);
    if (code == ERR_OK)
        code = bus_router_new(d->loop, d->endpoint, on_message, d, &d->router, err);
    if (code == ERR_OK)
        code = service_listen(service, d->router, d->conf->dispatcher_listen, err);
    if (code == ERR_OK)
        code = open_store(d, err);
    if (code) {
        dispatcher_stop(d);
        return code;
    }
    d->timer = bus_loop_timer(d->loop, TICK_MS, TICK_MS, on_tick, d);
    *self = d;
    return ERR_OK;
}

static bool dispatcher_ready(void *self, char *detail, size_t size) {
    dispatcher_t *d = self;
    const leader_t *leader = &d->leader;
    if (!leader->store_up) {
        snprintf(detail, size, "Redis is away: %s", leader->why.message);
        return false;
    }
    if (leader->state == LEADER_LEADING) {
        snprintf(detail, size, "leads; %zu jobs run on %zu workers", lease_count(d->leases),
                 (size_t)d->stats.workers.value);
        return true;
    }
    if (leader->state == LEADER_FOLLOWING)
        snprintf(detail, size, "stands by; %s leads", leader->other);
    else if (leader->state == LEADER_LOADING)
        snprintf(detail, size, "reads the leases");
    else
        snprintf(detail, size, "%s", leader->why.message);
    return false;
}

static void dispatcher_metrics(void *self, buf_t *out) {
    dispatcher_t *d = self;
    metric_set(&d->stats.leases, (double)lease_count(d->leases));
    metric_set(&d->stats.waiting, (double)batch_waiting(d->batch));
    metric_set(&d->stats.store_up, d->leader.store_up);
    metric_set(&d->stats.leading, d->leader.state == LEADER_LEADING);
    stats_render(&d->stats, out);
}

static void on_resigned(void *arg) {
    dispatcher_t *d = arg;
    service_drained(d->service);
}

// What has been begun is answered first, if Redis is quick about it.
static void drain_on(dispatcher_t *d, int64_t now_ms) {
    bool idle = batch_waiting(d->batch) == 0 || !d->leader.store_up;
    if (!d->draining || d->resigning || (!idle && now_ms - d->drain_ms < DRAIN_MS))
        return;
    d->resigning = true;
    leader_resign(d, on_resigned, d);
}

// Jobs are not the dispatcher's to give back: workers run on and tell the next leader.
static void dispatcher_drain(void *self) {
    dispatcher_t *d = self;
    err_t err;
    d->draining = true;
    d->drain_ms = clock_mono_ms();
    err_set(&err, ERR_NOT_LEADER, "this dispatcher ends");
    followers_refuse(d, &err);
    meetings_refuse(d, &err);
    drain_on(d, d->drain_ms);
}

int dispatcher_main(int argc, char **argv) {
    static const service_ops_t ops = {.program = "dispatcher",
                                      .about = "Owns the jobs: queues them, leases them to "
                                               "workers, keeps what came of them.",
                                      .start = dispatcher_start,
                                      .ready = dispatcher_ready,
                                      .metrics = dispatcher_metrics,
                                      .drain = dispatcher_drain,
                                      .stop = dispatcher_stop};
    return service_main(argc, argv, &ops, NULL);
}
