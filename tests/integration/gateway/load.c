#include "load.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void keep_latency(load_t *load, int phase, int64_t us) {
    pthread_mutex_lock(&load->lock);
    size_t *count = &load->latencies[phase].count, *room = &load->latencies[phase].room;
    uint32_t **list = &load->latencies[phase].us;
    if (*count == *room) {
        *room = *room ? 2 * *room : 65536;
        *list = realloc(*list, *room * sizeof **list);
        if (!*list)
            abort();
    }
    (*list)[(*count)++] = (uint32_t)us;
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
        int phase = load->phase;
        if (scene_ask(client, arena, load->model, 10000, load->images, (size_t)load->count, &answer,
                      &err)) {
            load->failures++;
            fprintf(stderr, "a request failed: %s\n", err.message);
        } else {
            keep_latency(load, phase, clock_mono_us() - begun_us);
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
    load->expected = mem_zero((size_t)load->versions * (size_t)load->count, sizeof *load->expected);
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

uint32_t load_percentile(load_t *load, int phase, double percent) {
    pthread_mutex_lock(&load->lock);
    size_t count = load->latencies[phase].count;
    uint32_t *sorted = mem_zero(count + 1, sizeof *sorted), found = 0;
    if (count)
        memcpy(sorted, load->latencies[phase].us, count * sizeof *sorted);
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
    for (int i = 0; i < LOAD_PHASES; i++)
        free(load->latencies[i].us);
}
