// What the backend asks of the runtime, with errors in our form.
#ifndef INKLING_NN_CUDA_DEVICE_H
#define INKLING_NN_CUDA_DEVICE_H

#include "base/err.h"

#include <driver_types.h>

// ERR_OK, or the runtime's complaint about `what`: out of memory is ERR_NO_MEMORY, a device that is
// lost or was never there ERR_UNAVAILABLE.
err_code_t device_check(cudaError_t code, const char *what, err_t *err);

// ERR_UNSUPPORTED, with what to do, unless a device is there that this build can use. device_use:
// for this thread, before anything else.
err_code_t device_find(err_t *err);
err_code_t device_use(err_t *err);

#endif
