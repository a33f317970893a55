#include "service/question.h"

#include "base/log.h"
#include "bus/bus.h"
#include "question_impl.h"

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
    proto_type_t wanted;
    void *reply;
    proto_arena_t *arena;
    err_code_t code;
    err_t *err;
} answer_t;

static void on_answer(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    (void)socket;
    answer_t *answer = arg;
    if (message->type == answer->wanted)
        answer->code = proto_decode(message->type, message->body.data, message->body.size,
                                    answer->arena, answer->reply, answer->err);
    else
        answer->code = err_set(answer->err, ERR_PROTOCOL, "%s for an answer",
                               proto_message(message->type)->wire);
}

static err_code_t ask(const char *endpoint, proto_type_t type, const void *question,
                      answer_t *answer, err_t *err) {
    bus_socket_t *socket = NULL;
    answer->err = err;
    err_code_t code = bus_dealer_new(NULL, endpoint, on_answer, answer, &socket, err);
    if (code == ERR_OK)
        code = bus_send(socket, NULL, 1, PATIENCE_MS, type, question, NULL, 0, err);
    if (code == ERR_OK)
        code = bus_receive(socket, PATIENCE_MS, on_answer, answer, err);
    bus_socket_destroy(&socket);
    return code ? code : answer->code;
}

static err_code_t ask_instance(const char *home, const char *name, proto_type_t type,
                               const void *question, answer_t *answer, err_t *err) {
    err_t failure;
    char *endpoint = conf_control_endpoint(home, name);
    err_code_t code = ask(endpoint, type, question, answer, &failure);
    if (code) {
        code = err_set(err, ERR_UNAVAILABLE, "%s does not answer at %s: %s", name, endpoint,
                       failure.message);
        err_remedy(err, "does it run, with the same home and name?");
    }
    free(endpoint);
    return code;
}

err_code_t question_state(const char *home, const char *name, proto_arena_t *arena,
                          proto_service_state_t *state, err_t *err) {
    const proto_service_status_t question = {0};
    answer_t answer = {.wanted = PROTO_service_state, .reply = state, .arena = arena};
    return ask_instance(home, name, PROTO_service_status, &question, &answer, err);
}

char *question_words(const proto_service_state_t *state) {
    return mem_format("%s%s%s", state->ready ? "ready" : "not ready", state->detail[0] ? ": " : "",
                      state->detail);
}

static err_code_t probe(const conf_t *conf, proto_arena_t *arena, int *exit_code, err_t *err) {
    proto_service_state_t state;
    err_code_t code = question_state(conf->home, conf->name, arena, &state, err);
    if (code)
        return code;
    char *words = question_words(&state);
    puts(words);
    free(words);
    *exit_code = state.ready ? 0 : 1;
    return ERR_OK;
}

static err_code_t print_metrics(const conf_t *conf, proto_arena_t *arena, err_t *err) {
    const proto_service_metrics_t question = {0};
    proto_service_text_t text;
    answer_t answer = {.wanted = PROTO_service_text, .reply = &text, .arena = arena};
    err_code_t code =
        ask_instance(conf->home, conf->name, PROTO_service_metrics, &question, &answer, err);
    if (code == ERR_OK)
        fputs(text.text, stdout);
    return code;
}

int question_ask(const conf_t *conf, question_t question) {
    proto_arena_t *arena = proto_arena_new();
    err_t err;
    int exit_code = 0;
    err_code_t code = question == QUESTION_METRICS ? print_metrics(conf, arena, &err)
                                                   : probe(conf, arena, &exit_code, &err);
    if (code)
        log_error("%s; %s", err.message, err.remedy);
    proto_arena_destroy(&arena);
    return code ? EXIT_AWAY : exit_code;
}
