// First the thread of the files collects old folders, then Redis is asked what refers to them, then
// the rest is deleted. In this order nothing is taken that was registered meanwhile.
#include "sweep_impl.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OLD_MAX      200000 // folders that one sweep looks at
#define ASK_MAX      100    // of one question to Redis
#define PATHS_MAX    1000000
#define EVERY_MIN_MS 1000
#define EVERY_MAX_MS 600000

struct sweep {
    atomic_bool scanned;
    char **old; // paths: jobs/ID, jobs/ID/TOKEN, datasets/NAME/X, models/NAME/X
    size_t count, room, asked, deleted;
    size_t jobs;   // the first so many are of jobs
    int questions; // on their way
    bool registry; // has been asked
};

void sweep_free(sweep_t **self) {
    sweep_t *sweep = *self;
    if (!sweep)
        return;
    for (size_t i = 0; i < sweep->count; i++)
        free(sweep->old[i]);
    free(sweep->old);
    free(sweep);
    *self = NULL;
}

// --- The scan, in the thread of the files
// --------------------------------------------------------

typedef void (*folder_fn)(sweep_t *sweep, int folder, const char *path, time_t before);

static time_t newer(time_t a, time_t b) {
    return a > b ? a : b;
}

// When the folder, or one of the files in it, changed last. A rename counts.
static time_t changed_at(int folder) {
    struct stat info;
    if (fstat(folder, &info) != 0)
        return time(NULL);
    time_t newest = newer(info.st_mtime, info.st_ctime);
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy >= 0 ? fdopendir(copy) : NULL;
    for (struct dirent *entry; list && (entry = readdir(list)) != NULL;)
        if (strcmp(entry->d_name, "..") != 0 &&
            fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0)
            newest = newer(newest, newer(info.st_mtime, info.st_ctime));
    if (list)
        closedir(list);
    else if (copy >= 0)
        close(copy);
    return newest;
}

static void keep_if_old(sweep_t *sweep, int folder, const char *path, time_t before) {
    if (sweep->count >= OLD_MAX || changed_at(folder) > before)
        return;
    if (sweep->count == sweep->room) {
        sweep->room = sweep->room ? 2 * sweep->room : 64;
        sweep->old = mem_grow(sweep->old, sweep->room * sizeof *sweep->old);
    }
    sweep->old[sweep->count++] = mem_dup(path);
}

// Each real folder in folder; takes folder.
static void each_folder(sweep_t *sweep, int folder, const char *path, time_t before, folder_fn fn) {
    DIR *list = folder >= 0 ? fdopendir(folder) : NULL;
    if (!list) {
        if (folder >= 0)
            close(folder);
        return;
    }
    for (struct dirent *entry; (entry = readdir(list)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        int below =
            openat(dirfd(list), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below < 0)
            continue;
        char *full = mem_format("%s/%s", path, entry->d_name);
        fn(sweep, below, full, before);
        free(full);
        close(below);
    }
    closedir(list);
}

static int again(int folder) {
    return openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void scan_job(sweep_t *sweep, int folder, const char *path, time_t before) {
    keep_if_old(sweep, folder, path, before);
    each_folder(sweep, again(folder), path, before, keep_if_old);
}

static void scan_name(sweep_t *sweep, int folder, const char *path, time_t before) {
    each_folder(sweep, again(folder), path, before, keep_if_old);
}

static void scan_branch(sweep_t *sweep, const char *root, const char *name, time_t before,
                        folder_fn fn) {
    char *path = mem_format("%s/%s", root, name);
    each_folder(sweep, open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), name, before,
                fn);
    free(path);
}

void sweep_scan(sweep_t *sweep, const char *root, int64_t orphan_ms) {
    time_t before = time(NULL) - (time_t)(orphan_ms / 1000);
    scan_branch(sweep, root, "jobs", before, scan_job);
    sweep->jobs = sweep->count;
    scan_branch(sweep, root, "datasets", before, scan_name);
    scan_branch(sweep, root, "models", before, scan_name);
    atomic_store(&sweep->scanned, true);
}

// --- The questions
// -------------------------------------------------------------------------------

static void finish_if_done(dispatcher_t *d) {
    sweep_t *sweep = d->sweep;
    if (sweep->deleted)
        log_info("%zu folders that nothing refers to are deleted", sweep->deleted);
    sweep_free(&d->sweep);
}

static void delete_orphan(dispatcher_t *d, const char *path) {
    d->sweep->deleted++;
    files_delete(d->files, path);
}

// Does a packed checkpoint name a file in that folder?
static bool names(proto_bytes_t packed, const char *path) {
    return packed.size && memmem(packed.data, packed.size, path, strlen(path)) != NULL;
}

// kept: state or "", token, checkpoint, the one before.
static bool is_orphan(const store_reply_t *kept, const char *path) {
    const char *token = strchr(path + strlen("jobs/"), '/');
    if (!reply_text(kept, 0)[0])
        return true;
    if (!token || token[1 + strspn(token + 1, "0123456789")] != 0 ||
        strtoull(token + 1, NULL, 10) == reply_number(kept, 1))
        return false;
    char *folder = mem_format("%s/", path);
    bool named = names(reply_bytes(kept, 2), folder) || names(reply_bytes(kept, 3), folder);
    free(folder);
    return !named;
}

static void jobs_known(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                       const err_t *err) {
    sweep_t *sweep = d->sweep;
    if (!sweep)
        return;
    for (size_t i = 0; !err && i < store_count(reply); i++)
        if (is_orphan(store_item(reply, i), sweep->old[item->number + i]))
            delete_orphan(d, sweep->old[item->number + i]);
    sweep->questions--;
}

static void ask_jobs(dispatcher_t *d) {
    sweep_t *sweep = d->sweep;
    item_t *item = item_new(SCRIPT_kept, NULL, jobs_known);
    item->number = sweep->asked;
    for (int i = 0; i < ASK_MAX && sweep->asked < sweep->jobs; i++) {
        const char *id = sweep->old[sweep->asked++] + strlen("jobs/");
        item_bytes(item, id, strcspn(id, "/"));
    }
    sweep->questions++;
    batch_add(d->batch, item);
}

static bool is_registered(const store_reply_t *reply, const char *path) {
    size_t size = strlen(path);
    for (size_t i = 1; i < store_count(reply); i++) {
        const char *used = reply_text(store_item(reply, i), 2);
        if (strncmp(used, path, size) == 0 && (used[size] == 0 || used[size] == '/'))
            return true;
    }
    return false;
}

static void versions_known(dispatcher_t *d, const item_t *item, const store_reply_t *reply,
                           const err_t *err) {
    sweep_t *sweep = d->sweep;
    if (!sweep)
        return;
    for (size_t i = sweep->jobs; !err && i < sweep->count; i++)
        if (strncmp(sweep->old[i], item->kind, strlen(item->kind)) == 0 &&
            !is_registered(reply, sweep->old[i]))
            delete_orphan(d, sweep->old[i]);
    sweep->questions--;
}

static void ask_versions(dispatcher_t *d, const char *where, const char *branch) {
    item_t *item = item_new(SCRIPT_registry, NULL, versions_known);
    snprintf(item->kind, sizeof item->kind, "%s", branch);
    item_text(item, where);
    item_text(item, "");
    item_number(item, 0);
    item_text(item, "paths");
    item_number(item, PATHS_MAX);
    item_number(item, 0);
    d->sweep->questions++;
    batch_add(d->batch, item);
}

static err_code_t claim(const char *folder, const char *path, const char *stack, bool *ours,
                        err_t *err) {
    void *found = NULL;
    size_t size;
    err_code_t code = fs_read(path, 256, &found, &size, err);
    if (code == ERR_NOT_FOUND) {
        *ours = true;
        code = fs_mkdirs(folder, err);
        return code ? code : fs_write(path, stack, strlen(stack), err);
    }
    *ours = code == ERR_OK && strcmp(found, stack) == 0;
    free(found);
    return code;
}

void sweep_claim(dispatcher_t *d, const char *stack) {
    char *path = fs_join(d->conf->files, ".stack");
    bool ours = false;
    err_t err;
    err_code_t code = claim(d->conf->files, path, stack, &ours, &err);
    if (code)
        log_warn("orphans are not swept: %s", err.message);
    else if (!ours)
        log_warn("the files below %s belong to another Redis' data: nothing of them is swept; if "
                 "those data are gone, delete %s",
                 d->conf->files, path);
    d->sweeps = code == ERR_OK && ours;
    free(path);
}

void sweep_tick(dispatcher_t *d, int64_t now_ms) {
    sweep_t *sweep = d->sweep;
    if (!sweep && !d->sweeps)
        return;
    int64_t every_ms = d->conf->orphan_s * 1000 / 6;
    every_ms = every_ms < EVERY_MIN_MS ? EVERY_MIN_MS : every_ms;
    every_ms = every_ms > EVERY_MAX_MS ? EVERY_MAX_MS : every_ms;
    if (!sweep) {
        if (d->sweep_ms == 0)
            d->sweep_ms = now_ms + every_ms;
        if (now_ms < d->sweep_ms)
            return;
        d->sweep_ms = now_ms + every_ms;
        d->sweep = mem_zero(1, sizeof *d->sweep);
        files_scan(d->files, d->sweep);
        return;
    }
    if (!atomic_load(&sweep->scanned) || sweep->questions > 0)
        return;
    if (sweep->asked < sweep->jobs) {
        ask_jobs(d);
    } else if (!sweep->registry && sweep->count > sweep->jobs) {
        sweep->registry = true;
        ask_versions(d, "d", "datasets/");
        ask_versions(d, "m", "models/");
    } else {
        finish_if_done(d);
    }
}
