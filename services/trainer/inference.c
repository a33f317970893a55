#include "inference.h"

#include <stdlib.h>
#include <string.h>

err_code_t pace_tick(pace_t *pace, err_t *err) {
    child_progress(pace->child, ++pace->counter, pace->done, pace->total, pace->text);
    if (child_stop(pace->child) == CHILD_GO)
        return ERR_OK;
    return err_set(err, ERR_CANCELLED, "stopped on request");
}

err_code_t inference_split(nn_t *nn, const shard_dataset_t *shards, shard_split_t split,
                           double advance, inference_fn *each, void *context, pace_t *pace,
                           err_t *err) {
    size_t bytes = shard_image_bytes(shards);
    int classes = nn_spec(nn)->classes;
    int64_t images = shard_count(shards, split);
    uint8_t *pixels = malloc(bytes * INFERENCE_BATCH);
    float *probabilities = mem_zero(INFERENCE_BATCH * (size_t)classes, sizeof *probabilities);
    err_code_t code =
        pixels ? ERR_OK : err_set(err, ERR_NO_MEMORY, "no memory for %d images", INFERENCE_BATCH);
    for (int64_t i = 0; i < images && code == ERR_OK; i += INFERENCE_BATCH) {
        int count = images - i < INFERENCE_BATCH ? (int)(images - i) : INFERENCE_BATCH;
        for (int k = 0; k < count; k++)
            memcpy(pixels + (size_t)k * bytes, shard_pixels(shards, split, i + k), bytes);
        code = nn_predict(nn, pixels, count, probabilities, err);
        for (int k = 0; k < count && code == ERR_OK; k++)
            each(context, i + k, probabilities + (ptrdiff_t)k * classes);
        pace->done += advance * count;
        if (code == ERR_OK)
            code = pace_tick(pace, err);
    }
    free(pixels);
    free(probabilities);
    return code;
}

typedef struct {
    const shard_dataset_t *shards;
    shard_split_t split;
    const int *labels;
    score_t *score;
} scoring_t;

static void add_to_score(void *context, int64_t image, const float *probabilities) {
    const scoring_t *scoring = context;
    int label = shard_label(scoring->shards, scoring->split, image);
    score_add(scoring->score, probabilities, scoring->labels ? scoring->labels[label] : label);
}

err_code_t inference_score(nn_t *nn, const shard_dataset_t *shards, shard_split_t split,
                           const int *labels, double advance, score_t *score, pace_t *pace,
                           err_t *err) {
    scoring_t scoring = {shards, split, labels, score};
    return inference_split(nn, shards, split, advance, add_to_score, &scoring, pace, err);
}
