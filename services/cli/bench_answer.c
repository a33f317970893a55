// Answers to the requests of bench gateway, read whole: who answered, and what, image by image.
#include "bench_answer_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FNV_BASIS UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

static bench_digest_t mix(bench_digest_t digest, const void *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        digest = (digest ^ ((const unsigned char *)bytes)[i]) * FNV_PRIME;
    return digest;
}

// 0 means none.
static bench_digest_t digest_of(const char *label, const void *numbers, size_t size) {
    bench_digest_t digest = mix(mix(FNV_BASIS, label, strlen(label) + 1), numbers, size);
    return digest ? digest : 1;
}

static void begin(bench_reading_t *reading, size_t rows) {
    if (rows > reading->room) {
        reading->digests = mem_grow(reading->digests, rows * sizeof *reading->digests);
        reading->room = rows;
    }
    memset(reading->digests, 0, rows * sizeof *reading->digests);
    reading->rows = rows;
    reading->good = 0;
    reading->version = 0;
    reading->model[0] = reading->kind[0] = reading->message[0] = 0;
}

void bench_reading_release(bench_reading_t *reading) {
    free(reading->digests);
    *reading = (bench_reading_t){.version = 0};
}

void bench_put_error(bench_reading_t *reading, const char *kind, const char *message) {
    snprintf(reading->kind, sizeof reading->kind, "%s", kind);
    snprintf(reading->message, sizeof reading->message, "%s", message ? message : "");
}

err_code_t bench_put_version(bench_reading_t *reading, const char *model, uint64_t version,
                             err_t *err) {
    bool other = reading->version != version || strcmp(reading->model, model) != 0;
    if (reading->model[0] && other)
        return err_set(err, ERR_PROTOCOL, "two versions in one answer");
    snprintf(reading->model, sizeof reading->model, "%s", model);
    reading->version = version;
    return ERR_OK;
}

void bench_put_row(bench_reading_t *reading, size_t row, const char *label, const void *numbers,
                   size_t size) {
    reading->digests[row] = digest_of(label, numbers, size);
    reading->good++;
}

err_code_t bench_wrong_count(size_t got, size_t wanted, err_t *err) {
    return err_set(err, ERR_PROTOCOL, "%zu answers for %zu images", got, wanted);
}

// --- ZeroMQ

static err_code_t read_classified(const load_answer_t *answer, size_t images, proto_arena_t *arena,
                                  bench_reading_t *reading, err_t *err) {
    proto_classified_t body;
    err_code_t code =
        proto_decode(PROTO_classified, answer->body.data, answer->body.size, arena, &body, err);
    if (code)
        return code;
    if (body.results.count != images)
        return bench_wrong_count(body.results.count, images, err);
    for (size_t i = 0; i < images; i++) {
        const proto_classification_t *result = &body.results.items[i];
        if (result->error) {
            bench_put_error(reading, result->error->code, result->error->message);
            continue;
        }
        code = bench_put_version(reading, result->model, result->version, err);
        if (code)
            return code;
        bench_put_row(reading, i, result->label, &result->probability, sizeof result->probability);
    }
    return ERR_OK;
}

static err_code_t read_inferred(const load_answer_t *answer, size_t images, proto_arena_t *arena,
                                bench_reading_t *reading, err_t *err) {
    proto_inferred_t body;
    err_code_t code =
        proto_decode(PROTO_inferred, answer->body.data, answer->body.size, arena, &body, err);
    if (code)
        return code;
    size_t row = body.classes.count * sizeof(float);
    if (body.labels.count != images)
        return bench_wrong_count(body.labels.count, images, err);
    if (answer->attachment_count != 1 || answer->attachments[0].size != images * row)
        return err_set(err, ERR_PROTOCOL, "its probabilities are not %zu rows of %zu", images,
                       body.classes.count);
    code = bench_put_version(reading, body.model, body.version, err);
    for (size_t i = 0; i < images && code == ERR_OK; i++)
        bench_put_row(reading, i, body.labels.items[i],
                      (const char *)answer->attachments[0].data + i * row, row);
    return code;
}

static err_code_t read_message(const load_answer_t *answer, size_t images, proto_arena_t *arena,
                               bench_reading_t *reading, err_t *err) {
    if (answer->type == PROTO_classified)
        return read_classified(answer, images, arena, reading, err);
    if (answer->type == PROTO_inferred)
        return read_inferred(answer, images, arena, reading, err);
    if (answer->type != PROTO_error)
        return err_set(err, ERR_PROTOCOL, "the answer is %s", proto_message(answer->type)->wire);
    proto_error_t error;
    err_code_t code =
        proto_decode(PROTO_error, answer->body.data, answer->body.size, arena, &error, err);
    if (code == ERR_OK)
        bench_put_error(reading, error.code, error.message);
    return code;
}

err_code_t bench_read(bench_form_t form, size_t images, const load_answer_t *answer,
                      proto_arena_t *arena, bench_reading_t *reading, err_t *err) {
    proto_arena_reset(arena);
    begin(reading, images);
    if (answer->reply)
        return bench_read_http(form, images, answer, reading, err);
    return read_message(answer, images, arena, reading, err);
}
