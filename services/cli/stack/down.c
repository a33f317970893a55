#include "stack/stack.h"

#include "base/clock.h"
#include "base/log.h"
#include "ending_impl.h"
#include "pidfile_impl.h"
#include "table_impl.h"

#include <signal.h>
#include <unistd.h>

#define LOOK_MS       20
#define SUPERVISOR_MS 90000 // more than all services together may take

bool stack_is_up(const char *home) {
    pidfile_t found;
    if (pidfile_alive(home, STACK_SUPERVISOR, &found))
        return true;
    for (int i = 0; i < STACK_COUNT; i++)
        if (pidfile_alive(home, stack_rows[i].name, &found))
            return true;
    return false;
}

static int count_alive(const char *home) {
    pidfile_t found;
    int count = 0;
    for (int i = 0; i < STACK_COUNT; i++)
        count += pidfile_alive(home, stack_rows[i].name, &found);
    return count;
}

// The supervisor ends all that is in its charge, then itself.
static bool end_supervisor(const char *home) {
    pidfile_t found, now;
    if (!pidfile_alive(home, STACK_SUPERVISOR, &found))
        return false;
    for (int64_t begun = clock_mono_ms(); found.pid == 0 && clock_mono_ms() - begun < 2000;) {
        clock_sleep_ms(LOOK_MS); // it is just starting
        if (!pidfile_alive(home, STACK_SUPERVISOR, &found))
            return false;
    }
    if (found.pid == 0)
        return false;
    kill(found.pid, SIGTERM);
    int64_t end_ms = clock_mono_ms() + SUPERVISOR_MS;
    while (pidfile_alive(home, STACK_SUPERVISOR, &now) && now.pid == found.pid) {
        if (clock_mono_ms() > end_ms) {
            log_warn("the supervisor, process %ld, does not end: it is killed", (long)found.pid);
            kill(found.pid, SIGKILL);
            end_ms = INT64_MAX;
        }
        clock_sleep_ms(LOOK_MS);
    }
    return true;
}

// Not while another stack begins under this home.
static void tidy(const char *home) {
    int lock;
    if (access(home, F_OK) == 0 && pidfile_take(home, STACK_SUPERVISOR, &lock, NULL) == ERR_OK) {
        ending_tidy(home);
        close(lock);
    }
}

err_code_t stack_down(const conf_t *conf, int *stopped, err_t *err) {
    *stopped = count_alive(conf->home);
    *stopped += end_supervisor(conf->home);
    ending_all(conf->home, NULL, NULL); // what a killed supervisor has left
    if (!stack_is_up(conf->home)) {
        tidy(conf->home);
        return ERR_OK;
    }
    err_set(err, ERR_CONFLICT, "not all of the stack of %s has ended", conf->home);
    return err_remedy(err, "somebody may have started it again: `inkling status`");
}
