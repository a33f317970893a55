#include "tune/descend_impl.h"
#include "tune/linalg_impl.h"
#include "tune/purpose_impl.h"
#include "tune/special_impl.h"
#include "tune/study_impl.h"

#include "base/philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SOBOL_COUNT    1024
#define PERTURB_COUNT  256
#define PERTURB_BEST   5
#define STARTS         8
#define SWEPT          3
#define SWEEPS         4
#define EVALUATIONS    60
#define SIFTED         128  // candidates that are looked at closely
#define BOUND_ROWS     300  // from so many rows on, sifted by bounds on their variance
#define FEW_ROWS       300  // up to so many rows every start is climbed from, later half of them
#define NEAR           1e-6 // in the unit cube: the same point but for rounding
#define ENUMERATED_MAX 2048

// Points with their coordinates and scores.
typedef struct {
    int count, capacity;
    double *points, *wide, *score;
} pool_t;

typedef struct {
    const tune_t *tune;
    const view_t *view;
    const frame_t *frame;
    uint64_t trial;
    acquire_t acquire;
    double *work;
    double least; // of mean − 2 sd, warped
} search_t;

// ---- pools ----

static void pool_init(pool_t *pool, const tune_t *tune, int capacity) {
    size_t n = (size_t)capacity;
    *pool = (pool_t){.capacity = capacity,
                     .points = mem_alloc(sizeof(double) * n * (size_t)tune->space.count),
                     .wide = mem_alloc(sizeof(double) * n * (size_t)tune->frame.wide),
                     .score = mem_alloc(sizeof(double) * n)};
}

static void pool_release(pool_t *pool) {
    free(pool->points);
    free(pool->wide);
    free(pool->score);
}

static double *pool_point(const search_t *s, const pool_t *pool, int i) {
    return pool->points + (size_t)i * (size_t)s->tune->space.count;
}

static double *pool_wide(const search_t *s, const pool_t *pool, int i) {
    return pool->wide + (size_t)i * (size_t)s->frame->wide;
}

// A canonical point; what does not fit is left out.
static void pool_add(const search_t *s, pool_t *pool, const double *point) {
    if (pool->count == pool->capacity)
        return;
    int i = pool->count++;
    memcpy(pool_point(s, pool, i), point, sizeof *point * (size_t)s->tune->space.count);
    frame_widen(s->frame, point, pool_wide(s, pool, i));
}

// Scores those from `first` on, and notes the least that any of them may have.
static void pool_score(search_t *s, pool_t *pool, int first) {
    int count = pool->count - first;
    if (count <= 0)
        return;
    double *mean = mem_alloc(2 * sizeof *mean * (size_t)count), *variance = mean + count;
    acquire_scores(&s->acquire, count, pool_wide(s, pool, first), pool->score + first, mean,
                   variance);
    for (int i = 0; i < count; i++) {
        double low = mean[i] - 2 * sqrt(variance[i]);
        s->least = low < s->least ? low : s->least;
    }
    free(mean);
}

typedef struct {
    double score;
    int at;
} scored_t;

static int by_score(const void *a, const void *b) {
    const scored_t *i = a, *j = b;
    if (i->score != j->score)
        return i->score > j->score ? -1 : 1;
    return i->at - j->at;
}

// Best first. Of equals the first stays first.
static void pool_sort(const search_t *s, pool_t *pool) {
    scored_t *order = mem_alloc(sizeof *order * (size_t)(pool->count + 1));
    pool_t sorted;
    for (int i = 0; i < pool->count; i++)
        order[i] = (scored_t){isnan(pool->score[i]) ? -INFINITY : pool->score[i], i};
    qsort(order, (size_t)pool->count, sizeof *order, by_score);
    pool_init(&sorted, s->tune, pool->capacity);
    sorted.count = pool->count;
    for (int i = 0; i < pool->count; i++) {
        int from = order[i].at;
        memcpy(pool_point(s, &sorted, i), pool_point(s, pool, from),
               sizeof(double) * (size_t)s->tune->space.count);
        memcpy(pool_wide(s, &sorted, i), pool_wide(s, pool, from),
               sizeof(double) * (size_t)s->frame->wide);
        sorted.score[i] = order[i].score;
    }
    free(order);
    pool_release(pool);
    *pool = sorted;
}

// ---- candidates ----

static philox_t draw(const search_t *s, uint32_t purpose, uint32_t i) {
    return philox(s->tune->config.seed, (uint32_t)s->trial, (uint32_t)(s->trial >> 32), purpose, i);
}

static double unit(uint32_t bits) {
    return (bits + 0.5) * 0x1p-32;
}

static void add_sobol(const search_t *s, pool_t *pool) {
    sobol_t *sobol = mem_alloc(sizeof *sobol);
    double at[TUNE_PARAMETERS_MAX], point[TUNE_PARAMETERS_MAX];
    sobol_init(sobol, s->frame->dims);
    sobol_shift(sobol, s->tune->config.seed, (uint32_t)s->trial, (uint32_t)(s->trial >> 32),
                PURPOSE_CANDIDATES);
    for (uint32_t i = 0; i < SOBOL_COUNT; i++) {
        sobol_point(sobol, i, at);
        frame_decode(s->frame, at, point);
        pool_add(s, pool, point);
    }
    free(sobol);
}

static double reflect(double u) {
    u = fabs(u);
    u = fmod(u, 2);
    return u > 1 ? 2 - u : u;
}

// A few dimensions of a good point, moved by 10^-3.5 to half of a length scale; words change with
// one chance in ten.
static void perturb(const search_t *s, const double *from, uint32_t i, double *point) {
    const tune_space_t *space = &s->tune->space;
    const double *theta = s->tune->model.theta;
    int dims = s->frame->dims;
    double at[TUNE_PARAMETERS_MAX];
    philox_t all = draw(s, PURPOSE_PERTURB, i * 64 + 63);
    double scale = pow(10, -0.3 - 3.2 * unit(all.v[0]));
    double chance = unit(all.v[1]) < 0.5 ? 1 : 2.0 / dims;
    int certain = (int)philox_below(all.v[2], (uint32_t)dims);
    for (int d = 0; d < dims; d++) {
        const tune_parameter_t *p = &space->parameters[s->frame->parameter[d]];
        philox_t r = draw(s, PURPOSE_PERTURB, i * 64 + (uint32_t)d);
        at[d] = tune_parameter_encode(p, from[s->frame->parameter[d]]);
        if (p->type == TUNE_CATEGORY) {
            bool retired = from[s->frame->parameter[d]] >= p->choice_count;
            at[d] = retired || unit(r.v[0]) < 0.1 ? unit(r.v[1]) : at[d];
        } else if (d == certain || unit(r.v[0]) < chance) {
            double length = exp(theta[d]) < 1 ? exp(theta[d]) : 1;
            at[d] = reflect(at[d] + length * scale * normal_quantile(unit(r.v[1])));
        }
    }
    frame_decode(s->frame, at, point);
}

static bool is_inside(const search_t *s, int row) {
    return s->tune->trials[s->view->rows.trial[row]].inside;
}

static void add_perturbed(const search_t *s, pool_t *pool) {
    const view_t *view = s->view;
    int best[PERTURB_BEST], count = 0, n = view->rows.data.n;
    for (; count < PERTURB_BEST; count++) {
        best[count] = -1;
        for (int i = 0; i < n; i++) {
            bool taken = is_inside(s, view->best) && !is_inside(s, i);
            for (int j = 0; j < count; j++)
                taken = taken || best[j] == i;
            if (!taken && (best[count] < 0 || view->mean[i] < view->mean[best[count]]))
                best[count] = i;
        }
        if (best[count] < 0)
            break;
    }
    for (uint32_t i = 0; count > 0 && i < PERTURB_COUNT; i++) {
        double point[TUNE_PARAMETERS_MAX];
        const double *from = s->tune->trials[view->rows.trial[best[i % (uint32_t)count]]].point;
        perturb(s, from, i, point);
        pool_add(s, pool, point);
    }
}

// All candidates with their scores; many rows: only the most promising by a bound.
static void gather(search_t *s, pool_t *pool) {
    size_t count;
    double *all = study_enumerate(s->tune, ENUMERATED_MAX, &count);
    if (all) {
        pool_init(pool, s->tune, (int)count);
        for (size_t i = 0; i < count; i++)
            if (!study_knows(s->tune, all + i * (size_t)s->tune->space.count))
                pool_add(s, pool, all + i * (size_t)s->tune->space.count);
        free(all);
        pool_score(s, pool, 0);
        return;
    }
    pool_init(pool, s->tune, SOBOL_COUNT + PERTURB_COUNT);
    add_sobol(s, pool);
    add_perturbed(s, pool);
    bool bound = s->acquire.objective.n >= BOUND_ROWS;
    acquire_sift(&s->acquire, pool->count, pool->wide, bound, pool->score);
    pool_sort(s, pool);
    pool->count = SIFTED;
    pool_score(s, pool, 0);
}

// ---- climbing ----

// The coordinates that may move at a point, in units of their length scales.
typedef struct {
    search_t *search;
    double wide[FRAME_WIDE_MAX], gradient[FRAME_WIDE_MAX];
    int count, coordinate[TUNE_PARAMETERS_MAX];
    double unit[TUNE_PARAMETERS_MAX];
} climb_t;

static double minus_score(void *context, const double *x, double *gradient) {
    climb_t *climb = context;
    search_t *s = climb->search;
    for (int i = 0; i < climb->count; i++)
        climb->wide[climb->coordinate[i]] = x[i] * climb->unit[i];
    double score = acquire_score(&s->acquire, climb->wide, s->work, climb->gradient);
    for (int i = 0; i < climb->count; i++)
        gradient[i] = -climb->gradient[climb->coordinate[i]] * climb->unit[i];
    return -score;
}

// Moves the numbers of a point uphill; whole ones as if they were real, and rounded in the end.
static void climb(search_t *s, double *point) {
    climb_t c = {.search = s};
    double x[TUNE_PARAMETERS_MAX], lo[TUNE_PARAMETERS_MAX], hi[TUNE_PARAMETERS_MAX];
    frame_widen(s->frame, point, c.wide);
    for (int d = 0; d < s->frame->dims; d++) {
        int i = s->frame->parameter[d];
        if (s->tune->space.parameters[i].type == TUNE_CATEGORY || !frame_varies(s->frame, d) ||
            !tune_space_active(&s->tune->space, point, i))
            continue;
        int k = c.count++;
        c.coordinate[k] = s->frame->first[d];
        c.unit[k] = exp(s->tune->model.theta[d]);
        x[k] = c.wide[c.coordinate[k]] / c.unit[k];
        lo[k] = 0;
        hi[k] = 1 / c.unit[k];
    }
    if (c.count == 0)
        return;
    descend(&(descend_t){c.count, EVALUATIONS, 1e-4, lo, hi, minus_score, &c}, x);
    for (int k = 0; k < c.count; k++) {
        double u = x[k] * c.unit[k];
        c.wide[c.coordinate[k]] = u < 0 ? 0 : u > 1 ? 1 : u;
    }
    frame_numbers(s->frame, c.wide, point);
}

static void add_neighbours(const search_t *s, pool_t *pool, const double *from) {
    const tune_space_t *space = &s->tune->space;
    double point[TUNE_PARAMETERS_MAX];
    size_t bytes = sizeof *point * (size_t)space->count;
    for (int i = 0; i < space->count; i++) {
        const tune_parameter_t *p = &space->parameters[i];
        if (!tune_space_active(space, from, i) ||
            (p->type != TUNE_CATEGORY && p->type != TUNE_INTEGER))
            continue;
        int choices = p->type == TUNE_CATEGORY ? p->choice_count : 2;
        for (int k = 0; k < choices; k++) {
            memcpy(point, from, bytes);
            point[i] = p->type == TUNE_CATEGORY ? k : from[i] + (k ? 1 : -1);
            tune_space_canonical(space, point);
            if (memcmp(point, from, bytes) != 0)
                pool_add(s, pool, point);
        }
    }
}

// Changes one word, or a whole number by one, as long as that helps; climbs again after a word.
static void sweep(search_t *s, pool_t *pool, int i) {
    const tune_space_t *space = &s->tune->space;
    double *point = pool_point(s, pool, i);
    for (int round = 0; round < SWEEPS; round++) {
        pool_t near;
        pool_init(&near, s->tune, TUNE_PARAMETERS_MAX * TUNE_CHOICES_MAX);
        add_neighbours(s, &near, point);
        pool_score(s, &near, 0);
        pool_sort(s, &near);
        bool better = near.count > 0 && near.score[0] > pool->score[i] + 1e-9;
        if (better) {
            bool word = false;
            const double *next = pool_point(s, &near, 0);
            for (int k = 0; k < space->count; k++)
                word = word || (space->parameters[k].type == TUNE_CATEGORY && next[k] != point[k]);
            memcpy(point, next, sizeof *point * (size_t)space->count);
            pool->score[i] = near.score[0];
            if (word)
                climb(s, point);
            frame_widen(s->frame, point, pool_wide(s, pool, i));
            acquire_scores(&s->acquire, 1, pool_wide(s, pool, i), &pool->score[i], NULL, NULL);
        }
        pool_release(&near);
        if (!better)
            return;
    }
}

// The best candidates that are not much alike go into `starts`.
static void choose_starts(const search_t *s, pool_t *pool, pool_t *starts) {
    const posterior_t *p = &s->acquire.objective;
    int most = p->n <= FEW_ROWS ? STARTS : STARTS / 2;
    pool_sort(s, pool);
    for (int i = 0; i < pool->count && i < 8 * STARTS && starts->count < most; i++) {
        bool alike = false;
        for (int j = 0; j < starts->count; j++) {
            double distance2 = 0;
            for (int c = 0; c < s->frame->wide; c++) {
                double off = p->factor[c] * (pool_wide(s, pool, i)[c] - pool_wide(s, starts, j)[c]);
                distance2 += off * off;
            }
            alike = alike || distance2 < 0.05;
        }
        if (!alike)
            pool_add(s, starts, pool_point(s, pool, i));
    }
}

static bool first_unknown(search_t *s, pool_t *pool, double *point, double *score) {
    pool_sort(s, pool);
    for (int i = 0; i < pool->count; i++) {
        if (study_knows(s->tune, pool_point(s, pool, i)))
            continue;
        memcpy(point, pool_point(s, pool, i), sizeof *point * (size_t)s->tune->space.count);
        *score = pool->score[i];
        return true;
    }
    return false;
}

static bool climb_and_choose(search_t *s, double *point, double *score) {
    pool_t pool, ends;
    gather(s, &pool);
    pool_init(&ends, s->tune, 2 * STARTS);
    choose_starts(s, &pool, &ends);
    int starts = ends.count;
    for (int i = 0; i < starts; i++) {
        double end[TUNE_PARAMETERS_MAX];
        memcpy(end, pool_point(s, &ends, i), sizeof *end * (size_t)s->tune->space.count);
        climb(s, end);
        pool_add(s, &ends, end);
    }
    pool_score(s, &ends, 0);
    pool_sort(s, &ends);
    for (int i = 0; i < SWEPT && i < ends.count; i++)
        sweep(s, &ends, i);
    bool found = first_unknown(s, &ends, point, score) || first_unknown(s, &pool, point, score);
    pool_release(&pool);
    pool_release(&ends);
    return found;
}

// ---- the acquisition function ----

// Those that have no value yet; and behind what says so of the rows, whether they are inside.
static double *pending_wide(const search_t *s, int *count, bool *inside) {
    const tune_t *tune = s->tune;
    double *x = mem_alloc(sizeof *x * (size_t)(tune->count + 1) * (size_t)s->frame->wide);
    *count = 0;
    for (int i = 0; i < tune->count; i++) {
        const trial_t *trial = &tune->trials[i];
        if (trial->state != TRIAL_PENDING)
            continue;
        inside[s->view->rows.data.n + *count] = trial->inside;
        frame_widen(s->frame, trial->point, x + (size_t)(*count)++ * (size_t)s->frame->wide);
    }
    return x;
}

static bool is_earlier(const search_t *s, int row) {
    return s->tune->trials[s->view->rows.trial[row]].earlier;
}

// Where no row is inside of the space, the best anywhere is what there is to improve on.
static bool *rows_inside(const search_t *s) {
    int n = s->view->rows.data.n;
    bool *inside = mem_alloc((size_t)n + (size_t)s->tune->count + 1);
    for (int i = 0; i < n; i++)
        inside[i] = is_inside(s, s->view->best) ? is_inside(s, i) : !is_earlier(s, i);
    return inside;
}

static err_code_t prepare(search_t *s, err_t *err) {
    const tune_t *tune = s->tune;
    posterior_fantasy_t wanted = {.data = &s->view->rows.data,
                                  .theta = tune->model.theta,
                                  .given = &s->view->posterior,
                                  .noisy = model_noisy(tune),
                                  .least = s->view->mean[s->view->best],
                                  .key = tune->config.seed,
                                  .trial = {(uint32_t)s->trial, (uint32_t)(s->trial >> 32)}};
    bool *inside = rows_inside(s);
    double *x = pending_wide(s, &wanted.pending, inside);
    wanted.x = x;
    wanted.contends = inside;
    err_code_t code = posterior_fantasise(&s->acquire.objective, &wanted, s->acquire.best, err);
    free(x);
    free(inside);
    if (code == ERR_OK && tune->model.may_fail) {
        gp_data_t labels;
        model_labels(tune, tune->ended_count, &labels);
        code = posterior_init(&s->acquire.feasible, &labels, tune->model.theta_feasible, err);
        s->acquire.may_fail = code == ERR_OK;
        gp_data_release(&labels);
    }
    int n = s->acquire.objective.n > s->acquire.feasible.n ? s->acquire.objective.n
                                                           : s->acquire.feasible.n;
    s->work = mem_alloc(3 * sizeof *s->work * (size_t)(n + 1));
    return code;
}

bool search(const tune_t *tune, const view_t *view, uint64_t trial, double *point, double *score,
            tune_why_t *why, err_t *err) {
    search_t s = {.tune = tune,
                  .view = view,
                  .frame = &tune->frame,
                  .trial = trial,
                  .least = view->mean[view->best]};
    bool found = prepare(&s, err) == ERR_OK && climb_and_choose(&s, point, score);
    const warp_t *warp = &tune->model.warp;
    if (found)
        why->left = warp_invert(warp, view->mean[view->best]) - warp_invert(warp, s.least);
    acquire_release(&s.acquire);
    free(s.work);
    return found;
}

// ---- what was asked for ----

bool study_knows(const tune_t *tune, const double *point) {
    for (int t = 0; t < tune->count; t++) {
        const trial_t *trial = &tune->trials[t];
        bool same = trial->state != TRIAL_FORGOTTEN && trial->twin == t;
        for (int i = 0; same && i < tune->space.count; i++) {
            const tune_parameter_t *p = &tune->space.parameters[i];
            same = p->type == TUNE_FLOAT ? fabs(tune_parameter_place(p, point[i]) -
                                                tune_parameter_place(p, trial->point[i])) < NEAR
                                         : point[i] == trial->point[i];
        }
        if (same)
            return true;
    }
    return false;
}

double *study_enumerate(const tune_t *tune, size_t most, size_t *count) {
    const tune_space_t *space = &tune->space;
    size_t raw = 1, values[TUNE_PARAMETERS_MAX];
    for (int i = 0; i < space->count; i++) {
        const tune_parameter_t *p = &space->parameters[i];
        if (p->type == TUNE_FLOAT || (p->type == TUNE_INTEGER && p->hi - p->lo >= (double)most))
            return NULL;
        values[i] = p->type == TUNE_CATEGORY  ? (size_t)p->choice_count
                    : p->type == TUNE_INTEGER ? (size_t)(p->hi - p->lo) + 1
                                              : 1;
        raw *= values[i];
        if (raw > most)
            return NULL;
    }
    size_t width = (size_t)space->count;
    double *all = mem_alloc(sizeof *all * raw * width), canonical[TUNE_PARAMETERS_MAX];
    *count = 0;
    for (size_t number = 0; number < raw; number++) {
        double *point = all + *count * width;
        size_t left = number;
        for (int i = 0; i < space->count; i++) {
            const tune_parameter_t *p = &space->parameters[i];
            point[i] = (p->type == TUNE_CATEGORY ? 0 : p->lo) + (double)(left % values[i]);
            left /= values[i];
        }
        memcpy(canonical, point, sizeof *point * width);
        tune_space_canonical(space, canonical);
        if (memcmp(canonical, point, sizeof *point * width) == 0)
            (*count)++;
    }
    return all;
}

bool study_escape(const tune_t *tune, uint64_t trial, double *point) {
    size_t count, width = (size_t)tune->space.count;
    double *all = study_enumerate(tune, ENUMERATED_MAX, &count), at[TUNE_PARAMETERS_MAX];
    search_t s = {.tune = tune, .frame = &tune->frame, .trial = trial};
    if (all) {
        size_t first = philox_below(draw(&s, PURPOSE_ESCAPE, 0).v[0], (uint32_t)count);
        bool found = false;
        for (size_t i = 0; i < count && !found; i++) {
            const double *candidate = all + (first + i) % count * width;
            found = !study_knows(tune, candidate);
            memcpy(point, candidate, sizeof *point * width);
        }
        free(all);
        return found;
    }
    for (uint32_t i = 0; i < 4096; i++) {
        for (int d = 0; d < tune->frame.dims; d++)
            at[d] = unit(draw(&s, PURPOSE_ESCAPE, i * 64 + (uint32_t)d).v[0]);
        frame_decode(&tune->frame, at, point);
        if (!study_knows(tune, point))
            return true;
    }
    return false;
}
