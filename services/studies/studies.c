#include "studies/studies.h"

#include "base/clock.h"
#include "base/log.h"
#include "proto/json.h"
#include "studies_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PEER_QUEUE 256 // messages of one client that wait on their way in or out
#define TICK_MS    250
#define DRAIN_MS   5000

static const metric_info_t infos[] = {
#define X(...) METRIC_INFO(stats_t, __VA_ARGS__)
    STUDIES_METRICS(X)
#undef X
};

// --- Answers
// --------------------------------------------------------------------------------------

// A space that is wrong came over the wire, not from the command line.
void studies_refuse(studies_t *studies, const bus_peer_t *peer, uint64_t id, const err_t *err) {
    err_t told = *err;
    if (told.code == ERR_USAGE)
        told.code = ERR_INVALID;
    metric_add(&studies->stats.refused, 1);
    bus_reply_error_to(studies->router, peer, id, &told);
}

static void refuse(studies_t *studies, const bus_message_t *message, const err_t *err) {
    studies_refuse(studies, &message->peer, message->id, err);
}

// --- Requests
// -------------------------------------------------------------------------------------

typedef union {
    proto_study_create_t create;
    proto_study_ask_t ask;
    proto_study_tell_t tell;
    proto_study_report_t report;
    proto_study_prune_t prune;
    proto_study_best_t best;
    proto_study_show_t show;
    proto_study_stop_t stop;
    proto_study_continue_t go_on;
    proto_study_change_t change;
} body_t;

// An ask without a key gets one, lest two services decide the same for two who ask.
static err_code_t key_of(const proto_study_ask_t *ask, char *text, size_t size, err_t *err) {
    unsigned char random[16];
    snprintf(text, size, "%s", ask->key);
    if (text[0])
        return ERR_OK;
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return err_set_errno(err, "no random key");
    text[0] = '~';
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(text + 1 + 2 * i, 3, "%02x", random[i]);
    return ERR_OK;
}

static err_code_t number_hint(err_t *err) {
    return err_remedy(err, "a trial that came to no finite number is told with `failed`, a text "
                           "that says why, instead of a value");
}

static err_code_t read_tell(const proto_study_tell_t *tell, request_t *request, err_t *err) {
    bool value = tell->value != PROTO_NO_VALUE, failed = tell->failed[0] != 0;
    request->trial = tell->trial;
    request->value = tell->value;
    snprintf(request->text, sizeof request->text, "%s", tell->failed);
    if (value != failed)
        return ERR_OK;
    err_set(err, ERR_INVALID, "study.tell: %s",
            value ? "value and failed are given" : "value is missing");
    return number_hint(err);
}

static err_code_t read_create(const proto_study_create_t *create, request_t *request, err_t *err) {
    request->about = proto_map_json(create->about);
    if (!request->about)
        return err_set(err, ERR_INVALID, "study.create: about is no map");
    return deed_check_about(request->about, err);
}

static err_code_t read_body(proto_type_t type, const body_t *body, request_t *request, err_t *err) {
    switch (type) {
    case PROTO_study_create:
        return read_create(&body->create, request, err);
    case PROTO_study_ask:
        return key_of(&body->ask, request->text, sizeof request->text, err);
    case PROTO_study_tell:
        return read_tell(&body->tell, request, err);
    case PROTO_study_report:
        request->trial = body->report.trial;
        request->step = body->report.step;
        request->value = body->report.value;
        return ERR_OK;
    case PROTO_study_prune:
        request->trial = body->prune.trial;
        return ERR_OK;
    case PROTO_study_show:
        request->step = body->show.after;
        request->limit = body->show.limit;
        request->model = body->show.model;
        request->curves = body->show.curves;
        request->slices = body->show.slices;
        return ERR_OK;
    case PROTO_study_stop:
        snprintf(request->text, sizeof request->text, "%s", body->stop.reason);
        return ERR_OK;
    case PROTO_study_change:
        request->param = json_array();
        for (size_t i = 0; i < body->change.param.count; i++)
            json_array_append_new(request->param, json_string(body->change.param.items[i]));
        return ERR_OK;
    default:
        return ERR_OK;
    }
}

static bool has_room(const studies_t *studies, err_t *err) {
    if (studies->draining)
        err_set(err, ERR_UNAVAILABLE, "the studies service is going down");
    else if (studies->requests >= REQUESTS_MAX)
        err_set(err, ERR_FULL, "%d requests wait for an answer already", REQUESTS_MAX);
    else
        return true;
    err_remedy(err, "ask again in a moment");
    return false;
}

static void accept_request(studies_t *studies, const bus_message_t *message) {
    err_t err = {0};
    body_t body;
    metric_add(&studies->stats.requests, 1);
    if (!has_room(studies, &err)) {
        refuse(studies, message, &err);
        return;
    }
    proto_arena_reset(studies->arena);
    request_t *request = mem_zero(1, sizeof *request);
    int64_t wait_ms = message->deadline_ms && message->deadline_ms < REQUEST_MS
                          ? (int64_t)message->deadline_ms
                          : REQUEST_MS;
    request->peer = message->peer;
    request->id = message->id;
    request->type = message->type;
    request->until_ms = message->received_ms + wait_ms;
    err_code_t code = proto_decode(message->type, message->body.data, message->body.size,
                                   studies->arena, &body, &err);
    if (code && (message->type == PROTO_study_tell || message->type == PROTO_study_report) &&
        strstr(err.message, ": value "))
        number_hint(&err);
    if (code == ERR_OK)
        code = read_body(message->type, &body, request, &err);
    if (code == ERR_OK) {
        // The name is the first field of all of them.
        books_take(studies, body.ask.study, request);
    } else {
        refuse(studies, message, &err);
        request_free(request);
    }
}

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    studies_t *studies = arg;
    err_t err;
    if (message->type == PROTO_ping) {
        proto_pong_t pong = {.service = service_name(studies->service), .version = INKLING_VERSION};
        bus_reply(socket, message, PROTO_pong, &pong);
    } else if (proto_message(message->type)->sender == PROTO_BY_STUDY_CLIENT) {
        accept_request(studies, message);
    } else {
        err_set(&err, ERR_UNSUPPORTED, "the studies service does not take %s",
                proto_message(message->type)->wire);
        err_remedy(&err, "it takes study.create, ask, tell, report, prune, best, show, stop, "
                         "continue and change; everything else goes to the dispatcher");
        refuse(studies, message, &err);
    }
}

// --- Life
// -----------------------------------------------------------------------------------------

static bool ready(void *self, char *detail, size_t size) {
    studies_t *studies = self;
    bool heard = archive_heard(studies->archive);
    snprintf(detail, size, "%s%zu studies in memory, %zu trials",
             heard ? "" : "the dispatcher does not answer; ", map_count(studies->books),
             studies->trials);
    return heard;
}

static void metrics(void *self, buf_t *out) {
    studies_t *studies = self;
    metric_set(&studies->stats.waiting, (double)studies->requests);
    metric_set(&studies->stats.loaded, (double)map_count(studies->books));
    metric_set(&studies->stats.trials, (double)studies->trials);
    metric_render(infos, sizeof infos / sizeof *infos, &studies->stats, out);
}

static void on_tick(void *arg) {
    studies_t *studies = arg;
    books_expire(studies);
    if (studies->draining && studies->requests == 0)
        service_drained(studies->service);
}

static void stop(void *self) {
    studies_t *studies = self;
    bus_loop_timer_cancel(studies->loop, studies->timer);
    studies->ending = true;
    background_destroy(&studies->background);
    mailbox_destroy(&studies->mailbox);
    archive_destroy(&studies->archive);
    if (studies->books)
        books_free(studies);
    bus_socket_destroy(&studies->router);
    proto_arena_destroy(&studies->arena);
    free(studies);
}

static err_code_t start(service_t *service, const void *arg, void **self, err_t *err) {
    (void)arg;
    studies_t *studies = mem_zero(1, sizeof *studies);
    *self = studies; // stop() takes half of it, too
    studies->service = service;
    studies->loop = service_loop(service);
    studies->arena = proto_arena_new();
    studies->books = map_new();
    const conf_t *conf = service_conf(service);
    err_code_t code = mailbox_new(studies->loop, &studies->mailbox, err);
    if (code == ERR_OK)
        code = background_new(studies->mailbox, &studies->background, err);
    if (code == ERR_OK)
        code = bus_router_new_bounded(studies->loop, conf->studies,
                                      &(bus_queues_t){PEER_QUEUE, PEER_QUEUE}, on_message, studies,
                                      &studies->router, err);
    if (code == ERR_OK)
        code = service_listen(service, studies->router, conf->studies_listen, err);
    if (code == ERR_OK)
        code = archive_new(studies->loop, conf->dispatcher, &studies->archive, err);
    if (code)
        return code;
    studies->timer = bus_loop_timer(studies->loop, TICK_MS, TICK_MS, on_tick, studies);
    service_set_endpoint(service, conf->studies);
    return ERR_OK;
}

// What is being done is stored and answered, if that can be done soon.
static void drain(void *self) {
    studies_t *studies = self;
    studies->draining = true;
    books_hurry(studies, clock_mono_ms() + DRAIN_MS);
    on_tick(studies);
}

const service_ops_t studies_ops = {
    .program = "studies",
    .about = "Suggests what to try next, for functions that run elsewhere.",
    .start = start,
    .ready = ready,
    .metrics = metrics,
    .drain = drain,
    .stop = stop};
