// An HTTP server on a thread of its own, with a small handler, and clients that are plain sockets.
//
//   /echo     answers METHOD PATH "BODY"
//   /later    the same, a moment after it was asked
//   /held     the same, when rig_release() is called
//   /refused  403 at the head
//   /full     503 when memory for its body is asked for
//   /big      8 MiB of 'b'
#ifndef INKLING_TESTS_HTTP_RIG_H
#define INKLING_TESTS_HTTP_RIG_H

#include "http/http.h"

#include <pthread.h>
#include <stdatomic.h>

#define RIG_PATIENCE_MS 30000
#define RIG_BIG         (8u << 20)

typedef struct {
    http_limits_t limits;
    bus_loop_t *loop;
    http_server_t *server;
    int order[2]; // a byte is an order to the thread
    pthread_t thread;
    char url[80];
    struct held *held;
    atomic_int heads, passed, readies, gones, ends, echoes, drained;
    atomic_size_t connections;
} rig_t;

// Limits that nobody reaches by being slow.
rig_t *rig_open(void); // a failed test leaves it behind, with its thread
rig_t *rig_open_limited(const http_limits_t *limits);
void rig_release(rig_t *rig);
void rig_drain(rig_t *rig); // waits until it does
// Answers what is held, and destroys the server. Every request that passed its head has ended.
void rig_close(rig_t *rig);
void rig_await(const atomic_int *counter, int value);
void rig_await_connections(rig_t *rig, size_t count);

// --- Clients
typedef struct {
    int fd;
    char *bytes; // that came and were not taken yet
    size_t size, room;
    bool over; // the other side has ended
} peer_t;

typedef struct {
    int status; // 0: the connection ended instead
    int interims;
    char head[2048];
    char *body; // free() it
    size_t size;
} reply_t;

peer_t peer_open(const rig_t *rig);
void peer_close(peer_t *peer);
void peer_reset(peer_t *peer); // RST
void peer_put(peer_t *peer, const char *text);
// False: the other side does not take it any more.
bool peer_send(peer_t *peer, const void *bytes, size_t size);
void peer_half_close(peer_t *peer);
// The next answer. head: of a request HEAD, so without a body.
reply_t peer_reply(peer_t *peer, bool head);
// Fails the test unless it has that status and, if text is not NULL, that body.
void peer_expect(peer_t *peer, int status, const char *text);
// What the other side says until it ends.
const char *peer_rest(peer_t *peer);
// The other side says nothing more, and ends.
void peer_expect_end(peer_t *peer);

#endif
