#include "tune/special_impl.h"

#include <math.h>

#define LN_SQRT_2PI  0.91893853320467274178
#define SQRT_HALF_PI 1.25331413731550025121
#define SQRT_PI      1.77245385090551602730

// Up to 4 the product is good to 16 rounding errors; above, Laplace's continued fraction
// √π·erfcx(x) = 1/(x + (1/2)/(x + (2/2)/(x + (3/2)/(x + …)))) has converged after 40 terms.
double erfcx_pos(double x) {
    if (x < 4)
        return exp(x * x) * erfc(x);
    double tail = x;
    for (int k = 40; k >= 1; k--)
        tail = x + 0.5 * k / tail;
    return 1 / (SQRT_PI * tail);
}

double normal_log_density(double u) {
    return -0.5 * u * u - LN_SQRT_2PI;
}

double normal_cdf(double u) {
    return 0.5 * erfc(-u * M_SQRT1_2);
}

double normal_log_cdf(double u) {
    if (u > -1)
        return log1p(-0.5 * erfc(u * M_SQRT1_2));
    return log(0.5 * erfcx_pos(-u * M_SQRT1_2)) - 0.5 * u * u;
}

double log_improvement(double u) {
    if (u > -1)
        return log(exp(normal_log_density(u)) + u * normal_cdf(u));
    double t = -u;
    if (t > 1e4) // 1 − t·R(t) = 1/t² − 3/t⁴ + …
        return normal_log_density(u) - 2 * log(t);
    double mills = SQRT_HALF_PI * erfcx_pos(t * M_SQRT1_2); // R = (1 − Φ)/φ
    return normal_log_density(u) + log1p(-t * mills);
}

// Acklam's rational approximation (relative error 1.2e-9), then one step of Halley's method.
double normal_quantile(double p) {
    static const double a[] = {-3.969683028665376e+01, 2.209460984245205e+02,
                               -2.759285104469687e+02, 1.383577518672690e+02,
                               -3.066479806614716e+01, 2.506628277459239e+00};
    static const double b[] = {-5.447609879822406e+01, 1.615858368580409e+02,
                               -1.556989798598866e+02, 6.680131188771972e+01,
                               -1.328068155288572e+01};
    static const double c[] = {-7.784894002430293e-03, -3.223964580411365e-01,
                               -2.400758277161838e+00, -2.549732539343734e+00,
                               4.374664141464968e+00,  2.938163982698783e+00};
    static const double d[] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                               3.754408661907416e+00};
    if (p > 0.5)
        return -normal_quantile(1 - p);
    double x;
    if (p < 0.02425) {
        double q = sqrt(-2 * log(p));
        x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
            ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    } else {
        double q = p - 0.5, r = q * q;
        x = (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
            (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
    }
    double error = (normal_cdf(x) - p) / exp(normal_log_density(x));
    return x - error / (1 + 0.5 * x * error);
}
