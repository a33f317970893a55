#include "logs_impl.h"

#include "base/fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAIL_BYTES 16384

char *logs_path(const char *home, const char *name) {
    return mem_format("%s/logs/%s.log", home, name);
}

err_code_t logs_open(const char *home, const char *name, int *fd, long long *size, err_t *err) {
    char *folder = fs_join(home, "logs"), *path = logs_path(home, name);
    err_code_t code = fs_mkdirs(folder, err);
    if (code == ERR_OK) {
        *fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        struct stat info;
        if (*fd < 0 || fstat(*fd, &info) != 0)
            code = err_set_errno(err, "cannot open the log %s", path);
        else
            *size = info.st_size;
    }
    free(path);
    free(folder);
    return code;
}

void logs_tail(const char *home, const char *name, long long from, int lines, buf_t *out) {
    char *path = logs_path(home, name), text[TAIL_BYTES + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    struct stat info;
    if (fd < 0)
        return;
    ssize_t size = -1;
    if (fstat(fd, &info) == 0) {
        if (from > info.st_size) // it was rotated meanwhile
            from = 0;
        if (info.st_size - from > TAIL_BYTES)
            from = info.st_size - TAIL_BYTES;
        size = pread(fd, text, TAIL_BYTES, from);
    }
    close(fd);
    if (size <= 0)
        return;
    ssize_t start = size;
    for (int seen = 0; start > 0; start--)
        if (text[start - 1] == '\n' && start < size && ++seen == lines)
            break;
    buf_append(out, text + start, (size_t)(size - start));
}

static bool copy_all(int from, int to) {
    char block[65536];
    for (ssize_t got; (got = read(from, block, sizeof block)) != 0;)
        if (got < 0 || write(to, block, (size_t)got) != got)
            return false;
    return true;
}

static void shift(const char *path) {
    for (int i = LOGS_KEPT; i > 1; i--) {
        char *older = mem_format("%s.%d", path, i), *newer = mem_format("%s.%d", path, i - 1);
        (void)rename(newer, older); // missing ones are no matter
        free(older);
        free(newer);
    }
}

void logs_rotate(const char *home, const char *name) {
    char *path = logs_path(home, name);
    struct stat info;
    if (stat(path, &info) == 0 && info.st_size > LOGS_BYTES_MAX) {
        shift(path);
        char *first = mem_format("%s.1", path);
        int from = open(path, O_RDWR | O_CLOEXEC);
        int to = open(first, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        // Its writers append, so they go on at the new end. On a full disk the old text goes.
        bool copied = from >= 0 && to >= 0 && copy_all(from, to);
        if (from >= 0 && ftruncate(from, 0) == 0 && !copied)
            unlink(first);
        if (from >= 0)
            close(from);
        if (to >= 0)
            close(to);
        free(first);
    }
    free(path);
}
