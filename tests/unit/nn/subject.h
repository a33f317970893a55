// Runs tests on each backend of the build, in each precision it has.
#ifndef TEST_NN_SUBJECT_H
#define TEST_NN_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>

#ifdef NN_QUICK
enum { QUICK = 1 }; // fewer sizes
#else
enum { QUICK = 0 };
#endif

// How far a backend may be from the reference in its precision. Distances: see pair.h.
typedef struct {
    const char *precision;
    double output; // largest difference of a probability
    double loss;   // relative, of a sum of losses
    double moving; // distance of moving statistics and estimates
    double smooth, kinked, deep;
} tolerance_t;

// The tests' initial state.
typedef struct {
    const char *backend;
    const tolerance_t *tolerance;
} subject_t;

typedef struct {
    const char *name;
    void (*run)(void **state);
    bool compares; // with the reference, which is no test of the reference
} subject_test_t;

// The number of tests that failed.
int subject_run(const subject_test_t *tests, size_t count);

#endif
