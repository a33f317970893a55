#include "pipe_impl.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define WINDOW_REQUESTS 64        // well below what the service keeps for one peer
#define WINDOW_BYTES    (8 << 20) // of pieces that go, or are asked for
#define TICK_MS         100
#define BUSY            30 // times the patience with a service that is there

// --- Requests
// -------------------------------------------------------------------------------------

request_t *request_new(proto_type_t type, proto_type_t reply_type, answered_fn answered, void *arg,
                       const void *bytes, size_t size) {
    request_t *request = mem_alloc(sizeof *request + size);
    memset(request, 0, sizeof *request);
    request->type = type;
    request->reply_type = reply_type;
    request->answered = answered;
    request->arg = arg;
    request->size = size;
    if (size)
        memcpy(request->bytes, bytes, size);
    proto_defaults(type, &request->message);
    return request;
}

// Bytes that it brings onto the line, one way or the other.
static size_t weight(const request_t *request) {
    return request->type == PROTO_blob_get ? (size_t)request->message.get.size : request->size;
}

static void append(blob_t *blob, request_t *request) {
    request->next = NULL;
    *blob->end = request;
    blob->end = &request->next;
    blob->count++;
    blob->bytes += weight(request);
}

static request_t *take(blob_t *blob, uint64_t id) {
    for (request_t **at = &blob->first; *at; at = &(*at)->next) {
        request_t *request = *at;
        if (request->id != id)
            continue;
        *at = request->next;
        if (!*at)
            blob->end = at;
        blob->count--;
        blob->bytes -= weight(request);
        return request;
    }
    return NULL;
}

void pipe_reset(blob_t *blob) {
    for (request_t *request = blob->first, *next; request; request = next) {
        next = request->next;
        free(request);
    }
    blob->first = NULL;
    blob->end = &blob->first;
    blob->count = blob->bytes = 0;
    bus_socket_destroy(&blob->socket);
}

// --- The connection
// -------------------------------------------------------------------------------

err_code_t blob_open(const blob_options_t *options, blob_t **out, err_t *err) {
    (void)err;
    blob_t *blob = mem_zero(1, sizeof *blob);
    blob->options = *options;
    blob->endpoint = mem_dup(options->endpoint);
    blob->end = &blob->first;
    blob->arena = proto_arena_new();
    uint64_t seed = 0;
    if (getrandom(&seed, 4, 0) == 4)
        blob->next_id = seed << 16;
    *out = blob;
    return ERR_OK;
}

void blob_close(blob_t **self) {
    blob_t *blob = *self;
    if (!blob)
        return;
    pipe_reset(blob);
    proto_arena_destroy(&blob->arena);
    free(blob->endpoint);
    free(blob);
    *self = NULL;
}

uint64_t blob_moved(const blob_t *blob) {
    return blob->moved;
}

bool blob_away(const blob_t *blob) {
    return blob->socket && !bus_dealer_up(blob->socket);
}

static err_code_t send_now(blob_t *blob, request_t *request, err_t *err) {
    const proto_bytes_t attachment = {request->bytes, request->size};
    bool piece = request->type == PROTO_blob_put;
    return bus_send(blob->socket, NULL, request->id, 0, request->type, &request->message,
                    &attachment, piece ? 1 : 0, err);
}

// Opens a connection and sends on it what is unanswered. A new socket: what was queued in the old
// one is gone with it, so nothing comes twice but what was answered into the void.
static err_code_t connect_now(blob_t *blob, err_t *err) {
    bus_socket_destroy(&blob->socket);
    err_code_t code = bus_dealer_new_bulk(blob->endpoint, &blob->socket, err);
    blob->breaks = 0;
    for (request_t *request = blob->first; request && code == ERR_OK; request = request->next) {
        request->id = ++blob->next_id;
        code = send_now(blob, request, err);
    }
    return code;
}

// --- Answers
// --------------------------------------------------------------------------------------

static void on_answer(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    (void)socket;
    blob_t *blob = arg;
    request_t *request = take(blob, message->id);
    blob->heard_ms = clock_mono_ms();
    if (!request)
        return; // to a question of before
    err_t err = {0};
    proto_bytes_t attachment = {NULL, 0};
    union {
        proto_blob_missing_t missing;
        proto_blob_stored_t stored;
        proto_blob_piece_t piece;
        proto_ok_t ok;
    } answer;
    proto_arena_reset(blob->arena);
    if (message->type == PROTO_error)
        bus_error_read(message, &err);
    else if (message->type != request->reply_type)
        err_set(&err, ERR_PROTOCOL, "the answer is %s instead of %s",
                proto_message(message->type)->wire, proto_message(request->reply_type)->wire);
    else
        proto_decode(message->type, message->body.data, message->body.size, blob->arena, &answer,
                     &err);
    if (message->attachment_count > 0)
        attachment = message->attachments[0];
    blob->moved += err.code ? 0 : request->size + attachment.size;
    request->answered(blob, request, err.code ? NULL : &answer, attachment, &err);
    free(request);
}

static err_code_t away(const blob_t *blob, int64_t silent_ms, err_t *err) {
    err_set(err, ERR_UNAVAILABLE, "no answer from the blobs service at %s within %.0f s",
            blob->endpoint, (double)silent_ms / 1000);
    return err_remedy(err, "is the stack up? `inkling status` tells");
}

// Reads one answer, if there is one within a tick.
static err_code_t receive_one(blob_t *blob, err_t *err) {
    if (blob->options.stop && blob->options.stop(blob->options.arg))
        return err_set(err, ERR_CANCELLED, "stopped");
    err_code_t code = bus_receive(blob->socket, TICK_MS, on_answer, blob, err);
    if (code == ERR_OK)
        return ERR_OK;
    if (code != ERR_TIMEOUT && code != ERR_CANCELLED) // refused, or no partner of this release
        return code;
    if (bus_dealer_breaks(blob->socket) != blob->breaks)
        return connect_now(blob, err);
    int64_t silent_ms = clock_mono_ms() - blob->heard_ms, patience_ms = blob->options.patience_ms;
    if (bus_dealer_up(blob->socket)) // it lives: a disk may be slow
        patience_ms *= BUSY;
    return patience_ms && silent_ms >= patience_ms ? away(blob, silent_ms, err) : ERR_OK;
}

err_code_t pipe_wait(blob_t *blob, size_t count, err_t *err) {
    err_code_t code = ERR_OK;
    while (code == ERR_OK && blob->count > count)
        code = receive_one(blob, err);
    if (code)
        pipe_reset(blob);
    return code;
}

err_code_t pipe_send(blob_t *blob, request_t *request, err_t *err) {
    err_code_t code = ERR_OK;
    while (code == ERR_OK && blob->count > 0 &&
           (blob->count >= WINDOW_REQUESTS || blob->bytes + weight(request) > WINDOW_BYTES))
        code = receive_one(blob, err);
    if (code == ERR_OK && !blob->socket)
        code = connect_now(blob, err);
    if (blob->count == 0)
        blob->heard_ms = clock_mono_ms();
    request->id = ++blob->next_id;
    if (code == ERR_OK)
        code = send_now(blob, request, err);
    append(blob, request);
    if (code)
        pipe_reset(blob);
    return code;
}

// --- One by one
// -----------------------------------------------------------------------------------

typedef struct {
    void *reply;
    size_t size;
    err_t err;
} asked_t;

static void keep_answer(blob_t *blob, request_t *request, const void *answer,
                        proto_bytes_t attachment, const err_t *err) {
    (void)blob, (void)attachment;
    asked_t *asked = request->arg;
    if (answer)
        memcpy(asked->reply, answer, asked->size);
    else
        asked->err = *err;
}

err_code_t pipe_ask(blob_t *blob, request_t *request, void *reply, size_t reply_size, err_t *err) {
    asked_t asked = {.reply = reply, .size = reply_size};
    request->answered = keep_answer;
    request->arg = &asked;
    err_code_t code = pipe_send(blob, request, err);
    if (code == ERR_OK)
        code = pipe_wait(blob, 0, err);
    if (code == ERR_OK && asked.err.code) {
        if (err)
            *err = asked.err;
        code = asked.err.code;
    }
    return code;
}
