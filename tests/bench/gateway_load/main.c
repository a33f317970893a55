// The load generator of `inkling bench gateway` (common/load) against any server: one request,
// again and again. An answer is good if it comes: over HTTP with the status 200, over ZeroMQ with
// any message but an error. tests/bench/gateway runs it on echoes and on other people's servers.
//
//   load zmq ENDPOINT FILE        the message infer with the file as its attachment
//   load http URL PATH TYPE FILE  POST of the file
// with, before these words: --concurrency N | --rate N, --connections N, --seconds N, --warmup N,
// and
// --json-bytes N: the Inference-Header-Content-Length of a file of JSON and tensors. Writes one
// JSON document.
#include "base/fs.h"
#include "bus/parcel.h"
#include "load/load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (64u << 20)

typedef struct {
    load_plan_t plan;
    size_t connections, json_bytes; // 0: the usual number; no such header
} given_t;

static _Noreturn void die(const err_t *err) {
    fprintf(stderr, "load: %s\n", err->message);
    exit(1);
}

static void judge(void *arg, const load_answer_t *answer, load_verdict_t *verdict) {
    static char kind[32];
    (void)arg;
    verdict->images = 1;
    if (answer->reply && answer->reply->status != 200) {
        snprintf(kind, sizeof kind, "HTTP %d", answer->reply->status);
        *verdict = (load_verdict_t){.kind = kind};
    } else if (!answer->reply && answer->type == PROTO_error) {
        *verdict = (load_verdict_t){.kind = "error"};
    }
}

static void make_parcel(const void *bytes, size_t size, bus_parcel_t **parcel) {
    proto_infer_t message;
    err_t err;
    proto_bytes_t attachment = {bytes, size};
    proto_defaults(PROTO_infer, &message);
    message.model = "";
    if (bus_parcel_new(PROTO_infer, &message, 0, &attachment, 1, parcel, &err) != ERR_OK)
        die(&err);
}

static void make_request(const given_t *given, char **words, const void *bytes, size_t size,
                         buf_t *request) {
    buf_init(request, FILE_MAX + 4096);
    buf_printf(request,
               "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: %s\r\nContent-Length: %zu\r\n",
               words[2], words[3], size);
    if (given->json_bytes)
        buf_printf(request, "Inference-Header-Content-Length: %zu\r\n", given->json_bytes);
    buf_puts(request, "\r\n");
    buf_append(request, bytes, size);
}

static void print_hist(const char *name, const hist_t *hist) {
    printf(", \"%s\": {\"p50\": %.6g, \"p99\": %.6g, \"max\": %.6g}", name,
           (double)hist_quantile(hist, 0.5) / 1e6, (double)hist_quantile(hist, 0.99) / 1e6,
           (double)hist_quantile(hist, 1) / 1e6);
}

static void print(const load_result_t *result) {
    double seconds = result->seconds > 0 ? result->seconds : 1;
    printf("{\"seconds\": %.6g, \"offered\": %llu, \"answered\": %llu, \"failed\": %llu, "
           "\"per_second\": %.6g",
           result->seconds, (unsigned long long)result->offered,
           (unsigned long long)result->answered, (unsigned long long)result->failed,
           (double)result->images / seconds);
    print_hist("latency_ms", &result->latency);
    printf(", \"errors\": [");
    for (size_t i = 0; i < result->kind_count; i++)
        printf("%s\"%s: %llu\"", i ? ", " : "", result->kinds[i].name,
               (unsigned long long)result->kinds[i].count);
    puts("]}");
}

static int options(int argc, char **argv, given_t *given) {
    static const struct option known[] = {{"concurrency", required_argument, NULL, 'c'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"connections", required_argument, NULL, 'n'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"warmup", required_argument, NULL, 'w'},
                                          {"json-bytes", required_argument, NULL, 'j'},
                                          {NULL, 0, NULL, 0}};
    load_plan_t *plan = &given->plan;
    *plan =
        (load_plan_t){.length_ms = 10000, .warmup_ms = 1000, .timeout_ms = 10000, .requests = 1};
    for (int c; (c = getopt_long(argc, argv, "+", known, NULL)) != -1;) {
        long value = c == '?' ? 0 : atol(optarg);
        if (value <= 0 && !(c == 'w' && strcmp(optarg, "0") == 0))
            return -1;
        if (c == 'c')
            plan->concurrency = (size_t)value;
        else if (c == 'r')
            plan->rate = (double)value;
        else if (c == 'n')
            given->connections = (size_t)value;
        else if (c == 'j')
            given->json_bytes = (size_t)value;
        else if (c == 's')
            plan->length_ms = value * 1000;
        else
            plan->warmup_ms = value * 1000;
    }
    return (plan->rate > 0) != (plan->concurrency > 0) ? optind : -1;
}

static void run(const given_t *given, char **words, int count) {
    load_t *load = NULL;
    load_wire_t *wire = NULL;
    load_result_t *result = mem_zero(1, sizeof *result);
    bus_parcel_t *parcel = NULL;
    buf_t request;
    err_t err;
    void *bytes = NULL;
    size_t size = 0;
    bool http = count == 5;
    if (fs_read(words[count - 1], FILE_MAX, &bytes, &size, &err) != ERR_OK ||
        load_new(&given->plan, judge, NULL, &load, &err) != ERR_OK)
        die(&err);
    if (http)
        make_request(given, words, bytes, size, &request);
    else
        make_parcel(bytes, size, &parcel);
    proto_bytes_t whole = http ? (proto_bytes_t){request.data, request.size} : (proto_bytes_t){0};
    err_code_t code = http
                          ? load_wire_http(load, words[1], given->connections, &whole, &wire, &err)
                          : load_wire_zmq(load, words[1], given->connections, &parcel, &wire, &err);
    if (code)
        die(&err);
    load_run(load, wire, result);
    print(result);
    load_wire_destroy(&wire);
    load_destroy(&load);
    bus_parcel_destroy(&parcel);
    if (http)
        buf_release(&request);
    free(bytes);
    free(result);
}

int main(int argc, char **argv) {
    given_t given = {0};
    int first = options(argc, argv, &given), count = first < 0 ? 0 : argc - first;
    bool zmq = count == 3 && strcmp(argv[first], "zmq") == 0;
    bool http = count == 5 && strcmp(argv[first], "http") == 0;
    if (!zmq && !http) {
        fprintf(stderr,
                "load [--concurrency N | --rate N] [--connections N] [--seconds N] [--warmup N] "
                "[--json-bytes N] zmq ENDPOINT FILE | http URL PATH TYPE FILE\n");
        return 2;
    }
    if (given.connections == 0)
        given.connections = zmq ? 1 : given.plan.concurrency ? given.plan.concurrency : 64;
    run(&given, argv + first, count);
    return 0;
}
