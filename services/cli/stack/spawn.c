#include "spawn_impl.h"

#include "base/exec.h"
#include "base/fs.h"
#include "logs_impl.h"
#include "pidfile_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS_FD 12 // until exec: errno, if that fails

char *spawn_sibling(const char *name) {
    char path[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
    if (size <= 0)
        return NULL;
    path[size] = 0;
    char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    *slash = 0;
    return fs_join(path, name);
}

// --- In the child, between fork and exec: async-signal-safe calls only

// First above all targets, so that none overwrites another.
static bool place_fds(int lock, int log, int extra, int status) {
    int null = open("/dev/null", O_RDONLY);
    lock = fcntl(lock, F_DUPFD, STATUS_FD + 1);
    log = fcntl(log, F_DUPFD, STATUS_FD + 1);
    status = fcntl(status, F_DUPFD, STATUS_FD + 1);
    extra = extra < 0 ? -1 : fcntl(extra, F_DUPFD, STATUS_FD + 1);
    bool good = null >= 0 && dup2(null, 0) == 0 && dup2(log, 1) == 1 && dup2(log, 2) == 2;
    close_range(3, STATUS_FD, 0);
    good = dup3(status, STATUS_FD, O_CLOEXEC) == STATUS_FD && good &&
           dup2(lock, SPAWN_LOCK_FD) == SPAWN_LOCK_FD &&
           (extra < 0 || dup2(extra, SPAWN_EXTRA_FD) == SPAWN_EXTRA_FD);
    close_range(STATUS_FD + 1, ~0u, 0);
    return good;
}

static _Noreturn void run_child(const spawn_t *what, int lock, int log, int status) {
    setsid();
    exec_reset_signals();
    if (place_fds(lock, log, what->extra_fd, status) && chdir(what->home) == 0 &&
        pidfile_write(SPAWN_LOCK_FD, what->restarts))
        execv(what->program, what->argv);
    exec_give_up(STATUS_FD);
}

// --- In the parent

static err_code_t start(const spawn_t *what, int lock, int log, pid_t *pid, err_t *err) {
    int status[2];
    if (pipe2(status, O_CLOEXEC) != 0)
        return err_set_errno(err, "cannot start %s", what->name);
    *pid = fork();
    if (*pid == 0)
        run_child(what, lock, log, status[1]);
    int cause = *pid < 0 ? errno : 0;
    close(status[1]);
    if (*pid > 0 && (cause = exec_error(status[0])) != 0)
        waitpid(*pid, NULL, 0);
    close(status[0]);
    if (cause == 0)
        return ERR_OK;
    errno = cause;
    err_set_errno(err, "cannot start %s", what->program);
    return err_remedy(err, "it belongs beside this program: build or install it");
}

err_code_t spawn(const spawn_t *what, pid_t *pid, long long *log_from, err_t *err) {
    int lock = -1, log = -1;
    err_code_t code = pidfile_take(what->home, what->name, &lock, err);
    if (code == ERR_OK)
        code = logs_open(what->home, what->name, &log, log_from, err);
    if (code == ERR_OK)
        code = start(what, lock, log, pid, err);
    if (log >= 0)
        close(log);
    if (lock >= 0)
        close(lock);
    return code;
}
