#include "remote_impl.h"

#include "client/client.h"
#include "say_impl.h"

#include <stdio.h>
#include <string.h>

// --- Asking

static void fail(remote_service_t *service, const err_t *why) {
    service->answers = service->ready = false;
    service->why = *why;
}

// True: it answered, and its client is ready for another question.
static bool ping(remote_service_t *service, const char *endpoints, client_t **client,
                 proto_arena_t *arena, int64_t patience_ms, proto_pong_t *pong) {
    const proto_ping_t question = {0};
    char called[32];
    err_t err;
    snprintf(called, sizeof called, "the %s%s", service->name,
             strcmp(service->name, "blobs") == 0 || strcmp(service->name, "studies") == 0
                 ? " service"
                 : "");
    err_code_t code = client_new(endpoints, called, client, &err);
    if (code == ERR_OK)
        code = client_request(*client, PROTO_ping, &question, NULL, 0, PROTO_pong, pong, arena,
                              patience_ms, NULL, &err);
    service->answers = service->ready = code == ERR_OK;
    if (code)
        fail(service, &err);
    else
        snprintf(service->version, sizeof service->version, "%s", pong->version);
    return code == ERR_OK;
}

static void ask_service(remote_service_t *service, const char *endpoint, int64_t patience_ms) {
    proto_arena_t *arena = proto_arena_new();
    client_t *client = NULL;
    proto_pong_t pong;
    ping(service, endpoint, &client, arena, patience_ms, &pong);
    client_destroy(&client);
    proto_arena_destroy(&arena);
}

// Whatever answers a ping: only a dispatcher knows workers, or says why it cannot tell.
static void ask_workers(remote_t *remote, client_t *client, const proto_pong_t *pong,
                        proto_arena_t *arena, int64_t patience_ms) {
    remote_service_t *service = &remote->services[REMOTE_DISPATCHER];
    const proto_worker_list_t question = {0};
    proto_workers_t workers;
    err_t err;
    err_code_t code = client_request(client, PROTO_worker_list, &question, NULL, 0, PROTO_workers,
                                     &workers, arena, patience_ms, NULL, &err);
    if (code == ERR_OK) {
        remote->workers = (int64_t)workers.workers.count;
    } else if (code == ERR_UNSUPPORTED) {
        err_set(&err, ERR_INVALID, "what answers at %s is %s, and no dispatcher", service->endpoint,
                pong->service);
        err_remedy(&err, "give the address of the dispatcher; that of its gateway is one port up");
        fail(service, &err);
    } else {
        service->ready = false;
        err_set(&service->why, code, "it answers, but does no work: %s", err.message);
    }
}

static void ask_dispatcher(remote_t *remote, const char *endpoints, int64_t patience_ms) {
    proto_arena_t *arena = proto_arena_new();
    client_t *client = NULL;
    proto_pong_t pong;
    if (ping(&remote->services[REMOTE_DISPATCHER], endpoints, &client, arena, patience_ms, &pong))
        ask_workers(remote, client, &pong, arena, patience_ms);
    client_destroy(&client);
    proto_arena_destroy(&arena);
}

void remote_ask(const conf_t *conf, int count, int64_t patience_ms, remote_t *remote) {
    static const char *const names[] = {"dispatcher", "gateway", "blobs", "studies"};
    const char *const endpoints[] = {conf->dispatcher, conf->gateway, conf->blobs, conf->studies};
    err_t err;
    err_code_t code = conf->client_key[0] ? bus_keys_connect(conf->client_key, &err) : ERR_OK;
    *remote = (remote_t){.workers = -1};
    for (int i = 0; i < REMOTE_COUNT; i++) {
        remote_service_t *service = &remote->services[i];
        service->name = names[i];
        snprintf(service->endpoint, sizeof service->endpoint, "%s", endpoints[i]);
        if (code)
            fail(service, &err);
        else if (i < count && i == REMOTE_DISPATCHER)
            ask_dispatcher(remote, endpoints[i], patience_ms);
        else if (i < count)
            ask_service(service, endpoints[i], patience_ms);
    }
    bus_keys_end();
}

// --- Telling

const char *remote_detail(const remote_service_t *service) {
    return service->why.code ? service->why.message : "";
}

bool remote_ready(const remote_t *remote) {
    bool ready = true;
    for (int i = 0; i < REMOTE_COUNT; i++)
        ready = ready && remote->services[i].ready;
    return ready;
}

json_t *remote_json(const remote_t *remote) {
    json_t *list = json_array();
    for (int i = 0; i < REMOTE_COUNT; i++) {
        const remote_service_t *service = &remote->services[i];
        const char *detail = remote_detail(service);
        json_array_append_new(
            list, json_pack("{s:s, s:b, s:b, s:o, s:o, s:o}", "name", service->name, "answers",
                            service->answers, "ready", service->ready, "endpoint",
                            say_json_text(service->endpoint), "detail",
                            *detail ? say_json_text(detail) : json_null(), "version",
                            service->version[0] ? say_json_text(service->version) : json_null()));
    }
    return list;
}
