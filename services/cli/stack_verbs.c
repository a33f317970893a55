// up, down, status.
#include "cli_impl.h"
#include "remote_impl.h"
#include "service/question.h"
#include "stack/stack.h"
#include "table_impl.h"

#include <stdlib.h>
#include <string.h>

#define REMOTE_MS 2000 // for each service of a remote stack

// --- status

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void put_number(table_t *table, const json_t *value) {
    if (json_is_integer(value))
        table_cell(table, SAY_PLAIN, "%lld", (long long)json_integer_value(value));
    else
        table_cell(table, SAY_DIM, "-");
}

static void put_service(table_t *table, const char *name, const json_t *service) {
    bool ready = json_is_true(json_object_get(service, "ready"));
    bool alive = json_is_integer(json_object_get(service, "pid"));
    const json_t *uptime = json_object_get(service, "uptime_ms");
    char age[32] = "-";
    if (json_is_integer(uptime))
        say_duration((double)json_integer_value(uptime), age);
    table_cell(table, SAY_BOLD, "%s", name);
    table_cell(table, ready ? SAY_GOOD : SAY_BAD, "%s",
               ready   ? "ready"
               : alive ? "not ready"
                       : "away");
    put_number(table, json_object_get(service, "pid"));
    table_cell(table, SAY_PLAIN, "%s", age);
    put_number(table, json_object_get(service, "restarts"));
    table_cell(table, SAY_DIM, "%s", text_of(service, "detail"));
}

static void print_status(const json_t *status) {
    table_t *table = table_new("service|state|>process|>up for|>restarts|detail");
    put_service(table, "redis", json_object_get(status, "redis"));
    size_t i;
    const json_t *service, *services = json_object_get(status, "services");
    json_array_foreach(services, i, service) put_service(table, text_of(service, "name"), service);
    table_print(&table, NULL);
    bool supervised =
        json_is_integer(json_object_get(json_object_get(status, "supervisor"), "pid"));
    const char *http = text_of(json_object_get(status, "gateway"), "http");
    if (*http)
        printf("\nHTTP %s", http);
    printf("\nhome %s%s\n", text_of(status, "home"),
           supervised ? "" : "; no supervisor: nothing is restarted when it dies");
}

static void show_status(json_t *status) {
    if (say_is_json()) {
        say_json(status);
    } else {
        print_status(status);
        json_decref(status);
    }
}

// A service that answers may be anybody's, a container's too: then this is no stack that is down.
static bool anybody_answers(const json_t *status) {
    size_t i;
    const json_t *service;
    json_array_foreach(json_object_get(status, "services"), i, service) {
        if (json_is_integer(json_object_get(service, "uptime_ms")))
            return true;
    }
    return false;
}

// --- status of a remote stack, and of one service

static void print_remote(const char *stack, const remote_t *remote) {
    table_t *table = table_new("service|state|address|detail");
    for (int i = 0; i < REMOTE_COUNT; i++) {
        const remote_service_t *service = &remote->services[i];
        table_cell(table, SAY_BOLD, "%s", service->name);
        table_cell(table, service->ready ? SAY_GOOD : SAY_BAD, "%s",
                   service->ready     ? "ready"
                   : service->answers ? "not ready"
                                      : "away");
        table_cell(table, SAY_PLAIN, "%s", service->endpoint);
        table_cell(table, SAY_DIM, "%s", remote_detail(service));
    }
    table_print(&table, NULL);
    printf("\nstack %s", stack);
    if (remote->workers >= 0)
        printf(", %lld worker%s", (long long)remote->workers, remote->workers == 1 ? "" : "s");
    puts("");
}

static void remote_status(const cli_t *cli, int *exit_code) {
    remote_t remote;
    remote_ask(&cli->conf, REMOTE_COUNT, REMOTE_MS, &remote);
    bool ready = remote_ready(&remote);
    if (say_is_json())
        say_json(json_pack("{s:s, s:b, s:o, s:o}", "stack", cli->conf.stack, "ready", ready,
                           "services", remote_json(&remote), "workers",
                           remote.workers < 0 ? json_null() : json_integer(remote.workers)));
    else
        print_remote(cli->conf.stack, &remote);
    *exit_code = ready ? 0 : 4;
    if (!ready && !say_is_json())
        fprintf(stderr, "Not all of the stack is ready.\n");
}

// Redis has no socket of the services' kind: it is found in the whole picture.
static char *redis_words(const conf_t *conf, bool *ready) {
    bool all;
    json_t *status = stack_status(conf, &all);
    const json_t *redis = json_object_get(status, "redis");
    *ready = json_is_true(json_object_get(redis, "ready"));
    const char *detail = text_of(redis, "detail");
    char *words = mem_format("%s%s%s", *ready ? "ready" : "not ready", *detail ? ": " : "", detail);
    json_decref(status);
    return words;
}

static err_code_t service_status(cli_t *cli, const char *name, int *exit_code, err_t *err) {
    proto_service_state_t state;
    bool ready;
    char *words = NULL;
    if (strcmp(name, "redis") == 0) {
        words = redis_words(&cli->conf, &ready);
    } else {
        err_code_t code = question_state(cli->conf.home, name, cli->arena, &state, err);
        if (code)
            return code;
        ready = state.ready;
        words = question_words(&state);
    }
    if (say_is_json())
        say_json(json_pack("{s:o, s:b, s:o}", "name", say_json_text(name), "ready", ready, "detail",
                           say_json_text(words)));
    else
        puts(words);
    free(words);
    *exit_code = ready ? 0 : 4;
    return ERR_OK;
}

err_code_t verb_status(cli_t *cli, int *exit_code, err_t *err) {
    const char *service = call_text(&cli->call, "service");
    if (service)
        return service_status(cli, service, exit_code, err);
    if (cli->conf.stack[0]) {
        remote_status(cli, exit_code);
        return ERR_OK;
    }
    bool ready;
    json_t *status = stack_status(&cli->conf, &ready);
    bool up = stack_is_up(cli->conf.home) || anybody_answers(status);
    show_status(status);
    *exit_code = ready ? 0 : 4;
    if (!ready && !say_is_json())
        fprintf(stderr, "%s\n",
                up ? "Not all of the stack is ready."
                   : "The stack is down: `inkling up --detach` starts it.");
    return ERR_OK;
}

// --- up and down

static void print_tail(const buf_t *tail) {
    if (tail->size == 0 || say_is_json())
        return;
    fprintf(stderr, "Its last log lines:\n%s", tail->data);
    if (tail->data[tail->size - 1] != '\n')
        fputc('\n', stderr);
}

// The failure with the culprit's log, printed here because the log belongs to it.
static int start_failed(const err_t *failure, const buf_t *tail) {
    json_t *more = json_object();
    json_object_set_new(more, "log", say_json_text(tail->size > 0 ? tail->data : ""));
    int exit_code = say_error(failure, more);
    json_decref(more);
    print_tail(tail);
    return exit_code;
}

// Nothing is changed under a running stack, but nothing is ignored without a word either.
static void tell_changes(const stack_up_t *up) {
    buf_t changes;
    buf_init(&changes, 4096);
    stack_changes(up, &changes);
    if (changes.size > 0) {
        err_t told;
        err_set(&told, ERR_CONFLICT, "the stack runs with other settings than: %s", changes.data);
        err_remedy(&told, "they take effect after `inkling down` and `inkling up`");
        say_warning(&told);
    }
    buf_release(&changes);
}

err_code_t verb_up(cli_t *cli, int *exit_code, err_t *err) {
    stack_up_t up = {.conf = &cli->conf,
                     .settings = cli->call.settings,
                     .detach = call_flag(&cli->call, "detach"),
                     .wait_ms = (int64_t)call_number(&cli->call, "wait_ms")};
    buf_t tail;
    buf_init(&tail, 1 << 16);
    bool already;
    err_code_t code = stack_up(&up, &already, &tail, err);
    if (code) {
        *exit_code = start_failed(err, &tail);
    } else if (up.detach || already) {
        bool ready;
        json_t *status = stack_status(&cli->conf, &ready);
        if (already && !say_is_json())
            puts("It runs already.");
        if (already)
            tell_changes(&up);
        show_status(status);
    } else if (say_is_json()) {
        say_json(json_pack("{s:o, s:b}", "home", say_json_text(cli->conf.home), "ended", true));
    }
    buf_release(&tail);
    return ERR_OK;
}

err_code_t verb_down(cli_t *cli, int *exit_code, err_t *err) {
    (void)exit_code;
    int stopped;
    err_code_t code = stack_down(&cli->conf, &stopped, err);
    if (code)
        return code;
    if (say_is_json())
        say_json(
            json_pack("{s:o, s:i}", "home", say_json_text(cli->conf.home), "stopped", stopped));
    else if (stopped > 0)
        printf("The stack is down: %d processes have ended.\n", stopped);
    else
        puts("Nothing of the stack was running.");
    return ERR_OK;
}
