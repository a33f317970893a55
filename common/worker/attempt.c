#include "attempt_impl.h"

#include "base/fs.h"
#include "base/log.h"
#include "ending_impl.h"
#include "link/link.h"
#include "outbox_impl.h"
#include "process_impl.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CANCEL_MS       500  // from cancel to SIGKILL
#define EXIT_MS         5000 // from the end of the link, or of the job, to SIGKILL
#define FILLS_PER_ROUND 4    // reads of the link before others get their turn
#define ASKS_MAX        64
#define CHECKPOINTS_MAX 16
#define OUT_BYTES_MAX   (4 * PROTO_MESSAGE_MAX) // answers that the child has not read

typedef enum { GO, CANCEL, RELEASE } stop_t;

// A request of the child on its way to the dispatcher.
typedef struct ask {
    call_t call;
    struct ask *next;
    attempt_t *attempt;
    proto_type_t type;
    uint64_t id; // the child's
    size_t size;
    char bytes[];
} ask_t;

struct attempt {
    call_t call; // the outbox's flight
    const attempt_host_t *host;
    char job[PROTO_NAME_MAX + 1], kind[PROTO_NAME_MAX + 1], outcome[17];
    uint64_t token;
    char *folder;
    process_t process;
    int wait_status, kill_timer;
    link_reader_t reader;
    buf_t out;
    size_t out_start, checkpoints, asks_count;
    ending_tail_t tail;
    ask_t *asks;
    outbox_t outbox;
    uint64_t step, told; // told: flights answered since the child's end
    double step_ms;
    stop_t stop;
    err_t violation; // what the child did wrong, code ERR_OK: nothing
    bool started, link_ended, killed, finished, lost, substituted;
};

static void pump(attempt_t *attempt);
static void settle(attempt_t *attempt);

// --- Ends
// ---------------------------------------------------------------------------------------

static void kill_child(attempt_t *attempt) {
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
    kill_child(attempt);
}

static void kill_after(attempt_t *attempt, int64_t ms) {
    bus_loop_timer_cancel(attempt->host->loop, attempt->kill_timer);
    attempt->kill_timer = bus_loop_timer(attempt->host->loop, ms, 0, on_kill_timer, attempt);
}

static void flush_outbox(attempt_t *attempt) {
    if (!outbox_empty(&attempt->outbox) && attempt->call.id == 0 && !attempt->lost)
        session_call(attempt->host->session, &attempt->call);
}

// Packs finish as this attempt's; what cannot be packed becomes a failure that says so.
static void pack_finish(attempt_t *attempt, proto_job_finish_t *finish, buf_t *out) {
    err_t err;
    finish->worker = attempt->host->name;
    finish->job = attempt->job;
    finish->token = attempt->token;
    finish->seq = 1;
    finish->events.count = 0;
    snprintf(attempt->outcome, sizeof attempt->outcome, "%s", finish->outcome);
    if (proto_encode(PROTO_job_finish, finish, out, &err) == ERR_OK)
        return;
    proto_failure_t failure = {.code = err_name(ERR_INTERNAL), .message = err.message};
    proto_job_finish_t plain = {.worker = attempt->host->name,
                                .job = attempt->job,
                                .token = attempt->token,
                                .outcome = "failed",
                                .error = &failure,
                                .seq = 1};
    snprintf(attempt->outcome, sizeof attempt->outcome, "failed");
    buf_clear(out);
    ERR_ASSERT(proto_encode(PROTO_job_finish, &plain, out, &err) == ERR_OK);
}

static void finish_with(attempt_t *attempt, proto_job_finish_t *finish) {
    if (attempt->outbox.ended || attempt->lost)
        return;
    buf_t packed;
    buf_init(&packed, PROTO_MESSAGE_MAX);
    pack_finish(attempt, finish, &packed);
    outbox_put_finish(&attempt->outbox, (proto_bytes_t){packed.data, packed.size});
    buf_release(&packed);
    flush_outbox(attempt);
}

static void finish_plain(attempt_t *attempt, const char *outcome) {
    proto_job_finish_t finish = {.outcome = outcome};
    finish_with(attempt, &finish);
}

static void finish_failed(attempt_t *attempt, const char *outcome, const err_t *err,
                          bool retryable) {
    proto_failure_t failure = {.code = err_name(err->code),
                               .message = err->message,
                               .remedy = err->remedy,
                               .retryable = retryable};
    proto_job_finish_t finish = {.outcome = outcome, .error = &failure};
    finish_with(attempt, &finish);
}

static void finish_died(attempt_t *attempt) {
    const char *slash = strrchr(attempt->host->child, '/');
    const char *program = slash ? slash + 1 : attempt->host->child;
    buf_t message, remedy;
    buf_init(&message, PROTO_TEXT_MAX);
    buf_init(&remedy, PROTO_TEXT_MAX);
    if (attempt->violation.code) {
        buf_printf(&message, "%s was ended by its worker: %s", program, attempt->violation.message);
        buf_puts(&remedy, "this is a defect: report it");
    } else {
        ending_describe(program, attempt->wait_status, &message, &remedy);
    }
    log_warn("job %s: %s", attempt->job, message.data);
    ending_quote(&attempt->tail, &message);
    proto_failure_t failure = {.code = err_name(ERR_INTERNAL),
                               .message = message.data,
                               .remedy = remedy.data,
                               .retryable = true};
    proto_job_finish_t finish = {.outcome = "died", .error = &failure};
    finish_with(attempt, &finish);
    buf_release(&message);
    buf_release(&remedy);
}

// The process has gone, and all that it sent has been read: what was that?
static void conclude(attempt_t *attempt) {
    if (attempt->process.pid > 0 || !attempt->link_ended || attempt->outbox.ended || attempt->lost)
        return;
    if (attempt->stop == CANCEL)
        finish_plain(attempt, "cancelled");
    else if (attempt->stop == RELEASE && attempt->killed && !attempt->violation.code)
        finish_plain(attempt, "released");
    else
        finish_died(attempt);
}

static void settle(attempt_t *attempt) {
    conclude(attempt);
    if (attempt_over(attempt))
        attempt->host->over(attempt->host->arg);
}

// --- To the child
// -------------------------------------------------------------------------------

static void on_link(void *arg, int events);

static void watch_link(attempt_t *attempt) {
    if (attempt->process.link < 0)
        return;
    int events = (attempt->out.size > attempt->out_start ? BUS_WRITE : 0) |
                 (outbox_full(&attempt->outbox) && !attempt->lost ? 0 : BUS_READ);
    bus_loop_watch(attempt->host->loop, attempt->process.link, events, on_link, attempt);
}

static void end_link(attempt_t *attempt) {
    attempt->link_ended = true;
    if (attempt->process.link < 0)
        return;
    bus_loop_watch(attempt->host->loop, attempt->process.link, 0, on_link, attempt);
    process_close_link(&attempt->process);
    if (attempt->process.pid > 0 && attempt->stop == GO)
        kill_after(attempt, EXIT_MS);
    settle(attempt);
}

static void write_link(attempt_t *attempt) {
    buf_t *out = &attempt->out;
    while (attempt->process.link >= 0 && out->size > attempt->out_start) {
        ssize_t sent = send(attempt->process.link, out->data + attempt->out_start,
                            out->size - attempt->out_start, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            break;
        // A closed link is noticed by reading, which may find last messages.
        attempt->out_start = sent < 0 ? out->size : attempt->out_start + (size_t)sent;
    }
    if (out->size == attempt->out_start) {
        buf_release(out);
        attempt->out_start = 0;
    }
    watch_link(attempt);
}

static void violate(attempt_t *attempt, const err_t *err) {
    if (attempt->violation.code == ERR_OK) {
        attempt->violation = *err;
        err_context(&attempt->violation, "it broke the rules of the link");
    }
    kill_child(attempt);
    end_link(attempt);
}

static void tell_child(attempt_t *attempt, proto_type_t type, uint64_t id, const void *message) {
    err_t err;
    if (attempt->process.link < 0)
        return;
    if (link_encode(&attempt->out, type, id, message, &err) != ERR_OK)
        violate(attempt, &err);
    else
        write_link(attempt);
}

// answer NULL: err.
static void answer_child(attempt_t *attempt, uint64_t id, const bus_message_t *answer,
                         const err_t *err) {
    err_t failed;
    if (attempt->process.link < 0)
        return;
    if (!answer) {
        proto_error_t message;
        bus_error_message(err, &message);
        tell_child(attempt, PROTO_error, id, &message);
    } else if (link_append(&attempt->out, answer->type, id, answer->body, &failed) != ERR_OK) {
        violate(attempt, &failed);
    } else {
        write_link(attempt);
    }
}

// --- To the dispatcher
// --------------------------------------------------------------------------

static attempt_t *attempt_of(call_t *call) {
    return (attempt_t *)(void *)call; // its first member
}

static err_code_t send_flight(call_t *call, err_t *err) {
    attempt_t *attempt = attempt_of(call);
    const attempt_host_t *host = attempt->host;
    outbox_flight_t flight;
    ERR_ASSERT(outbox_take(&attempt->outbox, &flight));
    proto_arena_reset(host->arena);
    if (flight.type == PROTO_job_report) {
        proto_job_report_t report = {.worker = host->name,
                                     .job = attempt->job,
                                     .token = attempt->token,
                                     .seq = flight.seq,
                                     .events = {flight.events, flight.event_count}};
        return session_send(host->session, call, flight.type, &report, err);
    }
    if (flight.type == PROTO_job_checkpoint) {
        proto_checkpoint_t checkpoint;
        err_code_t code = proto_decode(PROTO_checkpoint, flight.body.data, flight.body.size,
                                       host->arena, &checkpoint, err);
        proto_job_checkpoint_t message = {.worker = host->name,
                                          .job = attempt->job,
                                          .token = attempt->token,
                                          .checkpoint = &checkpoint};
        return code ? code : session_send(host->session, call, flight.type, &message, err);
    }
    proto_job_finish_t finish;
    err_code_t code = proto_decode(PROTO_job_finish, flight.body.data, flight.body.size,
                                   host->arena, &finish, err);
    if (code)
        return code;
    finish.seq = flight.seq;
    finish.events.items = flight.events;
    finish.events.count = flight.event_count;
    return session_send(host->session, call, flight.type, &finish, err);
}

static void finish_stored(attempt_t *attempt, const bus_message_t *answer) {
    const attempt_host_t *host = attempt->host;
    proto_job_finished_t finished = {.next = NULL};
    err_t err;
    proto_arena_reset(host->arena);
    if (answer->type != PROTO_job_finished)
        log_warn("job %s: %s for an answer to its end", attempt->job,
                 proto_message(answer->type)->wire);
    else if (proto_decode(PROTO_job_finished, answer->body.data, answer->body.size, host->arena,
                          &finished, &err) != ERR_OK)
        log_warn("job %s: the answer to its end cannot be read: %s", attempt->job, err.message);
    else
        log_info("job %s: %s, now %s", attempt->job, attempt->outcome, finished.state);
    attempt->finished = true;
    host->finished(host->arg, attempt->outcome, finished.next);
}

// Nothing can be done about a refused event but to say so; a refused end is replaced once by the
// failure that it is.
static void flight_refused(attempt_t *attempt, const outbox_flight_t *flight, const err_t *err) {
    if (err->code == ERR_STALE || err->code == ERR_NOT_FOUND) {
        log_warn("job %s: the lease is lost: %s", attempt->job, err->message);
        attempt_lose(attempt);
        return;
    }
    log_error("job %s: the dispatcher refuses its %s: %s", attempt->job,
              proto_message(flight->type)->wire, err->message);
    if (flight->type != PROTO_job_finish) {
        if (flight->type == PROTO_job_checkpoint) {
            attempt->checkpoints--;
            answer_child(attempt, flight->id, NULL, err);
        }
        outbox_done(&attempt->outbox);
    } else if (attempt->substituted) {
        attempt_lose(attempt);
    } else {
        attempt->substituted = true;
        proto_failure_t failure = {
            .code = err_name(err->code), .message = err->message, .remedy = err->remedy};
        proto_job_finish_t finish = {.outcome = "failed", .error = &failure};
        buf_t packed;
        buf_init(&packed, PROTO_MESSAGE_MAX);
        pack_finish(attempt, &finish, &packed);
        outbox_replace_finish(&attempt->outbox, (proto_bytes_t){packed.data, packed.size});
        buf_release(&packed);
    }
}

static void flight_answered(call_t *call, const bus_message_t *answer, const err_t *refused) {
    attempt_t *attempt = attempt_of(call);
    outbox_flight_t flight;
    ERR_ASSERT(outbox_take(&attempt->outbox, &flight));
    if (!answer) {
        flight_refused(attempt, &flight, refused);
    } else if (flight.type == PROTO_job_finish) {
        outbox_done(&attempt->outbox);
        finish_stored(attempt, answer);
    } else {
        if (flight.type == PROTO_job_checkpoint) {
            attempt->checkpoints--;
            answer_child(attempt, flight.id, answer, NULL);
        }
        outbox_done(&attempt->outbox);
    }
    if (attempt->outbox.ended)
        attempt->told++;
    flush_outbox(attempt);
    pump(attempt);
    settle(attempt);
}

// --- Requests of the child
// ----------------------------------------------------------------------

static ask_t *ask_of(call_t *call) {
    return (ask_t *)(void *)call; // its first member
}

static void free_ask(ask_t *ask) {
    for (ask_t **at = &ask->attempt->asks; *at; at = &(*at)->next)
        if (*at == ask) {
            *at = ask->next;
            break;
        }
    ask->attempt->asks_count--;
    free(ask);
}

static err_code_t send_ask(call_t *call, err_t *err) {
    ask_t *ask = ask_of(call);
    const attempt_host_t *host = ask->attempt->host;
    proto_arena_reset(host->arena);
    void *message = proto_arena_alloc(host->arena, proto_message(ask->type)->size);
    err_code_t code = proto_decode(ask->type, ask->bytes, ask->size, host->arena, message, err);
    return code ? code : session_send(host->session, call, ask->type, message, err);
}

static void ask_answered(call_t *call, const bus_message_t *answer, const err_t *refused) {
    ask_t *ask = ask_of(call);
    attempt_t *attempt = ask->attempt;
    answer_child(attempt, ask->id, answer, refused);
    free_ask(ask);
}

static err_code_t take_ask(attempt_t *attempt, const link_frame_t *frame, err_t *err) {
    if (attempt->asks_count == ASKS_MAX)
        return err_set(err, ERR_PROTOCOL, "more than %d requests at once", ASKS_MAX);
    ask_t *ask = mem_zero(1, sizeof *ask + frame->body.size);
    ask->call = (call_t){.send = send_ask, .answered = ask_answered};
    ask->attempt = attempt;
    ask->type = frame->type;
    ask->id = frame->id;
    ask->size = frame->body.size;
    if (ask->size)
        memcpy(ask->bytes, frame->body.data, ask->size);
    ask->next = attempt->asks;
    attempt->asks = ask;
    attempt->asks_count++;
    session_call(attempt->host->session, &ask->call);
    return ERR_OK;
}

static void drop_calls(attempt_t *attempt) {
    session_drop(attempt->host->session, &attempt->call);
    for (ask_t *next, *ask = attempt->asks; ask; ask = next) {
        next = ask->next;
        session_drop(attempt->host->session, &ask->call);
        free(ask);
    }
    attempt->asks = NULL;
    attempt->asks_count = 0;
}

// --- From the child
// -----------------------------------------------------------------------------

static err_code_t take_lease(attempt_t *attempt, const link_frame_t *frame, err_t *err) {
    proto_lease_t lease;
    err_code_t code = proto_decode(PROTO_lease, frame->body.data, frame->body.size,
                                   attempt->host->arena, &lease, err);
    if (code == ERR_OK && lease.step > attempt->step)
        attempt->step = lease.step;
    if (code == ERR_OK)
        attempt->step_ms = lease.step_ms;
    return code;
}

static err_code_t take_event(attempt_t *attempt, const link_frame_t *frame, err_t *err) {
    proto_report_t event;
    err_code_t code = proto_decode(PROTO_report, frame->body.data, frame->body.size,
                                   attempt->host->arena, &event, err);
    if (code == ERR_OK)
        outbox_put_event(&attempt->outbox, &event);
    return code;
}

static err_code_t take_checkpoint(attempt_t *attempt, const link_frame_t *frame, err_t *err) {
    proto_checkpoint_t checkpoint;
    if (attempt->checkpoints == CHECKPOINTS_MAX)
        return err_set(err, ERR_PROTOCOL, "more than %d checkpoints at once", CHECKPOINTS_MAX);
    err_code_t code = proto_decode(PROTO_checkpoint, frame->body.data, frame->body.size,
                                   attempt->host->arena, &checkpoint, err);
    if (code)
        return code;
    attempt->checkpoints++;
    outbox_put_checkpoint(&attempt->outbox, frame->id, frame->body);
    return ERR_OK;
}

static bool known_outcome(const char *outcome) {
    return strcmp(outcome, "succeeded") == 0 || strcmp(outcome, "failed") == 0 ||
           strcmp(outcome, "cancelled") == 0 || strcmp(outcome, "released") == 0;
}

static err_code_t take_finish(attempt_t *attempt, const link_frame_t *frame, err_t *err) {
    proto_job_finish_t finish;
    proto_ok_t ok = {0};
    err_code_t code = proto_decode(PROTO_job_finish, frame->body.data, frame->body.size,
                                   attempt->host->arena, &finish, err);
    if (code)
        return code;
    if (!known_outcome(finish.outcome))
        return err_set(err, ERR_PROTOCOL, "the outcome '%s'", finish.outcome);
    if (attempt->stop == CANCEL)
        finish_plain(attempt, "cancelled");
    else
        finish_with(attempt, &finish);
    kill_after(attempt, EXIT_MS);
    tell_child(attempt, PROTO_ok, frame->id, &ok);
    return ERR_OK;
}

static err_code_t take_frame(attempt_t *attempt, const link_frame_t *frame, err_t *err) {
    proto_arena_reset(attempt->host->arena);
    if (attempt->outbox.ended)
        return err_set(err, ERR_PROTOCOL, "%s after the job's end",
                       proto_message(frame->type)->wire);
    switch (frame->type) {
    case PROTO_lease:
        return take_lease(attempt, frame, err);
    case PROTO_report:
        return take_event(attempt, frame, err);
    case PROTO_checkpoint:
        return take_checkpoint(attempt, frame, err);
    case PROTO_job_finish:
        return take_finish(attempt, frame, err);
    default:
        if (proto_message(frame->type)->sender == PROTO_BY_CLIENT)
            return take_ask(attempt, frame, err);
        return err_set(err, ERR_PROTOCOL, "%s, which no child sends",
                       proto_message(frame->type)->wire);
    }
}

// False: there is no whole frame, or none may be taken now.
static bool take_next(attempt_t *attempt) {
    link_frame_t frame;
    bool whole = false;
    err_t err;
    if (attempt->process.link < 0 || outbox_full(&attempt->outbox))
        return false;
    err_code_t code = link_next(&attempt->reader, &frame, &whole, &err);
    if (code == ERR_OK && whole)
        code = take_frame(attempt, &frame, &err);
    if (code)
        violate(attempt, &err);
    return whole;
}

// Reads what the child sent, as long as the outbox takes it.
static void pump(attempt_t *attempt) {
    for (int fills = 0; attempt->process.link >= 0 && !attempt->lost; fills++) {
        while (take_next(attempt))
            ;
        flush_outbox(attempt);
        if (outbox_full(&attempt->outbox) || fills == FILLS_PER_ROUND || attempt->process.link < 0)
            break;
        link_fill_t state = link_fill(&attempt->reader, attempt->process.link);
        if (state == LINK_ENDED)
            end_link(attempt);
        if (state != LINK_MORE)
            break;
    }
    watch_link(attempt);
}

static void on_link(void *arg, int events) {
    attempt_t *attempt = arg;
    if (events & BUS_WRITE)
        write_link(attempt);
    if (events & BUS_READ)
        pump(attempt);
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
        end_link(attempt);
    else
        pump(attempt);
    settle(attempt);
}

// --- Starting
// -----------------------------------------------------------------------------------

static attempt_t *attempt_new(const attempt_host_t *host, const proto_worker_assign_t *assign) {
    attempt_t *attempt = mem_zero(1, sizeof *attempt);
    attempt->call = (call_t){.send = send_flight, .answered = flight_answered};
    attempt->host = host;
    attempt->process = PROCESS_NONE;
    attempt->token = assign->token;
    snprintf(attempt->job, sizeof attempt->job, "%s", assign->job);
    snprintf(attempt->kind, sizeof attempt->kind, "%s", assign->kind);
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
    char *argv[] = {(char *)(uintptr_t)host->child, build, attempt->job, NULL};
    err_code_t code = make_folder(attempt, err);
    if (code == ERR_OK)
        code = link_encode(&attempt->out, PROTO_worker_assign, 0, assign, err);
    if (code == ERR_OK)
        code = process_start(&attempt->process, host->child, argv, host->env, err);
    if (code)
        return code;
    bus_loop_watch(host->loop, attempt->process.watch, BUS_READ, on_process_end, attempt);
    bus_loop_watch(host->loop, attempt->process.stderr_fd, BUS_READ, on_stderr, attempt);
    write_link(attempt);
    return ERR_OK;
}

attempt_t *attempt_start(const attempt_host_t *host, const proto_worker_assign_t *assign) {
    attempt_t *attempt = attempt_new(host, assign);
    err_t err;
    attempt->started = true;
    if (start_process(attempt, assign, &err) == ERR_OK) {
        log_info("job %s: attempt %llu started, process %d", attempt->job,
                 (unsigned long long)assign->attempt, (int)attempt->process.pid);
        return attempt;
    }
    log_error("job %s: %s", attempt->job, err.message);
    attempt->link_ended = true;
    finish_failed(attempt, "failed", &err, err.code != ERR_INVALID);
    return attempt;
}

attempt_t *attempt_reject(const attempt_host_t *host, const proto_worker_assign_t *assign) {
    attempt_t *attempt = attempt_new(host, assign);
    attempt->link_ended = true;
    finish_plain(attempt, "released");
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
    drop_calls(attempt);
    bus_loop_timer_cancel(loop, attempt->kill_timer);
    if (attempt->process.watch >= 0)
        bus_loop_watch(loop, attempt->process.watch, 0, on_process_end, attempt);
    if (attempt->process.link >= 0)
        bus_loop_watch(loop, attempt->process.link, 0, on_link, attempt);
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
// -------------------------------------------------------------------------------------

void attempt_cancel(attempt_t *attempt) {
    if (attempt->outbox.ended || attempt->lost || attempt->stop == CANCEL)
        return;
    log_info("job %s: cancelled", attempt->job);
    attempt->stop = CANCEL;
    proto_worker_cancel_t cancel = {.job = attempt->job, .token = attempt->token};
    kill_after(attempt, CANCEL_MS);
    tell_child(attempt, PROTO_worker_cancel, 0, &cancel);
}

void attempt_release(attempt_t *attempt) {
    if (attempt->outbox.ended || attempt->lost || attempt->stop != GO)
        return;
    attempt->stop = RELEASE;
    proto_service_drain_t drain = {0};
    kill_after(attempt, attempt->host->release_ms);
    tell_child(attempt, PROTO_service_drain, 0, &drain);
}

void attempt_lose(attempt_t *attempt) {
    const attempt_host_t *host = attempt->host;
    if (attempt->lost || attempt->finished)
        return;
    attempt->lost = true;
    drop_calls(attempt);
    outbox_release(&attempt->outbox);
    kill_child(attempt);
    end_link(attempt);
    host->finished(host->arg, "lost", NULL);
    settle(attempt);
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
