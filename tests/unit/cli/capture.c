#include "capture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static void redirect(capture_t *capture, int target, int to) {
    fflush(NULL);
    capture->target = target;
    capture->saved = dup(target);
    if (to < 0 || capture->saved < 0 || dup2(to, target) < 0)
        abort();
}

void capture_begin(capture_t *capture, int target) {
    char path[] = "/tmp/inkling-capture-XXXXXX";
    capture->source = mkstemp(path);
    unlink(path);
    redirect(capture, target, capture->source);
}

void capture_begin_terminal(capture_t *capture, int target, unsigned short columns) {
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    int leader = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (leader < 0 || grantpt(leader) != 0 || unlockpt(leader) != 0)
        abort();
    int follower = open(ptsname(leader), O_RDWR | O_NOCTTY);
    struct termios plain;
    if (follower < 0 || tcgetattr(follower, &plain) != 0)
        abort();
    cfmakeraw(&plain); // bytes come through as they are written
    tcsetattr(follower, TCSANOW, &plain);
    ioctl(follower, TIOCSWINSZ, &size);
    capture->source = leader;
    redirect(capture, target, follower);
    close(follower);
}

void capture_end(capture_t *capture, char *text, size_t size) {
    fflush(NULL);
    lseek(capture->source, 0, SEEK_SET); // a terminal stays where it is
    size_t got = 0;
    for (ssize_t part;
         got + 1 < size && (part = read(capture->source, text + got, size - 1 - got)) > 0;)
        got += (size_t)part;
    text[got] = 0;
    dup2(capture->saved, capture->target);
    close(capture->saved);
    close(capture->source);
}
