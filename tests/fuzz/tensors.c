// Files of tensors (safetensors).
#include "model/tensors.h"
#include "base/fs.h"
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tensors_t *tensors = NULL;
    err_t err;
    const char *path = fuzz_file("x.safetensors", data, size);
    if (tensors_open(path, NULL, &tensors, &err) != ERR_OK) {
        ERR_ASSERT(err.code != ERR_OK && err.message[0]);
        return 0;
    }
    for (int i = 0; i < tensors_count(tensors); i++) {
        const tensor_t *tensor = tensors_at(tensors, i);
        ERR_ASSERT(tensor->count >= 1 && tensors_find(tensors, tensor->name) == tensor);
        volatile float end = tensor->data[0];
        end = tensor->data[tensor->count - 1];
        (void)end;
    }
    tensors_metadata(tensors, "format");
    tensors_close(&tensors);
    return 0;
}

void fuzz_seeds(void) {
    static const float numbers[24] = {1, 2, 3, INFINITY};
    const tensor_t tensors[] = {
        {.name = "0.weight", .rank = 4, .dims = {2, 1, 3, 3}, .count = 18, .data = numbers},
        {.name = "0.bias", .rank = 1, .dims = {2}, .count = 2, .data = numbers},
        {.name = "\xc3\xa4", .rank = 2, .dims = {2, 1}, .count = 2, .data = numbers}};
    const char *const metadata[] = {"format", "pt", "step", "17", NULL};
    char sha256[DIGEST_HEX_SIZE];
    err_t err;
    for (int count = 1; count <= 3; count++) {
        char *path = fs_join(fuzz_folder(), "seed.safetensors");
        void *bytes;
        size_t size;
        if (tensors_write(path, tensors, count, count == 2 ? NULL : metadata, sha256, &err) !=
                ERR_OK ||
            fs_read(path, 1 << 20, &bytes, &size, &err) != ERR_OK)
            err_abort(__FILE__, __LINE__, err.message);
        fuzz_seed(bytes, size);
        free(bytes);
        free(path);
    }
}

void fuzz_end(void) {
    fuzz_remove_folder();
}
