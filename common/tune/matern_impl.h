// The Matérn-5/2 kernel k(r) = s²(1 + r + r²/3)e⁻ʳ with r = √5‖Δ/ℓ‖, on coordinates that are
// scaled by √5/ℓ already (Rasmussen and Williams: "Gaussian Processes for Machine Learning", 4.2).
#ifndef INKLING_TUNE_MATERN_IMPL_H
#define INKLING_TUNE_MATERN_IMPL_H

// Of `count` squared distances r²: k, and slope = s²(1 + r)e⁻ʳ/3, for which dk/dΔ = −slope·Δ in
// scaled coordinates and dk/d ln ℓ = slope·Δ². Negative r² counts as 0. The arrays may not overlap.
void matern_values(int count, double s2, const double *restrict r2, double *restrict k,
                   double *restrict slope);
// Column j of k and slope (n rows each) from point j of `count`: squared distances of n points x
// and `count` points z, `wide` scaled coordinates each, point by point. norms: of x, squared.
void matern_cross(int wide, double s2, int n, const double *x, const double *norms, int count,
                  const double *z, double *k);
// One point z: k[n] and slope[n].
void matern_point(int wide, double s2, int n, const double *x, const double *z, double *k,
                  double *slope);
// The lower triangles of n×n matrices k and slope of points x.
void matern_square(int wide, double s2, int n, const double *x, double *k, double *slope);

#endif
