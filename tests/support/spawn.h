// Starting and ending a process that must not outlive the test.
#ifndef INKLING_TESTS_SUPPORT_SPAWN_H
#define INKLING_TESTS_SUPPORT_SPAWN_H

#include "base/err.h"

#include <sys/types.h>

// Runs program with argv (ended by NULL) and env ("NAME=VALUE", ended by NULL, on top of ours; may
// be NULL), standard input empty, output and errors appended to the file log. It gets SIGKILL when
// the calling thread ends. ERR_NOT_FOUND etc. if it cannot be run.
err_code_t spawn(const char *program, const char *const *argv, const char *const *env,
                 const char *log, pid_t *pid, err_t *err);
// Fetches the wait status if it has ended.
bool spawn_ended(pid_t pid, int *status);
// SIGKILL, waits, and sets *pid to 0, which it may be already.
void spawn_kill(pid_t *pid);

#endif
