// Targets as the Gaussian process sees them: z-scores, bent by Yeo and Johnson's transform ("A new
// family of power transformations to improve normality or symmetry", Biometrika 87, 2000) and
// standardised again. λ < 1 pulls in large (bad) values and spreads out small (good) ones.
#ifndef INKLING_TUNE_WARP_IMPL_H
#define INKLING_TUNE_WARP_IMPL_H

typedef struct {
    double lambda;
    double centre, spread;           // z = (y − centre)/spread
    double bent_centre, bent_spread; // result = (bent(z) − bent_centre)/bent_spread
} warp_t;

// From n >= 1 values.
void warp_init(warp_t *warp, double lambda, int n, const double *y);
double warp_apply(const warp_t *warp, double y);
double warp_slope(const warp_t *warp, double y); // d apply/dy, above 0
// The inverse; what no y is bent to counts as the nearest that is.
double warp_invert(const warp_t *warp, double bent);

#endif
