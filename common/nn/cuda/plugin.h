// What the plugin inkling-cuda.so exports as `nn_plugin`. The engine refuses one of another
// version, or of another build's idea of a plan.
#ifndef INKLING_NN_CUDA_PLUGIN_H
#define INKLING_NN_CUDA_PLUGIN_H

#include "nn/backend_impl.h"

#define NN_PLUGIN_VERSION 1

typedef struct {
    uint32_t version;
    size_t plan_size;
    const nn_backend_t *backend;
    err_code_t (*find)(err_t *err); // ERR_UNSUPPORTED says why no device can be used
} nn_plugin_t;

extern const nn_plugin_t nn_plugin;

#endif
