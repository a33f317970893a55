#include "nn/cpu/conv.h"

#include <string.h>

err_code_t conv_status(dnnl_status_t status, const char *what, err_t *err) {
    switch (status) {
    case dnnl_success:
        return ERR_OK;
    case dnnl_out_of_memory:
        err_set(err, ERR_NO_MEMORY, "oneDNN: no memory for %s", what);
        return err_remedy(err, "use a smaller batch or model");
    case dnnl_unimplemented:
        return err_set(err, ERR_UNSUPPORTED, "oneDNN has no %s for this shape here", what);
    default:
        return err_set(err, ERR_INTERNAL, "oneDNN: %s failed with status %d", what, (int)status);
    }
}

err_code_t conv_device_open(conv_device_t *device, err_t *err) {
    dnnl_status_t status = dnnl_engine_create(&device->engine, dnnl_cpu, 0);
    if (!status) {
        status = dnnl_stream_create(&device->stream, device->engine, dnnl_stream_default_flags);
    }
    return conv_status(status, "an engine", err);
}

void conv_device_close(conv_device_t *device) {
    if (device->stream) {
        dnnl_stream_destroy(device->stream);
    }
    if (device->engine) {
        dnnl_engine_destroy(device->engine);
    }
    *device = (conv_device_t){0};
}

err_code_t conv_device_share(conv_device_t *device, err_t *err) {
    device->stream = NULL;
    return conv_status(
        dnnl_stream_create(&device->stream, device->engine, dnnl_stream_default_flags), "a stream",
        err);
}

void conv_device_unshare(conv_device_t *device) {
    device->engine = NULL;
    conv_device_close(device);
}

// --- Compiling

static const dnnl_format_tag_t tags[] = {
    [LAYOUT_BLOCKED_8] = dnnl_nChw8c,
    [LAYOUT_BLOCKED_16] = dnnl_nChw16c,
    [LAYOUT_LAST] = dnnl_nhwc,
    [LAYOUT_PLANES] = dnnl_nchw,
};

static const char *const kind_words[CONV_KINDS] = {
    [CONV_TRAIN] = "convolution",
    [CONV_INFER] = "convolution for inference",
    [CONV_DATA] = "convolution's data gradient",
    [CONV_WEIGHTS] = "convolution's weight gradient",
};

// dnnl's dims arrays are read as a whole by its initialisers.
typedef struct {
    dnnl_dims_t in, out, weights, bias, strides, pads;
} dims_t;

static dims_t dims_of(const conv_shape_t *s) {
    return (dims_t){.in = {s->batch, s->in, s->height, s->width},
                    .out = {s->batch, s->out, s->height, s->width},
                    .weights = {s->out, s->in, s->kernel, s->kernel},
                    .bias = {s->out},
                    .strides = {1, 1},
                    .pads = {s->kernel / 2, s->kernel / 2}};
}

static dnnl_status_t describe(const conv_shape_t *shape, conv_kind_t kind,
                              const dnnl_memory_desc_t *weights, conv_op_t *op) {
    dims_t dims = dims_of(shape);
    dnnl_data_type_t type = shape->bf16 ? dnnl_bf16 : dnnl_f32;
    dnnl_data_type_t weight_type = kind == CONV_WEIGHTS ? dnnl_f32 : type;
    dnnl_status_t status =
        dnnl_memory_desc_init_by_tag(&op->in, 4, dims.in, type, tags[shape->in_layout]);
    if (!status) {
        status = dnnl_memory_desc_init_by_tag(&op->out, 4, dims.out, type, tags[shape->out_layout]);
    }
    if (!status && weights) {
        op->weights = *weights;
    } else if (!status) {
        status = dnnl_memory_desc_init_by_tag(&op->weights, 4, dims.weights, weight_type,
                                              dnnl_format_tag_any);
    }
    if (!status) {
        status = dnnl_memory_desc_init_by_tag(&op->bias, 1, dims.bias, dnnl_f32, dnnl_x);
    }
    return status;
}

// Scratch memory from the caller, and the ReLU behind an inference.
static dnnl_status_t make_attributes(bool relu, dnnl_primitive_attr_t *attributes) {
    dnnl_status_t status = dnnl_primitive_attr_create(attributes);
    if (!status) {
        status = dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user);
    }
    dnnl_post_ops_t post = NULL;
    if (!status && relu) {
        status = dnnl_post_ops_create(&post);
        if (!status) {
            status = dnnl_post_ops_append_eltwise(post, 1, dnnl_eltwise_relu, 0, 0);
        }
        if (!status) {
            status = dnnl_primitive_attr_set_post_ops(*attributes, post);
        }
        dnnl_post_ops_destroy(post);
    }
    return status;
}

static dnnl_status_t describe_forward(const conv_op_t *op, const dims_t *dims, bool infer,
                                      dnnl_convolution_desc_t *desc) {
    dnnl_memory_desc_t weights;
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&weights, 4, dims->weights,
                                                        op->in.data_type, dnnl_format_tag_any);
    if (status) {
        return status;
    }
    return dnnl_convolution_forward_desc_init(
        desc, infer ? dnnl_forward_inference : dnnl_forward_training, dnnl_convolution_direct,
        &op->in, &weights, op->has_bias ? &op->bias : NULL, &op->out, dims->strides, dims->pads,
        dims->pads);
}

// A backward operation needs the forward one's description as a hint.
static dnnl_status_t choose(const conv_device_t *device, const conv_shape_t *shape,
                            dnnl_primitive_attr_t attributes, conv_op_t *op,
                            dnnl_primitive_desc_t *chosen) {
    dims_t dims = dims_of(shape);
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = describe_forward(op, &dims, op->kind == CONV_INFER, &desc);
    if (op->kind == CONV_TRAIN || op->kind == CONV_INFER) {
        return status ? status
                      : dnnl_primitive_desc_create(chosen, &desc, attributes, device->engine, NULL);
    }
    if (!status) {
        status = dnnl_primitive_desc_create(&hint, &desc, attributes, device->engine, NULL);
    }
    if (!status && op->kind == CONV_DATA) {
        status = dnnl_convolution_backward_data_desc_init(&desc, dnnl_convolution_direct, &op->in,
                                                          &op->weights, &op->out, dims.strides,
                                                          dims.pads, dims.pads);
    } else if (!status) {
        status = dnnl_convolution_backward_weights_desc_init(
            &desc, dnnl_convolution_direct, &op->in, &op->weights, op->has_bias ? &op->bias : NULL,
            &op->out, dims.strides, dims.pads, dims.pads);
    }
    if (!status) {
        status = dnnl_primitive_desc_create(chosen, &desc, attributes, device->engine, hint);
    }
    if (hint) {
        dnnl_primitive_desc_destroy(hint);
    }
    return status;
}

static dnnl_status_t compile(dnnl_primitive_desc_t chosen, conv_op_t *op) {
    dnnl_query_t weights =
        op->kind == CONV_WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md;
    op->weights = *dnnl_primitive_desc_query_md(chosen, weights, 0);
    op->scratch = dnnl_memory_desc_get_size(
        dnnl_primitive_desc_query_md(chosen, dnnl_query_scratchpad_md, 0));
    const char *name = "";
    dnnl_status_t status =
        dnnl_primitive_desc_query(chosen, dnnl_query_impl_info_str, 0, (void *)&name);
    op->reference = strncmp(name, "ref", strlen("ref")) == 0;
    return status ? status : dnnl_primitive_create(&op->primitive, chosen);
}

err_code_t conv_op_new(const conv_device_t *device, const conv_shape_t *shape, conv_kind_t kind,
                       const dnnl_memory_desc_t *weights, conv_op_t *op, err_t *err) {
    *op = (conv_op_t){.kind = kind, .has_bias = shape->bias && kind != CONV_DATA};
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t chosen = NULL;
    dnnl_status_t status = describe(shape, kind, weights, op);
    if (!status) {
        status = make_attributes(shape->relu && kind == CONV_INFER, &attributes);
    }
    if (!status) {
        status = choose(device, shape, attributes, op, &chosen);
    }
    if (!status) {
        status = compile(chosen, op);
    }
    if (chosen) {
        dnnl_primitive_desc_destroy(chosen);
    }
    if (attributes) {
        dnnl_primitive_attr_destroy(attributes);
    }
    return conv_status(status, kind_words[kind], err);
}

void conv_op_free(conv_op_t *op) {
    if (op->primitive) {
        dnnl_primitive_destroy(op->primitive);
    }
    *op = (conv_op_t){0};
}

// --- Calling

static dnnl_status_t add_memory(const conv_device_t *device, conv_call_t *call, int arg,
                                const dnnl_memory_desc_t *desc, void *data) {
    dnnl_memory_t *memory = &call->memory[call->count];
    dnnl_status_t status = dnnl_memory_create(memory, desc, device->engine, data);
    if (!status) {
        call->args[call->count++] = (dnnl_exec_arg_t){.arg = arg, .memory = *memory};
    }
    return status;
}

static dnnl_status_t add_scratch(const conv_device_t *device, conv_call_t *call, size_t bytes) {
    dnnl_memory_desc_t desc;
    dnnl_dims_t dims = {(dnnl_dim_t)bytes};
    dnnl_status_t status = dnnl_memory_desc_init_by_tag(&desc, 1, dims, dnnl_u8, dnnl_x);
    return status ? status : add_memory(device, call, DNNL_ARG_SCRATCHPAD, &desc, DNNL_MEMORY_NONE);
}

err_code_t conv_call_new(const conv_device_t *device, const conv_op_t *op,
                         const conv_buffers_t *buffers, conv_call_t *call, err_t *err) {
    static const struct {
        int in, out, weights, bias;
    } names[CONV_KINDS] = {
        [CONV_TRAIN] = {DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS},
        [CONV_INFER] = {DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS},
        [CONV_DATA] = {DNNL_ARG_DIFF_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, 0},
        [CONV_WEIGHTS] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS,
                          DNNL_ARG_DIFF_BIAS},
    };
    *call = (conv_call_t){.primitive = op->primitive};
    dnnl_status_t status = add_memory(device, call, names[op->kind].in, &op->in, buffers->in);
    if (!status) {
        status = add_memory(device, call, names[op->kind].out, &op->out, buffers->out);
    }
    if (!status) {
        status = add_memory(device, call, names[op->kind].weights, &op->weights, buffers->weights);
    }
    if (!status && op->has_bias) {
        status = add_memory(device, call, names[op->kind].bias, &op->bias, buffers->bias);
    }
    if (!status && op->scratch) {
        status = add_scratch(device, call, op->scratch);
        call->scratch = true;
    }
    return conv_status(status, "a convolution's buffers", err);
}

void conv_call_free(conv_call_t *call) {
    for (int i = 0; i < call->count; i++) {
        dnnl_memory_destroy(call->memory[i]);
    }
    *call = (conv_call_t){0};
}

err_code_t conv_call_place(conv_call_t *call, void *in, void *out, err_t *err) {
    dnnl_status_t status = dnnl_memory_set_data_handle(call->memory[0], in);
    if (!status) {
        status = dnnl_memory_set_data_handle(call->memory[1], out);
    }
    return conv_status(status, "a convolution's buffers", err);
}

err_code_t conv_call_run(const conv_device_t *device, const conv_call_t *call, void *scratch,
                         err_t *err) {
    dnnl_status_t status = dnnl_success;
    if (call->scratch) {
        status = dnnl_memory_set_data_handle(call->memory[call->count - 1], scratch);
    }
    if (!status) {
        status = dnnl_primitive_execute(call->primitive, device->stream, call->count, call->args);
    }
    if (!status) {
        status = dnnl_stream_wait(device->stream);
    }
    return conv_status(status, "a convolution", err);
}
