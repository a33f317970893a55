// Questions to the dispatcher, where the studies' logs are.
//
// A question is sent again until it is answered: an endpoint that does not answer is left for the
// next, NOT_LEADER for the leader, and what may succeed later is tried later. So one may be done
// twice; those of studies' logs can be. Between questions a ping now and then tells whether
// somebody is there.
#ifndef INKLING_STUDIES_ARCHIVE_H
#define INKLING_STUDIES_ARCHIVE_H

#include "bus/bus.h"

typedef struct archive archive_t;

// The asker's, and not to be touched from archive_ask() until `answered` is called, unless
// archive_forget() comes first.
typedef struct ask ask_t;
struct ask {
    proto_type_t type;
    const void *message; // struct of the type
    proto_type_t answer_type;
    // On the loop's thread. answer: struct of answer_type in `arena`; NULL: err says why not.
    void (*answered)(void *arg, const void *answer, const err_t *err);
    void *arg;
    proto_arena_t *arena; // cleared for the answer; not that of the message
    // The archive's own:
    ask_t *next;
    uint64_t id;    // 0: to be sent at due_ms
    int64_t due_ms; // when the answer is late, or the question to be sent
};

// endpoints: separated by commas.
err_code_t archive_new(bus_loop_t *loop, const char *endpoints, archive_t **archive, err_t *err);
void archive_destroy(archive_t **archive); // open questions are forgotten

void archive_ask(archive_t *archive, ask_t *ask);
void archive_forget(archive_t *archive, ask_t *ask); // nothing if it is not open
bool archive_heard(const archive_t *archive);        // the newest message was answered in time

#endif
