#include "tune/descend_impl.h"

#include "base/err.h"

#include <math.h>
#include <nlopt.h>
#include <stdlib.h>
#include <string.h>

#define LARGE 1e30

typedef struct {
    const descend_t *task;
    double best, *best_x;
} state_t;

// NLopt ends with an error where rounding leaves no step; what was seen by then counts anyway.
static double evaluate(unsigned n, const double *x, double *gradient, void *context) {
    state_t *state = context;
    double value = state->task->f(state->task->context, x, gradient);
    if (!isfinite(value)) {
        memset(gradient, 0, n * sizeof *gradient);
        return LARGE;
    }
    if (value < state->best) {
        state->best = value;
        memcpy(state->best_x, x, n * sizeof *x);
    }
    return value;
}

double descend(const descend_t *task, double *x) {
    size_t bytes = (size_t)task->n * sizeof *x;
    state_t state = {.task = task, .best = LARGE, .best_x = mem_alloc(2 * bytes)};
    double *at = state.best_x + task->n, value;
    for (int i = 0; i < task->n; i++)
        at[i] = x[i] < task->lo[i] ? task->lo[i] : x[i] > task->hi[i] ? task->hi[i] : x[i];
    memcpy(state.best_x, at, bytes);
    nlopt_opt opt = nlopt_create(NLOPT_LD_LBFGS, (unsigned)task->n);
    ERR_ASSERT(opt);
    nlopt_set_lower_bounds(opt, task->lo);
    nlopt_set_upper_bounds(opt, task->hi);
    nlopt_set_min_objective(opt, evaluate, &state);
    nlopt_set_maxeval(opt, task->evaluations);
    nlopt_set_ftol_abs(opt, task->tolerance);
    nlopt_set_vector_storage(opt, 10);
    nlopt_optimize(opt, at, &value);
    nlopt_destroy(opt);
    memcpy(x, state.best_x, bytes);
    free(state.best_x);
    return state.best;
}
