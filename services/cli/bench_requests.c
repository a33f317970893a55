// The requests of bench gateway, whole and ready to be sent.
#include "bench_impl.h"

#include <stdlib.h>
#include <string.h>

#define BYTES_MAX ((size_t)1 << 30) // of all requests

static size_t divisor(size_t a, size_t b) {
    return b ? divisor(b, a % b) : a;
}

static const proto_bytes_t *input_of(const bench_t *bench, size_t request, size_t image) {
    return &bench->inputs[(request * bench->images + image) % bench->input_count];
}

// --- ZeroMQ

static err_code_t add_parcel(bench_t *bench, size_t request, err_t *err) {
    proto_bytes_t *files = mem_zero(bench->images, sizeof *files);
    for (size_t i = 0; i < bench->images; i++)
        files[i] = *input_of(bench, request, i);
    proto_infer_t infer;
    proto_defaults(PROTO_infer, &infer);
    infer.model = bench->question.model;
    infer.wait_ms = bench->question.wait_ms;
    infer.priority = bench->question.priority;
    bool pixels = bench->form == BENCH_PIXELS;
    const void *message = pixels ? (const void *)&infer : &bench->question;
    err_code_t code = bus_parcel_new(
        pixels ? PROTO_infer : PROTO_classify, message,
        (uint64_t)(bench->plan.deadline_ms ? bench->plan.deadline_ms : bench->plan.timeout_ms),
        files, bench->images, &bench->parcels[request], err);
    free(files);
    return code;
}

// --- All

static err_code_t check_size(const bench_t *bench, err_t *err) {
    size_t bytes = 0;
    for (size_t r = 0; r < bench->request_count; r++)
        for (size_t i = 0; i < bench->images; i++)
            bytes += input_of(bench, r, i)->size;
    if (bytes <= BYTES_MAX)
        return ERR_OK;
    err_set(err, ERR_TOO_LARGE, "%zu different requests of %zu images have %zu bytes",
            bench->request_count, bench->images, bytes);
    return err_remedy(err, "give fewer or smaller files, or fewer --images a request");
}

err_code_t bench_requests(bench_t *bench, err_t *err) {
    bench->request_count = bench->input_count / divisor(bench->input_count, bench->images);
    err_code_t code = check_size(bench, err);
    if (bench->http)
        bench->bodies = mem_zero(bench->request_count, sizeof *bench->bodies);
    else
        bench->parcels = mem_zero(bench->request_count, sizeof(bus_parcel_t *));
    for (size_t r = 0; r < bench->request_count && code == ERR_OK; r++)
        code =
            bench->http ? bench_http(bench, r, &bench->bodies[r], err) : add_parcel(bench, r, err);
    return code;
}

void bench_release(bench_t *bench) {
    for (size_t i = 0; bench->parcels && i < bench->request_count; i++)
        bus_parcel_destroy(&bench->parcels[i]);
    for (size_t i = 0; bench->bodies && i < bench->request_count; i++)
        free((void *)bench->bodies[i].data);
    for (size_t i = 0; i < bench->input_count; i++)
        free((void *)bench->inputs[i].data);
    free(bench->parcels);
    free(bench->bodies);
    free(bench->inputs);
    free(bench->endpoint);
    free(bench->token);
}
