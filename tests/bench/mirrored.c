// One replica on all cores, and as many replicas of one core each, in turns: how many images a
// second, how long they wait for each other, and how far their losses come apart. The model is the
// paper's.
//
//   mirrored [--rounds N] [--steps N] [--batch N] [--lr X] [--sync-bn 1] [--data FOLDER]
// FOLDER: a data set's (shards) of 96×96 gray images with two classes, in its order; else noise.
// Prints a line for each round, then medians, then the losses of the first steps.
#include "nn/nn.h"
#include "shard/shard.h"
#include "test_ranks/ranks.h"
#include "trainer/mirror.h"

#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 96, IMAGE = SIZE * SIZE, POOL = 256, WARM = 2, ROUNDS_MAX = 64, LOSSES = 64 };

typedef struct {
    int rounds, steps, batch, sync_bn;
    double lr;
    const char *folder;
    // Inputs, read before the ranks are forked.
    uint8_t *pixels;
    int32_t *labels;
    int images;
} plan_t;

// What ranks tell, in shared memory.
typedef struct {
    int threads;
    double images_s, blocked; // share of a step's time, the mean over ranks
    double shares[RANKS_MAX];
    double losses[LOSSES];
} told_t;

static plan_t plan = {.rounds = 5, .steps = 8, .batch = 32, .lr = 1e-3};
static told_t *told;

// ---- inputs ----

static err_code_t read_shards(err_t *err) {
    shard_dataset_t *shards;
    err_code_t code = shard_open(plan.folder, &shards, err);
    if (code)
        return code;
    plan.images = (int)shard_count(shards, SHARD_TRAIN);
    if (shard_image_bytes(shards) != IMAGE || plan.images < plan.batch)
        return err_set(err, ERR_INVALID, "%s has not enough gray images of %d pixels", plan.folder,
                       SIZE);
    plan.pixels = mem_alloc((size_t)plan.images * IMAGE);
    plan.labels = mem_alloc((size_t)plan.images * sizeof *plan.labels);
    for (int i = 0; i < plan.images; i++) {
        memcpy(plan.pixels + (size_t)i * IMAGE, shard_pixels(shards, SHARD_TRAIN, i), IMAGE);
        plan.labels[i] = shard_label(shards, SHARD_TRAIN, i);
    }
    shard_close(&shards);
    return ERR_OK;
}

// By turns of one class and the other, as a shuffled data set would have them.
static void take_turns(void) {
    for (int i = 0, at = 1; i + 1 < plan.images; i++) {
        for (at = i + 1; at < plan.images && plan.labels[at] != (i + 1) % 2; at++)
            ;
        if (at == plan.images)
            return;
        uint8_t kept[IMAGE];
        memcpy(kept, plan.pixels + (size_t)(i + 1) * IMAGE, IMAGE);
        memmove(plan.pixels + (size_t)(i + 1) * IMAGE, plan.pixels + (size_t)at * IMAGE, IMAGE);
        memcpy(plan.pixels + (size_t)at * IMAGE, kept, IMAGE);
        int32_t label = plan.labels[i + 1];
        plan.labels[i + 1] = plan.labels[at];
        plan.labels[at] = label;
    }
}

static err_code_t make_inputs(err_t *err) {
    if (plan.folder) {
        err_code_t code = read_shards(err);
        if (code == ERR_OK)
            take_turns();
        return code;
    }
    plan.images = POOL;
    plan.pixels = mem_alloc((size_t)POOL * IMAGE);
    plan.labels = mem_alloc(POOL * sizeof *plan.labels);
    srand(1);
    for (int i = 0; i < POOL * IMAGE; i++)
        plan.pixels[i] = (uint8_t)rand();
    for (int i = 0; i < POOL; i++)
        plan.labels[i] = rand() & 1;
    return ERR_OK;
}

// ---- a rank ----

static err_code_t make(ranks_me_t *me, mirror_t *mirror, nn_t **nn, err_t *err) {
    const nn_vgg_t paper = {SIZE, SIZE, 1, 2, 64, 4, 256, 0.2f};
    const nn_options_t options = {.backend = "auto",
                                  .precision = "fp32",
                                  .threads = told->threads,
                                  .max_batch = (plan.batch + me->world - 1) / me->world,
                                  .training = true,
                                  .seed = 7};
    nn_spec_t spec;
    err_code_t code = nn_spec_vgg(&paper, &spec, err);
    if (code == ERR_OK)
        code = nn_new(&spec, &options, nn, err);
    if (code == ERR_OK)
        code = nn_init(*nn, 7, err);
    return code ? code : mirror_join(mirror, err);
}

static err_code_t step(mirror_t *mirror, nn_t *nn, int number, err_t *err) {
    const nn_adam_t adam = {.lr = (float)plan.lr, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-7f};
    int first, own, batches = plan.images / plan.batch, wish = 0;
    nn_result_t result;
    mirror_begin_step(mirror);
    mirror_share(mirror, plan.batch, &first, &own);
    int at = number % batches * plan.batch + first;
    const nn_batch_t batch = {.pixels = plan.pixels + (size_t)at * IMAGE,
                              .labels = plan.labels + at,
                              .count = own,
                              .position = (uint32_t)first,
                              .batch_total = plan.batch};
    mirror_has_input(mirror);
    err_code_t code =
        nn_step(nn, &batch, (uint64_t)number, &adam, mirror_replicas(mirror), &result, err);
    mirror_end_step(mirror);
    if (mirror_rank(mirror) == 0 && number < LOSSES)
        told->losses[number] = result.loss / plan.batch;
    return code ? code : mirror_tick(mirror, &wish, err);
}

static int run(ranks_me_t *me, void *arg) {
    (void)arg;
    const mirror_options_t options = {.rank = me->rank,
                                      .world = me->world,
                                      .meet = ranks_meet,
                                      .meet_arg = me,
                                      .sync_bn = plan.sync_bn};
    mirror_t *mirror = mirror_new(&options);
    nn_t *nn = NULL;
    err_t err = {.message = ""};
    err_code_t code = make(me, mirror, &nn, &err);
    int64_t start = 0;
    for (int i = 0; i < WARM + plan.steps && code == ERR_OK; i++) {
        if (i == WARM) {
            start = clock_mono_us();
            mirror_forget_steps(mirror);
        }
        code = step(mirror, nn, i, &err);
    }
    double seconds = (double)(clock_mono_us() - start) / 1e6;
    if (code) {
        fprintf(stderr, "rank %d: %s\n", me->rank, err.message);
        mirror_abandon(mirror);
    }
    told->shares[me->rank] = mirror_blocked(mirror);
    if (me->rank == 0)
        told->images_s = plan.steps * plan.batch / seconds;
    mirror_destroy(&mirror);
    nn_destroy(&nn);
    return code != ERR_OK;
}

static void measure(int world, int threads) {
    told->threads = threads;
    ranks_t *ranks = ranks_start(world, run, NULL);
    told->blocked = 0;
    for (int i = 0; i < world; i++) {
        if (ranks_await(ranks, i, 3600 * 1000))
            exit(1); // it has said why
        told->blocked += told->shares[i] / world;
    }
    ranks_stop(&ranks);
}

// ---- all of it ----

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_size);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

static void read_options(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--rounds") == 0)
            plan.rounds = atoi(value) < ROUNDS_MAX ? atoi(value) : ROUNDS_MAX;
        else if (strcmp(argv[i], "--steps") == 0)
            plan.steps = atoi(value);
        else if (strcmp(argv[i], "--batch") == 0)
            plan.batch = atoi(value);
        else if (strcmp(argv[i], "--lr") == 0)
            plan.lr = atof(value);
        else if (strcmp(argv[i], "--sync-bn") == 0)
            plan.sync_bn = atoi(value);
        else if (strcmp(argv[i], "--data") == 0)
            plan.folder = value;
    }
}

static void compare_losses(const double *one, const double *many) {
    int count = WARM + plan.steps < LOSSES ? WARM + plan.steps : LOSSES;
    for (int i = 0; i < count; i++)
        printf("step %d: loss %.7f and %.7f, apart by %.1e\n", i, one[i], many[i],
               fabs(many[i] / one[i] - 1));
}

int main(int argc, char **argv) {
    nn_wait_passively(argv);
    read_options(argc, argv);
    err_t err;
    if (make_inputs(&err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    int cores = nn_cores() < RANKS_MAX ? nn_cores() : RANKS_MAX;
    double one[ROUNDS_MAX], many[ROUNDS_MAX], blocked[ROUNDS_MAX], ratios[ROUNDS_MAX];
    double losses[LOSSES];
    told = ranks_shared(sizeof *told);
    for (int i = 0; i < plan.rounds; i++) {
        measure(1, cores);
        one[i] = told->images_s;
        memcpy(losses, told->losses, sizeof losses);
        measure(cores, 1);
        many[i] = told->images_s;
        blocked[i] = told->blocked;
        ratios[i] = many[i] / one[i];
        printf("one replica of %d cores %.1f images/s, %d of one core %.1f: ratio %.3f, blocked "
               "%.1f %%\n",
               cores, one[i], cores, many[i], ratios[i], 100 * blocked[i]);
        fflush(stdout);
    }
    if (plan.rounds > 0)
        printf("median: %.1f and %.1f images/s, ratio %.3f, blocked %.1f %%\n",
               median(one, plan.rounds), median(many, plan.rounds), median(ratios, plan.rounds),
               100 * median(blocked, plan.rounds));
    compare_losses(losses, told->losses);
    return 0;
}
