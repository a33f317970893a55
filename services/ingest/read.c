#include "base/fs.h"
#include "digest/digest.h"
#include "listing/steady.h"
#include "read_impl.h"
#include "sizes_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64
#define PROGRESS_MS 100

// Decoding: see prep.h.
#define SMALL_PIXELS 4000000
#define PIXEL_BYTES  8
#define MEMORY_MIN   (1ull << 30) // for all threads together

typedef struct {
    const read_all_t *job;
    atomic_llong next, done, rejected;
    atomic_bool stop;
    pthread_mutex_t lock; // of what follows
    pthread_cond_t ended, freed;
    int running;
    uint64_t memory, memory_max; // taken by large images
    err_t err;                   // of the machine's first failure
} pool_t;

// What one thread works with.
typedef struct {
    pool_t *pool;
    steady_t file;
    uint8_t *pixels;
    bool failed; // not for the file's sake
} hand_t;

// ---- one file ----

static err_code_t check_size(uint64_t bytes, size_t limit, err_t *err) {
    if (bytes <= limit)
        return ERR_OK;
    return err_set(err, ERR_TOO_LARGE, "the file has %llu bytes; the limit is %zu",
                   (unsigned long long)bytes, limit);
}

static int hex_value(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void digest_raw(const uint8_t *bytes, size_t size, uint8_t digest[SHARD_DIGEST_BYTES]) {
    char hex[DIGEST_HEX_SIZE];
    digest_bytes(bytes, size, hex);
    for (int i = 0; i < SHARD_DIGEST_BYTES; i++)
        digest[i] = (uint8_t)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
}

// ---- memory ----

// What decoding may need at most (prep.h); small images are not counted.
static uint64_t memory_for(const uint8_t *bytes, size_t size) {
    prep_info_t info;
    if (prep_probe(bytes, size, &info, NULL) != ERR_OK)
        return 0;
    uint64_t pixels = (uint64_t)info.width * (uint64_t)info.height;
    return pixels < SMALL_PIXELS ? 0 : pixels * PIXEL_BYTES;
}

// Waits until so much is free; an image larger than all there is goes alone.
static void take_memory(pool_t *pool, uint64_t bytes) {
    pthread_mutex_lock(&pool->lock);
    while (pool->memory > 0 && pool->memory + bytes > pool->memory_max)
        pthread_cond_wait(&pool->freed, &pool->lock);
    pool->memory += bytes;
    pthread_mutex_unlock(&pool->lock);
}

static void give_memory(pool_t *pool, uint64_t bytes) {
    pthread_mutex_lock(&pool->lock);
    pool->memory -= bytes;
    pthread_cond_broadcast(&pool->freed);
    pthread_mutex_unlock(&pool->lock);
}

static uint64_t memory_default(void) {
    long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
    uint64_t quarter = pages > 0 && bytes > 0 ? (uint64_t)pages * (uint64_t)bytes / 4 : 0;
    return quarter > MEMORY_MIN ? quarter : MEMORY_MIN;
}

// ---- pixels ----

static err_code_t read_in_place(hand_t *hand, shard_entry_t *entry, err_t *err) {
    const ingest_options_t *options = hand->pool->job->options;
    char *path = fs_join(options->folder, entry->path);
    err_code_t code =
        steady_read(path, options->limits.bytes, &hand->file, &entry->bytes, &entry->mtime_ns, err);
    free(path);
    hand->failed = code == ERR_NO_MEMORY;
    if (code)
        return code;
    digest_raw(hand->file.bytes, hand->file.size, entry->digest);
    entry->has_digest = true;
    return ERR_OK;
}

static err_code_t read_upload(hand_t *hand, const shard_entry_t *entry, err_t *err) {
    const ingest_options_t *options = hand->pool->job->options;
    err_code_t code = check_size(entry->bytes, options->limits.bytes, err);
    if (code)
        return code;
    char digest[DIGEST_HEX_SIZE];
    void *bytes;
    for (int i = 0; i < SHARD_DIGEST_BYTES; i++)
        snprintf(digest + 2 * i, 3, "%02x", entry->digest[i]);
    code = listing_blobs_read(&options->blobs, digest, entry->bytes, &bytes, err);
    hand->failed = code != ERR_OK;
    if (code)
        return code;
    free(hand->file.bytes);
    hand->file = (steady_t){bytes, (size_t)entry->bytes, (size_t)entry->bytes};
    return ERR_OK;
}

static err_code_t decode(hand_t *hand, shard_entry_t *entry, err_t *err) {
    const ingest_options_t *options = hand->pool->job->options;
    hand->failed = false;
    err_code_t code =
        options->listing ? read_upload(hand, entry, err) : read_in_place(hand, entry, err);
    if (code)
        return code;
    uint64_t memory = memory_for(hand->file.bytes, hand->file.size);
    if (memory)
        take_memory(hand->pool, memory);
    code = prep_image(hand->file.bytes, hand->file.size, &options->recipe, &options->limits,
                      hand->pixels, err);
    if (memory)
        give_memory(hand->pool, memory);
    hand->failed = code == ERR_NO_MEMORY;
    return code;
}

// ---- threads ----

static void fail_all(pool_t *pool, const err_t *err) {
    pthread_mutex_lock(&pool->lock);
    if (!pool->err.code)
        pool->err = *err;
    pthread_mutex_unlock(&pool->lock);
    atomic_store(&pool->stop, true);
}

static void handle(hand_t *hand, int64_t i) {
    pool_t *pool = hand->pool;
    shard_entry_t *entry = &pool->job->files->entries[i];
    err_t err = {0};
    if (entry->outcome == SHARD_KEPT) {
        const uint8_t *pixels = previous_pixels(pool->job->previous, entry);
        err_code_t code = pixels ? ERR_OK : decode(hand, entry, &err);
        if (code && hand->failed) {
            char *path = shard_name_escape(entry->path);
            err_context(&err, "%s", path);
            free(path);
            fail_all(pool, &err);
        } else if (code) {
            entry->outcome = SHARD_REJECTED;
            entry->reason = mem_dup(err.message);
        } else if (spool_put(pool->job->spool, i, pixels ? pixels : hand->pixels, &err)) {
            fail_all(pool, &err);
        }
    }
    if (entry->outcome == SHARD_REJECTED) {
        long long before = atomic_fetch_add(&pool->rejected, 1);
        if (pool->job->options->strict && before + 1 >= INGEST_REFUSED_MAX)
            atomic_store(&pool->stop, true);
    }
    atomic_fetch_add(&pool->done, 1);
}

static void *work(void *context) {
    pool_t *pool = context;
    hand_t hand = {.pool = pool};
    hand.pixels = mem_alloc(prep_recipe_bytes(&pool->job->options->recipe));
    while (!atomic_load(&pool->stop)) {
        int64_t i = atomic_fetch_add(&pool->next, 1);
        if (i >= pool->job->files->count)
            break;
        handle(&hand, i);
    }
    free(hand.file.bytes);
    free(hand.pixels);
    pthread_mutex_lock(&pool->lock);
    pool->running--;
    pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static bool report(pool_t *pool) {
    const read_all_t *job = pool->job;
    const ingest_state_t state = {.files = job->files->count,
                                  .read = atomic_load(&pool->done),
                                  .rejected = atomic_load(&pool->rejected)};
    return !job->progress || job->progress(job->context, &state);
}

// Until the last thread has ended. True if progress said to go on.
static bool wait_for_all(pool_t *pool) {
    bool go_on = true;
    pthread_mutex_lock(&pool->lock);
    while (pool->running > 0) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += PROGRESS_MS * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&pool->ended, &pool->lock, &until);
        pthread_mutex_unlock(&pool->lock);
        go_on = go_on && report(pool);
        if (!go_on)
            atomic_store(&pool->stop, true);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return go_on && report(pool);
}

static int thread_count(const read_all_t *job) {
    cpu_set_t cpus;
    int threads = job->options->threads;
    if (threads <= 0)
        threads = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    if (threads > job->files->count)
        threads = (int)job->files->count;
    return threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
}

static void pool_init(pool_t *pool, const read_all_t *job) {
    pthread_condattr_t attributes;
    memset(pool, 0, sizeof *pool);
    pool->job = job;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_cond_init(&pool->freed, NULL);
    pool->memory_max = job->options->memory ? job->options->memory : memory_default();
}

err_code_t read_all(const read_all_t *job, err_t *err) {
    pool_t pool;
    pthread_t threads[THREADS_MAX];
    int wanted = thread_count(job), started = 0;
    pool_init(&pool, job);
    pthread_mutex_lock(&pool.lock);
    while (started < wanted && pthread_create(&threads[started], NULL, work, &pool) == 0)
        started++;
    pool.running = started;
    pthread_mutex_unlock(&pool.lock);
    bool go_on = wait_for_all(&pool);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_cond_destroy(&pool.ended);
    pthread_cond_destroy(&pool.freed);
    pthread_mutex_destroy(&pool.lock);
    if (started == 0)
        return err_set(err, ERR_NO_MEMORY, "cannot start a thread to decode images");
    if (pool.err.code) {
        if (err)
            *err = pool.err;
        return pool.err.code;
    }
    if (job->options->strict && sizes_check_strict(job->files, err))
        return ERR_INVALID;
    return go_on ? ERR_OK : err_set(err, ERR_CANCELLED, "the ingest was cancelled");
}
