#include "outgoing_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "link/link.h"
#include "proto/json.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define QUEUE_BYTES (1u << 20) // beyond either the patient wait
#define QUEUE_COUNT 256
#define PROGRESS_MS 250 // between two reports of progress
#define STEPS       31  // whose median duration is told
#define TEXT_BYTES  200
#define NEVER       INT64_MAX

typedef struct {
    uint64_t counter, moved; // moved: what else is progress
    double done, total;
    char text[TEXT_BYTES + 1];
    double steps_ms[STEPS]; // ring
    size_t step_count;
    int64_t changed_us, sent_ms;
    bool pending, event; // event: not only the lease's step is to be told
} progress_t;

struct outgoing {
    int fd;
    const char *job;
    uint64_t token;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t filled, drained;
    buf_t queue;
    size_t count; // frames in queue
    progress_t progress;
    int64_t beat_ms;
    bool events;                          // progress is told as events, too
    bool hurried, broken, closing, ended; // ended: the job's end was put
};

// --- Progress
// -----------------------------------------------------------------------------------

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_ms(const progress_t *progress) {
    double sorted[STEPS];
    size_t count = progress->step_count < STEPS ? progress->step_count : STEPS;
    if (count == 0)
        return 0;
    memcpy(sorted, progress->steps_ms, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_value);
    return sorted[count / 2];
}

static err_code_t put_progress_event(outgoing_t *outgoing, err_t *err) {
    const progress_t *progress = &outgoing->progress;
    json_t *data = json_pack("{s:f, s:f}", "done", progress->done, "total", progress->total);
    if (progress->text[0])
        json_object_set_new(data, "text", json_string(progress->text));
    proto_arena_t *arena = proto_arena_new();
    proto_report_t event = {.type = "progress"};
    err_code_t code = proto_map_from_json(data, arena, &event.data, err);
    if (code == ERR_OK)
        code = link_encode(&outgoing->queue, PROTO_report, 0, &event, err);
    proto_arena_destroy(&arena);
    json_decref(data);
    return code;
}

// With the lock held.
static void flush_progress(outgoing_t *outgoing) {
    progress_t *progress = &outgoing->progress;
    if (!progress->pending || outgoing->broken)
        return;
    proto_lease_t lease = {.job = outgoing->job,
                           .token = outgoing->token,
                           .step = progress->counter + progress->moved,
                           .step_ms = median_ms(progress)};
    err_t err;
    if (link_encode(&outgoing->queue, PROTO_lease, 0, &lease, &err) != ERR_OK ||
        (progress->event && outgoing->events && !outgoing->hurried &&
         put_progress_event(outgoing, &err) != ERR_OK))
        log_error("progress cannot be told: %s", err.message);
    progress->pending = progress->event = false;
    progress->sent_ms = clock_mono_ms();
}

void outgoing_progress(outgoing_t *outgoing, uint64_t counter, double done, double total,
                       const char *text) {
    progress_t *progress = &outgoing->progress;
    int64_t now_us = clock_mono_us();
    pthread_mutex_lock(&outgoing->lock);
    if (outgoing->ended) {
        pthread_mutex_unlock(&outgoing->lock);
        return;
    }
    if (counter > progress->counter) {
        double steps = (double)(counter - progress->counter);
        if (progress->changed_us) // before the first step it was getting ready
            progress->steps_ms[progress->step_count++ % STEPS] =
                (double)(now_us - progress->changed_us) / 1000 / steps;
        progress->changed_us = now_us;
        progress->counter = counter;
    }
    progress->done = isfinite(done) ? done : 0;
    progress->total = isfinite(total) ? total : 0;
    snprintf(progress->text, sizeof progress->text, "%s", text ? text : "");
    link_clean_text(progress->text, TEXT_BYTES);
    if (!progress->pending)
        pthread_cond_signal(&outgoing->filled);
    progress->pending = progress->event = true;
    pthread_mutex_unlock(&outgoing->lock);
}

void outgoing_moved(outgoing_t *outgoing) {
    pthread_mutex_lock(&outgoing->lock);
    if (!outgoing->ended) {
        outgoing->progress.moved++;
        if (!outgoing->progress.pending)
            pthread_cond_signal(&outgoing->filled);
        outgoing->progress.pending = true;
    }
    pthread_mutex_unlock(&outgoing->lock);
}

// --- The thread
// ---------------------------------------------------------------------------------

// When the lease is told next; NEVER: not before there is progress.
static int64_t lease_due_ms(const outgoing_t *outgoing) {
    const progress_t *progress = &outgoing->progress;
    if (progress->pending)
        return outgoing->closing ? 0 : progress->sent_ms + PROGRESS_MS;
    bool beats = outgoing->beat_ms && !outgoing->ended && !outgoing->closing;
    return beats ? progress->sent_ms + outgoing->beat_ms : NEVER;
}

// Waits until there is something to write; false: until the end. With the lock held.
static bool wait_filled(outgoing_t *outgoing) {
    for (;;) {
        int64_t due_ms = lease_due_ms(outgoing);
        if (clock_mono_ms() >= due_ms) {
            outgoing->progress.pending = true;
            flush_progress(outgoing);
        }
        if (outgoing->queue.size || outgoing->closing || outgoing->broken)
            return outgoing->queue.size > 0 && !outgoing->broken;
        if (due_ms != NEVER) {
            struct timespec until = {due_ms / 1000, (due_ms % 1000) * 1000000};
            pthread_cond_timedwait(&outgoing->filled, &outgoing->lock, &until);
        } else {
            pthread_cond_wait(&outgoing->filled, &outgoing->lock);
        }
    }
}

static bool write_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return false;
        if (sent > 0) {
            bytes += sent;
            size -= (size_t)sent;
        }
    }
    return true;
}

static void *run_thread(void *arg) {
    outgoing_t *outgoing = arg;
    pthread_mutex_lock(&outgoing->lock);
    while (wait_filled(outgoing)) {
        buf_t taken = outgoing->queue;
        buf_init(&outgoing->queue, taken.ceiling);
        outgoing->count = 0;
        pthread_cond_broadcast(&outgoing->drained);
        pthread_mutex_unlock(&outgoing->lock);
        bool written = write_all(outgoing->fd, taken.data, taken.size);
        buf_release(&taken);
        pthread_mutex_lock(&outgoing->lock);
        if (!written)
            outgoing->broken = true;
    }
    pthread_cond_broadcast(&outgoing->drained);
    pthread_mutex_unlock(&outgoing->lock);
    return NULL;
}

// --- Putting
// ------------------------------------------------------------------------------------

static bool must_wait(const outgoing_t *outgoing) {
    return !outgoing->hurried && !outgoing->broken &&
           (outgoing->queue.size > QUEUE_BYTES || outgoing->count >= QUEUE_COUNT);
}

err_code_t outgoing_put(outgoing_t *outgoing, proto_type_t type, uint64_t id, const void *message,
                        bool patient, err_t *err) {
    buf_t frame;
    buf_init(&frame, LINK_HEADER_BYTES + PROTO_MESSAGE_MAX);
    err_code_t code = link_encode(&frame, type, id, message, err);
    pthread_mutex_lock(&outgoing->lock);
    while (code == ERR_OK && patient && must_wait(outgoing))
        pthread_cond_wait(&outgoing->drained, &outgoing->lock);
    if (code == ERR_OK && (outgoing->broken || outgoing->ended || (patient && outgoing->hurried)))
        code = err_set(err, ERR_UNAVAILABLE, "the worker does not listen any more");
    if (code == ERR_OK && !patient) // a request or the end: what was done is told before
        flush_progress(outgoing);
    if (code == ERR_OK) {
        buf_append(&outgoing->queue, frame.data, frame.size);
        outgoing->count++;
        outgoing->ended = type == PROTO_job_finish;
        pthread_cond_signal(&outgoing->filled);
        if (outgoing->queue.failed)
            code = err_set(err, ERR_FULL, "too many messages wait for the worker");
    }
    pthread_mutex_unlock(&outgoing->lock);
    buf_release(&frame);
    return code;
}

static void set_flag(outgoing_t *outgoing, bool *flag) {
    pthread_mutex_lock(&outgoing->lock);
    *flag = true;
    pthread_cond_broadcast(&outgoing->filled);
    pthread_cond_broadcast(&outgoing->drained);
    pthread_mutex_unlock(&outgoing->lock);
}

void outgoing_hurry(outgoing_t *outgoing) {
    set_flag(outgoing, &outgoing->hurried);
}

void outgoing_break(outgoing_t *outgoing) {
    set_flag(outgoing, &outgoing->broken);
}

// --- Life
// ---------------------------------------------------------------------------------------

outgoing_t *outgoing_new(int fd, const char *job, uint64_t token, int64_t beat_ms, bool events) {
    outgoing_t *outgoing = mem_zero(1, sizeof *outgoing);
    outgoing->fd = fd;
    outgoing->job = job;
    outgoing->token = token;
    outgoing->beat_ms = beat_ms;
    outgoing->events = events;
    buf_init(&outgoing->queue, 8 * (size_t)PROTO_MESSAGE_MAX);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&outgoing->lock, NULL);
    pthread_cond_init(&outgoing->filled, &monotonic);
    pthread_cond_init(&outgoing->drained, &monotonic);
    pthread_condattr_destroy(&monotonic);
    ERR_ASSERT(pthread_create(&outgoing->thread, NULL, run_thread, outgoing) == 0);
    return outgoing;
}

void outgoing_destroy(outgoing_t **self) {
    outgoing_t *outgoing = *self;
    if (!outgoing)
        return;
    *self = NULL;
    set_flag(outgoing, &outgoing->closing);
    pthread_join(outgoing->thread, NULL);
    pthread_cond_destroy(&outgoing->filled);
    pthread_cond_destroy(&outgoing->drained);
    pthread_mutex_destroy(&outgoing->lock);
    buf_release(&outgoing->queue);
    free(outgoing);
}
