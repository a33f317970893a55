// Requests of bench gateway over HTTP: the head, and a body of one of the forms.
#include "bench_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX (256u << 20)
#define BOUNDARY "inkling-bench-4f1d8c2a9e6b0753"

static const proto_bytes_t *input_of(const bench_t *bench, size_t request, size_t image) {
    return &bench->inputs[(request * bench->images + image) % bench->input_count];
}

// --- Bodies. json_bytes: of the JSON in front of binary tensors; 0: there is none

static void put_parts(const bench_t *bench, size_t request, buf_t *body) {
    for (size_t i = 0; i < bench->images; i++) {
        const proto_bytes_t *file = input_of(bench, request, i);
        buf_printf(body,
                   "--" BOUNDARY "\r\nContent-Disposition: form-data; name=\"image\"; "
                   "filename=\"%zu\"\r\nContent-Type: application/octet-stream\r\n\r\n",
                   i);
        buf_append(body, file->data, file->size);
        buf_puts(body, "\r\n");
    }
    buf_puts(body, "--" BOUNDARY "--\r\n");
}

static void put_tensor_head(const bench_t *bench, buf_t *body) {
    if (bench->form == BENCH_BYTES)
        buf_printf(body, "{\"inputs\":[{\"name\":\"image\",\"datatype\":\"BYTES\",\"shape\":[%zu]",
                   bench->images);
    else
        buf_printf(
            body,
            "{\"inputs\":[{\"name\":\"pixels\",\"datatype\":\"UINT8\",\"shape\":[%zu,%zu,%zu,%zu]",
            bench->images, bench->side, bench->side, bench->channels);
}

static void put_numbers(const bench_t *bench, size_t request, buf_t *body) {
    put_tensor_head(bench, body);
    buf_puts(body, ",\"data\":");
    char separator = '[';
    for (size_t i = 0; i < bench->images; i++) {
        const proto_bytes_t *pixels = input_of(bench, request, i);
        for (size_t j = 0; j < pixels->size; j++) {
            buf_printf(body, "%c%u", separator, ((const unsigned char *)pixels->data)[j]);
            separator = ',';
        }
    }
    buf_puts(body, "]}]}");
}

// The binary tensor extension: BYTES have their sizes in front, four bytes each.
static void put_binary(const bench_t *bench, size_t request, buf_t *body, size_t *json_bytes) {
    bool files = bench->form == BENCH_BYTES;
    size_t size = 0;
    for (size_t i = 0; i < bench->images; i++)
        size += input_of(bench, request, i)->size + (files ? 4 : 0);
    put_tensor_head(bench, body);
    buf_printf(body,
               ",\"parameters\":{\"binary_data_size\":%zu}}],"
               "\"parameters\":{\"binary_data_output\":true}}",
               size);
    *json_bytes = body->size;
    for (size_t i = 0; i < bench->images; i++) {
        const proto_bytes_t *input = input_of(bench, request, i);
        const unsigned char head[4] = {
            (unsigned char)input->size, (unsigned char)(input->size >> 8),
            (unsigned char)(input->size >> 16), (unsigned char)(input->size >> 24)};
        buf_append(body, head, files ? sizeof head : 0);
        buf_append(body, input->data, input->size);
    }
}

static const char *put_body(const bench_t *bench, size_t request, buf_t *body, size_t *json_bytes) {
    switch (bench->form) {
    case BENCH_IMAGE:
        if (bench->images == 1) { // the gateway goes by the content, whatever kind of image it is
            const proto_bytes_t *file = input_of(bench, request, 0);
            buf_append(body, file->data, file->size);
            return "image/*";
        }
        put_parts(bench, request, body);
        return "multipart/form-data; boundary=" BOUNDARY;
    case BENCH_JSON:
        put_numbers(bench, request, body);
        return "application/json";
    default:
        put_binary(bench, request, body, json_bytes);
        return "application/octet-stream";
    }
}

// --- Heads

static void put_path(const bench_t *bench, buf_t *head) {
    const proto_classify_t *question = &bench->question;
    if (bench->form == BENCH_IMAGE) {
        buf_printf(head, "/v1/classify%s%s", question->model[0] ? "/" : "", question->model);
    } else {
        buf_printf(head, "/v2/models/%s%s", bench->name,
                   bench->form == BENCH_BYTES ? ".image" : "");
        if (bench->version)
            buf_printf(head, "/versions/%llu", (unsigned long long)bench->version);
        buf_puts(head, "/infer");
    }
    buf_printf(head, "?wait_ms=%llu&priority=%llu", (unsigned long long)question->wait_ms,
               (unsigned long long)question->priority);
    if (bench->plan.deadline_ms)
        buf_printf(head, "&deadline_ms=%lld", (long long)bench->plan.deadline_ms);
}

err_code_t bench_http(const bench_t *bench, size_t request, proto_bytes_t *whole, err_t *err) {
    buf_t head, body;
    char host[256], port[8];
    size_t json_bytes = 0;
    err_code_t code = load_url(bench->endpoint, host, port, err);
    if (code)
        return code;
    buf_init(&head, BODY_MAX + 16384);
    buf_init(&body, BODY_MAX);
    const char *type = put_body(bench, request, &body, &json_bytes);
    bool v6 = strchr(host, ':') != NULL;
    buf_puts(&head, "POST ");
    put_path(bench, &head);
    buf_printf(&head, " HTTP/1.1\r\nHost: %s%s%s:%s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n",
               v6 ? "[" : "", host, v6 ? "]" : "", port, type, body.size);
    if (json_bytes)
        buf_printf(&head, "Inference-Header-Content-Length: %zu\r\n", json_bytes);
    if (bench->token)
        buf_printf(&head, "Authorization: Bearer %s\r\n", bench->token);
    buf_puts(&head, "\r\n");
    buf_append(&head, body.data, body.size);
    if (body.failed || head.failed)
        code = err_set(err, ERR_TOO_LARGE, "a request of %zu images is above %u bytes",
                       bench->images, BODY_MAX);
    buf_release(&body);
    size_t size = head.size;
    char *bytes = buf_take(&head);
    if (code)
        free(bytes);
    else
        *whole = (proto_bytes_t){bytes, size};
    return code;
}
