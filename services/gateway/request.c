// A request from its message to its answer.
#include "base/clock.h"
#include "gateway/engine.h"
#include "gateway_impl.h"

#include <stdlib.h>
#include <string.h>

#define MODEL_TEXT_MAX 96
#define LOOKUP_MIN_MS  1000 // whatever wait_ms says, the dispatcher gets so long to answer

typedef enum { ASKED_NOTHING, ASKED_REFRESH, ASKED_SHOW } asked_t;

struct request {
    gateway_t *gateway;
    request_t *next;  // while parked
    bus_message_t to; // peer, type and id of the message that is answered
    int64_t received_us, deadline_ms, wait_ms, parked_ms; // wait_ms: allowed, parked_ms: since
    char model[MODEL_TEXT_MAX + 1];
    uint64_t number; // among all requests: what is chosen for it is chosen once
    asked_t asked;
    uint64_t ticket;
    version_t *version; // held, once the images are on their way
    uint64_t charged;   // bytes of the budget
    image_t *images;
    float *probabilities;  // a row per image
    size_t count, missing; // missing: not back yet
};

// --- Answers and ends
// -----------------------------------------------------------------------------

static void free_images(image_t *images, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(images[i].bytes);
        free(images[i].err);
    }
    free(images);
}

static void request_end(request_t *request) {
    gateway_t *gateway = request->gateway;
    metric_observe(&gateway->stats.request, (double)(clock_mono_us() - request->received_us) / 1e6);
    if (request->version)
        catalog_release(gateway->catalog, request->version);
    budget_give(&gateway->budget, request->count, request->charged);
    free_images(request->images, request->count);
    free(request->probabilities);
    free(request);
    if (gateway->draining && gateway->budget.requests == 0)
        service_drained(gateway->service);
}

// Not while it is parked.
static void refuse(request_t *request, const err_t *err) {
    stats_error(&request->gateway->stats, err->code);
    bus_reply_error(request->gateway->router, &request->to, err);
    request_end(request);
}

static void describe(const request_t *request, const image_t *image, proto_classification_t *result,
                     proto_failure_t *failure) {
    const version_t *version = request->version;
    *result = (proto_classification_t){.label = "", .model = "", .error = NULL};
    if (image->state == IMAGE_CLASSIFIED) {
        result->label = engine_class(version->engine, image->label);
        result->probability = (double)image->probabilities[image->label];
        result->model = version->name;
        result->version = version->number;
        return;
    }
    *failure = (proto_failure_t){.code = err_name(image->err->code),
                                 .message = image->err->message,
                                 .remedy = image->err->remedy,
                                 .retryable = err_retryable(image->err->code)};
    result->error = failure;
}

static void answer(request_t *request) {
    gateway_t *gateway = request->gateway;
    proto_classification_t *results = mem_zero(request->count, sizeof *results);
    proto_failure_t *failures = mem_zero(request->count, sizeof *failures);
    for (size_t i = 0; i < request->count; i++)
        describe(request, &request->images[i], &results[i], &failures[i]);
    proto_classified_t classified = {.results = {results, request->count}};
    bus_reply(gateway->router, &request->to, PROTO_classified, &classified);
    free(results);
    free(failures);
}

static void finish(request_t *request) {
    bool expired = false;
    for (size_t i = 0; i < request->count; i++)
        expired = expired || request->images[i].state == IMAGE_EXPIRED;
    if (expired) {
        err_t err;
        err_set(&err, ERR_TIMEOUT, "the request's deadline passed before its images were done");
        err_remedy(&err, "allow more time, or send fewer images at once");
        refuse(request, &err);
        return;
    }
    answer(request);
    request_end(request);
}

static void image_back(void *arg) {
    image_t *image = arg;
    request_t *request = image->owner;
    stats_t *stats = &request->gateway->stats;
    if (image->state == IMAGE_CLASSIFIED) {
        metric_add(&stats->images, 1);
        metric_observe(&stats->queue, (double)image->queue_us / 1e6);
        metric_observe(&stats->decode, (double)image->decode_us / 1e6);
        metric_observe(&stats->compute, (double)image->compute_us / 1e6);
    } else if (image->state == IMAGE_REFUSED) {
        stats_error(stats, image->err->code);
    }
    if (--request->missing == 0)
        finish(request);
}

// --- On its way
// -----------------------------------------------------------------------------------

static void dispatch(request_t *request, version_t *version) {
    gateway_t *gateway = request->gateway;
    int64_t now = clock_mono_ms();
    err_t err;
    size_t classes = (size_t)engine_class_count(version->engine);
    uint64_t bytes = request->count * (prep_recipe_bytes(engine_recipe(version->engine)) +
                                       classes * sizeof(float));
    if (budget_grow(&gateway->budget, bytes, &err) != ERR_OK) {
        refuse(request, &err);
        return;
    }
    request->charged += bytes;
    request->probabilities = mem_zero(request->count * classes, sizeof(float));
    request->version = version;
    catalog_hold(version, now);
    image_t **live = mem_zero(request->count, sizeof *live);
    for (size_t i = 0; i < request->count; i++) {
        image_t *image = &request->images[i];
        image->engine = version->engine;
        image->probabilities = request->probabilities + i * classes;
        if (image->state == IMAGE_WAITING)
            live[request->missing++] = image;
    }
    if (request->missing)
        workers_push(gateway->workers, live, request->missing);
    else
        finish(request); // all were refused on sight
    free(live);
}

static void not_found(const request_t *request, err_t *err) {
    if (request->model[0] == 0) {
        err_set(err, ERR_NOT_FOUND, "no model is promoted");
        err_remedy(err,
                   "train one: the first version of a model is promoted by itself; or `inkling "
                   "promote MODEL@VERSION`");
        return;
    }
    err_set(err, ERR_NOT_FOUND, "no version of a model %s is promoted", request->model);
    err_remedy(err, "`inkling models` lists models and versions; name one as MODEL@VERSION, or "
                    "promote it");
}

// Asks the dispatcher for what the catalog does not know.
static err_code_t ask(request_t *request, const catalog_found_t *found, err_t *err) {
    gateway_t *gateway = request->gateway;
    if (found->number == 0) {
        request->asked = ASKED_REFRESH;
        request->ticket = directory_refresh(gateway->directory);
        return ERR_OK;
    }
    request->asked = ASKED_SHOW;
    return directory_show(gateway->directory, found->name, found->number, err);
}

static int64_t parked_until(const request_t *request) {
    int64_t wait_ms = request->wait_ms;
    if (request->asked != ASKED_NOTHING && wait_ms < LOOKUP_MIN_MS)
        wait_ms = LOOKUP_MIN_MS;
    int64_t until = request->parked_ms + wait_ms;
    return request->deadline_ms && request->deadline_ms < until ? request->deadline_ms : until;
}

static void waited_enough(const request_t *request, err_t *err) {
    const char *model = request->model[0] ? request->model : "the model promoted last";
    if (request->asked == ASKED_NOTHING) {
        err_set(err, ERR_TIMEOUT, "%s is still being loaded", model);
        err_remedy(err,
                   "ask again, or allow a longer wait: wait_ms, --wait-ms of `inkling classify`");
        return;
    }
    err_set(err, ERR_UNAVAILABLE,
            "%s is not known here, and the dispatcher, which may know it, does not answer", model);
    err_remedy(err, "is the stack up? `inkling status` tells");
}

static catalog_answer_t find(const request_t *request, catalog_found_t *found, err_t *err) {
    return catalog_find(request->gateway->catalog, request->model, request->number, clock_mono_ms(),
                        found, err);
}

// True: it waits on (or begins to). False: it is gone: on its way, or answered.
static bool waits(request_t *request) {
    catalog_found_t found;
    err_t err;
    switch (find(request, &found, &err)) {
    case CATALOG_READY:
        dispatch(request, found.version);
        return false;
    case CATALOG_LOADING:
        request->asked = ASKED_NOTHING;
        break;
    case CATALOG_UNKNOWN:
        if (request->asked == ASKED_NOTHING && ask(request, &found, &err) != ERR_OK) {
            refuse(request, &err);
            return false;
        }
        break;
    default:
        refuse(request, &err);
        return false;
    }
    if (parked_until(request) > clock_mono_ms())
        return true;
    waited_enough(request, &err);
    refuse(request, &err);
    return false;
}

// --- Parked
// ---------------------------------------------------------------------------------------

static void on_parked_timer(void *arg) {
    request_versions_changed(arg);
}

static void arm_parked(gateway_t *gateway) {
    bus_loop_timer_cancel(gateway->loop, gateway->parked_timer);
    if (!gateway->parked)
        return;
    int64_t due_ms = INT64_MAX;
    for (const request_t *request = gateway->parked; request; request = request->next)
        if (parked_until(request) < due_ms)
            due_ms = parked_until(request);
    gateway->parked_timer =
        bus_loop_timer(gateway->loop, due_ms - clock_mono_ms(), 0, on_parked_timer, gateway);
}

// Runs check over the parked requests: those for which it is false have gone.
typedef bool (*parked_check_fn)(request_t *request, const void *arg);

static void sift(gateway_t *gateway, parked_check_fn check, const void *arg) {
    request_t *list = gateway->parked, **last = &gateway->parked;
    gateway->parked = NULL;
    while (list) {
        request_t *request = list;
        list = list->next;
        if (!check(request, arg))
            continue;
        request->next = NULL;
        *last = request;
        last = &request->next;
    }
    arm_parked(gateway);
}

static bool check_version(request_t *request, const void *arg) {
    (void)arg;
    return waits(request);
}

void request_versions_changed(gateway_t *gateway) {
    sift(gateway, check_version, NULL);
}

typedef struct {
    uint64_t ticket, version;
    const char *name;
    const err_t *err;
} news_t;

static bool check_refreshed(request_t *request, const void *arg) {
    const news_t *news = arg;
    if (request->asked != ASKED_REFRESH || request->ticket > news->ticket)
        return true;
    catalog_found_t found;
    err_t err;
    if (find(request, &found, &err) != CATALOG_UNKNOWN)
        return waits(request);
    if (news->err)
        err = *news->err;
    else
        not_found(request, &err);
    refuse(request, &err);
    return false;
}

void request_refreshed(gateway_t *gateway, uint64_t ticket, const err_t *err) {
    sift(gateway, check_refreshed, &(news_t){.ticket = ticket, .err = err});
}

static bool check_shown(request_t *request, const void *arg) {
    const news_t *news = arg;
    catalog_found_t found;
    err_t err;
    if (request->asked != ASKED_SHOW)
        return true;
    catalog_answer_t known = find(request, &found, &err);
    if (found.number != news->version || strcmp(found.name, news->name) != 0)
        return true;
    if (known != CATALOG_UNKNOWN || !news->err)
        return waits(request);
    refuse(request, news->err);
    return false;
}

void request_shown(gateway_t *gateway, const char *name, uint64_t version, const err_t *err) {
    sift(gateway, check_shown, &(news_t){.name = name, .version = version, .err = err});
}

static bool check_none(request_t *request, const void *arg) {
    refuse(request, arg);
    return false;
}

void request_refuse_parked(gateway_t *gateway, const err_t *err) {
    sift(gateway, check_none, err);
}

static void park(request_t *request) {
    gateway_t *gateway = request->gateway;
    request_t **last = &gateway->parked;
    while (*last)
        last = &(*last)->next;
    *last = request;
    request->next = NULL;
    arm_parked(gateway);
}

// --- Arrival
// --------------------------------------------------------------------------------------

// The image's file, or why it is refused on sight.
static err_code_t take_file(image_t *image, const proto_bytes_t *file, size_t limit, err_t *err) {
    if (file->size > limit) {
        image->err = mem_alloc(sizeof *image->err);
        image->state = IMAGE_REFUSED;
        err_set(image->err, ERR_TOO_LARGE, "%zu bytes; the limit is %zu", file->size, limit);
        err_remedy(image->err, "send a smaller file, or raise image_bytes");
        return ERR_OK;
    }
    image->bytes = malloc(file->size + 1);
    if (!image->bytes)
        return err_set(err, ERR_NO_MEMORY, "no memory for an image of %zu bytes", file->size);
    memcpy(image->bytes, file->data, file->size);
    image->size = file->size;
    return ERR_OK;
}

static err_code_t take_images(request_t *request, const bus_message_t *message, size_t limit,
                              err_t *err) {
    err_code_t code = ERR_OK;
    for (size_t i = 0; i < request->count && code == ERR_OK; i++) {
        image_t *image = &request->images[i];
        image->mail = (mail_t){.read = image_back, .arg = image};
        image->owner = request;
        image->deadline_ms = request->deadline_ms;
        code = take_file(image, &message->attachments[i], limit, err);
        if (image->state == IMAGE_REFUSED)
            stats_error(&request->gateway->stats, image->err->code);
    }
    return code;
}

static uint64_t memory_of(const bus_message_t *message, size_t limit) {
    uint64_t bytes = sizeof(request_t);
    for (size_t i = 0; i < message->attachment_count; i++) {
        size_t size = message->attachments[i].size;
        bytes += sizeof(image_t) + (size <= limit ? size : sizeof(err_t));
    }
    return bytes;
}

static err_code_t check(gateway_t *gateway, const bus_message_t *message, proto_classify_t *body,
                        err_t *err) {
    proto_arena_reset(gateway->arena);
    err_code_t code = proto_decode(PROTO_classify, message->body.data, message->body.size,
                                   gateway->arena, body, err);
    if (code)
        return code;
    if (gateway->draining) {
        err_set(err, ERR_UNAVAILABLE, "the gateway is going down");
        return err_remedy(err, "send it again in a moment"), ERR_UNAVAILABLE;
    }
    if (message->attachment_count == 0) {
        err_set(err, ERR_INVALID, "classify without an image");
        return err_remedy(err, "attach each image file as a frame behind the body"), ERR_INVALID;
    }
    return ERR_OK;
}

static request_t *request_new(gateway_t *gateway, const bus_message_t *message,
                              const proto_classify_t *body, uint64_t charged) {
    request_t *request = mem_zero(1, sizeof *request);
    request->gateway = gateway;
    request->number = gateway->accepted++;
    request->to = (bus_message_t){.peer = message->peer, .type = message->type, .id = message->id};
    request->received_us = clock_mono_us();
    request->parked_ms = message->received_ms;
    request->wait_ms = (int64_t)body->wait_ms;
    if (message->deadline_ms)
        request->deadline_ms = message->received_ms + (int64_t)message->deadline_ms;
    strncpy(request->model, body->model ? body->model : "", MODEL_TEXT_MAX);
    request->charged = charged;
    request->count = message->attachment_count;
    request->images = mem_zero(request->count, sizeof *request->images);
    return request;
}

void request_accept(gateway_t *gateway, const bus_message_t *message) {
    size_t limit = (size_t)service_conf(gateway->service)->image_bytes;
    proto_classify_t body;
    err_t err;
    metric_add(&gateway->stats.requests, 1);
    err_code_t code = check(gateway, message, &body, &err);
    uint64_t charged = memory_of(message, limit);
    if (code == ERR_OK)
        code = budget_take(&gateway->budget, message->attachment_count, charged, &err);
    if (code) {
        stats_error(&gateway->stats, code);
        bus_reply_error(gateway->router, message, &err);
        return;
    }
    request_t *request = request_new(gateway, message, &body, charged);
    if (take_images(request, message, limit, &err) != ERR_OK)
        refuse(request, &err);
    else if (waits(request))
        park(request);
}
