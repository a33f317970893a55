// Starts a process of the stack: a session of its own, log file, pid file, nothing else inherited.
#ifndef INKLING_CLI_STACK_SPAWN_IMPL_H
#define INKLING_CLI_STACK_SPAWN_IMPL_H

#include "base/err.h"

#include <stdint.h>
#include <sys/types.h>

// Descriptors that the process finds: the lock on its pid file, and what the caller passes on.
enum { SPAWN_LOCK_FD = 10, SPAWN_EXTRA_FD = 11 };

typedef struct {
    const char *home, *name;
    const char *program; // absolute
    char *const *argv;
    uint64_t restarts;
    int extra_fd; // -1: none
} spawn_t;

// The program exists and runs once this returns ERR_OK. ERR_CONFLICT: one of that name lives.
// log_from: size of the log before it.
err_code_t spawn(const spawn_t *what, pid_t *pid, long long *log_from, err_t *err);

// "<folder of this program>/<name>"; malloc'ed; NULL when the program's place is unknown.
char *spawn_sibling(const char *name);

#endif
