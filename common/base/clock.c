#include "base/clock.h"

#include <errno.h>
#include <time.h>

static int64_t read_ns(clockid_t id) {
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_mono_ns(void) {
    return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_mono_us(void) {
    return clock_mono_ns() / 1000;
}

int64_t clock_mono_ms(void) {
    return clock_mono_us() / 1000;
}

int64_t clock_wall_ms(void) {
    return read_ns(CLOCK_REALTIME) / 1000000;
}

void clock_sleep_ms(int64_t ms) {
    struct timespec rest = {ms / 1000, ms % 1000 * 1000000};
    while (ms > 0 && nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}
