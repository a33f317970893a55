// Does early stopping find the same best for fewer epochs? Studies whose trials learn epoch by
// epoch, driven as a tune job drives them.
//   build/bench/tuner_curves formula|recorded none|asha|median FIRST_SEED SEEDS [WORKERS [TRIALS]]
// A line of JSON per seed. formula: hpo7, learnt along curves that cross; recorded: curves of real
// trainings over learning rate and dropout (record_curves).
#include "functions.h"
#include "recorded.h"

#include "base/err.h"
#include "study/study.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPOCHS      RECORDED_EPOCHS
#define WORKERS_MAX 64
#define BEGIN       0.7 // the formula's error before the first epoch
#define NOISE       0.003

typedef struct {
    const char *name;
    int trials;
    double (*value)(const double *point, int epoch); // without noise; not finite: it has diverged
    double noise, least;
    const char *space[8];
} task_t;

static void check(err_code_t code, const err_t *err) {
    if (code)
        err_abort(__FILE__, __LINE__, err->message);
}

// ---- the tasks ----

// The error after an epoch: a stretched exponential from BEGIN to the function's value at the last
// one. A learning rate below its best is slow, one above it is fast at first, dropout slows, so
// curves cross; what diverges does so in its third epoch.
static double formula_value(const double *point, int epoch) {
    double end = hpo7(7, point);
    if (end == DIVERGED)
        return epoch < 3 ? BEGIN : NAN;
    double slow = 1.2 * pow(10, -0.35 * hpo7_rate(point)) * (1 + point[1]);
    double tau = fmin(fmax(slow, 0.3), 12);
    double rest = exp(-pow(epoch / tau, 0.7)), last = exp(-pow(EPOCHS / tau, 0.7));
    return end + (BEGIN - end) * (rest - last);
}

// Linear between the points of the grid.
static double recorded_value(const double *point, int epoch) {
    double r = (log10(point[0]) + 5) / 3 * (RECORDED_RATES - 1);
    double d = point[1] / 0.5 * (RECORDED_DROPOUTS - 1);
    int i = (int)fmin(r, RECORDED_RATES - 2), j = (int)fmin(d, RECORDED_DROPOUTS - 2);
    const float(*a)[RECORDED_EPOCHS] = &recorded[i][j], (*b)[RECORDED_EPOCHS] = &recorded[i + 1][j];
    int e = epoch - 1;
    r -= i;
    d -= j;
    return (1 - r) * ((1 - d) * a[0][e] + d * a[1][e]) + r * ((1 - d) * b[0][e] + d * b[1][e]);
}

static double recorded_least(void) {
    double least = INFINITY;
    for (int i = 0; i < RECORDED_RATES; i++)
        for (int j = 0; j < RECORDED_DROPOUTS; j++)
            least = fmin(least, recorded[i][j][EPOCHS - 1]);
    return least;
}

static task_t task_of(const char *name) {
    const function_t *function = function_find("hpo7");
    if (strcmp(name, "recorded") == 0)
        return (task_t){
            name, 60, recorded_value, 0, recorded_least(), {"lr=log:1e-5..1e-2", "dropout=0..0.5"}};
    if (strcmp(name, "formula") != 0)
        err_abort(__FILE__, __LINE__, "the curves are formula or recorded");
    task_t task = {name, function->trials, formula_value, NOISE, function->minimum, {0}};
    memcpy(task.space, function->space, sizeof task.space);
    return task;
}

// ---- a study ----

typedef struct {
    uint64_t trial; // 0: idle
    int epoch;
} worker_t;

typedef struct {
    int epochs, pruned, failed;
    double any; // least regret among all points that were tried
} tally_t;

static study_t *begin(const task_t *task, uint64_t seed, const char *prune) {
    study_t *study = NULL;
    err_t err;
    json_t *about = json_object(), *space = json_array();
    for (size_t i = 0; i < sizeof task->space / sizeof *task->space && task->space[i]; i++)
        json_array_append_new(space, json_string(task->space[i]));
    json_object_set_new(about, "space", space);
    json_object_set_new(about, "prune", json_string(prune));
    json_object_set_new(about, "last", json_integer(EPOCHS));
    json_object_set_new(about, "seed", json_integer((json_int_t)seed));
    check(study_new(about, &study, &err), &err);
    json_decref(about);
    return study;
}

// One epoch of a worker's trial. The noise is a function of seed, trial and epoch, as that of a
// real training is.
static void step(const task_t *task, study_t *study, uint64_t seed, worker_t *worker) {
    err_t err;
    bool stop = false;
    worker->epoch++;
    double value = task->value(study_trial(study, worker->trial)->point, worker->epoch) +
                   task->noise * bench_normal(seed, (int)worker->trial * EPOCHS + worker->epoch);
    bool failed = !isfinite(value), last = worker->epoch == EPOCHS;
    if (failed)
        check(study_fail(study, worker->trial, "diverged", &err), &err);
    else
        check(study_report(study, worker->trial, (uint64_t)worker->epoch, value, &stop, &err),
              &err);
    if (stop)
        check(study_prune(study, worker->trial, &err), &err);
    else if (last && !failed)
        check(study_tell(study, worker->trial, value, &err), &err);
    if (failed || stop || last)
        worker->trial = 0;
}

static void drive(const task_t *task, study_t *study, uint64_t seed, int workers, tally_t *tally) {
    worker_t pool[WORKERS_MAX] = {{0}};
    err_t err;
    for (bool busy = true; busy;) {
        busy = false;
        for (int w = 0; w < workers; w++) {
            if (pool[w].trial == 0 && study_count(study) < (size_t)task->trials) {
                pool[w].epoch = 0;
                check(study_ask(study, NULL, &pool[w].trial, &err), &err);
            }
            if (pool[w].trial == 0)
                continue;
            step(task, study, seed, &pool[w]);
            size_t count;
            study_unsaved(study, &count);
            study_save(study, count);
            tally->epochs++;
            busy = true;
        }
    }
}

static void run(const task_t *task, uint64_t seed, const char *prune, int workers) {
    study_t *study = begin(task, seed, prune);
    tally_t tally = {.any = INFINITY};
    err_t err;
    uint64_t best;
    drive(task, study, seed, workers, &tally);
    for (uint64_t t = 1; t <= study_count(study); t++) {
        const study_trial_t *trial = study_trial(study, t);
        double truth = task->value(trial->point, EPOCHS);
        tally.pruned += trial->state == STUDY_PRUNED;
        tally.failed += trial->state == STUDY_FAILED;
        tally.any = fmin(tally.any, isfinite(truth) ? truth - task->least : INFINITY);
    }
    check(study_best(study, &best, &err), &err);
    printf(
        "{\"task\": \"%s\", \"prune\": \"%s\", \"workers\": %d, \"seed\": %llu, \"regret\": %.17g, "
        "\"regret_any\": %.17g, \"trials\": %d, \"epochs\": %d, \"pruned\": %d, \"failed\": %d}\n",
        task->name, prune, workers, (unsigned long long)seed,
        task->value(study_trial(study, best)->point, EPOCHS) - task->least, tally.any, task->trials,
        tally.epochs, tally.pruned, tally.failed);
    fflush(stdout);
    study_free(&study);
}

int main(int argc, char **argv) {
    int workers = argc > 5 ? atoi(argv[5]) : 1;
    if (argc < 5 || workers < 1 || workers > WORKERS_MAX) {
        fprintf(stderr,
                "usage: %s formula|recorded none|asha|median FIRST_SEED SEEDS [WORKERS [TRIALS]]\n",
                argv[0]);
        return 2;
    }
    task_t task = task_of(argv[1]);
    task.trials = argc > 6 ? atoi(argv[6]) : task.trials;
    uint64_t first = strtoull(argv[3], NULL, 10), seeds = strtoull(argv[4], NULL, 10);
    for (uint64_t seed = first; seed < first + seeds; seed++)
        run(&task, seed, argv[2], workers);
    return 0;
}
