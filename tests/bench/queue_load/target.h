// What is measured: a private Redis and a real dispatcher under a temporary home, and their violent
// deaths.
#ifndef INKLING_TESTS_QUEUE_TARGET_H
#define INKLING_TESTS_QUEUE_TARGET_H

#include "support/proc.h"
#include "support/redis.h"

typedef struct {
    redis_t redis;
    proc_t dispatcher;
    char home[PROC_HOME_SIZE], redis_setting[128], keep_setting[64];
    char *endpoint;
    int dispatcher_kills, redis_kills;
} target_t;

// jobs: how many the dispatcher must keep. After a failure target_close() is still to be called.
err_code_t target_open(target_t *target, size_t jobs, err_t *err);
void target_close(target_t *target);
// kill -9 and a start at once, which is not waited for.
err_code_t target_kill_dispatcher(target_t *target, err_t *err);
// kill -9, and a start that is waited for: until it has loaded its data.
err_code_t target_kill_redis(target_t *target, err_t *err);
// The last lines of the dispatcher's log, for failures; malloc'ed.
char *target_log(const target_t *target);

#endif
