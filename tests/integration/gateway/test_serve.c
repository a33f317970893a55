// Does a real gateway answer what the model says, by the version that is promoted or asked for,
// while promotions change, models are damaged and the dispatcher is away?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "prep/prep.h"
#include "scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check_all(scene_t *scene, const char *model, const char *name, uint64_t version,
                      const proto_bytes_t *images, size_t count) {
    proto_classified_t answer;
    err_t err;
    if (scene_classify(scene, model, 10000, images, count, &answer, &err))
        fail_msg("%s: %s\n%s", model, err.message, proc_output(&scene->proc));
    assert_int_equal(answer.results.count, count);
    for (size_t i = 0; i < count; i++) {
        expected_t expected = scene_expected(scene, name, version, images[i]);
        scene_check(&expected, name, version, &answer.results.items[i]);
    }
}

static err_t refused(scene_t *scene, const char *model, int64_t wait_ms, err_code_t code) {
    proto_bytes_t image = scene_image(scene, 1);
    proto_classified_t answer;
    err_t err = {0};
    assert_int_equal(scene_classify(scene, model, wait_ms, &image, 1, &answer, &err), code);
    scene_free_images(&image, 1);
    return err;
}

// Waits until that version answers for the model.
static void await_version(scene_t *scene, const char *model, uint64_t version) {
    proto_bytes_t image = scene_image(scene, 1);
    proto_classified_t answer;
    err_t err;
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    do {
        if (scene_classify(scene, model, 10000, &image, 1, &answer, &err))
            fail_msg("%s", err.message);
        assert_null(answer.results.items[0].error);
    } while (answer.results.items[0].version != version && clock_mono_ms() < end);
    assert_int_equal(answer.results.items[0].version, version);
    scene_free_images(&image, 1);
}

static void answers_what_the_model_says(void **state) {
    (void)state;
    enum { COUNT = 60 };
    scene_t scene;
    proto_bytes_t images[COUNT];
    scene_open(&scene);
    scene_model(&scene, "gray", 1, 16, 1, 2);
    scene_model(&scene, "colour", 1, 12, 3, 5);
    registry_promote(scene.registry, "gray", 1);
    registry_promote(scene.registry, "colour", 1);
    scene_listen(&scene);
    scene_gateway(&scene, NULL);
    scene_await_ready(&scene);
    for (uint32_t i = 0; i < COUNT; i++)
        images[i] = scene_image(&scene, i);
    check_all(&scene, "gray", "gray", 1, images, 1);
    check_all(&scene, "gray@1", "gray", 1, images, COUNT);
    check_all(&scene, "colour", "colour", 1, images, COUNT);
    check_all(&scene, "", "colour", 1, images, 3); // promoted last
    // The images tell the models apart, or this test would show little.
    expected_t first = scene_expected(&scene, "colour", 1, images[0]);
    bool differ = false;
    for (int i = 1; i < COUNT && !differ; i++)
        differ = scene_expected(&scene, "colour", 1, images[i]).probability != first.probability;
    assert_true(differ);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_images_total") == 1 + COUNT + COUNT + 3);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_requests_total") == 4);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_models_loaded") == 2);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_open_bytes") == 0);
    scene_free_images(images, COUNT);
    scene_close(&scene);
}

static void a_bad_image_is_an_error_for_itself(void **state) {
    (void)state;
    enum { COUNT = 7 };
    static const char text[] = "This is no image, whatever its name says.";
    scene_t scene;
    proto_classified_t answer;
    err_t err;
    scene_open(&scene);
    scene_model(&scene, "a", 1, 16, 1, 2);
    registry_promote(scene.registry, "a", 1);
    scene_listen(&scene);
    const char *args[] = {"--image-bytes", "60000", NULL};
    scene_gateway(&scene, args);
    scene_await_ready(&scene);
    proto_bytes_t good = scene_image(&scene, 2), other = scene_image(&scene, 3);
    char *large = mem_zero(1, 60001);
    proto_bytes_t images[COUNT] = {
        good,           {text, sizeof text}, {"", 0}, {good.data, good.size / 2},
        {large, 60001}, {other.data, 30},    other};
    static const char *const codes[COUNT] = {NULL,        "INVALID", "INVALID", "CORRUPT",
                                             "TOO_LARGE", "CORRUPT", NULL};
    assert_int_equal(scene_classify(&scene, "", 1000, images, COUNT, &answer, &err), ERR_OK);
    assert_int_equal(answer.results.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        const proto_classification_t *result = &answer.results.items[i];
        if (codes[i]) {
            assert_non_null(result->error);
            assert_string_equal(result->error->code, codes[i]);
            assert_true(result->error->message[0] != 0);
            assert_int_equal(result->label[0], 0);
        } else {
            expected_t expected = scene_expected(&scene, "a", 1, images[i]);
            scene_check(&expected, "a", 1, result);
        }
    }
    // Nothing but bad ones.
    assert_int_equal(scene_classify(&scene, "", 1000, images + 4, 1, &answer, &err), ERR_OK);
    assert_string_equal(answer.results.items[0].error->code, "TOO_LARGE");
    assert_true(proc_metric(&scene.proc, "inkling_gateway_errors_total{code=\"TOO_LARGE\"}") == 2);
    free(large);
    scene_free_images(&good, 1);
    scene_free_images(&other, 1);
    scene_close(&scene);
}

static void unknown_models_are_refused(void **state) {
    (void)state;
    scene_t scene;
    proto_classified_t answer;
    err_t err;
    scene_open(&scene);
    scene_listen(&scene);
    scene_gateway(&scene, NULL);
    scene_await_ready(&scene);
    err = refused(&scene, "", 10000, ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "no model is promoted"));
    assert_true(err.remedy[0] != 0);
    scene_model(&scene, "a", 1, 8, 1, 2);
    err = refused(&scene, "a", 10000, ERR_NOT_FOUND); // registered, not promoted
    assert_non_null(strstr(err.remedy, "promote"));
    err = refused(&scene, "b", 0, ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "b"));
    err = refused(&scene, "a@2", 10000, ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "a@2"));
    refused(&scene, "a@", 10000, ERR_INVALID);
    refused(&scene, "a@x", 10000, ERR_INVALID);
    assert_int_equal(scene_classify(&scene, "a", 1000, NULL, 0, &answer, &err), ERR_INVALID);
    // What was registered a moment ago is found, although no poll has told of it yet.
    registry_promote(scene.registry, "a", 1);
    await_version(&scene, "a", 1);
    scene_close(&scene);
}

static void any_version_is_loaded_on_demand(void **state) {
    (void)state;
    scene_t scene;
    scene_open(&scene);
    for (uint64_t version = 1; version <= 12; version++)
        scene_model(&scene, "a", version, 8, 1, 3);
    registry_promote(scene.registry, "a", 1);
    scene_listen(&scene);
    scene_gateway(&scene, NULL);
    scene_await_ready(&scene);
    proto_bytes_t image = scene_image(&scene, 4);
    for (uint64_t version = 12; version >= 1; version--) {
        char model[16];
        snprintf(model, sizeof model, "a@%d", (int)version);
        check_all(&scene, model, "a", version, &image, 1);
    }
    check_all(&scene, "a", "a", 1, &image, 1);
    check_all(&scene, "a@3", "a", 3, &image, 1);
    assert_int_equal(registry_shows(scene.registry), 11); // a@3 was still loaded, a@1 is promoted
    // The promoted one and eight more; the others gave their memory back.
    assert_true(proc_metric(&scene.proc, "inkling_gateway_models_loaded") == 9);
    scene_free_images(&image, 1);
    scene_close(&scene);
}

// --- Promotions under load
// ------------------------------------------------------------------------

enum { LOAD_IMAGES = 5, LOAD_CLIENTS = 3 };

typedef struct {
    const scene_t *scene;
    const proto_bytes_t *images;
    const expected_t (*expected)[LOAD_IMAGES]; // [version − 1]
    _Atomic bool stop;
    _Atomic int answers, failures, mixtures, wrong;
    _Atomic uint64_t seen; // bit of each version
} load_t;

static void check_answer(load_t *load, const proto_classified_t *answer) {
    uint64_t version = answer->results.items[0].version;
    load->seen |= 1ull << version;
    for (int i = 0; i < LOAD_IMAGES; i++) {
        const proto_classification_t *result = &answer->results.items[i];
        if (result->error || result->version != version || version < 1 || version > 2) {
            load->mixtures++;
            return;
        }
        const expected_t *expected = &load->expected[version - 1][i];
        load->wrong += result->probability != (double)expected->probability ||
                       strcmp(result->label, expected->label) != 0;
    }
    load->answers++;
}

static void *load_client(void *arg) {
    load_t *load = arg;
    client_t *client = NULL;
    proto_arena_t *arena = proto_arena_new();
    proto_classified_t answer;
    if (client_new(load->scene->gateway, "the gateway", &client, NULL))
        abort();
    while (!load->stop) {
        if (scene_ask(client, arena, "a", 10000, load->images, LOAD_IMAGES, &answer, NULL))
            load->failures++;
        else
            check_answer(load, &answer);
    }
    client_destroy(&client);
    proto_arena_destroy(&arena);
    return NULL;
}

static void promotions_under_load_lose_and_mix_nothing(void **state) {
    (void)state;
    scene_t scene;
    proto_bytes_t images[LOAD_IMAGES];
    expected_t expected[2][LOAD_IMAGES];
    pthread_t threads[LOAD_CLIENTS];
    scene_open(&scene);
    scene_model(&scene, "a", 1, 8, 1, 4);
    scene_model(&scene, "a", 2, 16, 3, 4); // another recipe, too
    registry_promote(scene.registry, "a", 1);
    scene_listen(&scene);
    scene_gateway(&scene, NULL);
    scene_await_ready(&scene);
    for (uint32_t i = 0; i < LOAD_IMAGES; i++) {
        images[i] = scene_image(&scene, i);
        for (uint64_t version = 1; version <= 2; version++)
            expected[version - 1][i] = scene_expected(&scene, "a", version, images[i]);
    }
    load_t load = {.scene = &scene, .images = images, .expected = expected};
    for (int i = 0; i < LOAD_CLIENTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load_client, &load), 0);
    for (int round = 0; round < 20; round++) {
        uint64_t version = 2 - (uint64_t)round % 2;
        registry_promote(scene.registry, "a", version);
        await_version(&scene, "a", version);
    }
    load.stop = true;
    for (int i = 0; i < LOAD_CLIENTS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(load.failures, 0);
    assert_int_equal(load.mixtures, 0);
    assert_int_equal(load.wrong, 0);
    assert_int_equal(load.seen, 6);
    assert_true(load.answers > 20);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_models_loaded") == 1);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_loads_total") == 21);
    scene_free_images(images, LOAD_IMAGES);
    scene_close(&scene);
}

// --- The dispatcher is away
// -----------------------------------------------------------------------

static void await_detail(const scene_t *scene, bool ready, const char *word) {
    char detail[1024];
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (clock_mono_ms() < end) {
        if (scene_ready(scene, detail) == ready && strstr(detail, word))
            return;
        clock_sleep_ms(20);
    }
    fail_msg("ready is not %d with '%s', but: %s", ready, word, detail);
}

static void serves_from_the_cache_without_a_dispatcher(void **state) {
    (void)state;
    scene_t scene;
    char detail[1024];
    scene_open(&scene);
    scene_model(&scene, "a", 1, 8, 1, 2);
    scene_model(&scene, "a", 2, 8, 1, 2);
    scene_model(&scene, "b", 1, 8, 1, 2);
    registry_promote(scene.registry, "b", 1);
    registry_promote(scene.registry, "a", 1);
    // Neither dispatcher nor cache: alive, not ready, and says so.
    scene_gateway(&scene, NULL);
    await_detail(&scene, false, "dispatcher");
    err_t err = refused(&scene, "a", 100, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "dispatcher"));
    // It comes.
    scene_listen(&scene);
    await_version(&scene, "a", 1);
    scene_await_ready(&scene);
    // It goes, and what is known goes on being served, by a new process as well.
    registry_stop(scene.registry);
    await_version(&scene, "b", 1);
    proc_kill(&scene.proc);
    scene_gateway(&scene, NULL);
    scene_await_ready(&scene);
    assert_true(scene_ready(&scene, detail));
    proto_bytes_t image = scene_image(&scene, 7);
    check_all(&scene, "", "a", 1, &image, 1);
    check_all(&scene, "b", "b", 1, &image, 1);
    check_all(&scene, "a@1", "a", 1, &image, 1);
    refused(&scene, "a@2", 100, ERR_UNAVAILABLE);
    await_detail(&scene, true, "away");
    // It comes again, with news.
    registry_promote(scene.registry, "a", 2);
    scene_listen(&scene);
    await_version(&scene, "a", 2);
    await_version(&scene, "", 2);
    // A damaged cache is no harm.
    proc_kill(&scene.proc);
    char *cache = mem_format("%s/cache/gateway-0.json", scene.home);
    assert_int_equal(access(cache, R_OK), 0);
    assert_int_equal(fs_write(cache, "{\"schema\":1,", 12, NULL), ERR_OK);
    scene_gateway(&scene, NULL);
    scene_await_ready(&scene);
    check_all(&scene, "", "a", 2, &image, 1);
    free(cache);
    scene_free_images(&image, 1);
    scene_close(&scene);
}

static void a_dispatcher_that_hangs_is_asked_again(void **state) {
    (void)state;
    scene_t scene;
    scene_open(&scene);
    scene_model(&scene, "a", 1, 8, 1, 2);
    scene_model(&scene, "a", 2, 8, 1, 2);
    registry_promote(scene.registry, "a", 1);
    scene_listen(&scene);
    scene_gateway(&scene, NULL);
    scene_await_ready(&scene);
    registry_silence(scene.registry, true);
    refused(&scene, "a@2", 200, ERR_UNAVAILABLE);
    await_version(&scene, "a", 1);
    registry_silence(scene.registry, false);
    proto_bytes_t image = scene_image(&scene, 3);
    check_all(&scene, "a@2", "a", 2, &image, 1);
    registry_promote(scene.registry, "a", 2);
    await_version(&scene, "a", 2);
    scene_free_images(&image, 1);
    scene_close(&scene);
}

// --- Damaged models
// -------------------------------------------------------------------------------

// Turns one bit of the file; the same call mends it.
static void flip(const scene_t *scene, const char *name, uint64_t version, const char *file_name) {
    char *path = scene_model_file(scene, name, version, file_name);
    FILE *file = fopen(path, "r+be");
    assert_non_null(file);
    fseek(file, -3, SEEK_END);
    int byte = fgetc(file);
    fseek(file, -3, SEEK_END);
    fputc(byte ^ 4, file);
    fclose(file);
    free(path);
}

static void damaged_models_are_named(void **state) {
    (void)state;
    scene_t scene;
    scene_open(&scene);
    scene_model(&scene, "a", 1, 8, 1, 2);
    scene_model(&scene, "a", 2, 8, 1, 2);
    scene_model(&scene, "b", 1, 8, 1, 2);
    scene_model(&scene, "c", 1, 8, 1, 2);
    flip(&scene, "a", 2, "model.safetensors");
    flip(&scene, "b", 1, "model.safetensors");
    char *gone = scene_model_file(&scene, "c", 1, "model.json");
    unlink(gone);
    free(gone);
    registry_promote(scene.registry, "a", 1);
    scene_listen(&scene);
    scene_gateway(&scene, NULL);
    scene_await_ready(&scene);
    proto_bytes_t image = scene_image(&scene, 6);
    registry_promote(scene.registry, "a", 2);
    await_detail(&scene, true, "model.safetensors"); // ready: the old one is served
    check_all(&scene, "a", "a", 1, &image, 1);
    err_t err = refused(&scene, "a@2", 10000, ERR_CORRUPT);
    assert_non_null(strstr(err.message, "model.safetensors"));
    assert_non_null(strstr(err.message, "a@2"));
    err = refused(&scene, "b@1", 10000, ERR_CORRUPT);
    assert_non_null(strstr(err.message, "model.safetensors"));
    err = refused(&scene, "c@1", 10000, ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "c@1"));
    registry_promote(scene.registry, "b", 1);
    await_detail(&scene, true, "b@1");
    refused(&scene, "b", 10000, ERR_CORRUPT);
    refused(&scene, "", 10000, ERR_CORRUPT); // promoted last: not silently another model
    assert_true(proc_metric(&scene.proc, "inkling_gateway_models_failed") == 2);
    check_all(&scene, "a", "a", 1, &image, 1);
    // Mended, it is served without a restart.
    flip(&scene, "a", 2, "model.safetensors");
    await_version(&scene, "a", 2);
    check_all(&scene, "a", "a", 2, &image, 1);
    // A registered folder outside the stack's files is not read.
    registry_add(scene.registry, "d", 1, "../files/models/a/1", "");
    err = refused(&scene, "d@1", 10000, ERR_CORRUPT);
    assert_non_null(strstr(err.message, ".."));
    scene_free_images(&image, 1);
    scene_close(&scene);
}

static void idles_without_work(void **state) {
    (void)state;
    scene_t scene;
    scene_open(&scene);
    scene_model(&scene, "a", 1, 8, 1, 2);
    registry_promote(scene.registry, "a", 1);
    scene_listen(&scene);
    scene_gateway(&scene, NULL);
    scene_await_ready(&scene);
    await_version(&scene, "a", 1);
    clock_sleep_ms(200); // threads of the engine may spin for a moment
    int64_t before = proc_cpu_ms(scene.proc.pid);
    clock_sleep_ms(1000);
    int64_t used = proc_cpu_ms(scene.proc.pid) - before;
    print_message("idle: %lld ms of CPU in 1 s, %.1f MiB\n", (long long)used,
                  (double)scene_rss(&scene) / 1048576);
#ifndef GATEWAY_SANITIZED
    assert_true(used <= 50);
#endif
    scene_close(&scene);
}

int main(void) {
    if (prep_init(NULL) != ERR_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_what_the_model_says),
        cmocka_unit_test(a_bad_image_is_an_error_for_itself),
        cmocka_unit_test(unknown_models_are_refused),
        cmocka_unit_test(any_version_is_loaded_on_demand),
        cmocka_unit_test(promotions_under_load_lose_and_mix_nothing),
        cmocka_unit_test(serves_from_the_cache_without_a_dispatcher),
        cmocka_unit_test(a_dispatcher_that_hangs_is_asked_again),
        cmocka_unit_test(damaged_models_are_named),
        cmocka_unit_test(idles_without_work),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    prep_shutdown();
    return failed;
}
