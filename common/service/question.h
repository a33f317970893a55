// Asking a service how it is, over its own socket: for health checks, and for what watches it.
#ifndef INKLING_SERVICE_QUESTION_H
#define INKLING_SERVICE_QUESTION_H

#include "base/err.h"
#include "proto/codec.h"

// The state of the instance that runs under this home and name; its texts live in the arena.
// ERR_UNAVAILABLE: none answers within three seconds.
err_code_t question_state(const char *home, const char *name, proto_arena_t *arena,
                          proto_service_state_t *state, err_t *err);
// "ready: leads; 0 jobs run on 2 workers", malloc'ed.
char *question_words(const proto_service_state_t *state);

#endif
