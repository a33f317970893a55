// The door for ZeroMQ: classify and infer.
#include "base/clock.h"
#include "gateway/engine.h"
#include "gateway_impl.h"
#include "request_impl.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    request_t request;
    bus_message_t to; // peer, type and id of the message that is answered
    char *bytes;      // copy of its attachments, one behind the other
} bus_request_t;

// --- Answers
// --------------------------------------------------------------------------------------

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

static void answer_classify(const bus_request_t *from) {
    const request_t *request = &from->request;
    proto_classification_t *results = mem_zero(request->count, sizeof *results);
    proto_failure_t *failures = mem_zero(request->count, sizeof *failures);
    for (size_t i = 0; i < request->count; i++)
        describe(request, &request->images[i], &results[i], &failures[i]);
    proto_classified_t classified = {.results = {results, request->count}};
    bus_reply(request->gateway->router, &from->to, PROTO_classified, &classified);
    free(results);
    free(failures);
}

static void answer_infer(const bus_request_t *from) {
    const request_t *request = &from->request;
    const engine_t *engine = request->version->engine;
    const char **labels = mem_zero(request->count, sizeof *labels);
    for (size_t i = 0; i < request->count; i++) {
        if (request->images[i].state != IMAGE_CLASSIFIED) { // its numbers overflow
            bus_reply_error(request->gateway->router, &from->to, request->images[i].err);
            free(labels);
            return;
        }
        labels[i] = engine_class(engine, request->images[i].label);
    }
    size_t classes = (size_t)engine_class_count(engine);
    proto_inferred_t inferred = {.model = request->version->name,
                                 .version = request->version->number,
                                 .classes = {engine_classes(engine), classes},
                                 .labels = {labels, request->count}};
    proto_bytes_t rows = {request->probabilities, request->count * classes * sizeof(float)};
    err_t err;
    if (bus_send(request->gateway->router, &from->to.peer, from->to.id, 0, PROTO_inferred,
                 &inferred, &rows, 1, &err) != ERR_OK)
        bus_reply_error(request->gateway->router, &from->to, &err);
    free(labels);
}

static void answer(request_t *request) {
    const bus_request_t *from = (bus_request_t *)request;
    if (from->to.type == PROTO_infer)
        answer_infer(from);
    else
        answer_classify(from);
}

static void refuse(request_t *request, const err_t *err) {
    bus_reply_error(request->gateway->router, &((bus_request_t *)request)->to, err);
}

static void end(request_t *request) {
    bus_request_t *from = (bus_request_t *)request;
    free(from->bytes);
    free(from);
}

static const door_t door = {.answer = answer, .refuse = refuse, .end = end};

// --- Arrival
// --------------------------------------------------------------------------------------

static err_code_t copy_attachments(bus_request_t *from, const bus_message_t *message, size_t size,
                                   err_t *err) {
    err_code_t code = request_charge(&from->request, 0, size, err);
    if (code)
        return code;
    from->bytes = malloc(size + 1);
    if (!from->bytes)
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu bytes", size);
    char *to = from->bytes;
    for (size_t i = 0; i < message->attachment_count; i++) {
        memcpy(to, message->attachments[i].data, message->attachments[i].size);
        to += message->attachments[i].size;
    }
    return ERR_OK;
}

// A file above the limit is refused by itself, so its bytes are not kept.
static err_code_t take_files(bus_request_t *from, const bus_message_t *message, err_t *err) {
    request_t *request = &from->request;
    size_t limit = (size_t)service_conf(request->gateway->service)->image_bytes;
    size_t count = message->attachment_count, size = 0;
    for (size_t i = 0; i < count; i++)
        size += message->attachments[i].size <= limit ? message->attachments[i].size : 0;
    err_code_t code = request_charge(request, count, count * sizeof(image_t) + size, err);
    if (code)
        return code;
    from->bytes = malloc(size + 1);
    if (!from->bytes)
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu bytes of images", size);
    request_images(request, count);
    char *to = from->bytes;
    for (size_t i = 0; i < count; i++) {
        const proto_bytes_t *file = &message->attachments[i];
        request_file(request, i, to, file->size);
        if (file->size > limit)
            continue;
        memcpy(to, file->data, file->size);
        to += file->size;
    }
    return ERR_OK;
}

static err_code_t no_attachment(const char *type, const char *what, err_t *err) {
    err_set(err, ERR_INVALID, "%s without %s", type, what);
    return err_remedy(err, "attach it as a frame behind the body");
}

static err_code_t take_classify(bus_request_t *from, const bus_message_t *message, err_t *err) {
    gateway_t *gateway = from->request.gateway;
    proto_classify_t body;
    err_code_t code = proto_decode(PROTO_classify, message->body.data, message->body.size,
                                   gateway->arena, &body, err);
    if (code)
        return code;
    if (message->attachment_count == 0)
        return no_attachment("classify", "an image", err);
    strncpy(from->request.model, body.model ? body.model : "", REQUEST_MODEL_MAX);
    from->request.wait_ms = (int64_t)body.wait_ms;
    from->request.priority = (uint8_t)body.priority;
    return take_files(from, message, err);
}

static err_code_t take_infer(bus_request_t *from, const bus_message_t *message, err_t *err) {
    request_t *request = &from->request;
    proto_infer_t body;
    err_code_t code = proto_decode(PROTO_infer, message->body.data, message->body.size,
                                   request->gateway->arena, &body, err);
    if (code)
        return code;
    bool is_float = strcmp(body.datatype, "FP32") == 0;
    if (!is_float && strcmp(body.datatype, "UINT8") != 0) {
        err_set(err, ERR_INVALID, "infer: datatype is '%s'", body.datatype);
        return err_remedy(err, "UINT8 for pixels, or FP32 for normalised ones");
    }
    size_t size = 0;
    for (size_t i = 0; i < message->attachment_count; i++)
        size += message->attachments[i].size;
    if (size == 0)
        return no_attachment("infer", "pixels", err);
    strncpy(request->model, body.model ? body.model : "", REQUEST_MODEL_MAX);
    request->wait_ms = (int64_t)body.wait_ms;
    request->priority = (uint8_t)body.priority;
    code = copy_attachments(from, message, size, err);
    request->tensor = (tensor_t){.data = from->bytes, .size = size, .is_float = is_float};
    return code;
}

void bus_door_accept(gateway_t *gateway, const bus_message_t *message) {
    bus_request_t *from = mem_zero(1, sizeof *from);
    err_t err;
    err_code_t code = request_begin(&from->request, gateway, &door, &err);
    if (code) {
        stats_error(&gateway->stats, code);
        bus_reply_error(gateway->router, message, &err);
        free(from);
        return;
    }
    from->to = (bus_message_t){.peer = message->peer, .type = message->type, .id = message->id};
    if (message->deadline_ms)
        from->request.deadline_ms = message->received_ms + (int64_t)message->deadline_ms;
    proto_arena_reset(gateway->arena);
    code = message->type == PROTO_infer ? take_infer(from, message, &err)
                                        : take_classify(from, message, &err);
    if (code)
        request_refuse(&from->request, &err);
    else
        request_go(&from->request);
}
