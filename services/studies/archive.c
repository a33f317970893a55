#include "archive.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

#define ENDPOINTS_MAX 16
#define PATIENCE_MS   3000 // for an answer; then another endpoint is asked
#define PAUSE_MS      200  // before what may succeed later is tried again
#define PING_MS       2000

struct archive {
    bus_loop_t *loop;
    char *endpoints[ENDPOINTS_MAX];
    size_t endpoint_count, current;
    char *leader; // named by a NOT_LEADER answer, in use instead of endpoints[current]
    bus_socket_t *dealer;
    ask_t *open; // newest first
    ask_t ping;
    proto_arena_t *ping_arena, *error_arena;
    uint64_t last_id;
    bool heard, told_away;
    int timer;
};

static const proto_ping_t nothing = {0};

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message);
static void on_timer(void *arg);

// --- Sending
// --------------------------------------------------------------------------------------

static const char *endpoint(const archive_t *archive) {
    return archive->leader ? archive->leader : archive->endpoints[archive->current];
}

static void arm(archive_t *archive) {
    int64_t due_ms = archive->open->due_ms; // the ping is always open
    for (ask_t *ask = archive->open; ask; ask = ask->next)
        due_ms = ask->due_ms < due_ms ? ask->due_ms : due_ms;
    bus_loop_timer_cancel(archive->loop, archive->timer);
    int64_t delay_ms = due_ms - clock_mono_ms();
    archive->timer =
        bus_loop_timer(archive->loop, delay_ms > 0 ? delay_ms : 0, 0, on_timer, archive);
}

static void send_ask(archive_t *archive, ask_t *ask) {
    err_t err;
    ask->id = ++archive->last_id;
    ask->due_ms = clock_mono_ms() + PATIENCE_MS;
    if (archive->dealer && bus_send(archive->dealer, NULL, ask->id, 0, ask->type, ask->message,
                                    NULL, 0, &err) != ERR_OK)
        log_debug("cannot ask the dispatcher: %s", err.message); // late, then asked elsewhere
}

static void later(ask_t *ask, int64_t pause_ms) {
    ask->id = 0;
    ask->due_ms = clock_mono_ms() + pause_ms;
}

// A new connection, so that questions nobody has read are not answered twice later. What is open
// is asked again after a pause: two that name each other must not make this spin.
static void turn_to(archive_t *archive, const char *leader, int64_t pause_ms) {
    err_t err;
    char *copy = leader && *leader ? mem_dup(leader) : NULL;
    if (!copy && !archive->leader)
        archive->current = (archive->current + 1) % archive->endpoint_count;
    free(archive->leader);
    archive->leader = copy;
    bus_socket_destroy(&archive->dealer);
    if (bus_dealer_new(archive->loop, endpoint(archive), on_message, archive, &archive->dealer,
                       &err) != ERR_OK)
        log_error("cannot connect to the dispatcher: %s", err.message);
    for (ask_t *ask = archive->open; ask; ask = ask->next)
        later(ask, pause_ms);
}

static void on_timer(void *arg) {
    archive_t *archive = arg;
    int64_t now = clock_mono_ms();
    bool late = false;
    for (ask_t *ask = archive->open; ask; ask = ask->next)
        late = late || (ask->id && ask->due_ms <= now);
    if (late) {
        archive->heard = false;
        if (!archive->told_away)
            log_warn("the dispatcher at %s does not answer", endpoint(archive));
        archive->told_away = true;
        turn_to(archive, NULL, 0);
    }
    now = clock_mono_ms();
    for (ask_t *ask = archive->open; ask; ask = ask->next)
        if (!ask->id && ask->due_ms <= now)
            send_ask(archive, ask);
    arm(archive);
}

void archive_ask(archive_t *archive, ask_t *ask) {
    ask->next = archive->open;
    archive->open = ask;
    send_ask(archive, ask);
    arm(archive);
}

void archive_forget(archive_t *archive, ask_t *ask) {
    for (ask_t **at = &archive->open; *at; at = &(*at)->next)
        if (*at == ask) {
            *at = ask->next;
            return;
        }
}

bool archive_heard(const archive_t *archive) {
    return archive->heard;
}

// --- Answers
// --------------------------------------------------------------------------------------

// The leader an error names, when it is NOT_LEADER; "" if it names none.
static const char *read_leader(archive_t *archive, const bus_message_t *message) {
    proto_error_t error;
    proto_arena_reset(archive->error_arena);
    if (message->type != PROTO_error ||
        proto_decode(PROTO_error, message->body.data, message->body.size, archive->error_arena,
                     &error, NULL) != ERR_OK ||
        err_from_name(error.code) != ERR_NOT_LEADER)
        return NULL;
    return error.leader && strcmp(error.leader, endpoint(archive)) != 0 ? error.leader : "";
}

// Of these the request itself knows nothing; a limit that is reached stays so.
static bool comes_later(err_code_t code) {
    return err_retryable(code) && code != ERR_FULL && code != ERR_NO_MEMORY;
}

static void read_answer(archive_t *archive, ask_t *ask, const bus_message_t *message) {
    err_t err = {0};
    void *answer = NULL;
    if (message->type == PROTO_error) {
        bus_error_read(message, &err);
        if (comes_later(err.code)) {
            log_debug("the dispatcher: %s", err.message);
            later(ask, PAUSE_MS);
            return;
        }
    } else if (message->type != ask->answer_type) {
        err_set(&err, ERR_PROTOCOL, "the dispatcher's answer is %s instead of %s",
                proto_message(message->type)->wire, proto_message(ask->answer_type)->wire);
    } else {
        proto_arena_reset(ask->arena);
        answer = proto_arena_alloc(ask->arena, proto_message(ask->answer_type)->size);
        if (proto_decode(message->type, message->body.data, message->body.size, ask->arena, answer,
                         &err) != ERR_OK)
            answer = NULL;
    }
    archive_forget(archive, ask);
    ask->answered(ask->arg, answer, answer ? NULL : &err);
}

static void on_pong(void *arg, const void *answer, const err_t *err) {
    archive_t *archive = arg;
    (void)answer;
    (void)err;
    archive->ping.next = archive->open;
    archive->open = &archive->ping;
    later(&archive->ping, PING_MS);
}

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    archive_t *archive = arg;
    ask_t *ask = archive->open;
    (void)socket;
    while (ask && ask->id != message->id)
        ask = ask->next;
    if (!ask || message->id == 0)
        return; // to a question that was asked again meanwhile
    const char *leader = read_leader(archive, message);
    if (leader) {
        turn_to(archive, leader, PAUSE_MS);
    } else {
        if (archive->told_away)
            log_info("the dispatcher answers again");
        archive->told_away = false;
        archive->heard = true;
        read_answer(archive, ask, message);
    }
    arm(archive);
}

// --- Life
// -----------------------------------------------------------------------------------------

err_code_t archive_new(bus_loop_t *loop, const char *endpoints, archive_t **out, err_t *err) {
    archive_t *archive = mem_zero(1, sizeof *archive);
    *archive = (archive_t){
        .loop = loop, .ping_arena = proto_arena_new(), .error_arena = proto_arena_new()};
    char *copy = mem_dup(endpoints), *rest = copy, *part;
    while (archive->endpoint_count < ENDPOINTS_MAX && (part = bus_next_endpoint(&rest)) != NULL)
        archive->endpoints[archive->endpoint_count++] = mem_dup(part);
    free(copy);
    if (archive->endpoint_count == 0) {
        archive_destroy(&archive);
        return err_set(err, ERR_USAGE, "no endpoint of the dispatcher is given");
    }
    archive->current = archive->endpoint_count - 1;
    turn_to(archive, NULL, 0);
    archive->ping = (ask_t){.type = PROTO_ping,
                            .message = &nothing,
                            .answer_type = PROTO_pong,
                            .answered = on_pong,
                            .arg = archive,
                            .arena = archive->ping_arena};
    archive_ask(archive, &archive->ping);
    *out = archive;
    return ERR_OK;
}

void archive_destroy(archive_t **self) {
    archive_t *archive = *self;
    if (!archive)
        return;
    bus_loop_timer_cancel(archive->loop, archive->timer);
    bus_socket_destroy(&archive->dealer);
    for (size_t i = 0; i < archive->endpoint_count; i++)
        free(archive->endpoints[i]);
    free(archive->leader);
    proto_arena_destroy(&archive->ping_arena);
    proto_arena_destroy(&archive->error_arena);
    free(archive);
    *self = NULL;
}
