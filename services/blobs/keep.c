// Which uploads stay. Nothing refers to an upload but a listing, and to a listing but the body of a
// job: so what the jobs that are not at their end need is kept, and what is young, for its job may
// be about to be submitted; of the rest the ones used longest ago go, once all together take more
// than uploads_mb.
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/map.h"
#include "blob/blob.h"
#include "blobs_impl.h"
#include "client/client.h"
#include "listing/listing.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ASK_MS     10000
#define PART_DAYS  7
#define KEEP_SHARE 0.9 // of the limit is what a removal leaves
#define PAGE       100
#define AGAIN_MS   5000

typedef struct {
    char digest[DIGEST_HEX_SIZE];
    uint64_t size;
    int64_t used_s;
} upload_t;

typedef struct {
    task_t task;
    blobs_t *blobs;
    upload_t *uploads;
    size_t count, room;
    uint64_t bytes, removed;
    map_t *needed;
    err_t full;
} keep_t;

// --- What is there
// --------------------------------------------------------------------------------

static void add(keep_t *keep, const char *digest, const struct stat *info) {
    if (keep->count == keep->room) {
        keep->room = keep->room ? 2 * keep->room : 1024;
        keep->uploads = mem_grow(keep->uploads, keep->room * sizeof *keep->uploads);
    }
    upload_t *upload = &keep->uploads[keep->count++];
    memcpy(upload->digest, digest, DIGEST_HEX_SIZE);
    upload->size = (uint64_t)info->st_size;
    upload->used_s = info->st_mtim.tv_sec;
    keep->bytes += upload->size;
}

static void list_one(keep_t *keep, const char *path) {
    DIR *folder = opendir(path);
    struct stat info;
    for (const struct dirent *entry; folder && (entry = readdir(folder)) != NULL;)
        if (blob_digest_valid(entry->d_name) &&
            fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0)
            add(keep, entry->d_name, &info);
    if (folder)
        closedir(folder);
}

static void list_all(keep_t *keep) {
    char name[3];
    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof name, "%02x", i);
        char *path = mem_format("%s/blobs/%s", keep->blobs->conf->files, name);
        list_one(keep, path);
        free(path);
    }
}

// Nobody goes on with them any more.
static void remove_old_parts(const keep_t *keep) {
    char *path = mem_format("%s/blobs/part", keep->blobs->conf->files);
    DIR *folder = opendir(path);
    struct stat info;
    for (const struct dirent *entry; folder && (entry = readdir(folder)) != NULL;)
        if (blob_digest_valid(entry->d_name) &&
            fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            time(NULL) - info.st_mtim.tv_sec > PART_DAYS * 86400)
            unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
    free(path);
}

// --- What is needed
// -------------------------------------------------------------------------------

static void need(keep_t *keep, const char *digest) {
    map_put(keep->needed, digest, keep);
}

// A listing that cannot be read needs nothing: its job is going to fail, and says why.
static void need_listing(keep_t *keep, const char *digest) {
    void *text = NULL;
    size_t size;
    listing_t listing = {0};
    if (!blob_digest_valid(digest) || map_get(keep->needed, digest))
        return;
    need(keep, digest);
    char *path = blob_path(keep->blobs->conf->files, digest);
    if (fs_read(path, LISTING_BYTES_MAX, &text, &size, NULL) == ERR_OK &&
        listing_read(text, size, &listing, NULL) == ERR_OK)
        for (size_t i = 0; i < listing.count; i++)
            if (listing.files[i].digest[0])
                need(keep, listing.files[i].digest);
    listing_release(&listing);
    free(text);
    free(path);
}

static void need_job(keep_t *keep, const proto_job_info_t *job, proto_arena_t *arena) {
    proto_ingest_t ingest;
    proto_predict_t predict;
    if (strcmp(job->kind, "ingest") == 0 &&
        proto_decode(PROTO_ingest, job->body.data, job->body.size, arena, &ingest, NULL) == ERR_OK)
        need_listing(keep, ingest.upload);
    else if (strcmp(job->kind, "predict") == 0 &&
             proto_decode(PROTO_predict, job->body.data, job->body.size, arena, &predict, NULL) ==
                 ERR_OK)
        need_listing(keep, predict.upload);
}

// Lists leave the bodies out. A job that is no more needs nothing.
static err_code_t ask_job(keep_t *keep, client_t *client, const char *id, proto_arena_t *arena,
                          err_t *err) {
    const proto_job_show_t show = {.job = id};
    proto_job_t answer;
    proto_arena_reset(arena);
    err_code_t code = client_request(client, PROTO_job_show, &show, NULL, 0, PROTO_job, &answer,
                                     arena, ASK_MS, NULL, err);
    if (code == ERR_OK)
        need_job(keep, answer.job, arena);
    return code == ERR_NOT_FOUND ? ERR_OK : code;
}

static err_code_t ask_jobs(keep_t *keep, client_t *client, const char *state, const char *kind,
                           err_t *err) {
    char before[PROTO_NAME_MAX + 1] = "";
    proto_arena_t *arena = proto_arena_new(), *job_arena = proto_arena_new();
    err_code_t code;
    size_t count;
    do {
        proto_job_list_t list = {.state = state, .kind = kind, .limit = PAGE, .before = before};
        proto_jobs_t jobs;
        proto_arena_reset(arena);
        code = client_request(client, PROTO_job_list, &list, NULL, 0, PROTO_jobs, &jobs, arena,
                              ASK_MS, NULL, err);
        count = code ? 0 : jobs.jobs.count;
        for (size_t i = 0; i < count && code == ERR_OK; i++)
            code = ask_job(keep, client, jobs.jobs.items[i].job, job_arena, err);
        if (count)
            snprintf(before, sizeof before, "%s", jobs.jobs.items[count - 1].job);
    } while (code == ERR_OK && count == PAGE);
    proto_arena_destroy(&arena);
    proto_arena_destroy(&job_arena);
    return code;
}

// A job that is queued again while its list is read is in neither: so running ones are asked for
// twice, before and after.
static err_code_t ask_needed(keep_t *keep, err_t *err) {
    static const char *const states[] = {"running", "queued", "running"};
    static const char *const kinds[] = {"ingest", "predict"};
    client_t *client = NULL;
    err_code_t code = client_new(keep->blobs->conf->dispatcher, "the dispatcher", &client, err);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++)
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds && code == ERR_OK; k++)
            code = ask_jobs(keep, client, states[i], kinds[k], err);
    client_destroy(&client);
    return code;
}

// --- Removing
// -------------------------------------------------------------------------------------

static int by_use(const void *a, const void *b) {
    const upload_t *x = a, *y = b;
    return x->used_s < y->used_s ? -1 : x->used_s > y->used_s;
}

// It may have been used since it was listed.
static bool remove_upload(const keep_t *keep, const upload_t *upload, int64_t young_s) {
    struct stat info;
    char *path = blob_path(keep->blobs->conf->files, upload->digest);
    bool gone = stat(path, &info) == 0 && info.st_mtim.tv_sec < young_s && unlink(path) == 0;
    free(path);
    return gone;
}

static void remove_some(keep_t *keep, uint64_t limit) {
    const conf_t *conf = keep->blobs->conf;
    int64_t young_s = time(NULL) - conf->orphan_s;
    uint64_t target = (uint64_t)((double)limit * KEEP_SHARE);
    qsort(keep->uploads, keep->count, sizeof *keep->uploads, by_use);
    for (size_t i = 0; i < keep->count && keep->bytes > target; i++) {
        const upload_t *upload = &keep->uploads[i];
        if (map_get(keep->needed, upload->digest) || !remove_upload(keep, upload, young_s))
            continue;
        keep->bytes -= upload->size;
        keep->removed++;
    }
}

// What uploads may take: less than they are allowed to when the disk is short.
static uint64_t limit_of(const keep_t *keep) {
    const conf_t *conf = keep->blobs->conf;
    uint64_t limit = (uint64_t)conf->uploads_mb << 20, wanted = keep_free_bytes(conf);
    uint64_t left = fs_free_bytes(conf->files), lacking = left < wanted ? wanted - left : 0;
    uint64_t rest = keep->bytes > lacking ? keep->bytes - lacking : 0;
    return lacking && rest < limit ? rest : limit;
}

uint64_t keep_free_bytes(const conf_t *conf) {
    return 2 * ((uint64_t)conf->disk_reserve_mb << 20);
}

static void run_keep(task_t *task, bool stopping) {
    keep_t *keep = (keep_t *)task;
    err_t err;
    if (stopping)
        return;
    remove_old_parts(keep);
    list_all(keep);
    uint64_t limit = limit_of(keep);
    if (keep->bytes <= limit)
        return;
    const conf_t *conf = keep->blobs->conf;
    bool asked = ask_needed(keep, &err) == ERR_OK;
    if (asked)
        remove_some(keep, limit);
    else
        log_warn("uploads take more than they may, and none is removed, for nobody says which are "
                 "needed: %s",
                 err.message);
    if (keep->bytes <= (uint64_t)conf->uploads_mb << 20)
        return;
    unsigned long long megabytes = keep->bytes >> 20;
    if (asked)
        err_set(&keep->full, ERR_FULL,
                "uploads take %llu MB, and uploads_mb is %lld: waiting jobs need what is there, or "
                "it is younger than %lld s",
                megabytes, (long long)conf->uploads_mb, (long long)conf->orphan_s);
    else
        err_set(&keep->full, ERR_FULL,
                "uploads take %llu MB, and uploads_mb is %lld; none is removed, for nobody says "
                "which are needed: %s",
                megabytes, (long long)conf->uploads_mb, err.message);
    err_remedy(&keep->full, "try again when jobs have ended, or raise uploads_mb");
}

static void kept(void *arg) {
    keep_t *keep = arg;
    blobs_t *blobs = keep->blobs;
    blobs->keeping = false;
    blobs->kept_bytes = keep->bytes;
    blobs->full = keep->full;
    metric_add(&blobs->stats.removed, keep->removed);
    if (keep->removed)
        log_info("removed %llu uploads to make room", (unsigned long long)keep->removed);
    if (keep->full.code)
        log_warn("%s", keep->full.message);
    map_destroy(&keep->needed);
    free(keep->uploads);
    free(keep);
}

void keep_start(blobs_t *blobs) {
    int64_t now_ms = clock_mono_ms();
    if (blobs->keeping || blobs->draining || (blobs->kept_ms && now_ms - blobs->kept_ms < AGAIN_MS))
        return;
    blobs->kept_ms = now_ms;
    keep_t *keep = mem_zero(1, sizeof *keep);
    keep->blobs = blobs;
    keep->needed = map_new();
    keep->task.run = run_keep;
    keep->task.mail = (mail_t){.read = kept, .arg = keep};
    blobs->keeping = true;
    blobs->put_since = 0;
    background_push(blobs->background, &keep->task);
}
