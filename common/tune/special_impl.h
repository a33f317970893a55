// The normal distribution where plain formulas lose all their digits, and the logarithm of expected
// improvement.
#ifndef INKLING_TUNE_SPECIAL_IMPL_H
#define INKLING_TUNE_SPECIAL_IMPL_H

double erfcx_pos(double x);          // exp(x²)·erfc(x) for x >= 0
double normal_log_density(double u); // ln φ(u)
double normal_log_cdf(double u);     // ln Φ(u)
double normal_cdf(double u);
double normal_quantile(double p); // of 0 < p < 1; relative error below 1e-15

// ln h(u), h(u) = φ(u) + uΦ(u): expected improvement over `best` of N(μ, σ²) is σ·h((best − μ)/σ).
// Stable for all u (Ament, Daulton, Eriksson, Balandat, Bakshy: "Unexpected improvements to
// expected improvement for Bayesian optimization", NeurIPS 2023).
double log_improvement(double u);

#endif
