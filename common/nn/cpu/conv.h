// Convolutions by oneDNN: the only place, with weights.h, that knows its types. A conv_op_t is one
// compiled operation for one shape and thread count; a conv_call_t is an operation with its
// buffers. An operation may be called from several threads at a time, a call from one.
#ifndef INKLING_NN_CPU_CONV_H
#define INKLING_NN_CPU_CONV_H

#include "base/err.h"

#include <dnnl.h>
#include <stddef.h>

// How activations lie, see kernels.h.
typedef enum {
    LAYOUT_BLOCKED_8,
    LAYOUT_BLOCKED_16,
    LAYOUT_LAST,   // channels last
    LAYOUT_PLANES, // only the input: [sample][channel][y][x]
} layout_t;

typedef struct {
    int batch, height, width, kernel;
    int in, out; // channels as they are stored, that is, padded
    bool bias, relu, bf16;
    layout_t in_layout, out_layout;
} conv_shape_t;

typedef enum {
    CONV_TRAIN,   // x, weights → y
    CONV_INFER,   // the same, its weights transformed beforehand, with the ReLU
    CONV_DATA,    // ∂y, weights → ∂x
    CONV_WEIGHTS, // x, ∂y → ∂weights, ∂bias
    CONV_KINDS
} conv_kind_t;

typedef struct {
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t in, out, weights, bias;
    conv_kind_t kind;
    bool has_bias, reference; // reference: oneDNN has nothing but plain loops for it
    size_t scratch;           // bytes
} conv_op_t;

typedef struct {
    dnnl_primitive_t primitive; // the operation's
    dnnl_memory_t memory[5];
    dnnl_exec_arg_t args[5];
    int count;
    bool scratch; // the last of memory is scratch
} conv_call_t;

// The machine's oneDNN for one handle.
typedef struct {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
} conv_device_t;

// Turns a status of oneDNN into an error that says what failed.
err_code_t conv_status(dnnl_status_t status, const char *what, err_t *err);

err_code_t conv_device_open(conv_device_t *device, err_t *err);
void conv_device_close(conv_device_t *device);
// A copy of another's becomes one for another thread, with a stream of its own.
err_code_t conv_device_share(conv_device_t *device, err_t *err);
void conv_device_unshare(conv_device_t *device);

// Uses as many threads as parallel_set_threads() said last. Direct convolution: oneDNN's
// Winograd changes its rounding with the size of the batch (ours is in wino.h). weights: the layout
// that they must have, or NULL for the one that suits the operation best.
err_code_t conv_op_new(const conv_device_t *device, const conv_shape_t *shape, conv_kind_t kind,
                       const dnnl_memory_desc_t *weights, conv_op_t *op, err_t *err);
void conv_op_free(conv_op_t *op);

// x or ∂x, y or ∂y, weights in op->weights, bias or NULL. in and out may be given later, with
// conv_call_place.
typedef struct {
    void *in, *out, *weights, *bias;
} conv_buffers_t;

err_code_t conv_call_new(const conv_device_t *device, const conv_op_t *op,
                         const conv_buffers_t *buffers, conv_call_t *call, err_t *err);
void conv_call_free(conv_call_t *call);
err_code_t conv_call_place(conv_call_t *call, void *in, void *out, err_t *err);
err_code_t conv_call_run(const conv_device_t *device, const conv_call_t *call, void *scratch,
                         err_t *err);

#endif
