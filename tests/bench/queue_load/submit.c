#include "load_impl.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// {"n": number} as msgpack: fixmap 1, fixstr 1, uint 32.
static void put_body(unsigned char body[8], size_t number) {
    const unsigned char bytes[8] = {0x81,
                                    0xa1,
                                    'n',
                                    0xce,
                                    (unsigned char)(number >> 24),
                                    (unsigned char)(number >> 16),
                                    (unsigned char)(number >> 8),
                                    (unsigned char)number};
    memcpy(body, bytes, sizeof bytes);
}

static void send_submit(load_t *load, size_t number) {
    load_job_t *job = &load->jobs[number];
    unsigned char body[8];
    char key[64];
    put_body(body, number);
    snprintf(key, sizeof key, "%s-%zu", load->run, number);
    proto_job_submit_t submit;
    proto_defaults(PROTO_job_submit, &submit);
    submit.kind = LOAD_KIND;
    submit.key = key;
    submit.body = (proto_bytes_t){body, sizeof body};
    job->sent_us = clock_mono_us();
    if (!job->submitted_us)
        job->submitted_us = job->sent_us;
    err_t err;
    if (bus_send(load->clients[number % load->client_count].dealer, NULL, number + 1, 0,
                 PROTO_job_submit, &submit, NULL, 0, &err) != ERR_OK &&
        err.code != ERR_FULL) // full: sent again by the sweep
        load_fail(load, &err);
}

// How many jobs of the phase are due by its pace.
static size_t due_count(const load_t *load) {
    const load_phase_t *phase = load->phase;
    if (phase->per_second <= 0)
        return phase->count;
    double due = (double)(clock_mono_us() - load->span->begin_us) * phase->per_second / 1e6 + 1;
    return due < (double)phase->count ? (size_t)due : phase->count;
}

void submit_pump(void *arg) {
    load_t *load = arg;
    const load_phase_t *phase = load->phase;
    if (!phase || load->failed)
        return;
    size_t due = due_count(load);
    while (load->span->count < due && load->unanswered < phase->unanswered &&
           (!phase->unfinished || load->unfinished < phase->unfinished)) {
        size_t number = load->job_count++;
        load->span->count++;
        load->unanswered++;
        load->unfinished++;
        send_submit(load, number);
    }
}

// A submit that must be tried again: the sweep does it.
static void try_later(load_t *load, size_t number) {
    load->counts.refused++;
    load->jobs[number].sent_us = clock_mono_us() - RESEND_US + AGAIN_US;
}

static void on_acknowledged(load_t *load, size_t number, const char *id) {
    load_job_t *job = &load->jobs[number];
    if (job->id) { // to a submit that was sent again
        job->ids += strcmp(job->id, id) != 0;
        return;
    }
    job->id = mem_dup(id);
    job->ids = 1;
    job->acked_us = clock_mono_us();
    load->span->acked_us = job->acked_us;
    load->unanswered--;
    load_moved(load);
}

static void on_answer(void *arg, bus_socket_t *socket, const bus_message_t *message) {
    load_t *load = ((submitter_t *)arg)->load;
    (void)socket;
    if (message->id == 0 || message->id > load->job_count || !load->span)
        return;
    size_t number = message->id - 1;
    err_t err;
    if (message->type == PROTO_error) {
        bus_error_read(message, &err);
        if (load->jobs[number].id)
            return;
        if (err_retryable(err.code))
            try_later(load, number);
        else
            load_fail(load, &err);
        return;
    }
    proto_job_submitted_t submitted;
    proto_arena_reset(load->arena);
    if (message->type != PROTO_job_submitted ||
        proto_decode(message->type, message->body.data, message->body.size, load->arena, &submitted,
                     &err) != ERR_OK) {
        err_set(&err, ERR_PROTOCOL, "job.submit was answered with %s",
                proto_message(message->type)->wire);
        load_fail(load, &err);
        return;
    }
    on_acknowledged(load, number, submitted.job);
}

void submit_sweep(load_t *load, int64_t now_us) {
    for (size_t i = load->span->first; i < load->job_count && load->unanswered; i++) {
        const load_job_t *job = &load->jobs[i];
        if (job->id || now_us - job->sent_us < RESEND_US)
            continue;
        load->counts.resent++;
        send_submit(load, i);
    }
}

err_code_t submit_open(load_t *load, const char *endpoint, err_t *err) {
    for (size_t i = 0; i < load->client_count; i++) {
        submitter_t *client = &load->clients[i];
        client->load = load;
        err_code_t code =
            bus_dealer_new(load->loop, endpoint, on_answer, client, &client->dealer, err);
        if (code)
            return code;
    }
    return ERR_OK;
}

void submit_close(load_t *load) {
    for (size_t i = 0; i < load->client_count; i++)
        bus_socket_destroy(&load->clients[i].dealer);
}
