// Between the files of the gateway that run on the loop's thread.
#ifndef INKLING_GATEWAY_GATEWAY_IMPL_H
#define INKLING_GATEWAY_GATEWAY_IMPL_H

#include "bus/background.h"
#include "gateway/auth.h"
#include "gateway/catalog.h"
#include "gateway/directory.h"
#include "gateway/gateway.h"
#include "gateway/pace.h"
#include "gateway/queue.h"
#include "gateway/stats.h"
#include "gateway/workers.h"
#include "request_impl.h"

#include <stdatomic.h>

struct gateway {
    service_t *service;
    bus_loop_t *loop;
    bus_socket_t *router;
    struct http_server *web;
    auth_t *auth;
    mailbox_t *mailbox;
    workers_t *workers;
    background_t *background;
    catalog_t *catalog;
    directory_t *directory;
    proto_arena_t *arena;
    stats_t stats;
    // requests
    budget_t budget;
    backlog_t backlog;
    pace_t decoding;   // an image each
    uint64_t accepted; // so far
    request_t *parked; // waiting for a version, oldest first
    int parked_timer;
    bool draining;
    // models
    char *cache_path;
    struct json_t *promoted; // as last told: what the cache has
    struct aside *aside;     // names that are not served here, promoted or not
    char *endpoint;          // its own
    bool known;              // the promoted versions are: from the dispatcher, or from the cache
    int retry_timer;
    atomic_bool ending; // what is being fetched is not needed any more
};

// --- bus_door.c
void bus_door_accept(gateway_t *gateway, const bus_message_t *message); // classify, infer

// --- web.c
err_code_t web_start(gateway_t *gateway, err_t *err); // what the setting gateway_http says

// --- request.c
// Parked requests go on if their version is there now.
void request_versions_changed(gateway_t *gateway);
void request_refreshed(gateway_t *gateway, uint64_t ticket, const err_t *err);
void request_shown(gateway_t *gateway, const char *name, uint64_t version, const err_t *err);
// Answers every parked one with err.
void request_refuse_parked(gateway_t *gateway, const err_t *err);

// --- models.c
extern const catalog_ops_t models_catalog_ops;     // arg: gateway_t
extern const directory_ops_t models_directory_ops; // arg: gateway_t
// Bytes that engines may take: as the setting says, or half of what this process can have at most.
uint64_t models_memory(const conf_t *conf);
// Of the choice between versions, another for each gateway of a stack.
uint64_t models_seed(const char *service);
// How many requests each version was given.
void models_render(const gateway_t *gateway, buf_t *out);
// Answers "serving".
void models_tell(gateway_t *gateway, const bus_message_t *message);
// What the cache tells of promoted versions; a missing or damaged one tells nothing.
void models_read_cache(gateway_t *gateway);
void models_end(gateway_t *gateway);
// Stops serving a promoted model here, until it is asked for again or the gateway starts anew.
// ERR_NOT_FOUND: it is not promoted.
err_code_t models_put_aside(gateway_t *gateway, const char *name, bool aside, err_t *err);
// The name behind that one, the first after NULL; NULL behind the last.
const char *models_next_aside(const gateway_t *gateway, const char *name);
bool models_is_aside(gateway_t *gateway, const char *text); // NAME or NAME@VERSION

#endif
