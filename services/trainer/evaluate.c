// A model against images whose classes are known.
#include "engine.h"
#include "inference.h"
#include "lookup.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    child_t *child;
    proto_evaluate_t body;
    lookup_model_t model;
    lookup_dataset_t dataset;
    bool splits[SHARD_SPLIT_COUNT];
    int64_t images;
    int *labels; // class of the model for each of the data set's
    score_t *score;
    pace_t pace;
} evaluate_t;

static err_code_t choose_splits(evaluate_t *evaluate, err_t *err) {
    shard_split_t split = SHARD_TEST;
    bool all = strcmp(evaluate->body.split, "all") == 0;
    err_code_t code = all ? ERR_OK : shard_split_parse(evaluate->body.split, &split, err);
    for (int i = 0; i < SHARD_SPLIT_COUNT; i++)
        evaluate->splits[i] = all || i == (int)split;
    return code ? err_remedy(err, "use train, val, test or all") : ERR_OK;
}

// The pixels must be what the model was trained with.
static err_code_t check_pixels(const evaluate_t *evaluate, err_t *err) {
    const prep_recipe_t *model = &model_info(evaluate->model.model)->recipe;
    const prep_recipe_t *data = &evaluate->dataset.recipe;
    if (prep_recipe_same_pixels(model, data))
        return ERR_OK;
    err_set(err, ERR_INVALID,
            "model %s@%" PRIu64 " takes images of %dx%d, %d channels, %s; data set %s@%" PRIu64
            " has %dx%d, %d channels, %s",
            evaluate->model.name, evaluate->model.version, model->size, model->size,
            model->channels, prep_fit_name(model->fit), evaluate->body.dataset,
            evaluate->dataset.version, data->size, data->size, data->channels,
            prep_fit_name(data->fit));
    return err_remedy(err, "ingest the images with the model's size, color and fit");
}

static int find_class(const model_info_t *model, const char *name) {
    for (int i = 0; i < model->class_count; i++)
        if (strcmp(model->classes[i], name) == 0)
            return i;
    return -1;
}

static err_code_t match_classes(evaluate_t *evaluate, err_t *err) {
    const model_info_t *model = model_info(evaluate->model.model);
    const shard_info_t *data = shard_info(evaluate->dataset.shards);
    evaluate->labels = mem_zero((size_t)data->class_count, sizeof *evaluate->labels);
    for (int i = 0; i < data->class_count; i++) {
        evaluate->labels[i] = find_class(model, data->classes[i]);
        if (evaluate->labels[i] < 0) {
            err_set(err, ERR_INVALID,
                    "model %s@%" PRIu64 " does not know the class '%.200s' of "
                    "data set %s",
                    evaluate->model.name, evaluate->model.version, data->classes[i],
                    evaluate->body.dataset);
            return err_remedy(err, "evaluate it with a data set of its own classes");
        }
    }
    return ERR_OK;
}

static err_code_t prepare(evaluate_t *evaluate, const child_job_t *job, err_t *err) {
    child_t *child = evaluate->child;
    const proto_evaluate_t *body = &evaluate->body;
    err_code_t code = proto_decode(PROTO_evaluate, job->body.data, job->body.size,
                                   child_arena(child), &evaluate->body, err);
    if (code == ERR_OK)
        code = choose_splits(evaluate, err);
    if (code == ERR_OK)
        code = lookup_model(child, job, body->model, 0, &evaluate->model, err);
    if (code == ERR_OK)
        code = lookup_dataset(child, job, body->dataset, body->dataset_version, &evaluate->dataset,
                              err);
    if (code == ERR_OK)
        code = check_pixels(evaluate, err);
    if (code == ERR_OK)
        code = match_classes(evaluate, err);
    for (int i = 0; i < SHARD_SPLIT_COUNT && code == ERR_OK; i++)
        if (evaluate->splits[i])
            evaluate->images += shard_count(evaluate->dataset.shards, (shard_split_t)i);
    if (code == ERR_OK && evaluate->images == 0)
        code = err_set(err, ERR_INVALID, "data set %s has no images in split %s", body->dataset,
                       body->split);
    return code;
}

static err_code_t score_all(evaluate_t *evaluate, err_t *err) {
    const model_t *model = evaluate->model.model;
    const nn_options_t options = {.backend = "auto",
                                  .precision = "auto",
                                  .threads = (int)child_conf(evaluate->child)->threads,
                                  .max_batch = INFERENCE_BATCH};
    nn_t *nn;
    evaluate->pace = (pace_t){.child = evaluate->child, .total = (double)evaluate->images};
    evaluate->score = score_new(model_info(model)->class_count, evaluate->images);
    if (!evaluate->score)
        return err_set(err, ERR_NO_MEMORY, "no memory for scores of %lld images",
                       (long long)evaluate->images);
    err_code_t code = model_engine(model, &options, &nn, err);
    for (int i = 0; i < SHARD_SPLIT_COUNT && code == ERR_OK; i++)
        if (evaluate->splits[i])
            code = inference_score(nn, evaluate->dataset.shards, (shard_split_t)i, evaluate->labels,
                                   1, evaluate->score, &evaluate->pace, err);
    nn_destroy(&nn);
    return code;
}

static err_code_t tell(const evaluate_t *evaluate, child_result_t *result, err_t *err) {
    const model_info_t *info = model_info(evaluate->model.model);
    json_t *json, *classes = json_array();
    for (int i = 0; i < info->class_count; i++)
        json_array_append_new(classes, json_string(info->classes[i]));
    json_t *more = json_pack(
        "{s:s, s:I, s:s, s:I, s:s, s:o}", "model", evaluate->model.name, "version",
        (json_int_t)evaluate->model.version, "dataset", evaluate->body.dataset, "dataset_version",
        (json_int_t)evaluate->dataset.version, "split", evaluate->body.split, "classes", classes);
    err_code_t code = score_json(evaluate->score, &json, err);
    if (code == ERR_OK) {
        json_object_update(json, more);
        result->result = json;
    }
    json_decref(more);
    return code;
}

err_code_t evaluate_run(child_t *child, const child_job_t *job, child_result_t *result,
                        err_t *err) {
    evaluate_t evaluate = {.child = child};
    err_code_t code = prepare(&evaluate, job, err);
    if (code == ERR_OK)
        code = score_all(&evaluate, err);
    if (code == ERR_OK)
        code = tell(&evaluate, result, err);
    score_destroy(&evaluate.score);
    lookup_model_release(&evaluate.model);
    lookup_dataset_release(&evaluate.dataset);
    free(evaluate.labels);
    return code;
}
