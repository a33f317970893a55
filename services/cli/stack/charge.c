#include "charge_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "commands_impl.h"
#include "ending_impl.h"
#include "pidfile_impl.h"
#include "spawn_impl.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000
#define SETTLED_MS     30000 // alive for so long: the next death begins with the shortest pause
#define ASK_AGAIN_MS   5000  // a ready one is asked this often

static void on_state(void *arg, const probe_state_t *state);

void charge_init(charge_t *charge, const stack_up_t *up, bus_loop_t *loop, int index,
                 void (*died)(void *arg, charge_t *charge), void *arg) {
    *charge = (charge_t){.up = up,
                         .loop = loop,
                         .row = &stack_rows[index],
                         .index = index,
                         .watch = -1,
                         .backoff_ms = BACKOFF_MIN_MS,
                         .died = died,
                         .arg = arg};
    if (index != STACK_REDIS)
        charge->probe = probe_new(loop, up->conf->home, charge->row->name, on_state, charge);
}

static void unwatch(charge_t *charge) {
    if (charge->watch < 0)
        return;
    bus_loop_watch(charge->loop, charge->watch, 0, NULL, NULL);
    close(charge->watch);
    charge->watch = -1;
}

void charge_release(charge_t *charge) {
    unwatch(charge);
    probe_destroy(&charge->probe);
}

// --- Ready or not

static void set_ready(charge_t *charge, bool ready, const char *detail) {
    if (ready && !charge->ready)
        log_info("%s is ready, process %ld", charge->row->name, (long)charge->pid);
    else if (!ready && charge->ready)
        log_warn("%s is not ready: %s", charge->row->name, detail);
    charge->ready = ready;
    charge->once_ready = charge->once_ready || ready;
    snprintf(charge->detail, sizeof charge->detail, "%s", detail);
}

static void on_state(void *arg, const probe_state_t *state) {
    charge_t *charge = arg;
    if (charge->pid > 0 && state->pid == charge->pid) // not a late word of its predecessor
        set_ready(charge, state->ready, state->detail);
}

static void ask(charge_t *charge) {
    int64_t now = clock_mono_ms();
    if (charge->ready && now - charge->asked_ms < ASK_AGAIN_MS)
        return;
    charge->asked_ms = now;
    if (charge->probe) {
        probe_ask(charge->probe);
        return;
    }
    char detail[256];
    bool ready = probe_redis(charge->up->conf->redis, detail, sizeof detail);
    set_ready(charge, ready, detail);
}

// --- Its end

static void describe_end(charge_t *charge, char *text, size_t size) {
    int status;
    charge->exit_code = -1;
    if (!charge->child)
        snprintf(text, size, "has ended");
    else if (waitpid(charge->pid, &status, 0) != charge->pid)
        snprintf(text, size, "is lost");
    else if (WIFSIGNALED(status))
        snprintf(text, size, "was killed by signal %d", WTERMSIG(status));
    else
        snprintf(text, size, "ended with exit code %d", charge->exit_code = WEXITSTATUS(status));
}

static void plan_next(charge_t *charge) {
    int64_t now = clock_mono_ms();
    if (charge->started_ms && now - charge->started_ms > SETTLED_MS)
        charge->backoff_ms = BACKOFF_MIN_MS;
    charge->due_ms = now + charge->backoff_ms;
    charge->backoff_ms *= 2;
    if (charge->backoff_ms > BACKOFF_MAX_MS)
        charge->backoff_ms = BACKOFF_MAX_MS;
}

static void count_death(charge_t *charge) {
    charge->deaths += !charge->once_ready;
    charge->restarts++;
}

static void on_end(void *arg, int events) {
    (void)events;
    charge_t *charge = arg;
    char how[80];
    describe_end(charge, how, sizeof how);
    unwatch(charge);
    charge->pid = 0;
    charge->ready = false;
    plan_next(charge);
    count_death(charge);
    log_warn("%s %s; it is started again in %.1f s", charge->row->name, how,
             (double)(charge->due_ms - clock_mono_ms()) / 1000);
    snprintf(charge->detail, sizeof charge->detail, "it %s", how);
    charge->died(charge->arg, charge);
}

// --- Its start

static bool watch(charge_t *charge, pid_t pid, bool child) {
    charge->watch = pidfd_open(pid, 0);
    if (charge->watch < 0)
        return false;
    charge->pid = pid;
    charge->child = child;
    charge->started_ms = clock_mono_ms();
    charge->ready = false;
    bus_loop_watch(charge->loop, charge->watch, BUS_READ, on_end, charge);
    return true;
}

// Is it of this very program? After an update the file of the old one is gone.
static bool same_program(pid_t pid, const char *program) {
    char link[64], path[PATH_MAX], *wanted = realpath(program, NULL);
    snprintf(link, sizeof link, "/proc/%ld/exe", (long)pid);
    ssize_t size = readlink(link, path, sizeof path - 1);
    path[size > 0 ? size : 0] = 0;
    bool same = wanted && strcmp(path, wanted) == 0;
    free(wanted);
    return same;
}

// A killed supervisor's process goes on under this one; one of another build ends first.
static bool take_over(charge_t *charge, const command_t *command) {
    pidfile_t found;
    if (!pidfile_alive(charge->up->conf->home, charge->row->name, &found) || found.pid == 0)
        return false;
    if (charge->index != STACK_REDIS && !same_program(found.pid, command->program)) {
        log_info("%s, process %ld, is of another build: it is replaced", charge->row->name,
                 (long)found.pid);
        ending_one(charge->up->conf->home, charge->index);
        return false;
    }
    charge->restarts = found.restarts;
    if (!watch(charge, found.pid, false))
        return false;
    log_info("%s, process %ld, is taken over", charge->row->name, (long)found.pid);
    return true;
}

static err_code_t launch(charge_t *charge, err_t *err) {
    command_t command;
    err_code_t code = command_of(charge->up, charge->index, &command, err);
    if (code)
        return code;
    pid_t pid = 0;
    if (!take_over(charge, &command)) {
        spawn_t what = {.home = charge->up->conf->home,
                        .name = charge->row->name,
                        .program = command.program,
                        .argv = command.argv,
                        .restarts = charge->restarts,
                        .extra_fd = -1};
        code = spawn(&what, &pid, &charge->log_from, err);
        if (code == ERR_OK && !watch(charge, pid, true))
            code = err_set_errno(err, "cannot watch %s", charge->row->name);
    }
    command_release(&command);
    return code;
}

void charge_tick(charge_t *charge) {
    if (charge->pid > 0) {
        ask(charge);
        return;
    }
    if (clock_mono_ms() < charge->due_ms)
        return;
    err_t err = {0};
    err_code_t code = launch(charge, &err);
    charge->failure = err;
    charge->failure.code = code;
    if (code == ERR_OK)
        return;
    log_error("%s", err.message);
    plan_next(charge);
    if (code != ERR_CONFLICT) // a child of its killed predecessor still lives, e.g. one of Redis
        count_death(charge);
    snprintf(charge->detail, sizeof charge->detail, "%.500s", err.message);
    charge->died(charge->arg, charge);
}
