// bench gateway: what its parts share. A bench_t is made of the command line, gets its inputs, then
// its requests, and judges the answers.
#ifndef INKLING_CLI_BENCH_IMPL_H
#define INKLING_CLI_BENCH_IMPL_H

#include "bus/parcel.h"
#include "cli_impl.h"
#include "load/load.h"

// word, over ZeroMQ, over HTTP: what a request carries
#define BENCH_FORMS(X)                                                                             \
    X(IMAGE, "image", true, true)   /* encoded files: classify, POST /v1/classify */               \
    X(PIXELS, "pixels", true, true) /* UINT8 tensors: infer, /v2 with binary tensors */            \
    X(JSON, "json", false, true)    /* UINT8 tensors as JSON numbers: /v2 */                       \
    X(BYTES, "bytes", false, true)  /* encoded files as BYTES of MODEL.image: /v2, binary */

typedef enum {
#define X(form, word, zmq, http) BENCH_##form,
    BENCH_FORMS(X)
#undef X
} bench_form_t;

// One image's answer in 64 bits: its label and the bits of its probabilities.
typedef uint64_t bench_digest_t;

// An answer as it was read. Zero it to begin; bench_reading_release() frees what it has grown.
typedef struct {
    char model[PROTO_NAME_MAX + 1];
    uint64_t version;
    bench_digest_t *digests;     // of rows; 0: that image has none
    size_t rows, room, good;     // good: images with an answer
    char kind[64], message[512]; // the error, of one image at least; kind "": none
} bench_reading_t;

typedef struct bench_judge bench_judge_t;

typedef struct {
    cli_t *cli;
    proto_classify_t question;     // its options, too, and the model as it was given
    char name[PROTO_NAME_MAX + 1]; // of the model, "" for the one promoted last
    uint64_t version;              // asked for; 0: none
    bool http;
    bench_form_t form;
    char *endpoint;        // of ZeroMQ, or the URL
    char *token;           // for HTTP; NULL: none
    size_t images;         // in a request
    size_t side, channels; // of pixels
    proto_bytes_t *inputs; // files, or rows of pixels
    size_t input_count;
    size_t request_count;   // request r has the inputs r × images … modulo input_count
    bus_parcel_t **parcels; // ZeroMQ
    proto_bytes_t *bodies;  // HTTP: whole requests
    load_plan_t plan;
    size_t connections;
    bench_judge_t *judge;
} bench_t;

// --- bench_inputs.c: files, images that are drawn, or pixels of the model's shape
err_code_t bench_inputs(bench_t *bench, err_t *err);

// --- bench_requests.c
err_code_t bench_requests(bench_t *bench, err_t *err);
void bench_release(bench_t *bench);

// --- bench_http.c: a whole request, malloc'ed
err_code_t bench_http(const bench_t *bench, size_t request, proto_bytes_t *whole, err_t *err);

// --- bench_answer.c
// ERR_PROTOCOL: it is no answer to such a request. An error answer is one: its kind says so.
err_code_t bench_read(bench_form_t form, size_t images, const load_answer_t *answer,
                      proto_arena_t *arena, bench_reading_t *reading, err_t *err);
void bench_reading_release(bench_reading_t *reading);

// --- bench_judge.c
typedef struct {
    char model[PROTO_NAME_MAX + 1];
    uint64_t version, images; // images: that it answered
    bench_digest_t *digests;  // of the inputs; 0: not seen yet
} bench_version_t;

bench_judge_t *bench_judge_new(const bench_t *bench, bool check);
void bench_judge_destroy(bench_judge_t **judge);
void bench_judge(void *judge, const load_answer_t *answer, load_verdict_t *verdict);
const bench_version_t *bench_versions(const bench_judge_t *judge, size_t *count);

// --- bench_report.c
void bench_report(const bench_t *bench, const load_result_t *result);

#endif
