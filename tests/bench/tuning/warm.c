// A study that begins with what an earlier one has seen, beside the same study without it.
#include "warm.h"

#include "functions.h"

#include "base/err.h"
#include "tune/optimiser.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define EARLIER 40 // trials of the earlier study
#define BUDGET  60

// How much an earlier function is like the one to come. Its optimum is moved by N(0, shift²) in
// widths of each range, its values stretched and moved; or all of it is the other way round.
typedef struct {
    const char *name;
    double shift;
    bool mirrored;
} kinship_t;

static const kinship_t kinships[] = {
    {"same", 0, false}, {"near", 0.08, false}, {"far", 0.25, false}, {"mirrored", 0, true}};
static const char *const names[] = {"hpo7", "hartmann6", "branin"};

static void check(err_code_t code, const err_t *err) {
    if (code)
        err_abort(__FILE__, __LINE__, err->message);
}

// Where the earlier function looks, for a point of the space.
static void move(const tune_space_t *space, const kinship_t *kin, uint64_t seed, const double *from,
                 double *to) {
    for (int i = 0; i < space->count; i++) {
        const tune_parameter_t *p = &space->parameters[i];
        to[i] = from[i];
        if (p->type == TUNE_CATEGORY) {
            to[i] = kin->mirrored ? p->choice_count - 1 - from[i] : from[i];
            continue;
        }
        double unit = tune_parameter_encode(p, from[i]);
        unit += kin->shift * bench_normal(seed, 10000 + i);
        unit = kin->mirrored ? 1 - unit : unit;
        to[i] = tune_parameter_decode(p, fmin(fmax(unit, 0), 1));
    }
}

static double told(const function_t *f, double truth, uint64_t seed, int trial) {
    return truth + f->noise * bench_normal(seed, trial);
}

// The earlier study's points and values, by the optimiser itself.
static void look_before(const function_t *f, const kinship_t *kin, uint64_t seed, double *points,
                        double *values) {
    tune_space_t space = function_space(f);
    tune_config_t config = {.seed = seed + 1000};
    tune_t *tune = tune_new(&space, &config);
    double stretch = exp(0.7 * bench_normal(seed, 20000)), offset = bench_normal(seed, 20001);
    tune_why_t why;
    err_t err;
    for (int i = 0; i < EARLIER; i++) {
        double at[TUNE_PARAMETERS_MAX], *point = points + (size_t)i * (size_t)space.count;
        check(tune_ask(tune, (uint64_t)i, at, &why, &err), &err);
        memcpy(point, at, sizeof *at * (size_t)space.count);
        move(&space, kin, seed, point, at);
        double truth = f->f(space.count, at);
        bool diverged = f->f == hpo7 && truth == DIVERGED;
        values[i] = diverged ? NAN : stretch * told(f, truth, seed + 1000, i) + offset;
        check(tune_tell(tune, (uint64_t)i, values[i], 0, &err), &err);
    }
    tune_free(&tune);
}

static void study(const function_t *f, uint64_t seed, int earlier, const double *points,
                  const double *values, const char *kin) {
    tune_space_t space = function_space(f);
    tune_config_t config = {.seed = seed};
    tune_t *tune = tune_new(&space, &config);
    double best = INFINITY;
    tune_why_t why;
    err_t err;
    check(tune_earlier(tune, &space, earlier, points, values, &err), &err);
    printf("{\"study\": \"%s\", \"earlier\": \"%s\", \"seed\": %llu, \"regret\": [", f->name, kin,
           (unsigned long long)seed);
    for (int i = 0; i < BUDGET; i++) {
        double point[TUNE_PARAMETERS_MAX];
        check(tune_ask(tune, (uint64_t)i, point, &why, &err), &err);
        double truth = f->f(space.count, point);
        best = fmin(best, truth);
        double value = f->f == hpo7 && truth == DIVERGED ? NAN : told(f, truth, seed, i);
        check(tune_tell(tune, (uint64_t)i, value, 0, &err), &err);
        printf("%s%.6g", i ? ", " : "", best - f->minimum);
    }
    printf("]}\n");
    fflush(stdout);
    tune_free(&tune);
}

static bool wanted(const char *name, int count, char **only) {
    bool found = count == 0;
    for (int i = 0; i < count; i++)
        found = found || strcmp(only[i], name) == 0;
    return found;
}

void warm(uint64_t first, uint64_t seeds, int count, char **only) {
    for (uint64_t seed = first; seed < first + seeds; seed++)
        for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
            const function_t *f = function_find(names[n]);
            if (!wanted(names[n], count, only))
                continue;
            study(f, seed, 0, NULL, NULL, "none");
            for (size_t k = 0; k < sizeof kinships / sizeof *kinships; k++) {
                double points[EARLIER * TUNE_PARAMETERS_MAX], values[EARLIER];
                look_before(f, &kinships[k], seed, points, values);
                study(f, seed, EARLIER, points, values, kinships[k].name);
            }
        }
}
