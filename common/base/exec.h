// Between fork and exec: what every start of a program needs.
//
// The child holds the write end of a pipe that exec closes (O_CLOEXEC): nothing in it tells the
// parent that the program runs, an errno tells why not.
#ifndef INKLING_BASE_EXEC_H
#define INKLING_BASE_EXEC_H

// In the child, async-signal-safe: every signal as at a program's start, none blocked.
void exec_reset_signals(void);
// In the child, async-signal-safe: tells errno to the parent and exits with 127.
_Noreturn void exec_give_up(int status_fd);

// In the parent, which has closed its copy of the write end: waits for exec. 0, or the child's
// errno.
int exec_error(int status_fd);

#endif
