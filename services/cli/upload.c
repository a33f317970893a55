#include "upload_impl.h"

#include "base/clock.h"
#include "base/fs.h"
#include "digest/digest.h"
#include "listing/listing.h"
#include "listing/steady.h"
#include "progress_impl.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HANDS_MAX   4
#define BATCH_FILES 64 // whose digests are asked for together
#define BATCH_BYTES (8 << 20)
#define SHOW_MS     100
#define ROUNDS_MAX  20 // in which the stack lost something of what it had been sent

typedef struct {
    cli_t *cli;
    listing_t *listing;
    bool *pending; // of each file: it is to be read, and sent if the stack does not have it
    size_t limit;  // bytes of a file
    atomic_size_t next, done;
    atomic_uint_fast64_t done_bytes, sent_files, sent_bytes;
    atomic_bool stop;
    pthread_mutex_t lock; // of what follows
    pthread_cond_t ended;
    int running;
    err_t err; // the first failure
} upload_t;

typedef struct {
    listing_file_t *file;
    uint8_t *bytes;
} read_t;

// What one thread works with.
typedef struct {
    upload_t *upload;
    blob_t *blob;
    steady_t buffer;
    read_t batch[BATCH_FILES];
    char digests[BATCH_FILES][DIGEST_HEX_SIZE];
    bool missing[BATCH_FILES];
    size_t count, bytes;
} hand_t;

// --- One thread
// -----------------------------------------------------------------------------------

static void fail(upload_t *upload, const err_t *err) {
    pthread_mutex_lock(&upload->lock);
    if (!upload->err.code)
        upload->err = *err;
    pthread_mutex_unlock(&upload->lock);
    atomic_store(&upload->stop, true);
}

// A file that cannot be had is no failure: the listing says why.
static err_code_t read_one(hand_t *hand, listing_file_t *file, err_t *err) {
    upload_t *upload = hand->upload;
    char *path = fs_join(upload->listing->folder, file->path);
    err_t why;
    err_code_t code =
        steady_read(path, upload->limit, &hand->buffer, &file->bytes, &file->mtime_ns, &why);
    free(path);
    if (code == ERR_NO_MEMORY) {
        *err = why;
        return err_context(err, "%s", file->path);
    }
    if (code) {
        file->reason = mem_dup(why.message);
        return ERR_OK;
    }
    digest_bytes(hand->buffer.bytes, hand->buffer.size, file->digest);
    memcpy(hand->digests[hand->count], file->digest, DIGEST_HEX_SIZE);
    hand->batch[hand->count++] = (read_t){file, hand->buffer.bytes};
    hand->bytes += hand->buffer.size;
    hand->buffer = (steady_t){NULL, 0, 0}; // the batch has it
    return ERR_OK;
}

static err_code_t fill_batch(hand_t *hand, err_t *err) {
    upload_t *upload = hand->upload;
    err_code_t code = ERR_OK;
    hand->count = hand->bytes = 0;
    while (code == ERR_OK && hand->count < BATCH_FILES && hand->bytes < BATCH_BYTES &&
           !atomic_load(&upload->stop)) {
        size_t i = atomic_fetch_add(&upload->next, 1);
        if (i >= upload->listing->count)
            break;
        listing_file_t *file = &upload->listing->files[i];
        if (!upload->pending[i])
            continue;
        if (!file->reason)
            code = read_one(hand, file, err);
        if (file->reason)
            atomic_fetch_add(&upload->done, 1);
    }
    return code;
}

static err_code_t send_batch(hand_t *hand, err_t *err) {
    upload_t *upload = hand->upload;
    err_code_t code = blob_missing(hand->blob, (const char(*)[DIGEST_HEX_SIZE])hand->digests,
                                   hand->count, hand->missing, err);
    for (size_t i = 0; i < hand->count && code == ERR_OK; i++) {
        const listing_file_t *file = hand->batch[i].file;
        if (hand->missing[i]) {
            code = blob_put_bytes(hand->blob, file->digest, hand->batch[i].bytes, file->bytes, err);
            atomic_fetch_add(&upload->sent_files, 1);
            atomic_fetch_add(&upload->sent_bytes, file->bytes);
        }
        atomic_fetch_add(&upload->done, 1);
        atomic_fetch_add(&upload->done_bytes, file->bytes);
    }
    return code;
}

static void free_batch(hand_t *hand) {
    for (size_t i = 0; i < hand->count; i++)
        free(hand->batch[i].bytes);
    hand->count = 0;
}

static void *work(void *arg) {
    upload_t *upload = arg;
    hand_t *hand = mem_zero(1, sizeof *hand);
    err_t err;
    hand->upload = upload;
    err_code_t code = fetch_open(upload->cli, &hand->blob, &err);
    bool more = true;
    while (code == ERR_OK && more && !atomic_load(&upload->stop)) {
        code = fill_batch(hand, &err);
        more = hand->count > 0;
        if (code == ERR_OK && more)
            code = send_batch(hand, &err);
        free_batch(hand);
    }
    free_batch(hand);
    if (code == ERR_OK)
        code = blob_flush(hand->blob, &err);
    if (code)
        fail(upload, &err);
    blob_close(&hand->blob);
    free(hand->buffer.bytes);
    free(hand);
    pthread_mutex_lock(&upload->lock);
    upload->running--;
    pthread_cond_signal(&upload->ended);
    pthread_mutex_unlock(&upload->lock);
    return NULL;
}

// --- All of them
// ----------------------------------------------------------------------------------

static void show(const upload_t *upload, progress_t *progress, int64_t begun_ms) {
    char text[64];
    double seconds = (double)(clock_mono_ms() - begun_ms) / 1000;
    double megabytes = (double)atomic_load(&upload->done_bytes) / 1e6;
    snprintf(text, sizeof text, "files  %.0f MB, %.0f MB/s", megabytes,
             seconds > 0 ? megabytes / seconds : 0);
    progress_show(progress, (double)atomic_load(&upload->done), (double)upload->listing->count,
                  text, clock_mono_ms());
}

static void await_all(upload_t *upload) {
    progress_t progress;
    int64_t begun_ms = clock_mono_ms();
    progress_init(&progress);
    pthread_mutex_lock(&upload->lock);
    while (upload->running > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += SHOW_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&upload->ended, &upload->lock, &until);
        pthread_mutex_unlock(&upload->lock);
        if (cli_interrupted())
            atomic_store(&upload->stop, true);
        show(upload, &progress, begun_ms);
        pthread_mutex_lock(&upload->lock);
    }
    pthread_mutex_unlock(&upload->lock);
    progress_end(&progress);
}

static int hand_count(const upload_t *upload) {
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    count = count < 2 ? 2 : count > HANDS_MAX ? HANDS_MAX : count; // one reads while one waits
    size_t batches = upload->listing->count / BATCH_FILES + 1;
    return (size_t)count > batches ? (int)batches : count;
}

static void init(upload_t *upload, cli_t *cli, listing_t *listing) {
    pthread_condattr_t attributes;
    memset(upload, 0, sizeof *upload);
    upload->cli = cli;
    upload->listing = listing;
    upload->limit = (size_t)cli->conf.image_bytes;
    upload->pending = mem_zero(listing->count + 1, sizeof *upload->pending);
    memset(upload->pending, true, listing->count);
    pthread_mutex_init(&upload->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&upload->ended, &attributes);
    pthread_condattr_destroy(&attributes);
}

static err_code_t interrupted(err_t *err) {
    err_set(err, ERR_CANCELLED, "stopped before all files were sent; no job is queued");
    return err_remedy(err, "the same command sends the rest");
}

static size_t count_pending(const upload_t *upload) {
    size_t count = 0;
    for (size_t i = 0; i < upload->listing->count; i++)
        count += upload->pending[i];
    return count;
}

static err_code_t send_files(upload_t *upload, err_t *err) {
    pthread_t threads[HANDS_MAX];
    int wanted = hand_count(upload), started = 0;
    atomic_store(&upload->next, 0);
    atomic_store(&upload->done, upload->listing->count - count_pending(upload));
    pthread_mutex_lock(&upload->lock);
    while (started < wanted && pthread_create(&threads[started], NULL, work, upload) == 0)
        started++;
    upload->running = started;
    pthread_mutex_unlock(&upload->lock);
    await_all(upload);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (started == 0)
        return err_set(err, ERR_NO_MEMORY, "cannot start a thread to send files");
    if (cli_interrupted())
        return interrupted(err);
    if (upload->err.code && err)
        *err = upload->err;
    return upload->err.code;
}

// --- What the stack has then
// ----------------------------------------------------------------------

static err_code_t send_listing(const upload_t *upload, blob_t *blob, char digest[DIGEST_HEX_SIZE],
                               err_t *err) {
    buf_t text;
    buf_init(&text, LISTING_BYTES_MAX);
    err_code_t code = listing_write(upload->listing, &text, err);
    if (code == ERR_OK) {
        digest_bytes(text.data, text.size, digest);
        code = blob_put_bytes(blob, digest, text.data, text.size, err);
    }
    buf_release(&text);
    return code;
}

// Marks the files that the stack does not have; *lost: there are some, or the listing is not there.
static err_code_t look_again(upload_t *upload, blob_t *blob, const char *listing_digest, bool *lost,
                             err_t *err) {
    const listing_t *listing = upload->listing;
    size_t count = listing->count, asked = 1;
    size_t *at = mem_zero(count + 1, sizeof *at); // whose digest it is
    char(*digests)[DIGEST_HEX_SIZE] = mem_zero(count + 1, sizeof *digests);
    bool *missing = mem_zero(count + 1, sizeof *missing);
    memcpy(digests[0], listing_digest, DIGEST_HEX_SIZE);
    for (size_t i = 0; i < count; i++) {
        if (!listing->files[i].digest[0])
            continue;
        memcpy(digests[asked], listing->files[i].digest, DIGEST_HEX_SIZE);
        at[asked++] = i;
    }
    err_code_t code =
        blob_missing(blob, (const char(*)[DIGEST_HEX_SIZE])digests, asked, missing, err);
    memset(upload->pending, 0, count * sizeof *upload->pending);
    *lost = missing[0];
    for (size_t i = 1; i < asked; i++)
        if (missing[i])
            *lost = upload->pending[at[i]] = true;
    free(at);
    free(digests);
    free(missing);
    return code;
}

// Only what is there after the sync is safe: a service that died meanwhile may have lost what it
// had acknowledged, or what somebody else sent and never synced.
static err_code_t seal(upload_t *upload, char digest[DIGEST_HEX_SIZE], bool *lost, err_t *err) {
    blob_t *blob = NULL;
    err_code_t code = fetch_open(upload->cli, &blob, err);
    if (code == ERR_OK)
        code = send_listing(upload, blob, digest, err);
    if (code == ERR_OK)
        code = blob_sync(blob, err);
    if (code == ERR_OK)
        code = look_again(upload, blob, digest, lost, err);
    blob_close(&blob);
    return code == ERR_CANCELLED ? interrupted(err) : code;
}

static err_code_t send_all(upload_t *upload, char digest[DIGEST_HEX_SIZE], err_t *err) {
    bool lost = true;
    for (int round = 0; lost && round < ROUNDS_MAX; round++) {
        err_code_t code = send_files(upload, err);
        if (code == ERR_OK)
            code = seal(upload, digest, &lost, err);
        if (code)
            return code;
    }
    if (!lost)
        return ERR_OK;
    err_set(err, ERR_UNAVAILABLE, "the blobs service lost something of what it was sent %d times",
            ROUNDS_MAX);
    return err_remedy(err, "the log of the blobs service tells why; with uploads that take more "
                           "than uploads_mb, raise that");
}

static err_code_t scan(const char *folder, char *const *classes, size_t class_count,
                       listing_t *listing, err_t *err) {
    if (!classes)
        return listing_scan(folder, listing, err);
    err_code_t code = listing_scan_top(folder, listing, err);
    if (code == ERR_OK)
        listing_scan_below(listing, classes, class_count);
    return code;
}

err_code_t upload_folder(cli_t *cli, const char *folder, char *const *classes, size_t class_count,
                         upload_done_t *done, err_t *err) {
    listing_t listing = {0};
    upload_t upload;
    *done = (upload_done_t){.files = 0};
    err_code_t code = cli_keys(cli, err); // before there are threads
    if (code == ERR_OK)
        code = scan(folder, classes, class_count, &listing, err);
    if (code)
        return code;
    init(&upload, cli, &listing);
    cli_catch_interrupts();
    code = send_all(&upload, done->listing, err);
    done->files = listing.count;
    done->sent_files = atomic_load(&upload.sent_files);
    done->sent_bytes = atomic_load(&upload.sent_bytes);
    pthread_mutex_destroy(&upload.lock);
    pthread_cond_destroy(&upload.ended);
    free(upload.pending);
    listing_release(&listing);
    return code;
}
