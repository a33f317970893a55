#include "engine.h"
#include "predict_impl.h"
#include "trainer/csv.h"

#include "shard/index.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PREDICTIONS "predictions.csv"

// ---- the table ----

void predict_put_row(predict_t *predict, const char *name, const float *probabilities,
                     const char *error) {
    FILE *stream = fs_stream(predict->file);
    const model_info_t *info = model_info(predict->model.model);
    int best = probabilities ? score_best(probabilities, info->class_count) : 0;
    char *escaped = shard_name_escape(name);
    csv_field(stream, escaped);
    csv_next(stream);
    csv_field(stream, probabilities ? info->classes[best] : "");
    csv_next(stream);
    if (probabilities)
        fprintf(stream, "%.6f", (double)probabilities[best]);
    csv_next(stream);
    csv_field(stream, error);
    csv_end(stream);
    free(escaped);
    predict->images++;
    predict->failed += !probabilities;
}

// ---- a data set ----

typedef struct {
    predict_t *predict;
    const shard_entry_t **rows; // of the split
} rows_t;

static void put_image(void *context, int64_t image, const float *probabilities) {
    const rows_t *rows = context;
    predict_put_row(rows->predict, rows->rows[image]->path, probabilities, "");
}

static err_code_t predict_split(predict_t *predict, const shard_dataset_t *shards,
                                const shard_index_t *index, shard_split_t split, err_t *err) {
    rows_t rows = {.predict = predict};
    err_code_t code = shard_index_rows(index, split, shard_count(shards, split), &rows.rows, err);
    if (code)
        return code;
    code = inference_split(predict->nn, shards, split, 1, put_image, &rows, &predict->pace, err);
    free(rows.rows);
    return code;
}

static err_code_t predict_splits(predict_t *predict, const shard_dataset_t *shards, err_t *err) {
    shard_split_t only = SHARD_TEST;
    bool all = strcmp(predict->body.split, "all") == 0;
    shard_index_t index;
    err_code_t code = all ? ERR_OK : shard_split_parse(predict->body.split, &only, err);
    if (code)
        return err_remedy(err, "use train, val, test or all");
    code = shard_index_read(shard_folder(shards), &index, err);
    if (code)
        return code;
    for (int i = 0; i < SHARD_SPLIT_COUNT; i++)
        if (all || i == (int)only)
            predict->pace.total += (double)shard_count(shards, (shard_split_t)i);
    for (int i = 0; i < SHARD_SPLIT_COUNT && code == ERR_OK; i++)
        if (all || i == (int)only)
            code = predict_split(predict, shards, &index, (shard_split_t)i, err);
    shard_index_release(&index);
    return code;
}

static err_code_t predict_dataset(predict_t *predict, err_t *err) {
    lookup_dataset_t dataset = {.shards = NULL};
    err_code_t code = lookup_dataset(predict->child, predict->job, predict->body.dataset,
                                     predict->body.dataset_version, &dataset, err);
    if (code)
        return code;
    if (!prep_recipe_same_pixels(&dataset.recipe, &model_info(predict->model.model)->recipe)) {
        err_set(err, ERR_INVALID,
                "data set %s@%" PRIu64
                " has other pixels (size, color or fit) than model %s@%" PRIu64 " takes",
                predict->body.dataset, dataset.version, predict->model.name,
                predict->model.version);
        code = err_remedy(err, "ingest the images with the model's size, color and fit");
    } else {
        code = predict_splits(predict, dataset.shards, err);
    }
    lookup_dataset_release(&dataset);
    return code;
}

// ---- the job ----

static err_code_t check_body(const proto_predict_t *body, err_t *err) {
    bool dir = body->dir && body->dir[0], dataset = body->dataset && body->dataset[0];
    if (dir == dataset) {
        err_set(err, ERR_INVALID,
                dir ? "both a folder and a data set to predict"
                    : "neither a folder nor a data set to predict");
        return err_remedy(err, "give one of dir and dataset");
    }
    if (dir && body->dir[0] != '/') {
        err_set(err, ERR_INVALID, "dir: '%.200s' is no absolute path", body->dir);
        return err_remedy(err, "write the whole path, as the worker's host sees it");
    }
    return ERR_OK;
}

static err_code_t prepare(predict_t *predict, const char *path, err_t *err) {
    const child_job_t *job = predict->job;
    const nn_options_t options = {.backend = "auto",
                                  .precision = "auto",
                                  .threads = (int)child_conf(predict->child)->threads,
                                  .max_batch = INFERENCE_BATCH};
    err_code_t code = proto_decode(PROTO_predict, job->body.data, job->body.size,
                                   child_arena(predict->child), &predict->body, err);
    if (code == ERR_OK)
        code = check_body(&predict->body, err);
    if (code == ERR_OK)
        code = lookup_model(predict->child, job, predict->body.model, 0, &predict->model, err);
    if (code == ERR_OK)
        code = model_engine(predict->model.model, &options, &predict->nn, err);
    if (code == ERR_OK)
        code = fs_open_new(path, &predict->file, err);
    return code;
}

static err_code_t write_table(predict_t *predict, err_t *err) {
    fputs("file,label,probability,error\r\n", fs_stream(predict->file));
    bool folder = predict->body.dir && predict->body.dir[0];
    err_code_t code = folder ? predict_folder(predict, err) : predict_dataset(predict, err);
    return code ? code : fs_commit(&predict->file, err);
}

// Where the table is, and what it is, for who does not share the folder.
static err_code_t publish(const predict_t *predict, const char *path, char digest[DIGEST_HEX_SIZE],
                          err_t *err) {
    err_code_t code = digest_file(path, digest, NULL, err);
    return code ? code
                : child_publish_file(predict->child, path + strlen(predict->job->files) + 1, digest,
                                     err);
}

static json_t *tell(const predict_t *predict, const char *path, const char *digest) {
    const model_info_t *info = model_info(predict->model.model);
    json_t *classes = json_array();
    for (int i = 0; i < info->class_count; i++)
        json_array_append_new(classes, json_string(info->classes[i]));
    return json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:o}", "model", predict->model.name, "version",
                     (json_int_t)predict->model.version, "images", (json_int_t)predict->images,
                     "failed", (json_int_t)predict->failed, "path",
                     path + strlen(predict->job->files) + 1, "digest", digest, "classes", classes);
}

err_code_t predict_run(child_t *child, const child_job_t *job, child_result_t *result, err_t *err) {
    predict_t predict = {.child = child, .job = job, .pace = {.child = child}};
    char *path = fs_join(job->folder, PREDICTIONS);
    err_code_t code = prepare(&predict, path, err);
    if (code == ERR_OK)
        code = write_table(&predict, err);
    char digest[DIGEST_HEX_SIZE];
    if (code == ERR_OK)
        code = publish(&predict, path, digest, err);
    if (code == ERR_OK)
        result->result = tell(&predict, path, digest);
    fs_abort(&predict.file);
    nn_destroy(&predict.nn);
    lookup_model_release(&predict.model);
    free(path);
    return code;
}
