// The text form of networks.
#include "nn/spec.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static nn_spec_t spec, again;
    static nn_tensor_t tensors[NN_TENSORS_MAX];
    err_t err;
    char *text = mem_alloc(size + 1);
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    if (nn_spec_parse(text, &spec, &err) == ERR_OK) {
        nn_shape_t shapes[NN_LAYERS_MAX];
        char *written = nn_spec_write(&spec);
        if (nn_spec_parse(written, &again, &err) != ERR_OK)
            err_abort(__FILE__, __LINE__, err.message);
        char *rewritten = nn_spec_write(&again);
        ERR_ASSERT(strcmp(written, rewritten) == 0);
        nn_spec_shapes(&spec, shapes);
        ERR_ASSERT(nn_spec_tensors(&spec, tensors) <= NN_TENSORS_MAX);
        free(written);
        free(rewritten);
    } else {
        ERR_ASSERT(err.code != ERR_OK && err.message[0]);
    }
    free(text);
    return 0;
}

static void seed(const nn_vgg_t *vgg) {
    static nn_spec_t spec;
    ERR_ASSERT(nn_spec_vgg(vgg, &spec, NULL) == ERR_OK);
    char *text = nn_spec_write(&spec);
    fuzz_seed(text, strlen(text));
    free(text);
}

void fuzz_seeds(void) {
    seed(&(nn_vgg_t){96, 96, 1, 2, 64, 4, 256, 0.2f});
    seed(&(nn_vgg_t){32, 32, 3, 10, 8, 2, 32, 0});
    seed(&(nn_vgg_t){8, 8, 1, 1000, 1, 1, 1, 0.99f});
}

void fuzz_end(void) {
}
