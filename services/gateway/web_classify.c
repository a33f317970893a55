// POST /v1/classify[/{m}]: an image file, or several as multipart/form-data.
#include "gateway/engine.h"
#include "web_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (64u << 20)

// --- The answer, as `inkling classify --json` gives it
// --------------------------------------------

static void put_refused(const image_t *image, buf_t *out) {
    buf_printf(out, "\"error\":{\"code\":\"%s\",\"message\":", err_name(image->err->code));
    buf_json_string(out, image->err->message);
    buf_puts(out, ",\"remedy\":");
    buf_json_string(out, image->err->remedy);
    buf_puts(out, "}}");
}

static void put_result(const web_call_t *call, size_t index, buf_t *out) {
    const request_t *request = &call->request;
    const image_t *image = &request->images[index];
    buf_puts(out, index ? ",{" : "{");
    if (index < call->name_count) {
        buf_puts(out, "\"file\":");
        buf_json_string(out, call->names[index]);
        buf_puts(out, ",");
    }
    if (image->state != IMAGE_CLASSIFIED) {
        put_refused(image, out);
        return;
    }
    buf_puts(out, "\"label\":");
    buf_json_string(out, engine_class(request->version->engine, image->label));
    buf_printf(out, ",\"probability\":%.9g,\"model\":\"%s\",\"version\":%" PRIu64 "}",
               (double)image->probabilities[image->label], request->version->name,
               request->version->number);
}

static void say(web_call_t *call) {
    const request_t *request = &call->request;
    if (request->count == 1 && request->images[0].state != IMAGE_CLASSIFIED) {
        web_error(call, request->images[0].err);
        return;
    }
    buf_t body;
    buf_init(&body, ANSWER_MAX);
    buf_puts(&body, "[");
    for (size_t i = 0; i < request->count; i++)
        put_result(call, i, &body);
    buf_puts(&body, "]\n");
    web_json(call, 200, &body);
}

// --- The input
// ------------------------------------------------------------------------------------

typedef struct {
    web_call_t *call;
    oip_file_t *files; // in the body
    size_t count, room;
} parts_t;

static err_code_t on_part(void *arg, const http_part_t *part, err_t *err) {
    parts_t *parts = arg;
    web_call_t *call = parts->call;
    err_code_t code = request_charge(&call->request, 1, sizeof(image_t), err);
    if (code)
        return code;
    if (parts->count == parts->room) {
        parts->room = parts->room ? 2 * parts->room : 16;
        parts->files = mem_grow(parts->files, parts->room * sizeof *parts->files);
        call->names = mem_grow(call->names, parts->room * sizeof *call->names);
    }
    call->names[call->name_count++] = mem_dup(part->has_file ? part->file : part->name);
    parts->files[parts->count++] = (oip_file_t){part->data, part->size};
    return ERR_OK;
}

static err_code_t take_parts(web_call_t *call, const char *type, err_t *err) {
    request_t *request = &call->request;
    parts_t parts = {.call = call};
    size_t size;
    const char *body = http_body(call->http, &size);
    err_code_t code = http_parts(type, body, size, on_part, &parts, err);
    if (code == ERR_OK && parts.count == 0) {
        err_set(err, ERR_INVALID, "the multipart body has no part");
        err_remedy(err, "send each image as a part of its own");
        code = err->code;
    }
    if (code == ERR_OK) {
        request_images(request, parts.count);
        for (size_t i = 0; i < parts.count; i++)
            request_file(request, i, parts.files[i].data, parts.files[i].size);
    }
    free(parts.files);
    return code;
}

static err_code_t take_input(web_call_t *call, err_t *err) {
    request_t *request = &call->request;
    const char *type = http_field(call->http, "Content-Type");
    if (call->files) {
        err_set(err, ERR_NOT_FOUND, "/v1/classify takes the model's own name");
        return err_remedy(err, "leave .image out");
    }
    if (type && strncasecmp(type, "multipart/form-data", 19) == 0)
        return take_parts(call, type, err);
    size_t size;
    const void *body = http_body(call->http, &size);
    err_code_t code = request_charge(request, 1, sizeof(image_t), err);
    if (code)
        return code;
    request_images(request, 1);
    request_file(request, 0, body, size);
    return ERR_OK;
}

void web_classify(web_call_t *call) {
    web_go(call, take_input, say);
}
