// A program of this build as a process of its own, under a temporary home, for tests and
// benchmarks.
//
// It dies with the thread that started it. Not thread-safe.
#ifndef INKLING_TESTS_SUPPORT_PROC_H
#define INKLING_TESTS_SUPPORT_PROC_H

#include "base/err.h"

#include <stdint.h>
#include <sys/types.h>

#define PROC_HOME_SIZE 64

typedef struct {
    char name[40]; // of the instance: its socket is <home>/run/<name>.ctl
    char home[PROC_HOME_SIZE];
    char log[PROC_HOME_SIZE + 48]; // <home>/<name>.log: its output and errors
    pid_t pid;                     // 0: not running
} proc_t;

// A fresh folder in /tmp, to be removed with proc_remove_home().
err_code_t proc_make_home(char home[PROC_HOME_SIZE], err_t *err);
void proc_remove_home(const char *home);

// The path of a program in the build's bin folder, or in the one that INKLING_BIN names; malloc'ed.
char *proc_program(const char *program);
// Starts build/bin/<program> with INKLING_HOME=home, --name name, args, and env ("NAME=VALUE") on
// top of this environment without its other INKLING_ variables. args and env are ended by NULL and
// may be NULL.
err_code_t proc_start(proc_t *proc, const char *program, const char *name, const char *home,
                      const char *const *args, const char *const *env, err_t *err);
// Until service.status on its control socket says ready. ERR_TIMEOUT brings what it said last,
// ERR_UNAVAILABLE that it ended.
err_code_t proc_await_ready(proc_t *proc, int64_t timeout_ms, err_t *err);
void proc_signal(const proc_t *proc, int number);
void proc_kill(proc_t *proc); // SIGKILL, and waits for its end
// Waits for its end; *status is that of wait(). ERR_TIMEOUT: it runs on.
err_code_t proc_await_end(proc_t *proc, int64_t timeout_ms, int *status, err_t *err);
// A metric by its name and labels as they stand in the text; -1: not there or no answer.
double proc_metric(const proc_t *proc, const char *name);
// Its output so far, for messages of failures; malloc'ed, "" if there is none.
char *proc_output(const proc_t *proc);
// User and system time of a process in ms, -1: it is gone.
int64_t proc_cpu_ms(pid_t pid);

#endif
