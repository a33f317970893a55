#include "onnx/onnx.h"

#include "layers_impl.h"

#include <stdio.h>
#include <stdlib.h>

static const char about[] =
    "An image classifier trained by Inkling. " ONNX_INPUT
    ": uint8 [batch][height][width][channels], "
    "raw values that the preprocessing recipe of the metadata makes of an image; they are "
    "normalised in the graph. " ONNX_OUTPUT ": one for each of the metadata's classes.";

// (pixel − mean) / 255, as the engine does it; returns the name of the value.
static const char *add_normalisation(graph_t *graph, const prep_recipe_t *recipe) {
    static const float full[1] = {255};
    const char *value = "pixels-float";
    graph_node(graph, "Cast", (const char *[]){ONNX_INPUT, NULL}, value);
    graph_to_float(graph);
    if (recipe->mean_subtract) {
        graph_tensor(graph, "mean", 1, (int64_t[]){recipe->channels}, recipe->mean);
        graph_node(graph, "Sub", (const char *[]){value, "mean", NULL}, "pixels-centred");
        value = "pixels-centred";
    }
    graph_tensor(graph, "full", 1, (int64_t[]){1}, full);
    graph_node(graph, "Div", (const char *[]){value, "full", NULL}, "pixels-normalised");
    graph_node(graph, "Transpose", (const char *[]){"pixels-normalised", NULL}, "planes");
    graph_ints(graph, "perm", 4, (int64_t[]){0, 3, 1, 2});
    return "planes";
}

static void add_classes(graph_t *graph, const model_info_t *info) {
    json_t *list = json_array();
    for (int i = 0; i < info->class_count; i++)
        json_array_append_new(list, json_string(info->classes[i]));
    char *text = json_dumps(list, JSON_COMPACT);
    ERR_ASSERT(text && json_array_size(list) == (size_t)info->class_count);
    graph_metadata(graph, "classes", text);
    free(text);
    json_decref(list);
}

static void add_metadata(graph_t *graph, const onnx_source_t *source) {
    const model_info_t *info = source->info;
    char recipe[PREP_RECIPE_TEXT_MAX], version[32];
    snprintf(version, sizeof version, "%llu", (unsigned long long)source->version);
    prep_recipe_write(&info->recipe, recipe);
    graph_metadata(graph, "model", info->name);
    graph_metadata(graph, "version", version);
    graph_metadata(graph, "model_sha256", source->digest);
    graph_metadata(graph, "weights_sha256", info->weights_sha256);
    add_classes(graph, info);
    graph_metadata(graph, "recipe", recipe);
    graph_metadata(graph, "recipe_sha256", info->recipe_hash);
}

err_code_t onnx_pack(const onnx_source_t *source, void **bytes, size_t *size, err_t *err) {
    const model_info_t *info = source->info;
    const nn_spec_t *spec = &info->spec;
    graph_t *graph = graph_new(&(graph_label_t){.producer_version = INKLING_VERSION,
                                                .name = info->name,
                                                .about = about,
                                                .version = source->version});
    graph_input(graph, ONNX_INPUT, GRAPH_UINT8, 4,
                (int64_t[]){0, spec->height, spec->width, spec->channels});
    graph_output(graph, ONNX_OUTPUT, GRAPH_FLOAT, 2, (int64_t[]){0, spec->classes});
    const char *planes = add_normalisation(graph, &info->recipe);
    layers_add(graph, spec, source->tensors, planes, ONNX_OUTPUT);
    add_metadata(graph, source);
    err_code_t code = graph_pack(graph, ONNX_BYTES_MAX, bytes, size, err);
    if (code == ERR_TOO_LARGE)
        err_remedy(err, "export a smaller model");
    graph_free(&graph);
    return code;
}
