#include "tune/prune.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    uint64_t trial;
    int epoch;
    double value; // the less the better
    bool stop;
} report_t;

struct tune_prune {
    tune_prune_config_t config;
    report_t *reports;
    size_t count, capacity;
};

err_code_t tune_prune_new(const tune_prune_config_t *config, tune_prune_t **prune, err_t *err) {
    tune_prune_config_t c = *config;
    err_t unused;
    err = err ? err : &unused; // the code comes back by it
    c.eta = c.eta ? c.eta : 3;
    c.first = c.first ? c.first : 1;
    c.keep = c.keep ? c.keep : 1;
    if (c.eta < 2 || c.eta > 16 || c.first < 1 || c.last < 1 || c.keep < 1) {
        err_set(err, ERR_USAGE, "early stopping by eta %d from epoch %d of %d, keeping %d", c.eta,
                c.first, c.last, c.keep);
        return err_remedy(err, "eta is 2 to 16, the others are at least 1");
    }
    *prune = mem_zero(1, sizeof **prune);
    (*prune)->config = c;
    return ERR_OK;
}

void tune_prune_free(tune_prune_t **prune) {
    if (!*prune)
        return;
    free((*prune)->reports);
    free(*prune);
    *prune = NULL;
}

bool tune_prune_looks(const tune_prune_t *prune, int epoch) {
    const tune_prune_config_t *c = &prune->config;
    if (epoch < c->first || epoch >= c->last)
        return false;
    if (c->rule == TUNE_PRUNE_MEDIAN)
        return true;
    int64_t rung = c->first;
    while (rung < epoch)
        rung *= c->eta;
    return rung == epoch;
}

static const report_t *find(const tune_prune_t *prune, uint64_t trial, int epoch) {
    for (size_t i = 0; i < prune->count; i++)
        if (prune->reports[i].trial == trial && prune->reports[i].epoch == epoch)
            return &prune->reports[i];
    return NULL;
}

static err_code_t add(tune_prune_t *prune, report_t report, err_t *err) {
    if (prune->count == TUNE_PRUNE_REPORTS_MAX)
        return err_set(err, ERR_FULL, "early stopping keeps at most %d values",
                       TUNE_PRUNE_REPORTS_MAX);
    if (prune->count == prune->capacity) {
        prune->capacity = prune->capacity ? 2 * prune->capacity : 64;
        prune->reports = mem_grow(prune->reports, sizeof *prune->reports * prune->capacity);
    }
    prune->reports[prune->count++] = report;
    return ERR_OK;
}

// A value at an epoch among those of other trials: how many there are, and how many are better, or
// no worse.
typedef struct {
    size_t others, better, no_worse;
} rank_t;

// Of the first `count` reports.
static rank_t rank(const tune_prune_t *prune, size_t count, uint64_t trial, int epoch,
                   double value) {
    rank_t rank = {0};
    for (size_t i = 0; i < count; i++) {
        const report_t *r = &prune->reports[i];
        if (r->epoch != epoch || r->trial == trial)
            continue;
        rank.others++;
        rank.better += r->value < value;
        rank.no_worse += r->value <= value;
    }
    return rank;
}

static double best_until(const tune_prune_t *prune, uint64_t trial, int epoch, double value) {
    for (size_t i = 0; i < prune->count; i++) {
        const report_t *r = &prune->reports[i];
        if (r->trial == trial && r->epoch <= epoch && r->value < value)
            value = r->value;
    }
    return value;
}

// By what the rule compares: a value, or the best so far.
static rank_t rank_by_rule(const tune_prune_t *prune, size_t count, uint64_t trial, int epoch,
                           double value) {
    if (prune->config.rule == TUNE_PRUNE_MEDIAN)
        value = best_until(prune, trial, epoch, value);
    return rank(prune, count, trial, epoch, value);
}

static bool decide(const tune_prune_t *prune, uint64_t trial, int epoch, double value) {
    const tune_prune_config_t *c = &prune->config;
    bool median = c->rule == TUNE_PRUNE_MEDIAN;
    rank_t r = rank_by_rule(prune, prune->count, trial, epoch, value);
    size_t all = r.others + 1;
    if (all < 2 * (size_t)c->eta || r.better < (size_t)c->keep)
        return false;
    return median ? 2 * r.better > r.others : r.better >= all / (size_t)c->eta;
}

static bool stopped_before(const tune_prune_t *prune, uint64_t trial, int epoch) {
    for (size_t i = 0; i < prune->count; i++) {
        const report_t *r = &prune->reports[i];
        if (r->trial == trial && r->stop && r->epoch <= epoch)
            return true;
    }
    return false;
}

static double oriented(const tune_prune_t *prune, double value) {
    if (!isfinite(value))
        return INFINITY;
    return prune->config.maximise ? -value : value;
}

err_code_t tune_prune_report(tune_prune_t *prune, uint64_t trial, int epoch, double value,
                             bool *stop, err_t *err) {
    if (epoch < 1 || epoch > prune->config.last)
        return err_set(err, ERR_INVALID, "trial %llu: a report of epoch %d of %d",
                       (unsigned long long)trial, epoch, prune->config.last);
    *stop = stopped_before(prune, trial, epoch);
    if (*stop || !tune_prune_looks(prune, epoch) || find(prune, trial, epoch))
        return ERR_OK;
    report_t report = {trial, epoch, oriented(prune, value), false};
    report.stop = decide(prune, trial, epoch, report.value);
    err_code_t code = add(prune, report, err);
    *stop = code == ERR_OK && report.stop;
    return code;
}

void tune_prune_overrule(tune_prune_t *prune, uint64_t trial, int epoch, bool stop) {
    for (size_t i = prune->count; i > 0; i--)
        if (prune->reports[i - 1].trial == trial && prune->reports[i - 1].epoch == epoch)
            prune->reports[i - 1].stop = stop;
}

bool tune_prune_standing(const tune_prune_t *prune, uint64_t trial, int epoch, int *rank, int *of) {
    const report_t *report = find(prune, trial, epoch);
    if (!report)
        return false;
    rank_t r = rank_by_rule(prune, (size_t)(report - prune->reports), trial, epoch, report->value);
    *rank = (int)r.better + 1;
    *of = (int)r.others + 1;
    return true;
}
