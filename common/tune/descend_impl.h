// Local minimisation within bounds by L-BFGS (Nocedal 1980, as in NLopt's LD_LBFGS), whose names
// stay behind this header.
#ifndef INKLING_TUNE_DESCEND_IMPL_H
#define INKLING_TUNE_DESCEND_IMPL_H

// The value at x[n], and its gradient; an infinite or NaN value counts as very large.
typedef double (*descend_f)(void *context, const double *x, double *gradient);

typedef struct {
    int n, evaluations; // at most that many
    double tolerance;   // ends when a step gains less than that
    const double *lo, *hi;
    descend_f f;
    void *context;
} descend_t;

// From x to the best point that was seen, x itself included; returns its value.
double descend(const descend_t *task, double *x);

#endif
