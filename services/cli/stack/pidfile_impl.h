// Who runs as NAME: <home>/pids/NAME.pid, locked by the process for as long as it lives.
#ifndef INKLING_CLI_STACK_PIDFILE_IMPL_H
#define INKLING_CLI_STACK_PIDFILE_IMPL_H

#include "base/err.h"

#include <stdint.h>
#include <sys/types.h>

typedef struct {
    pid_t pid;
    uint64_t start; // clock ticks after boot, from /proc/PID/stat
    uint64_t restarts;
} pidfile_t;

// Takes the lock; *fd (close-on-exec) and every copy of it hold it. ERR_CONFLICT: a living process
// has it.
err_code_t pidfile_take(const char *home, const char *name, int *fd, err_t *err);
// Writes the calling process; async-signal-safe. False (errno): it could not, the disk is full. The
// text always has the same size, so that writing it again needs no room.
bool pidfile_write(int fd, uint64_t restarts);
// Does that process live? It is the one that wrote the file, or a lock without a process (it is
// just starting, or only a child of it is left): then pid is 0.
bool pidfile_alive(const char *home, const char *name, pidfile_t *found);

#endif
