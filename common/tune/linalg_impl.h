// The dense linear algebra that the Gaussian process needs, on OpenBLAS and LAPACKE, whose names
// stay behind this header. Matrices are column-major; of symmetric ones and Cholesky factors the
// lower triangle counts.
#ifndef INKLING_TUNE_LINALG_IMPL_H
#define INKLING_TUNE_LINALG_IMPL_H

#include <stdbool.h>

// One thread from now on, in the whole process: sums then do not depend on the number of cores.
// Every public function of the module that computes calls it.
void linalg_single_thread(void);

// A = LLᵀ in place. False: not positive definite; then a is spoilt. What is above the diagonal is
// left alone.
bool linalg_cholesky(double *a, int n, int stride);
// The lower triangle of (LLᵀ)⁻¹ into inverse; spare is spoilt. All n×n without gaps.
void linalg_inverse(const double *l, int n, double *spare, double *inverse);
// b = L⁻¹b or L⁻ᵀb, for columns of b at a time.
void linalg_solve_lower(const double *l, int n, int l_stride, double *b, int columns, int b_stride);
void linalg_solve_upper(const double *l, int n, int l_stride, double *b, int columns, int b_stride);
// b = Lb, for columns of b at a time.
void linalg_lower_times(const double *l, int n, int l_stride, double *b, int columns, int b_stride);
// c = alpha·ab + beta·c with a of m×k, b of k×n; the flags: a or b is the transpose of what is
// stored.
typedef struct {
    bool a_transposed, b_transposed;
    int m, n, k;
    double alpha, beta;
} linalg_shape_t;
void linalg_multiply(linalg_shape_t shape, const double *a, int a_stride, const double *b,
                     int b_stride, double *c, int c_stride);
void linalg_symmetric(int n, int columns, const double *a, int a_stride, const double *b,
                      int b_stride, double *c, int c_stride); // c = ab, a symmetric n×n
double linalg_dot(int n, const double *a, const double *b);

#endif
