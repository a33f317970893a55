// What nn_device said.
#ifndef INKLING_NN_DEVICE_IMPL_H
#define INKLING_NN_DEVICE_IMPL_H

#include <stdbool.h>

// False after nn_device("cpu"): the plugin for CUDA is not even loaded.
bool device_may_be_gpu(void);
// True after nn_device("cuda…"): what is left open is a GPU.
bool device_must_be_gpu(void);

#endif
