#include "gateway/engine.h"

#include "model/model.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Multiplications of an image from which on a team of all cores answers sooner than one core does,
// whose helpers must be woken for each layer: measured with tests/bench/engine.
#define TEAM_MULTIPLICATIONS 100e6

struct engine {
    model_t *model; // while it is not built
    nn_t *nn;       // holds the weights
    nn_t *lanes[ENGINE_LANES_MAX];
    nn_t *team; // or NULL
    nn_options_t options;
    int lane_count;
    bool wants_team;
    uint64_t memory;
    prep_recipe_t recipe;
    int class_count;
    char **classes;
    int kept; // descriptor, or -1
    pace_t pace;
};

int engine_lanes(int threads) {
    int lanes = threads > 0 ? threads : nn_cores();
    return lanes < ENGINE_LANES_MAX ? lanes : ENGINE_LANES_MAX;
}

static double multiplications(const nn_spec_t *spec) {
    nn_shape_t shapes[NN_LAYERS_MAX], in = {spec->height, spec->width, spec->channels};
    double count = 0;
    nn_spec_shapes(spec, shapes);
    for (int i = 0; i < spec->layer_count; i++) {
        const nn_layer_t *layer = &spec->layers[i];
        double outputs = (double)shapes[i].height * shapes[i].width * shapes[i].channels;
        if (layer->kind == NN_CONV)
            count += outputs * layer->kernel * layer->kernel * in.channels;
        else if (layer->kind == NN_DENSE)
            count += outputs * in.channels;
        in = shapes[i];
    }
    return count;
}

// The weights, and what each lane's thread needs for this model.
static uint64_t estimate(const engine_t *engine, const nn_spec_t *spec) {
    nn_options_t lane = engine->options;
    lane.threads = 1;
    lane.max_batch = 1;
    uint64_t one = nn_memory_estimate(spec, &lane);
    lane.max_batch = ENGINE_BATCH_MAX;
    uint64_t more = nn_memory_estimate(spec, &lane) - one;
    return one + (uint64_t)engine->lane_count * more;
}

err_code_t engine_open(const char *folder, const char *digest, int threads, engine_t **out,
                       err_t *err) {
    model_t *model = NULL;
    err_code_t code = model_open(folder, digest[0] ? digest : NULL, &model, err);
    if (code)
        return code;
    const model_info_t *info = model_info(model);
    engine_t *engine = mem_zero(1, sizeof *engine);
    engine->model = model;
    engine->lane_count = engine_lanes(threads);
    engine->options = (nn_options_t){
        .backend = "auto", .precision = "auto", .threads = engine->lane_count, .max_batch = 1};
    engine->kept = -1;
    engine->wants_team =
        engine->lane_count > 1 && multiplications(&info->spec) >= TEAM_MULTIPLICATIONS;
    engine->memory = estimate(engine, &info->spec);
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
    for (int i = 0; i < engine->lane_count && code == ERR_OK; i++)
        code = nn_share(engine->nn, 1, ENGINE_BATCH_MAX, &engine->lanes[i], err);
    if (code == ERR_OK && engine->wants_team)
        code = nn_share(engine->nn, engine->lane_count, 1, &engine->team, err);
    return code;
}

void engine_destroy(engine_t **self) {
    engine_t *engine = *self;
    if (!engine)
        return;
    for (int i = 0; i < ENGINE_LANES_MAX; i++)
        nn_destroy(&engine->lanes[i]);
    nn_destroy(&engine->team);
    nn_destroy(&engine->nn);
    model_close(&engine->model);
    for (int i = 0; i < engine->class_count; i++)
        free(engine->classes[i]);
    free(engine->classes);
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

pace_t *engine_pace(engine_t *engine) {
    return &engine->pace;
}

bool engine_has_team(const engine_t *engine) {
    return engine->team;
}

size_t engine_batch_max(const void *engine) {
    (void)engine; // every backend so far computes in lanes
    return ENGINE_BATCH_MAX;
}

// The most probable label, or −1 if it is none.
static int label_of(const float *row, int classes) {
    int best = 0;
    for (int label = 1; label < classes; label++)
        best = row[label] > row[best] ? label : best;
    return row[best] >= 0 && row[best] <= 1 ? best : -1;
}

err_code_t engine_classify(engine_t *engine, int lane, nn_workspace_t *workspace,
                           image_t *const *images, int count, err_t *err) {
    nn_t *nn = lane == ENGINE_TEAM ? engine->team : engine->lanes[lane];
    nn_sample_t samples[ENGINE_BATCH_MAX] = {{0}};
    ERR_ASSERT(count >= 1 && count <= (lane == ENGINE_TEAM ? 1 : ENGINE_BATCH_MAX));
    for (int i = 0; i < count; i++)
        samples[i] = (nn_sample_t){.pixels = images[i]->pixels,
                                   .input = images[i]->input,
                                   .probabilities = images[i]->probabilities};
    err_code_t code = nn_predict_samples(nn, workspace, samples, count, err);
    for (int i = 0; i < count && code == ERR_OK; i++)
        images[i]->label = label_of(images[i]->probabilities, engine->class_count);
    return code;
}

err_code_t engine_warm(engine_t *engine, err_t *err) {
    nn_workspace_t *workspace = NULL;
    uint8_t *blank = calloc(1, prep_recipe_bytes(&engine->recipe));
    float *row = calloc((size_t)engine->class_count, sizeof *row);
    image_t image = {.pixels = blank, .probabilities = row}, *images = &image;
    err_code_t code = blank && row ? ERR_OK : err_set(err, ERR_NO_MEMORY, "no memory to try it");
    if (code == ERR_OK)
        code = nn_workspace_new(&workspace, err);
    if (code == ERR_OK)
        code = engine_classify(engine, 0, workspace, &images, 1, err);
    nn_workspace_destroy(&workspace);
    free(blank);
    free(row);
    return code;
}
