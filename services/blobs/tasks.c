// What takes long, on the background thread: each task is answered when its mail is read.
#include "base/fs.h"
#include "base/log.h"
#include "blobs_impl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    task_t task;
    blobs_t *blobs;
    bus_peer_t peer;
    uint64_t id, size;
    char digest[DIGEST_HEX_SIZE];
    char *path;
    cas_finish_t finish;
    cas_file_t *file;
    proto_blob_get_t get;
    err_code_t code;
    err_t err;
} job_t;

static job_t *job_new(blobs_t *blobs, const bus_message_t *message, bus_fn read,
                      void (*run)(task_t *task, bool stopping)) {
    job_t *job = mem_zero(1, sizeof *job);
    job->blobs = blobs;
    job->task.mail = (mail_t){.read = read, .arg = job};
    job->task.run = run;
    if (message) {
        job->peer = message->peer;
        job->id = message->id;
    }
    return job;
}

static void job_free(job_t *job) {
    free(job->path);
    free(job);
}

// stopping: the client hears nothing, and asks the next process.
static bool ends(job_t *job, bool stopping) {
    if (stopping)
        job->code = err_set(&job->err, ERR_UNAVAILABLE, "the blobs service is going down");
    return stopping;
}

// --- Sync
// -----------------------------------------------------------------------------------------

void waiters_free(waiter_t *waiter) {
    for (waiter_t *next; waiter; waiter = next) {
        next = waiter->next;
        free(waiter);
    }
}

static void run_sync(task_t *task, bool stopping) {
    job_t *job = (job_t *)task;
    (void)stopping; // what was taken is kept
    job->code = cas_sync(job->blobs->cas, &job->err);
}

static void start_sync(blobs_t *blobs);

static void synced(void *arg) {
    job_t *job = arg;
    blobs_t *blobs = job->blobs;
    cas_sync_end(blobs->cas, job->code == ERR_OK);
    blobs->syncing = false;
    if (job->code)
        log_error("uploads are not safe on disk: %s", job->err.message);
    proto_ok_t ok = {0};
    for (waiter_t *waiter = blobs->sync_waiters; waiter; waiter = waiter->next) {
        err_t failed;
        if (job->code)
            blobs_refuse(blobs, &waiter->peer, waiter->id, &job->err);
        else if (bus_send(blobs->router, &waiter->peer, waiter->id, 0, PROTO_ok, &ok, NULL, 0,
                          &failed) != ERR_OK)
            log_debug("no answer to blob.sync: %s", failed.message);
    }
    waiters_free(blobs->sync_waiters);
    blobs->sync_waiters = NULL;
    bool failed_sync = job->code != ERR_OK;
    job_free(job);
    if (!blobs->background)
        return; // the end
    bool again = blobs->draining && cas_fresh_bytes(blobs->cas) > 0 && !failed_sync;
    if (blobs->next_waiters || again)
        start_sync(blobs);
    else if (blobs->draining)
        service_drained(blobs->service);
}

static void start_sync(blobs_t *blobs) {
    blobs->syncing = true;
    blobs->sync_waiters = blobs->next_waiters;
    blobs->next_waiters = NULL;
    cas_sync_begin(blobs->cas);
    background_push(blobs->background, &job_new(blobs, NULL, synced, run_sync)->task);
}

void task_sync(blobs_t *blobs, const bus_message_t *message) {
    if (message) {
        waiter_t *waiter = mem_zero(1, sizeof *waiter);
        waiter->peer = message->peer;
        waiter->id = message->id;
        waiter->next = blobs->next_waiters;
        blobs->next_waiters = waiter;
    }
    if (!blobs->syncing)
        start_sync(blobs);
}

// --- Finishing a part
// -----------------------------------------------------------------------------

static void run_finish(task_t *task, bool stopping) {
    job_t *job = (job_t *)task;
    if (!ends(job, stopping))
        job->code = cas_finish(job->blobs->cas, &job->finish, &job->err);
}

static void finished(void *arg) {
    job_t *job = arg;
    blobs_t *blobs = job->blobs;
    err_t failed;
    cas_finish_end(blobs->cas, &job->finish);
    proto_blob_stored_t stored = {.next = job->size, .whole = true};
    if (job->code)
        blobs_refuse(blobs, &job->peer, job->id, &job->err);
    else if (bus_send(blobs->router, &job->peer, job->id, 0, PROTO_blob_stored, &stored, NULL, 0,
                      &failed) != ERR_OK)
        log_debug("no answer to blob.put: %s", failed.message);
    job_free(job);
}

void task_finish(blobs_t *blobs, const bus_message_t *message, const char *digest, uint64_t size) {
    job_t *job = job_new(blobs, message, finished, run_finish);
    job->size = size;
    cas_finish_begin(blobs->cas, digest, &job->finish);
    background_push(blobs->background, &job->task);
}

// --- Placing and removing
// --------------------------------------------------------------------------

static void run_place(task_t *task, bool stopping) {
    job_t *job = (job_t *)task;
    if (!ends(job, stopping))
        job->code = cas_place(job->blobs->cas, job->digest, job->path, &job->err);
}

static void run_remove(task_t *task, bool stopping) {
    job_t *job = (job_t *)task;
    if (!ends(job, stopping))
        job->code = fs_remove_below(job->blobs->conf->files, job->path, &job->err);
}

static void answer_ok(void *arg) {
    job_t *job = arg;
    blobs_t *blobs = job->blobs;
    proto_ok_t ok = {0};
    err_t failed;
    if (job->code)
        blobs_refuse(blobs, &job->peer, job->id, &job->err);
    else if (bus_send(blobs->router, &job->peer, job->id, 0, PROTO_ok, &ok, NULL, 0, &failed) !=
             ERR_OK)
        log_debug("no answer: %s", failed.message);
    job_free(job);
}

void task_place(blobs_t *blobs, const bus_message_t *message, const proto_blob_place_t *place) {
    job_t *job = job_new(blobs, message, answer_ok, run_place);
    memcpy(job->digest, place->digest, DIGEST_HEX_SIZE);
    job->path = mem_dup(place->path);
    background_push(blobs->background, &job->task);
}

void task_remove(blobs_t *blobs, const bus_message_t *message, const char *path) {
    job_t *job = job_new(blobs, message, answer_ok, run_remove);
    job->path = mem_dup(path);
    background_push(blobs->background, &job->task);
}

// --- Looking at a file
// ----------------------------------------------------------------------------

static void run_verify(task_t *task, bool stopping) {
    job_t *job = (job_t *)task;
    blobs_t *blobs = job->blobs;
    if (!ends(job, stopping))
        job->code = cas_verify(blobs->cas, job->file, &job->err);
}

static void verified(void *arg) {
    job_t *job = arg;
    blobs_t *blobs = job->blobs;
    int fd;
    uint64_t whole;
    cas_verify_end(blobs->cas, job->file, job->code == ERR_OK);
    int found = job->code ? 0 : cas_at(blobs->cas, job->path, job->digest, &fd, &whole);
    if (job->code == ERR_OK && found != 1) {
        err_set(&job->err, ERR_NOT_FOUND, "the stack has no blob %s, and not at %s", job->digest,
                job->path);
        job->code = ERR_NOT_FOUND;
    }
    if (job->code)
        blobs_refuse(blobs, &job->peer, job->id, &job->err);
    else
        blobs_serve(blobs, &job->peer, job->id, fd, whole, &job->get);
    job_free(job);
}

void task_verify(blobs_t *blobs, const bus_message_t *message, const proto_blob_get_t *get) {
    job_t *job = job_new(blobs, message, verified, run_verify);
    memcpy(job->digest, get->digest, DIGEST_HEX_SIZE);
    job->path = mem_dup(get->path);
    job->get = *get;
    job->get.digest = job->digest;
    job->get.path = job->path;
    job->file = cas_verify_begin(get->path);
    background_push(blobs->background, &job->task);
}
