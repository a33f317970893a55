#include "client/client.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define ENDPOINTS_MAX 16
#define TRY_MS        3000 // without an answer for so long, another endpoint is asked

struct client {
    char *service;
    char *endpoints[ENDPOINTS_MAX];
    int endpoint_count, current;
    char *leader; // named by a NOT_LEADER answer; tried next
    bus_socket_t *socket;
    uint64_t next_id;
};

err_code_t client_new(const char *endpoints, const char *service, client_t **out, err_t *err) {
    client_t *client = mem_zero(1, sizeof *client);
    client->service = mem_dup(service);
    char *copy = mem_dup(endpoints), *rest = copy, *part;
    while (client->endpoint_count < ENDPOINTS_MAX && (part = bus_next_endpoint(&rest)) != NULL)
        client->endpoints[client->endpoint_count++] = mem_dup(part);
    free(copy);
    if (client->endpoint_count == 0) {
        client_destroy(&client);
        return err_set(err, ERR_USAGE, "no endpoint of %s is given", service);
    }
    uint64_t seed = 0; // answers to an earlier client of the same id range cannot reach this socket
    if (getrandom(&seed, 4, 0) == 4)
        client->next_id = seed << 16;
    *out = client;
    return ERR_OK;
}

void client_destroy(client_t **self) {
    client_t *client = *self;
    if (!client)
        return;
    bus_socket_destroy(&client->socket);
    for (int i = 0; i < client->endpoint_count; i++)
        free(client->endpoints[i]);
    free(client->leader);
    free(client->service);
    free(client);
    *self = NULL;
}

static err_code_t connect_now(client_t *client, err_t *err) {
    if (client->socket)
        return ERR_OK;
    const char *endpoint = client->leader ? client->leader : client->endpoints[client->current];
    return bus_dealer_new(NULL, endpoint, NULL, NULL, &client->socket, err);
}

// Leaves the endpoint: for the leader if one was named, else for the next of the list.
static void turn_away(client_t *client, const char *leader) {
    bus_socket_destroy(&client->socket);
    free(client->leader);
    client->leader = leader && *leader ? mem_dup(leader) : NULL;
    if (!client->leader)
        client->current = (client->current + 1) % client->endpoint_count;
}

typedef struct {
    uint64_t id;
    proto_type_t reply_type;
    void *reply;
    proto_arena_t *arena;
    bool done, not_leader;
    char leader[256];
    err_code_t code;
    err_t *err;
} waiting_t;

static void read_error(waiting_t *waiting, const bus_message_t *message) {
    proto_arena_t *arena = proto_arena_new();
    proto_error_t error;
    waiting->code = proto_decode(PROTO_error, message->body.data, message->body.size, arena, &error,
                                 waiting->err);
    if (waiting->code == ERR_OK) {
        waiting->code = err_set(waiting->err, err_from_name(error.code), "%s", error.message);
        err_remedy(waiting->err, "%s", error.remedy);
        waiting->not_leader = waiting->code == ERR_NOT_LEADER;
        snprintf(waiting->leader, sizeof waiting->leader, "%s", error.leader);
    }
    proto_arena_destroy(&arena);
}

static void on_answer(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    (void)socket;
    waiting_t *waiting = arg;
    if (message->id != waiting->id)
        return; // a late answer to an earlier request
    waiting->done = true;
    if (message->type == PROTO_error)
        read_error(waiting, message);
    else if (message->type != waiting->reply_type)
        waiting->code =
            err_set(waiting->err, ERR_PROTOCOL, "the answer is %s instead of %s",
                    proto_message(message->type)->wire, proto_message(waiting->reply_type)->wire);
    else
        waiting->code = proto_decode(message->type, message->body.data, message->body.size,
                                     waiting->arena, waiting->reply, waiting->err);
}

// Waits for the answer on the present connection. ERR_TIMEOUT: none until end_ms.
static err_code_t await(client_t *client, waiting_t *waiting, int64_t end_ms,
                        const volatile bool *interrupted, err_t *err) {
    while (!waiting->done) {
        int64_t left = end_ms - clock_mono_ms();
        err_code_t code = bus_receive(client->socket, left > 0 ? left : 0, on_answer, waiting, err);
        if (code == ERR_CANCELLED && !(interrupted && *interrupted))
            continue;
        if (code)
            return code;
    }
    return waiting->code;
}

// A submit without a key gets one, so that sending it twice queues one job.
static const void *keyed(proto_type_t type, const void *message, proto_job_submit_t *copy,
                         char key[40]) {
    if (type != PROTO_job_submit)
        return message;
    *copy = *(const proto_job_submit_t *)message;
    unsigned char random[16];
    if ((copy->key && copy->key[0]) || getrandom(random, sizeof random, 0) != sizeof random)
        return message;
    for (int i = 0; i < 16; i++)
        snprintf(key + 2 * i, 3, "%02x", random[i]);
    copy->key = key;
    return copy;
}

static err_code_t away(const client_t *client, int64_t timeout_ms, err_t *err) {
    const char *endpoint = client->endpoints[client->current];
    err_set(err, ERR_UNAVAILABLE, "no answer from %s at %s within %.1f s", client->service,
            endpoint, (double)timeout_ms / 1000);
    if (strncmp(endpoint, "tcp://", 6) == 0)
        return err_remedy(err, "is that the address, and does the stack run there? on its host "
                               "`inkling status` tells"),
               ERR_UNAVAILABLE;
    return err_remedy(err, "is the stack up? `inkling status` tells, `inkling up` starts it"),
           ERR_UNAVAILABLE;
}

err_code_t client_request(client_t *client, proto_type_t type, const void *message,
                          const proto_bytes_t *attachments, size_t attachment_count,
                          proto_type_t reply_type, void *reply, proto_arena_t *arena,
                          int64_t timeout_ms, const volatile bool *interrupted, err_t *err) {
    err_t ignored;
    err = err ? err : &ignored;
    proto_job_submit_t submit;
    char key[40];
    message = keyed(type, message, &submit, key);
    int64_t end_ms = clock_mono_ms() + timeout_ms;
    for (;;) {
        int64_t now = clock_mono_ms(), left = end_ms - now;
        if (left <= 0)
            return away(client, timeout_ms, err);
        waiting_t waiting = {.id = ++client->next_id,
                             .reply_type = reply_type,
                             .reply = reply,
                             .arena = arena,
                             .err = err};
        err_code_t code = connect_now(client, err);
        if (code == ERR_OK)
            code = bus_send(client->socket, NULL, waiting.id, (uint64_t)left, type, message,
                            attachments, attachment_count, err);
        if (code)
            return code;
        // With one endpoint the connection heals by itself, and the request waits in its queue.
        bool last = client->endpoint_count == 1 && !client->leader;
        int64_t until = last || left < TRY_MS ? end_ms : now + TRY_MS;
        code = await(client, &waiting, until, interrupted, err);
        if (code == ERR_DENIED && !waiting.done && last)
            return code; // by the only one there is
        if ((code == ERR_TIMEOUT || code == ERR_DENIED) && !waiting.done) {
            turn_away(client, NULL);
            continue;
        }
        if (!waiting.not_leader)
            return code;
        turn_away(client, waiting.leader);
        clock_sleep_ms(50);
    }
}
