#include "ending_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "pidfile_impl.h"
#include "table_impl.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS   20
#define KILLED_MS 10000 // for the kernel to end what was killed

// SIGTERM is what service.drain is to a service, and SHUTDOWN to Redis; it also reaches one that
// does not answer yet.
static bool tell(const char *home, int index, int signal_number) {
    pidfile_t found;
    bool alive = pidfile_alive(home, stack_rows[index].name, &found);
    if (alive && found.pid > 0)
        kill(found.pid, signal_number);
    return alive;
}

static bool lives(const char *home, int index) {
    pidfile_t found;
    return pidfile_alive(home, stack_rows[index].name, &found);
}

static void kill_one(const char *home, int index, const char *why) {
    log_warn("%s is killed: %s", stack_rows[index].name, why);
    int64_t end_ms = clock_mono_ms() + KILLED_MS;
    while (tell(home, index, SIGKILL) && clock_mono_ms() < end_ms)
        clock_sleep_ms(LOOK_MS);
}

// True once it has ended, by itself or killed.
static bool has_ended(const char *home, int index, int64_t begun_ms, bool hurry) {
    if (lives(home, index)) {
        bool late = clock_mono_ms() - begun_ms > stack_rows[index].end_ms;
        if (!late && !hurry)
            return false;
        kill_one(home, index, hurry ? "all shall end at once" : "it has not ended in its time");
    }
    log_info("%s has ended", stack_rows[index].name);
    return true;
}

static int end_rank(const char *home, int rank, bool (*hurry)(void *), void *arg) {
    int64_t begun_ms = clock_mono_ms();
    bool open[STACK_COUNT] = {false};
    int count = 0;
    for (int i = 0; i < STACK_COUNT; i++) {
        open[i] = stack_rows[i].rank == rank && tell(home, i, SIGTERM);
        count += open[i];
    }
    for (int left = count; left > 0; clock_sleep_ms(left > 0 ? LOOK_MS : 0)) {
        bool at_once = hurry && hurry(arg);
        for (int i = 0; i < STACK_COUNT; i++)
            if (open[i] && has_ended(home, i, begun_ms, at_once)) {
                open[i] = false;
                left--;
            }
    }
    return count;
}

int ending_all(const char *home, bool (*hurry)(void *), void *arg) {
    int count = 0;
    for (int rank = STACK_RANKS - 1; rank >= 0; rank--)
        count += end_rank(home, rank, hurry, arg);
    return count;
}

void ending_one(const char *home, int index) {
    int64_t begun_ms = clock_mono_ms();
    if (!tell(home, index, SIGTERM))
        return;
    while (!has_ended(home, index, begun_ms, false))
        clock_sleep_ms(LOOK_MS);
}

static void remove_socket(const char *run, const char *name, const char *suffix) {
    char *path = mem_format("%s/%s.%s", run, name, suffix);
    (void)unlink(path); // it may have ended properly
    free(path);
}

void ending_tidy(const char *home) {
    char *run = conf_run_folder(home);
    for (int i = 0; i < STACK_COUNT; i++)
        remove_socket(run, stack_rows[i].name, "ctl");
    remove_socket(run, "redis", "sock");
    remove_socket(run, "dispatcher", "sock");
    remove_socket(run, "blobs", "sock");
    remove_socket(run, "studies", "sock");
    remove_socket(run, "gateway", "sock");
    if (strncmp(run, home, strlen(home)) != 0)
        (void)rmdir(run); // not if somebody has put something there
    free(run);
}
