// A dispatcher played by the test, and a real worker process that talks to it.
//
// The fake answers worker.hello and worker.renew by itself, with what welcome and renewed say;
// everything else is for the test, in order of arrival.
#ifndef INKLING_TESTS_WORKER_FAKE_H
#define INKLING_TESTS_WORKER_FAKE_H

#include "bus/bus.h"

#include <sys/types.h>

typedef struct {
    proto_type_t type;
    uint64_t id;
    bus_peer_t peer;
    void *body; // decoded: proto_<type>_t
} got_t;

typedef struct {
    const char *program, *kind; // path of the worker's program; of the jobs it is sent
    char home[64], endpoint[128], endpoint2[128];
    bus_socket_t *router;
    proto_arena_t *arena;
    bus_peer_t peer; // of the newest message
    proto_worker_welcome_t welcome;
    proto_worker_renewed_t renewed; // lost, cancel and hello are told once
    bool silent;                    // answers nothing by itself
    int hellos, renews;
    proto_worker_hello_t hello; // the newest
    proto_worker_renew_t renew;
    got_t got[4096]; // for the test
    size_t got_count, taken;
    struct {
        char job[65];
        uint64_t token, next;
    } seqs[16];       // of fake_finish
    char logs[16384]; // texts of the "log" events it saw, a line each
    pid_t worker;
} fake_t;

// Home and endpoints, no socket yet. The worker will be named "play-0".
void fake_open(fake_t *fake, const char *program, const char *kind);
void fake_listen(fake_t *fake, const char *endpoint);
void fake_deaf(fake_t *fake); // closes the socket
void fake_close(fake_t *fake);

// Starts the worker and waits for its hello, if there is a socket. extra: more arguments, ended by
// NULL.
void fake_worker(fake_t *fake, const char *const *extra);
// Waits for its end; the wait status.
int fake_reap(fake_t *fake);

// Handles what comes for so long.
void fake_run(fake_t *fake, int64_t ms);
// The next message for the test, which must come within 10 s.
const got_t *fake_next(fake_t *fake);
// The same, and of that type.
const got_t *fake_expect(fake_t *fake, proto_type_t type);
// Fails if a message for the test comes within that time.
void fake_expect_nothing(fake_t *fake, int64_t ms);
void fake_wait_hello(fake_t *fake, int hellos);
// Waits for a heartbeat that begins after now.
void fake_wait_renew(fake_t *fake);

void fake_assign(fake_t *fake, const char *job, uint64_t token, const char *body_json);
// The same after an outage: the worker may have left the socket of its last hello, so it is sent
// again after each new one until a message for the test comes.
void fake_assign_surely(fake_t *fake, const char *job, uint64_t token, const char *body_json);
void fake_send(fake_t *fake, proto_type_t type, const void *message);
void fake_answer(fake_t *fake, const got_t *got, proto_type_t type, const void *message);
void fake_ok(fake_t *fake, const got_t *got);
void fake_error(fake_t *fake, const got_t *got, err_code_t code, const char *leader);
void fake_finished(fake_t *fake, const got_t *got, const proto_worker_assign_t *next);
// Answers reports, whose numbers must follow each other in each attempt, until an end comes, and
// that too. events: number of its last event, or NULL. Clears logs, then fills them.
const proto_job_finish_t *fake_finish(fake_t *fake, size_t *events);

// The process number in <files>/jobs/<job>/<token>/<name>; waits for it.
pid_t fake_child_pid(fake_t *fake, const char *job, uint64_t token, const char *name);
// True once no such process lives, within ms.
bool fake_gone(fake_t *fake, pid_t pid, int64_t ms);
bool fake_has_file(const fake_t *fake, const char *path); // below files
// A metric of the worker, asked through its own socket.
double fake_metric(fake_t *fake, const char *name);

#endif
