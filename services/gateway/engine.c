#include "gateway/engine.h"

#include "model/model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct engine {
    model_t *model; // while it is not built
    nn_t *nn;
    nn_options_t options;
    uint64_t memory;
    prep_recipe_t recipe;
    int class_count;
    char **classes;
    uint8_t *pixels;      // ENGINE_BATCH_MAX × recipe bytes: one array, as the engine wants it
    float *probabilities; // ENGINE_BATCH_MAX × classes
    int kept;             // descriptor, or -1
};

err_code_t engine_open(const char *folder, const char *digest, int threads, engine_t **out,
                       err_t *err) {
    model_t *model = NULL;
    err_code_t code = model_open(folder, digest[0] ? digest : NULL, &model, err);
    if (code)
        return code;
    const model_info_t *info = model_info(model);
    engine_t *engine = mem_zero(1, sizeof *engine);
    engine->model = model;
    engine->options = (nn_options_t){
        .backend = "auto", .precision = "auto", .threads = threads, .max_batch = ENGINE_BATCH_MAX};
    engine->kept = -1;
    engine->memory = nn_memory_estimate(&info->spec, &engine->options);
    engine->recipe = info->recipe;
    engine->class_count = info->class_count;
    engine->classes = mem_zero((size_t)info->class_count, sizeof *engine->classes);
    for (int i = 0; i < info->class_count; i++)
        engine->classes[i] = mem_dup(info->classes[i]);
    *out = engine;
    return ERR_OK;
}

void engine_keep(engine_t *engine, int fd) {
    engine->kept = fd;
}

uint64_t engine_memory(const engine_t *engine) {
    return engine->memory;
}

err_code_t engine_build(engine_t *engine, err_t *err) {
    err_code_t code = model_engine(engine->model, &engine->options, &engine->nn, err);
    model_close(&engine->model);
    if (code)
        return code;
    engine->pixels = malloc(ENGINE_BATCH_MAX * prep_recipe_bytes(&engine->recipe));
    engine->probabilities =
        malloc(ENGINE_BATCH_MAX * (size_t)engine->class_count * sizeof *engine->probabilities);
    if (!engine->pixels || !engine->probabilities)
        return err_set(err, ERR_NO_MEMORY, "no memory for a batch of %d images", ENGINE_BATCH_MAX);
    return ERR_OK;
}

void engine_destroy(engine_t **self) {
    engine_t *engine = *self;
    if (!engine)
        return;
    nn_destroy(&engine->nn);
    model_close(&engine->model);
    for (int i = 0; i < engine->class_count; i++)
        free(engine->classes[i]);
    free(engine->classes);
    free(engine->pixels);
    free(engine->probabilities);
    if (engine->kept >= 0)
        close(engine->kept);
    free(engine);
    *self = NULL;
}

const prep_recipe_t *engine_recipe(const engine_t *engine) {
    return &engine->recipe;
}

int engine_class_count(const engine_t *engine) {
    return engine->class_count;
}

const char *const *engine_classes(const engine_t *engine) {
    return (const char *const *)(uintptr_t)engine->classes;
}

const char *engine_class(const engine_t *engine, int label) {
    ERR_ASSERT(label >= 0 && label < engine->class_count);
    return engine->classes[label];
}

const char *engine_choices(const engine_t *engine) {
    return nn_choices(engine->nn);
}

// The most probable label, or −1 if it is none.
static int label_of(const float *row, int classes) {
    int best = 0;
    for (int label = 1; label < classes; label++)
        best = row[label] > row[best] ? label : best;
    return row[best] >= 0 && row[best] <= 1 ? best : -1;
}

err_code_t engine_classify(engine_t *engine, const uint8_t *const *pixels, int count,
                           float *const *probabilities, int *labels, err_t *err) {
    ERR_ASSERT(count >= 1 && count <= ENGINE_BATCH_MAX);
    size_t size = prep_recipe_bytes(&engine->recipe), classes = (size_t)engine->class_count;
    for (int i = 0; i < count; i++)
        memcpy(engine->pixels + (size_t)i * size, pixels[i], size);
    err_code_t code = nn_predict(engine->nn, engine->pixels, count, engine->probabilities, err);
    for (int i = 0; i < count && code == ERR_OK; i++) {
        memcpy(probabilities[i], engine->probabilities + (size_t)i * classes,
               classes * sizeof(float));
        labels[i] = label_of(probabilities[i], engine->class_count);
    }
    return code;
}
