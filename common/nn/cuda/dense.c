#include "nn/cuda/dense.h"

#include "nn/cuda/device.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <stdlib.h>

enum { WORKSPACE = 32 << 20 };

struct dense_library {
    cublasLtHandle_t handle;
    cudaStream_t stream;
    void *workspace;
};

// Row-major [n][k] is column-major k × n: to cublasLt all matrices are the transposed ones.
struct dense_plan {
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a_layout, b_layout, d_layout;
    cublasLtMatmulHeuristicResult_t choice;
    const float *a, *b;
    float *d;
};

static err_code_t complain(cublasStatus_t status, const char *what, err_t *err) {
    if (status == CUBLAS_STATUS_SUCCESS) {
        return ERR_OK;
    }
    return err_set(err, status == CUBLAS_STATUS_ALLOC_FAILED ? ERR_NO_MEMORY : ERR_INTERNAL,
                   "cublasLt: %s: status %d", what, (int)status);
}

err_code_t dense_library_open(cudaStream_t stream, dense_library_t **library, err_t *err) {
    *library = calloc(1, sizeof **library);
    if (!*library) {
        return err_set(err, ERR_NO_MEMORY, "no memory for cublasLt's handle");
    }
    (*library)->stream = stream;
    err_code_t code = complain(cublasLtCreate(&(*library)->handle), "starting", err);
    if (!code) {
        code = device_check(cudaMalloc(&(*library)->workspace, WORKSPACE), "cublasLt's workspace",
                            err);
    }
    if (code) {
        dense_library_close(library);
    }
    return code;
}

void dense_library_close(dense_library_t **library) {
    if (*library) {
        if ((*library)->handle) {
            cublasLtDestroy((*library)->handle);
        }
        cudaFree((*library)->workspace);
        free(*library);
        *library = NULL;
    }
}

typedef struct {
    int rows, columns, step;
} matrix_t;

static cublasStatus_t make_layout(const matrix_t *matrix, cublasLtMatrixLayout_t *layout) {
    return cublasLtMatrixLayoutCreate(layout, CUDA_R_32F, (uint64_t)matrix->rows,
                                      (uint64_t)matrix->columns, matrix->step);
}

static cublasStatus_t make_product(bool exact, bool trans_a, bool trans_b, const float *bias,
                                   cublasLtMatmulDesc_t *product) {
    int32_t a = trans_a ? CUBLAS_OP_T : CUBLAS_OP_N, b = trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    cublasStatus_t status = cublasLtMatmulDescCreate(
        product, exact ? CUBLAS_COMPUTE_32F : CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F);
    if (!status) {
        status =
            cublasLtMatmulDescSetAttribute(*product, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof a);
    }
    if (!status) {
        status =
            cublasLtMatmulDescSetAttribute(*product, CUBLASLT_MATMUL_DESC_TRANSB, &b, sizeof b);
    }
    if (!status && bias) {
        status = cublasLtMatmulDescSetAttribute(*product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                                                sizeof epilogue);
    }
    if (!status && bias) {
        status = cublasLtMatmulDescSetAttribute(*product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                                                sizeof bias);
    }
    return status;
}

// The first choice of the heuristics.
static cublasStatus_t choose(const dense_library_t *library, dense_plan_t *plan) {
    cublasLtMatmulPreference_t preference = NULL;
    size_t limit = WORKSPACE;
    int count = 0;
    cublasStatus_t status = cublasLtMatmulPreferenceCreate(&preference);
    if (!status) {
        status = cublasLtMatmulPreferenceSetAttribute(
            preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &limit, sizeof limit);
    }
    if (!status) {
        status = cublasLtMatmulAlgoGetHeuristic(library->handle, plan->product, plan->a_layout,
                                                plan->b_layout, plan->d_layout, plan->d_layout,
                                                preference, 1, &plan->choice, &count);
    }
    if (preference) {
        cublasLtMatmulPreferenceDestroy(preference);
    }
    return !status && count == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : status;
}

static cublasStatus_t fill(const dense_library_t *library, const dense_shape_t *shape,
                           dense_kind_t kind, const float *bias, dense_plan_t *plan) {
    const matrix_t x = {shape->ins, shape->count, shape->x_stored};
    const matrix_t y = {shape->outs, shape->count, shape->y_stored};
    const matrix_t w = {shape->ins, shape->outs, shape->ins};
    const matrix_t *a = kind == DENSE_FILTER ? &x : &w, *b = kind == DENSE_FORWARD ? &x : &y;
    const matrix_t *d = kind == DENSE_FORWARD ? &y : kind == DENSE_DATA ? &x : &w;
    cublasStatus_t status = make_product(shape->exact, kind == DENSE_FORWARD, kind == DENSE_FILTER,
                                         kind == DENSE_FORWARD ? bias : NULL, &plan->product);
    if (!status) {
        status = make_layout(a, &plan->a_layout);
    }
    if (!status) {
        status = make_layout(b, &plan->b_layout);
    }
    if (!status) {
        status = make_layout(d, &plan->d_layout);
    }
    return status ? status : choose(library, plan);
}

err_code_t dense_plan_make(const dense_library_t *library, const dense_shape_t *shape,
                           dense_kind_t kind, float *x, float *w, float *y, const float *bias,
                           dense_plan_t **plan, err_t *err) {
    *plan = calloc(1, sizeof **plan);
    if (!*plan) {
        return err_set(err, ERR_NO_MEMORY, "no memory for a plan of a dense layer");
    }
    (*plan)->a = kind == DENSE_FILTER ? x : w;
    (*plan)->b = kind == DENSE_FORWARD ? x : y;
    (*plan)->d = kind == DENSE_FORWARD ? y : kind == DENSE_DATA ? x : w;
    err_code_t code =
        complain(fill(library, shape, kind, bias, *plan), "planning a dense layer", err);
    if (code) {
        dense_plan_destroy(plan);
    }
    return code;
}

void dense_plan_destroy(dense_plan_t **plan) {
    if (*plan) {
        cublasLtMatrixLayout_t layouts[] = {(*plan)->a_layout, (*plan)->b_layout,
                                            (*plan)->d_layout};
        for (int i = 0; i < 3; i++) {
            if (layouts[i]) {
                cublasLtMatrixLayoutDestroy(layouts[i]);
            }
        }
        if ((*plan)->product) {
            cublasLtMatmulDescDestroy((*plan)->product);
        }
        free(*plan);
        *plan = NULL;
    }
}

err_code_t dense_plan_run(const dense_library_t *library, const dense_plan_t *plan, err_t *err) {
    const float one = 1, zero = 0;
    return complain(cublasLtMatmul(library->handle, plan->product, &one, plan->a, plan->a_layout,
                                   plan->b, plan->b_layout, &zero, plan->d, plan->d_layout, plan->d,
                                   plan->d_layout, &plan->choice.algo, library->workspace,
                                   WORKSPACE, library->stream),
                    "a dense layer", err);
}
