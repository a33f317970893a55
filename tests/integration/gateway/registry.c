#include "registry.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TICK_MS 5

static proto_model_info_t info_of(const row_t *row) {
    return (proto_model_info_t){.name = row->name,
                                .version = row->version,
                                .path = row->path,
                                .digest = row->digest,
                                .promoted = row->promoted,
                                .promoted_at = row->promoted_at,
                                .canary = row->canary};
}

static void answer_list(registry_t *registry, const poll_t *poll) {
    proto_model_info_t infos[REGISTRY_MAX];
    size_t count = 0;
    for (size_t i = 0; i < registry->count; i++)
        if (registry->rows[i].promoted || registry->rows[i].canary > 0 || !poll->list.promoted)
            infos[count++] = info_of(&registry->rows[i]);
    proto_models_t models = {.revision = registry->revision, .models = {infos, count}};
    bus_send(registry->router, &poll->peer, poll->id, 0, PROTO_models, &models, NULL, 0, NULL);
}

static void answer_show(registry_t *registry, bus_socket_t *socket, const bus_message_t *message,
                        const proto_model_show_t *show) {
    err_t err;
    registry->shows++;
    for (size_t i = 0; i < registry->count; i++) {
        const row_t *row = &registry->rows[i];
        if (strcmp(row->name, show->name) != 0 || row->version != show->version)
            continue;
        proto_model_info_t info = info_of(row);
        bus_reply(socket, message, PROTO_model, &(proto_model_t){.model = &info});
        return;
    }
    err_set(&err, ERR_NOT_FOUND, "no model %s@%llu", show->name, (unsigned long long)show->version);
    err_remedy(&err, "`inkling models` lists them");
    bus_reply_error(socket, message, &err);
}

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    registry_t *registry = arg;
    proto_arena_reset(registry->arena);
    pthread_mutex_lock(&registry->lock);
    if (registry->silent) {
        // as one that hangs
    } else if (message->type == PROTO_model_list) {
        poll_t poll = {.peer = message->peer, .id = message->id};
        registry->lists++;
        if (proto_decode(PROTO_model_list, message->body.data, message->body.size, registry->arena,
                         &poll.list, NULL) != ERR_OK)
            abort();
        poll.list.name = NULL;
        poll.until_ms = clock_mono_ms() + (int64_t)poll.list.wait_ms;
        if (poll.list.wait_ms == 0 || registry->revision > poll.list.after)
            answer_list(registry, &poll);
        else if (registry->poll_count < sizeof registry->polls / sizeof *registry->polls)
            registry->polls[registry->poll_count++] = poll;
    } else if (message->type == PROTO_model_show) {
        proto_model_show_t show;
        if (proto_decode(PROTO_model_show, message->body.data, message->body.size, registry->arena,
                         &show, NULL) != ERR_OK)
            abort();
        answer_show(registry, socket, message, &show);
    }
    pthread_mutex_unlock(&registry->lock);
}

static void on_tick(void *arg) {
    registry_t *registry = arg;
    pthread_mutex_lock(&registry->lock);
    size_t kept = 0;
    for (size_t i = 0; i < registry->poll_count; i++) {
        poll_t *poll = &registry->polls[i];
        if (registry->revision > poll->list.after || clock_mono_ms() >= poll->until_ms)
            answer_list(registry, poll);
        else
            registry->polls[kept++] = *poll;
    }
    registry->poll_count = kept;
    if (registry->stop)
        bus_loop_stop(registry->loop);
    pthread_mutex_unlock(&registry->lock);
}

static void *run(void *arg) {
    registry_t *registry = arg;
    bus_loop_timer(registry->loop, TICK_MS, TICK_MS, on_tick, registry);
    bus_loop_run(registry->loop);
    return NULL;
}

void registry_init(registry_t *registry) {
    memset(registry, 0, sizeof *registry);
    pthread_mutex_init(&registry->lock, NULL);
}

void registry_start(registry_t *registry, const char *endpoint) {
    err_t err;
    registry->stop = false;
    registry->poll_count = 0;
    registry->arena = proto_arena_new();
    registry->loop = bus_loop_new();
    if (bus_router_new(registry->loop, endpoint, on_message, registry, &registry->router, &err))
        fail_msg("%s", err.message);
    assert_int_equal(pthread_create(&registry->thread, NULL, run, registry), 0);
    registry->running = true;
}

void registry_stop(registry_t *registry) {
    if (!registry->running)
        return;
    pthread_mutex_lock(&registry->lock);
    registry->stop = true;
    pthread_mutex_unlock(&registry->lock);
    pthread_join(registry->thread, NULL);
    bus_socket_destroy(&registry->router);
    bus_loop_destroy(&registry->loop);
    proto_arena_destroy(&registry->arena);
    registry->running = false;
}

void registry_silence(registry_t *registry, bool silent) {
    pthread_mutex_lock(&registry->lock);
    registry->silent = silent;
    pthread_mutex_unlock(&registry->lock);
}

void registry_add(registry_t *registry, const char *name, uint64_t version, const char *path,
                  const char *digest) {
    pthread_mutex_lock(&registry->lock);
    assert_true(registry->count < REGISTRY_MAX);
    row_t *row = &registry->rows[registry->count++];
    *row = (row_t){.version = version};
    snprintf(row->name, sizeof row->name, "%s", name);
    snprintf(row->path, sizeof row->path, "%s", path);
    snprintf(row->digest, sizeof row->digest, "%s", digest);
    registry->revision++;
    pthread_mutex_unlock(&registry->lock);
}

void registry_promote(registry_t *registry, const char *name, uint64_t version) {
    bool found = false;
    pthread_mutex_lock(&registry->lock);
    registry->revision++;
    for (size_t i = 0; i < registry->count; i++) {
        row_t *row = &registry->rows[i];
        if (strcmp(row->name, name) != 0)
            continue;
        row->promoted = row->version == version;
        row->canary = 0;
        row->promoted_at = row->promoted ? registry->revision : 0;
        found = found || row->promoted;
    }
    pthread_mutex_unlock(&registry->lock);
    assert_true(found);
}

void registry_canary(registry_t *registry, const char *name, uint64_t version, double percent) {
    bool found = false;
    pthread_mutex_lock(&registry->lock);
    registry->revision++;
    for (size_t i = 0; i < registry->count; i++) {
        row_t *row = &registry->rows[i];
        if (strcmp(row->name, name) != 0)
            continue;
        row->canary = row->version == version ? percent : 0;
        found = found || row->version == version;
    }
    pthread_mutex_unlock(&registry->lock);
    assert_true(found);
}

int registry_shows(registry_t *registry) {
    pthread_mutex_lock(&registry->lock);
    int shows = registry->shows;
    pthread_mutex_unlock(&registry->lock);
    return shows;
}
