// Thousands of promotions, trials among them, under load: is every request answered, does memory
// stay where it is, and what does another model's client notice?
//
//   gateway_swaps_test [SWAPS [SIZE WIDTH BLOCKS DENSE [THREADS]]]     200 of a tiny model unless
//   given
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "load.h"
#include "prep/prep.h"

#include <stdio.h>
#include <stdlib.h>

#define SETTLED     100 // swaps after which memory stays where it is
#define TRIAL_EVERY 10
#define CLIENTS     2
#define PHASE_MS    1000
#define PAUSE_US    500       // of each client
#define SLACK       (4 << 20) // bytes

enum { QUIET, SWAPPING };

static int swaps = 200, threads = 1;
static nn_vgg_t shape = {32, 32, 1, 2, 4, 4, 256, 0.2f};

static void await(load_t *load, uint64_t version, int more) {
    int target = load->by[version] + more;
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (load->by[version] < target && clock_mono_ms() < end)
        clock_sleep_ms(1);
    if (load->by[version] < target)
        fail_msg("version %d does not answer", (int)version);
}

// From now on it alone does, for it gives so many answers in a row.
static void await_only(load_t *load, uint64_t version, int row) {
    int others;
    do {
        others = load->answers - load->by[version];
        await(load, version, row);
    } while (load->answers - load->by[version] != others);
}

static void swap_to(scene_t *scene, load_t *load, int round, uint64_t version) {
    bool trial = round % TRIAL_EVERY == 0;
    if (trial) {
        registry_canary(scene->registry, "a", version, 40);
        await(load, version, 1);
    }
    registry_promote(scene->registry, "a", version);
    // Answers on their way are one of each client, those of a canary's share a few in a row.
    await_only(load, version, trial ? 20 : CLIENTS + 2);
}

static void say_latency(load_t *load, int phase, const char *when) {
    print_message("another model's client %s: p50 %u us, p99 %u us, p99.9 %u us of %zu answers\n",
                  when, load_percentile(load, phase, 50), load_percentile(load, phase, 99),
                  load_percentile(load, phase, 99.9), load->latencies[phase].count);
}

// Swaps for a while, then none for as long, and so on: whatever else the machine does meanwhile is
// in both halves.
static void swap_on_and_off(scene_t *scene, load_t *load, load_t *other) {
    int64_t settled = 0, most = 0, swapping_ms = 0, phase_ms = clock_mono_ms();
    other->phase = SWAPPING;
    for (int round = 0; round < swaps; round++) {
        swap_to(scene, load, round, 2 - (uint64_t)round % 2);
        int64_t rss = scene_rss_anon(scene), now = clock_mono_ms();
        if (round == SETTLED)
            settled = rss;
        if (round >= SETTLED && rss > most)
            most = rss;
        if (now - phase_ms >= PHASE_MS || round == swaps - 1) {
            other->phase = QUIET;
            swapping_ms += now - phase_ms;
            clock_sleep_ms(now - phase_ms);
            other->phase = SWAPPING;
            phase_ms = clock_mono_ms();
        }
    }
    int64_t last = scene_rss_anon(scene);
    print_message(
        "%d swaps in %.1f s; RssAnon after %d of them %.1f MiB, then at most %.1f, at the "
        "end %.1f\n",
        swaps, (double)swapping_ms / 1000, SETTLED, (double)settled / 1048576,
        (double)most / 1048576, (double)last / 1048576);
#ifndef GATEWAY_SANITIZED
    assert_true(swaps <= SETTLED || last - settled <= SLACK);
#endif
}

static void swaps_leave_no_trace(void **state) {
    (void)state;
    scene_t scene;
    scene_open(&scene);
    for (uint64_t version = 1; version <= 2; version++)
        scene_model_of(&scene, "a", version, &shape);
    scene_model_of(&scene, "b", 1, &shape);
    registry_promote(scene.registry, "a", 1);
    registry_promote(scene.registry, "b", 1);
    scene_listen(&scene);
    char count[16];
    snprintf(count, sizeof count, "%d", threads);
    scene_gateway(&scene, (const char *[]){"--threads", count, NULL});
    scene_await_ready(&scene);
    proto_bytes_t image = scene_image(&scene, 1);
    load_t load = {.scene = &scene,
                   .model = "a",
                   .images = &image,
                   .count = 1,
                   .versions = 2,
                   .pause_us = PAUSE_US};
    load_t other = load;
    other.model = "b";
    other.versions = 1;
    load_start(&load, CLIENTS);
    load_start(&other, 1);
    await(&load, 1, 10);
    swap_on_and_off(&scene, &load, &other);
    load_stop(&load);
    load_stop(&other);
    print_message("%d requests, none failed\n", load.answers + other.answers);
    say_latency(&other, QUIET, "without swaps");
    say_latency(&other, SWAPPING, "during swaps");
    uint32_t quiet = load_percentile(&other, QUIET, 99);
    print_message("p99 during swaps: %.2f of that without\n",
                  (double)load_percentile(&other, SWAPPING, 99) / (quiet ? quiet : 1));
    assert_true(proc_metric(&scene.proc, "inkling_gateway_models_loaded") == 2);
    assert_int_equal(proc_metric(&scene.proc, "inkling_gateway_loads_total"), swaps + 2);
    load_release(&load);
    load_release(&other);
    scene_free_images(&image, 1);
    scene_close(&scene);
}

int main(int argc, char **argv) {
    int *const wishes[] = {&swaps,        &shape.height, &shape.width_first,
                           &shape.blocks, &shape.dense,  &threads};
    for (int i = 1; i < argc && i <= 6; i++)
        *wishes[i - 1] = atoi(argv[i]);
    shape.width = shape.height;
    if (prep_init(NULL) != ERR_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(swaps_leave_no_trace)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    prep_shutdown();
    return failed;
}
