// A private redis-server for a test or a benchmark: on a unix socket in a fresh folder, no port,
// with the settings that Inkling asks for (appendonly, appendfsync always, noeviction), to be
// killed, started again on the same folder, and halted at will.
//
// The server dies with the thread that started it. Not thread-safe.
#ifndef INKLING_TESTS_SUPPORT_REDIS_H
#define INKLING_TESTS_SUPPORT_REDIS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define REDIS_EXTRA_MAX 16

typedef struct {
    char folder[64]; // data, log ("log") and socket
    char socket[80];
    char server[256]; // the program
    const char *extra[REDIS_EXTRA_MAX + 1];
    pid_t pid; // 0: not running
    bool kept; // the folder is not ours
} redis_t;

// Makes the folder, starts the server and waits till it answers. extra: more arguments for it, e.g.
// "--maxmemory", "8mb", ended by NULL, or NULL; kept by the caller; the last of a setting wins. The
// program is redis-server of PATH, or the one that INKLING_REDIS_SERVER names; ERR_NOT_FOUND says
// how to install it. After a failure redis_stop() is not needed, but allowed.
err_code_t redis_start(redis_t *redis, const char *const *extra, err_t *err);
// The same at a given folder, which stays after redis_stop(): for <home>/run of a stack.
err_code_t redis_start_at(redis_t *redis, const char *folder, const char *socket,
                          const char *const *extra, err_t *err);
void redis_kill(redis_t *redis); // SIGKILL, and waits for its end
// Starts it again on the same folder and waits till it has loaded its data.
err_code_t redis_restart(redis_t *redis, err_t *err);
void redis_pause(redis_t *redis);  // SIGSTOP
void redis_resume(redis_t *redis); // SIGCONT
// Ends it and removes the folder that redis_start() made.
void redis_stop(redis_t *redis);

// One command on a connection of its own, words split at blanks, e.g. "SCRIPT FLUSH". The reply as
// text: a line of its own for each item of a list. False: no answer within 5 s.
bool redis_do(const redis_t *redis, const char *command, char *reply, size_t size);

#endif
