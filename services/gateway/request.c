// A request from its message to its answer.
#include "request_impl.h"

#include "base/clock.h"
#include "gateway/engine.h"
#include "gateway_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LOOKUP_MIN_MS 1000 // whatever wait_ms says, the dispatcher gets so long to answer

// --- Answers and ends
// -----------------------------------------------------------------------------

// Gives everything back, the request too.
static void release(request_t *request) {
    gateway_t *gateway = request->gateway;
    if (request->version)
        catalog_release(gateway->catalog, request->version);
    budget_give(&gateway->budget, request->charged_images, request->charged);
    for (size_t i = 0; i < request->count; i++)
        free(request->images[i].err);
    free(request->images);
    free(request->probabilities);
    request->door->end(request);
    if (gateway->draining && gateway->budget.requests == 0)
        service_drained(gateway->service);
}

static void request_end(request_t *request) {
    metric_observe(&request->gateway->stats.request,
                   (double)(clock_mono_us() - request->received_us) / 1e6);
    release(request);
}

// Not while it is parked.
static void refuse(request_t *request, const err_t *err) {
    stats_error(&request->gateway->stats, err->code);
    request->door->refuse(request, err);
    request_end(request);
}

// Why it has no answer at all; ERR_OK: it has one.
static err_code_t outcome(const request_t *request, err_t *err) {
    bool late = request->deadline_ms && clock_mono_ms() > request->deadline_ms;
    for (size_t i = 0; i < request->count; i++) {
        if (late || request->images[i].state == IMAGE_EXPIRED) {
            err_set(err, ERR_TIMEOUT, "the request's deadline passed before its images were done");
            return err_remedy(err, "allow more time, or send fewer images at once");
        }
        if (request->images[i].state == IMAGE_CANCELLED)
            return err_set(err, ERR_CANCELLED, "nobody waits for the answer any more");
    }
    return ERR_OK;
}

static void finish(request_t *request) {
    err_t err;
    if (outcome(request, &err) != ERR_OK) {
        refuse(request, &err);
        return;
    }
    request->door->answer(request);
    request_end(request);
}

static void image_back(void *arg) {
    image_t *image = arg;
    request_t *request = image->owner;
    stats_t *stats = &request->gateway->stats;
    backlog_add(&request->gateway->backlog, request->priority, -image->cost_us);
    if (image->state == IMAGE_CLASSIFIED) {
        metric_add(&stats->images, 1);
        metric_observe(&stats->queue, (double)image->queue_us / 1e6);
        metric_observe(&stats->decode, (double)image->decode_us / 1e6);
        metric_observe(&stats->compute, (double)image->compute_us / 1e6);
        int64_t back_us = clock_mono_us() - image->computed_us; // its way to here, where cores lack
        pace_note(engine_pace(request->version->engine), image->compute_us + back_us, image->batch);
        if (image->decode_us)
            pace_note(&request->gateway->decoding, image->decode_us, 1);
    } else if (image->state == IMAGE_REFUSED) {
        stats_error(stats, image->err->code);
        if (!image->err->remedy[0] &&
            (image->err->code == ERR_INVALID || image->err->code == ERR_CORRUPT))
            err_remedy(image->err, "send a whole image: JPEG, PNG, WebP, GIF or TIFF");
        if (!image->err->remedy[0] && image->err->code == ERR_TOO_LARGE)
            err_remedy(image->err, "send a smaller image, or raise image_pixels");
    }
    if (--request->missing == 0)
        finish(request);
}

// --- On its way
// -----------------------------------------------------------------------------------

static void expected_shape(const prep_recipe_t *recipe, int64_t shape[4]) {
    shape[1] = shape[2] = recipe->size;
    shape[3] = recipe->channels;
}

// A tensor is cut into its rows, which are images, now that the version tells how large they are.
static err_code_t cut_tensor(request_t *request, const version_t *version, err_t *err) {
    const prep_recipe_t *recipe = engine_recipe(version->engine);
    const tensor_t *tensor = &request->tensor;
    size_t row = prep_recipe_bytes(recipe) * (tensor->is_float ? sizeof(float) : 1);
    int64_t want[4];
    expected_shape(recipe, want);
    const int64_t *shape = tensor->shape;
    if (tensor->shaped ? shape[1] != want[1] || shape[2] != want[2] || shape[3] != want[3]
                       : tensor->size % row != 0) {
        if (tensor->shaped)
            err_set(err, ERR_INVALID,
                    "pixels has the shape [%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "]",
                    shape[0], shape[1], shape[2], shape[3]);
        else
            err_set(err, ERR_INVALID, "the %zu bytes of pixels are no whole rows of %zu",
                    tensor->size, row);
        return err_remedy(err,
                          "%s@%" PRIu64 " takes [n,%" PRId64 ",%" PRId64 ",%" PRId64
                          "]: images, height, width, channels",
                          version->name, version->number, want[1], want[2], want[3]);
    }
    size_t count = tensor->size / row;
    err_code_t code = request_charge(request, count, count * sizeof(image_t), err);
    if (code)
        return code;
    request_images(request, count);
    for (size_t i = 0; i < count; i++) {
        const char *data = (const char *)tensor->data + i * row;
        if (tensor->is_float)
            request->images[i].input = data;
        else
            request->images[i].pixels = data;
    }
    return ERR_OK;
}

// Memory for what decoding and computing will make.
static err_code_t make_room(request_t *request, const version_t *version, err_t *err) {
    size_t classes = (size_t)engine_class_count(version->engine);
    uint64_t pixels = request->tensor.data ? 0 : prep_recipe_bytes(engine_recipe(version->engine));
    uint64_t bytes = request->count * (pixels + classes * sizeof(float));
    err_code_t code = request_charge(request, 0, bytes, err);
    if (code)
        return code;
    request->probabilities = malloc(request->count * classes * sizeof(float));
    return request->probabilities ? ERR_OK
                                  : err_set(err, ERR_NO_MEMORY, "no memory for the answer");
}

#define LIVE_AT_ONCE 64
#define ON_THE_WAY   8 // this part of the time left is for reading and sending

// What its images are expected to take, and whether that can be done in time behind all that waits.
// When nothing waits it is begun whatever was expected: that is how it is found out anew.
static err_code_t plan(request_t *request, err_t *err) {
    gateway_t *gateway = request->gateway;
    const pace_t *pace = engine_pace(request->version->engine);
    size_t lanes = workers_lanes(gateway->workers);
    bool files = !request->tensor.data;
    int64_t cost_us = (int64_t)(pace->each_us + (files ? gateway->decoding.each_us : 0));
    int64_t need_us = pace_need_us(pace) + (files ? pace_need_us(&gateway->decoding) : 0);
    int64_t wait_us = backlog_wait_us(&gateway->backlog, request->priority, lanes);
    int64_t left_us = request->deadline_ms * 1000 - clock_mono_us();
    int64_t way_us = left_us / ON_THE_WAY;
    left_us -= way_us;
    for (size_t i = 0; i < request->count; i++) {
        if (request->deadline_ms)
            request->images[i].deadline_ms = request->deadline_ms - way_us / 1000;
        request->images[i].cost_us = cost_us;
        request->images[i].need_us = wait_us == 0            ? 0
                                     : need_us < left_us / 2 ? need_us
                                                             : left_us / 2;
    }
    int64_t own_us = cost_us * (int64_t)((request->count + lanes - 1) / lanes - 1) + need_us;
    if (!request->deadline_ms || wait_us == 0 || wait_us + own_us < left_us)
        return ERR_OK;
    err_set(err, ERR_FULL,
            "it would take about %" PRId64 " ms, as others wait as well, and its deadline is in "
            "%" PRId64 " ms",
            (wait_us + own_us) / 1000, left_us / 1000);
    return err_remedy(err, "send it again in a moment, allow more time, or send fewer at once");
}

static void push_live(request_t *request) {
    image_t *live[LIVE_AT_ONCE];
    size_t count = 0;
    for (size_t i = 0; i < request->count; i++)
        request->missing += request->images[i].state == IMAGE_WAITING;
    for (size_t i = 0; i < request->count; i++) {
        if (request->images[i].state == IMAGE_WAITING) {
            live[count++] = &request->images[i];
            backlog_add(&request->gateway->backlog, request->priority, request->images[i].cost_us);
        }
        if (count == LIVE_AT_ONCE || (count > 0 && i + 1 == request->count)) {
            workers_push(request->gateway->workers, live, count);
            count = 0;
        }
    }
}

static void dispatch(request_t *request, version_t *version) {
    err_t err;
    if (request->look) {
        request->version = version;
        catalog_hold(version, clock_mono_ms());
        finish(request);
        return;
    }
    err_code_t code = request->tensor.data ? cut_tensor(request, version, &err) : ERR_OK;
    if (code == ERR_OK)
        code = make_room(request, version, &err);
    if (code) {
        refuse(request, &err);
        return;
    }
    request->version = version;
    catalog_hold(version, clock_mono_ms());
    size_t classes = (size_t)engine_class_count(version->engine);
    for (size_t i = 0; i < request->count; i++) {
        request->images[i].engine = version->engine;
        request->images[i].probabilities = request->probabilities + i * classes;
    }
    if (plan(request, &err) != ERR_OK) {
        refuse(request, &err);
        return;
    }
    push_live(request);
    if (request->missing == 0)
        finish(request); // all were refused on sight
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
    if (request->deadline_ms && clock_mono_ms() >= request->deadline_ms) {
        err_set(err, ERR_TIMEOUT, "the request's deadline passed before %s was there", model);
        err_remedy(err, "allow more time, or send it again in a moment");
        return;
    }
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
        request->no_version = found.version != NULL;
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
        request->parked = false;
        if (!check(request, arg))
            continue;
        request->parked = true;
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
    request->parked = true;
    arm_parked(gateway);
}

static bool check_cancelled(request_t *request, const void *arg) {
    if (request != arg)
        return true;
    err_t err;
    err_set(&err, ERR_CANCELLED, "nobody waits for the answer any more");
    refuse(request, &err);
    return false;
}

void request_cancel(request_t *request) {
    atomic_store(&request->cancelled, true);
    if (request->parked)
        sift(request->gateway, check_cancelled, request);
}

// --- Arrival
// --------------------------------------------------------------------------------------

err_code_t request_begin(request_t *request, gateway_t *gateway, const door_t *door, err_t *err) {
    *request = (request_t){.gateway = gateway, .door = door, .received_us = clock_mono_us()};
    if (gateway->draining) {
        err_set(err, ERR_UNAVAILABLE, "the gateway is going down");
        return err_remedy(err, "send it again in a moment");
    }
    metric_add(&gateway->stats.requests, 1);
    err_code_t code = budget_take(&gateway->budget, 0, sizeof *request, err);
    if (code)
        return code;
    request->number = gateway->accepted++;
    request->charged = sizeof *request;
    return ERR_OK;
}

err_code_t request_charge(request_t *request, size_t images, uint64_t bytes, err_t *err) {
    err_code_t code = budget_grow(&request->gateway->budget, images, bytes, err);
    if (code)
        return code;
    request->charged_images += images;
    request->charged += bytes;
    return ERR_OK;
}

void request_images(request_t *request, size_t count) {
    ERR_ASSERT(!request->images);
    request->count = count;
    request->images = mem_zero(count, sizeof *request->images);
    for (size_t i = 0; i < count; i++) {
        image_t *image = &request->images[i];
        image->mail = (mail_t){.read = image_back, .arg = image};
        image->owner = request;
        image->deadline_ms = request->deadline_ms;
        image->cancelled = &request->cancelled;
        image->priority = request->priority;
    }
}

void request_file(request_t *request, size_t index, const void *data, size_t size) {
    size_t limit = (size_t)service_conf(request->gateway->service)->image_bytes;
    image_t *image = &request->images[index];
    if (size <= limit && size > 0) {
        image->bytes = data;
        image->size = size;
        return;
    }
    image->err = mem_alloc(sizeof *image->err);
    image->state = IMAGE_REFUSED;
    if (size == 0) {
        err_set(image->err, ERR_INVALID, "the file is empty");
        err_remedy(image->err, "send the bytes of an image file");
    } else {
        err_set(image->err, ERR_TOO_LARGE, "%zu bytes; the limit is %zu", size, limit);
        err_remedy(image->err, "send a smaller file, or raise image_bytes");
    }
    stats_error(&request->gateway->stats, image->err->code);
}

void request_go(request_t *request) {
    ERR_ASSERT(request->look || (request->tensor.data ? !request->images : request->count > 0));
    if (models_is_aside(request->gateway, request->model)) {
        err_t err;
        err_set(&err, ERR_UNAVAILABLE, "%s was unloaded on this gateway", request->model);
        err_remedy(&err, "load it again: POST /v2/repository/models/NAME/load");
        refuse(request, &err);
        return;
    }
    request->parked_ms = clock_mono_ms();
    if (waits(request))
        park(request);
}

void request_refuse(request_t *request, const err_t *err) {
    refuse(request, err);
}

void request_drop(request_t *request) {
    release(request);
}
