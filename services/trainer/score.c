#include "trainer/score.h"

#include "nn/nn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct score {
    int classes;
    int64_t capacity, images, correct;
    double loss_sum;
    int64_t *confusion;
    float *probabilities; // [class][image]: AUC sorts one class at a time
    int32_t *labels;
};

score_t *score_new(int classes, int64_t capacity) {
    size_t images = (size_t)(capacity > 0 ? capacity : 1), width = (size_t)classes;
    score_t *score = mem_zero(1, sizeof *score);
    score->classes = classes;
    score->capacity = capacity;
    score->confusion = calloc(width * width, sizeof *score->confusion);
    score->probabilities = calloc(width * images, sizeof *score->probabilities);
    score->labels = calloc(images, sizeof *score->labels);
    if (!score->confusion || !score->probabilities || !score->labels)
        score_destroy(&score);
    return score;
}

void score_destroy(score_t **self) {
    score_t *score = *self;
    if (!score)
        return;
    free(score->confusion);
    free(score->probabilities);
    free(score->labels);
    free(score);
    *self = NULL;
}

int score_best(const float *probabilities, int classes) {
    int best = 0;
    for (int i = 1; i < classes; i++)
        if (probabilities[i] > probabilities[best])
            best = i;
    return best;
}

void score_add(score_t *score, const float *probabilities, int label) {
    ERR_ASSERT(score->images < score->capacity && label >= 0 && label < score->classes);
    int best = score_best(probabilities, score->classes);
    for (int i = 0; i < score->classes; i++)
        score->probabilities[(int64_t)i * score->capacity + score->images] = probabilities[i];
    score->labels[score->images++] = label;
    score->correct += best == label;
    score->loss_sum += nn_loss(probabilities, score->classes, label);
    score->confusion[label * score->classes + best]++;
}

int64_t score_images(const score_t *score) {
    return score->images;
}

double score_accuracy(const score_t *score) {
    return score->images ? (double)score->correct / (double)score->images : 0;
}

double score_loss(const score_t *score) {
    return score->images ? score->loss_sum / (double)score->images : 0;
}

const int64_t *score_confusion(const score_t *score) {
    return score->confusion;
}

// ---- ROC-AUC ----

typedef struct {
    float probability;
    bool positive;
} ranked_t;

static int by_probability(const void *a, const void *b) {
    float x = ((const ranked_t *)a)->probability, y = ((const ranked_t *)b)->probability;
    return (x > y) - (x < y);
}

// Mann and Whitney: the sum of the positives' ranks gives the area. Sorts list.
static double auc_of(ranked_t *list, int64_t count, int64_t positives) {
    double ranks = 0;
    qsort(list, (size_t)count, sizeof *list, by_probability);
    for (int64_t i = 0, end; i < count; i = end) {
        int64_t tied = 0;
        for (end = i; end < count && list[end].probability == list[i].probability; end++)
            tied += list[end].positive;
        ranks += (double)tied * ((double)(i + 1) + (double)end) / 2; // mid-rank, counted from 1
    }
    double p = (double)positives, n = (double)(count - positives);
    return (ranks - p * (p + 1) / 2) / (p * n);
}

// Adds class k's area to *sum and 1 to *areas, if it has one.
static void add_class(const score_t *score, int k, ranked_t *list, double *sum, int *areas) {
    int64_t positives = 0;
    for (int64_t i = 0; i < score->images; i++) {
        bool positive = score->labels[i] == k;
        list[i] = (ranked_t){score->probabilities[(int64_t)k * score->capacity + i], positive};
        positives += positive;
    }
    if (positives == 0 || positives == score->images)
        return;
    *sum += auc_of(list, score->images, positives);
    ++*areas;
}

err_code_t score_auc(const score_t *score, double *auc, err_t *err) {
    ranked_t *list = malloc(((size_t)score->images + 1) * sizeof *list);
    double sum = 0;
    int areas = 0;
    if (!list)
        return err_set(err, ERR_NO_MEMORY, "no memory for ranking %lld images",
                       (long long)score->images);
    // of two classes one is enough: the other's area is the same, were 1 − p not rounded
    for (int k = score->classes == 2 ? 1 : 0; k < score->classes; k++)
        add_class(score, k, list, &sum, &areas);
    free(list);
    *auc = areas ? sum / areas : NAN;
    return ERR_OK;
}

static json_t *confusion_json(const score_t *score) {
    json_t *rows = json_array();
    for (int truth = 0; truth < score->classes; truth++) {
        json_t *row = json_array();
        for (int i = 0; i < score->classes; i++)
            json_array_append_new(row, json_integer(score->confusion[truth * score->classes + i]));
        json_array_append_new(rows, row);
    }
    return rows;
}

err_code_t score_json(const score_t *score, json_t **json, err_t *err) {
    double auc;
    err_code_t code = score_auc(score, &auc, err);
    if (code)
        return code;
    *json =
        json_pack("{s:I, s:f, s:f, s:o, s:o}", "images", (json_int_t)score->images, "accuracy",
                  score_accuracy(score), "loss", score_loss(score), "auc",
                  isnan(auc) ? json_null() : json_real(auc), "confusion", confusion_json(score));
    return ERR_OK;
}
