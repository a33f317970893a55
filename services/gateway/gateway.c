#include "base/log.h"
#include "gateway_impl.h"
#include "http/http.h"
#include "nn/nn.h"
#include "prep/prep.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPARE_MAX      8    // versions on demand that stay loaded
#define REQUESTS_MAX   4096 // without an answer
#define IMAGES_MAX     16384
#define DECODE_TIME_MS 10000
#define PEER_QUEUE     256 // messages of one client that wait on their way in

// --- Messages
// -------------------------------------------------------------------------------------

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    gateway_t *gateway = arg;
    if (message->type == PROTO_classify || message->type == PROTO_infer) {
        bus_door_accept(gateway, message);
    } else if (message->type == PROTO_serving) {
        models_tell(gateway, message);
    } else if (message->type == PROTO_ping) {
        proto_pong_t pong = {.service = service_name(gateway->service), .version = INKLING_VERSION};
        bus_reply(socket, message, PROTO_pong, &pong);
    } else {
        err_t err;
        err_set(&err, ERR_UNSUPPORTED, "the gateway does not take %s",
                proto_message(message->type)->wire);
        err_remedy(&err,
                   "it takes classify, infer and serving; everything else goes to the dispatcher");
        stats_error(&gateway->stats, err.code);
        bus_reply_error(socket, message, &err);
    }
}

// --- State
// ----------------------------------------------------------------------------------------

static bool ready(void *self, char *detail, size_t size) {
    gateway_t *gateway = self;
    catalog_state_t state;
    catalog_state(gateway->catalog, &state);
    if (!gateway->known) {
        snprintf(detail, size, "the dispatcher has not answered yet, and there is no cache");
        return false;
    }
    const char *away = directory_heard(gateway->directory) ? "" : "; the dispatcher is away";
    char last[PROTO_NAME_MAX + 48] = "";
    const version_t *version = catalog_served_last(gateway->catalog);
    if (version)
        snprintf(last, sizeof last, "; promoted last: %s@%llu", version->name,
                 (unsigned long long)version->number);
    buf_t text;
    buf_init(&text, size - 1);
    buf_printf(&text, "%d of %d promoted models served", state.served, state.promoted);
    if (state.canaries)
        buf_printf(&text, ", %d canar%s", state.canaries, state.canaries == 1 ? "y" : "ies");
    buf_printf(&text, "%s%s", last, away);
    for (int i = 0; i < CATALOG_FAILURES_MAX && state.failures[i]; i++)
        buf_printf(&text, "; cannot load %s", state.failures[i]->err.message);
    snprintf(detail, size, "%s", text.data);
    buf_release(&text);
    return state.pending == 0;
}

static void metrics(void *self, buf_t *out) {
    gateway_t *gateway = self;
    catalog_state_t state;
    catalog_state(gateway->catalog, &state);
    workers_depth_t depth = workers_depth(gateway->workers);
    stats_t *stats = &gateway->stats;
    metric_set(&stats->loaded, state.loaded);
    metric_set(&stats->memory, (double)state.memory);
    metric_set(&stats->served, state.served);
    metric_set(&stats->failed, state.failed);
    metric_set(&stats->open_requests, (double)gateway->budget.requests);
    metric_set(&stats->open_bytes, (double)gateway->budget.bytes);
    metric_set(&stats->to_decode, (double)depth.to_decode);
    metric_set(&stats->to_compute, (double)depth.to_compute);
    stats_render(stats, out);
    models_render(gateway, out);
}

// --- Life
// -----------------------------------------------------------------------------------------

static void stop(void *self) {
    gateway_t *gateway = self;
    // Everything that is on its way comes back, is answered or refused, and only then the rest
    // goes.
    err_t err;
    err_set(&err, ERR_UNAVAILABLE, "the gateway is going down");
    if (gateway->router)
        request_refuse_parked(gateway, &err);
    workers_destroy(&gateway->workers);
    atomic_store(&gateway->ending, true);
    background_destroy(&gateway->background);
    mailbox_destroy(&gateway->mailbox);
    http_server_destroy(&gateway->web);
    auth_destroy(&gateway->auth);
    catalog_destroy(&gateway->catalog);
    directory_destroy(&gateway->directory);
    bus_socket_destroy(&gateway->router);
    proto_arena_destroy(&gateway->arena);
    models_end(gateway);
    free(gateway->cache_path);
    free(gateway->endpoint);
    free(gateway);
    prep_shutdown();
}

static err_code_t start_threads(gateway_t *gateway, const conf_t *conf, err_t *err) {
    workers_options_t options = {.threads = (int)conf->threads,
                                 .batch_delay_us = conf->gateway_batch_delay_us,
                                 .limits = {.bytes = (size_t)conf->image_bytes,
                                            .pixels = (uint64_t)conf->image_pixels,
                                            .time_ms = DECODE_TIME_MS}};
    err_code_t code = mailbox_new(gateway->loop, &gateway->mailbox, err);
    if (code == ERR_OK)
        code = background_new(gateway->mailbox, &gateway->background, err);
    if (code == ERR_OK)
        code = workers_new(gateway->mailbox, &options, &gateway->workers, err);
    return code;
}

static err_code_t start(service_t *service, const void *arg, void **self, err_t *err) {
    (void)arg;
    const conf_t *conf = service_conf(service);
    mallopt(M_MMAP_THRESHOLD, 1 << 20); // large blocks go back to the system when they are freed
    gateway_t *gateway = mem_zero(1, sizeof *gateway);
    *self = gateway; // stop() takes half of it, too
    gateway->service = service;
    gateway->loop = service_loop(service);
    gateway->arena = proto_arena_new();
    gateway->budget = (budget_t){.bytes_max = (uint64_t)conf->gateway_queue_mb << 20,
                                 .images_max = IMAGES_MAX,
                                 .requests_max = REQUESTS_MAX};
    gateway->cache_path = mem_format("%s/cache/%s.json", conf->home, service_name(service));
    // Of a stack elsewhere the setting tells where that one's own gateway is.
    gateway->endpoint =
        conf->stack[0] ? conf_endpoint(conf->home, service_name(service)) : mem_dup(conf->gateway);
    catalog_limits_t limits = {.spare_max = SPARE_MAX,
                               .seed = models_seed(service_name(service)),
                               .memory_max = models_memory(conf)};
    gateway->catalog = catalog_new(&limits, &models_catalog_ops, gateway);
    // All requests may be answered at once.
    const bus_queues_t queues = {.in = PEER_QUEUE, .out = REQUESTS_MAX};
    err_code_t code = nn_device(conf->device, err);
    if (code == ERR_OK)
        code = start_threads(gateway, conf, err);
    if (code == ERR_OK)
        code = bus_router_new_bounded(gateway->loop, gateway->endpoint, &queues, on_message,
                                      gateway, &gateway->router, err);
    if (code == ERR_OK)
        code = service_listen(service, gateway->router, conf->gateway_listen, err);
    if (code == ERR_OK)
        code = web_start(gateway, err);
    if (code)
        return code;
    if (gateway->web)
        service_set_http(service, http_server_url(gateway->web));
    models_read_cache(gateway);
    service_set_endpoint(service, gateway->endpoint);
    return directory_new(gateway->loop, conf->dispatcher, &models_directory_ops, gateway,
                         &gateway->directory, err);
}

static void drain(void *self) {
    gateway_t *gateway = self;
    gateway->draining = true;
    if (gateway->web)
        http_server_drain(gateway->web);
    if (gateway->budget.requests == 0)
        service_drained(gateway->service);
}

const service_ops_t gateway_ops = {.program = "gateway",
                                   .about = "Classifies images with the promoted models.",
                                   .joins = true,
                                   .start = start,
                                   .ready = ready,
                                   .metrics = metrics,
                                   .drain = drain,
                                   .stop = stop};
