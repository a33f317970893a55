// Writes checkpoints in a thread of its own, while training goes on, one at a time: to
// <folder>/step-N.ckpt, then recorded by the callback, which may take as long as it likes. Once
// it is recorded the files before the last two are removed: those of this attempt, and the folder
// of an earlier attempt as soon as its file is not among them.
//
// What cannot be written (a disk that is full, or nearly: below reserve_bytes after the write)
// is skipped and told; training goes on without it.
#ifndef INKLING_TRAINER_WRITER_H
#define INKLING_TRAINER_WRITER_H

#include "trainer/checkpoint.h"

typedef struct {
    // Blocks until the checkpoint is recorded. previous: the one recorded before, or NULL.
    err_code_t (*record)(void *context, const char *path, const char *sha256, const state_t *state,
                         const proto_checkpoint_t *previous, err_t *err);
    // A file or folder, relative to files.
    void (*remove)(void *context, const char *path);
    void (*warn)(void *context, const char *text);
    void *context;
    const char *files, *folder; // absolute; folder lies below files
    uint64_t reserve_bytes;
    const nn_tensor_t *tensors;
    int tensor_count;
} writer_options_t;

typedef struct writer writer_t;

// options and what it points to must outlive the writer. earlier: the checkpoint that this attempt
// goes on from (its path relative to files, and its digest), or NULL.
writer_t *writer_new(const writer_options_t *options, const proto_checkpoint_t *earlier);
// Waits for the one that is being written. Allows *writer == NULL.
void writer_destroy(writer_t **writer);

// Nothing is being written: writer_put may be called.
bool writer_idle(writer_t *writer);
// Takes over what is in *checkpoint (left empty). The writer must be idle.
void writer_put(writer_t *writer, checkpoint_t *checkpoint);
// Waits until idle. True if the last one put was recorded.
bool writer_wait(writer_t *writer);
// The error that ended recording for good (ERR_STALE, ERR_CANCELLED), or ERR_OK.
err_code_t writer_error(writer_t *writer, err_t *err);
// Buffers of the last checkpoint, to be filled again, or an empty one. The writer must be idle.
void writer_reuse(writer_t *writer, checkpoint_t *checkpoint);

// Removes every file that was recorded but the last: at the end, when that one says it all.
void writer_keep_last(writer_t *writer);

#endif
