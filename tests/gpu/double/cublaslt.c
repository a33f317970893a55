// cublasLt's matrix product, column-major, as loops.
#include "double.h"

#include <cublasLt.h>

#include <stdlib.h>
#include <string.h>

enum { WORKSPACE = 1024 };

typedef struct {
    cublasComputeType_t compute;
    int32_t trans_a, trans_b;
    uint32_t epilogue;
    const void *bias;
} product_t;

typedef struct {
    cudaDataType type;
    uint64_t rows, columns;
    int64_t step;
} layout_t;

typedef struct {
    product_t product;
    layout_t a_layout, b_layout, d_layout;
    const float *a, *b;
    float *d;
    void *workspace;
} call_t;

static cublasStatus_t make(void *at, void **made) {
    cudaError_t failed = double_enter();
    double_count_alive(!failed);
    double_leave();
    if (failed) {
        free(at);
        at = NULL;
    }
    *made = at;
    return failed ? CUBLAS_STATUS_ALLOC_FAILED : CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t end(void *at) {
    free(at);
    double_enter();
    double_count_alive(-1);
    double_leave();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
    return make(calloc(1, 8), (void **)handle);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
    return end(handle);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *made, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
    if (scale != CUDA_R_32F) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    product_t *product = calloc(1, sizeof *product);
    product->compute = compute;
    product->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    return make(product, (void **)made);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t at) {
    return end(at);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t at,
                                              cublasLtMatmulDescAttributes_t name, const void *data,
                                              size_t size) {
    product_t *product = (product_t *)at;
    void *to = name == CUBLASLT_MATMUL_DESC_TRANSA         ? (void *)&product->trans_a
               : name == CUBLASLT_MATMUL_DESC_TRANSB       ? (void *)&product->trans_b
               : name == CUBLASLT_MATMUL_DESC_EPILOGUE     ? (void *)&product->epilogue
               : name == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? (void *)&product->bias
                                                           : NULL;
    if (!to || size != (name == CUBLASLT_MATMUL_DESC_BIAS_POINTER ? sizeof(void *) : 4)) {
        double_fail("cublasLt: attribute %d of %zu bytes", (int)name, size);
    }
    memcpy(to, data, size);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *made, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t step) {
    layout_t *layout = malloc(sizeof *layout);
    *layout = (layout_t){type, rows, columns, step};
    return make(layout, (void **)made);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t at) {
    return end(at);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *made) {
    return make(calloc(1, 8), (void **)made);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t at) {
    return end(at);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t at,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *data, size_t size) {
    (void)data;
    if (name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && size != sizeof(uint64_t)) {
        double_fail("cublasLt: the workspace's limit has %zu bytes", size);
    }
    return at ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int *count) {
    (void)handle, (void)product, (void)a, (void)b, (void)c, (void)d, (void)preference;
    cudaError_t failed = double_enter();
    double_leave();
    *count = !failed && wanted > 0;
    if (*count) {
        memset(&results[0], 0, sizeof results[0]);
        results[0].workspaceSize = WORKSPACE;
        results[0].state = CUBLAS_STATUS_SUCCESS;
    }
    return failed ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
}

static float rounded(float value, cublasComputeType_t compute) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t keep = compute == CUBLAS_COMPUTE_32F_FAST_TF32   ? 13
                    : compute == CUBLAS_COMPUTE_32F_FAST_16BF ? 16
                                                              : 0;
    if (keep) {
        bits = (bits + (1u << (keep - 1))) >> keep << keep;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

static size_t bytes(const layout_t *layout) {
    return (size_t)(((int64_t)layout->columns - 1) * layout->step + (int64_t)layout->rows) * 4;
}

static void run(void *arg) {
    const call_t *call = arg;
    const product_t *product = &call->product;
    double_race_range(call->a, bytes(&call->a_layout), false);
    double_race_range(call->b, bytes(&call->b_layout), false);
    double_race_range(call->d, bytes(&call->d_layout), true);
    double_race_range(call->workspace, WORKSPACE, true);
    memset(call->workspace, 0xee, WORKSPACE);
    const float *bias = product->epilogue == CUBLASLT_EPILOGUE_BIAS ? product->bias : NULL;
    int64_t rows = (int64_t)call->d_layout.rows, columns = (int64_t)call->d_layout.columns;
    double_race_range(bias, bias ? (size_t)rows * 4 : 0, false);
    int64_t inner = (int64_t)(product->trans_a ? call->a_layout.rows : call->a_layout.columns);
    for (int64_t j = 0; j < columns; j++) {
        for (int64_t i = 0; i < rows; i++) {
            double sum = bias ? (double)bias[i] : 0;
            for (int64_t k = 0; k < inner; k++) {
                float a = product->trans_a ? call->a[i * call->a_layout.step + k]
                                           : call->a[k * call->a_layout.step + i];
                float b = product->trans_b ? call->b[k * call->b_layout.step + j]
                                           : call->b[j * call->b_layout.step + k];
                sum += (double)rounded(a, product->compute) * (double)rounded(b, product->compute);
            }
            call->d[j * call->d_layout.step + i] = (float)sum;
        }
    }
}

static void check_shapes(const call_t *call) {
    const layout_t *a = &call->a_layout, *b = &call->b_layout, *d = &call->d_layout;
    bool ta = call->product.trans_a, tb = call->product.trans_b;
    if ((ta ? a->columns : a->rows) != d->rows || (tb ? b->rows : b->columns) != d->columns ||
        (ta ? a->rows : a->columns) != (tb ? b->columns : b->rows)) {
        double_fail("cublasLt: the shapes of a product do not fit together");
    }
    if (a->type != CUDA_R_32F || b->type != CUDA_R_32F || d->type != CUDA_R_32F ||
        a->step < (int64_t)a->rows || b->step < (int64_t)b->rows || d->step < (int64_t)d->rows) {
        double_fail("cublasLt: a type or leading dimension that this engine does not need");
    }
    double_check_range("cublasLt", call->a, bytes(a));
    double_check_range("cublasLt", call->b, bytes(b));
    double_check_range("cublasLt", call->d, bytes(d));
    double_check_range("cublasLt's workspace", call->workspace, WORKSPACE);
    if (call->product.epilogue == CUBLASLT_EPILOGUE_BIAS) {
        double_check_range("cublasLt", call->product.bias, (size_t)d->rows * 4);
    }
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                              const void *alpha, const void *a, cublasLtMatrixLayout_t a_layout,
                              const void *b, cublasLtMatrixLayout_t b_layout, const void *beta,
                              const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo,
                              void *workspace, size_t size, cudaStream_t stream) {
    (void)handle, (void)c, (void)c_layout;
    if (*(const float *)alpha != 1 || *(const float *)beta != 0 || !algo || size < WORKSPACE) {
        double_fail("cublasLt: a product that this engine does not need");
    }
    call_t *call = malloc(sizeof *call);
    *call = (call_t){*(const product_t *)product,
                     *(const layout_t *)a_layout,
                     *(const layout_t *)b_layout,
                     *(const layout_t *)d_layout,
                     a,
                     b,
                     d,
                     workspace};
    check_shapes(call);
    return double_queue(stream, "cublasLt", run, call) ? CUBLAS_STATUS_EXECUTION_FAILED
                                                       : CUBLAS_STATUS_SUCCESS;
}
