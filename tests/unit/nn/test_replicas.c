// Do replicas with shares of a batch compute what one handle does with all of it? Each replica is a
// thread here; sums go over shared memory, in the order of ranks.
#include "subject.h"
#include "support.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOTAL = 8, STEPS = 5, RANKS = 4, SIZE = 16, ESTIMATE = 77 };

// Of each step, by rank; a rank may have none, of a last batch that is small.
typedef struct {
    int world;
    int shares[STEPS][RANKS];
} split_t;

static const split_t splits[] = {
    {1, {{8}, {8}, {8}, {8}, {2}}},
    {2, {{4, 4}, {4, 4}, {3, 5}, {4, 4}, {2, 0}}},
    {3, {{3, 3, 2}, {1, 2, 5}, {3, 3, 2}, {8, 0, 0}, {1, 1, 0}}},
    {4, {{2, 2, 2, 2}, {2, 2, 2, 2}, {5, 1, 1, 1}, {0, 0, 8, 0}, {1, 1, 0, 0}}},
};

typedef struct {
    const subject_t *subject;
    const split_t *split;
    int steps;
    int offset, total; // of the first sample; total 0: what the shares add up to
    bool sync_bn;
    const uint8_t *pixels;
    const int32_t *labels;
    pthread_barrier_t barrier;
    const void *given[RANKS];
    nn_t *nn[RANKS];
    float *gradients[RANKS]; // of the first step, all tensors
    double losses[RANKS][STEPS];
    int corrects[RANKS][STEPS];
    int buckets[RANKS];
    bool finished[RANKS];
    err_t errors[RANKS];
} team_t;

typedef struct {
    team_t *team;
    int rank;
} member_t;

#define SUM(type)                                                                                  \
    team_t *team = ((member_t *)arg)->team;                                                        \
    int rank = ((member_t *)arg)->rank;                                                            \
    type *total = mem_zero(count, sizeof *total);                                                  \
    team->given[rank] = values;                                                                    \
    pthread_barrier_wait(&team->barrier);                                                          \
    for (int r = 0; r < team->split->world; r++)                                                   \
        for (size_t i = 0; i < count; i++)                                                         \
            total[i] += ((const type *)team->given[r])[i];                                         \
    pthread_barrier_wait(&team->barrier);                                                          \
    memcpy(values, total, count * sizeof *total);                                                  \
    free(total);

static err_code_t sum_floats(void *arg, int bucket, float *values, size_t count, err_t *err) {
    (void)err;
    SUM(float)
    team->buckets[rank] += bucket == team->buckets[rank];
    team->finished[rank] = false;
    return ERR_OK;
}

static err_code_t finish(void *arg, err_t *err) {
    (void)err;
    ((member_t *)arg)->team->finished[((member_t *)arg)->rank] = true;
    return ERR_OK;
}

static err_code_t sum_doubles(void *arg, double *values, size_t count, err_t *err) {
    (void)err;
    SUM(double)
    return ERR_OK;
}

static err_code_t take_gradients(team_t *team, int rank, err_t *err) {
    nn_t *nn = team->nn[rank];
    int64_t count = 0;
    err_code_t code = ERR_OK;
    for (int t = 0; t < nn_tensor_count(nn); t++)
        count += nn_tensors(nn)[t].count;
    float *at = team->gradients[rank] = mem_zero((size_t)count, sizeof *at);
    for (int t = 0; t < nn_tensor_count(nn) && !code; t++) {
        if (nn_tensors(nn)[t].trained)
            code = nn_get(nn, NN_GRADIENT, t, at, err);
        at += nn_tensors(nn)[t].count;
    }
    return code;
}

static err_code_t train(team_t *team, int rank, const nn_replicas_t *replicas, err_t *err) {
    err_code_t code = ERR_OK;
    for (int step = 0; step < team->steps && !code; step++) {
        const int *shares = team->split->shares[step];
        int total = 0, position = 0;
        for (int r = 0; r < team->split->world; r++) {
            position += r < rank ? shares[r] : 0;
            total += shares[r];
        }
        bool some = shares[rank] > 0;
        nn_batch_t batch = {some ? team->pixels + (size_t)position * SIZE * SIZE : NULL,
                            some ? team->labels + position : NULL,
                            NULL,
                            shares[rank],
                            (uint32_t)(team->offset + position),
                            team->total ? team->total : total};
        nn_result_t result;
        code =
            nn_step(team->nn[rank], &batch, (uint64_t)step, &support_adam, replicas, &result, err);
        team->losses[rank][step] = result.loss;
        team->corrects[rank][step] = result.correct;
        if (!code && step == 0)
            code = take_gradients(team, rank, err);
    }
    return code;
}

// All that asserts runs in the test's own thread, behind pthread_join.
static void *be_rank(void *arg) {
    member_t *member = arg;
    team_t *team = member->team;
    const nn_replicas_t replicas = {.rank = member->rank,
                                    .world = team->split->world,
                                    .sync_bn = team->sync_bn,
                                    .gradients = sum_floats,
                                    .finish = finish,
                                    .sums = sum_doubles,
                                    .arg = member};
    err_t *err = &team->errors[member->rank];
    if (!train(team, member->rank, &replicas, err))
        nn_bn_estimate(team->nn[member->rank], team->pixels, ESTIMATE - team->offset, &replicas,
                       err);
    return NULL;
}

static void run_team(team_t *team) {
    char *text = support_paper(SIZE, 4, 2);
    nn_spec_t spec = support_spec(text);
    int world = team->split->world;
    pthread_t threads[RANKS];
    member_t members[RANKS];
    free(text);
    nn_options_t options =
        support_options(team->subject->backend, team->subject->tolerance->precision, TOTAL);
    options.threads = 1;
    pthread_barrier_init(&team->barrier, NULL, (unsigned)world);
    for (int r = 0; r < world; r++) {
        team->nn[r] = support_new(&spec, &options);
        support_params(team->nn[r], 3);
    }
    for (int r = 0; r < world; r++) {
        members[r] = (member_t){team, r};
        pthread_create(&threads[r], NULL, be_rank, &members[r]);
    }
    for (int r = 0; r < world; r++)
        pthread_join(threads[r], NULL);
    for (int r = 0; r < world; r++)
        ok_at(team->errors[r].code, &team->errors[r], __FILE__, __LINE__);
    pthread_barrier_destroy(&team->barrier);
}

static void free_team(team_t *team) {
    for (int r = 0; r < team->split->world; r++) {
        nn_destroy(&team->nn[r]);
        free(team->gradients[r]);
    }
}

// ---- comparisons ----

static void assert_same_bits(const team_t *team) {
    int64_t count, other;
    float *first = support_state(team->nn[0], &count);
    for (int r = 1; r < team->split->world; r++) {
        float *state = support_state(team->nn[r], &other);
        assert_int_equal(count, other);
        assert_memory_equal(first, state, (size_t)count * sizeof *first);
        free(state);
        for (int t = 0; t < nn_tensor_count(team->nn[0]); t++) {
            if (nn_tensors(team->nn[0])[t].trained)
                continue;
            float *one = support_get(team->nn[0], NN_ESTIMATE, t);
            float *two = support_get(team->nn[r], NN_ESTIMATE, t);
            assert_memory_equal(one, two, (size_t)nn_tensors(team->nn[0])[t].count * sizeof *one);
            free(one);
            free(two);
        }
        assert_memory_equal(team->losses[0], team->losses[r], sizeof team->losses[0]);
        assert_memory_equal(team->corrects[0], team->corrects[r], sizeof team->corrects[0]);
        assert_true(team->finished[r]);
        assert_true(team->buckets[r] > 0);
    }
    free(first);
}

static double distance(const team_t *a, const team_t *b, nn_part_t part, bool trained) {
    double off = 0, whole = 0;
    for (int t = 0; t < nn_tensor_count(a->nn[0]); t++) {
        const nn_tensor_t *tensor = &nn_tensors(a->nn[0])[t];
        if (tensor->trained != trained)
            continue;
        float *one = support_get(a->nn[0], part, t), *two = support_get(b->nn[0], part, t);
        off += pow(support_distance(one, two, tensor->count), 2);
        whole += pow(support_norm(one, tensor->count), 2);
        free(one);
        free(two);
    }
    return sqrt(off / whole);
}

static double gradient_distance(const team_t *a, const team_t *b) {
    int64_t count = 0;
    for (int t = 0; t < nn_tensor_count(a->nn[0]); t++)
        count += nn_tensors(a->nn[0])[t].count;
    return support_distance(a->gradients[0], b->gradients[0], count) /
           support_norm(a->gradients[0], count);
}

static team_t make_team(const subject_t *subject, const split_t *split, bool sync_bn,
                        const uint8_t *pixels, const int32_t *labels) {
    return (team_t){.subject = subject,
                    .split = split,
                    .steps = STEPS,
                    .sync_bn = sync_bn,
                    .pixels = pixels,
                    .labels = labels};
}

// ---- the tests ----

typedef struct {
    uint8_t *pixels;
    int32_t *labels;
} inputs_t;

static inputs_t make_inputs(void) {
    char *text = support_paper(SIZE, 4, 2);
    nn_spec_t spec = support_spec(text);
    free(text);
    return (inputs_t){support_pixels(&spec, ESTIMATE, 5), support_labels(2, ESTIMATE, 6)};
}

static void with_global_statistics_it_is_one_training(void **state) {
    const subject_t *subject = *state;
    bool coarse = strcmp(subject->tolerance->precision, "bf16") == 0;
    double loss = coarse ? 0.1 : 1e-5, gradient = coarse ? 0.7 : 1e-4, moving = coarse ? 0.1 : 1e-6;
#ifdef NN_DOUBLE
    loss = 1e-7, gradient = 1e-6, moving = 1e-7;
#endif
    inputs_t in = make_inputs();
    team_t one = make_team(subject, &splits[0], true, in.pixels, in.labels);
    run_team(&one);
    for (size_t i = 1; i < sizeof splits / sizeof *splits; i++) {
        team_t team = make_team(subject, &splits[i], true, in.pixels, in.labels);
        run_team(&team);
        assert_same_bits(&team);
        double worst = 0;
        for (int step = 0; step < STEPS; step++)
            worst = fmax(worst, fabs(team.losses[0][step] / one.losses[0][step] - 1));
        double off = gradient_distance(&one, &team);
        double statistics = distance(&one, &team, NN_PARAM, false);
        double estimates = distance(&one, &team, NN_ESTIMATE, false);
        print_message("%s %s, %d replicas: losses differ by %.1e, gradients %.1e, moving "
                      "statistics %.1e, estimates %.1e\n",
                      subject->backend, subject->tolerance->precision, team.split->world, worst,
                      off, statistics, estimates);
        assert_true(worst <= loss);
        assert_true(off <= gradient);
        assert_true(statistics <= moving);
        // estimates hang on weights that five steps of Adam have driven apart
        assert_true(estimates <= 100 * moving);
        free_team(&team);
    }
    free_team(&one);
    free(in.pixels);
    free(in.labels);
}

// A handle of its own for each share of one batch has the moving statistics of its samples; the
// replicas' must be their average. The third has no samples.
static void without_it_moving_statistics_are_averaged(void **state) {
    const subject_t *subject = *state;
    static const split_t parts[] = {
        {1, {{5}}}, {1, {{3}}}, {3, {{5, 3, 0}, {4, 4, 0}, {0, 4, 4}, {2, 3, 3}, {1, 0, 1}}}};
    inputs_t in = make_inputs();
    team_t teams[3];
    for (int i = 0; i < 3; i++) {
        size_t skip = i == 1 ? 5 : 0;
        teams[i] =
            make_team(subject, &parts[i], false, in.pixels + skip * SIZE * SIZE, in.labels + skip);
        teams[i].steps = 1;
        teams[i].offset = (int)skip;
        teams[i].total = TOTAL;
        run_team(&teams[i]);
    }
    for (int t = 0; t < nn_tensor_count(teams[2].nn[0]); t++) {
        const nn_tensor_t *tensor = &nn_tensors(teams[2].nn[0])[t];
        float *one = support_get(teams[0].nn[0], NN_PARAM, t);
        float *two = support_get(teams[1].nn[0], NN_PARAM, t);
        float *all = support_get(teams[2].nn[0], NN_PARAM, t);
        for (int64_t i = 0; i < tensor->count && !tensor->trained; i++) {
            double average = (5 * (double)one[i] + 3 * (double)two[i]) / 8;
            assert_true(fabs((double)all[i] - average) <= 1e-5 * (1 + fabs(average)));
        }
        free(one);
        free(two);
        free(all);
    }
    assert_same_bits(&teams[2]);
    for (int i = 0; i < 3; i++)
        free_team(&teams[i]);

    team_t longer = make_team(subject, &parts[2], false, in.pixels, in.labels);
    run_team(&longer);
    assert_same_bits(&longer);
    free_team(&longer);
    free(in.pixels);
    free(in.labels);
}

static const subject_test_t tests[] = {
    {"with global statistics it is one training", with_global_statistics_it_is_one_training, false},
    {"without it moving statistics are averaged", without_it_moving_statistics_are_averaged, false},
};

int main(void) {
    return subject_run(tests, sizeof tests / sizeof tests[0]);
}
