// Trials of versions and what goes wrong with versions: does each request go where its share says,
// does the old version serve on, does the gateway say why, and is all that so while the dispatcher
// is away?
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fs.h"
#include "digest/digest.h"
#include "load.h"
#include "prep/prep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// --- Questions
// ----------------------------------------------------------------------------------

// The version that answers, and rightly so.
static uint64_t ask_rightly(scene_t *scene, const char *model, proto_bytes_t image) {
    proto_classified_t answer;
    err_t err;
    if (scene_classify(scene, model, 10000, &image, 1, &answer, &err))
        fail_msg("%s: %s\n%s", model, err.message, proc_output(&scene->proc));
    const proto_classification_t *result = &answer.results.items[0];
    assert_null(result->error);
    expected_t expected = scene_expected(scene, result->model, result->version, image);
    scene_check(&expected, result->model, result->version, result);
    return result->version;
}

static err_t refused(scene_t *scene, const char *model, err_code_t code) {
    proto_bytes_t image = scene_image(scene, 1);
    proto_classified_t answer;
    err_t err = {0};
    assert_int_equal(scene_classify(scene, model, 10000, &image, 1, &answer, &err), code);
    scene_free_images(&image, 1);
    return err;
}

static void await_version(scene_t *scene, const char *model, uint64_t version) {
    proto_bytes_t image = scene_image(scene, 1);
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    uint64_t found;
    while ((found = ask_rightly(scene, model, image)) != version && clock_mono_ms() < end) {
    }
    assert_int_equal(found, version);
    scene_free_images(&image, 1);
}

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

static void await_loaded(const scene_t *scene, int count) {
    int64_t end = clock_mono_ms() + PATIENCE_MS;
    while (proc_metric(&scene->proc, "inkling_gateway_models_loaded") != count &&
           clock_mono_ms() < end)
        clock_sleep_ms(10);
    assert_true(proc_metric(&scene->proc, "inkling_gateway_models_loaded") == count);
}

// --- Canaries
// -----------------------------------------------------------------------------------

static void open_with_two(scene_t *scene) {
    scene_open(scene);
    scene_model(scene, "a", 1, 8, 1, 4);
    scene_model(scene, "a", 2, 12, 3, 4); // another recipe, too
    registry_promote(scene->registry, "a", 1);
    scene_listen(scene);
    scene_gateway(scene, NULL);
    scene_await_ready(scene);
}

// Of the next count answers, those of version 2.
static int answers_of_two(load_t *load, int count) {
    int begun = load->answers, of_two = load->by[2];
    int64_t end = clock_mono_ms() + 4 * PATIENCE_MS;
    while (load->answers - begun < count && clock_mono_ms() < end)
        clock_sleep_ms(1);
    count = load->answers - begun;
    return (int)((int64_t)(load->by[2] - of_two) * 1000 / count);
}

static void a_canary_gets_its_share_under_load(void **state) {
    (void)state;
    enum { IMAGES = 5 };
    scene_t scene;
    proto_bytes_t images[IMAGES];
    open_with_two(&scene);
    for (uint32_t i = 0; i < IMAGES; i++)
        images[i] = scene_image(&scene, i);
    static const char given_two[] =
        "inkling_gateway_version_requests_total{model=\"a\",version=\"2\"}";
    load_t load = {.scene = &scene, .model = "a", .images = images, .count = IMAGES, .versions = 2};
    load_start(&load, 3);
    registry_canary(scene.registry, "a", 2, 20);
    await_loaded(&scene, 2);
    assert_in_range(answers_of_two(&load, 1000), 120, 280); // of 1000; 6 deviations: 200 ± 76
    registry_canary(scene.registry, "a", 2, 70);
    answers_of_two(&load, 100); // until the gateway has surely heard
    assert_in_range(answers_of_two(&load, 1000), 610, 790);
    registry_canary(scene.registry, "a", 2, 0); // rolled back
    await_loaded(&scene, 1);
    answers_of_two(&load, 10); // those on their way
    assert_int_equal(answers_of_two(&load, 100), 0);
    assert_true(proc_metric(&scene.proc, given_two) == -1);
    int before = load.by[2];
    registry_canary(scene.registry, "a", 2, 50);
    await_loaded(&scene, 2);
    registry_promote(scene.registry, "a", 2); // completed
    await_loaded(&scene, 1);
    answers_of_two(&load, 10);
    assert_int_equal(answers_of_two(&load, 100), 1000);
    load_stop(&load);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_loads_total") == 3);
    assert_true(proc_metric(&scene.proc, given_two) == load.by[2] - before);
    load_release(&load);
    scene_free_images(images, IMAGES);
    scene_close(&scene);
}

static void a_canary_survives_without_a_dispatcher(void **state) {
    (void)state;
    scene_t scene;
    open_with_two(&scene);
    proto_bytes_t image = scene_image(&scene, 3);
    registry_canary(scene.registry, "a", 2, 50);
    await_loaded(&scene, 2);
    await_detail(&scene, true, "1 canary");
    registry_stop(scene.registry);
    // A new process, from its cache alone, divides the requests in the same way.
    uint64_t first[64];
    proc_kill(&scene.proc);
    for (int start = 0; start < 2; start++) {
        bool seen[3] = {false};
        scene_gateway(&scene, NULL);
        await_loaded(&scene, 2);
        for (int i = 0; i < 64; i++) {
            uint64_t version = ask_rightly(&scene, "a", image);
            assert_true(start == 0 || version == first[i]);
            first[i] = version;
            seen[version] = true;
        }
        assert_true(seen[1] && seen[2]);
        await_detail(&scene, true, "away");
        proc_kill(&scene.proc);
    }
    // The news comes with the dispatcher.
    scene_gateway(&scene, NULL);
    registry_promote(scene.registry, "a", 1);
    scene_listen(&scene);
    await_loaded(&scene, 1);
    for (int i = 0; i < 20; i++)
        assert_int_equal(ask_rightly(&scene, "a", image), 1);
    scene_free_images(&image, 1);
    scene_close(&scene);
}

// --- Versions that cannot be served
// -------------------------------------------------------------

typedef struct {
    const char *what;
    void (*harm)(const char *folder);
    err_code_t code;
    const char *words; // of the reason
} harm_t;

static char *file_of(const char *folder, const char *name) {
    return fs_join(folder, name);
}

static void shorten_weights(const char *folder) {
    char *path = file_of(folder, "model.safetensors");
    void *bytes = NULL;
    size_t size = 0;
    assert_int_equal(fs_read(path, 1 << 24, &bytes, &size, NULL), ERR_OK);
    assert_int_equal(truncate(path, (off_t)size - 100), 0);
    free(bytes);
    free(path);
}

static void flip_weights(const char *folder) {
    char *path = file_of(folder, "model.safetensors");
    FILE *file = fopen(path, "r+be");
    assert_non_null(file);
    fseek(file, -3, SEEK_END);
    int byte = fgetc(file);
    fseek(file, -3, SEEK_END);
    fputc(byte ^ 4, file);
    fclose(file);
    free(path);
}

static void remove_weights(const char *folder) {
    char *path = file_of(folder, "model.safetensors");
    assert_int_equal(unlink(path), 0);
    free(path);
}

static void remove_description(const char *folder) {
    char *path = file_of(folder, "model.json");
    assert_int_equal(unlink(path), 0);
    free(path);
}

static void rewrite(const char *folder, const char *from, const char *to) {
    char *path = file_of(folder, "model.json");
    void *bytes = NULL;
    size_t size = 0;
    assert_int_equal(fs_read(path, 1 << 20, &bytes, &size, NULL), ERR_OK);
    char *text = mem_format("%.*s", (int)size, (const char *)bytes), *at = strstr(text, from);
    assert_non_null(at);
    char *changed = mem_format("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    assert_int_equal(fs_write(path, changed, strlen(changed), NULL), ERR_OK);
    free(changed);
    free(text);
    free(bytes);
    free(path);
}

static void future_schema(const char *folder) {
    rewrite(folder, "\"schema\": 1", "\"schema\": 2");
}

static void future_recipe(const char *folder) {
    rewrite(folder, "\"prep 1\\n", "\"prep 7\\n");
}

static void other_recipe(const char *folder) {
    rewrite(folder, "fit stretch", "fit crop");
}

// A recipe that says by its hash that it is whole, with a word that this build does not know.
static void unknown_recipe(const char *folder) {
    static const char known[] = "prep 1\nsize 8\nchannels 1\nfit stretch\nmean none\n",
                      unknown[] = "prep 1\nsize 8\nchannels 1\nfit swirl\nmean none\n";
    char known_hash[DIGEST_HEX_SIZE], unknown_hash[DIGEST_HEX_SIZE];
    digest_bytes(known, sizeof known - 1, known_hash);
    digest_bytes(unknown, sizeof unknown - 1, unknown_hash);
    rewrite(folder, "fit stretch", "fit swirl");
    rewrite(folder, known_hash, unknown_hash);
}

static void other_description(const char *folder) {
    rewrite(folder, "\"class 0\"", "\"class 9\"");
}

static const harm_t harms[] = {
    {"truncated weights", shorten_weights, ERR_CORRUPT, "model.safetensors"},
    {"a wrong checksum", flip_weights, ERR_CORRUPT, "model.safetensors"},
    {"missing weights", remove_weights, ERR_CORRUPT, "model.safetensors is damaged: it is missing"},
    {"no description", remove_description, ERR_NOT_FOUND, "model.json"},
    {"a future schema", future_schema, ERR_UNSUPPORTED, "schema 2; this Inkling reads up to 1"},
    {"a future recipe", future_recipe, ERR_UNSUPPORTED, "a recipe of version 7"},
    {"another recipe", other_recipe, ERR_CORRUPT, "the recipe's hash is not that of the recipe"},
    {"an unknown recipe", unknown_recipe, ERR_CORRUPT,
     "its recipe is none that this Inkling knows"},
    {"another description", other_description, ERR_CORRUPT, "not the one that was registered"},
};

enum { HARMS = sizeof harms / sizeof *harms };

// What the gateway says of version 1 and of that one, beside which nothing is loaded.
static void check_told(scene_t *scene, uint64_t version, const harm_t *harm, bool canary) {
    proto_serving_t question = {.name = "a"};
    proto_served_t told;
    err_t err;
    proto_arena_reset(scene->arena);
    if (client_request(scene->client, PROTO_serving, &question, NULL, 0, PROTO_served, &told,
                       scene->arena, PATIENCE_MS, NULL, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < told.versions.count; i++) {
        const proto_served_version_t *one = &told.versions.items[i];
        assert_string_equal(one->name, "a");
        assert_int_equal(one->served, one->version == 1);
        assert_int_equal(one->promoted, one->version == (canary ? 1 : version));
        assert_true(one->canary == (canary && one->version == version ? 90 : 0));
        if (one->version == 1) {
            assert_string_equal(one->state, "ready");
            assert_null(one->error);
            assert_true(one->bytes > 0);
        } else if (one->version == version) {
            assert_string_not_equal(one->state, "ready");
            assert_string_equal(one->error->code, err_name(harm->code));
            assert_non_null(strstr(one->error->message, harm->words));
        }
    }
    question.name = "b";
    assert_int_equal(client_request(scene->client, PROTO_serving, &question, NULL, 0, PROTO_served,
                                    &told, scene->arena, PATIENCE_MS, NULL, &err),
                     ERR_OK);
    assert_int_equal(told.versions.count, 0);
}

// Neither promoted nor as a canary does one of them get a request, and everybody is told why.
static void what_is_damaged_leaves_the_old_version(void **state) {
    (void)state;
    scene_t scene;
    scene_open(&scene);
    for (uint64_t version = 1; version <= 1 + HARMS; version++)
        scene_model(&scene, "a", version, 8, 1, 2);
    for (int i = 0; i < HARMS; i++) {
        char *path = scene_model_file(&scene, "a", 2 + (uint64_t)i, "");
        harms[i].harm(path);
        free(path);
    }
    registry_promote(scene.registry, "a", 1);
    scene_listen(&scene);
    scene_gateway(&scene, NULL);
    scene_await_ready(&scene);
    proto_bytes_t image = scene_image(&scene, 2);
    for (int i = 0; i < HARMS; i++) {
        const harm_t *harm = &harms[i];
        uint64_t version = 2 + (uint64_t)i;
        char name[16];
        snprintf(name, sizeof name, "a@%d", (int)version);
        print_message("%s\n", harm->what);
        if (i % 2)
            registry_canary(scene.registry, "a", version, 90);
        else
            registry_promote(scene.registry, "a", version);
        await_detail(&scene, true, name); // ready: the old one is served
        await_detail(&scene, true, harm->words);
        for (int ask = 0; ask < 8; ask++)
            assert_int_equal(ask_rightly(&scene, "a", image), 1);
        err_t err = refused(&scene, name, harm->code);
        assert_non_null(strstr(err.message, harm->words));
        assert_non_null(strstr(err.message, name));
        assert_true(err.remedy[0] != 0);
        assert_true(proc_metric(&scene.proc, "inkling_gateway_models_failed") == 1);
        check_told(&scene, version, harm, i % 2);
        registry_promote(scene.registry, "a", 1);
    }
    await_detail(&scene, true, "1 of 1 promoted models served");
    scene_free_images(&image, 1);
    scene_close(&scene);
}

// --- Memory
// -------------------------------------------------------------------------------------

static void the_budget_is_kept(void **state) {
    (void)state;
    static const nn_vgg_t large = {96, 96, 1, 2, 32, 4, 256, 0.2f}; // 14 MiB of weights
    scene_t scene;
    scene_open(&scene);
    scene_model(&scene, "a", 1, 8, 1, 2);
    scene_model(&scene, "a", 3, 8, 1, 2);
    scene_model_of(&scene, "a", 2, &large);
    registry_promote(scene.registry, "a", 1);
    scene_listen(&scene);
    const char *args[] = {"--gateway-models-mb", "10", NULL};
    scene_gateway(&scene, args);
    scene_await_ready(&scene);
    await_loaded(&scene, 1);
    registry_promote(scene.registry, "a", 2);
    await_detail(&scene, true, "of 10.0 MiB for models");
    err_t err = refused(&scene, "a@2", ERR_NO_MEMORY);
    assert_non_null(strstr(err.message, "a@2 needs "));
    assert_non_null(strstr(err.remedy, "--gateway-models-mb"));
    await_version(&scene, "a", 1);
    registry_promote(scene.registry, "a", 3);
    await_version(&scene, "a", 3);
    // With as much as it takes it is served.
    registry_promote(scene.registry, "a", 2);
    proc_kill(&scene.proc);
    args[1] = "2000";
    scene_gateway(&scene, args);
    scene_await_ready(&scene);
    await_version(&scene, "a", 2);
    assert_true(proc_metric(&scene.proc, "inkling_gateway_models_bytes") > 10 << 20);
    scene_close(&scene);
}

int main(void) {
    if (prep_init(NULL) != ERR_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_canary_gets_its_share_under_load),
        cmocka_unit_test(a_canary_survives_without_a_dispatcher),
        cmocka_unit_test(what_is_damaged_leaves_the_old_version),
        cmocka_unit_test(the_budget_is_kept),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    prep_shutdown();
    return failed;
}
