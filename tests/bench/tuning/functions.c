#include "functions.h"

#include "base/err.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

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

// A validation error as training has it. The learning rate has a best value that depends on the
// optimiser, grows with the batch and, under SGD, shrinks with momentum; a rate 16 times too large
// diverges. Flipped images help, and want less dropout, as more dropout wants less weight decay.
double hpo7_rate(const double *x) {
    static const double centres[] = {-0.5, -3.0, -3.3};
    int optimizer = (int)x[3];
    double centre = centres[optimizer] + 0.15 * (log2(x[2]) - 5);
    return log10(x[0]) - centre - (optimizer == 0 ? log10(1 - x[6]) : 0);
}

double hpo7(int n, const double *x) {
    (void)n;
    static const double errors[] = {0.052, 0.050, 0.057};
    int optimizer = (int)x[3];
    bool flip = x[4] == 1;
    double size = log2(x[2]) - 5, z = hpo7_rate(x), error = errors[optimizer];
    if (z > 1.2)
        return DIVERGED;
    error += optimizer == 0 ? 0.05 * pow(x[6] - 0.9, 2) : 0;
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

const function_t functions[] = {
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
    {"ackley5-8", ackley, 0, 0, 100, 8, {WIDE4, "x4=-5..10"}},
    {"branin-noisy-8", branin, 0.39788735772973816, 5, 50, 8, {BRANIN_SPACE}},
    {"hartmann6-noisy-8", hartmann6, -3.322368011415515, 0.2, 100, 8, {UNIT6}},
    {"branin-8", branin, 0.39788735772973816, 0, 50, 8, {BRANIN_SPACE}},
    {"hartmann6-8", hartmann6, -3.322368011415515, 0, 100, 8, {UNIT6}},
};
const int function_count = sizeof functions / sizeof *functions;

static uint64_t mix(uint64_t x) { // SplitMix64
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

double bench_uniform(uint64_t seed, uint64_t index) {
    return ((double)(mix(seed * 1000003 + index) >> 11) + 0.5) * 0x1p-53;
}

double bench_normal(uint64_t seed, int trial) {
    double u = bench_uniform(seed, 2 * (uint64_t)trial),
           v = bench_uniform(seed, 2 * (uint64_t)trial + 1);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

const function_t *function_find(const char *name) {
    for (int i = 0; i < function_count; i++)
        if (strcmp(functions[i].name, name) == 0)
            return &functions[i];
    return NULL;
}

tune_space_t function_space(const function_t *function) {
    tune_space_t space;
    err_t err;
    size_t count = 0;
    while (count < sizeof function->space / sizeof *function->space && function->space[count])
        count++;
    if (tune_space_parse(function->space, count, &space, &err) != ERR_OK)
        err_abort(__FILE__, __LINE__, err.message);
    return space;
}
