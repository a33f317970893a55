// Folders that nothing refers to any more: deleted by a thread of their own, one after the other.
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "sweep_impl.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PROBE_MS 1000 // free space is asked for at most this often

typedef struct doomed doomed_t;
struct doomed {
    doomed_t *next;
    sweep_t *sweep; // to look around for, or NULL: path is to be deleted
    char path[];
};

struct files {
    char *root, *redis; // redis: folder of its data when that is on this machine
    int64_t reserve_bytes, orphan_ms, probed_ms;
    const char *short_of; // the folder without space, or NULL
    uint64_t free_bytes;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    doomed_t *first, **end;
    bool ending;
};

static doomed_t *next_doomed(files_t *files) {
    pthread_mutex_lock(&files->lock);
    while (!files->first && !files->ending)
        pthread_cond_wait(&files->wake, &files->lock);
    doomed_t *doomed = files->ending ? NULL : files->first;
    if (doomed) {
        files->first = doomed->next;
        if (!files->first)
            files->end = &files->first;
    }
    pthread_mutex_unlock(&files->lock);
    return doomed;
}

static void *delete_all(void *arg) {
    files_t *files = arg;
    for (doomed_t *doomed; (doomed = next_doomed(files)) != NULL; free(doomed)) {
        err_t err;
        if (doomed->sweep)
            sweep_scan(doomed->sweep, files->root, files->orphan_ms);
        else if (fs_remove_below(files->root, doomed->path, &err) != ERR_OK)
            log_warn("%s", err.message);
        else
            log_debug("removed %s", doomed->path);
    }
    return NULL;
}

files_t *files_new(const conf_t *conf) {
    files_t *files = mem_zero(1, sizeof *files);
    files->root = mem_dup(conf->files);
    files->reserve_bytes = conf->disk_reserve_mb << 20;
    files->orphan_ms = conf->orphan_s * 1000;
    files->end = &files->first;
    pthread_mutex_init(&files->lock, NULL);
    pthread_cond_init(&files->wake, NULL);
    ERR_ASSERT(pthread_create(&files->thread, NULL, delete_all, files) == 0);
    return files;
}

void files_destroy(files_t **self) {
    files_t *files = *self;
    if (!files)
        return;
    pthread_mutex_lock(&files->lock);
    files->ending = true;
    pthread_cond_signal(&files->wake);
    pthread_mutex_unlock(&files->lock);
    pthread_join(files->thread, NULL);
    for (doomed_t *doomed = files->first, *next; doomed; doomed = next) {
        next = doomed->next;
        free(doomed); // the next sweep finds it
    }
    pthread_cond_destroy(&files->wake);
    pthread_mutex_destroy(&files->lock);
    free(files->root);
    free(files->redis);
    free(files);
    *self = NULL;
}

// Only what has a place in the layout, and not a whole branch of it.
static bool may_delete(const char *path) {
    static const struct {
        const char *folder;
        int parts; // at least
    } places[] = {{"jobs/", 2}, {"datasets/", 3}, {"models/", 3}};
    int parts = 1;
    for (const char *c = path; *c; c++)
        parts += *c == '/';
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (strncmp(path, places[i].folder, strlen(places[i].folder)) == 0)
            return parts >= places[i].parts && check_path("", path, NULL) == ERR_OK;
    return false;
}

static void put(files_t *files, const char *path, sweep_t *sweep) {
    size_t size = strlen(path) + 1;
    doomed_t *doomed = mem_alloc(sizeof *doomed + size);
    doomed->next = NULL;
    doomed->sweep = sweep;
    memcpy(doomed->path, path, size);
    pthread_mutex_lock(&files->lock);
    *files->end = doomed;
    files->end = &doomed->next;
    pthread_cond_signal(&files->wake);
    pthread_mutex_unlock(&files->lock);
}

void files_scan(files_t *files, sweep_t *sweep) {
    put(files, "", sweep);
}

void files_delete(files_t *files, const char *path) {
    if (!may_delete(path)) {
        log_debug("%s is left alone: it is not in the stack's layout", path);
        return;
    }
    put(files, path, NULL);
}

void files_redis_folder(files_t *files, const char *folder) {
    free(files->redis);
    files->redis = folder ? mem_dup(folder) : NULL;
    files->probed_ms = 0;
}

static bool is_short(files_t *files, const char *folder) {
    uint64_t left = folder ? fs_free_bytes(folder) : UINT64_MAX; // UINT64_MAX: unknown
    if (left >= (uint64_t)files->reserve_bytes)
        return false;
    files->short_of = folder;
    files->free_bytes = left;
    return true;
}

bool files_short(files_t *files, err_t *err) {
    int64_t now_ms = clock_mono_ms();
    if (files->probed_ms == 0 || now_ms - files->probed_ms >= PROBE_MS) {
        files->probed_ms = now_ms;
        files->short_of = NULL;
        if (!is_short(files, files->root))
            is_short(files, files->redis);
    }
    if (!files->short_of)
        return false;
    err_set(err, ERR_FULL, "only %llu MB are free below %s; %lld are kept in reserve",
            (unsigned long long)(files->free_bytes >> 20), files->short_of,
            (long long)(files->reserve_bytes >> 20));
    err_remedy(err, "make room (inkling dataset rm, model rm), or lower disk_reserve_mb");
    return true;
}
