// Functions to be minimised whose minimum is known, some of them as a study of the benchmark has
// them. The same formulas are in ../peer_tuners.py.
#ifndef INKLING_BENCH_FUNCTIONS_H
#define INKLING_BENCH_FUNCTIONS_H

#include "space/space.h"

#define DIVERGED 0.9 // what hpo7 gives where a training diverges

typedef struct {
    const char *name;
    double (*f)(int n, const double *x); // noise-free; x in natural units, of words the index
    double minimum, noise;               // the noise's standard deviation
    int trials, workers;
    const char *space[11];
} function_t;

extern const function_t functions[];
extern const int function_count;

const function_t *function_find(const char *name); // NULL: none
tune_space_t function_space(const function_t *function);
// A validation error as training has it, and where it is least: learning rate, dropout, batch,
// optimizer, augmentation, weight decay, momentum.
double hpo7(int n, const double *x);
// How far the learning rate is above its best value there, in powers of ten.
double hpo7_rate(const double *x);

// Counter-based: uniform in (0, 1), and standard normal, of a seed and an index.
double bench_uniform(uint64_t seed, uint64_t index);
double bench_normal(uint64_t seed, int trial);

#endif
