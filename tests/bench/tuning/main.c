// Studies of known functions by the optimiser: the regret each ends with. The script beside this
// file runs it next to its peers.
//   build/bench/tuner STUDY|all FIRST_SEED SEEDS [STRATEGY]      a line of JSON per study and seed
//   build/bench/tuner warm FIRST_SEED SEEDS [FUNCTION...]        with what an earlier study has
//   seen build/bench/tuner cost [TRIALS]                              milliseconds per suggestion
#include "functions.h"
#include "warm.h"

#include "base/err.h"
#include "tune/optimiser.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void check(err_code_t code, const err_t *err) {
    if (code)
        err_abort(__FILE__, __LINE__, err->message);
}

#define WORKERS_MAX 8

static bool trace;

// Of processor time: the same beside other programs.
static double cpu_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

typedef struct {
    int diverged, replicates;
    double ms, any;
} tally_t;

static void finish(const function_t *study, tune_t *tune, uint64_t seed, int trial, double truth,
                   tally_t *tally) {
    err_t err;
    tally->any = truth < tally->any ? truth : tally->any;
    if (study->f == hpo7 && truth == DIVERGED) {
        tally->diverged++;
        check(tune_fail(tune, (uint64_t)trial, &err), &err);
        return;
    }
    double value = truth + study->noise * bench_normal(seed, trial);
    check(tune_tell(tune, (uint64_t)trial, value, 0, &err), &err);
}

// ---- workers, by a clock of its own ----

typedef struct {
    int trial;
    double truth, end; // when it ends; starts at 0
} running_t;

typedef struct {
    running_t running[WORKERS_MAX];
    int count;
    double now, alone; // alone: the time that one worker would have taken
} clock_sim_t;

// A trial takes e^(N/2): half of all are within 0.71 and 1.4.
static void start(clock_sim_t *clock, uint64_t seed, int trial, double truth) {
    double takes = exp(0.5 * bench_normal(~seed, trial));
    clock->alone += takes;
    clock->running[clock->count++] = (running_t){trial, truth, clock->now + takes};
}

// The one that ends next.
static running_t end_of_next(clock_sim_t *clock) {
    int next = 0;
    for (int i = 1; i < clock->count; i++)
        if (clock->running[i].end < clock->running[next].end)
            next = i;
    running_t ended = clock->running[next];
    clock->running[next] = clock->running[--clock->count];
    clock->now = ended.end;
    return ended;
}

// ---- a study ----

static double suggest(const function_t *study, tune_t *tune, int trial, int dimensions,
                      tally_t *tally) {
    double point[TUNE_PARAMETERS_MAX], begin = cpu_ms();
    tune_why_t why;
    err_t err;
    check(tune_ask(tune, (uint64_t)trial, point, &why, &err), &err);
    tally->ms += (cpu_ms() - begin) / study->trials;
    tally->replicates += why.kind == TUNE_REPLICATE;
    double truth = study->f(dimensions, point);
    if (trace)
        fprintf(stderr, "%d %s mean %.4g sd %.3g gain %.3g left %.3g: %.6g\n", trial,
                tune_kind_text(why.kind), why.mean, why.sd, why.gain, why.left, truth);
    return truth;
}

static void run(const function_t *study, uint64_t seed, tune_strategy_t strategy) {
    tune_space_t space = function_space(study);
    tune_config_t config = {.strategy = strategy, .seed = seed};
    tune_t *tune = tune_new(&space, &config);
    double point[TUNE_PARAMETERS_MAX];
    tally_t tally = {.any = DBL_MAX};
    clock_sim_t clock = {.count = 0};
    err_t err;
    for (int asked = 0; asked < study->trials || clock.count > 0;) {
        while (asked < study->trials && clock.count < study->workers) {
            start(&clock, seed, asked, suggest(study, tune, asked, space.count, &tally));
            asked++;
        }
        running_t ended = end_of_next(&clock);
        finish(study, tune, seed, ended.trial, ended.truth, &tally);
    }
    check(tune_best(tune, NULL, point, NULL, NULL, &err), &err);
    static const char *const names[] = {"inkling", "inkling-sobol", "inkling-random"};
    printf("{\"tuner\": \"%s\", \"study\": \"%s\", \"seed\": %llu, \"regret\": %.17g, "
           "\"regret_any\": %.17g, \"diverged\": %d, \"replicates\": %d, \"ms\": %.4g, "
           "\"speedup\": %.4g}\n",
           names[strategy], study->name, (unsigned long long)seed,
           study->f(space.count, point) - study->minimum, tally.any - study->minimum,
           tally.diverged, tally.replicates, tally.ms, clock.alone / clock.now);
    fflush(stdout);
    tune_free(&tune);
}

// The next suggestion of a study that is put in whole, its model with it, as a replay does.
static double again(const tune_space_t *space, int count, const double *points,
                    const tune_t *model) {
    tune_config_t config = {.seed = 1};
    tune_t *tune = tune_new(space, &config);
    double numbers[TUNE_MODEL_MAX], point[TUNE_PARAMETERS_MAX];
    tune_why_t why;
    err_t err;
    for (int i = 0; i < count; i++) {
        const double *at = points + (size_t)i * (size_t)space->count;
        check(tune_asked(tune, (uint64_t)i, at, NULL, &err), &err);
        check(tune_tell(tune, (uint64_t)i, functions[5].f(10, at), 0, &err), &err);
    }
    double begin = cpu_ms();
    size_t size = tune_model_save(model, numbers);
    check(tune_model_load(tune, numbers, size, &err), &err);
    check(tune_ask(tune, (uint64_t)count, point, &why, &err), &err);
    double ms = cpu_ms() - begin;
    tune_free(&tune);
    return ms;
}

// Mean time of the suggestions behind n trials of a 10-dimensional function, the refits that fall
// due among them included.
static void cost(int only) {
    static const int sizes[] = {50, 200, 1000}, counts[] = {40, 40, 60};
    const function_t *study = &functions[5];
    tune_space_t space = function_space(study);
    for (int k = 0; k < 3; k++) {
        if (only && sizes[k] != only)
            continue;
        tune_config_t config = {.seed = 1}, drawn = {.strategy = TUNE_SOBOL, .seed = 1};
        tune_t *tune = tune_new(&space, &config), *sobol = tune_new(&space, &drawn);
        double point[TUNE_PARAMETERS_MAX], first = 0, most = 0, sum = 0, replayed = 0;
        double *points = mem_zero((size_t)sizes[k] * 10, sizeof *points);
        tune_why_t why;
        err_t err;
        for (int i = 0; i < sizes[k] + counts[k]; i++) {
            double start = cpu_ms();
            if (i < sizes[k]) {
                check(tune_ask(sobol, (uint64_t)i, point, &why, &err), &err);
                check(tune_asked(tune, (uint64_t)i, point, &why, &err), &err);
                memcpy(points + (size_t)i * 10, point, 10 * sizeof *points);
            } else {
                check(tune_ask(tune, (uint64_t)i, point, &why, &err), &err);
            }
            double ms = cpu_ms() - start;
            if (i == sizes[k]) {
                first = ms;
                replayed = again(&space, sizes[k], points, tune);
            }
            if (i > sizes[k]) {
                sum += ms;
                most = ms > most ? ms : most;
            }
            check(tune_tell(tune, (uint64_t)i, study->f(10, point), 0, &err), &err);
        }
        printf("{\"trials\": %d, \"ms\": %.4g, \"ms_most\": %.4g, \"ms_first\": %.4g, "
               "\"ms_replayed\": %.4g}\n",
               sizes[k], sum / (counts[k] - 1), most, first, replayed);
        free(points);
        fflush(stdout);
        tune_free(&tune);
        tune_free(&sobol);
    }
}

int main(int argc, char **argv) {
    if (argc >= 2 && strcmp(argv[1], "cost") == 0) {
        cost(argc > 2 ? atoi(argv[2]) : 0);
        return 0;
    }
    if (argc >= 4 && strcmp(argv[1], "warm") == 0) {
        warm(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10), argc - 4, argv + 4);
        return 0;
    }
    if (argc < 4) {
        fprintf(stderr, "usage: %s STUDY|all FIRST_SEED SEEDS [model|sobol|random] | cost\n",
                argv[0]);
        return 2;
    }
    trace = getenv("TRACE") != NULL;
    tune_strategy_t strategy = argc > 4 && strcmp(argv[4], "sobol") == 0    ? TUNE_SOBOL
                               : argc > 4 && strcmp(argv[4], "random") == 0 ? TUNE_RANDOM
                                                                            : TUNE_MODEL;
    uint64_t first = strtoull(argv[2], NULL, 10), seeds = strtoull(argv[3], NULL, 10);
    for (uint64_t seed = first; seed < first + seeds; seed++)
        for (int i = 0; i < function_count; i++)
            if (strcmp(argv[1], "all") == 0 || strcmp(argv[1], functions[i].name) == 0)
                run(&functions[i], seed, strategy);
    return 0;
}
