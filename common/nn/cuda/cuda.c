// The backend's table: what is chosen, making, ending, sharing.
#include "nn/cuda/cuda_impl.h"
#include "nn/cuda/plugin.h"

#include <cudnn_version.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RULES = 1 }; // raised whenever a change here changes the bits that come out

static err_code_t resolve(nn_plan_t *plan, const char *stored, err_t *err) {
    err_code_t code = device_use(err);
    struct cudaDeviceProp properties;
    if (!code) {
        code =
            device_check(cudaGetDeviceProperties(&properties, 0), "the device's properties", err);
    }
    if (code) {
        return code;
    }
    if (strcmp(plan->precision, "auto") == 0) {
        bool exact = stored && strstr(stored, "precision=fp32");
        snprintf(plan->precision, sizeof plan->precision, exact ? "fp32" : "bf16");
    }
    plan->threads = 1;
    snprintf(plan->isa, sizeof plan->isa, "sm_%d%d", properties.major, properties.minor);
    snprintf(plan->more, sizeof plan->more, "multiprocessors=%d cudnn=%d rules=%d",
             properties.multiProcessorCount, CUDNN_VERSION, RULES);
    return ERR_OK;
}

static void destroy(void *self) {
    cuda_t *cuda = self;
    device_use(NULL);
    if (cuda->stream) {
        cudaStreamSynchronize(cuda->stream);
    }
    cuda_sets_close(cuda);
    conv_library_close(&cuda->convs);
    dense_library_close(&cuda->denses);
    cuda_memory_close(cuda);
    if (cuda->stream) {
        cudaStreamDestroy(cuda->stream);
    }
    free(cuda);
}

// Libraries and memory of an object whose plan is laid out.
static err_code_t open_all(cuda_t *cuda, err_t *err) {
    err_code_t code = device_use(err);
    if (!code) {
        code = device_check(cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking),
                            "making a stream", err);
    }
    if (!code) {
        code = conv_library_open(cuda->stream, &cuda->convs, err);
    }
    if (!code && cuda->plan->training) {
        code = dense_library_open(cuda->stream, &cuda->denses, err);
    }
    return code ? code : cuda_memory_open(cuda, err);
}

static cuda_t *make(const nn_plan_t *plan, err_t *err) {
    cuda_t *cuda = calloc(1, sizeof *cuda);
    if (!cuda) {
        err_set(err, ERR_NO_MEMORY, "no memory for an engine on the GPU");
        return NULL;
    }
    cuda_plan(cuda, plan);
    return cuda;
}

static err_code_t create(const nn_plan_t *plan, void **self, err_t *err) {
    set_t *set = NULL;
    cuda_t *cuda = make(plan, err);
    if (!cuda) {
        return ERR_NO_MEMORY;
    }
    err_code_t code = open_all(cuda, err);
    if (!code && plan->training) { // what a full batch cannot have is said before work has begun
        code = cuda_set_find(cuda, true, plan->max_batch, &set, err);
    }
    if (code) {
        if (code == ERR_NO_MEMORY) {
            err_context(err, "a model that needs about %llu MiB of the GPU",
                        (unsigned long long)(cuda_memory(plan) >> 20));
        }
        destroy(cuda);
        return code;
    }
    *self = cuda;
    return ERR_OK;
}

static void use_moving(void *self) {
    cuda_t *cuda = self;
    cuda->estimated = false;
    cuda->fixed_ready = false;
}

static err_code_t seal(void *self, err_t *err) {
    cuda_t *cuda = self;
    err_code_t code = device_use(err);
    if (!code) {
        code = cuda_fix(cuda, err);
    }
    if (!code) {
        code = cuda_wait(cuda, err);
    }
    if (!code) {
        cuda_sets_close(cuda);
        cuda_memory_seal(cuda);
    }
    return code;
}

// Parameters and statistics of the sealed one, activations of its own.
static err_code_t share(void *self, const nn_plan_t *plan, void **shared, err_t *err) {
    const cuda_t *from = self;
    cuda_t *cuda = make(plan, err);
    if (!cuda) {
        return ERR_NO_MEMORY;
    }
    cuda->borrows = true;
    cuda->parts[NN_PARAM] = from->parts[NN_PARAM];
    cuda->half = from->half;
    for (int i = 0; i < cuda->stage_count; i++) {
        cuda->stages[i].fixed = from->stages[i].fixed;
    }
    err_code_t code = open_all(cuda, err);
    if (code) {
        destroy(cuda);
        return code;
    }
    *shared = cuda;
    return ERR_OK;
}

const nn_backend_t nn_backend_cuda = {
    .name = "cuda",
    .resolve = resolve,
    .create = create,
    .destroy = destroy,
    .memory = cuda_memory,
    .get = cuda_get,
    .set = cuda_set,
    .step = cuda_step,
    .bn_estimate = cuda_bn_estimate,
    .use_moving = use_moving,
    .predict = cuda_predict,
    .seal = seal,
    .share = share,
};

__attribute__((visibility("default"))) const nn_plugin_t nn_plugin = {
    .version = NN_PLUGIN_VERSION,
    .plan_size = sizeof(nn_plan_t),
    .backend = &nn_backend_cuda,
    .find = device_find,
};
