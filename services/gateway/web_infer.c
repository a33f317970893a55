// POST /v2/models/{m}[/versions/{v}]/infer
#include "base/clock.h"
#include "gateway/engine.h"
#include "web_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADER_LENGTH "Inference-Header-Content-Length"
#define ANSWER_MAX    (256u << 20)

// An image without an answer is the whole request's failure: tensors have no room for errors.
static const image_t *first_refused(const request_t *request) {
    for (size_t i = 0; i < request->count; i++)
        if (request->images[i].state != IMAGE_CLASSIFIED)
            return &request->images[i];
    return NULL;
}

static void say(web_call_t *call) {
    const request_t *request = &call->request;
    const engine_t *engine = request->version->engine;
    const image_t *refused = first_refused(request);
    if (refused) {
        err_t err = *refused->err;
        err_context(&err, "%s: element %zu", call->files ? "image" : "pixels",
                    (size_t)(refused - request->images));
        web_error(call, &err);
        return;
    }
    int *labels = mem_alloc(request->count * sizeof *labels);
    for (size_t i = 0; i < request->count; i++)
        labels[i] = request->images[i].label;
    char model[PROTO_NAME_MAX + 8];
    snprintf(model, sizeof model, "%s%s", request->version->name, call->files ? ".image" : "");
    const oip_answer_t answer = {.model = model,
                                 .version = request->version->number,
                                 .rows = request->count,
                                 .classes = (size_t)engine_class_count(engine),
                                 .probabilities = request->probabilities,
                                 .class_names = engine_classes(engine),
                                 .labels = labels};
    buf_t body;
    buf_init(&body, ANSWER_MAX);
    int64_t json_size;
    oip_write(&call->oip, &answer, &body, &json_size);
    free(labels);
    if (json_size < 0 || body.failed) {
        web_json(call, 200, &body);
        return;
    }
    char field[64];
    snprintf(field, sizeof field, HEADER_LENGTH ": %" PRId64, json_size);
    size_t size = body.size;
    web_answer(call, "application/octet-stream", buf_take(&body), size,
               (const char *const[]){field, NULL});
}

static err_code_t header_length(const web_call_t *call, int64_t *length, err_t *err) {
    const char *text = http_field(call->http, HEADER_LENGTH);
    *length = -1;
    if (!text)
        return ERR_OK;
    char *end;
    *length = strtoll(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == 0 && *length < INT64_MAX)
        return ERR_OK;
    err_set(err, ERR_INVALID, "%s is '%.40s'", HEADER_LENGTH, text);
    return err_remedy(err, "it is the size in bytes of the JSON in front of the binary data");
}

static err_code_t take_input(web_call_t *call, err_t *err) {
    request_t *request = &call->request;
    oip_body_t body = {.images = call->files, .charge = web_charge, .arg = call};
    body.body = http_body(call->http, &body.size);
    err_code_t code = header_length(call, &body.json_size, err);
    if (code == ERR_OK)
        code = oip_read(&body, &call->oip, err);
    if (code)
        return code;
    const oip_request_t *oip = &call->oip;
    if (oip->priority)
        request->priority = (uint8_t)oip->priority;
    if (oip->timeout_us)
        request->deadline_ms = clock_mono_ms() + (oip->timeout_us + 999) / 1000;
    if (!call->files) {
        request->tensor = (tensor_t){.data = oip->tensor,
                                     .size = oip->tensor_size,
                                     .is_float = oip->is_float,
                                     .shaped = true};
        for (int i = 0; i < 4; i++)
            request->tensor.shape[i] = oip->shape[i];
        return ERR_OK;
    }
    size_t count = (size_t)oip->shape[0];
    code = request_charge(request, count, count * sizeof(image_t), err);
    if (code)
        return code;
    request_images(request, count);
    for (size_t i = 0; i < count; i++)
        request_file(request, i, oip->files[i].data, oip->files[i].size);
    return ERR_OK;
}

void web_infer(web_call_t *call) {
    web_go(call, take_input, say);
}
