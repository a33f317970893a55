#include "supervise_impl.h"

#include "base/clock.h"
#include "base/log.h"
#include "charge_impl.h"
#include "ending_impl.h"
#include "logs_impl.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUSY_MS    50   // between two looks while something is not ready
#define IDLE_MS    1000 // while all is
#define ROTATE_MS  5000
#define DEATHS_MAX 4  // of one service before it was ever ready: it will not get better
#define TAIL_LINES 12 // of a culprit's log

typedef struct {
    const stack_up_t *up;
    bus_loop_t *loop;
    charge_t charges[STACK_COUNT];
    int signals, timer;
    int64_t begun_ms, rotated_ms;
    bool was_ready, hurried;
    void (*ready)(void *arg);
    void *arg;
    buf_t *tail;
    err_code_t code; // why the start failed
    err_t *err;
} supervisor_t;

// --- A start that fails

static void fail(supervisor_t *sup, const charge_t *culprit) {
    const char *name = culprit->row->name;
    if (culprit->failure.code) {
        *sup->err = culprit->failure;
        sup->code = culprit->failure.code;
    } else {
        sup->code = err_set(sup->err, ERR_UNAVAILABLE, "%s does not become ready: %s", name,
                            culprit->detail[0] ? culprit->detail : "it does not answer");
        char *path = logs_path(sup->up->conf->home, name);
        err_remedy(sup->err, "its log tells more: %s", path);
        free(path);
        logs_tail(sup->up->conf->home, name, culprit->log_from, TAIL_LINES, sup->tail);
    }
    bus_loop_stop(sup->loop);
}

static bool hopeless(const charge_t *charge) {
    bool wrong_settings = charge->exit_code == 2;
    return charge->failure.code == ERR_NOT_FOUND || wrong_settings || charge->deaths >= DEATHS_MAX;
}

static void look_again_in(supervisor_t *sup, int64_t delay_ms);

static void on_death(void *arg, charge_t *charge) {
    supervisor_t *sup = arg;
    if (!sup->was_ready && hopeless(charge))
        fail(sup, charge);
    else
        look_again_in(sup, BUSY_MS);
}

// --- Looking after them

static void rotate_logs(supervisor_t *sup) {
    int64_t now = clock_mono_ms();
    if (now - sup->rotated_ms < ROTATE_MS)
        return;
    sup->rotated_ms = now;
    for (int i = 0; i < STACK_COUNT; i++)
        logs_rotate(sup->up->conf->home, stack_rows[i].name);
    logs_rotate(sup->up->conf->home, STACK_SUPERVISOR);
}

// The first that is not ready, or NULL.
static const charge_t *missing(const supervisor_t *sup) {
    for (int i = 0; i < STACK_COUNT; i++)
        if (!sup->charges[i].ready)
            return &sup->charges[i];
    return NULL;
}

static void on_tick(void *arg) {
    supervisor_t *sup = arg;
    sup->timer = 0;
    // The services wait for Redis' first word; later they bear its absence by themselves.
    bool redis_known = sup->charges[STACK_REDIS].once_ready;
    for (int i = 0; i < STACK_COUNT && !sup->code; i++)
        if (i == STACK_REDIS || redis_known)
            charge_tick(&sup->charges[i]);
    if (sup->code)
        return;
    rotate_logs(sup);
    const charge_t *late = missing(sup);
    if (!late && !sup->was_ready) {
        sup->was_ready = true;
        log_info("all is ready after %.2f s", (double)(clock_mono_ms() - sup->begun_ms) / 1000);
        sup->ready(sup->arg);
    }
    if (late && !sup->was_ready && clock_mono_ms() - sup->begun_ms > sup->up->wait_ms)
        fail(sup, late);
    else if (!sup->timer)
        look_again_in(sup, late ? BUSY_MS : IDLE_MS);
}

static void look_again_in(supervisor_t *sup, int64_t delay_ms) {
    bus_loop_timer_cancel(sup->loop, sup->timer);
    sup->timer = bus_loop_timer(sup->loop, delay_ms, 0, on_tick, sup);
}

// --- Start and end

static bool took_signal(supervisor_t *sup) {
    struct signalfd_siginfo info;
    return read(sup->signals, &info, sizeof info) == sizeof info;
}

static void on_signal(void *arg, int events) {
    (void)events;
    supervisor_t *sup = arg;
    if (took_signal(sup)) {
        log_info("ending the stack");
        bus_loop_stop(sup->loop);
    }
}

// While all end: reaps, and looks for a second signal.
static bool in_a_hurry(void *arg) {
    supervisor_t *sup = arg;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    sup->hurried = sup->hurried || took_signal(sup);
    return sup->hurried;
}

static err_code_t take_signals(supervisor_t *sup, err_t *err) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sup->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return sup->signals < 0 ? err_set_errno(err, "cannot watch signals") : ERR_OK;
}

err_code_t supervise(const stack_up_t *up, void (*ready)(void *arg), void *arg, buf_t *tail,
                     err_t *err) {
    supervisor_t sup = {.up = up,
                        .begun_ms = clock_mono_ms(),
                        .ready = ready,
                        .arg = arg,
                        .tail = tail,
                        .err = err};
    err_code_t code = take_signals(&sup, err);
    if (code)
        return code;
    sup.loop = bus_loop_new();
    bus_loop_watch(sup.loop, sup.signals, BUS_READ, on_signal, &sup);
    for (int i = 0; i < STACK_COUNT; i++)
        charge_init(&sup.charges[i], up, sup.loop, i, on_death, &sup);
    look_again_in(&sup, 0);
    bus_loop_run(sup.loop);
    for (int i = 0; i < STACK_COUNT; i++)
        charge_release(&sup.charges[i]);
    bus_loop_watch(sup.loop, sup.signals, 0, NULL, NULL);
    ending_all(up->conf->home, in_a_hurry, &sup);
    bus_loop_destroy(&sup.loop);
    close(sup.signals);
    return sup.code;
}
