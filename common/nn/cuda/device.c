#include "nn/cuda/device.h"

#include <cuda_runtime_api.h>

enum { MAJOR_LEAST = 8 }; // compute capability: bfloat16 in hardware

err_code_t device_check(cudaError_t code, const char *what, err_t *err) {
    if (code == cudaSuccess) {
        return ERR_OK;
    }
    err_code_t ours = code == cudaErrorMemoryAllocation     ? ERR_NO_MEMORY
                      : code == cudaErrorDevicesUnavailable ? ERR_UNAVAILABLE
                                                            : ERR_INTERNAL;
    err_set(err, ours, "CUDA: %s: %s (%s)", what, cudaGetErrorString(code), cudaGetErrorName(code));
    if (ours == ERR_NO_MEMORY) {
        return err_remedy(err, "use a smaller batch or model, or end what else uses the GPU");
    }
    return ours;
}

static err_code_t unusable(err_t *err, const char *what) {
    err_set(err, ERR_UNSUPPORTED, "no GPU can be used here: %s", what);
    return err_remedy(err, "use the backend cpu");
}

err_code_t device_find(err_t *err) {
    int driver = 0, count = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        return unusable(err, "no driver");
    }
    if (driver < CUDART_VERSION / 1000 * 1000) {
        return unusable(err, "the driver is older than CUDA 13");
    }
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
        return unusable(err, "the driver shows no device");
    }
    struct cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess || properties.major < MAJOR_LEAST) {
        return unusable(err, "the device's compute capability is less than 8.0");
    }
    return ERR_OK;
}

err_code_t device_use(err_t *err) {
    return device_check(cudaSetDevice(0), "choosing the device", err);
}
