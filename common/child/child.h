// The heavy half of a worker: one process per job, started by the worker's light parent
// (worker/worker.h), which keeps the lease alive, whatever this process does. It ends when the job
// ends; when the parent dies the kernel kills it. Signals to end are for the parent: ignored here.
//
//   static err_code_t run(child_t *child, const child_job_t *job, child_result_t *result,
//                         err_t *err);
//   int main(int argc, char **argv) { return child_main(argc, argv, run); }
//
// Returning ERR_OK finishes the job as succeeded with *result; ERR_CANCELLED as cancelled or as
// released, whichever child_stop() says; any other error, or ERR_CANCELLED when nobody asked for
// it, as failed (retryable as the code says). A crash is noticed by the parent. All functions may
// be called from any thread.
#ifndef INKLING_CHILD_CHILD_H
#define INKLING_CHILD_CHILD_H

#include "conf/conf.h"
#include "proto/json.h"

typedef struct child child_t;

typedef struct {
    const char *id, *kind;
    uint64_t token, attempt;
    proto_bytes_t body;                   // decode with proto_decode(PROTO_train, …)
    const proto_checkpoint_t *checkpoint; // of an earlier attempt, or NULL
    const char *files;                    // root of the stack's files (absolute)
    const char *folder;                   // <files>/jobs/<id>/<token>: exists, this attempt's own
    // Several processes that do one job together, each on a worker of its own: a gang. Without one
    // 0, 1 and NULL. Only rank 0 may record checkpoints and register something; events of the
    // others are left out. The job succeeds with rank 0; the others' success ends their part alone.
    int rank, world;
    const char *address; // where the others reach this host: numeric, IPv4 or IPv6
} child_job_t;

// What a success brings. Texts are copied by the caller of run before the process ends.
typedef struct {
    json_t *result;                     // object, owned by the callee (decref'ed after run)
    const proto_new_dataset_t *dataset; // registered with the success, or NULL
    const proto_new_model_t *model;
} child_result_t;

typedef err_code_t (*child_run_fn)(child_t *child, const child_job_t *job, child_result_t *result,
                                   err_t *err);
int child_main(int argc, char **argv, child_run_fn run);

// Memory that lives until the process ends; for one thread at a time.
proto_arena_t *child_arena(child_t *child);
// The worker's settings.
const conf_t *child_conf(const child_t *child);

typedef enum { CHILD_GO, CHILD_CANCEL, CHILD_RELEASE } child_stop_t;
// Ask at least every 200 ms. CANCEL: return ERR_CANCELLED soon (the process is killed half a second
// later). RELEASE (drain): record a checkpoint if there is progress to keep, then return
// ERR_CANCELLED, within 30 s.
child_stop_t child_stop(child_t *child);

// Progress: counter only grows and tells "not stalled"; done and total make the progress bar (event
// "progress", at most 4 a second; the newest wins). text may be NULL. Cheap: call it per step.
void child_progress(child_t *child, uint64_t counter, double done, double total, const char *text);

// An event of the job; steals the reference. Waits while too many are on their way. What no message
// can hold (64 KiB) is left out and logged, and nothing is sent once the job is cancelled.
void child_event(child_t *child, const char *type, json_t *data);
void child_log(child_t *child, const char *level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Records a checkpoint that is complete on disk; returns once the dispatcher has stored it, however
// long it is away. ERR_STALE: the lease is lost, stop; ERR_CANCELLED: the job is. path is relative
// to files; info stays the caller's and may be NULL.
err_code_t child_checkpoint(child_t *child, const char *path, const char *digest, uint64_t step,
                            json_t *info, err_t *err);

// --- Files of the stack. Where its folder is shared (`blobs` is no tcp address) these do nothing
// but give paths; elsewhere they fetch and send by the blobs service, for as long as it takes:
// ERR_CANCELLED when the job is cancelled, and, fetching, when it is released. Paths are relative
// to files.

// Fetches the file with that digest, unless it is here. ERR_NOT_FOUND: the stack does not have it
// (any more).
err_code_t child_fetch_file(child_t *child, const char *path, const char *digest, err_t *err);
// A folder by its file `root`, which names the others (blob/blob.h).
err_code_t child_fetch_folder(child_t *child, const char *path, const char *root,
                              const char *digest, err_t *err);
// What a client has uploaded: *path, absolute, malloc'ed.
err_code_t child_fetch_upload(child_t *child, const char *digest, char **path, err_t *err);
// Sends what this job has made, before anybody is told of it. Checkpoints are sent by
// child_checkpoint().
err_code_t child_publish_file(child_t *child, const char *path, const char *digest, err_t *err);
err_code_t child_publish_folder(child_t *child, const char *path, const char *root, err_t *err);
// Removes a file or folder of this job, here and with the stack; what stays is logged.
void child_remove(child_t *child, const char *path);

// A request to the dispatcher by way of the parent (dataset.show, model.show …); repeated until it
// is answered, so only for what may be done twice. An error answer becomes err; ERR_CANCELLED: the
// job is cancelled. reply points into memory that lives until the process ends.
err_code_t child_ask(child_t *child, proto_type_t type, const void *message,
                     proto_type_t reply_type, void *reply, err_t *err);
// A meeting of the gang: gives data (at most PROTO_MEET_MAX bytes) to the others and returns when
// all ranks have, with what each gave: all[world], by rank, in memory that lives until the process
// ends. round names the meeting; each is held once in an attempt. Without a gang one meets only
// oneself. ERR_STALE: the gang has ended; ERR_CANCELLED: the job is cancelled or released.
err_code_t child_meet(child_t *child, const char *round, const void *data, size_t size,
                      proto_bytes_t *all, err_t *err);
// For those who ask for ever: what replies point to is not needed any more, and its memory is free
// for others. No other thread may be asking, or using a reply.
void child_forget_replies(child_t *child);

#endif
