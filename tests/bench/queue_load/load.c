#include "load_impl.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BEAT_MS 1000

static void on_sweep(void *arg) {
    load_t *load = arg;
    if (!load->phase)
        return;
    int64_t now_us = clock_mono_us();
    submit_sweep(load, now_us);
    work_sweep(load, now_us);
}

err_code_t load_new(const char *endpoint, size_t clients, size_t workers, size_t slots, size_t room,
                    load_t **out, err_t *err) {
    load_t *load = mem_zero(1, sizeof *load);
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint64_t)clock_mono_us();
    snprintf(load->run, sizeof load->run, "%016llx", (unsigned long long)random);
    load->loop = bus_loop_new();
    load->client_count = clients;
    load->worker_count = workers;
    load->slots = slots;
    load->room = room;
    load->clients = mem_zero(clients, sizeof *load->clients);
    load->workers = mem_zero(workers, sizeof *load->workers);
    load->jobs = mem_zero(room, sizeof *load->jobs);
    load->arena = proto_arena_new();
    err_code_t code = submit_open(load, endpoint, err);
    if (code == ERR_OK)
        code = work_open(load, endpoint, err);
    if (code) {
        load_destroy(&load);
        return code;
    }
    load->sweep = bus_loop_timer(load->loop, SWEEP_MS, SWEEP_MS, on_sweep, load);
    load->beat = bus_loop_timer(load->loop, BEAT_MS, BEAT_MS, work_beat, load);
    *out = load;
    return ERR_OK;
}

void load_destroy(load_t **self) {
    load_t *load = *self;
    if (!load)
        return;
    submit_close(load);
    work_close(load);
    bus_loop_destroy(&load->loop);
    for (size_t i = 0; i < load->job_count; i++)
        free(load->jobs[i].id);
    free(load->jobs);
    free(load->clients);
    free(load->workers);
    proto_arena_destroy(&load->arena);
    free(load);
    *self = NULL;
}

bus_loop_t *load_loop(load_t *load) {
    return load->loop;
}

const load_job_t *load_jobs(const load_t *load, size_t *count) {
    *count = load->job_count;
    return load->jobs;
}

load_counts_t load_counts(const load_t *load) {
    return load->counts;
}

// --- The ledger ----------------------------------------------------------------------------------

void load_fail(load_t *load, const err_t *err) {
    if (load->failed)
        return;
    load->failure = *err;
    load->failed = &load->failure;
    bus_loop_stop(load->loop);
}

bool load_begun(load_t *load, size_t number, uint64_t token) {
    if (number >= load->job_count) {
        load->counts.unknown++;
        return false;
    }
    load_job_t *job = &load->jobs[number];
    if (job->token == token)
        return false; // told twice, and done
    job->token = token;
    job->begun++;
    if (!job->begun_us)
        job->begun_us = clock_mono_us();
    return true;
}

void load_ended(load_t *load, size_t number) {
    load_job_t *job = &load->jobs[number];
    if (job->ended++)
        return; // a second success: the report tells
    job->finished_us = clock_mono_us();
    if (!load->phase || number < load->span->first)
        return;
    load->span->finished_us = job->finished_us;
    load->unfinished--;
    const load_phase_t *phase = load->phase;
    if (phase->on_end)
        phase->on_end(phase->arg, load->span->count - load->unfinished);
    load_moved(load);
}

void load_moved(load_t *load) {
    const load_phase_t *phase = load->phase;
    if (phase && load->span->count == phase->count && !load->unfinished && !load->unanswered)
        bus_loop_stop(load->loop);
    else
        bus_loop_defer(load->loop, submit_pump, load);
}

// --- Phases --------------------------------------------------------------------------------------

static void on_timeout(void *arg) {
    err_t err;
    err_set(&err, ERR_TIMEOUT, "time is up");
    load_fail(arg, &err);
}

// Runs the loop for at most timeout_ms.
static err_code_t run(load_t *load, int64_t timeout_ms, err_t *err) {
    load->failed = NULL;
    int timer = bus_loop_timer(load->loop, timeout_ms, 0, on_timeout, load);
    bus_loop_run(load->loop);
    bus_loop_timer_cancel(load->loop, timer);
    if (!load->failed)
        return ERR_OK;
    if (err)
        *err = load->failure;
    return load->failure.code;
}

err_code_t load_hello(load_t *load, int64_t timeout_ms, err_t *err) {
    load->welcome_wanted = load->worker_count;
    err_code_t code = ERR_OK;
    if (work_welcome(load) < load->worker_count)
        code = run(load, timeout_ms, err);
    load->welcome_wanted = 0;
    if (code)
        err_context(err, "%zu of %zu workers are welcome", work_welcome(load), load->worker_count);
    return code;
}

err_code_t load_run(load_t *load, const load_phase_t *phase, load_span_t *span, err_t *err) {
    ERR_ASSERT(phase->count <= load->room - load->job_count && phase->count > 0);
    *span = (load_span_t){.first = load->job_count, .begin_us = clock_mono_us()};
    load->phase = phase;
    load->span = span;
    load->unanswered = load->unfinished = 0;
    int pace = phase->per_second > 0 ? bus_loop_timer(load->loop, 1, 1, submit_pump, load) : 0;
    bus_loop_defer(load->loop, submit_pump, load);
    err_code_t code = run(load, phase->timeout_ms, err);
    bus_loop_timer_cancel(load->loop, pace);
    bus_loop_undefer(load->loop, submit_pump, load);
    load->phase = NULL;
    load->span = NULL;
    if (code)
        err_context(err, "%zu of %zu jobs submitted, %zu not acknowledged, %zu not finished",
                    span->count, phase->count, load->unanswered, load->unfinished);
    return code;
}
