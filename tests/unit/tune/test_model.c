// Does the Gaussian process agree with the plain formulas, and do all gradients with finite
// differences?
#include "base/philox.h"
#include "tune/acquire_impl.h"
#include "tune/descend_impl.h"
#include "tune/linalg_impl.h"
#include "tune/matern_impl.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 12, PENDING = 3 };

typedef struct {
    tune_space_t space;
    frame_t frame;
    gp_data_t data, labels;
    double theta[GP_THETA_MAX], pending[PENDING * 8];
} scene_t;

static double uniform(uint32_t a, uint32_t b) {
    return (philox(7, a, b, 0, 0).v[0] + 0.5) * 0x1p-32;
}

static void random_point(const frame_t *frame, uint32_t number, double *wide) {
    double unit[TUNE_PARAMETERS_MAX], point[TUNE_PARAMETERS_MAX];
    for (int d = 0; d < frame->dims; d++)
        unit[d] = uniform(number, (uint32_t)d);
    frame_decode(frame, unit, point);
    frame_widen(frame, point, wide);
}

static int set_up(void **state) {
    static const char *const texts[] = {"a=0..1", "b=log:1e-3..1", "c={x,y,z}", "d=int:1..20",
                                        "e=0..2 if c=x|y"};
    scene_t *scene = mem_zero(1, sizeof *scene);
    assert_int_equal(tune_space_parse(texts, 5, &scene->space, NULL), ERR_OK);
    frame_init(&scene->frame, &scene->space, &scene->space);
    assert_int_equal(scene->frame.wide, 7);
    gp_data_init(&scene->data, &scene->frame, N);
    gp_data_init(&scene->labels, &scene->frame, N);
    for (int i = 0; i < N; i++) {
        double *x = scene->data.x + i * 7;
        random_point(&scene->frame, (uint32_t)i, x);
        memcpy(scene->labels.x + i * 7, x, 7 * sizeof *x);
        scene->data.y[i] = sin(5 * x[0]) + x[1] * x[5] + (x[2] > 0 ? 0.5 : 0) - 0.4;
        scene->data.share[i] = i == 3 ? 0.5 : 1;
        scene->data.own[i] = i == 5 ? 0.07 : 0;
        scene->labels.y[i] = i % 4 == 1 ? -1 : 1;
        scene->labels.share[i] = 1;
        scene->labels.own[i] = 0;
    }
    scene->data.n = scene->labels.n = N;
    scene->data.repeats = 1;
    scene->data.within = 0.03;
    for (int i = 0; i < PENDING; i++)
        random_point(&scene->frame, 100 + (uint32_t)i, scene->pending + i * 7);
    const double theta[] = {-0.9, -0.4, 0.1, -0.2, 0.3, 0.2, -4};
    memcpy(scene->theta, theta, sizeof theta);
    *state = scene;
    return 0;
}

static int tear_down(void **state) {
    scene_t *scene = *state;
    gp_data_release(&scene->data);
    gp_data_release(&scene->labels);
    free(scene);
    return 0;
}

// ---- the plain formulas ----

static double plain_kernel(const scene_t *scene, const double *a, const double *b) {
    double r2 = 0, s2 = exp(scene->theta[5]);
    for (int c = 0; c < 7; c++)
        r2 += 5 * pow((a[c] - b[c]) / exp(scene->theta[scene->frame.group[c]]), 2);
    double r = sqrt(r2);
    return s2 * (1 + r + r2 / 3) * exp(-r);
}

// Gauss with pivots: x = A⁻¹b, and ln |det A|.
static double plain_solve(int n, const double *matrix, double *b) {
    double *a = mem_alloc(sizeof *a * (size_t)(n * n)), log_det = 0;
    memcpy(a, matrix, sizeof *a * (size_t)(n * n));
    for (int c = 0; c < n; c++) {
        int pivot = c;
        for (int r = c; r < n; r++)
            pivot = fabs(a[r * n + c]) > fabs(a[pivot * n + c]) ? r : pivot;
        for (int k = 0; k < n; k++) {
            double kept = a[c * n + k];
            a[c * n + k] = a[pivot * n + k];
            a[pivot * n + k] = kept;
        }
        double kept = b[c];
        b[c] = b[pivot];
        b[pivot] = kept;
        log_det += log(fabs(a[c * n + c]));
        for (int r = c + 1; r < n; r++) {
            double f = a[r * n + c] / a[c * n + c];
            for (int k = c; k < n; k++)
                a[r * n + k] -= f * a[c * n + k];
            b[r] -= f * b[c];
        }
    }
    for (int c = n - 1; c >= 0; c--) {
        for (int k = c + 1; k < n; k++)
            b[c] -= a[c * n + k] * b[k];
        b[c] /= a[c * n + c];
    }
    free(a);
    return log_det;
}

static void plain_matrix(const scene_t *scene, double *k) {
    const gp_data_t *data = &scene->data;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            k[i * N + j] = plain_kernel(scene, data->x + i * 7, data->x + j * 7) +
                           (i == j ? exp(scene->theta[6]) * data->share[i] + data->own[i] : 0);
}

static void density_is_the_plain_one(void **state) {
    scene_t *scene = *state;
    double k[N * N], x[N], value = 0, prior[GP_THETA_MAX];
    plain_matrix(scene, k);
    memcpy(x, scene->data.y, sizeof x);
    value += 0.5 * plain_solve(N, k, x);
    for (int i = 0; i < N; i++)
        value += 0.5 * scene->data.y[i] * x[i];
    gp_prior(5, prior);
    assert_true(fabs(prior[0] - log(0.35 * sqrt(5))) < 1e-15 && prior[6] == -6);
    value += 0.5 * (scene->theta[6] + 0.03 / exp(scene->theta[6])); // the repeated trial
    for (int i = 0; i < 7; i++)
        value += pow(scene->theta[i] - prior[i], 2) / (i == 6 ? 8 : 2);
    gp_objective_t *objective = gp_objective_new(&scene->data);
    double got = gp_objective_value(objective, scene->theta, NULL);
    assert_true(fabs(got - value) < 1e-10);
    gp_objective_free(&objective);
}

static void predictions_are_the_plain_ones(void **state) {
    scene_t *scene = *state;
    double k[N * N], wide[9 * 7], z[9 * 7], mean[9], variance[9], bound_mean[9], bound[9];
    posterior_t p;
    assert_int_equal(posterior_init(&p, &scene->data, scene->theta, NULL), ERR_OK);
    plain_matrix(scene, k);
    for (uint32_t i = 0; i < 9; i++)
        random_point(&scene->frame, 200 + i, wide + i * 7);
    posterior_scale(&p, 9, wide, z);
    posterior_predict(&p, 9, z, mean, variance);
    posterior_bound(&p, 9, z, bound_mean, bound);
    for (int i = 0; i < 9; i++) {
        double cross[N], weights[N], m = 0, v = exp(scene->theta[5]), work[3 * N];
        for (int j = 0; j < N; j++)
            weights[j] = cross[j] = plain_kernel(scene, wide + i * 7, scene->data.x + j * 7);
        plain_solve(N, k, weights);
        for (int j = 0; j < N; j++) {
            m += weights[j] * scene->data.y[j];
            v -= weights[j] * cross[j];
        }
        posterior_point_t point;
        posterior_point(&p, z + i * 7, work, &point);
        assert_true(fabs(mean[i] - m) < 1e-11 && fabs(variance[i] - v) < 1e-11);
        assert_true(fabs(point.mean[0] - m) < 1e-11 && fabs(point.variance - v) < 1e-11);
        assert_true(fabs(bound_mean[i] - m) < 1e-11 && bound[i] >= v - 1e-12);
    }
    posterior_release(&p);
}

// ---- gradients ----

static void density_gradient(void **state) {
    scene_t *scene = *state;
    gp_objective_t *objective = gp_objective_new(&scene->data);
    double gradient[GP_THETA_MAX];
    gp_objective_value(objective, scene->theta, gradient);
    for (int i = 0; i < 7; i++) {
        double at[GP_THETA_MAX], h = 1e-5;
        memcpy(at, scene->theta, sizeof at);
        at[i] += h;
        double up = gp_objective_value(objective, at, NULL);
        at[i] -= 2 * h;
        double down = gp_objective_value(objective, at, NULL);
        if (fabs((up - down) / (2 * h) - gradient[i]) > 1e-7 * (1 + fabs(gradient[i])))
            fail_msg("θ %d: %g, not %g", i, gradient[i], (up - down) / (2 * h));
    }
    gp_objective_free(&objective);
}

static void acquire_init(scene_t *scene, acquire_t *acquire, int pending, bool noisy, bool fails) {
    posterior_t given;
    assert_int_equal(posterior_init(&given, &scene->data, scene->theta, NULL), ERR_OK);
    const posterior_fantasy_t wanted = {.data = &scene->data,
                                        .given = &given,
                                        .theta = scene->theta,
                                        .pending = pending,
                                        .x = scene->pending,
                                        .noisy = noisy,
                                        .least = -0.9,
                                        .key = 11,
                                        .trial = {4, 0}};
    *acquire = (acquire_t){.may_fail = fails};
    assert_int_equal(posterior_fantasise(&acquire->objective, &wanted, acquire->best, NULL),
                     ERR_OK);
    posterior_release(&given);
    if (fails)
        assert_int_equal(posterior_init(&acquire->feasible, &scene->labels, scene->theta, NULL),
                         ERR_OK);
}

static void check_gradient(scene_t *scene, const acquire_t *acquire) {
    double work[3 * (N + PENDING)], gradient[7], unused[7], wide[7], score;
    for (uint32_t number = 300; number < 310; number++) {
        random_point(&scene->frame, number, wide);
        double value = acquire_score(acquire, wide, work, gradient);
        acquire_scores(acquire, 1, wide, &score, NULL, NULL);
        assert_true(fabs(value - score) < 1e-8 * (1 + fabs(value)));
        for (int c = 0; c < 7; c++) {
            double at[7], h = 1e-6;
            memcpy(at, wide, sizeof at);
            at[c] += h;
            double up = acquire_score(acquire, at, work, unused);
            at[c] -= 2 * h;
            double down = acquire_score(acquire, at, work, unused);
            if (fabs((up - down) / (2 * h) - gradient[c]) > 2e-5 * (1 + fabs(gradient[c])))
                fail_msg("coordinate %d: %g, not %g", c, gradient[c], (up - down) / (2 * h));
        }
    }
}

static void acquisition_gradient(void **state) {
    for (int kind = 0; kind < 8; kind++) {
        acquire_t acquire;
        acquire_init(*state, &acquire, kind & 1 ? PENDING : 0, kind & 2, kind & 4);
        check_gradient(*state, &acquire);
        acquire_release(&acquire);
    }
}

// ---- samples ----

// The samples' means at a pending point have the posterior's mean and variance, and behind it no
// variance is left.
static void fantasies_have_the_right_spread(void **state) {
    scene_t *scene = *state;
    posterior_t p;
    acquire_t acquire;
    double z[PENDING * 7], mean[PENDING], variance[PENDING], left[PENDING];
    double means[PENDING * POSTERIOR_SAMPLES];
    assert_int_equal(posterior_init(&p, &scene->data, scene->theta, NULL), ERR_OK);
    posterior_scale(&p, PENDING, scene->pending, z);
    posterior_predict(&p, PENDING, z, mean, variance);
    for (int noisy = 0; noisy < 2; noisy++) {
        acquire_init(scene, &acquire, PENDING, noisy, false);
        int samples = acquire.objective.samples;
        posterior_predict(&acquire.objective, PENDING, z, means, left);
        for (int i = 0; i < PENDING; i++) {
            double sum = 0, squares = 0;
            for (int s = 0; s < samples; s++)
                sum += means[i * samples + s] / samples;
            for (int s = 0; s < samples; s++)
                squares += pow(means[i * samples + s] - sum, 2) / samples;
            assert_true(fabs(sum - mean[i]) < (noisy ? 0.4 * sqrt(variance[i]) : 0.02));
            assert_true(squares > 0.4 * variance[i] && squares < 2 * variance[i]);
            assert_true(left[i] < 0.1 * variance[i]);
        }
        for (int s = 0; s < samples; s++)
            for (int i = 0; i < PENDING; i++)
                assert_true(acquire.best[s] <= means[i * samples + s] + 0.1);
        acquire_release(&acquire);
    }
    posterior_release(&p);
}

// ---- the rest ----

static void kernel_values(void **state) {
    (void)state;
    double r2[400], k[400], slope[400];
    for (int i = 0; i < 400; i++)
        r2[i] = i == 0 ? -1e-18 : pow(10, -12 + i * 0.05);
    matern_values(400, 2.5, r2, k, slope);
    for (int i = 0; i < 400; i++) {
        double r = i == 0 ? 0 : sqrt(r2[i]);
        double wanted = 2.5 * (1 + r + r * r / 3) * exp(-r),
               wanted_slope = 2.5 * (1 + r) * exp(-r) / 3;
        assert_true(fabs(k[i] - wanted) <= 4e-15 * wanted + 1e-290);
        assert_true(fabs(slope[i] - wanted_slope) <= 4e-15 * wanted_slope + 1e-290);
    }
}

static void jitter_only_where_it_must_be(void **state) {
    (void)state;
    const double none[] = {0, 0, 0};
    const double good[] = {2, 1, 0, 0, 2, 1, 0, 0, 2}, same[] = {1, 1, 1, 0, 1, 1, 0, 0, 1};
    const double hopeless[] = {1, 9, 9, 0, 1, 9, 0, 0, 1}, nan[] = {NAN, 0, 0, 0, 1, 0, 0, 0, 1};
    double l[9];
    assert_true(gp_factor(good, 3, 1, none, l) == 0);
    assert_true(fabs(l[0] - sqrt(2)) < 1e-15 && good[0] == 2);
    double jitter = gp_factor(same, 3, 1, none, l);
    assert_true(jitter > 0 && jitter <= 1e-6);
    assert_true(gp_factor(hopeless, 3, 1, none, l) == -1);
    assert_true(gp_factor(nan, 3, 1, none, l) == -1);
}

static void fits_find_what_made_the_data(void **state) {
    scene_t *scene = *state;
    double theta[GP_THETA_MAX], before;
    gp_objective_t *objective = gp_objective_new(&scene->data);
    gp_prior(5, theta);
    before = gp_objective_value(objective, theta, NULL);
    double after = gp_fit(&scene->data, theta, true), gradient[GP_THETA_MAX];
    assert_true(after < before);
    assert_true(fabs(gp_objective_value(objective, theta, gradient) - after) < 1e-9);
    for (int i = 0; i < 6; i++)
        assert_true(fabs(gradient[i]) < 0.1);
    double again = gp_fit(&scene->data, theta, false);
    assert_true(again <= after);
    gp_objective_free(&objective);
}

static double bowl(void *context, const double *x, double *gradient) {
    int *calls = context;
    if (++*calls % 3 == 0)
        return NAN; // a hole must not trap it
    gradient[0] = 2 * (x[0] - 3);
    gradient[1] = 200 * x[1];
    return pow(x[0] - 3, 2) + 100 * x[1] * x[1];
}

static void descent_keeps_to_its_bounds(void **state) {
    (void)state;
    const double lo[] = {-1, -1}, hi[] = {2, 5};
    double x[] = {-7, 3};
    int calls = 0;
    descend_t task = {2, 40, 1e-9, lo, hi, bowl, &calls};
    double value = descend(&task, x);
    assert_true(calls <= 41 && value <= 16 + 900);
    assert_true(x[0] >= -1 && x[0] <= 2 && x[1] >= -1 && x[1] <= 5);
    assert_true(fabs(value - pow(x[0] - 3, 2) - 100 * x[1] * x[1]) < 1e-12);
}

int main(void) {
    linalg_single_thread();
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(density_is_the_plain_one),
        TEST(predictions_are_the_plain_ones),
        TEST(density_gradient),
        TEST(acquisition_gradient),
        TEST(fantasies_have_the_right_spread),
        cmocka_unit_test(kernel_values),
        cmocka_unit_test(jitter_only_where_it_must_be),
        TEST(fits_find_what_made_the_data),
        cmocka_unit_test(descent_keeps_to_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
