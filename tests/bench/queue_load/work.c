#include "load_impl.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HELLO_MS   1000 // a hello without answer is said again
#define SILENCE_MS 3000

// --- What it holds -------------------------------------------------------------------------------

static hold_t *find(const worker_t *worker, size_t number) {
    for (size_t i = 0; i < worker->hold_count; i++)
        if (worker->holds[i].number == number)
            return &worker->holds[i];
    return NULL;
}

static void let_go(worker_t *worker, hold_t *hold) {
    hold_t *last = &worker->holds[--worker->hold_count];
    free(hold->id);
    *hold = *last;
    *last = (hold_t){0};
}

static void let_go_of(worker_t *worker, const proto_hold_t *lost, size_t count) {
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; i < worker->hold_count; i++)
            if (worker->holds[i].token == lost[k].token &&
                strcmp(worker->holds[i].id, lost[k].job) == 0) {
                worker->load->counts.stale++;
                let_go(worker, &worker->holds[i]);
                break;
            }
}

static void send_finish(worker_t *worker, hold_t *hold) {
    unsigned char result[8] = {0x81, 0xa1, 'n', 0xce};
    for (int i = 0; i < 4; i++)
        result[4 + i] = (unsigned char)(hold->number >> (24 - 8 * i));
    proto_job_finish_t finish;
    proto_defaults(PROTO_job_finish, &finish);
    finish.worker = worker->name;
    finish.job = hold->id;
    finish.token = hold->token;
    finish.outcome = "succeeded";
    finish.result = (proto_bytes_t){result, sizeof result};
    hold->due_us = clock_mono_us() + RESEND_US;
    err_t err;
    if (bus_send(worker->dealer, NULL, hold->number + 1, 0, PROTO_job_finish, &finish, NULL, 0,
                 &err) != ERR_OK &&
        err.code != ERR_FULL)
        load_fail(worker->load, &err);
}

// The number in {"n": number}, however the integer is packed.
static bool read_body(proto_bytes_t body, size_t *number) {
    const unsigned char *bytes = body.data;
    static const unsigned char head[3] = {0x81, 0xa1, 'n'};
    if (body.size < 4 || memcmp(bytes, head, sizeof head) != 0)
        return false;
    size_t size = bytes[3] == 0xcc ? 1 : bytes[3] == 0xcd ? 2 : bytes[3] == 0xce ? 4 : 0;
    *number = size ? 0 : bytes[3];
    for (size_t i = 0; i < size && 4 + i < body.size; i++)
        *number = *number << 8 | bytes[4 + i];
    return body.size == 4 + size && (size || bytes[3] < 0x80);
}

// A job that does nothing is done at once. An assignment may come twice.
static void take(worker_t *worker, const proto_worker_assign_t *assign) {
    load_t *load = worker->load;
    size_t number;
    if (!read_body(assign->body, &number)) {
        load->counts.unknown++;
        return;
    }
    hold_t *hold = find(worker, number);
    if (hold && hold->token == assign->token)
        return;
    if (!load_begun(load, number, assign->token))
        return;
    if (!hold && worker->hold_count == load->slots) {
        err_t err;
        err_set(&err, ERR_PROTOCOL, "%s got more jobs than it has slots", worker->name);
        load_fail(load, &err);
        return;
    }
    if (hold)
        free(hold->id);
    else
        hold = &worker->holds[worker->hold_count++];
    *hold = (hold_t){.number = number, .token = assign->token, .id = mem_dup(assign->job)};
    send_finish(worker, hold);
}

// --- Messages ------------------------------------------------------------------------------------

static void say_hello(worker_t *worker) {
    static const char *const kinds[] = {LOAD_KIND};
    proto_hold_t *holds = mem_zero(worker->hold_count, sizeof *holds);
    for (size_t i = 0; i < worker->hold_count; i++)
        holds[i] = (proto_hold_t){.job = worker->holds[i].id, .token = worker->holds[i].token};
    proto_worker_hello_t hello;
    proto_defaults(PROTO_worker_hello, &hello);
    hello.worker = worker->name;
    hello.boot = worker->load->run;
    hello.kinds = (proto_strs_t){kinds, 1};
    hello.slots = worker->load->slots;
    hello.host = "localhost";
    hello.pid = (uint64_t)getpid();
    hello.version = INKLING_VERSION;
    hello.holds.items = holds;
    hello.holds.count = worker->hold_count;
    worker->welcome = false;
    worker->hello_ms = clock_mono_ms();
    err_t err;
    if (bus_send(worker->dealer, NULL, 0, 0, PROTO_worker_hello, &hello, NULL, 0, &err) != ERR_OK &&
        err.code != ERR_FULL)
        load_fail(worker->load, &err);
    free(holds);
}

static void renew(worker_t *worker) {
    proto_lease_t *leases = mem_zero(worker->hold_count, sizeof *leases);
    for (size_t i = 0; i < worker->hold_count; i++)
        leases[i] = (proto_lease_t){.job = worker->holds[i].id,
                                    .token = worker->holds[i].token,
                                    .step = ++worker->holds[i].step};
    proto_worker_renew_t message;
    proto_defaults(PROTO_worker_renew, &message);
    message.worker = worker->name;
    message.boot = worker->load->run;
    message.leases.items = leases;
    message.leases.count = worker->hold_count;
    bus_send(worker->dealer, NULL, 0, 0, PROTO_worker_renew, &message, NULL, 0, NULL);
    free(leases);
}

static void on_error(worker_t *worker, const bus_message_t *message) {
    err_t err;
    bus_error_read(message, &err);
    hold_t *hold = message->id ? find(worker, message->id - 1) : NULL;
    if (hold && err.code == ERR_STALE) {
        worker->load->counts.stale++;
        let_go(worker, hold);
    } else if (err_retryable(err.code)) {
        worker->load->counts.refused++;
        if (hold)
            hold->due_us = clock_mono_us() + AGAIN_US;
        else if (!message->id)
            worker->welcome = false;
    } else if (hold || !message->id) {
        load_fail(worker->load, &err);
    }
}

static void on_finished(worker_t *worker, uint64_t id, const proto_job_finished_t *finished) {
    hold_t *hold = id ? find(worker, id - 1) : NULL;
    if (hold && strcmp(hold->id, finished->job) == 0) {
        size_t number = hold->number;
        let_go(worker, hold);
        if (strcmp(finished->state, "succeeded") == 0)
            load_ended(worker->load, number);
    }
    if (finished->next)
        take(worker, finished->next);
}

static void on_message(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    worker_t *worker = arg;
    load_t *load = worker->load;
    (void)socket;
    worker->heard_ms = message->received_ms;
    if (message->type == PROTO_error) {
        on_error(worker, message);
        return;
    }
    proto_arena_reset(load->arena);
    void *body = proto_arena_alloc(load->arena, proto_message(message->type)->size);
    err_t err;
    if (proto_decode(message->type, message->body.data, message->body.size, load->arena, body,
                     &err) != ERR_OK) {
        load_fail(load, &err);
        return;
    }
    if (message->type == PROTO_worker_assign)
        take(worker, body);
    else if (message->type == PROTO_job_finished)
        on_finished(worker, message->id, body);
    else if (message->type == PROTO_worker_welcome) {
        const proto_worker_welcome_t *welcome = body;
        worker->welcome = true;
        let_go_of(worker, welcome->refused.items, welcome->refused.count);
        if (load->welcome_wanted && work_welcome(load) >= load->welcome_wanted)
            bus_loop_stop(load->loop);
    } else if (message->type == PROTO_worker_renewed) {
        const proto_worker_renewed_t *renewed = body;
        let_go_of(worker, renewed->lost.items, renewed->lost.count);
        if (renewed->hello)
            say_hello(worker);
    }
}

// --- Time ----------------------------------------------------------------------------------------

void work_beat(void *arg) {
    load_t *load = arg;
    for (size_t i = 0; i < load->worker_count; i++) {
        worker_t *worker = &load->workers[i];
        int64_t now = clock_mono_ms();
        if (worker->welcome && now - worker->heard_ms < SILENCE_MS)
            renew(worker);
        else if (now - worker->hello_ms >= HELLO_MS)
            say_hello(worker);
    }
}

void work_sweep(load_t *load, int64_t now_us) {
    for (size_t i = 0; i < load->worker_count; i++)
        for (size_t k = 0; k < load->workers[i].hold_count; k++) {
            hold_t *hold = &load->workers[i].holds[k];
            if (now_us < hold->due_us)
                continue;
            load->counts.resent++;
            send_finish(&load->workers[i], hold);
        }
}

size_t work_welcome(const load_t *load) {
    size_t count = 0;
    for (size_t i = 0; i < load->worker_count; i++)
        count += load->workers[i].welcome;
    return count;
}

err_code_t work_open(load_t *load, const char *endpoint, err_t *err) {
    for (size_t i = 0; i < load->worker_count; i++) {
        worker_t *worker = &load->workers[i];
        worker->load = load;
        worker->holds = mem_zero(load->slots, sizeof *worker->holds);
        snprintf(worker->name, sizeof worker->name, "bench-%zu", i);
        err_code_t code =
            bus_dealer_new(load->loop, endpoint, on_message, worker, &worker->dealer, err);
        if (code)
            return code;
        say_hello(worker);
    }
    return ERR_OK;
}

void work_close(load_t *load) {
    for (size_t i = 0; i < load->worker_count; i++) {
        worker_t *worker = &load->workers[i];
        if (worker->dealer) {
            proto_worker_bye_t bye = {.worker = worker->name, .boot = load->run};
            bus_send(worker->dealer, NULL, 0, 0, PROTO_worker_bye, &bye, NULL, 0, NULL);
        }
        bus_socket_destroy(&worker->dealer);
        while (worker->hold_count)
            let_go(worker, worker->holds);
        free(worker->holds);
    }
}
