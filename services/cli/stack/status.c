#include "stack/stack.h"

#include "logs_impl.h"
#include "pidfile_impl.h"
#include "probe_impl.h"
#include "table_impl.h"

#include <stdio.h>
#include <stdlib.h>

#define PATIENCE_MS 1500

typedef struct asking asking_t;

typedef struct {
    asking_t *asking;
    probe_t *probe;
    pidfile_t file;
    bool alive, answered;
    probe_state_t state;
} seen_t;

struct asking {
    bus_loop_t *loop;
    seen_t seen[STACK_COUNT];
    int open; // questions without an answer
};

static void on_state(void *arg, const probe_state_t *state) {
    seen_t *seen = arg;
    seen->state = *state;
    seen->answered = true;
    if (--seen->asking->open == 0)
        bus_loop_stop(seen->asking->loop);
}

static void give_up(void *arg) {
    bus_loop_stop(arg);
}

// All at once, so that one that hangs does not hold up the others.
static void ask_all(asking_t *asking, const char *home) {
    asking->loop = bus_loop_new();
    for (int i = 0; i < STACK_COUNT; i++) {
        seen_t *seen = &asking->seen[i];
        seen->asking = asking;
        seen->alive = pidfile_alive(home, stack_rows[i].name, &seen->file);
        if (i == STACK_REDIS || !probe_served(home, stack_rows[i].name))
            continue;
        seen->probe = probe_new(asking->loop, home, stack_rows[i].name, on_state, seen);
        probe_ask(seen->probe);
        asking->open++;
    }
    if (asking->open > 0) {
        bus_loop_timer(asking->loop, PATIENCE_MS, 0, give_up, asking->loop);
        bus_loop_run(asking->loop);
    }
    for (int i = 0; i < STACK_COUNT; i++)
        probe_destroy(&asking->seen[i].probe);
    bus_loop_destroy(&asking->loop);
}

static json_t *pid_json(pid_t pid) {
    return pid > 0 ? json_integer(pid) : json_null();
}

static json_t *text_json(const char *text) {
    json_t *value = text && *text ? json_string(text) : NULL;
    return value ? value : json_null();
}

static json_t *service_json(const char *home, int index, const seen_t *seen) {
    const char *detail = seen->answered ? seen->state.detail
                         : seen->alive  ? "it does not answer"
                                        : "it does not run";
    json_t *service = json_object();
    json_object_set_new(service, "name", json_string(stack_rows[index].name));
    json_object_set_new(service, "pid",
                        pid_json(seen->answered ? seen->state.pid : seen->file.pid));
    json_object_set_new(service, "ready", json_boolean(seen->answered && seen->state.ready));
    json_object_set_new(service, "endpoint", text_json(seen->state.endpoint));
    json_object_set_new(service, "detail", text_json(detail));
    json_object_set_new(service, "uptime_ms",
                        seen->answered ? json_integer((json_int_t)seen->state.uptime_ms)
                                       : json_null());
    json_object_set_new(service, "restarts", json_integer((json_int_t)seen->file.restarts));
    json_object_set_new(service, "version", text_json(seen->state.version));
    char *log = logs_path(home, stack_rows[index].name);
    json_object_set_new(service, "log", text_json(log));
    free(log);
    return service;
}

// The dispatcher knows its Redis; only one of this home's own can be asked directly.
static bool redis_ready(const conf_t *conf, const asking_t *asking, char *detail, size_t size) {
    const seen_t *dispatcher = &asking->seen[STACK_DISPATCHER];
    if (asking->seen[STACK_REDIS].alive || (!dispatcher->answered && conf->redis[0] == '/'))
        return probe_redis(conf->redis, detail, size);
    snprintf(detail, size, "%s",
             !dispatcher->answered       ? "only the dispatcher knows it, and does not answer"
             : dispatcher->state.ready   ? "the dispatcher's"
             : *dispatcher->state.detail ? dispatcher->state.detail
                                         : "the dispatcher is not ready");
    return dispatcher->answered && dispatcher->state.ready;
}

static json_t *redis_json(const conf_t *conf, const asking_t *asking, bool *ready) {
    const seen_t *seen = &asking->seen[STACK_REDIS];
    char detail[512];
    *ready = redis_ready(conf, asking, detail, sizeof detail);
    json_t *redis = json_object();
    json_object_set_new(redis, "pid", pid_json(seen->file.pid));
    json_object_set_new(redis, "socket", text_json(conf->redis));
    json_object_set_new(redis, "ready", json_boolean(*ready));
    json_object_set_new(redis, "detail", text_json(detail));
    json_object_set_new(redis, "restarts", json_integer((json_int_t)seen->file.restarts));
    return redis;
}

// Of all services only the gateway has one.
static json_t *http_json(const asking_t *asking) {
    for (int i = 0; i < STACK_COUNT; i++)
        if (asking->seen[i].state.http[0])
            return text_json(asking->seen[i].state.http);
    return json_null();
}

json_t *stack_status(const conf_t *conf, bool *ready) {
    asking_t asking = {0};
    ask_all(&asking, conf->home);
    json_t *services = json_array(), *status = json_object();
    json_t *redis = redis_json(conf, &asking, ready);
    for (int i = 0; i < STACK_COUNT; i++)
        if (i != STACK_REDIS) {
            const seen_t *seen = &asking.seen[i];
            *ready = *ready && seen->answered && seen->state.ready;
            json_array_append_new(services, service_json(conf->home, i, seen));
        }
    pidfile_t supervisor;
    pidfile_alive(conf->home, STACK_SUPERVISOR, &supervisor);
    json_object_set_new(status, "home", text_json(conf->home));
    json_object_set_new(status, "ready", json_boolean(*ready));
    json_object_set_new(status, "supervisor", json_pack("{s:o}", "pid", pid_json(supervisor.pid)));
    json_object_set_new(status, "services", services);
    json_object_set_new(status, "redis", redis);
    json_object_set_new(
        status, "gateway",
        json_pack("{s:o, s:o}", "zmq", text_json(conf->gateway), "http", http_json(&asking)));
    return status;
}
