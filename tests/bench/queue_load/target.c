#include "target.h"

#include "conf/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READY_MS 20000

static err_code_t start_dispatcher(target_t *target, err_t *err) {
    const char *settings[] = {target->redis_setting, target->keep_setting, "INKLING_LOG_LEVEL=warn",
                              NULL};
    return proc_start(&target->dispatcher, "inkling-dispatcher", "dispatcher", target->home, NULL,
                      settings, err);
}

err_code_t target_open(target_t *target, size_t jobs, err_t *err) {
    memset(target, 0, sizeof *target);
    err_code_t code = redis_start(&target->redis, NULL, err);
    if (code == ERR_OK)
        code = proc_make_home(target->home, err);
    if (code)
        return code;
    snprintf(target->redis_setting, sizeof target->redis_setting, "INKLING_REDIS=%s",
             target->redis.socket);
    snprintf(target->keep_setting, sizeof target->keep_setting, "INKLING_KEEP_JOBS=%zu", jobs + 1);
    target->endpoint = conf_endpoint(target->home, "dispatcher");
    code = start_dispatcher(target, err);
    return code ? code : proc_await_ready(&target->dispatcher, READY_MS, err);
}

void target_close(target_t *target) {
    proc_kill(&target->dispatcher);
    redis_stop(&target->redis);
    free(target->endpoint);
    target->endpoint = NULL;
    if (target->home[0])
        proc_remove_home(target->home);
    target->home[0] = 0;
}

err_code_t target_kill_dispatcher(target_t *target, err_t *err) {
    proc_kill(&target->dispatcher);
    target->dispatcher_kills++;
    return start_dispatcher(target, err);
}

err_code_t target_kill_redis(target_t *target, err_t *err) {
    target->redis_kills++;
    return redis_restart(&target->redis, err);
}

char *target_log(const target_t *target) {
    char *log = proc_output(&target->dispatcher);
    size_t size = strlen(log), most = 2000;
    if (size > most)
        memmove(log, log + size - most, most + 1);
    return log;
}
