#include "trainer/writer.h"

#include "base/fs.h"

#include <inttypes.h>
#include <libgen.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT 2

typedef struct {
    char *path; // relative to files
    char sha256[DIGEST_HEX_SIZE];
    uint64_t step;
} recorded_t;

struct writer {
    const writer_options_t *options;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    checkpoint_t checkpoint; // of the thread while busy, else of the caller
    bool busy, closing, stored, warned;
    err_t error; // ERR_OK: none
    recorded_t kept[KEPT + 1];
    int kept_count;
};

// ---- files that go ----

static char *folder_of(const char *path) {
    char *copy = mem_dup(path), *folder = mem_dup(dirname(copy));
    free(copy);
    return folder;
}

// Are both folders attempts of one job?
static bool is_sibling(const char *a, const char *b) {
    char *x = folder_of(a), *y = folder_of(b);
    bool same = strcmp(x, y) == 0;
    free(x);
    free(y);
    return same;
}

static void remove_recorded(const writer_t *writer, recorded_t *recorded) {
    const writer_options_t *options = writer->options;
    const char *own = options->folder + strlen(options->files) + 1;
    char *folder = folder_of(recorded->path);
    if (strcmp(folder, own) == 0)
        options->remove(options->context, recorded->path);
    else if (is_sibling(folder, own))
        options->remove(options->context, folder); // an earlier attempt's: nobody needs it any more
    free(folder);
    free(recorded->path);
}

static void keep_newest(writer_t *writer, int count) {
    int gone = writer->kept_count - count;
    for (int i = 0; i < gone; i++)
        remove_recorded(writer, &writer->kept[i]);
    if (gone > 0) {
        memmove(writer->kept, writer->kept + gone, (size_t)count * sizeof *writer->kept);
        writer->kept_count = count;
    }
}

static void add_recorded(writer_t *writer, const char *path, const char *sha256, uint64_t step) {
    recorded_t *recorded = &writer->kept[writer->kept_count++];
    recorded->path = mem_dup(path);
    memcpy(recorded->sha256, sha256, DIGEST_HEX_SIZE);
    recorded->step = step;
    keep_newest(writer, KEPT);
}

void writer_keep_last(writer_t *writer) {
    writer_wait(writer);
    keep_newest(writer, 1);
}

// ---- one checkpoint ----

static err_code_t check_space(const writer_t *writer, err_t *err) {
    const writer_options_t *options = writer->options;
    uint64_t needed =
        checkpoint_bytes(&writer->checkpoint, options->tensors, options->tensor_count);
    uint64_t free_bytes = fs_free_bytes(options->folder);
    if (free_bytes >= needed + options->reserve_bytes) // UINT64_MAX: unknown
        return ERR_OK;
    return err_set(err, ERR_FULL, "the disk of %s has %" PRIu64 " MB left, %" PRIu64 " are needed",
                   options->folder, free_bytes >> 20,
                   (needed + options->reserve_bytes + (1 << 20)) >> 20);
}

// Tells of the first of several failures in a row.
static void warn_once(writer_t *writer, const err_t *err) {
    char text[1024];
    if (writer->warned)
        return;
    writer->warned = true;
    snprintf(text, sizeof text, "training goes on without a checkpoint of step %" PRIu64 ": %s",
             writer->checkpoint.state.step, err->message);
    writer->options->warn(writer->options->context, text);
}

static err_code_t record(writer_t *writer, const char *path, const char *sha256, err_t *err) {
    const writer_options_t *options = writer->options;
    const recorded_t *last = writer->kept_count ? &writer->kept[writer->kept_count - 1] : NULL;
    proto_checkpoint_t previous = {.path = NULL};
    if (last) {
        previous.path = last->path;
        previous.digest = last->sha256;
        previous.step = last->step;
    }
    return options->record(options->context, path + strlen(options->files) + 1, sha256,
                           &writer->checkpoint.state, last ? &previous : NULL, err);
}

static err_code_t store(writer_t *writer, err_t *err) {
    const writer_options_t *options = writer->options;
    const state_t *state = &writer->checkpoint.state;
    char sha256[DIGEST_HEX_SIZE];
    char *path = state->done ? mem_format("%s/done.ckpt", options->folder)
                             : mem_format("%s/step-%" PRIu64 ".ckpt", options->folder, state->step);
    err_code_t code = check_space(writer, err);
    if (code == ERR_OK)
        code = checkpoint_write(path, &writer->checkpoint, options->tensors, options->tensor_count,
                                sha256, err);
    if (code == ERR_OK) {
        code = record(writer, path, sha256, err);
        if (code == ERR_OK)
            add_recorded(writer, path + strlen(options->files) + 1, sha256, state->step);
        else if (code != ERR_UNAVAILABLE && code != ERR_CANCELLED)
            options->remove(
                options->context,
                path + strlen(options->files) +
                    1); // refused; without an answer it may have been recorded all the same
    }
    free(path);
    return code;
}

static void *run(void *arg) {
    writer_t *writer = arg;
    pthread_mutex_lock(&writer->lock);
    for (;;) {
        while (!writer->busy && !writer->closing)
            pthread_cond_wait(&writer->changed, &writer->lock);
        if (!writer->busy)
            break;
        pthread_mutex_unlock(&writer->lock);
        err_t err = {.code = ERR_OK};
        err_code_t code = store(writer, &err);
        bool lost = code == ERR_STALE || code == ERR_CANCELLED;
        if (code && !lost)
            warn_once(writer, &err);
        pthread_mutex_lock(&writer->lock);
        writer->stored = code == ERR_OK;
        if (code == ERR_OK)
            writer->warned = false;
        if (lost)
            writer->error = err;
        writer->busy = false;
        pthread_cond_broadcast(&writer->changed);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

// ---- the caller's side ----

writer_t *writer_new(const writer_options_t *options, const proto_checkpoint_t *earlier) {
    writer_t *writer = mem_zero(1, sizeof *writer);
    writer->options = options;
    state_init(&writer->checkpoint.state);
    pthread_mutex_init(&writer->lock, NULL);
    pthread_cond_init(&writer->changed, NULL);
    if (earlier)
        add_recorded(writer, earlier->path, earlier->digest, earlier->step);
    ERR_ASSERT(pthread_create(&writer->thread, NULL, run, writer) == 0);
    return writer;
}

void writer_destroy(writer_t **self) {
    writer_t *writer = *self;
    if (!writer)
        return;
    pthread_mutex_lock(&writer->lock);
    writer->closing = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
    pthread_join(writer->thread, NULL);
    checkpoint_release(&writer->checkpoint);
    for (int i = 0; i < writer->kept_count; i++)
        free(writer->kept[i].path);
    pthread_mutex_destroy(&writer->lock);
    pthread_cond_destroy(&writer->changed);
    free(writer);
    *self = NULL;
}

bool writer_idle(writer_t *writer) {
    pthread_mutex_lock(&writer->lock);
    bool idle = !writer->busy;
    pthread_mutex_unlock(&writer->lock);
    return idle;
}

void writer_put(writer_t *writer, checkpoint_t *checkpoint) {
    pthread_mutex_lock(&writer->lock);
    ERR_ASSERT(!writer->busy);
    checkpoint_release(&writer->checkpoint);
    writer->checkpoint = *checkpoint;
    *checkpoint = (checkpoint_t){.params = NULL};
    state_init(&checkpoint->state);
    writer->busy = true;
    pthread_cond_broadcast(&writer->changed);
    pthread_mutex_unlock(&writer->lock);
}

bool writer_wait(writer_t *writer) {
    pthread_mutex_lock(&writer->lock);
    while (writer->busy)
        pthread_cond_wait(&writer->changed, &writer->lock);
    bool stored = writer->stored;
    pthread_mutex_unlock(&writer->lock);
    return stored;
}

err_code_t writer_error(writer_t *writer, err_t *err) {
    pthread_mutex_lock(&writer->lock);
    err_t error = writer->error;
    pthread_mutex_unlock(&writer->lock);
    if (error.code && err)
        *err = error;
    return error.code;
}

void writer_reuse(writer_t *writer, checkpoint_t *checkpoint) {
    pthread_mutex_lock(&writer->lock);
    ERR_ASSERT(!writer->busy);
    *checkpoint = writer->checkpoint;
    writer->checkpoint = (checkpoint_t){.params = NULL};
    state_init(&writer->checkpoint.state);
    pthread_mutex_unlock(&writer->lock);
    state_release(&checkpoint->state);
    weights_release(&checkpoint->best);
}
