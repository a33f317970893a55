#include "attempt_parts_impl.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

// --- The job's end
// -----------------------------------------------------------------------------------

void attempt_flush(attempt_t *attempt) {
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

void attempt_finish(attempt_t *attempt, proto_job_finish_t *finish) {
    if (attempt->outbox.ended || attempt->lost)
        return;
    buf_t packed;
    buf_init(&packed, PROTO_MESSAGE_MAX);
    pack_finish(attempt, finish, &packed);
    outbox_put_finish(&attempt->outbox, (proto_bytes_t){packed.data, packed.size});
    buf_release(&packed);
    attempt_flush(attempt);
}

void attempt_finish_plain(attempt_t *attempt, const char *outcome) {
    proto_job_finish_t finish = {.outcome = outcome};
    attempt_finish(attempt, &finish);
}

void attempt_finish_failed(attempt_t *attempt, const err_t *err, bool retryable) {
    proto_failure_t failure = {.code = err_name(err->code),
                               .message = err->message,
                               .remedy = err->remedy,
                               .retryable = retryable};
    proto_job_finish_t finish = {.outcome = "failed", .error = &failure};
    attempt_finish(attempt, &finish);
}

void attempt_finish_died(attempt_t *attempt) {
    const char *slash = strrchr(attempt->host->child, '/');
    const char *program = slash ? slash + 1 : attempt->host->child;
    buf_t message, remedy;
    buf_init(&message, PROTO_TEXT_MAX);
    buf_init(&remedy, PROTO_TEXT_MAX);
    if (attempt->violation.code) {
        buf_printf(&message, "%s was ended by its worker: %s", program, attempt->violation.message);
        buf_puts(&remedy, attempt->violation.remedy[0] ? attempt->violation.remedy
                                                       : "this is a defect: report it");
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
    attempt_finish(attempt, &finish);
    buf_release(&message);
    buf_release(&remedy);
}

// --- To the dispatcher
// -------------------------------------------------------------------------------

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
            attempt_answer_child(attempt, flight->id, NULL, err);
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
            attempt_answer_child(attempt, flight.id, answer, NULL);
        }
        outbox_done(&attempt->outbox);
    }
    if (attempt->outbox.ended)
        attempt->told++;
    attempt_flush(attempt);
    attempt_pump(attempt);
    attempt_settle(attempt);
}

call_t attempt_flight_call(void) {
    return (call_t){.send = send_flight, .answered = flight_answered};
}
