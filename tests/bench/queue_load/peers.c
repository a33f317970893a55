#include "peers.h"

#include "base/clock.h"
#include "base/fs.h"
#include "support/redis.h"
#include "support/spawn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOBS_MAX 3000   // they are slow
#define LIMIT_MS 300000 // of one peer

// Runs one script; its result is the file <folder>/<name>.json.
static err_code_t run_script(const char *python, const char *name, size_t jobs,
                             const redis_t *redis, char *result, size_t size, err_t *err) {
    char script[512], log[128], number[24];
    snprintf(script, sizeof script, "%s/%s_peer.py", QUEUE_PEERS, name);
    snprintf(log, sizeof log, "%s/%s.log", redis->folder, name);
    snprintf(result, size, "%s/%s.json", redis->folder, name);
    snprintf(number, sizeof number, "%zu", jobs);
    const char *argv[] = {python, script, redis->socket, number, result, NULL};
    pid_t pid = 0;
    err_code_t code = spawn(python, argv, NULL, log, &pid, err);
    int64_t end_ms = clock_mono_ms() + LIMIT_MS;
    int status = 0;
    while (code == ERR_OK && !spawn_ended(pid, &status)) {
        if (clock_mono_ms() > end_ms) {
            spawn_kill(&pid);
            return err_set(err, ERR_TIMEOUT, "%s takes more than %d s", name, LIMIT_MS / 1000);
        }
        clock_sleep_ms(20);
    }
    if (code || status == 0)
        return code;
    void *text = NULL;
    size_t length = 0;
    if (fs_read(log, 1 << 20, &text, &length, NULL) == ERR_OK && length > 400)
        memmove(text, (char *)text + length - 400, 401);
    err_set(err, ERR_INTERNAL, "%s ended with status %d: %s", script, status,
            text ? (char *)text : "");
    free(text);
    return ERR_INTERNAL;
}

static err_code_t run_peer(const char *python, const char *name, size_t jobs, json_t **result,
                           err_t *err) {
    redis_t redis;
    char path[128];
    err_code_t code = redis_start(&redis, NULL, err);
    if (code == ERR_OK)
        code = run_script(python, name, jobs, &redis, path, sizeof path, err);
    json_error_t problem;
    if (code == ERR_OK && (*result = json_load_file(path, 0, &problem)) == NULL)
        code = err_set(err, ERR_CORRUPT, "%s: %s", path, problem.text);
    redis_stop(&redis);
    return code;
}

err_code_t peers_run(size_t jobs, json_t **peers, err_t *err) {
    static const char *const names[] = {"celery", "rq"};
    const char *environment = getenv("INKLING_PEERS");
    char python[512];
    snprintf(python, sizeof python, "%s/bin/python", environment ? environment : "");
    if (!environment || access(python, X_OK) != 0) {
        err_set(err, ERR_USAGE, "INKLING_PEERS=%s names no virtual environment",
                environment ? environment : "");
        return err_remedy(err, "make one: tests/bench/peers DIR queue; export INKLING_PEERS=DIR"),
               ERR_USAGE;
    }
    *peers = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *result = NULL;
        fprintf(stderr, "queue: %s …\n", names[i]);
        if (run_peer(python, names[i], jobs < JOBS_MAX ? jobs : JOBS_MAX, &result, err) != ERR_OK)
            result = json_pack("{s:s}", "error", err->message);
        json_object_set_new(*peers, names[i], result);
    }
    return ERR_OK;
}
