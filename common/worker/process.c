#include "process_impl.h"

#include "base/exec.h"
#include "link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS_FD (LINK_FD + 1) // of the child until exec: errno, if that fails

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

// --- In the child, between fork and exec: async-signal-safe calls only
// --------------------------

// When memory runs out the kernel shall choose the heavy half, not the one that holds the lease.
static void offer_to_oom_killer(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t ignored = write(fd, "500", 3); // a worse choice for the kernel is no reason to fail
    (void)ignored;
    close(fd);
}

// First above all targets, so that none overwrites another.
static bool place_fds(int link, int errors, int status) {
    int null = open("/dev/null", O_RDONLY);
    link = fcntl(link, F_DUPFD_CLOEXEC, 10);
    errors = fcntl(errors, F_DUPFD_CLOEXEC, 10);
    status = fcntl(status, F_DUPFD_CLOEXEC, 10);
    bool good = null >= 0 && dup2(null, 0) == 0;
    return dup3(status, STATUS_FD, O_CLOEXEC) == STATUS_FD && good && dup2(errors, 1) == 1 &&
           dup2(errors, 2) == 2 && dup2(link, LINK_FD) == LINK_FD;
}

static _Noreturn void run_child(const char *program, char *const *argv, char *const *env,
                                pid_t parent, int link, int errors, int status) {
    setpgid(0, 0);
    bool good = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
    if (getppid() != parent) // it died before prctl
        _exit(1);
    exec_reset_signals();
    if (place_fds(link, errors, status) && good) {
        close_range(STATUS_FD + 1, ~0u, 0);
        offer_to_oom_killer();
        execve(program, argv, env);
    }
    exec_give_up(STATUS_FD);
}

// --- In the parent
// ------------------------------------------------------------------------------

typedef struct {
    int link[2], errors[2], status[2]; // parent's end first
} pipes_t;

static err_code_t open_pipes(pipes_t *pipes, err_t *err) {
    *pipes = (pipes_t){{-1, -1}, {-1, -1}, {-1, -1}};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pipes->link) < 0 ||
        pipe2(pipes->errors, O_CLOEXEC) < 0 || pipe2(pipes->status, O_CLOEXEC) < 0 ||
        fcntl(pipes->link[0], F_SETFL, O_NONBLOCK) < 0 ||
        fcntl(pipes->errors[0], F_SETFL, O_NONBLOCK) < 0)
        return err_set_errno(err, "cannot connect a child process");
    return ERR_OK;
}

static void close_pipes(pipes_t *pipes) {
    for (int end = 0; end < 2; end++) {
        close_fd(&pipes->link[end]);
        close_fd(&pipes->errors[end]);
        close_fd(&pipes->status[end]);
    }
}

static err_code_t adopt(process_t *process, pid_t pid, pipes_t *pipes, const char *program,
                        err_t *err) {
    err_code_t code = ERR_OK;
    close_fd(&pipes->status[1]);
    errno = exec_error(pipes->status[0]);
    int watch = -1;
    if (errno) {
        err_set_errno(err, "cannot start %s", program);
        code = err_remedy(err, "it belongs beside the worker's own program: build or install both");
    } else if ((watch = pidfd_open(pid, 0)) < 0) {
        err_set_errno(err, "cannot watch the process of %s", program);
        code = err_remedy(err, "this needs Linux 5.3 or newer");
    }
    if (code) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return code;
    }
    *process = (process_t){pid, watch, pipes->link[0], pipes->errors[0]};
    pipes->link[0] = pipes->errors[0] = -1;
    return ERR_OK;
}

err_code_t process_start(process_t *process, const char *program, char *const *argv,
                         char *const *env, err_t *err) {
    pipes_t pipes;
    *process = PROCESS_NONE;
    err_code_t code = open_pipes(&pipes, err);
    pid_t parent = getpid(), pid = -1;
    if (code == ERR_OK) {
        pid = fork();
        if (pid == 0)
            run_child(program, argv, env, parent, pipes.link[1], pipes.errors[1], pipes.status[1]);
        if (pid < 0)
            code = err_set_errno(err, "cannot start %s: no new process", program);
    }
    if (code == ERR_OK) {
        setpgid(pid, pid); // as the child does: whoever comes first
        code = adopt(process, pid, &pipes, program, err);
    }
    close_pipes(&pipes);
    return code;
}

void process_kill(const process_t *process) {
    if (process->pid > 0)
        kill(-process->pid, SIGKILL);
}

int process_reap(process_t *process) {
    int status = 0;
    process_kill(process); // before waitpid: until then the group's number is not used again
    while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
        ;
    process->pid = 0;
    close_fd(&process->watch);
    return status;
}

void process_close_link(process_t *process) {
    close_fd(&process->link);
}

void process_destroy(process_t *process) {
    if (process->pid > 0)
        process_reap(process);
    close_fd(&process->watch);
    close_fd(&process->link);
    close_fd(&process->stderr_fd);
}
