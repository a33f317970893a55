#include "attempt_parts_impl.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FILLS_PER_ROUND 4 // reads of the link before others get their turn
#define ASKS_MAX        64
#define CHECKPOINTS_MAX 16

// A request of the child on its way to the dispatcher.
struct ask {
    call_t call;
    ask_t *next;
    attempt_t *attempt;
    proto_type_t type;
    uint64_t id; // the child's
    size_t size;
    char bytes[];
};

// --- To the child
// ------------------------------------------------------------------------------------

static void watch_link(attempt_t *attempt) {
    if (attempt->process.link < 0)
        return;
    int events = (attempt->out.size > attempt->out_start ? BUS_WRITE : 0) |
                 (outbox_full(&attempt->outbox) && !attempt->lost ? 0 : BUS_READ);
    bus_loop_watch(attempt->host->loop, attempt->process.link, events, attempt_on_link, attempt);
}

void attempt_end_link(attempt_t *attempt) {
    attempt->link_ended = true;
    if (attempt->process.link < 0)
        return;
    bus_loop_watch(attempt->host->loop, attempt->process.link, 0, attempt_on_link, attempt);
    process_close_link(&attempt->process);
    if (attempt->process.pid > 0 && attempt->stop == GO)
        attempt_kill_after(attempt, ATTEMPT_EXIT_MS);
    attempt_settle(attempt);
}

void attempt_write(attempt_t *attempt) {
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
    attempt_kill(attempt);
    attempt_end_link(attempt);
}

void attempt_tell_child(attempt_t *attempt, proto_type_t type, uint64_t id, const void *message) {
    err_t err;
    if (attempt->process.link < 0)
        return;
    if (link_encode(&attempt->out, type, id, message, &err) != ERR_OK)
        violate(attempt, &err);
    else
        attempt_write(attempt);
}

void attempt_answer_child(attempt_t *attempt, uint64_t id, const bus_message_t *answer,
                          const err_t *err) {
    err_t failed;
    if (attempt->process.link < 0)
        return;
    if (!answer) {
        proto_error_t message;
        bus_error_message(err, &message);
        attempt_tell_child(attempt, PROTO_error, id, &message);
    } else if (link_append(&attempt->out, answer->type, id, answer->body, &failed) != ERR_OK) {
        violate(attempt, &failed);
    } else {
        attempt_write(attempt);
    }
}

// --- Requests of the child
// ---------------------------------------------------------------------------

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
    attempt_answer_child(attempt, ask->id, answer, refused);
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

void attempt_drop_asks(attempt_t *attempt) {
    for (ask_t *next, *ask = attempt->asks; ask; ask = next) {
        next = ask->next;
        session_drop(attempt->host->session, &ask->call);
        free(ask);
    }
    attempt->asks = NULL;
    attempt->asks_count = 0;
}

// --- From the child
// ----------------------------------------------------------------------------------

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
        attempt_finish_plain(attempt, "cancelled");
    else
        attempt_finish(attempt, &finish);
    attempt_kill_after(attempt, ATTEMPT_EXIT_MS);
    attempt_tell_child(attempt, PROTO_ok, frame->id, &ok);
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
        if (proto_message(frame->type)->sender == PROTO_BY_CLIENT || frame->type == PROTO_gang_meet)
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

void attempt_pump(attempt_t *attempt) {
    for (int fills = 0; attempt->process.link >= 0 && !attempt->lost; fills++) {
        while (take_next(attempt))
            ;
        attempt_flush(attempt);
        if (outbox_full(&attempt->outbox) || fills == FILLS_PER_ROUND || attempt->process.link < 0)
            break;
        link_fill_t state = link_fill(&attempt->reader, attempt->process.link);
        if (state == LINK_MORE)
            attempt->heard_ms = clock_mono_ms();
        if (state == LINK_ENDED)
            attempt_end_link(attempt);
        if (state != LINK_MORE)
            break;
    }
    watch_link(attempt);
}

void attempt_on_link(void *arg, int events) {
    attempt_t *attempt = arg;
    if (events & BUS_WRITE)
        attempt_write(attempt);
    if (events & BUS_READ)
        attempt_pump(attempt);
}
