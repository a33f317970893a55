// Do blobs come and go whole, whatever is killed, cut, changed or claimed meanwhile?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "blob/blob.h"
#include "client/client.h"
#include "proto/codec.h"
#include "support/proc.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 60000

static struct {
    char home[PROC_HOME_SIZE], endpoint[128], files[96];
    proc_t service;
    blob_t *blob;
    atomic_bool stop;
    err_t err;
} scene;

static void start_with(const char *const *args) {
    err_t err;
    if (proc_start(&scene.service, "inkling-blobs", "blobs", scene.home, args, NULL, &err) ||
        proc_await_ready(&scene.service, PATIENCE_MS, &err))
        fail_msg("%s", err.message);
}

static void start(void) {
    start_with((const char *[]){"--disk-reserve-mb", "0", NULL});
}

static bool stopped(void *arg) {
    (void)arg;
    return atomic_load(&scene.stop);
}

static void open_blob(blob_t **blob) {
    const blob_options_t options = {
        .endpoint = scene.endpoint, .patience_ms = PATIENCE_MS, .stop = stopped};
    assert_int_equal(blob_open(&options, blob, &scene.err), ERR_OK);
}

static int set_up(void **state) {
    (void)state;
    memset(&scene, 0, sizeof scene);
    assert_int_equal(proc_make_home(scene.home, &scene.err), ERR_OK);
    snprintf(scene.endpoint, sizeof scene.endpoint, "ipc://%s/run/blobs.sock", scene.home);
    snprintf(scene.files, sizeof scene.files, "%s/files", scene.home);
    open_blob(&scene.blob);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    blob_close(&scene.blob);
    proc_kill(&scene.service);
    proc_remove_home(scene.home);
    return 0;
}

static void good(err_code_t code) {
    if (code)
        fail_msg("%s: %s; %s", err_name(code), scene.err.message, scene.err.remedy);
}

// --- Bytes and files

static unsigned char *make_bytes(size_t size, uint32_t seed, char digest[DIGEST_HEX_SIZE]) {
    unsigned char *bytes = malloc(size + 16);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i += 4) {
        uint32_t value = (uint32_t)(i * 2654435761u) ^ seed * 0x9e3779b9u ^ (uint32_t)(i >> 11);
        memcpy(bytes + i, &value, 4);
    }
    digest_bytes(bytes, size, digest);
    return bytes;
}

typedef char place_t[160];

static void place_of(const char *name, place_t path) {
    snprintf(path, sizeof(place_t), "%s/%s", scene.home, name);
}

static void make_file(const char *name, size_t size, uint32_t seed, char digest[DIGEST_HEX_SIZE],
                      place_t path) {
    unsigned char *bytes = make_bytes(size, seed, digest);
    place_of(name, path);
    good(fs_write(path, bytes, size, &scene.err));
    free(bytes);
}

static void is_file(const char *path, const char *digest) {
    char found[DIGEST_HEX_SIZE];
    good(digest_file(path, found, NULL, &scene.err));
    assert_string_equal(found, digest);
}

static bool is_missing(const char *digest) {
    char one[1][DIGEST_HEX_SIZE];
    bool missing;
    memcpy(one[0], digest, DIGEST_HEX_SIZE);
    good(blob_missing(scene.blob, (const char(*)[DIGEST_HEX_SIZE])one, 1, &missing, &scene.err));
    return missing;
}

static void fetch_is(const char *name, const char *digest, const char *remote) {
    place_t path;
    place_of(name, path);
    good(blob_get_file(scene.blob, digest, remote, path, &scene.err));
    is_file(path, digest);
}

// --- What is expected of it

static void every_size_comes_back(void **state) {
    static const size_t sizes[] = {0, 1, 4096, 262143, 262144, 262145, 524288, 524289, 5000000};
    (void)state;
    start();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char digest[DIGEST_HEX_SIZE];
        place_t path;
        uint64_t sent = 0;
        make_file("in", sizes[i], (uint32_t)i, digest, path);
        assert_true(is_missing(digest));
        good(blob_put_file(scene.blob, path, digest, &sent, &scene.err));
        assert_int_equal(sent, sizes[i]);
        assert_false(is_missing(digest));
        sent = 0;
        good(blob_put_file(scene.blob, path, digest, &sent, &scene.err));
        assert_int_equal(sent, 0); // it is there
        good(blob_sync(scene.blob, &scene.err));
        char name[16];
        snprintf(name, sizeof name, "out%zu", i);
        fetch_is(name, digest, NULL);
        char *stored = blob_path(scene.files, digest);
        is_file(stored, digest);
        free(stored);
    }
}

static void many_small_ones_survive_a_kill_after_sync(void **state) {
    enum { COUNT = 3000 };
    static char digests[COUNT][DIGEST_HEX_SIZE];
    static bool missing[COUNT];
    (void)state;
    start();
    for (int i = 0; i < COUNT; i++) {
        unsigned char *bytes = make_bytes(100 + (size_t)i, (uint32_t)i, digests[i]);
        good(blob_put_bytes(scene.blob, digests[i], bytes, 100 + (size_t)i, &scene.err));
        free(bytes);
    }
    good(blob_sync(scene.blob, &scene.err));
    proc_kill(&scene.service);
    start();
    good(blob_missing(scene.blob, (const char(*)[DIGEST_HEX_SIZE])digests, COUNT, missing,
                      &scene.err));
    for (int i = 0; i < COUNT; i++)
        assert_false(missing[i]);
}

static void what_was_not_synced_is_missing_or_whole_after_a_kill(void **state) {
    char digest[DIGEST_HEX_SIZE];
    (void)state;
    start();
    unsigned char *bytes = make_bytes(1000, 7, digest);
    good(blob_put_bytes(scene.blob, digest, bytes, 1000, &scene.err));
    good(blob_flush(scene.blob, &scene.err));
    proc_kill(&scene.service);
    // As a loss of power may leave it.
    char torn[256];
    snprintf(torn, sizeof torn, "%s/blobs/new/%s", scene.files, digest);
    if (access(torn, F_OK) == 0)
        assert_int_equal(truncate(torn, 10), 0);
    start();
    good(blob_put_bytes(scene.blob, digest, bytes, 1000, &scene.err));
    good(blob_sync(scene.blob, &scene.err));
    fetch_is("out", digest, NULL);
    free(bytes);
}

static void what_was_not_synced_outlives_a_kill(void **state) {
    enum { COUNT = 200 };
    static char digests[COUNT][DIGEST_HEX_SIZE];
    (void)state;
    start();
    for (int i = 0; i < COUNT; i++) {
        unsigned char *bytes = make_bytes(5000, 500 + (uint32_t)i, digests[i]);
        good(blob_put_bytes(scene.blob, digests[i], bytes, 5000, &scene.err));
        free(bytes);
    }
    good(blob_flush(scene.blob, &scene.err));
    for (int kills = 0; kills < 3; kills++) {
        proc_kill(&scene.service);
        start();
        for (int i = 0; i < COUNT; i++)
            assert_false(is_missing(digests[i]));
    }
    fetch_is("out", digests[0], NULL);
}

// --- Lies

static void a_digest_that_lies_is_refused(void **state) {
    char digest[DIGEST_HEX_SIZE], other[DIGEST_HEX_SIZE];
    place_t path;
    (void)state;
    start();
    free(make_bytes(10, 1, other));
    unsigned char *bytes = make_bytes(10, 2, digest);
    good(blob_put_bytes(scene.blob, other, bytes, 10, &scene.err));
    assert_int_equal(blob_flush(scene.blob, &scene.err), ERR_CORRUPT);
    assert_non_null(strstr(scene.err.message, digest));
    assert_true(is_missing(other));
    free(bytes);
    make_file("big", 3000000, 3, digest, path);
    assert_int_equal(blob_put_file(scene.blob, path, other, NULL, &scene.err), ERR_CORRUPT);
    assert_non_null(strstr(scene.err.message, path));
    assert_true(is_missing(other));
    good(blob_put_file(scene.blob, path, digest, NULL, &scene.err)); // nothing is spoilt
    assert_false(is_missing(digest));
}

static void a_spoilt_part_is_left_and_sent_anew(void **state) {
    char digest[DIGEST_HEX_SIZE], part[256];
    unsigned char rubbish[1000] = "rubbish";
    place_t path;
    (void)state;
    start();
    make_file("big", 3000000, 3, digest, path);
    snprintf(part, sizeof part, "%s/blobs/part/%s", scene.files, digest);
    good(fs_write(part, rubbish, sizeof rubbish, &scene.err));
    assert_int_equal(blob_put_file(scene.blob, path, digest, NULL, &scene.err), ERR_CORRUPT);
    good(blob_put_file(scene.blob, path, digest, NULL, &scene.err));
    fetch_is("out", digest, NULL);
}

static err_code_t ask(proto_type_t type, const void *message, const proto_bytes_t *attachments,
                      size_t count, proto_type_t reply_type, void *reply) {
    client_t *client;
    proto_arena_t *arena = proto_arena_new();
    good(client_new(scene.endpoint, "the blobs service", &client, &scene.err));
    err_code_t code = client_request(client, type, message, attachments, count, reply_type, reply,
                                     arena, PATIENCE_MS, NULL, &scene.err);
    client_destroy(&client);
    proto_arena_destroy(&arena);
    return code;
}

static void bad_requests_name_what_is_wrong(void **state) {
    char digest[DIGEST_HEX_SIZE], upper[DIGEST_HEX_SIZE];
    unsigned char *bytes = make_bytes(300000, 1, digest);
    proto_bytes_t piece = {bytes, 10}, large = {bytes, 262145}, two[2] = {piece, piece};
    proto_blob_put_t put = {.digest = digest, .size = 10};
    proto_blob_stored_t stored;
    (void)state;
    start();
#define REFUSED(message_, attachments, count, code, word)                                          \
    assert_int_equal(                                                                              \
        ask(PROTO_blob_put, message_, attachments, count, PROTO_blob_stored, &stored), code);      \
    assert_non_null(strstr(scene.err.message, word))
    REFUSED(&put, NULL, 0, ERR_PROTOCOL, "attachment");
    REFUSED(&put, two, 2, ERR_PROTOCOL, "attachment");
    put.size = 300000;
    REFUSED(&put, &large, 1, ERR_TOO_LARGE, "262144");
    put.size = 5;
    REFUSED(&put, &piece, 1, ERR_INVALID, "5");
    put.offset = 6;
    REFUSED(&put, &piece, 1, ERR_INVALID, "6");
    memcpy(upper, digest, sizeof upper);
    upper[5] = 'A';
    put = (proto_blob_put_t){.digest = upper, .size = 10};
    REFUSED(&put, &piece, 1, ERR_INVALID, "digest");
    upper[5] = '/';
    REFUSED(&put, &piece, 1, ERR_INVALID, "digest");
    // Not where the blob ends: nothing changes, and it is said where that is.
    put = (proto_blob_put_t){.digest = digest, .size = 300000, .offset = 100};
    good(ask(PROTO_blob_put, &put, &piece, 1, PROTO_blob_stored, &stored));
    assert_int_equal(stored.next, 0);
    free(bytes);
    static const char *const paths[] = {
        "../x",   "models/../../x", "/etc/passwd", "models/.x/y",          "blobs/ab/cd",
        "models", "models//a",      "models/a/",   "redis/appendonly.aof", "keys/server.key"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        proto_blob_place_t place = {.digest = digest, .path = paths[i]};
        proto_blob_get_t get = {.digest = digest, .path = paths[i], .size = 10};
        proto_blob_piece_t answer;
        proto_ok_t ok;
        assert_int_equal(ask(PROTO_blob_place, &place, NULL, 0, PROTO_ok, &ok), ERR_INVALID);
        assert_int_equal(ask(PROTO_blob_get, &get, NULL, 0, PROTO_blob_piece, &answer),
                         ERR_INVALID);
        assert_non_null(strstr(scene.err.message, paths[i]));
    }
    assert_int_equal(ask(PROTO_job_list,
                         &(proto_job_list_t){.state = "", .kind = "", .limit = 1, .before = ""},
                         NULL, 0, PROTO_jobs, &stored),
                     ERR_UNSUPPORTED);
}

// --- The stack's files

static void files_are_placed_once_and_read_by_path_and_digest(void **state) {
    char digest[DIGEST_HEX_SIZE], other[DIGEST_HEX_SIZE];
    place_t path, placed;
    (void)state;
    start();
    make_file("small", 1000, 1, digest, path);
    good(blob_put_file(scene.blob, path, digest, NULL, &scene.err));
    good(blob_sync(scene.blob, &scene.err));
    good(blob_place(scene.blob, digest, "models/faces/7-1/model.json", &scene.err));
    good(blob_place(scene.blob, digest, "models/faces/7-1/model.json", &scene.err)); // said twice
    place_of("files/models/faces/7-1/model.json", placed);
    is_file(placed, digest);
    assert_true(is_missing(digest)); // no upload any more
    fetch_is("out", digest, "models/faces/7-1/model.json");
    // Another one does not replace it.
    make_file("other", 1000, 2, other, path);
    good(blob_put_file(scene.blob, path, other, NULL, &scene.err));
    good(blob_sync(scene.blob, &scene.err));
    assert_int_equal(blob_place(scene.blob, other, "models/faces/7-1/model.json", &scene.err),
                     ERR_CONFLICT);
    is_file(placed, digest);
    // Who does not know the digest gets nothing, before and after the file changes.
    place_of("out2", path);
    free(make_bytes(10, 9, other));
    assert_int_equal(
        blob_get_file(scene.blob, other, "models/faces/7-1/model.json", path, &scene.err),
        ERR_NOT_FOUND);
    good(fs_write(placed, "changed", 7, &scene.err));
    assert_int_equal(
        blob_get_file(scene.blob, digest, "models/faces/7-1/model.json", path, &scene.err),
        ERR_NOT_FOUND);
    assert_int_equal(access(path, F_OK), -1);
}

// --- Killing

typedef struct {
    const char *path, *digest, *to;
    err_code_t code;
    err_t err;
} transfer_t;

static void *transfer(void *arg) {
    transfer_t *transfer = arg;
    blob_t *blob;
    open_blob(&blob);
    transfer->code = blob_put_file(blob, transfer->path, transfer->digest, NULL, &transfer->err);
    if (transfer->code == ERR_OK)
        transfer->code = blob_get_file(blob, transfer->digest, NULL, transfer->to, &transfer->err);
    blob_close(&blob);
    return NULL;
}

static void transfers_go_on_over_kills_of_the_service(void **state) {
    char digest[DIGEST_HEX_SIZE];
    place_t path, out;
    pthread_t thread;
    (void)state;
    start();
    make_file("big", 200 << 20, 5, digest, path);
    place_of("out", out);
    transfer_t one = {.path = path, .digest = digest, .to = out, .code = ERR_INTERNAL};
    assert_int_equal(pthread_create(&thread, NULL, transfer, &one), 0);
    int kills = 0;
    for (; kills < 8 && access(out, F_OK) != 0; kills++) {
        clock_sleep_ms(60 + 30 * kills);
        proc_kill(&scene.service);
        start();
    }
    pthread_join(thread, NULL);
    if (one.code)
        fail_msg("%s", one.err.message);
    is_file(out, digest);
    assert_true(kills > 1);
}

typedef struct {
    char (*digests)[DIGEST_HEX_SIZE];
    int count, done;
    err_code_t code;
    err_t err;
} publishing_t;

static void *publish(void *arg) {
    publishing_t *publishing = arg;
    blob_t *blob;
    open_blob(&blob);
    for (int i = 0; i < publishing->count && publishing->code == ERR_OK; i++) {
        char path[64];
        snprintf(path, sizeof path, "jobs/7/1/step-%d.ckpt", i);
        publishing->code =
            blob_publish_file(blob, scene.home, path, publishing->digests[i], &publishing->err);
    }
    blob_close(&blob);
    return NULL;
}

// Small ones, which the service forgets when it is killed before the sync.
static void publishing_goes_on_over_kills_of_the_service(void **state) {
    enum { COUNT = 600 };
    static char digests[COUNT][DIGEST_HEX_SIZE];
    publishing_t publishing = {.digests = digests, .count = COUNT, .code = ERR_OK};
    pthread_t thread;
    char name[64];
    place_t path;
    (void)state;
    start();
    place_of("jobs/7/1", path);
    good(fs_mkdirs(path, &scene.err));
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "jobs/7/1/step-%d.ckpt", i);
        make_file(name, 1000, (uint32_t)i, digests[i], path);
    }
    assert_int_equal(pthread_create(&thread, NULL, publish, &publishing), 0);
    for (int kills = 0; kills < 10; kills++) {
        clock_sleep_ms(100 + 7 * kills);
        proc_kill(&scene.service);
        start();
    }
    pthread_join(thread, NULL);
    if (publishing.code)
        fail_msg("%s", publishing.err.message);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "files/jobs/7/1/step-%d.ckpt", i);
        place_of(name, path);
        is_file(path, digests[i]);
    }
}

static void a_cut_upload_goes_on_where_it_ended(void **state) {
    char digest[DIGEST_HEX_SIZE];
    place_t path;
    uint64_t sent = 0;
    blob_t *blob;
    struct stat info;
    char part[256];
    (void)state;
    start();
    make_file("big", 30000000, 6, digest, path);
    snprintf(part, sizeof part, "%s/blobs/part/%s", scene.files, digest);
    // Every so many bytes the client dies; what the service has by then is not sent again.
    uint64_t had = 0;
    for (int cut = 1; cut <= 3; cut++) {
        proto_blob_stored_t stored;
        open_blob(&blob);
        int fd = open(path, O_RDONLY);
        for (uint64_t at = had; at < (uint64_t)cut * 5000000; at += 250000) {
            static unsigned char bytes[250000];
            assert_int_equal(pread(fd, bytes, sizeof bytes, (off_t)at), sizeof bytes);
            proto_blob_put_t put = {.digest = digest, .size = 30000000, .offset = at};
            proto_bytes_t piece = {bytes, sizeof bytes};
            good(ask(PROTO_blob_put, &put, &piece, 1, PROTO_blob_stored, &stored));
        }
        close(fd);
        blob_close(&blob);
        assert_int_equal(stat(part, &info), 0);
        had = (uint64_t)info.st_size;
        assert_int_equal(had, cut * 5000000);
        if (cut == 2) {
            proc_kill(&scene.service);
            start();
        }
    }
    good(blob_put_file(scene.blob, path, digest, &sent, &scene.err));
    assert_int_equal(sent, 30000000 - had);
    fetch_is("out", digest, NULL);
}

static void two_that_send_and_fetch_the_same_do_not_harm_each_other(void **state) {
    char digest[DIGEST_HEX_SIZE];
    place_t path, out;
    pthread_t threads[3];
    transfer_t some[3];
    (void)state;
    start();
    make_file("big", 40 << 20, 8, digest, path);
    place_of("out", out);
    for (int i = 0; i < 3; i++) {
        some[i] = (transfer_t){.path = path, .digest = digest, .to = out, .code = ERR_INTERNAL};
        assert_int_equal(pthread_create(&threads[i], NULL, transfer, &some[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        if (some[i].code)
            fail_msg("%s", some[i].err.message);
    }
    is_file(out, digest);
}

// --- Copies

static void copies_used_longest_ago_make_room(void **state) {
    static const char *const names[] = {"datasets/a/1", "datasets/b/1", "models/c/1", "jobs/4/1"};
    static unsigned char bytes[1000];
    place_t path;
    (void)state;
    good(blob_trim(scene.home, 0, &scene.err)); // it is for copies from now on
    for (size_t i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s/file", names[i]);
        place_of(names[i], path);
        good(fs_mkdirs(path, &scene.err));
        place_of(name, path);
        good(fs_write(path, bytes, sizeof bytes, &scene.err));
        close(blob_hold(scene.home, names[i])); // used now
        clock_sleep_ms(20);                     // files' times are that coarse
    }
    close(blob_hold(scene.home, names[0]));
    int held = blob_hold(scene.home, names[1]);
    place_of(names[1], path);
    struct timespec long_ago[2] = {{0}};
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    good(blob_trim(scene.home, 3999, &scene.err)); // b is in use, so it is c
    for (size_t i = 0; i < 4; i++) {
        place_of(names[i], path);
        assert_int_equal(access(path, F_OK), i == 2 ? -1 : 0);
    }
    close(held);
    good(blob_trim(scene.home, 1999, &scene.err));
    place_of(names[0], path);
    assert_int_equal(access(path, F_OK), 0);
    place_of(names[1], path);
    assert_int_equal(access(path, F_OK), -1);
    place_of(names[3], path);
    assert_int_equal(access(path, F_OK), -1);
}

// --- Limits

static void a_file_that_changes_is_refused(void **state) {
    char digest[DIGEST_HEX_SIZE];
    place_t path;
    (void)state;
    start();
    make_file("big", 3000000, 6, digest, path);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "x", 1, 1000000), 1);
    assert_int_equal(blob_put_file(scene.blob, path, digest, NULL, &scene.err), ERR_CORRUPT);
    assert_non_null(strstr(scene.err.message, path));
    assert_int_equal(ftruncate(fd, 1000), 0);
    assert_int_equal(blob_put_file(scene.blob, path, digest, NULL, &scene.err), ERR_CORRUPT);
    close(fd);
}

static void a_full_disk_refuses_and_says_so(void **state) {
    char digest[DIGEST_HEX_SIZE];
    (void)state;
    start_with((const char *[]){"--disk-reserve-mb", "1048576", NULL});
    unsigned char *bytes = make_bytes(10, 1, digest);
    good(blob_put_bytes(scene.blob, digest, bytes, 10, &scene.err));
    assert_int_equal(blob_flush(scene.blob, &scene.err), ERR_FULL);
    assert_non_null(strstr(scene.err.message, "reserve"));
    free(bytes);
}

static void nobody_there_is_told(void **state) {
    char digest[DIGEST_HEX_SIZE];
    blob_t *blob;
    const blob_options_t options = {.endpoint = scene.endpoint, .patience_ms = 300};
    (void)state;
    assert_int_equal(blob_open(&options, &blob, &scene.err), ERR_OK);
    unsigned char *bytes = make_bytes(10, 1, digest);
    good(blob_put_bytes(blob, digest, bytes, 10, &scene.err));
    assert_int_equal(blob_flush(blob, &scene.err), ERR_UNAVAILABLE);
    free(bytes);
    blob_close(&blob);
    // And whoever is told to stop stops.
    atomic_store(&scene.stop, true);
    assert_int_equal(blob_sync(scene.blob, &scene.err), ERR_CANCELLED);
}

// --- Copies

static void put_copy(const char *files, const char *path, int64_t age_s) {
    char *full = fs_join(files, path), *slash = strrchr(full, '/');
    *slash = 0;
    good(fs_mkdirs(full, &scene.err));
    *slash = '/';
    static char bytes[100000];
    good(fs_write(full, bytes, sizeof bytes, &scene.err));
    *slash = 0;
    const struct timespec times[2] = {{.tv_sec = time(NULL) - age_s},
                                      {.tv_sec = time(NULL) - age_s}};
    assert_int_equal(utimensat(AT_FDCWD, full, times, 0), 0);
    free(full);
}

static bool there(const char *files, const char *path) {
    char *full = fs_join(files, path);
    bool found = access(full, F_OK) == 0;
    free(full);
    return found;
}

static void what_is_no_folder_for_copies_is_left_alone(void **state) {
    place_t files;
    (void)state;
    place_of("own", files);
    put_copy(files, "datasets/a/1-1/x", 300);
    good(blob_trim(files, 0, &scene.err));
    assert_true(there(files, "datasets/a/1-1/x"));
    // A stack's own folder, though it was once used for copies.
    place_of("stack", files);
    good(blob_trim(files, 0, &scene.err));
    put_copy(files, "models/m/1-1/x", 300);
    char *mark = fs_join(files, ".stack");
    good(fs_write(mark, "s", 1, &scene.err));
    free(mark);
    good(blob_trim(files, 0, &scene.err));
    assert_true(there(files, "models/m/1-1/x"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_size_comes_back),
        TEST(many_small_ones_survive_a_kill_after_sync),
        TEST(what_was_not_synced_is_missing_or_whole_after_a_kill),
        TEST(what_was_not_synced_outlives_a_kill),
        TEST(a_digest_that_lies_is_refused),
        TEST(a_spoilt_part_is_left_and_sent_anew),
        TEST(bad_requests_name_what_is_wrong),
        TEST(files_are_placed_once_and_read_by_path_and_digest),
        TEST(transfers_go_on_over_kills_of_the_service),
        TEST(publishing_goes_on_over_kills_of_the_service),
        TEST(copies_used_longest_ago_make_room),
        TEST(a_cut_upload_goes_on_where_it_ended),
        TEST(two_that_send_and_fetch_the_same_do_not_harm_each_other),
        TEST(a_file_that_changes_is_refused),
        TEST(a_full_disk_refuses_and_says_so),
        TEST(nobody_there_is_told),
        TEST(what_is_no_folder_for_copies_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
