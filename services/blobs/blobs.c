#include "blobs/blobs.h"

#include "base/fs.h"
#include "base/log.h"
#include "blob/blob.h"
#include "blobs_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEER_QUEUE 256 // messages of one client that wait on their way in or out
#define SYNC_MS    2000
#define KEEP_MS    600000
#define KEEP_FIRST 1000
#define FULL_MS    15000 // the same while uploads are refused
#define KEEP_PART  20    // another look when so much of the limit has come: 1/20

static const metric_info_t infos[] = {
#define X(...) METRIC_INFO(stats_t, __VA_ARGS__)
    BLOBS_METRICS(X)
#undef X
};

// --- Answers
// --------------------------------------------------------------------------------------

void blobs_refuse(blobs_t *blobs, const bus_peer_t *peer, uint64_t id, const err_t *err) {
    metric_add(&blobs->stats.refused, 1);
    bus_reply_error_to(blobs->router, peer, id, err);
}

static void refuse(blobs_t *blobs, const bus_message_t *message, const err_t *err) {
    blobs_refuse(blobs, &message->peer, message->id, err);
}

static bool good_digest(blobs_t *blobs, const bus_message_t *message, const char *digest) {
    err_t err;
    if (blob_digest_valid(digest))
        return true;
    err_set(&err, ERR_INVALID, "'%.64s' is no digest", digest);
    err_remedy(&err, "a digest is the SHA-256 as 64 small hex digits");
    refuse(blobs, message, &err);
    return false;
}

// --- Requests
// -------------------------------------------------------------------------------------

static void on_stat(blobs_t *blobs, const bus_message_t *message, const proto_blob_stat_t *stat) {
    const char **absent = mem_zero(stat->digests.count + 1, sizeof *absent);
    size_t count = 0;
    bool good = true;
    for (size_t i = 0; i < stat->digests.count && good; i++) {
        const char *digest = stat->digests.items[i];
        good = good_digest(blobs, message, digest);
        if (good && !cas_has(blobs->cas, digest))
            absent[count++] = digest;
    }
    proto_blob_missing_t missing = {.digests = {absent, count}};
    if (good)
        bus_reply(blobs->router, message, PROTO_blob_missing, &missing);
    free(absent);
}

// Another look when much has come since the last one.
static void count_upload(blobs_t *blobs, uint64_t bytes) {
    uint64_t limit = (uint64_t)blobs->conf->uploads_mb << 20;
    blobs->put_since += bytes;
    if (blobs->put_since > limit / KEEP_PART || blobs->kept_bytes + blobs->put_since > limit)
        keep_start(blobs);
}

// There may be room again by the next time.
static bool is_refused(blobs_t *blobs, const proto_blob_put_t *put, size_t size) {
    if (!blobs->full.code || size == 0 || cas_has(blobs->cas, put->digest))
        return false;
    keep_start(blobs);
    return true;
}

static void on_put(blobs_t *blobs, const bus_message_t *message, const proto_blob_put_t *put) {
    err_t err;
    cas_put_t done = {.next = 0};
    const proto_bytes_t *piece = message->attachments;
    if (!good_digest(blobs, message, put->digest))
        return;
    err_code_t code = ERR_OK;
    if (message->attachment_count != 1)
        code = err_set(&err, ERR_PROTOCOL, "blob.put has %zu attachments instead of one",
                       message->attachment_count);
    else if (piece->size > PROTO_PIECE_MAX)
        code = err_set(&err, ERR_TOO_LARGE, "a piece of %zu bytes; the limit is %d", piece->size,
                       PROTO_PIECE_MAX);
    else if (is_refused(blobs, put, piece->size))
        code = (err = blobs->full).code;
    else
        code = cas_put(blobs->cas, put->digest, put->size, put->offset, piece->data, piece->size,
                       &done, &err);
    if (code) {
        refuse(blobs, message, &err);
        return;
    }
    metric_add(&blobs->stats.pieces_in, 1);
    metric_add(&blobs->stats.bytes_in, piece->size);
    count_upload(blobs, piece->size);
    if (done.finish) {
        task_finish(blobs, message, put->digest, put->size);
        return;
    }
    proto_blob_stored_t stored = {.next = done.next, .whole = done.whole};
    bus_reply(blobs->router, message, PROTO_blob_stored, &stored);
}

static void on_sync(blobs_t *blobs, const bus_message_t *message, const proto_blob_sync_t *sync) {
    (void)sync;
    task_sync(blobs, message);
}

static void on_place(blobs_t *blobs, const bus_message_t *message,
                     const proto_blob_place_t *place) {
    err_t err;
    if (!good_digest(blobs, message, place->digest))
        return;
    if (cas_check_path(place->path, &err) != ERR_OK)
        refuse(blobs, message, &err);
    else
        task_place(blobs, message, place);
}

static void on_remove(blobs_t *blobs, const bus_message_t *message,
                      const proto_blob_remove_t *remove) {
    err_t err;
    err_code_t code = cas_check_path(remove->path, &err);
    if (code == ERR_OK && strncmp(remove->path, "jobs/", 5) != 0) {
        err_set(&err, ERR_INVALID, "'%s' is no file of a job", remove->path);
        code = err_remedy(&err, "data sets and models are removed through the dispatcher");
    }
    if (code)
        refuse(blobs, message, &err);
    else
        task_remove(blobs, message, remove->path);
}

void blobs_serve(blobs_t *blobs, const bus_peer_t *peer, uint64_t id, int fd, uint64_t whole,
                 const proto_blob_get_t *get) {
    static unsigned char bytes[PROTO_PIECE_MAX];
    err_t err;
    size_t wanted = get->offset < whole ? (size_t)get->size : 0, got = 0;
    if (wanted > whole - get->offset)
        wanted = whole - get->offset;
    ssize_t some = 1;
    while (got < wanted && some > 0) {
        some = pread(fd, bytes + got, wanted - got, (off_t)(get->offset + got));
        if (some < 0 && errno == EINTR)
            some = 1;
        else if (some > 0)
            got += (size_t)some;
    }
    if (got < wanted) {
        errno = some == 0 ? EIO : errno; // it has become shorter
        err_set_errno(&err, "cannot read blob %.12s… at byte %llu", get->digest,
                      (unsigned long long)(get->offset + got));
        blobs_refuse(blobs, peer, id, &err);
    } else {
        proto_blob_piece_t piece = {.size = whole};
        proto_bytes_t attachment = {bytes, got};
        metric_add(&blobs->stats.pieces_out, 1);
        metric_add(&blobs->stats.bytes_out, got);
        if (bus_send(blobs->router, peer, id, 0, PROTO_blob_piece, &piece, &attachment, 1, &err) !=
            ERR_OK)
            log_debug("no piece sent: %s", err.message);
    }
    close(fd);
}

static void on_get(blobs_t *blobs, const bus_message_t *message, const proto_blob_get_t *get) {
    err_t err;
    int fd = -1;
    uint64_t whole = 0;
    if (!good_digest(blobs, message, get->digest))
        return;
    err_code_t code = cas_open(blobs->cas, get->digest, &fd, &whole, &err);
    if (code == ERR_NOT_FOUND && get->path[0]) {
        err_t wrong;
        code = cas_check_path(get->path, &wrong);
        int found = code ? 0 : cas_at(blobs->cas, get->path, get->digest, &fd, &whole);
        if (found < 0) {
            task_verify(blobs, message, get);
            return;
        }
        if (code)
            err = wrong;
        else
            code = found ? ERR_OK
                         : err_set(&err, ERR_NOT_FOUND, "the stack has no blob %s, and not at %s",
                                   get->digest, get->path);
    }
    if (code)
        refuse(blobs, message, &err);
    else
        blobs_serve(blobs, &message->peer, message->id, fd, whole, get);
}

// --- Messages
// -------------------------------------------------------------------------------------

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    blobs_t *blobs = arg;
    err_t err;
    union {
        proto_blob_stat_t stat;
        proto_blob_put_t put;
        proto_blob_sync_t sync;
        proto_blob_place_t place;
        proto_blob_remove_t remove;
        proto_blob_get_t get;
    } body;
    if (message->type == PROTO_ping) {
        proto_pong_t pong = {.service = service_name(blobs->service), .version = INKLING_VERSION};
        bus_reply(socket, message, PROTO_pong, &pong);
        return;
    }
#define HANDLE(name)                                                                               \
    if (message->type == PROTO_blob_##name) {                                                      \
        proto_arena_reset(blobs->arena);                                                           \
        if (proto_decode(message->type, message->body.data, message->body.size, blobs->arena,      \
                         &body, &err) == ERR_OK)                                                   \
            on_##name(blobs, message, &body.name);                                                 \
        else                                                                                       \
            refuse(blobs, message, &err);                                                          \
        return;                                                                                    \
    }
    HANDLE(stat)
    HANDLE(put)
    HANDLE(sync)
    HANDLE(place)
    HANDLE(remove)
    HANDLE(get)
#undef HANDLE
    err_set(&err, ERR_UNSUPPORTED, "the blobs service does not take %s",
            proto_message(message->type)->wire);
    err_remedy(&err, "it takes blob.…; everything else goes to the dispatcher");
    refuse(blobs, message, &err);
}

// --- Life
// -----------------------------------------------------------------------------------------

static bool ready(void *self, char *detail, size_t size) {
    blobs_t *blobs = self;
    if (blobs->full.code)
        snprintf(detail, size, "uploads are refused: %s", blobs->full.message);
    else
        snprintf(detail, size, "%llu MB of uploads",
                 (unsigned long long)((blobs->kept_bytes + blobs->put_since) >> 20));
    return true;
}

static void metrics(void *self, buf_t *out) {
    blobs_t *blobs = self;
    metric_set(&blobs->stats.kept_bytes, (double)blobs->kept_bytes);
    metric_render(infos, sizeof infos / sizeof *infos, &blobs->stats, out);
}

static void on_tick(void *arg) {
    blobs_t *blobs = arg;
    if (cas_fresh_bytes(blobs->cas) > 0)
        task_sync(blobs, NULL);
    if (fs_free_bytes(blobs->conf->files) < keep_free_bytes(blobs->conf))
        keep_start(blobs);
}

static void on_keep_timer(void *arg) {
    keep_start(arg);
}

static void on_full_timer(void *arg) {
    blobs_t *blobs = arg;
    if (blobs->full.code)
        keep_start(blobs);
}

static void stop(void *self) {
    blobs_t *blobs = self;
    bus_loop_timer_cancel(blobs->loop, blobs->sync_timer);
    bus_loop_timer_cancel(blobs->loop, blobs->keep_timer);
    bus_loop_timer_cancel(blobs->loop, blobs->full_timer);
    blobs->draining = true;
    background_destroy(&blobs->background);
    mailbox_destroy(&blobs->mailbox);
    waiters_free(blobs->sync_waiters);
    waiters_free(blobs->next_waiters);
    bus_socket_destroy(&blobs->router);
    cas_destroy(&blobs->cas);
    proto_arena_destroy(&blobs->arena);
    free(blobs);
}

static err_code_t start(service_t *service, const void *arg, void **self, err_t *err) {
    (void)arg;
    blobs_t *blobs = mem_zero(1, sizeof *blobs);
    *self = blobs; // stop() takes half of it, too
    blobs->service = service;
    blobs->loop = service_loop(service);
    blobs->conf = service_conf(service);
    blobs->arena = proto_arena_new();
    const conf_t *conf = blobs->conf;
    err_code_t code = cas_new(conf->files, (uint64_t)conf->disk_reserve_mb << 20, &blobs->cas, err);
    if (code == ERR_OK)
        code = mailbox_new(blobs->loop, &blobs->mailbox, err);
    if (code == ERR_OK)
        code = background_new(blobs->mailbox, &blobs->background, err);
    if (code == ERR_OK)
        code = bus_router_new_bounded(blobs->loop, conf->blobs,
                                      &(bus_queues_t){PEER_QUEUE, PEER_QUEUE}, on_message, blobs,
                                      &blobs->router, err);
    if (code == ERR_OK)
        code = service_listen(service, blobs->router, conf->blobs_listen, err);
    if (code)
        return code;
    blobs->sync_timer = bus_loop_timer(blobs->loop, SYNC_MS, SYNC_MS, on_tick, blobs);
    blobs->keep_timer = bus_loop_timer(blobs->loop, KEEP_FIRST, KEEP_MS, on_keep_timer, blobs);
    blobs->full_timer = bus_loop_timer(blobs->loop, FULL_MS, FULL_MS, on_full_timer, blobs);
    service_set_endpoint(service, conf->blobs);
    return ERR_OK;
}

// What was taken becomes durable; who sends more finds the next process.
static void drain(void *self) {
    blobs_t *blobs = self;
    blobs->draining = true;
    task_sync(blobs, NULL);
}

const service_ops_t blobs_ops = {.program = "blobs",
                                 .about = "Keeps uploads and serves the stack's files by digest.",
                                 .start = start,
                                 .ready = ready,
                                 .metrics = metrics,
                                 .drain = drain,
                                 .stop = stop};
