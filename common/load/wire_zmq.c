// Requests over ZeroMQ: dealers that take any number of requests at once.
#include "bus/parcel.h"
#include "load/load.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    load_wire_t base;
    load_t *load;
    bus_parcel_t *const *parcels;
    bus_socket_t **sockets;
    size_t count, next;
} wire_zmq_t;

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    const wire_zmq_t *wire = arg;
    (void)socket;
    load_answer_t answer = {.type = message->type,
                            .body = message->body,
                            .attachments = message->attachments,
                            .attachment_count = message->attachment_count};
    load_answered(wire->load, message->id, &answer);
}

// One whose queue is full leaves the request to the next.
static bool send_request(load_wire_t *self, size_t request, uint64_t ticket) {
    wire_zmq_t *wire = (wire_zmq_t *)self;
    for (size_t i = 0; i < wire->count; i++) {
        bus_socket_t *socket = wire->sockets[wire->next];
        wire->next = (wire->next + 1) % wire->count;
        if (bus_parcel_send(socket, wire->parcels[request], ticket, NULL) == ERR_OK)
            return true;
    }
    return false; // the generator's next tick asks again
}

static void forget(load_wire_t *self, uint64_t ticket) {
    (void)self;
    (void)ticket;
}

static void destroy(load_wire_t *self) {
    wire_zmq_t *wire = (wire_zmq_t *)self;
    for (size_t i = 0; i < wire->count; i++)
        bus_socket_destroy(&wire->sockets[i]);
    free(wire->sockets);
    free(wire);
}

static const load_wire_class_t zmq_class = {send_request, forget, destroy};

err_code_t load_wire_zmq(load_t *load, const char *endpoints, size_t connections,
                         bus_parcel_t *const *parcels, load_wire_t **out, err_t *err) {
    ERR_ASSERT(connections > 0 && connections <= LOAD_CONNECTIONS_MAX);
    wire_zmq_t *wire = mem_zero(1, sizeof *wire);
    *wire = (wire_zmq_t){.base = {&zmq_class}, .load = load, .parcels = parcels};
    wire->sockets = mem_zero(connections, sizeof(bus_socket_t *));
    char *copy = NULL, *rest = NULL;
    err_code_t code = ERR_OK;
    while (wire->count < connections && code == ERR_OK) {
        const char *endpoint = rest ? bus_next_endpoint(&rest) : NULL;
        if (!endpoint) { // again from the first
            free(copy);
            rest = copy = mem_dup(endpoints);
            endpoint = bus_next_endpoint(&rest);
        }
        code = endpoint ? bus_dealer_new(load_loop(load), endpoint, on_message, wire,
                                         &wire->sockets[wire->count], err)
                        : err_set(err, ERR_USAGE, "no endpoint of the gateway is given");
        wire->count += code == ERR_OK;
    }
    free(copy);
    if (code)
        destroy(&wire->base);
    else
        *out = &wire->base;
    return code;
}
