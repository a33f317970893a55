#include "attempt_parts_impl.h"

#include "address_impl.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CANCEL_MS     500                     // from cancel to SIGKILL
#define SILENCE_MS    4000                    // of a gang's process, which beats every LINK_BEAT_MS
#define START_MS      15000                   // the same before its first word
#define LOOK_MS       250                     // how often that is looked at
#define OUT_BYTES_MAX (4 * PROTO_MESSAGE_MAX) // answers that the child has not read

// --- Ends
// --------------------------------------------------------------------------------------------

void attempt_kill(attempt_t *attempt) {
    attempt->killed = true;
    process_kill(&attempt->process);
}

static void on_kill_timer(void *arg) {
    attempt_t *attempt = arg;
    attempt->kill_timer = 0;
    if (attempt->process.pid == 0)
        return;
    log_warn("job %s: its process did not end in time: killed", attempt->job);
    if (attempt->stop == GO && !attempt->outbox.ended)
        err_set(&attempt->violation, ERR_TIMEOUT, "it closed its link, but did not end");
    attempt_kill(attempt);
}

void attempt_kill_after(attempt_t *attempt, int64_t ms) {
    bus_loop_timer_cancel(attempt->host->loop, attempt->kill_timer);
    attempt->kill_timer = bus_loop_timer(attempt->host->loop, ms, 0, on_kill_timer, attempt);
}

// The process has gone, and all that it sent has been read: what was that?
static void conclude(attempt_t *attempt) {
    if (attempt->process.pid > 0 || !attempt->link_ended || attempt->outbox.ended || attempt->lost)
        return;
    if (attempt->stop == CANCEL)
        attempt_finish_plain(attempt, "cancelled");
    else if (attempt->stop == RELEASE && attempt->killed && !attempt->violation.code)
        attempt_finish_plain(attempt, "released");
    else
        attempt_finish_died(attempt);
}

void attempt_settle(attempt_t *attempt) {
    conclude(attempt);
    if (attempt_over(attempt))
        attempt->host->over(attempt->host->arg);
}

// Our own stderr may be a pipe that nobody empties: a job's words are not worth the leases.
static void forward(const char *bytes, size_t size) {
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT))
        return;
    ssize_t ignored = write(STDERR_FILENO, bytes, size); // as for our own log lines
    (void)ignored;
}

static void on_stderr(void *arg, int events) {
    attempt_t *attempt = arg;
    char bytes[PIPE_BUF]; // a pipe that takes anything takes as much
    (void)events;
    for (int rounds = 0; rounds < 16; rounds++) {
        ssize_t got = read(attempt->process.stderr_fd, bytes, sizeof bytes);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            bus_loop_watch(attempt->host->loop, attempt->process.stderr_fd, 0, on_stderr, attempt);
            return;
        }
        ending_tail_add(&attempt->tail, bytes, (size_t)got);
        forward(bytes, (size_t)got);
    }
}

static void on_process_end(void *arg, int events) {
    attempt_t *attempt = arg;
    (void)events;
    bus_loop_watch(attempt->host->loop, attempt->process.watch, 0, on_process_end, attempt);
    attempt->wait_status = process_reap(&attempt->process);
    bus_loop_timer_cancel(attempt->host->loop, attempt->kill_timer);
    attempt->kill_timer = 0;
    on_stderr(attempt, BUS_READ);
    if (attempt->stop == CANCEL) // whatever it had to say
        attempt_end_link(attempt);
    else
        attempt_pump(attempt);
    attempt_settle(attempt);
}

// --- Members of gangs
// --------------------------------------------------------------------------------

// The others of a gang wait for this process in every step: one that is stopped must not hold them.
// A single one's standstill is the dispatcher's to judge, by its steps.
static void look_after(void *arg) {
    attempt_t *attempt = arg;
    int64_t now_ms = clock_mono_ms(), late_ms = now_ms - attempt->looked_ms - LOOK_MS;
    bool talks = attempt->process.pid > 0 && attempt->process.link >= 0 &&
                 attempt->stop != CANCEL && !attempt->outbox.ended && !attempt->lost &&
                 !outbox_full(&attempt->outbox);
    attempt->looked_ms = now_ms;
    if (!talks || late_ms > LINK_BEAT_MS) // what stood still may have been this process, or both
        attempt->heard_ms = now_ms > attempt->heard_ms ? now_ms : attempt->heard_ms;
    else if (now_ms - attempt->heard_ms > SILENCE_MS)
        attempt_pump(attempt);
    int64_t silent_ms = now_ms - attempt->heard_ms;
    if (silent_ms <= SILENCE_MS || attempt->process.pid == 0 || attempt->killed)
        return;
    log_warn("job %s: nothing heard of its process for %.1f s: killed", attempt->job,
             (double)silent_ms / 1000);
    err_set(&attempt->violation, ERR_TIMEOUT, "nothing was heard of it for %.1f s",
            (double)silent_ms / 1000);
    err_remedy(&attempt->violation,
               "find out who stopped it, or why its machine stands still (is it swapping?)");
    attempt_kill(attempt);
}

static void watch_member(attempt_t *attempt) {
    attempt->looked_ms = clock_mono_ms();
    attempt->heard_ms = attempt->looked_ms + START_MS - SILENCE_MS;
    attempt->look_timer =
        bus_loop_timer(attempt->host->loop, LOOK_MS, LOOK_MS, look_after, attempt);
}

// --- Starting
// ----------------------------------------------------------------------------------------

static attempt_t *attempt_new(const attempt_host_t *host, const proto_worker_assign_t *assign) {
    attempt_t *attempt = mem_zero(1, sizeof *attempt);
    attempt->call = attempt_flight_call();
    attempt->host = host;
    attempt->process = PROCESS_NONE;
    attempt->token = assign->token;
    snprintf(attempt->job, sizeof attempt->job, "%s", assign->job);
    outbox_init(&attempt->outbox);
    link_reader_init(&attempt->reader);
    buf_init(&attempt->out, OUT_BYTES_MAX);
    return attempt;
}

// The job's id becomes a folder's name.
static bool is_plain_name(const char *name) {
    return name[0] && name[0] != '.' &&
           name[strspn(name,
                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] == 0;
}

static err_code_t make_folder(attempt_t *attempt, err_t *err) {
    if (!is_plain_name(attempt->job)) {
        err_set(err, ERR_INVALID, "'%s' is no id of a job", attempt->job);
        return err_remedy(err, "ids are made of letters, digits, '.', '_' and '-'");
    }
    attempt->folder = mem_format("%s/jobs/%s/%llu", attempt->host->files, attempt->job,
                                 (unsigned long long)attempt->token);
    for (int tries = 0; tries < 2; tries++) // an attempt that ends removes the job's empty folder
        if (fs_mkdirs(attempt->folder, err) == ERR_OK)
            return ERR_OK;
    return err_remedy(err, "the worker needs to write below %s", attempt->host->files);
}

static err_code_t start_process(attempt_t *attempt, const proto_worker_assign_t *assign,
                                err_t *err) {
    const attempt_host_t *host = attempt->host;
    char build[LINK_BUILD_SIZE];
    link_build(build);
    char address[ADDRESS_SIZE];
    proto_worker_assign_t whole = *assign;
    if (assign->world > 1) {
        address_towards(session_endpoint(host->session), host->listen, address);
        whole.address = address;
    }
    char *argv[] = {(char *)(uintptr_t)host->child, build, attempt->job, NULL};
    err_code_t code = make_folder(attempt, err);
    if (code == ERR_OK)
        code = link_encode(&attempt->out, PROTO_worker_assign, 0, &whole, err);
    if (code == ERR_OK)
        code = process_start(&attempt->process, host->child, argv, host->env, err);
    if (code)
        return code;
    bus_loop_watch(host->loop, attempt->process.watch, BUS_READ, on_process_end, attempt);
    bus_loop_watch(host->loop, attempt->process.stderr_fd, BUS_READ, on_stderr, attempt);
    attempt_write(attempt);
    return ERR_OK;
}

attempt_t *attempt_start(const attempt_host_t *host, const proto_worker_assign_t *assign) {
    attempt_t *attempt = attempt_new(host, assign);
    err_t err;
    attempt->started = true;
    if (start_process(attempt, assign, &err) == ERR_OK) {
        if (assign->world > 1)
            watch_member(attempt);
        log_info("job %s: attempt %llu started, process %d", attempt->job,
                 (unsigned long long)assign->attempt, (int)attempt->process.pid);
        return attempt;
    }
    log_error("job %s: %s", attempt->job, err.message);
    attempt->link_ended = true;
    attempt_finish_failed(attempt, &err, err.code != ERR_INVALID);
    return attempt;
}

attempt_t *attempt_reject(const attempt_host_t *host, const proto_worker_assign_t *assign) {
    attempt_t *attempt = attempt_new(host, assign);
    attempt->link_ended = true;
    attempt_finish_plain(attempt, "released");
    return attempt;
}

// An attempt that kept nothing leaves no folders.
static void remove_empty_folders(attempt_t *attempt) {
    char *slash = strrchr(attempt->folder, '/');
    if (rmdir(attempt->folder) == 0) {
        *slash = 0;
        rmdir(attempt->folder);
    }
    free(attempt->folder);
}

void attempt_destroy(attempt_t **self) {
    attempt_t *attempt = *self;
    if (!attempt)
        return;
    *self = NULL;
    bus_loop_t *loop = attempt->host->loop;
    session_drop(attempt->host->session, &attempt->call);
    attempt_drop_asks(attempt);
    bus_loop_timer_cancel(loop, attempt->kill_timer);
    bus_loop_timer_cancel(loop, attempt->look_timer);
    if (attempt->process.watch >= 0)
        bus_loop_watch(loop, attempt->process.watch, 0, on_process_end, attempt);
    if (attempt->process.link >= 0)
        bus_loop_watch(loop, attempt->process.link, 0, attempt_on_link, attempt);
    if (attempt->process.stderr_fd >= 0)
        bus_loop_watch(loop, attempt->process.stderr_fd, 0, on_stderr, attempt);
    process_destroy(&attempt->process);
    outbox_release(&attempt->outbox);
    link_reader_release(&attempt->reader);
    buf_release(&attempt->out);
    if (attempt->folder)
        remove_empty_folders(attempt);
    free(attempt);
}

// --- Orders
// ------------------------------------------------------------------------------------------

void attempt_cancel(attempt_t *attempt) {
    if (attempt->outbox.ended || attempt->lost || attempt->stop == CANCEL)
        return;
    log_info("job %s: cancelled", attempt->job);
    attempt->stop = CANCEL;
    proto_worker_cancel_t cancel = {.job = attempt->job, .token = attempt->token};
    attempt_kill_after(attempt, CANCEL_MS);
    attempt_tell_child(attempt, PROTO_worker_cancel, 0, &cancel);
}

void attempt_release(attempt_t *attempt) {
    if (attempt->outbox.ended || attempt->lost || attempt->stop != GO)
        return;
    attempt->stop = RELEASE;
    proto_service_drain_t drain = {0};
    attempt_kill_after(attempt, attempt->host->release_ms);
    attempt_tell_child(attempt, PROTO_service_drain, 0, &drain);
}

void attempt_lose(attempt_t *attempt) {
    const attempt_host_t *host = attempt->host;
    if (attempt->lost || attempt->finished)
        return;
    attempt->lost = true;
    session_drop(host->session, &attempt->call);
    attempt_drop_asks(attempt);
    outbox_release(&attempt->outbox);
    attempt_kill(attempt);
    attempt_end_link(attempt);
    host->finished(host->arg, "lost", NULL);
    attempt_settle(attempt);
}

bool attempt_is(const attempt_t *attempt, const char *job, uint64_t token) {
    return attempt->token == token && strcmp(attempt->job, job) == 0;
}

bool attempt_over(const attempt_t *attempt) {
    return (attempt->finished || attempt->lost) && attempt->process.pid == 0;
}

bool attempt_busy(const attempt_t *attempt) {
    return attempt->started && attempt_holding(attempt);
}

bool attempt_holding(const attempt_t *attempt) {
    return !attempt->finished && !attempt->lost;
}

void attempt_lease(const attempt_t *attempt, proto_lease_t *lease) {
    *lease = (proto_lease_t){.job = attempt->job,
                             .token = attempt->token,
                             .step = attempt->step + attempt->told,
                             .step_ms = attempt->step_ms};
}

size_t attempt_waiting(const attempt_t *attempt) {
    return attempt->outbox.events;
}
