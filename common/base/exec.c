#include "base/exec.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

void exec_reset_signals(void) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void exec_give_up(int status_fd) {
    int cause = errno;
    ssize_t ignored = write(status_fd, &cause, sizeof cause); // nobody else could be told
    (void)ignored;
    _exit(127);
}

int exec_error(int status_fd) {
    int cause = 0;
    ssize_t got;
    do
        got = read(status_fd, &cause, sizeof cause);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof cause ? cause : 0;
}
