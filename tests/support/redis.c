#include "support/redis.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "support/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static redisContext *dial(const redis_t *redis, int64_t timeout_ms) {
    struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    redisContext *context = redisConnectUnixWithTimeout(redis->socket, timeout);
    if (context && context->err == 0 && redisSetTimeout(context, timeout) == REDIS_OK)
        return context;
    if (context)
        redisFree(context);
    return NULL;
}

static void print(const redisReply *reply, buf_t *out) {
    if (reply->type == REDIS_REPLY_INTEGER)
        buf_printf(out, "%lld", reply->integer);
    else if (reply->type == REDIS_REPLY_ARRAY)
        for (size_t i = 0; i < reply->elements; i++) {
            print(reply->element[i], out);
            if (i + 1 < reply->elements)
                buf_puts(out, "\n");
        }
    else if (reply->str)
        buf_append(out, reply->str, (size_t)reply->len);
}

bool redis_do(const redis_t *redis, const char *command, char *text, size_t size) {
    redisContext *context = dial(redis, 5000);
    if (!context)
        return false;
    char copy[1024], *words[64], *rest = copy, *word;
    int count = 0;
    snprintf(copy, sizeof copy, "%s", command);
    while (count < 64 && (word = strsep(&rest, " ")) != NULL)
        if (*word)
            words[count++] = word;
    redisReply *reply = redisCommandArgv(context, count, (const char **)(uintptr_t)words, NULL);
    if (reply && size) {
        buf_t out;
        buf_init(&out, 1 << 24);
        print(reply, &out);
        snprintf(text, size, "%s", out.data ? out.data : "");
        buf_release(&out);
    }
    bool answered = reply != NULL;
    if (reply)
        freeReplyObject(reply);
    redisFree(context);
    return answered;
}

static err_code_t launch(redis_t *redis, err_t *err) {
    char log[96];
    snprintf(log, sizeof log, "%s/log", redis->folder);
    const char *argv[32 + REDIS_EXTRA_MAX] = {redis->server,
                                              "--port",
                                              "0",
                                              "--unixsocket",
                                              redis->socket,
                                              "--dir",
                                              redis->folder,
                                              "--save",
                                              "",
                                              "--appendonly",
                                              "yes",
                                              "--appendfsync",
                                              "always",
                                              "--maxmemory-policy",
                                              "noeviction",
                                              "--daemonize",
                                              "no"};
    size_t count = 17;
    for (size_t i = 0; redis->extra[i]; i++)
        argv[count++] = redis->extra[i];
    return spawn(redis->server, argv, NULL, log, &redis->pid, err);
}

// Until PING is answered, and not with LOADING.
static err_code_t await(redis_t *redis, err_t *err) {
    int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    char reply[64];
    while (clock_mono_ms() < end_ms) {
        if (access(redis->socket, F_OK) == 0 && redis_do(redis, "PING", reply, sizeof reply) &&
            strncmp(reply, "LOADING", 7) != 0)
            return ERR_OK;
        int status;
        if (spawn_ended(redis->pid, &status)) {
            redis->pid = 0;
            return err_set(err, ERR_UNAVAILABLE, "%s ended at once (status %d); see %s/log",
                           redis->server, status, redis->folder);
        }
        clock_sleep_ms(5);
    }
    return err_set(err, ERR_TIMEOUT, "redis-server does not answer at %s", redis->socket);
}

static err_code_t find_server(redis_t *redis, err_t *err) {
    const char *named = getenv("INKLING_REDIS_SERVER"), *path = getenv("PATH");
    if (named && *named) {
        snprintf(redis->server, sizeof redis->server, "%s", named);
        if (access(redis->server, X_OK) == 0)
            return ERR_OK;
    }
    for (const char *part = path; !named && part && *part; part += *part == ':') {
        size_t size = strcspn(part, ":");
        snprintf(redis->server, sizeof redis->server, "%.*s/redis-server", (int)size, part);
        if (access(redis->server, X_OK) == 0)
            return ERR_OK;
        part += size;
    }
    err_set(err, ERR_NOT_FOUND, "%s is not here", named ? named : "redis-server");
    return err_remedy(err, "install it: apt-get install redis-server, or run ops/test"),
           ERR_NOT_FOUND;
}

static err_code_t start(redis_t *redis, const char *const *extra, err_t *err) {
    for (size_t i = 0; extra && extra[i] && i < REDIS_EXTRA_MAX; i++)
        redis->extra[i] = extra[i];
    err_code_t code = find_server(redis, err);
    if (code == ERR_OK)
        code = redis_restart(redis, err);
    if (code)
        redis_kill(redis);
    return code;
}

err_code_t redis_start(redis_t *redis, const char *const *extra, err_t *err) {
    memset(redis, 0, sizeof *redis);
    snprintf(redis->folder, sizeof redis->folder, "%s", "/tmp/inkling-redis-XXXXXX");
    if (!mkdtemp(redis->folder)) {
        redis->folder[0] = 0;
        return err_set_errno(err, "cannot make a folder in /tmp");
    }
    snprintf(redis->socket, sizeof redis->socket, "%s/socket", redis->folder);
    return start(redis, extra, err);
}

err_code_t redis_start_at(redis_t *redis, const char *folder, const char *socket,
                          const char *const *extra, err_t *err) {
    memset(redis, 0, sizeof *redis);
    if (strlen(folder) >= sizeof redis->folder || strlen(socket) >= sizeof redis->socket)
        return err_set(err, ERR_TOO_LARGE, "the folder %s has too long a name", folder);
    redis->kept = true;
    snprintf(redis->folder, sizeof redis->folder, "%s", folder);
    snprintf(redis->socket, sizeof redis->socket, "%s", socket);
    return start(redis, extra, err);
}

void redis_kill(redis_t *redis) {
    spawn_kill(&redis->pid);
}

err_code_t redis_restart(redis_t *redis, err_t *err) {
    redis_kill(redis);
    unlink(redis->socket); // else a dead server's file would be taken for the new one's
    err_code_t code = launch(redis, err);
    return code ? code : await(redis, err);
}

void redis_pause(redis_t *redis) {
    ERR_ASSERT(redis->pid > 0);
    kill(redis->pid, SIGSTOP);
}

void redis_resume(redis_t *redis) {
    ERR_ASSERT(redis->pid > 0);
    kill(redis->pid, SIGCONT);
}

void redis_stop(redis_t *redis) {
    redis_kill(redis);
    if (redis->folder[0] && !redis->kept)
        fs_remove_all(redis->folder, NULL);
    redis->folder[0] = 0;
}
