#include "child_impl.h"

#include "base/log.h"
#include "link/link.h"
#include "outgoing_impl.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOG_TEXT_BYTES 4000

// Somebody who waits for an answer.
typedef struct waiter {
    struct waiter *next;
    uint64_t id;
    bool answered;
    proto_type_t type;
    char *bytes; // malloc'ed
    size_t size;
} waiter_t;

struct child {
    conf_t conf;
    proto_arena_t *arena, *replies; // of the job; of child_ask, with the lock held
    proto_arena_t *meetings;        // of child_meet, likewise
    link_reader_t link;
    proto_worker_assign_t assign;
    char *folder;
    child_files_t *files;
    outgoing_t *outgoing;
    pthread_t reader;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    waiter_t *waiters;
    uint64_t next_id;
    child_stop_t stop;
    bool gone; // the parent
};

proto_arena_t *child_arena(child_t *child) {
    return child->arena;
}

const conf_t *child_conf(const child_t *child) {
    return &child->conf;
}

child_files_t *child_files(const child_t *child) {
    return child->files;
}

child_stop_t child_stop(child_t *child) {
    pthread_mutex_lock(&child->lock);
    child_stop_t stop = child->stop;
    pthread_mutex_unlock(&child->lock);
    return stop;
}

// --- What comes in
// ------------------------------------------------------------------------------

static void set_stop(child_t *child, child_stop_t stop, bool gone) {
    pthread_mutex_lock(&child->lock);
    if (child->stop != CHILD_CANCEL)
        child->stop = stop;
    child->gone = child->gone || gone;
    pthread_cond_broadcast(&child->changed);
    pthread_mutex_unlock(&child->lock);
    if (stop == CHILD_CANCEL)
        outgoing_hurry(child->outgoing);
    if (gone)
        outgoing_break(child->outgoing);
}

static void take_answer(child_t *child, const link_frame_t *frame) {
    pthread_mutex_lock(&child->lock);
    for (waiter_t *waiter = child->waiters; waiter; waiter = waiter->next)
        if (waiter->id == frame->id && !waiter->answered) {
            waiter->answered = true;
            waiter->type = frame->type;
            waiter->size = frame->body.size;
            waiter->bytes = mem_alloc(frame->body.size + 1);
            if (frame->body.size)
                memcpy(waiter->bytes, frame->body.data, frame->body.size);
        }
    pthread_cond_broadcast(&child->changed);
    pthread_mutex_unlock(&child->lock);
}

static void take_frame(child_t *child, const link_frame_t *frame) {
    if (frame->type == PROTO_worker_cancel)
        set_stop(child, CHILD_CANCEL, false);
    else if (frame->type == PROTO_service_drain)
        set_stop(child, CHILD_RELEASE, false);
    else if (frame->id)
        take_answer(child, frame);
}

// The next frame, or false when there will be none.
static bool read_frame(child_t *child, link_frame_t *frame) {
    err_t err;
    bool whole = false;
    for (;;) {
        if (link_next(&child->link, frame, &whole, &err) != ERR_OK) {
            log_error("the worker sent %s", err.message);
            return false;
        }
        if (whole)
            return true;
        if (link_fill(&child->link, LINK_FD) == LINK_ENDED)
            return false;
    }
}

static void *run_reader(void *arg) {
    child_t *child = arg;
    link_frame_t frame;
    while (read_frame(child, &frame))
        take_frame(child, &frame);
    set_stop(child, CHILD_CANCEL, true);
    return NULL;
}

// --- Events
// -------------------------------------------------------------------------------------

void child_progress(child_t *child, uint64_t counter, double done, double total, const char *text) {
    outgoing_progress(child->outgoing, counter, done, total, text);
}

void child_moved(child_t *child) {
    outgoing_moved(child->outgoing);
}

void child_event(child_t *child, const char *type, json_t *data) {
    if (child->assign.rank > 0) {
        json_decref(data);
        return;
    }
    proto_arena_t *arena = proto_arena_new();
    proto_report_t event = {.type = type};
    err_t err;
    err_code_t code = data ? proto_map_from_json(data, arena, &event.data, &err) : ERR_OK;
    if (code == ERR_OK)
        code = outgoing_put(child->outgoing, PROTO_report, 0, &event, true, &err);
    if (code && code != ERR_UNAVAILABLE)
        log_error("the event %s is left out: %s", type, err.message);
    json_decref(data);
    proto_arena_destroy(&arena);
}

void child_log(child_t *child, const char *level, const char *format, ...) {
    char text[LOG_TEXT_BYTES + 1];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    link_clean_text(text, LOG_TEXT_BYTES);
    child_event(child, "log", json_pack("{s:s, s:s}", "level", level, "text", text));
}

// --- Requests
// -----------------------------------------------------------------------------------

static void forget_waiter(child_t *child, waiter_t *waiter) {
    for (waiter_t **at = &child->waiters; *at; at = &(*at)->next)
        if (*at == waiter) {
            *at = waiter->next;
            break;
        }
}

// What ends the waiting for an answer, besides the loss of the worker.
typedef enum { TO_THE_END, UNTIL_CANCELLED, UNTIL_STOPPED } patience_t;

static bool may_wait(const child_t *child, patience_t patience) {
    bool stopped = patience == UNTIL_STOPPED ? child->stop != CHILD_GO
                                             : patience && child->stop == CHILD_CANCEL;
    return !child->gone && !stopped;
}

// Sends a request and waits for its answer; *waiter then holds it, its bytes are the caller's.
static err_code_t request(child_t *child, proto_type_t type, const void *message,
                          patience_t patience, waiter_t *waiter, err_t *err) {
    *waiter = (waiter_t){.id = 0};
    pthread_mutex_lock(&child->lock);
    waiter->id = ++child->next_id;
    waiter->next = child->waiters;
    child->waiters = waiter;
    pthread_mutex_unlock(&child->lock);
    err_code_t code = outgoing_put(child->outgoing, type, waiter->id, message, false, err);
    pthread_mutex_lock(&child->lock);
    while (code == ERR_OK && !waiter->answered && may_wait(child, patience))
        pthread_cond_wait(&child->changed, &child->lock);
    forget_waiter(child, waiter);
    bool gone = child->gone;
    pthread_mutex_unlock(&child->lock);
    if (code == ERR_OK && !waiter->answered)
        code = gone ? err_set(err, ERR_UNAVAILABLE, "the worker has gone")
                    : err_set(err, ERR_CANCELLED, "the job is stopped");
    return code;
}

static err_code_t read_error(child_t *child, const waiter_t *waiter, err_t *err) {
    proto_error_t error;
    err_code_t code =
        proto_decode(PROTO_error, waiter->bytes, waiter->size, child->replies, &error, err);
    if (code)
        return code;
    code = err_set(err, err_from_name(error.code), "%s", error.message);
    if (error.remedy && error.remedy[0])
        err_remedy(err, "%s", error.remedy);
    return code;
}

// Frees the answer's bytes. arena: for what reply points to.
static err_code_t read_answer(child_t *child, waiter_t *waiter, proto_type_t wanted,
                              proto_arena_t *arena, void *reply, err_t *err) {
    err_code_t code;
    pthread_mutex_lock(&child->lock);
    if (waiter->type == PROTO_error)
        code = read_error(child, waiter, err);
    else if (waiter->type != wanted)
        code = err_set(err, ERR_PROTOCOL, "%s for an answer, not %s",
                       proto_message(waiter->type)->wire, proto_message(wanted)->wire);
    else
        code = proto_decode(wanted, waiter->bytes, waiter->size, arena, reply, err);
    pthread_mutex_unlock(&child->lock);
    free(waiter->bytes);
    return code;
}

err_code_t child_ask(child_t *child, proto_type_t type, const void *message,
                     proto_type_t reply_type, void *reply, err_t *err) {
    waiter_t waiter;
    err_code_t code = request(child, type, message, UNTIL_CANCELLED, &waiter, err);
    return code ? code : read_answer(child, &waiter, reply_type, child->replies, reply, err);
}

void child_forget_replies(child_t *child) {
    pthread_mutex_lock(&child->lock);
    proto_arena_reset(child->replies);
    pthread_mutex_unlock(&child->lock);
}

err_code_t child_checkpoint(child_t *child, const char *path, const char *digest, uint64_t step,
                            json_t *info, err_t *err) {
    proto_checkpoint_t checkpoint = {.path = path, .digest = digest, .step = step};
    proto_arena_t *arena = proto_arena_new();
    proto_ok_t ok;
    waiter_t waiter;
    err_code_t code = info ? proto_map_from_json(info, arena, &checkpoint.info, err) : ERR_OK;
    if (code == ERR_OK)
        code = child_publish_file(child, path, digest, err);
    if (code == ERR_OK)
        code = request(child, PROTO_checkpoint, &checkpoint, UNTIL_CANCELLED, &waiter, err);
    if (code == ERR_OK)
        code = read_answer(child, &waiter, PROTO_ok, child->replies, &ok, err);
    proto_arena_destroy(&arena);
    return code;
}

// --- Gangs
// ------------------------------------------------------------------------------------------

static err_code_t meet_others(child_t *child, const proto_gang_meet_t *meet, proto_bytes_t *all,
                              err_t *err) {
    proto_gang_met_t met;
    waiter_t waiter;
    err_code_t code = request(child, PROTO_gang_meet, meet, UNTIL_STOPPED, &waiter, err);
    if (code == ERR_OK)
        code = read_answer(child, &waiter, PROTO_gang_met, child->meetings, &met, err);
    if (code == ERR_OK && met.parts.count != child->assign.world)
        code = err_set(err, ERR_PROTOCOL, "%zu ranks met, not %llu", met.parts.count,
                       (unsigned long long)child->assign.world);
    for (size_t i = 0; code == ERR_OK && i < met.parts.count; i++)
        all[i] = met.parts.items[i].data;
    return code;
}

static void meet_oneself(child_t *child, const void *data, size_t size, proto_bytes_t *all) {
    pthread_mutex_lock(&child->lock);
    char *copy = proto_arena_alloc(child->meetings, size + 1);
    pthread_mutex_unlock(&child->lock);
    if (size)
        memcpy(copy, data, size);
    all[0] = (proto_bytes_t){copy, size};
}

err_code_t child_meet(child_t *child, const char *round, const void *data, size_t size,
                      proto_bytes_t *all, err_t *err) {
    const proto_gang_meet_t meet = {.worker = child->conf.name,
                                    .job = child->assign.job,
                                    .token = child->assign.token,
                                    .rank = child->assign.rank,
                                    .round = round,
                                    .data = {data, size}};
    if (child->assign.world > 1)
        return meet_others(child, &meet, all, err);
    meet_oneself(child, data, size, all);
    return ERR_OK;
}

// --- The end
// ------------------------------------------------------------------------------------

static const char *outcome_of(child_t *child, err_code_t code) {
    child_stop_t stop = child_stop(child);
    if (code == ERR_CANCELLED && stop == CHILD_CANCEL)
        return "cancelled";
    return code == ERR_CANCELLED && stop == CHILD_RELEASE ? "released" : "failed";
}

static err_code_t send_finish(child_t *child, proto_job_finish_t *finish, err_t *err) {
    waiter_t waiter;
    finish->worker = child->conf.name;
    finish->job = child->assign.job;
    finish->token = child->assign.token;
    finish->seq = 1;
    err_code_t code = request(child, PROTO_job_finish, finish, TO_THE_END, &waiter, err);
    if (code == ERR_OK)
        free(waiter.bytes);
    return code;
}

static err_code_t finish_failed(child_t *child, err_t *err) {
    link_clean_text(err->message, sizeof err->message - 1);
    link_clean_text(err->remedy, sizeof err->remedy - 1);
    proto_failure_t failure = {.code = err_name(err->code),
                               .message = err->message,
                               .remedy = err->remedy,
                               .retryable = err_retryable(err->code)};
    proto_job_finish_t finish = {.outcome = outcome_of(child, err->code)};
    if (strcmp(finish.outcome, "failed") == 0) {
        log_error("job %s failed: %s", child->assign.job, err->message);
        finish.error = &failure;
    }
    err_t failed;
    err_code_t code = send_finish(child, &finish, &failed);
    if (code)
        log_error("the end of job %s cannot be told: %s", child->assign.job, failed.message);
    return code;
}

static err_code_t finish_succeeded(child_t *child, const child_result_t *result, err_t *err) {
    proto_job_finish_t finish = {
        .outcome = "succeeded", .dataset = result->dataset, .model = result->model};
    proto_arena_t *arena = proto_arena_new();
    err_code_t code =
        result->result ? proto_map_from_json(result->result, arena, &finish.result, err) : ERR_OK;
    if (code == ERR_OK)
        code = send_finish(child, &finish, err);
    proto_arena_destroy(&arena);
    return code;
}

static err_code_t run_job(child_t *child, child_run_fn run) {
    const child_job_t job = {.id = child->assign.job,
                             .kind = child->assign.kind,
                             .token = child->assign.token,
                             .attempt = child->assign.attempt,
                             .body = child->assign.body,
                             .checkpoint = child->assign.checkpoint,
                             .files = child->conf.files,
                             .folder = child->folder,
                             .rank = (int)child->assign.rank,
                             .world = child->assign.world ? (int)child->assign.world : 1,
                             .address = child->assign.address[0] ? child->assign.address : NULL};
    child_result_t result = {NULL, NULL, NULL};
    err_t err = {.code = ERR_OK};
    err_code_t code = run(child, &job, &result, &err);
    if (code == ERR_OK) // a result that no message can hold is a failure, too
        code = finish_succeeded(child, &result, &err);
    if (code) {
        err.code = code;
        code = finish_failed(child, &err);
    }
    json_decref(result.result);
    return code;
}

// --- Life
// ---------------------------------------------------------------------------------------

static err_code_t check_start(int argc, char **argv, err_t *err) {
    char build[LINK_BUILD_SIZE];
    link_build(build);
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof address;
    if (argc != 3 || getsockname(LINK_FD, (struct sockaddr *)&address, &size) != 0 ||
        address.ss_family != AF_UNIX) {
        err_set(err, ERR_USAGE, "this program is one job's process: a worker starts it");
        return err_remedy(err, "start the worker instead");
    }
    if (strcmp(argv[1], build) != 0) {
        err_set(err, ERR_UNSUPPORTED, "the worker is of build %s, this program of %s", argv[1],
                build);
        return err_remedy(err, "install both of one release and start the worker again");
    }
    fcntl(LINK_FD, F_SETFD, FD_CLOEXEC);
    return ERR_OK;
}

static void ignore_signals(void) {
    const int ignored[] = {SIGPIPE, SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
}

static err_code_t read_assign(child_t *child, err_t *err) {
    link_frame_t frame;
    if (!read_frame(child, &frame) || frame.type != PROTO_worker_assign)
        return err_set(err, ERR_PROTOCOL, "the worker sent no job");
    err_code_t code = proto_decode(PROTO_worker_assign, frame.body.data, frame.body.size,
                                   child->arena, &child->assign, err);
    if (code == ERR_OK)
        child->folder = mem_format("%s/jobs/%s/%llu", child->conf.files, child->assign.job,
                                   (unsigned long long)child->assign.token);
    return code;
}

static err_code_t set_up(child_t *child, int argc, char **argv, err_t *err) {
    log_level_t level = LOG_INFO;
    err_code_t code = conf_load(&child->conf, &argc, argv, err);
    if (code)
        return code;
    log_level_parse(child->conf.log_level, &level);
    log_setup(child->conf.name, level, strcmp(child->conf.log_format, "json") == 0);
    code = check_start(argc, argv, err);
    return code ? code : read_assign(child, err);
}

static void child_free(child_t *child) {
    conf_release(&child->conf);
    proto_arena_destroy(&child->arena);
    proto_arena_destroy(&child->replies);
    proto_arena_destroy(&child->meetings);
    link_reader_release(&child->link);
    pthread_mutex_destroy(&child->lock);
    pthread_cond_destroy(&child->changed);
    free(child->folder);
    free(child);
}

static child_t *child_new(void) {
    child_t *child = mem_zero(1, sizeof *child);
    child->arena = proto_arena_new();
    child->replies = proto_arena_new();
    child->meetings = proto_arena_new();
    link_reader_init(&child->link);
    pthread_mutex_init(&child->lock, NULL);
    pthread_cond_init(&child->changed, NULL);
    return child;
}

int child_main(int argc, char **argv, child_run_fn run) {
    child_t *child = child_new();
    err_t err;
    ignore_signals();
    err_code_t code = set_up(child, argc, argv, &err);
    if (code) {
        log_error("%s%s%s", err.message, err.remedy[0] ? "; " : "", err.remedy);
        child_free(child);
        return code == ERR_USAGE ? 2 : 1;
    }
    child->outgoing =
        outgoing_new(LINK_FD, child->assign.job, child->assign.token,
                     child->assign.world > 1 ? LINK_BEAT_MS : 0, child->assign.rank == 0);
    ERR_ASSERT(pthread_create(&child->reader, NULL, run_reader, child) == 0);
    child->files = child_files_new(child, child->folder + strlen(child->conf.files) + 1);
    code = run_job(child, run);
    child_files_destroy(&child->files);
    shutdown(LINK_FD, SHUT_RD); // ends the reader
    pthread_join(child->reader, NULL);
    outgoing_destroy(&child->outgoing);
    child_free(child);
    return code == ERR_OK ? 0 : 1;
}
