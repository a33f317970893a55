// Studies of known functions by the optimiser: the regret each ends with. The script beside this
// file runs it next to its peers.
//   build/bench/tuner STUDY|all FIRST_SEED SEEDS [STRATEGY]      a line of JSON per study and seed
//   build/bench/tuner cost [TRIALS]                              milliseconds per suggestion
#include "base/err.h"
#include "tune/optimiser.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// ---- the functions: the same formulas as in peer_optuna.py ----

static double branin(int n, const double *x) {
    (void)n;
    double c = 5.1 / (4 * M_PI * M_PI), q = x[1] - c * x[0] * x[0] + 5 / M_PI * x[0] - 6;
    return q * q + 10 * (1 - 1 / (8 * M_PI)) * cos(x[0]) + 10;
}

static const double alpha[] = {1.0, 1.2, 3.0, 3.2};

static double hartmann3(int n, const double *x) {
    static const double a[4][3] = {{3, 10, 30}, {0.1, 10, 35}, {3, 10, 30}, {0.1, 10, 35}};
    static const double p[4][3] = {
        {3689, 1170, 2673}, {4699, 4387, 7470}, {1091, 8732, 5547}, {381, 5743, 8828}};
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        double inner = 0;
        for (int j = 0; j < n; j++)
            inner += a[i][j] * pow(x[j] - p[i][j] * 1e-4, 2);
        sum -= alpha[i] * exp(-inner);
    }
    return sum;
}

static double hartmann6(int n, const double *x) {
    static const double a[4][6] = {{10, 3, 17, 3.5, 1.7, 8},
                                   {0.05, 10, 17, 0.1, 8, 14},
                                   {3, 3.5, 1.7, 10, 17, 8},
                                   {17, 8, 0.05, 10, 0.1, 14}};
    static const double p[4][6] = {{1312, 1696, 5569, 124, 8283, 5886},
                                   {2329, 4135, 8307, 3736, 1004, 9991},
                                   {2348, 1451, 3522, 2883, 3047, 6650},
                                   {4047, 8828, 8732, 5743, 1091, 381}};
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        double inner = 0;
        for (int j = 0; j < n; j++)
            inner += a[i][j] * pow(x[j] - p[i][j] * 1e-4, 2);
        sum -= alpha[i] * exp(-inner);
    }
    return sum;
}

static double ackley(int n, const double *x) {
    double squares = 0, waves = 0;
    for (int i = 0; i < n; i++) {
        squares += x[i] * x[i];
        waves += cos(2 * M_PI * x[i]);
    }
    return 20 + M_E - 20 * exp(-0.2 * sqrt(squares / n)) - exp(waves / n);
}

static double rosenbrock(int n, const double *x) {
    double sum = 0;
    for (int i = 0; i < n - 1; i++)
        sum += 100 * pow(x[i + 1] - x[i] * x[i], 2) + pow(1 - x[i], 2);
    return sum;
}

static double levy(int n, const double *x) {
    double w = 1 + (x[0] - 1) / 4, sum = pow(sin(M_PI * w), 2);
    for (int i = 0; i < n - 1; i++) {
        w = 1 + (x[i] - 1) / 4;
        sum += pow(w - 1, 2) * (1 + 10 * pow(sin(M_PI * w + 1), 2));
    }
    w = 1 + (x[n - 1] - 1) / 4;
    return sum + pow(w - 1, 2) * (1 + pow(sin(2 * M_PI * w), 2));
}

#define DIVERGED 0.9

// A validation error as training has it. The learning rate has a best value that depends on the
// optimiser, grows with the batch and, under SGD, shrinks with momentum; a rate 16 times too large
// diverges. Flipped images help, and want less dropout, as more dropout wants less weight decay.
static double hpo7(int n, const double *x) {
    (void)n;
    static const double centres[] = {-0.5, -3.0, -3.3}, errors[] = {0.052, 0.050, 0.057};
    int optimizer = (int)x[3];
    bool flip = x[4] == 1;
    double size = log2(x[2]) - 5, centre = centres[optimizer] + 0.15 * size;
    double error = errors[optimizer];
    if (optimizer == 0) {
        centre += log10(1 - x[6]);
        error += 0.05 * pow(x[6] - 0.9, 2);
    }
    double z = log10(x[0]) - centre;
    if (z > 1.2)
        return DIVERGED;
    error += 0.45 * (1 - exp(-(z < 0 ? 0.02 : 0.04) * z * z / 0.45));
    error += flip ? 0 : 0.006;
    error += 0.08 * pow(x[1] - (flip ? 0.2 : 0.35), 2);
    double v = log10(x[5]) + 4.5 + 2 * (x[1] - 0.2);
    return error + 0.0025 * v * v + 0.0015 * size * size;
}

#define BRANIN_SPACE "x0=-5..10", "x1=0..15"
#define UNIT3        "x0=0..1", "x1=0..1", "x2=0..1"
#define UNIT6        UNIT3, "x3=0..1", "x4=0..1", "x5=0..1"
#define WIDE4        "x0=-5..10", "x1=-5..10", "x2=-5..10", "x3=-5..10"
#define LEVY5(a)     a "0=-10..10", a "1=-10..10", a "2=-10..10", a "3=-10..10", a "4=-10..10"
#define HPO7                                                                                       \
    "lr=log:1e-5..1e-1", "dropout=0..0.6", "batch=logint:8..256", "optimizer={sgd,adam,rmsprop}",  \
        "augment={none,flip}", "decay=log:1e-7..1e-2", "momentum=0.5..0.99 if optimizer=sgd"

typedef struct {
    const char *name;
    double (*f)(int n, const double *x);
    double minimum, noise;
    int trials, workers;
    const char *space[11];
} study_t;

static const study_t studies[] = {
    {"branin", branin, 0.39788735772973816, 0, 50, 1, {BRANIN_SPACE}},
    {"hartmann3", hartmann3, -3.8627797869493365, 0, 50, 1, {UNIT3}},
    {"hartmann6", hartmann6, -3.322368011415515, 0, 100, 1, {UNIT6}},
    {"ackley5", ackley, 0, 0, 100, 1, {WIDE4, "x4=-5..10"}},
    {"rosenbrock4", rosenbrock, 0, 0, 100, 1, {WIDE4}},
    {"levy10", levy, 0, 0, 150, 1, {LEVY5("a"), LEVY5("b")}},
    {"branin-noisy", branin, 0.39788735772973816, 5, 50, 1, {BRANIN_SPACE}},
    {"hartmann6-noisy", hartmann6, -3.322368011415515, 0.2, 100, 1, {UNIT6}},
    {"hpo7", hpo7, 0.050, 0.003, 60, 1, {HPO7}},
    {"hpo7-8", hpo7, 0.050, 0.003, 60, 8, {HPO7}},
    {"hartmann6-8", hartmann6, -3.322368011415515, 0, 100, 8, {UNIT6}},
    {"branin-8", branin, 0.39788735772973816, 0, 50, 8, {BRANIN_SPACE}},
};
enum { STUDY_COUNT = sizeof studies / sizeof *studies };

// ---- studies ----

static uint64_t mix(uint64_t x) { // SplitMix64
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static double noise(uint64_t seed, int trial) {
    uint64_t a = mix(seed * 1000003 + 2 * (uint64_t)trial),
             b = mix(seed * 1000003 + 2 * (uint64_t)trial + 1);
    double u = ((double)(a >> 11) + 0.5) * 0x1p-53, v = (double)(b >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static tune_space_t space_of(const study_t *study) {
    tune_space_t space;
    err_t err;
    size_t count = 0;
    while (count < 11 && study->space[count])
        count++;
    if (tune_space_parse(study->space, count, &space, &err) != ERR_OK)
        err_abort(__FILE__, __LINE__, err.message);
    return space;
}

static void check(err_code_t code, const err_t *err) {
    if (code)
        err_abort(__FILE__, __LINE__, err->message);
}

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

static void finish(const study_t *study, tune_t *tune, uint64_t seed, int trial, double truth,
                   tally_t *tally) {
    err_t err;
    tally->any = truth < tally->any ? truth : tally->any;
    if (study->f == hpo7 && truth == DIVERGED) {
        tally->diverged++;
        check(tune_fail(tune, (uint64_t)trial, &err), &err);
        return;
    }
    double value = truth + study->noise * noise(seed, trial);
    check(tune_tell(tune, (uint64_t)trial, value, 0, &err), &err);
}

static void run(const study_t *study, uint64_t seed, tune_strategy_t strategy) {
    tune_space_t space = space_of(study);
    tune_config_t config = {.strategy = strategy, .seed = seed};
    tune_t *tune = tune_new(&space, &config);
    double point[TUNE_PARAMETERS_MAX], truth[1024];
    tally_t tally = {.any = DBL_MAX};
    tune_why_t why;
    err_t err;
    int told = 0;
    for (int asked = 0; asked < study->trials; asked++) {
        double start = cpu_ms();
        check(tune_ask(tune, (uint64_t)asked, point, &why, &err), &err);
        tally.ms += (cpu_ms() - start) / study->trials;
        tally.replicates += why.kind == TUNE_REPLICATE;
        truth[asked] = study->f(space.count, point);
        if (trace)
            fprintf(stderr, "%d %s mean %.4g sd %.3g gain %.3g left %.3g: %.6g\n", asked,
                    tune_kind_text(why.kind), why.mean, why.sd, why.gain, why.left, truth[asked]);
        if (asked + 1 - told == study->workers) {
            finish(study, tune, seed, told, truth[told], &tally);
            told++;
        }
    }
    for (; told < study->trials; told++)
        finish(study, tune, seed, told, truth[told], &tally);
    check(tune_best(tune, NULL, point, NULL, NULL, &err), &err);
    static const char *const names[] = {"inkling", "inkling-sobol", "inkling-random"};
    printf("{\"tuner\": \"%s\", \"study\": \"%s\", \"seed\": %llu, \"regret\": %.17g, "
           "\"regret_any\": %.17g, \"diverged\": %d, \"replicates\": %d, \"ms\": %.4g}\n",
           names[strategy], study->name, (unsigned long long)seed,
           study->f(space.count, point) - study->minimum, tally.any - study->minimum,
           tally.diverged, tally.replicates, tally.ms);
    fflush(stdout);
    tune_free(&tune);
}

// Mean time of the suggestions behind n trials of a 10-dimensional function, the refits that fall
// due among them included.
static void cost(int only) {
    static const int sizes[] = {50, 200, 1000}, counts[] = {40, 40, 60};
    const study_t *study = &studies[5];
    tune_space_t space = space_of(study);
    for (int k = 0; k < 3; k++) {
        if (only && sizes[k] != only)
            continue;
        tune_config_t config = {.seed = 1}, drawn = {.strategy = TUNE_SOBOL, .seed = 1};
        tune_t *tune = tune_new(&space, &config), *sobol = tune_new(&space, &drawn);
        double point[TUNE_PARAMETERS_MAX], first = 0, most = 0, sum = 0;
        tune_why_t why;
        err_t err;
        for (int i = 0; i < sizes[k] + counts[k]; i++) {
            double start = cpu_ms();
            if (i < sizes[k]) {
                check(tune_ask(sobol, (uint64_t)i, point, &why, &err), &err);
                check(tune_asked(tune, (uint64_t)i, point, &why, &err), &err);
            } else {
                check(tune_ask(tune, (uint64_t)i, point, &why, &err), &err);
            }
            double ms = cpu_ms() - start;
            if (i == sizes[k])
                first = ms;
            if (i > sizes[k]) {
                sum += ms;
                most = ms > most ? ms : most;
            }
            check(tune_tell(tune, (uint64_t)i, study->f(10, point), 0, &err), &err);
        }
        printf("{\"trials\": %d, \"ms\": %.4g, \"ms_most\": %.4g, \"ms_first\": %.4g}\n", sizes[k],
               sum / (counts[k] - 1), most, first);
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
        for (int i = 0; i < STUDY_COUNT; i++)
            if (strcmp(argv[1], "all") == 0 || strcmp(argv[1], studies[i].name) == 0)
                run(&studies[i], seed, strategy);
    return 0;
}
