#include "pidfile_impl.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_SIZE 72 // three numbers of at most 20 digits, blanks, a line feed

// A lock of the open file, not of the process: it passes fork and exec, and ends with the last
// copy.
static const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

static char *path_of(const char *home, const char *name) {
    return mem_format("%s/pids/%s.pid", home, name);
}

err_code_t pidfile_take(const char *home, const char *name, int *out, err_t *err) {
    char *folder = fs_join(home, "pids"), *path = path_of(home, name);
    err_code_t code = fs_mkdirs(folder, err);
    int fd = code ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock lock = whole;
    if (code == ERR_OK && fd < 0) {
        code = err_set_errno(err, "cannot open %s", path);
    } else if (code == ERR_OK && fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        if (errno == EAGAIN || errno == EACCES)
            code = err_set(err, ERR_CONFLICT, "%s of %s runs already", name, home);
        else
            code = err_set_errno(err, "cannot lock %s", path);
    }
    free(path);
    free(folder);
    if (code == ERR_OK) {
        *out = fd;
        return ERR_OK;
    }
    if (fd >= 0)
        close(fd);
    return code;
}

// --- The process' start time

// Field 22 of /proc/PID/stat, counted behind the name in brackets, which may hold anything; 0:
// none.
static uint64_t start_in(const char *stat) {
    const char *c = strrchr(stat, ')');
    for (int field = 2; c && field < 22; field++)
        c = strchr(c + 1, ' ');
    uint64_t start = 0;
    for (c = c ? c + 1 : ""; *c >= '0' && *c <= '9'; c++)
        start = start * 10 + (uint64_t)(*c - '0');
    return start;
}

static uint64_t start_at(const char *path) {
    char text[1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (size <= 0)
        return 0;
    text[size] = 0;
    return start_in(text);
}

static char *put_number(char *to, uint64_t number) {
    char digits[24];
    int count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count > 0)
        *to++ = digits[--count];
    return to;
}

bool pidfile_write(int fd, uint64_t restarts) {
    char text[TEXT_SIZE], *to = put_number(text, (uint64_t)getpid());
    *to++ = ' ';
    to = put_number(to, start_at("/proc/self/stat"));
    *to++ = ' ';
    to = put_number(to, restarts);
    while (to < text + TEXT_SIZE - 1)
        *to++ = ' ';
    *to = '\n';
    return pwrite(fd, text, TEXT_SIZE, 0) == TEXT_SIZE;
}

// --- Reading

static bool is_locked(int fd) {
    struct flock lock = whole;
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool pidfile_alive(const char *home, const char *name, pidfile_t *found) {
    *found = (pidfile_t){0};
    char *path = path_of(home, name), text[TEXT_SIZE + 1] = "";
    int fd = open(path, O_RDWR | O_CLOEXEC);
    free(path);
    if (fd < 0)
        return false;
    bool locked = is_locked(fd);
    ssize_t size = locked ? pread(fd, text, sizeof text - 1, 0) : 0;
    close(fd);
    long long pid;
    unsigned long long start, restarts;
    if (size > 0 && sscanf(text, "%lld %llu %llu", &pid, &start, &restarts) == 3 && pid > 0) {
        snprintf(text, sizeof text, "/proc/%lld/stat", pid);
        if (start_at(text) == start)
            *found = (pidfile_t){(pid_t)pid, start, restarts};
    }
    return locked;
}
