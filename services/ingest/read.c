#include "base/fs.h"
#include "digest/digest.h"
#include "read_impl.h"

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

#define THREADS_MAX      64
#define PROGRESS_MS      100
#define GROWTH_BYTES_MIN 65536

typedef struct {
    const read_all_t *job;
    atomic_llong next, done, rejected;
    atomic_bool stop;
    pthread_mutex_t lock; // of what follows
    pthread_cond_t ended;
    int running;
    err_t err; // of the machine's first failure
} pool_t;

// What one thread works with; bytes is kept from file to file.
typedef struct {
    pool_t *pool;
    uint8_t *bytes, *pixels;
    size_t room;
} hand_t;

// ---- one file ----

static bool machine_is_short(int error) {
    return error == ENOMEM || error == EMFILE || error == ENFILE;
}

static err_code_t cannot_read(err_t *err) {
    err_code_t code = machine_is_short(errno) ? ERR_NO_MEMORY : ERR_INVALID;
    return err_set(err, code, "cannot read it: %s", strerror(errno));
}

static bool make_room(hand_t *hand, size_t size) {
    if (size <= hand->room)
        return true;
    uint8_t *bytes = realloc(hand->bytes, size);
    if (!bytes)
        return false;
    hand->bytes = bytes;
    hand->room = size;
    return true;
}

// One byte more than the limit is asked for, to see whether the file goes on.
static err_code_t read_bytes(hand_t *hand, int fd, size_t expected, size_t limit, size_t *size,
                             err_t *err) {
    *size = 0;
    if (expected > limit)
        return err_set(err, ERR_TOO_LARGE, "the file has %zu bytes; the limit is %zu", expected,
                       limit);
    for (size_t wanted = expected + 1;; wanted = *size + GROWTH_BYTES_MIN) {
        if (!make_room(hand, wanted))
            return err_set(err, ERR_NO_MEMORY, "no memory for %zu bytes of a file", wanted);
        ssize_t got = read(fd, hand->bytes + *size, hand->room - *size);
        if (got < 0 && errno != EINTR)
            return cannot_read(err);
        if (got == 0)
            return ERR_OK;
        *size += got > 0 ? (size_t)got : 0;
        if (*size > limit)
            return err_set(err, ERR_TOO_LARGE, "the file has more than %zu bytes", limit);
        if (*size < hand->room)
            wanted = 0;
    }
}

static err_code_t read_file(hand_t *hand, const char *path, size_t limit, size_t *size,
                            err_t *err) {
    struct stat info;
    // O_NONBLOCK: should it have become a FIFO since the scan, nobody waits for a writer
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return cannot_read(err);
    err_code_t code;
    if (fstat(fd, &info) != 0)
        code = cannot_read(err);
    else if (!S_ISREG(info.st_mode))
        code = err_set(err, ERR_INVALID, "it is not a regular file");
    else
        code = read_bytes(hand, fd, (size_t)info.st_size, limit, size, err);
    close(fd);
    return code;
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

static err_code_t decode(hand_t *hand, shard_entry_t *entry, err_t *err) {
    const ingest_options_t *options = hand->pool->job->options;
    char *path = fs_join(options->folder, entry->path);
    size_t size;
    err_code_t code = read_file(hand, path, options->limits.bytes, &size, err);
    free(path);
    if (code)
        return code;
    digest_raw(hand->bytes, size, entry->digest);
    entry->has_digest = true;
    return prep_image(hand->bytes, size, &options->recipe, &options->limits, hand->pixels, err);
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
        if (code == ERR_NO_MEMORY) {
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
        atomic_fetch_add(&pool->rejected, 1);
        if (pool->job->options->strict)
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
    free(hand.bytes);
    free(hand.pixels);
    pthread_mutex_lock(&pool->lock);
    pool->running--;
    pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static bool report(pool_t *pool) {
    const read_all_t *job = pool->job;
    return !job->progress || job->progress(job->context, atomic_load(&pool->done),
                                           job->files->count, atomic_load(&pool->rejected));
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
    pthread_mutex_destroy(&pool.lock);
    if (started == 0)
        return err_set(err, ERR_NO_MEMORY, "cannot start a thread to decode images");
    if (pool.err.code) {
        if (err)
            *err = pool.err;
        return pool.err.code;
    }
    if (job->options->strict && read_check_strict(job->files, err))
        return ERR_INVALID;
    return go_on ? ERR_OK : err_set(err, ERR_CANCELLED, "the ingest was cancelled");
}

err_code_t read_check_strict(const shard_index_t *files, err_t *err) {
    for (int64_t i = 0; i < files->count; i++) {
        const shard_entry_t *entry = &files->entries[i];
        if (entry->outcome != SHARD_REJECTED && entry->outcome != SHARD_CONFLICT)
            continue;
        char *path = shard_name_escape(entry->path);
        err_set(err, ERR_INVALID, "%s: %s", path, entry->reason);
        err_remedy(err, "mend or remove the file, or ingest without --strict");
        free(path);
        return ERR_INVALID;
    }
    return ERR_OK;
}
