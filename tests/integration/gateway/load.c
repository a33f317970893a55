#include "load.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void keep_latency(load_t *load, int64_t us) {
    pthread_mutex_lock(&load->lock);
    if (load->latency_count == load->latency_room) {
        load->latency_room = load->latency_room ? 2 * load->latency_room : 65536;
        load->latencies = realloc(load->latencies, load->latency_room * sizeof *load->latencies);
        if (!load->latencies)
            abort();
    }
    load->latencies[load->latency_count++] = (uint32_t)us;
    pthread_mutex_unlock(&load->lock);
}

static void check_answer(load_t *load, const proto_classified_t *answer) {
    uint64_t version = answer->results.items[0].version;
    if (version < 1 || version > (uint64_t)load->versions) {
        load->mixtures++;
        return;
    }
    for (int i = 0; i < load->count; i++) {
        const proto_classification_t *result = &answer->results.items[i];
        const expected_t *expected =
            &load->expected[(version - 1) * (uint64_t)load->count + (uint64_t)i];
        if (result->error || result->version != version) {
            load->mixtures++;
            return;
        }
        load->wrong += result->probability != (double)expected->probability ||
                       strcmp(result->label, expected->label) != 0;
    }
    load->by[version]++;
    load->answers++;
}

static void *client(void *arg) {
    load_t *load = arg;
    client_t *client = NULL;
    proto_arena_t *arena = proto_arena_new();
    proto_classified_t answer;
    if (client_new(load->scene->gateway, "the gateway", &client, NULL))
        abort();
    while (!load->stop) {
        err_t err;
        int64_t begun_us = clock_mono_us();
        if (scene_ask(client, arena, load->model, 10000, load->images, (size_t)load->count, &answer,
                      &err)) {
            load->failures++;
            fprintf(stderr, "a request failed: %s\n", err.message);
        } else {
            keep_latency(load, clock_mono_us() - begun_us);
            check_answer(load, &answer);
        }
        if (load->pause_us)
            usleep((useconds_t)load->pause_us);
    }
    client_destroy(&client);
    proto_arena_destroy(&arena);
    return NULL;
}

void load_start(load_t *load, int clients) {
    assert_true(clients <= LOAD_CLIENTS_MAX && load->versions <= LOAD_VERSIONS_MAX);
    load->expected = mem_zero((size_t)(load->versions * load->count), sizeof *load->expected);
    for (int version = 0; version < load->versions; version++)
        for (int i = 0; i < load->count; i++)
            load->expected[version * load->count + i] =
                scene_expected(load->scene, load->model, (uint64_t)version + 1, load->images[i]);
    pthread_mutex_init(&load->lock, NULL);
    load->thread_count = clients;
    for (int i = 0; i < clients; i++)
        assert_int_equal(pthread_create(&load->threads[i], NULL, client, load), 0);
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

size_t load_latencies(load_t *load) {
    pthread_mutex_lock(&load->lock);
    size_t count = load->latency_count;
    pthread_mutex_unlock(&load->lock);
    return count;
}

uint32_t load_percentile(load_t *load, size_t from, double percent) {
    pthread_mutex_lock(&load->lock);
    size_t count = load->latency_count > from ? load->latency_count - from : 0;
    uint32_t *sorted = mem_zero(count + 1, sizeof *sorted), found = 0;
    if (count)
        memcpy(sorted, load->latencies + from, count * sizeof *sorted);
    pthread_mutex_unlock(&load->lock);
    qsort(sorted, count, sizeof *sorted, by_size);
    if (count)
        found = sorted[(size_t)((double)(count - 1) * percent / 100)];
    free(sorted);
    return found;
}

void load_stop(load_t *load) {
    load->stop = true;
    for (int i = 0; i < load->thread_count; i++)
        pthread_join(load->threads[i], NULL);
    assert_int_equal(load->failures, 0);
    assert_int_equal(load->mixtures, 0);
    assert_int_equal(load->wrong, 0);
    assert_true(load->answers > 0);
}

void load_release(load_t *load) {
    pthread_mutex_destroy(&load->lock);
    free(load->expected);
    free(load->latencies);
}
