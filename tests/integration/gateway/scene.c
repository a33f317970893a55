#include "scene.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/philox.h"
#include "conf/conf.h"
#include "model/model.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKING_BATCH 16 // as the gateway makes its engines

// --- Life
// -----------------------------------------------------------------------------------------

void scene_open(scene_t *scene) {
    err_t err;
    memset(scene, 0, sizeof *scene);
    if (proc_make_home(scene->home, &err) || conf_make_home(scene->home, &err))
        fail_msg("%s", err.message);
    scene->dispatcher = conf_endpoint(scene->home, "dispatcher");
    scene->gateway = conf_endpoint(scene->home, "gateway");
    scene->arena = proto_arena_new();
    scene->registry = mem_alloc(sizeof *scene->registry);
    registry_init(scene->registry);
    if (client_new(scene->gateway, "the gateway", &scene->client, &err))
        fail_msg("%s", err.message);
}

void scene_listen(scene_t *scene) {
    registry_start(scene->registry, scene->dispatcher);
}

void scene_gateway(scene_t *scene, const char *const *args) {
    const char *all[32] = {"--threads", "1"};
    err_t err;
    for (size_t i = 0; args && args[i]; i++)
        all[2 + i] = args[i];
    if (proc_start(&scene->proc, "inkling-gateway", "gateway-0", scene->home, all, NULL, &err))
        fail_msg("%s", err.message);
}

void scene_await_ready(scene_t *scene) {
    err_t err;
    if (proc_await_ready(&scene->proc, PATIENCE_MS, &err))
        fail_msg("%s\n%s", err.message, proc_output(&scene->proc));
}

static void end_gateway(scene_t *scene) {
    err_t err;
    int status = 0;
    if (scene->proc.pid == 0)
        return;
    proc_signal(&scene->proc, SIGTERM);
    if (proc_await_end(&scene->proc, PATIENCE_MS, &status, &err))
        fail_msg("%s", err.message);
    if (status != 0)
        fail_msg("the gateway ended with status %#x:\n%s", (unsigned)status,
                 proc_output(&scene->proc));
}

void scene_close(scene_t *scene) {
    end_gateway(scene);
    registry_stop(scene->registry);
    free(scene->registry);
    client_destroy(&scene->client);
    proto_arena_destroy(&scene->arena);
    proc_remove_home(scene->home);
    free(scene->dispatcher);
    free(scene->gateway);
}

// --- Models
// ---------------------------------------------------------------------------------------

static char *folder_of(const scene_t *scene, const char *name, uint64_t version) {
    return mem_format("%s/files/models/%s/%llu", scene->home, name, (unsigned long long)version);
}

char *scene_model_file(const scene_t *scene, const char *name, uint64_t version, const char *file) {
    char *folder = folder_of(scene, name, version), *path = fs_join(folder, file);
    free(folder);
    return path;
}

// Weights so large that probabilities differ well from image to image and from seed to seed.
static float *random_weights(const nn_tensor_t *tensor, uint64_t seed) {
    float *data = mem_alloc((size_t)tensor->count * sizeof *data);
    for (int64_t i = 0; i < tensor->count; i++) {
        philox_t random = philox(seed, (uint32_t)i, (uint32_t)tensor->layer, tensor->role, 0);
        float centred = 2 * philox_float(random.v[0]) - 1;
        bool positive = tensor->role == NN_GAMMA || tensor->role == NN_VARIANCE;
        data[i] = positive ? 1 + 0.5f * centred
                  : tensor->role == NN_WEIGHT
                      ? 3 * centred / (float)(tensor->fan_in > 16 ? 16 : tensor->fan_in)
                      : 0.3f * centred;
    }
    return data;
}

void scene_model(scene_t *scene, const char *name, uint64_t version, int size, int channels,
                 int classes) {
    nn_vgg_t vgg = {size, size, channels, classes, 4, 2, 8, 0.1f};
    scene_model_of(scene, name, version, &vgg);
}

void scene_model_of(scene_t *scene, const char *name, uint64_t version, const nn_vgg_t *vgg) {
    int classes = vgg->classes;
    model_info_t info = {.name = mem_dup(name), .class_count = classes};
    nn_tensor_t tensors[NN_TENSORS_MAX];
    float *data[NN_TENSORS_MAX];
    char digest[DIGEST_HEX_SIZE];
    err_t err;
    assert_int_equal(nn_spec_vgg(vgg, &info.spec, NULL), ERR_OK);
    info.recipe = PREP_RECIPE_DEFAULT;
    info.recipe.size = vgg->width;
    info.recipe.channels = vgg->channels;
    info.classes = mem_zero((size_t)classes, sizeof *info.classes);
    for (int i = 0; i < classes; i++)
        info.classes[i] = mem_format("class %d", i);
    int count = nn_spec_tensors(&info.spec, tensors);
    for (int i = 0; i < count; i++)
        data[i] = random_weights(&tensors[i], version * 1000 + (uint64_t)name[0]);
    char *folder = folder_of(scene, name, version);
    if (fs_mkdirs(folder, &err) ||
        model_write(folder, &info, (const float *const *)data, NULL, digest, &err))
        fail_msg("%s", err.message);
    registry_add(scene->registry, name, version, folder + strlen(scene->home) + strlen("/files/"),
                 digest);
    for (int i = 0; i < count; i++)
        free(data[i]);
    free(folder);
    model_info_release(&info);
}

// --- Images
// ---------------------------------------------------------------------------------------

proto_bytes_t scene_image(const scene_t *scene, uint32_t index) {
    int width = 20 + (int)(index * 7 % 50), height = 16 + (int)(index * 13 % 60);
    int channels = index % 3 == 0 ? 3 : 1;
    uint8_t *pixels = mem_alloc((size_t)(width * height * channels));
    philox_t random = philox(5, index, 0, 0, 0);
    for (int i = 0; i < width * height * channels; i++) {
        int x = i / channels % width, y = i / channels / width;
        uint32_t wave = (uint32_t)x * (1 + random.v[0] % 9) + (uint32_t)y * (1 + random.v[1] % 9);
        pixels[i] = (uint8_t)((wave + random.v[2]) % 256);
    }
    char *path = mem_format("%s/image-%u", scene->home, index);
    void *bytes = NULL;
    size_t size = 0;
    err_t err;
    err_code_t code = index % 2 ? prep_write_png(path, pixels, width, height, channels, &err)
                                : prep_write_jpeg(path, pixels, width, height, channels, 90, &err);
    if (code || fs_read(path, 1 << 20, &bytes, &size, &err))
        fail_msg("%s", err.message);
    unlink(path);
    free(path);
    free(pixels);
    return (proto_bytes_t){bytes, size};
}

void scene_free_images(proto_bytes_t *images, size_t count) {
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)images[i].data);
}

// --- Questions and answers
// ------------------------------------------------------------------------

err_code_t scene_ask(client_t *client, proto_arena_t *arena, const char *model, int64_t wait_ms,
                     const proto_bytes_t *images, size_t count, proto_classified_t *answer,
                     err_t *err) {
    proto_classify_t classify = {.model = model, .wait_ms = (uint64_t)wait_ms};
    proto_arena_reset(arena);
    return client_request(client, PROTO_classify, &classify, images, count, PROTO_classified,
                          answer, arena, PATIENCE_MS, NULL, err);
}

err_code_t scene_classify(scene_t *scene, const char *model, int64_t wait_ms,
                          const proto_bytes_t *images, size_t count, proto_classified_t *answer,
                          err_t *err) {
    return scene_ask(scene->client, scene->arena, model, wait_ms, images, count, answer, err);
}

expected_t scene_expected(const scene_t *scene, const char *name, uint64_t version,
                          proto_bytes_t image) {
    expected_t expected = {.probability = -1};
    char *folder = folder_of(scene, name, version);
    nn_options_t options = {
        .backend = "auto", .precision = "auto", .threads = 1, .max_batch = WORKING_BATCH};
    model_t *model = NULL;
    nn_t *nn = NULL;
    err_t err;
    if (model_open(folder, NULL, &model, &err) || model_engine(model, &options, &nn, &err))
        fail_msg("%s", err.message);
    const model_info_t *info = model_info(model);
    uint8_t *pixels = mem_alloc(prep_recipe_bytes(&info->recipe));
    float probabilities[NN_CLASSES_MAX];
    if (prep_image(image.data, image.size, &info->recipe, NULL, pixels, NULL) == ERR_OK) {
        assert_int_equal(nn_predict(nn, pixels, 1, probabilities, &err), ERR_OK);
        int best = 0;
        for (int i = 1; i < info->class_count; i++)
            best = probabilities[i] > probabilities[best] ? i : best;
        snprintf(expected.label, sizeof expected.label, "%s", info->classes[best]);
        expected.probability = probabilities[best];
    }
    free(pixels);
    nn_destroy(&nn);
    model_close(&model);
    free(folder);
    return expected;
}

void scene_check(const expected_t *expected, const char *name, uint64_t version,
                 const proto_classification_t *result) {
    if (expected->probability < 0) {
        assert_non_null(result->error);
        return;
    }
    if (result->error)
        fail_msg("%s: %s", result->error->code, result->error->message);
    assert_string_equal(result->label, expected->label);
    assert_true(result->probability == (double)expected->probability);
    assert_string_equal(result->model, name);
    assert_int_equal(result->version, version);
}

bool scene_ready(const scene_t *scene, char detail[1024]) {
    char *endpoint = conf_control_endpoint(scene->home, "gateway-0");
    client_t *client = NULL;
    proto_arena_t *arena = proto_arena_new();
    proto_service_state_t state;
    err_t err;
    if (client_new(endpoint, "the gateway", &client, &err) ||
        client_request(client, PROTO_service_status, &(proto_service_status_t){0}, NULL, 0,
                       PROTO_service_state, &state, arena, PATIENCE_MS, NULL, &err))
        fail_msg("%s", err.message);
    bool ready = state.ready;
    snprintf(detail, 1024, "%s", state.detail);
    client_destroy(&client);
    proto_arena_destroy(&arena);
    free(endpoint);
    return ready;
}

int64_t scene_rss(const scene_t *scene) {
    char path[64];
    long pages = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)scene->proc.pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &pages, &resident), 2);
    fclose(file);
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

int64_t scene_rss_anon(const scene_t *scene) {
    char path[64], line[256];
    long long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)scene->proc.pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (kib < 0 && fgets(line, sizeof line, file))
        sscanf(line, "RssAnon: %lld kB", &kib);
    fclose(file);
    assert_true(kib >= 0);
    return kib * 1024;
}
