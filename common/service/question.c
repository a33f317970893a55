#include "question_impl.h"

#include "base/log.h"
#include "bus/bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 3000
#define EXIT_AWAY   4

question_t question_of(const char *option) {
#define X(name, text, help)                                                                        \
    if (strcmp(option, text) == 0)                                                                 \
        return QUESTION_##name;
    QUESTIONS(X)
#undef X
    return QUESTION_NONE;
}

typedef struct {
    proto_arena_t *arena;
    int exit_code;
} answer_t;

static void print_state(answer_t *answer, const bus_message_t *message) {
    proto_service_state_t state;
    if (proto_decode(message->type, message->body.data, message->body.size, answer->arena, &state,
                     NULL) != ERR_OK)
        return;
    printf("%s%s%s\n", state.ready ? "ready" : "not ready", state.detail[0] ? ": " : "",
           state.detail);
    answer->exit_code = state.ready ? 0 : 1;
}

static void print_text(answer_t *answer, const bus_message_t *message) {
    proto_service_text_t text;
    if (proto_decode(message->type, message->body.data, message->body.size, answer->arena, &text,
                     NULL) != ERR_OK)
        return;
    fputs(text.text, stdout);
    answer->exit_code = 0;
}

static void on_answer(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    (void)socket;
    if (message->type == PROTO_service_state)
        print_state(arg, message);
    else if (message->type == PROTO_service_text)
        print_text(arg, message);
}

static err_code_t ask(const char *endpoint, question_t question, answer_t *answer, err_t *err) {
    static const proto_service_status_t status = {0};
    static const proto_service_metrics_t metrics = {0};
    bus_socket_t *socket = NULL;
    err_code_t code = bus_dealer_new(NULL, endpoint, on_answer, answer, &socket, err);
    if (code == ERR_OK && question == QUESTION_METRICS)
        code =
            bus_send(socket, NULL, 1, PATIENCE_MS, PROTO_service_metrics, &metrics, NULL, 0, err);
    else if (code == ERR_OK)
        code = bus_send(socket, NULL, 1, PATIENCE_MS, PROTO_service_status, &status, NULL, 0, err);
    if (code == ERR_OK)
        code = bus_receive(socket, PATIENCE_MS, on_answer, answer, err);
    bus_socket_destroy(&socket);
    return code;
}

int question_ask(const conf_t *conf, question_t question) {
    char *endpoint = conf_control_endpoint(conf->home, conf->name);
    answer_t answer = {.arena = proto_arena_new(), .exit_code = 1};
    err_t err;
    if (ask(endpoint, question, &answer, &err) != ERR_OK) {
        log_error("no answer at %s: %s; does %s run, with the same home and name?", endpoint,
                  err.message, conf->name);
        answer.exit_code = EXIT_AWAY;
    }
    proto_arena_destroy(&answer.arena);
    free(endpoint);
    return answer.exit_code;
}
