// Are the figures of a model's quality what their definitions say, counted the slow way?
#include "trainer/score.h"

#include "base/philox.h"
#include "nn/nn.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IMAGES = 200, CLASSES_MAX = 5 };

typedef struct {
    int classes, images;
    float probabilities[IMAGES][CLASSES_MAX];
    int labels[IMAGES];
} made_t;

// coarse: probabilities of few different values, so that many are tied.
static made_t make(uint32_t n, int classes, int images, bool coarse) {
    made_t made = {.classes = classes, .images = images};
    for (int i = 0; i < images; i++) {
        philox_t random = philox(9, n, (uint32_t)i, 0, 0);
        float sum = 0;
        made.labels[i] = (int)philox_below(random.v[0], (uint32_t)classes);
        for (int k = 0; k < classes; k++) {
            float value = philox_float(philox(10, n, (uint32_t)i, (uint32_t)k, 0).v[0]);
            value += k == made.labels[i] ? 0.3f : 0.0f;
            value = coarse ? floorf(value * 4) + 1 : value;
            made.probabilities[i][k] = value;
            sum += value;
        }
        for (int k = 0; k < classes; k++)
            made.probabilities[i][k] /= sum;
        if (classes == 2) // as the engine gives them
            made.probabilities[i][0] = 1 - made.probabilities[i][1];
    }
    return made;
}

static score_t *score(const made_t *made) {
    score_t *score = score_new(made->classes, made->images);
    assert_non_null(score);
    for (int i = 0; i < made->images; i++)
        score_add(score, made->probabilities[i], made->labels[i]);
    return score;
}

// Over all pairs of an image of class k and another one. −1: there is no such pair.
static double pairs_auc(const made_t *made, int k) {
    double won = 0, pairs = 0;
    for (int i = 0; i < made->images; i++)
        for (int j = 0; j < made->images; j++)
            if (made->labels[i] == k && made->labels[j] != k) {
                float a = made->probabilities[i][k], b = made->probabilities[j][k];
                won += a > b ? 1 : a == b ? 0.5 : 0;
                pairs++;
            }
    return pairs > 0 ? won / pairs : -1;
}

static double macro_auc(const made_t *made) {
    double sum = 0;
    int areas = 0;
    for (int k = made->classes == 2 ? 1 : 0; k < made->classes; k++)
        if (pairs_auc(made, k) >= 0) {
            sum += pairs_auc(made, k);
            areas++;
        }
    return sum / areas;
}

static void test_auc(void **state) {
    (void)state;
    for (uint32_t n = 0; n < 200; n++) {
        made_t made = make(n, 2 + (int)n % 4, 2 + (int)n % 199, n % 3 == 0);
        score_t *scored = score(&made);
        double auc, wanted = macro_auc(&made);
        assert_int_equal(score_auc(scored, &auc, NULL), ERR_OK);
        assert_true(isnan(wanted) ? isnan(auc) : fabs(auc - wanted) < 1e-12);
        score_destroy(&scored);
    }
}

static void test_auc_extremes(void **state) {
    (void)state;
    made_t made = {.classes = 2, .images = 4, .labels = {0, 0, 1, 1}};
    static const float up[] = {0.1f, 0.2f, 0.8f, 0.9f};
    double auc;
    for (int turn = 0; turn < 3; turn++) { // right, wrong way round, undecided
        for (int i = 0; i < 4; i++) {
            float p = turn == 0 ? up[i] : turn == 1 ? up[3 - i] : 0.5f;
            made.probabilities[i][0] = 1 - p;
            made.probabilities[i][1] = p;
        }
        score_t *scored = score(&made);
        assert_int_equal(score_auc(scored, &auc, NULL), ERR_OK);
        assert_true(auc == (turn == 0 ? 1 : turn == 1 ? 0 : 0.5));
        score_destroy(&scored);
    }
}

static void test_counts(void **state) {
    (void)state;
    for (uint32_t n = 0; n < 50; n++) {
        made_t made = make(n, 2 + (int)n % 4, 1 + (int)n, n % 2);
        score_t *scored = score(&made);
        int64_t confusion[CLASSES_MAX * CLASSES_MAX] = {0}, right = 0;
        double loss = 0;
        for (int i = 0; i < made.images; i++) {
            int best = 0;
            for (int k = 0; k < made.classes; k++)
                if (made.probabilities[i][k] > made.probabilities[i][best])
                    best = k;
            right += best == made.labels[i];
            confusion[made.labels[i] * made.classes + best]++; // rows: truth
            loss -= log((double)made.probabilities[i][made.labels[i]]);
        }
        assert_int_equal(score_images(scored), made.images);
        assert_true(score_accuracy(scored) == (double)right / made.images);
        assert_true(fabs(score_loss(scored) - loss / made.images) < 1e-6);
        assert_memory_equal(score_confusion(scored), confusion,
                            (size_t)(made.classes * made.classes) * sizeof *confusion);
        score_destroy(&scored);
    }
}

static void test_json(void **state) {
    (void)state;
    made_t made = {.classes = 3, .images = 2, .labels = {2, 2}};
    made.probabilities[0][2] = 1;
    made.probabilities[1][0] = 1;
    score_t *scored = score(&made);
    json_t *json;
    assert_int_equal(score_json(scored, &json, NULL), ERR_OK);
    json_t *rows = json_pack("[[i,i,i],[i,i,i],[i,i,i]]", 0, 0, 0, 0, 0, 0, 1, 0, 1);
    assert_true(json_equal(json_object_get(json, "confusion"), rows));
    assert_true(json_is_null(json_object_get(json, "auc"))); // one class alone
    assert_true(json_number_value(json_object_get(json, "accuracy")) == 0.5);
    assert_true(json_number_value(json_object_get(json, "loss")) > 8); // clipped, not infinite
    assert_int_equal(json_integer_value(json_object_get(json, "images")), 2);
    json_decref(rows);
    json_decref(json);
    score_destroy(&scored);
    scored = score_new(2, 0); // no images at all
    assert_int_equal(score_json(scored, &json, NULL), ERR_OK);
    assert_true(json_number_value(json_object_get(json, "accuracy")) == 0);
    json_decref(json);
    score_destroy(&scored);
}

// What is no number is never taken for a good result.
static void test_not_a_number(void **state) {
    (void)state;
    made_t made = {.classes = 2, .images = 1, .probabilities = {{NAN, NAN}}};
    score_t *scored = score(&made);
    assert_true(isnan(score_loss(scored)));
    score_destroy(&scored);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auc),          cmocka_unit_test(test_auc_extremes),
        cmocka_unit_test(test_counts),       cmocka_unit_test(test_json),
        cmocka_unit_test(test_not_a_number),
    };
    return cmocka_run_group_tests_name("trainer score", tests, NULL, NULL);
}
