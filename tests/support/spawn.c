#include "support/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// In the child. Returns only when the program cannot be run.
static void become(const char *program, const char *const *argv, const char *const *env,
                   const char *log, pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); // it died before the line above
    int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
        return;
    for (size_t i = 0; env && env[i]; i++)
        putenv((char *)(uintptr_t)env[i]);
    execv(program, (char *const *)(uintptr_t)argv);
}

err_code_t spawn(const char *program, const char *const *argv, const char *const *env,
                 const char *log, pid_t *pid, err_t *err) {
    int pipe_fds[2]; // closed by a successful exec; else it brings errno
    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return err_set_errno(err, "cannot make a pipe");
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        become(program, argv, env, log, parent);
        int problem = errno;
        ssize_t ignored = write(pipe_fds[1], &problem, sizeof problem);
        (void)ignored;
        _exit(127);
    }
    close(pipe_fds[1]);
    int problem = child < 0 ? errno : 0;
    ssize_t size;
    do
        size = read(pipe_fds[0], &problem, child < 0 ? 0 : sizeof problem);
    while (size < 0 && errno == EINTR);
    close(pipe_fds[0]);
    if (!problem) {
        *pid = child;
        return ERR_OK;
    }
    if (child > 0)
        waitpid(child, NULL, 0);
    errno = problem;
    return err_set_errno(err, "cannot run %s", program);
}

bool spawn_ended(pid_t pid, int *status) {
    return waitpid(pid, status, WNOHANG) == pid;
}

void spawn_kill(pid_t *pid) {
    if (*pid <= 0)
        return;
    kill(*pid, SIGKILL);
    while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    *pid = 0;
}
