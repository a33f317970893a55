// Blobs: files by their SHA-256. The blobs service (services/blobs) keeps them below the stack's
// files and serves them to clients and to workers that do not share that folder; here is their side
// of it.
//
//   <files>/blobs/ab/abcd…   a whole blob, checked against its name before it got it
//   <files>/blobs/new/…      whole, but a loss of power may take it: until the next blob.sync
//   <files>/blobs/part/…     pieces so far; goes on where it ends, after whatever interruption
//
// A handle is one connection, used by one thread at a time. Requests are in flight side by side, a
// few MiB of them; what was unanswered when a connection broke is sent again. Nothing is lost and
// nothing doubled by that: pieces know their place.
#ifndef INKLING_BLOB_BLOB_H
#define INKLING_BLOB_BLOB_H

#include "base/err.h"
#include "digest/digest.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct blob blob_t;

// Asked about ten times a second while waiting; true ends the call with ERR_CANCELLED. May be NULL.
typedef bool (*blob_stop_fn)(void *arg);

typedef struct {
    const char *endpoint; // of the blobs service
    // Without a connection for so long, or without an answer for 30 times as long: ERR_UNAVAILABLE.
    // 0: waits for ever.
    int64_t patience_ms;
    blob_stop_fn stop;
    void *arg;
} blob_options_t;

err_code_t blob_open(const blob_options_t *options, blob_t **blob, err_t *err);
void blob_close(blob_t **blob); // allows *blob == NULL
// Bytes of pieces that have come or were acknowledged: grows as long as there is progress.
uint64_t blob_moved(const blob_t *blob);

// There is no connection, as far as is known: nothing moves, and the caller is not to blame.
bool blob_away(const blob_t *blob);

// --- Sending

// Of count digests (any number) sets missing[i] where the service does not have it.
err_code_t blob_missing(blob_t *blob, const char (*digests)[DIGEST_HEX_SIZE], size_t count,
                        bool *missing, err_t *err);
// Sends bytes whose digest is known. What fits into a piece is copied, and on its way when this
// returns; more is sent piece by piece, as by blob_put_file, and is there then.
err_code_t blob_put_bytes(blob_t *blob, const char digest[DIGEST_HEX_SIZE], const void *bytes,
                          size_t size, err_t *err);
// Sends what the service does not have of a file that has that digest (its caller says). Goes on
// where an earlier attempt ended. ERR_CORRUPT: the file changes, or never had that digest. sent
// (may be NULL) grows by the bytes that went over the wire.
err_code_t blob_put_file(blob_t *blob, const char *path, const char digest[DIGEST_HEX_SIZE],
                         uint64_t *sent, err_t *err);
// Waits for the answers to all puts. The first refusal is returned; err names the digest.
err_code_t blob_flush(blob_t *blob, err_t *err);
// blob_flush, and then all that was put is on disk.
err_code_t blob_sync(blob_t *blob, err_t *err);
// A whole, synced blob becomes the stack's file of that path (relative; "models/…/model.json").
err_code_t blob_place(blob_t *blob, const char digest[DIGEST_HEX_SIZE], const char *path,
                      err_t *err);

// Removes a file or folder of a job ("jobs/7/1/step-10.ckpt") from the stack's files; what is not
// there is removed.
err_code_t blob_remove(blob_t *blob, const char *path, err_t *err);

// --- Fetching

// The blob with that digest, at `to` when it returns: written beside it, checked, renamed.
// remote_path: where the stack has it, or NULL for an upload. Goes on where an earlier attempt
// ended; of several processes that fetch to the same place one does and the others wait.
// ERR_NOT_FOUND: the stack does not have it; ERR_CORRUPT: it has something else.
err_code_t blob_get_file(blob_t *blob, const char digest[DIGEST_HEX_SIZE], const char *remote_path,
                         const char *to, err_t *err);

// --- Copies of the stack's files on a host that does not share them, in a folder of the same
// layout

// The stack's file of that path and digest, at <files>/<path>. One that is there already is read
// and kept if it is right, else fetched anew.
err_code_t blob_fetch_file(blob_t *blob, const char *files, const char *path,
                           const char digest[DIGEST_HEX_SIZE], err_t *err);
// The stack's folder of that path, at `to`: its file `root`, a JSON document that has that digest,
// and the files that it names: every object in it with "sha256" is about one, called by its "file",
// or else by the key under which it stands. (A data set's manifest.json, a model's model.json.)
// Files that are right are kept.
err_code_t blob_fetch_folder(blob_t *blob, const char *path, const char *root,
                             const char digest[DIGEST_HEX_SIZE], const char *to, err_t *err);
// An upload, at blob_path(files, digest).
err_code_t blob_fetch_upload(blob_t *blob, const char *files, const char digest[DIGEST_HEX_SIZE],
                             err_t *err);
// Makes <files>/<path> the stack's file of that path, durable; sends it only if it is not there
// yet.
err_code_t blob_publish_file(blob_t *blob, const char *files, const char *path,
                             const char digest[DIGEST_HEX_SIZE], err_t *err);
// The same for the files of a folder (hidden ones are left out), `root` last: a folder that has it
// is complete.
err_code_t blob_publish_folder(blob_t *blob, const char *files, const char *path, const char *root,
                               err_t *err);
// In a folder that had no data sets, models or uploads when this was first called for it; in
// another, such as the stack's own, nothing. Removes the copies used longest ago until all take at
// most so many bytes: whole folders of data sets, models and attempts, single uploads. Those that a
// process holds (blob_hold) stay.
err_code_t blob_trim(const char *files, uint64_t bytes, err_t *err);
// Marks <files>/<path>, a folder, as in use, until the descriptor is closed; -1: there is none.
int blob_hold(const char *files, const char *path);

// --- Places

// "<files>/blobs/ab/abcd…"; malloc'ed.
char *blob_path(const char *files, const char digest[DIGEST_HEX_SIZE]);
// 64 small hex digits.
bool blob_digest_valid(const char *digest);

#endif
