// bench gateway: load on the gateway, measured.
#include "base/fs.h"
#include "bench_impl.h"
#include "stack/stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_MAX        4096
#define HTTP_CONNECTIONS 64 // of an open loop, unless told otherwise

// --- Options

static err_code_t read_form(bench_t *bench, err_t *err) {
    static const struct {
        const char *word;
        bool zmq, http;
    } forms[] = {
#define X(form, word, zmq, http) {word, zmq, http},
        BENCH_FORMS(X)
#undef X
    };
    const char *protocol = call_text(&bench->cli->call, "protocol");
    const char *word = call_text(&bench->cli->call, "form");
    bench->http = protocol && strcmp(protocol, "http") == 0;
    for (size_t i = 0; word && i < sizeof forms / sizeof *forms; i++)
        if (strcmp(word, forms[i].word) == 0)
            bench->form = (bench_form_t)i;
    if (bench->http ? forms[bench->form].http : forms[bench->form].zmq)
        return ERR_OK;
    err_set(err, ERR_USAGE, "option --form: %s is a form of HTTP alone", word);
    return err_remedy(err, "add --protocol http, or use --form pixels or image");
}

static err_code_t read_loop(bench_t *bench, err_t *err) {
    const call_t *call = &bench->cli->call;
    load_plan_t *plan = &bench->plan;
    const char *arrivals = call_text(call, "arrivals");
    plan->rate = (double)call_number(call, "rate");
    plan->concurrency = (size_t)call_number(call, "concurrency");
    plan->poisson = arrivals && strcmp(arrivals, "poisson") == 0;
    plan->seed = call_number(call, "seed");
    if (plan->rate > 0 && plan->concurrency > 0) {
        err_set(err, ERR_USAGE, "--rate and --concurrency are two kinds of load");
        return err_remedy(err, "give --rate for requests on a schedule, or --concurrency for a "
                               "number of them at once");
    }
    if (plan->rate == 0 && arrivals) {
        err_set(err, ERR_USAGE, "--arrivals is about the schedule of --rate, which is not given");
        return err_remedy(err, "add --rate, or leave --arrivals out");
    }
    if (plan->rate == 0 && plan->concurrency == 0)
        plan->concurrency = 1;
    plan->warmup_ms = (int64_t)call_number(call, "warmup") * 1000;
    plan->length_ms = (int64_t)call_number(call, "seconds") * 1000;
    plan->deadline_ms = (int64_t)call_number(call, "deadline_ms");
    plan->timeout_ms = (int64_t)call_number(call, "timeout_ms");
    plan->stop = cli_interrupt_flag();
    return ERR_OK;
}

static err_code_t read_connections(bench_t *bench, err_t *err) {
    size_t given = (size_t)call_number(&bench->cli->call, "connections");
    size_t usual = !bench->http              ? 1
                   : bench->plan.concurrency ? bench->plan.concurrency
                                             : HTTP_CONNECTIONS;
    bench->connections = given ? given : usual;
    if (bench->connections > LOAD_CONNECTIONS_MAX ||
        (bench->http && bench->plan.concurrency > bench->connections)) {
        err_set(err, ERR_USAGE, "%zu requests at once need as many connections of HTTP, not %zu",
                bench->plan.concurrency, bench->connections);
        return err_remedy(err, "give at most %d as --concurrency, and leave --connections out",
                          LOAD_CONNECTIONS_MAX);
    }
    return ERR_OK;
}

static err_code_t read_model(bench_t *bench, err_t *err) {
    const call_t *call = &bench->cli->call;
    if (call->count == 0)
        return ERR_OK;
    bench->question.model = call->arguments[0];
    return cli_reference(call->arguments[0], "model", bench->name, &bench->version, err);
}

static err_code_t read_options(bench_t *bench, proto_arena_t *arena, err_t *err) {
    err_code_t code =
        proto_from_json(PROTO_classify, bench->cli->call.message, arena, &bench->question, err);
    bench->images = (size_t)call_number(&bench->cli->call, "images");
    if (code == ERR_OK)
        code = read_model(bench, err);
    if (code == ERR_OK)
        code = read_form(bench, err);
    if (code == ERR_OK)
        code = read_loop(bench, err);
    return code ? code : read_connections(bench, err);
}

// --- Where the gateway is

static err_code_t find_url(bench_t *bench, err_t *err) {
    const char *given = call_text(&bench->cli->call, "url");
    char host[256], port[8];
    if (given) {
        bench->endpoint = mem_dup(given);
        return load_url(given, host, port, err);
    }
    bool ready;
    json_t *status = bench->cli->conf.stack[0] ? NULL : stack_status(&bench->cli->conf, &ready);
    const char *url =
        json_string_value(json_object_get(json_object_get(status, "gateway"), "http"));
    bench->endpoint = url ? mem_dup(url) : NULL;
    json_decref(status);
    if (bench->endpoint)
        return ERR_OK;
    err_set(err, ERR_UNAVAILABLE, "where the gateway speaks HTTP is not known");
    return err_remedy(err, "`inkling status` shows it where the stack is up; or give --url "
                           "http://HOST:PORT");
}

static err_code_t find_token(bench_t *bench, err_t *err) {
    const char *path = call_text(&bench->cli->call, "token_file");
    void *bytes = NULL;
    size_t size = 0;
    if (!path)
        return ERR_OK;
    err_code_t code = fs_read(path, TOKEN_MAX, &bytes, &size, err);
    if (code)
        return code;
    bench->token = bytes;
    bench->token[strcspn(bench->token, "\r\n")] = 0;
    for (const char *c = bench->token; *c; c++)
        if (*c <= ' ' || *c > '~')
            return err_set(err, ERR_INVALID, "%s has no token in its first line", path);
    return ERR_OK;
}

// A gateway that is away is told before anything is made.
static err_code_t greet(bench_t *bench, err_t *err) {
    client_t *client = NULL;
    proto_ping_t ping = {0};
    proto_pong_t pong;
    err_code_t code = cli_connect(bench->cli, bench->endpoint, "the gateway", &client, err);
    if (code == ERR_OK)
        code = client_request(client, PROTO_ping, &ping, NULL, 0, PROTO_pong, &pong,
                              bench->cli->arena, cli_patience_ms(bench->cli), NULL, err);
    client_destroy(&client);
    return code;
}

static err_code_t find_gateway(bench_t *bench, err_t *err) {
    if (bench->http) {
        err_code_t code = find_url(bench, err);
        return code ? code : find_token(bench, err);
    }
    bench->endpoint = mem_dup(bench->cli->conf.gateway);
    return greet(bench, err);
}

// --- The run

static err_code_t run_load(bench_t *bench, load_result_t *result, err_t *err) {
    load_t *load = NULL;
    load_wire_t *wire = NULL;
    bench->plan.requests = bench->request_count;
    err_code_t code = load_new(&bench->plan, bench_judge, bench->judge, &load, err);
    if (code == ERR_OK)
        code = bench->http ? load_wire_http(load, bench->endpoint, bench->connections,
                                            bench->bodies, &wire, err)
                           : load_wire_zmq(load, bench->endpoint, bench->connections,
                                           bench->parcels, &wire, err);
    if (code == ERR_OK)
        load_run(load, wire, result);
    load_wire_destroy(&wire);
    load_destroy(&load);
    return code;
}

static int exit_code_of(const bench_t *bench, const load_result_t *result) {
    if (cli_interrupted())
        return CLI_STOPPED;
    bool nothing = result->answered == 0;
    bool errors = result->kind_count > 0 && !call_flag(&bench->cli->call, "allow_errors");
    return nothing || errors ? 1 : 0;
}

err_code_t verb_bench_gateway(cli_t *cli, int *exit_code, err_t *err) {
    bench_t bench = {.cli = cli};
    proto_arena_t *arena = proto_arena_new(); // the question outlives the answers
    load_result_t *result = mem_zero(1, sizeof *result);
    cli_catch_interrupts();
    err_code_t code = read_options(&bench, arena, err);
    if (code == ERR_OK)
        code = find_gateway(&bench, err);
    if (code == ERR_OK)
        code = bench_inputs(&bench, err);
    if (code == ERR_OK)
        code = bench_requests(&bench, err);
    if (code == ERR_OK) {
        bench.judge = bench_judge_new(&bench, call_flag(&cli->call, "check"));
        code = run_load(&bench, result, err);
    }
    if (code == ERR_OK) {
        bench_report(&bench, result);
        *exit_code = exit_code_of(&bench, result);
    }
    bench_judge_destroy(&bench.judge);
    bench_release(&bench);
    free(result);
    proto_arena_destroy(&arena);
    return code;
}
