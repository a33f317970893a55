#include "tune/warp_impl.h"

#include <math.h>

#define SPREAD_MIN 1e-300

static double bend(double lambda, double z) {
    if (z >= 0)
        return lambda == 0 ? log1p(z) : expm1(lambda * log1p(z)) / lambda;
    double mirror = 2 - lambda;
    return mirror == 0 ? -log1p(-z) : -expm1(mirror * log1p(-z)) / mirror;
}

// Within what doubles hold: bends with λ < 0 have a ceiling, and that with λ = 0 grows without end.
static double unbend(double lambda, double w) {
    w = w > 500 ? 500 : w;
    if (w >= 0) {
        double inside = lambda * w;
        inside = inside < -0.999999 ? -0.999999 : inside;
        return lambda == 0 ? expm1(w) : expm1(log1p(inside) / lambda);
    }
    double mirror = 2 - lambda, inside = -mirror * w;
    inside = inside < -0.999999 ? -0.999999 : inside;
    return mirror == 0 ? -expm1(-w) : -expm1(log1p(inside) / mirror);
}

static void moments(int n, const double *v, double *centre, double *spread) {
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++)
        sum += v[i] / n;
    for (int i = 0; i < n; i++)
        squares += (v[i] - sum) * (v[i] - sum) / n;
    *centre = sum;
    *spread = squares > SPREAD_MIN ? sqrt(squares) : 1;
}

void warp_init(warp_t *warp, double lambda, int n, const double *y) {
    warp->lambda = lambda;
    moments(n, y, &warp->centre, &warp->spread);
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++)
        sum += bend(lambda, (y[i] - warp->centre) / warp->spread) / n;
    for (int i = 0; i < n; i++) {
        double off = bend(lambda, (y[i] - warp->centre) / warp->spread) - sum;
        squares += off * off / n;
    }
    warp->bent_centre = sum;
    warp->bent_spread = squares > SPREAD_MIN ? sqrt(squares) : 1;
}

double warp_apply(const warp_t *warp, double y) {
    double z = (y - warp->centre) / warp->spread;
    return (bend(warp->lambda, z) - warp->bent_centre) / warp->bent_spread;
}

double warp_slope(const warp_t *warp, double y) {
    double z = (y - warp->centre) / warp->spread;
    double power = z >= 0 ? (warp->lambda - 1) * log1p(z) : (1 - warp->lambda) * log1p(-z);
    return exp(power) / (warp->spread * warp->bent_spread);
}

double warp_invert(const warp_t *warp, double bent) {
    double w = bent * warp->bent_spread + warp->bent_centre;
    return unbend(warp->lambda, w) * warp->spread + warp->centre;
}
