// The three parts of an attempt: its life (attempt.c), the link with its child (attempt_link.c) and
// what the dispatcher is told (attempt_tell.c).
#ifndef INKLING_WORKER_ATTEMPT_PARTS_IMPL_H
#define INKLING_WORKER_ATTEMPT_PARTS_IMPL_H

#include "attempt_impl.h"
#include "ending_impl.h"
#include "link/link.h"
#include "outbox_impl.h"
#include "process_impl.h"

#define ATTEMPT_EXIT_MS 5000 // from the end of the link, or of the job, to SIGKILL

typedef enum { GO, CANCEL, RELEASE } stop_t;

typedef struct ask ask_t;

struct attempt {
    call_t call; // the outbox's flight
    const attempt_host_t *host;
    char job[PROTO_NAME_MAX + 1], outcome[17];
    uint64_t token;
    char *folder;
    process_t process;
    int wait_status, kill_timer, look_timer;
    int64_t heard_ms, looked_ms; // of a gang's member: when its process said something; was judged
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

// --- Life
void attempt_kill(attempt_t *attempt);
void attempt_kill_after(attempt_t *attempt, int64_t ms);
// Draws the conclusion of what has ended so far.
void attempt_settle(attempt_t *attempt);

// --- Link
void attempt_on_link(void *arg, int events);
// Reads what the child sent, as long as the outbox takes it.
void attempt_pump(attempt_t *attempt);
void attempt_end_link(attempt_t *attempt);
// Writes what waits for the child.
void attempt_write(attempt_t *attempt);
void attempt_tell_child(attempt_t *attempt, proto_type_t type, uint64_t id, const void *message);
// Passes an answer of the dispatcher on; answer NULL: err.
void attempt_answer_child(attempt_t *attempt, uint64_t id, const bus_message_t *answer,
                          const err_t *err);
void attempt_drop_asks(attempt_t *attempt);

// --- Telling. The first end counts; later ones are ignored.
call_t attempt_flight_call(void);
void attempt_flush(attempt_t *attempt);
void attempt_finish(attempt_t *attempt, proto_job_finish_t *finish);
void attempt_finish_plain(attempt_t *attempt, const char *outcome);
void attempt_finish_failed(attempt_t *attempt, const err_t *err, bool retryable);
void attempt_finish_died(attempt_t *attempt);

#endif
