#include "gateway/directory.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define ENDPOINTS_MAX 16
#define POLL_MS       5000 // a poll is answered after so long, news or not
#define PATIENCE_MS   2000 // for an answer that is due; then another endpoint is asked
#define PAUSE_MS      500  // after an answer that is no use

typedef enum { NONE, FOLLOW, REFRESH, SHOW } call_kind_t;

typedef struct {
    call_kind_t kind;
    uint64_t id;     // of the message; 0: to be sent at due_ms
    int64_t due_ms;  // when the answer is late, or the message to be sent
    uint64_t ticket; // of REFRESH
    uint64_t version;
    char name[PROTO_NAME_MAX + 1];
} call_t;

#define CALLS_MAX (DIRECTORY_ASKED_MAX + 2)

struct directory {
    bus_loop_t *loop;
    const directory_ops_t *ops;
    void *arg;
    char *endpoints[ENDPOINTS_MAX];
    size_t endpoint_count, current;
    char *leader; // named by a NOT_LEADER answer, in use instead of endpoints[current]
    bus_socket_t *dealer;
    call_t calls[CALLS_MAX]; // [0] follows, [1] refreshes
    uint64_t next_id, tickets, revision;
    bool refresh_again; // somebody asked after the present refresh was sent
    bool synced, heard, told_away;
    int timer;
    proto_arena_t *arena;
};

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message);
static void on_timer(void *arg);

// --- Sending
// --------------------------------------------------------------------------------------

static const char *endpoint(const directory_t *directory) {
    return directory->leader ? directory->leader : directory->endpoints[directory->current];
}

static void arm(directory_t *directory) {
    int64_t due_ms = 0;
    for (int i = 0; i < CALLS_MAX; i++)
        if (directory->calls[i].kind && (!due_ms || directory->calls[i].due_ms < due_ms))
            due_ms = directory->calls[i].due_ms;
    bus_loop_timer_cancel(directory->loop, directory->timer);
    directory->timer =
        bus_loop_timer(directory->loop, due_ms - clock_mono_ms(), 0, on_timer, directory);
}

static void send_call(directory_t *directory, call_t *call) {
    err_t err;
    int64_t wait_ms = call->kind == FOLLOW && directory->synced ? POLL_MS : 0;
    proto_model_list_t list = {
        .promoted = true, .after = directory->revision, .wait_ms = (uint64_t)wait_ms};
    proto_model_show_t show = {.name = call->name, .version = call->version};
    bool one = call->kind == SHOW;
    call->id = ++directory->next_id;
    call->due_ms = clock_mono_ms() + wait_ms + PATIENCE_MS;
    if (!directory->dealer)
        return;
    if (bus_send(directory->dealer, NULL, call->id, 0, one ? PROTO_model_show : PROTO_model_list,
                 one ? (const void *)&show : &list, NULL, 0, &err) != ERR_OK)
        log_debug("cannot ask the dispatcher: %s", err.message); // late, then asked elsewhere
}

static void connect_now(directory_t *directory) {
    err_t err;
    if (bus_dealer_new(directory->loop, endpoint(directory), on_message, directory,
                       &directory->dealer, &err) != ERR_OK)
        log_error("cannot connect to the dispatcher: %s", err.message);
    for (int i = 0; i < CALLS_MAX; i++)
        if (directory->calls[i].kind && directory->calls[i].id)
            send_call(directory, &directory->calls[i]);
}

// A new connection, so that questions nobody has read are not answered twice later.
static void turn_to(directory_t *directory, const char *leader) {
    char *copy = leader && *leader ? mem_dup(leader) : NULL;
    if (!copy && !directory->leader)
        directory->current = (directory->current + 1) % directory->endpoint_count;
    free(directory->leader);
    directory->leader = copy;
    bus_socket_destroy(&directory->dealer);
    connect_now(directory);
}

static void lost(directory_t *directory) {
    directory->heard = false;
    if (!directory->told_away)
        log_warn("the dispatcher at %s does not answer; what is loaded goes on being served",
                 endpoint(directory));
    directory->told_away = true;
    turn_to(directory, NULL);
}

static void on_timer(void *arg) {
    directory_t *directory = arg;
    int64_t now = clock_mono_ms();
    bool late = false;
    for (int i = 0; i < CALLS_MAX; i++) {
        call_t *call = &directory->calls[i];
        if (!call->kind || call->due_ms > now)
            continue;
        if (call->id)
            late = true;
        else
            send_call(directory, call);
    }
    if (late)
        lost(directory);
    arm(directory);
}

// --- Asking
// ---------------------------------------------------------------------------------------

uint64_t directory_refresh(directory_t *directory) {
    call_t *call = &directory->calls[1];
    if (call->kind) {
        directory->refresh_again = true;
        return call->ticket + 1;
    }
    *call = (call_t){.kind = REFRESH, .ticket = ++directory->tickets};
    send_call(directory, call);
    arm(directory);
    return call->ticket;
}

err_code_t directory_show(directory_t *directory, const char *name, uint64_t version, err_t *err) {
    call_t *free_call = NULL;
    for (int i = 2; i < CALLS_MAX; i++) {
        call_t *call = &directory->calls[i];
        if (call->kind && call->version == version && strcmp(call->name, name) == 0)
            return ERR_OK;
        free_call = call->kind ? free_call : call;
    }
    if (!free_call) {
        err_set(err, ERR_FULL, "%d unknown versions are being looked up already",
                DIRECTORY_ASKED_MAX);
        return err_remedy(err, "ask again in a moment"), ERR_FULL;
    }
    *free_call = (call_t){.kind = SHOW, .version = version};
    strncpy(free_call->name, name, PROTO_NAME_MAX);
    send_call(directory, free_call);
    arm(directory);
    return ERR_OK;
}

bool directory_heard(const directory_t *directory) {
    return directory->heard;
}

bool directory_synced(const directory_t *directory) {
    return directory->synced;
}

// --- Answers
// --------------------------------------------------------------------------------------

static void refreshed(directory_t *directory, call_t *call, const err_t *err) {
    uint64_t ticket = call->ticket;
    call->kind = NONE;
    if (directory->refresh_again) {
        directory->refresh_again = false;
        directory_refresh(directory);
    }
    directory->ops->refreshed(directory->arg, ticket, err);
}

static void again_later(call_t *call) {
    call->id = 0;
    call->due_ms = clock_mono_ms() + PAUSE_MS;
}

static void on_models(directory_t *directory, call_t *call, const proto_models_t *models) {
    if (!directory->synced || models->revision != directory->revision) {
        directory->revision = models->revision;
        directory->synced = true;
        directory->ops->promoted(directory->arg, models);
    } else if (call->kind == FOLLOW && call->due_ms - clock_mono_ms() > POLL_MS) {
        again_later(call); // answered before its time without news: such a one must not spin
        return;
    }
    if (call->kind == REFRESH)
        refreshed(directory, call, NULL);
    else
        send_call(directory, call);
}

static void on_shown(directory_t *directory, call_t *call, const proto_model_info_t *model,
                     const err_t *err) {
    call_t copy = *call;
    call->kind = NONE;
    directory->ops->shown(directory->arg, copy.name, copy.version, model, err);
}

static void on_failure(directory_t *directory, call_t *call, const err_t *err) {
    if (call->kind == SHOW)
        on_shown(directory, call, NULL, err);
    else if (call->kind == REFRESH)
        refreshed(directory, call, err);
    else
        again_later(call);
}

// The leader an error names, when it is NOT_LEADER; "" if it names none.
static const char *read_leader(directory_t *directory, const bus_message_t *message) {
    proto_error_t error;
    if (message->type != PROTO_error ||
        proto_decode(PROTO_error, message->body.data, message->body.size, directory->arena, &error,
                     NULL) != ERR_OK ||
        err_from_name(error.code) != ERR_NOT_LEADER)
        return NULL;
    return error.leader && strcmp(error.leader, endpoint(directory)) != 0 ? error.leader : "";
}

static void read_answer(directory_t *directory, call_t *call, const bus_message_t *message) {
    err_t err;
    proto_models_t models;
    proto_model_t model;
    proto_type_t wanted = call->kind == SHOW ? PROTO_model : PROTO_models;
    void *out = call->kind == SHOW ? (void *)&model : &models;
    if (message->type == PROTO_error)
        bus_error_read(message, &err);
    else if (message->type != wanted)
        err_set(&err, ERR_PROTOCOL, "the dispatcher's answer is %s instead of %s",
                proto_message(message->type)->wire, proto_message(wanted)->wire);
    else if (proto_decode(wanted, message->body.data, message->body.size, directory->arena, out,
                          &err) == ERR_OK) {
        if (call->kind == SHOW)
            on_shown(directory, call, model.model, NULL);
        else
            on_models(directory, call, &models);
        return;
    }
    log_debug("the dispatcher: %s", err.message);
    on_failure(directory, call, &err);
}

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    directory_t *directory = arg;
    call_t *call = NULL;
    (void)socket;
    for (int i = 0; i < CALLS_MAX && !call; i++)
        if (directory->calls[i].kind && directory->calls[i].id == message->id)
            call = &directory->calls[i];
    if (!call || message->id == 0)
        return; // to a question that was asked again meanwhile
    proto_arena_reset(directory->arena);
    const char *leader = read_leader(directory, message);
    if (leader) {
        // Asked again after a pause: two that name each other must not make this spin.
        for (int i = 0; i < CALLS_MAX; i++)
            again_later(&directory->calls[i]);
        turn_to(directory, leader);
    } else {
        if (directory->told_away)
            log_info("the dispatcher answers again");
        directory->told_away = false;
        directory->heard = true;
        read_answer(directory, call, message);
    }
    arm(directory);
}

// --- Life
// -----------------------------------------------------------------------------------------

err_code_t directory_new(bus_loop_t *loop, const char *endpoints, const directory_ops_t *ops,
                         void *arg, directory_t **out, err_t *err) {
    directory_t *directory = mem_zero(1, sizeof *directory);
    *directory = (directory_t){.loop = loop, .ops = ops, .arg = arg, .arena = proto_arena_new()};
    char *copy = mem_dup(endpoints), *rest = copy, *part;
    while (directory->endpoint_count < ENDPOINTS_MAX && (part = bus_next_endpoint(&rest)) != NULL)
        directory->endpoints[directory->endpoint_count++] = mem_dup(part);
    free(copy);
    if (directory->endpoint_count == 0) {
        directory_destroy(&directory);
        return err_set(err, ERR_USAGE, "no endpoint of the dispatcher is given");
    }
    directory->calls[0] = (call_t){.kind = FOLLOW, .id = 1};
    directory->next_id = 1;
    connect_now(directory);
    arm(directory);
    *out = directory;
    return ERR_OK;
}

void directory_destroy(directory_t **self) {
    directory_t *directory = *self;
    if (!directory)
        return;
    bus_loop_timer_cancel(directory->loop, directory->timer);
    bus_socket_destroy(&directory->dealer);
    for (size_t i = 0; i < directory->endpoint_count; i++)
        free(directory->endpoints[i]);
    free(directory->leader);
    proto_arena_destroy(&directory->arena);
    free(directory);
    *self = NULL;
}
