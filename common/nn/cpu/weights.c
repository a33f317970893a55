#include "nn/cpu/weights.h"

#include "nn/cpu/memory.h"

err_code_t weights_plain(const conv_shape_t *shape, dnnl_memory_desc_t *desc, err_t *err) {
    dnnl_dims_t dims = {shape->out, shape->in, shape->kernel, shape->kernel};
    return conv_status(dnnl_memory_desc_init_by_tag(desc, 4, dims, dnnl_f32, dnnl_oihw),
                       "a layout of weights", err);
}

err_code_t weights_blocked(const conv_shape_t *shape, dnnl_memory_desc_t *desc, err_t *err) {
    dnnl_dims_t dims = {shape->out, shape->in, shape->kernel, shape->kernel};
    dnnl_format_tag_t tag = shape->in_layout == LAYOUT_BLOCKED_16 ? dnnl_OIhw16i16o : dnnl_OIhw8i8o;
    return conv_status(dnnl_memory_desc_init_by_tag(desc, 4, dims, dnnl_f32, tag),
                       "a layout of weights", err);
}

err_code_t weights_open(const conv_device_t *device, const conv_shape_t *shape,
                        const dnnl_memory_desc_t *desc, weights_t *weights, err_t *err) {
    *weights = (weights_t){.version = 1};
    if (desc) {
        weights->desc = *desc;
    } else if (weights_plain(shape, &weights->desc, err)) {
        return ERR_INTERNAL;
    }
    return conv_status(
        dnnl_memory_create(&weights->memory, &weights->desc, device->engine, DNNL_MEMORY_NONE),
        "weights", err);
}

err_code_t weights_place(weights_t *weights, float *data, err_t *err) {
    weights->data = data;
    return conv_status(dnnl_memory_set_data_handle(weights->memory, data), "weights", err);
}

void weights_close(weights_t *weights) {
    for (int i = 0; i < weights->count; i++) {
        weights_copy_t *copy = &weights->copies[i];
        if (copy->reorder) {
            dnnl_primitive_destroy(copy->reorder);
        }
        if (copy->memory) {
            dnnl_memory_destroy(copy->memory);
        }
        memory_free(copy->data);
    }
    if (weights->memory) {
        dnnl_memory_destroy(weights->memory);
    }
    *weights = (weights_t){0};
}

size_t weights_bytes(const weights_t *weights) {
    return dnnl_memory_desc_get_size(&weights->desc);
}

static dnnl_status_t make_reorder(const conv_device_t *device, const dnnl_memory_desc_t *from,
                                  const dnnl_memory_desc_t *to, dnnl_primitive_t *reorder) {
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status =
        dnnl_reorder_primitive_desc_create(&desc, from, device->engine, to, device->engine, NULL);
    if (!status) {
        status = dnnl_primitive_create(reorder, desc);
        dnnl_primitive_desc_destroy(desc);
    }
    return status;
}

static dnnl_status_t run_reorder(const conv_device_t *device, dnnl_primitive_t reorder,
                                 dnnl_memory_t from, dnnl_memory_t to) {
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    dnnl_status_t status = dnnl_primitive_execute(reorder, device->stream, 2, args);
    return status ? status : dnnl_stream_wait(device->stream);
}

err_code_t weights_copy(const conv_device_t *device, weights_t *weights,
                        const dnnl_memory_desc_t *desc, void **data, err_t *err) {
    if (dnnl_memory_desc_equal(desc, &weights->desc)) {
        *data = weights->data;
        return ERR_OK;
    }
    for (int i = 0; i < weights->count; i++) {
        if (dnnl_memory_desc_equal(desc, &weights->copies[i].desc)) {
            *data = weights->copies[i].data;
            return ERR_OK;
        }
    }
    if (weights->count == WEIGHTS_COPIES) {
        return err_set(err, ERR_INTERNAL, "a convolution wants more than %d layouts of its weights",
                       WEIGHTS_COPIES);
    }
    weights_copy_t *copy = &weights->copies[weights->count++];
    *copy = (weights_copy_t){.desc = *desc};
    copy->data = memory_new(dnnl_memory_desc_get_size(desc), err);
    if (!copy->data) {
        return ERR_NO_MEMORY;
    }
    dnnl_status_t status = dnnl_memory_create(&copy->memory, desc, device->engine, copy->data);
    if (!status) {
        status = make_reorder(device, &weights->desc, desc, &copy->reorder);
    }
    *data = copy->data;
    return conv_status(status, "copy of weights", err);
}

err_code_t weights_refresh(const conv_device_t *device, weights_t *weights, err_t *err) {
    for (int i = 0; i < weights->count; i++) {
        weights_copy_t *copy = &weights->copies[i];
        if (copy->version != weights->version && copy->reorder) {
            dnnl_status_t status =
                run_reorder(device, copy->reorder, weights->memory, copy->memory);
            if (status) {
                return conv_status(status, "copy of weights", err);
            }
            copy->version = weights->version;
        }
    }
    return ERR_OK;
}

err_code_t weights_convert(const conv_device_t *device, const dnnl_memory_desc_t *from,
                           const void *from_data, const dnnl_memory_desc_t *to, void *to_data,
                           err_t *err) {
    dnnl_primitive_t reorder = NULL;
    dnnl_memory_t source = NULL, target = NULL;
    dnnl_status_t status = make_reorder(device, from, to, &reorder);
    if (!status) {
        status = dnnl_memory_create(&source, from, device->engine, (void *)from_data);
    }
    if (!status) {
        status = dnnl_memory_create(&target, to, device->engine, to_data);
    }
    if (!status) {
        status = run_reorder(device, reorder, source, target);
    }
    if (source) {
        dnnl_memory_destroy(source);
    }
    if (target) {
        dnnl_memory_destroy(target);
    }
    if (reorder) {
        dnnl_primitive_destroy(reorder);
    }
    return conv_status(status, "copy of weights", err);
}
