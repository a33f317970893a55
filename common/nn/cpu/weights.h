// The weights of one convolution in the layouts that its operations want. The source is the master
// copy; each other layout is a copy, brought up to date when it is asked for and older than the
// source.
#ifndef INKLING_NN_CPU_WEIGHTS_H
#define INKLING_NN_CPU_WEIGHTS_H

#include "nn/cpu/conv.h"

#include <stdint.h>

enum { WEIGHTS_COPIES = 8 };

typedef struct {
    dnnl_memory_desc_t desc;
    void *data;
    dnnl_memory_t memory;
    dnnl_primitive_t reorder; // from the source
    uint64_t version;
} weights_copy_t;

typedef struct {
    dnnl_memory_desc_t desc; // of the source
    float *data;
    dnnl_memory_t memory;
    uint64_t version; // raised by whoever writes data
    weights_copy_t copies[WEIGHTS_COPIES];
    int count;
} weights_t;

// desc NULL: plain float32 [out][in][kernel][kernel]. data may be NULL and given later with
// weights_place; it is the caller's.
err_code_t weights_open(const conv_device_t *device, const conv_shape_t *shape,
                        const dnnl_memory_desc_t *desc, weights_t *weights, err_t *err);
err_code_t weights_place(weights_t *weights, float *data, err_t *err);
void weights_close(weights_t *weights);
size_t weights_bytes(const weights_t *weights); // of the source

// The copy with that layout, made if there is none; data stays where it is.
err_code_t weights_copy(const conv_device_t *device, weights_t *weights,
                        const dnnl_memory_desc_t *desc, void **data, err_t *err);
// Brings all copies up to date.
err_code_t weights_refresh(const conv_device_t *device, weights_t *weights, err_t *err);

// Once from one layout to another.
err_code_t weights_convert(const conv_device_t *device, const dnnl_memory_desc_t *from,
                           const void *from_data, const dnnl_memory_desc_t *to, void *to_data,
                           err_t *err);
// Float32 [out / l][in / l][kernel][kernel][l of in][l of out], l the lanes of the shape's layouts.
err_code_t weights_blocked(const conv_shape_t *shape, dnnl_memory_desc_t *desc, err_t *err);
// Plain float32 [out][in][kernel][kernel].
err_code_t weights_plain(const conv_shape_t *shape, dnnl_memory_desc_t *desc, err_t *err);

#endif
