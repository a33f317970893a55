#include "listing/steady.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ATTEMPTS 3
#define TICK_NS  20000000 // longer than a kernel's tick

static err_code_t cannot_read(err_t *err) {
    bool short_of = errno == ENOMEM || errno == EMFILE || errno == ENFILE;
    return err_set(err, short_of ? ERR_NO_MEMORY : ERR_INVALID, "cannot read it: %s",
                   strerror(errno));
}

static bool make_room(steady_t *into, size_t size) {
    if (size <= into->room)
        return true;
    uint8_t *bytes = realloc(into->bytes, size);
    if (!bytes)
        return false;
    into->bytes = bytes;
    into->room = size;
    return true;
}

// At most one byte more than expected, which shows that the file has grown.
static err_code_t read_bytes(steady_t *into, int fd, size_t expected, err_t *err) {
    into->size = 0;
    if (!make_room(into, expected + 1))
        return err_set(err, ERR_NO_MEMORY, "no memory for %zu bytes of a file", expected);
    while (into->size <= expected) {
        ssize_t got = read(fd, into->bytes + into->size, expected + 1 - into->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return cannot_read(err);
        if (got == 0)
            break;
        into->size += (size_t)got;
    }
    return ERR_OK;
}

static int64_t time_ns(struct timespec time) {
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

// Writing to a file twice within a tick of its clock leaves the time as it is: a file that young is
// read when it is older, so that size and time stand for what was read.
static void let_age(int64_t mtime_ns) {
    struct timespec now, tick = {.tv_nsec = TICK_NS};
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age = time_ns(now) - mtime_ns;
    if (age > -TICK_NS && age < TICK_NS)
        nanosleep(&tick, NULL);
}

// Reads the file once; *steady says whether it stayed as it was meanwhile.
static err_code_t read_once(int fd, size_t limit, steady_t *into, uint64_t *bytes,
                            int64_t *mtime_ns, bool *steady, err_t *err) {
    struct stat before, after;
    if (fstat(fd, &before) != 0)
        return cannot_read(err);
    if (!S_ISREG(before.st_mode))
        return err_set(err, ERR_INVALID, "not a regular file");
    let_age(time_ns(before.st_mtim));
    if (fstat(fd, &before) != 0)
        return cannot_read(err);
    *bytes = (uint64_t)before.st_size;
    *mtime_ns = time_ns(before.st_mtim);
    *steady = true;
    if (*bytes > limit)
        return err_set(err, ERR_TOO_LARGE, "the file has %llu bytes; the limit is %zu",
                       (unsigned long long)*bytes, limit);
    err_code_t code = read_bytes(into, fd, (size_t)*bytes, err);
    if (!code && fstat(fd, &after) != 0)
        code = cannot_read(err);
    *steady = !code && into->size == *bytes && after.st_size == before.st_size &&
              time_ns(after.st_mtim) == *mtime_ns;
    return code;
}

err_code_t steady_read(const char *path, size_t limit, steady_t *into, uint64_t *bytes,
                       int64_t *mtime_ns, err_t *err) {
    bool steady = false;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        // O_NONBLOCK: should it have become a FIFO since it was listed, nobody waits for a writer
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
            return cannot_read(err);
        err_code_t code = read_once(fd, limit, into, bytes, mtime_ns, &steady, err);
        close(fd);
        if (code || steady)
            return code;
    }
    return err_set(err, ERR_INVALID, "it changes while it is read");
}
