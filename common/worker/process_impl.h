// One child process in a group of its own, with a link, a stderr and nothing else of its parent's.
// The kernel kills it when the parent dies.
#ifndef INKLING_WORKER_PROCESS_IMPL_H
#define INKLING_WORKER_PROCESS_IMPL_H

#include "base/err.h"

#include <sys/types.h>

typedef struct {
    pid_t pid;     // 0: none, or reaped
    int watch;     // readable once the process has ended; -1 afterwards
    int link;      // non-blocking; the child has the other end as LINK_FD
    int stderr_fd; // non-blocking; the child's stdout and stderr
} process_t;

#define PROCESS_NONE ((process_t){0, -1, -1, -1})

// argv and env end with NULL. Returns once the program runs, or could not be started; then nothing
// is left behind. Call it from the thread that lives as long as the process shall: its end is taken
// for the parent's.
err_code_t process_start(process_t *process, const char *program, char *const *argv,
                         char *const *env, err_t *err);
// SIGKILL to the whole group.
void process_kill(const process_t *process);
// After the end: kills what is left of the group and returns the wait status.
int process_reap(process_t *process);
void process_close_link(process_t *process);
// Kills, waits and closes: for the way out.
void process_destroy(process_t *process);

#endif
