// A generator of load: sends prepared requests on a schedule (open loop) or a number at once
// (closed loop), over any wire, and counts what came back.
//
// In the open loop a request's time begins when the schedule wants it to leave, whether or not it
// could: latencies are free of coordinated omission. In the closed loop it begins when it is sent.
// Every request ends as one of: answered well, or counted under a kind of error. Kinds are texts:
// what the judge says, and LOAD_… below. Nothing is left out silently: requests that wait for a
// wire that takes no more are counted, as are late departures.
//
// All on one thread, the caller's, which load_run() keeps until the end. Nothing is allocated for a
// request.
#ifndef INKLING_LOAD_LOAD_H
#define INKLING_LOAD_LOAD_H

#include "bus/bus.h"
#include "load/hist.h"
#include "load/reply.h"

#define LOAD_NO_ANSWER  "no answer"       // within timeout_ms of its time
#define LOAD_NOT_SENT   "not sent"        // no connection took it within timeout_ms
#define LOAD_NOT_BEGUN  "not begun"       // more requests wait than the generator holds
#define LOAD_LOST       "connection lost" // with the request on it
#define LOAD_NO_CONNECT "no connection"   // an attempt to connect failed; no request's fate
#define LOAD_BAD_ANSWER "unreadable answer"
#define LOAD_MIXED_UP   "mixed up" // not the answer that the same question had before
#define LOAD_OPEN_MAX   (1u << 20) // requests without an end at once
#define LOAD_KINDS_MAX  64

typedef struct load load_t;

// --- What is wanted

typedef struct {
    double rate; // requests a second; 0: closed loop
    bool poisson;
    uint64_t seed;
    size_t concurrency; // requests at once of the closed loop
    int64_t warmup_ms;  // at the beginning; requests of that time count only where they fail
    int64_t length_ms;  // measured, behind it
    int64_t timeout_ms;
    int64_t deadline_ms;       // to count answers in time; 0: none
    size_t requests;           // prepared ones, sent in turn
    const volatile bool *stop; // ends the run early once true; may be NULL
} load_plan_t;

// --- What came back

typedef struct {
    size_t request;       // which prepared one it answers
    proto_type_t type;    // over ZeroMQ
    const reply_t *reply; // over HTTP; NULL over ZeroMQ
    proto_bytes_t body;
    const proto_bytes_t *attachments;
    size_t attachment_count;
} load_answer_t;

typedef struct {
    const char *kind;    // of error, NULL: a good answer. Copied.
    const char *message; // for people; may be NULL
    uint32_t images;     // that were classified, also where others of the same request were not
} load_verdict_t;

typedef void (*load_judge_fn)(void *arg, const load_answer_t *answer, load_verdict_t *verdict);

typedef struct {
    char name[64], message[512]; // message: of the first one
    uint64_t count, measured;    // measured: of requests of the measured time
} load_kind_t;

typedef struct {
    double seconds;         // measured; shorter than wanted after a stop
    uint64_t offered;       // requests of the measured time
    uint64_t answered;      // of these, well
    uint64_t failed;        // of these, with an error: offered = answered + failed + open
    uint64_t open;          // of these, without an end when the run was stopped
    uint64_t in_time;       // of those answered, within deadline_ms
    uint64_t warmup_failed; // requests before the measured time that ended with an error
    uint64_t images;        // of answers that came within the measured time
    uint64_t late;          // answers to requests that were counted as without one
    uint64_t reconnects;    // connections that were made again
    hist_t latency;         // ns, of those answered
    // ns, open loop, requests of the measured time: how long after its time the generator came to
    // it (its own fault), and how long after its time it left (the wire's, too).
    hist_t lag, departure;
    load_kind_t kinds[LOAD_KINDS_MAX]; // the last one takes what finds no room, named "other"
    size_t kind_count;
} load_result_t;

// --- Wires

typedef struct load_wire load_wire_t;

typedef struct {
    // Sends a prepared request; the answer is told by load_answered() with its ticket. False: it
    // takes none now, and load_room() follows.
    bool (*send)(load_wire_t *wire, size_t request, uint64_t ticket);
    // Its answer is not waited for any more.
    void (*forget)(load_wire_t *wire, uint64_t ticket);
    void (*destroy)(load_wire_t *wire);
} load_wire_class_t;

struct load_wire {
    const load_wire_class_t *class;
};

// From a wire, outside of its functions.
void load_answered(load_t *load, uint64_t ticket, load_answer_t *answer); // fills in the request
void load_lost(load_t *load, uint64_t ticket, const char *kind, const char *message);
void load_room(load_t *load);
void load_trouble(load_t *load, const char *kind, const char *message); // of no request
void load_reconnected(load_t *load);

// --- Running

err_code_t load_new(const load_plan_t *plan, load_judge_fn judge, void *arg, load_t **load,
                    err_t *err);
void load_destroy(load_t **load); // after its wire
bus_loop_t *load_loop(load_t *load);

// Over ZeroMQ: `connections` dealers, in turn to the endpoints of the list. parcels: one for each
// prepared request, the caller's.
typedef struct bus_parcel bus_parcel_t;
err_code_t load_wire_zmq(load_t *load, const char *endpoints, size_t connections,
                         bus_parcel_t *const *parcels, load_wire_t **wire, err_t *err);
// Over HTTP/1.1, `connections` kept ones with one request at a time each. url: "http://HOST:PORT".
// requests: bytes of each prepared one, the caller's. ERR_UNAVAILABLE: nobody there. At most
// LOAD_CONNECTIONS_MAX.
#define LOAD_CONNECTIONS_MAX 4096
err_code_t load_wire_http(load_t *load, const char *url, size_t connections,
                          const proto_bytes_t *requests, load_wire_t **wire, err_t *err);
// Host and port of "http://HOST:PORT[/]". ERR_USAGE.
err_code_t load_url(const char *url, char host[256], char port[8], err_t *err);
void load_wire_destroy(load_wire_t **wire);
// One GET, blocking, with a bearer token unless it is NULL. answer: an empty buffer with a ceiling;
// the body stands behind reply->head_bytes.
err_code_t load_get(const char *url, const char *path, const char *token, int64_t timeout_ms,
                    reply_t *reply, buf_t *answer, err_t *err);

// Runs to the end. result: zeroed by it.
void load_run(load_t *load, load_wire_t *wire, load_result_t *result);

#endif
