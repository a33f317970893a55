#include "synth.h"

#include "base/fs.h"
#include "prep/prep.h"
#include "random_impl.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIDE_LEAST  224
#define SIDE_MOST   352
#define THREADS_MAX 256

static const char *const folders[] = {[SYNTH_PHOTO] = "photos", [SYNTH_COMIC] = "comics"};

typedef struct {
    const char *dir;
    uint32_t count, next, done;
    uint64_t seed;
    synth_progress_fn progress;
    void *arg;
    pthread_mutex_t lock; // next, done, stop, err, progress
    bool stop;
    err_t err;
} work_t;

static uint32_t images_of(uint32_t count, synth_style_t style) {
    return style == SYNTH_PHOTO ? count - count / 2 : count / 2;
}

// "17.jpg" with a number below count, written the one way this module writes it.
static bool own_name(const char *name, uint32_t count) {
    char *end;
    if (name[0] < '0' || name[0] > '9' || (name[0] == '0' && name[1] != '.'))
        return false;
    errno = 0;
    unsigned long number = strtoul(name, &end, 10);
    return errno == 0 && strcmp(end, ".jpg") == 0 && number < count;
}

// Is that what the set has in the folder? count 0: the set's own folder, with one for each style.
static bool is_ours(const char *name, uint32_t count) {
    return count
               ? own_name(name, count)
               : strcmp(name, folders[SYNTH_PHOTO]) == 0 || strcmp(name, folders[SYNTH_COMIC]) == 0;
}

static err_code_t check_folder(const char *path, uint32_t count, err_t *err) {
    DIR *folder = opendir(path);
    if (!folder)
        return err_set_errno(err, "cannot read the folder %s", path);
    err_code_t code = ERR_OK;
    struct dirent *entry;
    while (code == ERR_OK && (entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || is_ours(name, count))
            continue;
        err_set(err, ERR_CONFLICT, "%s/%s is not of this set", path, name);
        err_remedy(err, "give a new or empty folder, or remove what is in there");
        code = ERR_CONFLICT;
    }
    closedir(folder);
    return code;
}

static err_code_t make_folders(const char *dir, uint32_t count, err_t *err) {
    err_code_t code = fs_mkdirs(dir, err);
    if (code == ERR_OK)
        code = check_folder(dir, 0, err);
    for (int style = SYNTH_PHOTO; style <= SYNTH_COMIC && code == ERR_OK; style++) {
        char *path = fs_join(dir, folders[style]);
        code = fs_mkdirs(path, err);
        if (code == ERR_OK)
            code = check_folder(path, images_of(count, (synth_style_t)style), err);
        free(path);
    }
    return code;
}

static err_code_t write_one(const work_t *work, uint32_t number, uint8_t *rgb, err_t *err) {
    synth_style_t style = number % 2 ? SYNTH_COMIC : SYNTH_PHOTO;
    uint32_t identity = number / 2;
    rng_t rng = rng_open(work->seed, identity, STREAM_FORMAT + (uint32_t)style);
    int width = SIDE_LEAST + rng_below(&rng, SIDE_MOST - SIDE_LEAST + 1);
    int height = (int)((float)width * rng_in(&rng, 0.85f, 1.15f));
    height = height < SIDE_LEAST ? SIDE_LEAST : height > SIDE_MOST ? SIDE_MOST : height;
    int quality = 70 + rng_below(&rng, 26);
    synth_draw(work->seed, identity, style, width, height, rgb);
    char *path = mem_format("%s/%s/%u.jpg", work->dir, folders[style], (unsigned)identity);
    err_code_t code = prep_write_jpeg(path, rgb, width, height, 3, quality, err);
    free(path);
    return code;
}

// Takes the next number; false when there is none left.
static bool take(work_t *work, uint32_t *number) {
    pthread_mutex_lock(&work->lock);
    bool more = !work->stop && work->next < work->count;
    if (more)
        *number = work->next++;
    pthread_mutex_unlock(&work->lock);
    return more;
}

static void told(work_t *work, err_code_t code, const err_t *err) {
    pthread_mutex_lock(&work->lock);
    if (code && !work->stop) {
        work->err = *err;
        work->stop = true;
    } else if (code == ERR_OK && !work->stop) {
        work->done++;
        if (work->progress && !work->progress(work->arg, work->done, work->count)) {
            err_set(&work->err, ERR_CANCELLED, "stopped after %u of %u images",
                    (unsigned)work->done, (unsigned)work->count);
            work->stop = true;
        }
    }
    pthread_mutex_unlock(&work->lock);
}

static void *draw_many(void *arg) {
    work_t *work = arg;
    uint8_t *rgb = mem_alloc((size_t)SIDE_MOST * SIDE_MOST * 3);
    uint32_t number;
    while (take(work, &number)) {
        err_t err;
        told(work, write_one(work, number, rgb, &err), &err);
    }
    free(rgb);
    return NULL;
}

static void draw_all(work_t *work, int threads) {
    pthread_t ids[THREADS_MAX];
    int started = 0;
    // This thread draws too, so the set is made even if no other can be started.
    while (started < threads - 1 && pthread_create(&ids[started], NULL, draw_many, work) == 0)
        started++;
    draw_many(work);
    while (started > 0)
        pthread_join(ids[--started], NULL);
}

err_code_t synth_write_set(const char *dir, uint32_t count, uint64_t seed, int threads,
                           synth_progress_fn progress, void *arg, err_t *err) {
    if (count < 2 || count > SYNTH_COUNT_MAX)
        return err_set(err, ERR_INVALID, "count is %u; it must be between 2 and %u",
                       (unsigned)count, SYNTH_COUNT_MAX);
    err_code_t code = make_folders(dir, count, err);
    if (code)
        return code;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    threads = threads > 0 ? threads : cores > 0 ? (int)cores : 1;
    work_t work = {.dir = dir, .count = count, .seed = seed, .progress = progress, .arg = arg};
    pthread_mutex_init(&work.lock, NULL);
    draw_all(&work, threads < THREADS_MAX ? threads : THREADS_MAX);
    pthread_mutex_destroy(&work.lock);
    if (!work.stop)
        return ERR_OK;
    if (err)
        *err = work.err;
    return work.err.code;
}
