// An open model, inside.
#ifndef INKLING_MODEL_MODEL_IMPL_H
#define INKLING_MODEL_MODEL_IMPL_H

#include "json_impl.h"
#include "model/tensors.h"

struct model {
    model_info_t info;
    char digest[DIGEST_HEX_SIZE];
    tensors_t *weights;
    int tensor_count;
    nn_tensor_t tensors[NN_TENSORS_MAX];
    const float *data[NN_TENSORS_MAX];
};

#endif
