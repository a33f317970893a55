// The CUDA backend, which is a plugin: one package serves machines with and without a GPU.
#ifndef INKLING_NN_PLUGIN_IMPL_H
#define INKLING_NN_PLUGIN_IMPL_H

#include "nn/backend_impl.h"

// Loads PREFIX/lib/inkling/inkling-cuda.so of a program PREFIX/bin/NAME, once in a process. NULL,
// and in err why, if it is not there, cannot be loaded, or finds no device that it can use; that
// does not change while the process lives. Allocates nothing. Any thread.
const nn_backend_t *plugin_get(err_t *err);

#endif
