#include "tune/linalg_impl.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

void linalg_single_thread(void) {
    openblas_set_num_threads(1);
}

bool linalg_cholesky(double *a, int n, int stride) {
    if (LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', n, a, stride) != 0)
        return false;
    for (size_t i = 0; i < (size_t)n; i++) // NaN passes the library's own check
        if (!isfinite(a[i * (size_t)stride + i]))
            return false;
    return true;
}

// L⁻ᵀL⁻¹ by a solve and a product: OpenBLAS 0.3.21 inverts triangles column by column, which takes
// twice as long as these take with all their needless work on zeros.
void linalg_inverse(const double *l, int n, double *spare, double *inverse) {
    memset(spare, 0, sizeof *spare * (size_t)n * (size_t)n);
    for (size_t i = 0; i < (size_t)n; i++)
        spare[i * (size_t)n + i] = 1;
    linalg_solve_lower(l, n, n, spare, n, n);
    cblas_dsyrk(CblasColMajor, CblasLower, CblasTrans, n, n, 1, spare, n, 0, inverse, n);
}

static void solve(CBLAS_TRANSPOSE transpose, const double *l, int n, int l_stride, double *b,
                  int columns, int b_stride) {
    if (n == 0 || columns == 0)
        return;
    if (columns == 1)
        cblas_dtrsv(CblasColMajor, CblasLower, transpose, CblasNonUnit, n, l, l_stride, b, 1);
    else
        cblas_dtrsm(CblasColMajor, CblasLeft, CblasLower, transpose, CblasNonUnit, n, columns, 1, l,
                    l_stride, b, b_stride);
}

void linalg_solve_lower(const double *l, int n, int l_stride, double *b, int columns,
                        int b_stride) {
    solve(CblasNoTrans, l, n, l_stride, b, columns, b_stride);
}

void linalg_solve_upper(const double *l, int n, int l_stride, double *b, int columns,
                        int b_stride) {
    solve(CblasTrans, l, n, l_stride, b, columns, b_stride);
}

void linalg_lower_times(const double *l, int n, int l_stride, double *b, int columns,
                        int b_stride) {
    cblas_dtrmm(CblasColMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, n, columns, 1, l,
                l_stride, b, b_stride);
}

void linalg_multiply(linalg_shape_t s, const double *a, int a_stride, const double *b, int b_stride,
                     double *c, int c_stride) {
    if (s.m == 0 || s.n == 0)
        return;
    cblas_dgemm(CblasColMajor, s.a_transposed ? CblasTrans : CblasNoTrans,
                s.b_transposed ? CblasTrans : CblasNoTrans, s.m, s.n, s.k, s.alpha, a, a_stride, b,
                b_stride, s.beta, c, c_stride);
}

void linalg_symmetric(int n, int columns, const double *a, int a_stride, const double *b,
                      int b_stride, double *c, int c_stride) {
    cblas_dsymm(CblasColMajor, CblasLeft, CblasLower, n, columns, 1, a, a_stride, b, b_stride, 0, c,
                c_stride);
}

double linalg_dot(int n, const double *a, const double *b) {
    return cblas_ddot(n, a, 1, b, 1);
}
