#include "stack/stack.h"

#include "base/clock.h"
#include "base/log.h"
#include "commands_impl.h"
#include "ending_impl.h"
#include "logs_impl.h"
#include "pidfile_impl.h"
#include "spawn_impl.h"
#include "supervise_impl.h"
#include "table_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS    100
#define DETACHED   "INKLING_SUPERVISOR_DETACHED" // in the environment of a detached supervisor
#define TAIL_LINES 12

#define ARGUMENTS_MAX 96 // the command line takes fewer settings

// What a detached supervisor writes to its starter, once: both are of one build.
typedef struct {
    err_code_t code; // ERR_OK: all is ready
    err_t err;
    uint32_t tail_size; // bytes that follow
} notice_t;

// --- The supervisor's side

static void notify(int fd, err_code_t code, const err_t *err, const buf_t *tail) {
    notice_t notice = {.code = code, .tail_size = tail ? (uint32_t)tail->size : 0};
    if (err)
        notice.err = *err;
    // The starter may be gone; the stack runs all the same.
    if (write(fd, &notice, sizeof notice) == sizeof notice && notice.tail_size > 0 &&
        write(fd, tail->data, tail->size) < 0)
        log_debug("nobody waits for the start");
    close(fd);
}

static void on_ready(void *arg) {
    int *notice_fd = arg;
    if (*notice_fd >= 0)
        notify(*notice_fd, ERR_OK, NULL, NULL);
    *notice_fd = -1;
}

static err_code_t stay(const stack_up_t *up, int notice_fd, buf_t *tail, err_t *err) {
    log_setup(STACK_SUPERVISOR, LOG_INFO, false);
    // Again, now that the lock is held: a stack that has just ended may have taken its folder away.
    err_code_t code = conf_make_home(up->conf->home, err);
    if (code == ERR_OK)
        code = supervise(up, on_ready, &notice_fd, tail, err);
    ending_tidy(up->conf->home);
    if (notice_fd >= 0) {
        if (code == ERR_OK)
            err_set(err, ERR_CANCELLED, "the stack was told to end before all was ready");
        notify(notice_fd, code ? code : ERR_CANCELLED, err, tail);
    }
    return code;
}

// --- The starter's side

static bool read_whole(int fd, void *to, size_t size) {
    for (size_t got = 0; got < size;) {
        ssize_t part = read(fd, (char *)to + got, size - got);
        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            return false;
        got += (size_t)part;
    }
    return true;
}

static err_code_t await_notice(const char *home, int fd, long long log_from, buf_t *tail,
                               err_t *err) {
    notice_t notice;
    if (!read_whole(fd, &notice, sizeof notice)) {
        err_set(err, ERR_INTERNAL, "the supervisor died before all was ready");
        logs_tail(home, STACK_SUPERVISOR, log_from, TAIL_LINES, tail);
        return err_remedy(err, "`inkling up` again takes over what runs already");
    }
    char *room = buf_reserve(tail, notice.tail_size + 1);
    if (room && read_whole(fd, room, notice.tail_size)) {
        tail->size += notice.tail_size;
        tail->data[tail->size] = 0;
    }
    if (notice.code)
        *err = notice.err;
    return notice.code;
}

// This very program again, in the background.
static err_code_t start_detached(const stack_up_t *up, buf_t *tail, err_t *err) {
    int ends[2];
    char *program = spawn_sibling("inkling"), *home = up->conf->home, wait[32];
    if (!program || pipe2(ends, O_CLOEXEC) != 0) {
        free(program);
        return err_set_errno(err, "cannot start the supervisor");
    }
    snprintf(wait, sizeof wait, "%lld", (long long)up->wait_ms);
    char *argv[ARGUMENTS_MAX] = {"inkling", "up",      "--wait-ms",     wait,      "--home",
                                 home,      "--files", up->conf->files, "--redis", up->conf->redis};
    int count = 10;
    for (char *const *setting = up->settings; setting && *setting; setting++)
        if (command_hands_on(*setting) && count + 1 < ARGUMENTS_MAX)
            argv[count++] = *setting;
    spawn_t what = {.home = home,
                    .name = STACK_SUPERVISOR,
                    .program = program,
                    .argv = argv,
                    .extra_fd = ends[1]};
    pid_t pid;
    long long log_from;
    setenv(DETACHED, "1", 1);
    err_code_t code = spawn(&what, &pid, &log_from, err);
    unsetenv(DETACHED);
    close(ends[1]);
    if (code == ERR_OK && (code = await_notice(home, ends[0], log_from, tail, err)) != ERR_OK)
        waitpid(pid, NULL, 0); // it ends now; nothing is left when this returns
    close(ends[0]);
    free(program);
    return code;
}

static err_code_t stay_here(const stack_up_t *up, buf_t *tail, err_t *err) {
    int lock;
    err_code_t code = pidfile_take(up->conf->home, STACK_SUPERVISOR, &lock, err);
    if (code)
        return code;
    if (pidfile_write(lock, 0))
        code = stay(up, -1, tail, err);
    else
        code = err_set_errno(err, "cannot write %s/pids/%s.pid", up->conf->home, STACK_SUPERVISOR);
    close(lock);
    return code;
}

// Another supervisor is there. True: all is ready. It may also be just ending: then it is this
// one's turn.
static bool others_ready(const stack_up_t *up) {
    bool ready;
    json_decref(stack_status(up->conf, &ready));
    return ready;
}

static err_code_t check_settings(const stack_up_t *up, err_t *err) {
    if (up->conf->redis[0] == '/')
        return conf_make_home(up->conf->home, err);
    err_set(err, ERR_USAGE, "the setting redis is '%s', but `inkling up` runs a Redis of its own",
            up->conf->redis);
    return err_remedy(err, "unset INKLING_REDIS, or start the services without `inkling up`");
}

err_code_t stack_up(const stack_up_t *up, bool *already, buf_t *tail, err_t *err) {
    *already = false;
    if (getenv(DETACHED)) {
        unsetenv(DETACHED); // the services shall not inherit it, nor these
        fcntl(SPAWN_LOCK_FD, F_SETFD, FD_CLOEXEC);
        fcntl(SPAWN_EXTRA_FD, F_SETFD, FD_CLOEXEC);
        return stay(up, SPAWN_EXTRA_FD, tail, err);
    }
    err_code_t code = check_settings(up, err);
    if (code)
        return code;
    int64_t end_ms = clock_mono_ms() + up->wait_ms;
    for (;;) {
        code = up->detach ? start_detached(up, tail, err) : stay_here(up, tail, err);
        if (code != ERR_CONFLICT)
            return code;
        if (others_ready(up)) {
            *already = true;
            return ERR_OK;
        }
        if (clock_mono_ms() > end_ms) {
            err_set(err, ERR_UNAVAILABLE, "the stack of %s is up, but not all of it is ready",
                    up->conf->home);
            return err_remedy(err, "`inkling status` tells what is missing");
        }
        clock_sleep_ms(LOOK_MS);
    }
}
